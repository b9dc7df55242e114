//! The laws of `job`.

use std::time::Duration;

use loaner::charts::job::{Act, Input, Job, Outcome, Timer, Why};
use proptest::prelude::*;

use super::history::{History, Subject, config, histories};
use super::job_model::Model;

const GRACE: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);

impl Subject for Job {
    fn lives() -> Vec<Vec<Input>> {
        vec![vec![
            Input::PackageAnnounced,
            Input::PackageReceived,
            Input::Prepared,
            Input::StepStarted,
            Input::StepEnded { ok: true },
            Input::RunEnded { ok: true },
            Input::Packed,
            Input::ResultsSent,
        ]]
    }

    fn weight(event: &Input) -> u32 {
        match event {
            Input::StopRequested { .. }
            | Input::CancelRequested
            | Input::LinkLost
            | Input::Shutdown => 1,
            Input::PackageBroken
            | Input::PrepareFailed
            | Input::PackFailed
            | Input::SendFailed
            | Input::NothingToReturn => 2,
            _ => 12,
        }
    }
}

fn terminals(history: &History<Job>) -> usize {
    history.count(|act| matches!(act, Act::SendTerminal(_)))
}

/// Whether something is under way at the worker, judged by what was asked for and what was reported: never by the state.
fn under_way(
    mut before: bool,
    begun: &mut Option<Input>,
    moment: &super::history::Moment<Job>,
) -> bool {
    // The report that ends the work under way ends it; so does the word that everything has stopped, once that was asked.
    let ends = match (&*begun, &moment.event) {
        (Some(Input::PackageAnnounced), Some(Input::PackageReceived | Input::PackageBroken)) => {
            true
        }
        (Some(Input::PackageReceived), Some(Input::Prepared | Input::PrepareFailed)) => true,
        (Some(Input::Prepared), Some(Input::RunEnded { .. })) => true,
        (
            Some(Input::RunEnded { .. }),
            Some(Input::Packed | Input::PackFailed | Input::NothingToReturn),
        ) => true,
        (Some(Input::Packed), Some(Input::ResultsSent | Input::SendFailed)) => true,
        (_, Some(Input::WorkGone)) => moment.from == "terminating",
        _ => false,
    };
    if before && ends && (moment.from != "terminating" || moment.event == Some(Input::WorkGone)) {
        before = false;
        *begun = None;
    }
    let begins = moment.acts().any(|act| {
        matches!(
            act,
            Act::ReportBegun | Act::Prepare | Act::Run | Act::Pack | Act::ReturnResults
        )
    });
    if begins {
        begun.clone_from(&moment.event);
    }
    before || begins
}

