//! A small model of one job at the worker, written from reading.md 7, 8 and 10 alone.

use std::time::Duration;

use loaner::charts::job::{Act, Input, Outcome, Timer, Why};

const ASSIGNMENT: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(10);
const CLEANING: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Assigned,
    Receiving,
    Preparing,
    Running,
    Packing,
    Returning,
    Stopping,
    Terminating,
    Cleaning,
    Over,
}

/// Where a job is, since when, and how it will end as far as that is settled.
#[derive(Debug)]
pub struct Model {
    pub stage: Stage,
    since: Duration,
    outcome: Outcome,
    /// How long its command may take to save, once it was asked to stop; and whether that was too short.
    deadline: Duration,
    killed: bool,
}

impl Model {
    pub fn new() -> Self {
        Model {
            stage: Stage::Assigned,
            since: Duration::ZERO,
            outcome: Outcome::Completed,
            deadline: Duration::ZERO,
            killed: false,
        }
    }

    fn goes(&mut self, at: Duration, stage: Stage, acts: &[Act]) -> Vec<Act> {
        (self.stage, self.since) = (stage, at);
        acts.to_vec()
    }

    /// The first reason for a failure is the one that counts.
    fn fails(&mut self, why: Why) {
        if self.outcome == Outcome::Completed {
            self.outcome = Outcome::Failed(why);
        }
    }

    fn cleans(&mut self, at: Duration) -> Vec<Act> {
        self.goes(at, Stage::Cleaning, &[Act::RemoveScratch])
    }

    /// Stops what is under way, if anything is: a job that only waits has nothing to stop.
    fn stops(&mut self, at: Duration, outcome: Outcome) -> Vec<Act> {
        match self.stage {
            Stage::Assigned => {
                self.outcome = outcome;
                self.cleans(at)
            }
            Stage::Receiving
            | Stage::Preparing
            | Stage::Running
            | Stage::Stopping
            | Stage::Packing
            | Stage::Returning => {
                self.outcome = outcome;
                self.goes(at, Stage::Terminating, &[Act::TerminateWork])
            }
            Stage::Terminating | Stage::Cleaning | Stage::Over => Vec::new(),
        }
    }

    fn ends(&mut self, at: Duration) -> Vec<Act> {
        let terminal = Act::SendTerminal(self.outcome);
        self.goes(at, Stage::Over, &[terminal, Act::ReportEnded])
    }

    /// What the job does on an event, in order.
    pub fn hears(&mut self, at: Duration, event: &Input) -> Vec<Act> {
        let waited = at - self.since;
        match (self.stage, event) {
            (_, Input::CancelRequested) => self.stops(at, Outcome::Cancelled),
            (Stage::Running, Input::StopRequested { deadline }) => {
                (self.deadline, self.killed) = (*deadline, false);
                self.goes(at, Stage::Stopping, &[Act::AskToStop])
            }
            // Before its commands run there is nothing to be saved, and after them there is nothing to be stopped.
            (
                Stage::Assigned | Stage::Receiving | Stage::Preparing,
                Input::StopRequested { .. },
            ) => self.stops(at, Outcome::Cancelled),
            (_, Input::LinkLost) => self.stops(at, Outcome::Failed(Why::LinkLost)),
            (_, Input::Shutdown) => self.stops(at, Outcome::Failed(Why::Shutdown)),
            (Stage::Assigned, Input::PackageAnnounced) => {
                self.goes(at, Stage::Receiving, &[Act::ReportBegun])
            }
            (Stage::Assigned, Input::Fired(Timer::Assignment)) => {
                assert_eq!(waited, ASSIGNMENT);
                self.fails(Why::NoPackage);
                self.cleans(at)
            }
            (Stage::Receiving, Input::PackageReceived) => {
                self.goes(at, Stage::Preparing, &[Act::Prepare])
            }
            (Stage::Receiving, Input::PackageBroken) => {
                self.fails(Why::NotReceived);
                self.cleans(at)
            }
            (Stage::Preparing, Input::Prepared) => self.goes(at, Stage::Running, &[Act::Run]),
            (Stage::Preparing, Input::PrepareFailed) => {
                self.fails(Why::NotPrepared);
                self.cleans(at)
            }
            (Stage::Running, Input::StepStarted) => vec![Act::SendStarting],
            (Stage::Running, Input::StepEnded { ok: true }) => vec![Act::SendStepDone],
            // A command that ended in its time is asked nothing any more.
            (Stage::Stopping, Input::StepEnded { ok }) if !self.killed => {
                let acts = if *ok { vec![Act::SendStepDone] } else { vec![] };
                self.goes(at, Stage::Running, &acts)
            }
            (Stage::Stopping, Input::Fired(Timer::Stop)) => {
                assert_eq!(waited, if self.killed { GRACE } else { self.deadline });
                self.killed = true;
                self.goes(at, Stage::Stopping, &[Act::KillWork])
            }
            (Stage::Running | Stage::Stopping, Input::RunEnded { ok }) => {
                if self.killed {
                    self.fails(Why::NotStopped);
                } else if !ok {
                    self.fails(Why::CommandFailed);
                }
                self.goes(at, Stage::Packing, &[Act::Pack])
            }
            (Stage::Packing, Input::Packed) => {
                self.goes(at, Stage::Returning, &[Act::ReturnResults])
            }
            (Stage::Packing, Input::NothingToReturn) => self.cleans(at),
            (Stage::Packing, Input::PackFailed) => {
                self.fails(Why::NotPacked);
                self.cleans(at)
            }
            (Stage::Returning, Input::ResultsSent) => self.cleans(at),
            (Stage::Returning, Input::SendFailed) => {
                self.fails(Why::NotReturned);
                self.cleans(at)
            }
            (Stage::Terminating, Input::WorkGone) => self.cleans(at),
            (Stage::Terminating, Input::Fired(Timer::Grace)) => {
                assert_eq!(waited, GRACE);
                self.goes(at, Stage::Terminating, &[Act::KillWork])
            }
            (Stage::Cleaning, Input::ScratchGone) => self.ends(at),
            (Stage::Cleaning, Input::Fired(Timer::Cleaning)) => {
                assert_eq!(waited, CLEANING);
                self.ends(at)
            }
            (stage, Input::Fired(timer)) => panic!("{timer:?} fired in {stage:?}"),
            _ => Vec::new(),
        }
    }
}
