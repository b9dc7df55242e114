//! The actor of `job`: it starts the work of each stage on the data plane, hears how it ended, and speaks for the job.

mod messages;
mod place;
mod report;
mod stages;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::watch;

use super::chart_actor::{ChartActor, Died, Perform, start};
use super::transfer::{Direction, Milestones, TransferActor, TransferEnded, transfer};
use crate::charts::job::{Act, Input, Job};
use crate::charts::{JobId, PeerId};
use crate::rtc::DataPlane;
use crate::tunnel::tube::Line;
use crate::wire::own::SPEAKS_OF_JOBS;
use crate::worker::jobs::curves::Controls;
use crate::worker::jobs::manifest::STOP_DEADLINE;
use crate::worker::jobs::output::OutputDir;
use crate::worker::jobs::scratch::Scratch;
use crate::worker::jobs::work::{Failure, Halt, JobSettings, Prepared, Results, RunEnd, StepNews};
use crate::worker::records::Record;
use crate::worker::serve::Heard;

pub use self::messages::{Admission, Admit, Announcement, Hurry, JobEvent, JobNews, StopJob};
pub use self::place::{Claim, Dialect, Place};

/// What the work of a stage came to.
#[derive(Message)]
#[rtype(result = "()")]
enum Worked {
    Prepared(Result<Prepared, Failure>),
    Step(StepNews),
    Ran(RunEnd),
    Packed(Result<Option<Results>, Failure>),
    ScratchGone(Result<(), String>),
}

/// Performs the effects of `job`.
pub struct JobPerformer {
    id: JobId,
    holder: PeerId,
    settings: Rc<JobSettings>,
    plane: DataPlane,
    owner: Recipient<JobNews>,
    supervisor: Option<Recipient<Died>>,
    scratch: Option<Scratch>,
    channel: Option<Line>,
    heard: Option<Heard>,
    controls: Controls,
    announcement: Option<Announcement>,
    /// For a package that is on the worker's side: what its client calls it, and where results go until they are there.
    claim: Option<Claim>,
    output: Option<OutputDir>,
    package: Option<PathBuf>,
    prepared: Option<Prepared>,
    results: Option<Results>,
    transfer: Option<Addr<TransferActor>>,
    /// Whether something is under way that has to end before the job can.
    working: bool,
    halt: watch::Sender<Halt>,
    cancelled: Arc<AtomicBool>,
    step: String,
    steps_done: usize,
    began: Instant,
    failure: Option<Failure>,
    /// What is kept of it, once it has begun.
    record: Option<Arc<Record>>,
    /// The results are with the client.
    delivered: bool,
    /// It was asked to stop.
    asked: bool,
}

/// The actor of `job`.
pub type JobActor = ChartActor<JobPerformer>;

/// Starts a job that was promised to `holder`. `scratch` is its own directory.
pub fn job(
    id: JobId,
    holder: PeerId,
    scratch: Scratch,
    settings: Rc<JobSettings>,
    plane: DataPlane,
    owner: Recipient<JobNews>,
    supervisor: Option<Recipient<Died>>,
) -> Addr<JobActor> {
    let instance = id.to_string();
    let performer = JobPerformer {
        id,
        holder,
        settings,
        plane,
        owner,
        supervisor: supervisor.clone(),
        scratch: Some(scratch),
        channel: None,
        heard: None,
        controls: Controls::default(),
        announcement: None,
        claim: None,
        output: None,
        package: None,
        prepared: None,
        results: None,
        transfer: None,
        working: false,
        halt: watch::channel(Halt::Go).0,
        cancelled: Arc::new(AtomicBool::new(false)),
        step: String::new(),
        steps_done: 0,
        began: Instant::now(),
        failure: None,
        record: None,
        delivered: false,
        asked: false,
    };
    start(Job::new(), performer, instance, supervisor)
}

impl JobPerformer {
    fn tell(&self, what: JobEvent) {
        self.owner.do_send(JobNews {
            job: self.id.clone(),
            what,
        });
    }

    /// The first reason is the one that counts.
    fn fail(&mut self, message: String) {
        self.failure
            .get_or_insert(Failure::new("TRANSFER_FAILED", message));
    }

    fn begin_transfer(&mut self, direction: Direction, ctx: &mut Context<JobActor>) -> Milestones {
        let (addr, milestones) = transfer(
            ctx.address().recipient(),
            direction,
            &format!("{} file", self.id),
            self.supervisor.clone(),
        );
        self.transfer = Some(addr);
        self.working = true;
        milestones
    }

    /// The client is a Loaner that is told of its job in Loaner's own words.
    fn speaks_of_jobs(&self) -> bool {
        let heard = self.heard.as_ref();
        heard.is_some_and(|heard| heard.version >= SPEAKS_OF_JOBS)
    }

    fn stop_deadline(&self) -> Duration {
        let prepared = self.prepared.as_ref();
        prepared.map_or(STOP_DEADLINE, |prepared| prepared.plan.terms.stop.deadline)
    }

    fn ask_to_stop(&mut self) {
        self.asked = true;
        self.halt.send_replace(Halt::Stop);
    }
}

impl Perform for JobPerformer {
    type Chart = Job;

    const ANNOUNCED: bool = true;