proptest! {
    #![proptest_config(config())]

    /// The chart and the model, each written for itself, do the same, in the same order and at the same time
    /// (reading.md 7, 8 and 10; worker-peer-messaging.md, Job Status Updates).
    #[test]
    fn the_chart_does_what_the_model_does(history in histories::<Job>()) {
        let mut model = Model::new();
        for moment in &history.moments {
            let Some(event) = &moment.event else { continue };
            let expected = model.hears(moment.at, event);
            prop_assert_eq!(moment.acts().cloned().collect::<Vec<_>>(), expected, "{:?}", event);
            let stage = match moment.to {
                "completed" | "failed" | "cancelled" => "over",
                stage => stage,
            };
            prop_assert_eq!(stage, format!("{:?}", model.stage).to_lowercase());
        }
    }

    /// reading.md 7: one job, exactly one terminal message; none before the job is over.
    #[test]
    fn exactly_one_terminal_message(history in histories::<Job>()) {
        let over = history.chart_is("completed") || history.chart_is("failed") || history.chart_is("cancelled");
        prop_assert_eq!(terminals(&history), usize::from(over));
        prop_assert_eq!(history.count(|act| *act == Act::ReportEnded), usize::from(over));
    }

    /// reading.md 7 and 8: the terminal message is the last thing that the job says; only its own end is reported after it.
    #[test]
    fn nothing_follows_the_terminal_message(history in histories::<Job>()) {
        let after: Vec<_> = history
            .left_alone(MINUTE * 10)
            .acts()
            .skip_while(|act| !matches!(act, Act::SendTerminal(_)))
            .skip(1)
            .cloned()
            .collect();
        prop_assert!(after.is_empty() || after == [Act::ReportEnded], "{after:?}");
    }

    /// reading.md 8: a job is over only when its directory is gone, or could not be removed for a whole minute.
    #[test]
    fn the_directory_is_removed_before_the_terminal_message(history in histories::<Job>()) {
        let mut removing = None;
        for moment in &history.moments {
            if moment.acts().any(|act| matches!(act, Act::SendTerminal(_))) {
                let since = removing.expect("the directory was removed");
                let gone = moment.event == Some(Input::ScratchGone);
                prop_assert!(gone || moment.at - since == MINUTE);
            }
            if moment.has(&Act::RemoveScratch) {
                prop_assert!(removing.is_none(), "removed twice");
                removing = Some(moment.at);
            }
        }
    }

    /// reading.md 8: the directory is removed, and so the job is over, only when nothing of it is under way any more. A
    /// job_cancelled with cleanup_complete=true says just that (worker-peer-messaging.md, Cancel active job, PEER-08).
    #[test]
    fn a_job_is_over_only_when_its_work_is_gone(history in histories::<Job>()) {
        let (mut working, mut begun) = (false, None);
        for moment in &history.moments {
            working = under_way(working, &mut begun, moment);
            if moment.acts().any(|act| matches!(act, Act::RemoveScratch | Act::SendTerminal(_))) {
                prop_assert!(!working, "{begun:?} is under way");
            }
        }
    }

    /// reading.md 8; worker-peer-messaging.md, Cancel active job (PEER-08): SIGTERM, 10 s, SIGKILL, and again every 10 s until
    /// the processes are gone; never a SIGKILL before, and one SIGTERM at most. A cancel is such an end, also of a job that was asked to stop.
    #[test]
    fn a_process_group_has_10_s_between_sigterm_and_sigkill(history in histories::<Job>()) {
        prop_assert!(history.count(|act| *act == Act::TerminateWork) <= 1);
        let mut last: Option<Duration> = None;
        for moment in &history.moments {
            if moment.has(&Act::KillWork) && moment.from == "terminating" {
                prop_assert_eq!(Some(moment.at), last.map(|last| last + GRACE));
                last = Some(moment.at);
            }
            if moment.has(&Act::TerminateWork) {
                last = Some(moment.at);
            }
            prop_assert!(moment.to != "terminating" || last.is_some_and(|last| moment.at <= last + GRACE));
        }
    }

    /// worker-peer-messaging.md, Cancel active job (PEER-08); reading.md 10: a cancel, a lost link or a shutdown that comes
    /// while the job is not ending yet is how it ends; the first of them counts.
    #[test]
    fn the_first_reason_to_stop_is_how_the_job_ends(history in histories::<Job>()) {
        let stop = history.moments.iter().find_map(|moment| match moment.event {
            Some(Input::CancelRequested) if moment.counted() => Some(Outcome::Cancelled),
            Some(Input::StopRequested { .. })
                if ["assigned", "receiving", "preparing"].contains(&moment.from) =>
            {
                Some(Outcome::Cancelled)
            }
            Some(Input::LinkLost) if moment.counted() => Some(Outcome::Failed(Why::LinkLost)),
            Some(Input::Shutdown) if moment.counted() => Some(Outcome::Failed(Why::Shutdown)),
            _ => None,
        });
        for act in history.acts() {
            if let Act::SendTerminal(outcome) = act {
                match stop {
                    Some(stop) => prop_assert_eq!(*outcome, stop),
                    None => prop_assert!(*outcome != Outcome::Cancelled),
                }
            }
        }
    }

    /// A cancel, a lost link and a shutdown are heard in every state before the job is ending (PEER-08; reading.md 10; CONN-17).
    #[test]
    fn a_job_can_be_stopped_at_any_time(history in histories::<Job>()) {
        let ending = ["terminating", "cleaning", "completed", "failed", "cancelled"];
        for moment in &history.moments {
            if matches!(moment.event, Some(Input::CancelRequested | Input::LinkLost | Input::Shutdown)) {
                prop_assert_eq!(moment.counted(), !ending.contains(&moment.from));
            }
        }
    }

    /// A command that is asked to stop has as long as was said, and is killed then and every 10 s from there, until
    /// it is gone: a stop is no cancel, and what it wrote by then is packed.
    #[test]
    fn a_command_that_is_asked_to_stop_has_its_time(history in histories::<Job>()) {
        let mut next: Option<Duration> = None;
        let mut killed = false;
        for moment in &history.moments {
            if let (true, Some(Input::StopRequested { deadline })) = (moment.has(&Act::AskToStop), &moment.event) {
                next = Some(moment.at + *deadline);
            }
            if moment.has(&Act::KillWork) && moment.from == "stopping" {
                prop_assert_eq!(Some(moment.at), next);
                (next, killed) = (Some(moment.at + GRACE), true);
            }
            prop_assert!(!moment.has(&Act::AskToStop) || moment.from == "running");
            prop_assert!(moment.to != "stopping" || next.is_some_and(|next| moment.at <= next));
            if moment.from == "stopping" && matches!(moment.event, Some(Input::RunEnded { .. })) {
                prop_assert!(moment.has(&Act::Pack));
            }
        }
        if killed {
            prop_assert!(!history.acts().any(|act| *act == Act::SendTerminal(Outcome::Completed)));
        }
    }

    /// reading.md 8: job_complete means that every command succeeded and that the results, if there were any, have left.
    #[test]
    fn complete_means_complete(history in histories::<Job>()) {
        if !history.acts().any(|act| *act == Act::SendTerminal(Outcome::Completed)) {
            return Ok(());
        }
        let counted = |event: Input| {
            history.moments.iter().any(|moment| moment.counted() && moment.event.as_ref() == Some(&event))
        };
        let succeeded = counted(Input::RunEnded { ok: true });
        prop_assert!(succeeded);
        prop_assert!(counted(Input::NothingToReturn) || counted(Input::ResultsSent));
        prop_assert!(!counted(Input::CancelRequested) && !counted(Input::LinkLost) && !counted(Input::Shutdown));
    }

    /// worker-peer-messaging.md, Job Status Updates (PEER-14, PEER-15): "starting" for each command that starts, a status for
    /// each that succeeds, and only while the job runs; a failure is told by the terminal message alone (PEER-16).
    #[test]
    fn status_is_told_of_each_command_while_the_job_runs(history in histories::<Job>()) {
        let mut killed = false;
        for moment in &history.moments {
            let running = moment.from == "running";
            // A command that was killed did not end well, whatever is reported of it.
            let commands = running || (moment.from == "stopping" && !killed);
            let (starts, succeeds) = (
                moment.event == Some(Input::StepStarted),
                moment.event == Some(Input::StepEnded { ok: true }),
            );
            prop_assert_eq!(moment.has(&Act::SendStarting), running && starts);
            prop_assert_eq!(moment.has(&Act::SendStepDone), commands && succeeds);
            killed |= moment.has(&Act::KillWork);
        }
    }

    /// reading.md 4 and 8: a job whose package never comes is given up after exactly 60 s, and frees the worker.
    #[test]
    fn an_assigned_job_waits_60_s_for_its_package(history in histories::<Job>()) {
        history.lasts_at_most("assigned", Timer::Assignment, MINUTE)?;
        history.lasts_at_most("cleaning", Timer::Cleaning, MINUTE)?;
        if history.chart_is("assigned") {
            let alone = history.left_alone(MINUTE * 2);
            prop_assert!(alone.acts().any(|act| *act == Act::SendTerminal(Outcome::Failed(Why::NoPackage))));
        }
    }

    /// reading.md 8: once nothing is under way any more, the end comes within a minute, whatever else happens or does not.
    #[test]
    fn once_the_work_is_gone_the_end_comes_within_a_minute(history in histories::<Job>()) {
        if history.acts().any(|act| *act == Act::RemoveScratch) {
            prop_assert_eq!(terminals(&history.left_alone(MINUTE)), 1);
        }
    }
}