    fn perform(&mut self, act: Act, ctx: &mut Context<ChartActor<Self>>) {
        self.note(&act);
        match act {
            Act::ReportBegun => self.tell(JobEvent::Begun),
            Act::Prepare => self.prepare(ctx),
            Act::Run => self.run(ctx),
            Act::SendStarting => self.report_starting(),
            Act::SendStepDone => {
                self.steps_done += 1;
                self.report_step_done();
            }
            Act::Pack => self.pack(ctx),
            Act::ReturnResults => self.return_results(ctx),
            Act::AskToStop => self.ask_to_stop(),
            Act::TerminateWork => self.terminate_work(ctx),
            Act::KillWork => {
                self.halt.send_replace(Halt::Kill);
            }
            Act::RemoveScratch => self.remove_scratch(ctx),
            Act::SendTerminal(outcome) => self.send_terminal(outcome),
            // The end is reported by the task that sends the terminal message, once it has left.
            Act::ReportEnded => {}
        }
    }
}

impl Handler<Admit> for JobActor {
    type Result = ();

    fn handle(&mut self, mut admit: Admit, ctx: &mut Self::Context) {
        if !self.chart().wants_package() {
            let _ = admit
                .reply
                .send(Err("this job has its package already".to_owned()));
            return;
        }
        let performer = self.performer();
        let name = &admit.announcement.name;
        let (id, user) = (performer.id.as_str(), &performer.settings.asker.user);
        let record = performer.settings.records.begin(id, user, name);
        performer.record = Some(record.clone());
        performer.plane.spawn_blocking(move || record.create());
        if let Some(place) = admit.announcement.place.take() {
            performer.claim = Some(place.claim);
            performer.output = Some(place.output);
        }
        performer.announcement = Some(admit.announcement);
        performer.channel = Some(admit.channel);
        performer.heard = admit.heard;
        let milestones = performer.begin_transfer(Direction::In, ctx);
        let dir = performer
            .scratch
            .as_ref()
            .map(|scratch| scratch.path().to_owned())
            .unwrap_or_default();
        let limit = performer.settings.max_package;
        let partials = performer.settings.partials.clone();
        // A reader that is gone has lost its channel, which is reported on its own.
        let _ = admit.reply.send(Ok(Admission {
            dir,
            limit,
            partials,
            milestones,
            controls: performer.controls.clone(),
        }));
        self.feed(&Input::PackageAnnounced, ctx);
    }
}

impl Handler<TransferEnded> for JobActor {
    type Result = ();

    fn handle(&mut self, ended: TransferEnded, ctx: &mut Self::Context) {
        let ending = self.chart().terminates();
        let performer = self.performer();
        performer.working = false;
        performer.transfer = None;
        let event = match (ended.result, ended.direction) {
            _ if ending => Input::WorkGone,
            (Ok(_), Direction::Out) => {
                performer.delivered = true;
                Input::ResultsSent
            }
            (Err(reason), Direction::Out) => {
                performer.fail(format!("the results could not be sent: {reason}"));
                Input::SendFailed
            }
            (Ok(path), Direction::In) => {
                performer.package = Some(path);
                Input::PackageReceived
            }
            (Err(reason), Direction::In) => {
                performer.fail(format!("the package did not arrive: {reason}"));
                Input::PackageBroken
            }
        };
        self.feed(&event, ctx);
    }
}

impl Handler<Worked> for JobActor {
    type Result = ();

    fn handle(&mut self, worked: Worked, ctx: &mut Self::Context) {
        let ending = self.chart().terminates();
        let performer = self.performer();
        let event = match worked {
            Worked::Step(StepNews::Started(name)) => {
                performer.step = name;
                return self.feed(&Input::StepStarted, ctx);
            }
            Worked::Step(StepNews::Progress(told)) => {
                return performer.report_progress(told.fraction, told.message);
            }
            Worked::Step(StepNews::Ended { ok }) => {
                return self.feed(&Input::StepEnded { ok }, ctx);
            }
            Worked::ScratchGone(removed) => {
                if let Err(error) = removed {
                    tracing::error!(job = %performer.id, %error, "the job's directory could not be removed whole");
                }
                return self.feed(&Input::ScratchGone, ctx);
            }
            // How work ended that was stopped says nothing about the job.
            Worked::Prepared(_) | Worked::Ran(_) | Worked::Packed(_) if ending => Input::WorkGone,
            Worked::Prepared(Ok(prepared)) => {
                performer.prepared = Some(prepared);
                Input::Prepared
            }
            Worked::Prepared(Err(failure)) => {
                performer.failure = Some(failure);
                Input::PrepareFailed
            }
            Worked::Ran(end) => {
                performer.failure = end.failure;
                Input::RunEnded {
                    ok: performer.failure.is_none(),
                }
            }
            Worked::Packed(Ok(Some(results))) => {
                performer.results = Some(results);
                Input::Packed
            }
            Worked::Packed(Ok(None)) => Input::NothingToReturn,
            Worked::Packed(Err(failure)) => {
                performer.failure.get_or_insert(failure);
                Input::PackFailed
            }
        };
        performer.working = false;
        self.feed(&event, ctx);
    }
}

impl Handler<Hurry> for JobActor {
    type Result = ();

    fn handle(&mut self, _: Hurry, _: &mut Self::Context) {
        self.performer().halt.send_replace(Halt::Kill);
    }
}

impl Handler<StopJob> for JobActor {
    type Result = ();

    fn handle(&mut self, _: StopJob, ctx: &mut Self::Context) {
        let deadline = self.performer().stop_deadline();
        self.feed(&Input::StopRequested { deadline }, ctx);
    }
}
