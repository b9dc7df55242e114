//! The laws of `submission`.

use std::time::Duration;

use loaner::charts::submission::{Act, Input, Submission, Timer, Why};
use proptest::prelude::*;

use super::history::{History, Subject, config, histories};

/// Which of the chart's starts is that of a package at the worker.
const NAMED: usize = 1;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Subject for Submission {
    fn lives() -> Vec<Vec<Input>> {
        let begin = |negotiates| {
            vec![
                Input::Start,
                Input::WorkersFound,
                Input::WorkerChosen { negotiates },
            ]
        };
        let work = |ok| {
            vec![
                Input::ChannelOpen,
                Input::PackageSent,
                Input::CommandsDone { ok },
                Input::ResultsAnnounced,
                Input::ResultsReceived,
            ]
        };
        // In an inference the last word comes behind the result.
        let inference = |verdict: Vec<Input>| {
            [
                vec![
                    Input::ChannelOpen,
                    Input::PackageSent,
                    Input::ResultsAnnounced,
                    Input::ResultsReceived,
                ],
                verdict,
            ]
            .concat()
        };
        let done = Input::CommandsDone { ok: true };
        let verdict = Input::JobOver { ok: true };
        let accepted = vec![Input::JobAccepted];
        // The package is at the worker: what comes counts from its answer on, and nothing comes back.
        let named = |ok| {
            vec![
                Input::ChannelOpen,
                Input::FileFound,
                Input::CommandsDone { ok },
                Input::JobOver { ok },
            ]
        };
        let cancel = vec![
            Input::ChannelOpen,
            Input::Interrupt,
            Input::JobOver { ok: true },
        ];
        vec![
            [begin(true), accepted.clone(), work(true)].concat(),
            [begin(true), accepted.clone(), cancel].concat(),
            [begin(true), accepted.clone(), named(true)].concat(),
            [begin(false), named(true)].concat(),
            [begin(false), named(false)].concat(),
            [
                begin(true),
                accepted,
                inference(vec![done, verdict.clone()]),
            ]
            .concat(),
            [begin(false), inference(vec![verdict])].concat(),
            [begin(false), work(true)].concat(),
            [begin(false), work(false)].concat(),
        ]
    }

    fn weight(event: &Input) -> u32 {
        match event {
            Input::Interrupt
            | Input::LinkLost
            | Input::JobOver { ok: false }
            | Input::JobCancelled => 1,
            Input::NoWorker
            | Input::JobRejected
            | Input::WorkerBusy
            | Input::WorkerLeft
            | Input::SendFailed
            | Input::FileMissing
            | Input::ReceiveFailed => 1,
            _ => 12,
        }
    }
}

fn ends(act: &Act) -> bool {
    matches!(act, Act::ReportDone | Act::ReportFailed(_))
}

fn is_over(history: &History<Submission>) -> bool {
    history.chart_is("done") || history.chart_is("failed")
}

/// Whether the worker that was chosen is one of ours.
fn negotiates(history: &History<Submission>) -> bool {
    history.moments.iter().any(|moment| {
        moment.counted() && moment.event == Some(Input::WorkerChosen { negotiates: true })
    })
}

proptest! {
    #![proptest_config(config())]

    /// reading.md 7, from the client's side: a submission has one end, and it is the last thing that is said.
    #[test]
    fn the_end_is_told_once_and_last(history in histories::<Submission>()) {
        prop_assert_eq!(history.count(ends), usize::from(is_over(&history)));
        prop_assert!(!is_over(&history) || history.acts().last().is_some_and(ends));
    }

    /// reading.md 3: a connection is tried three times at the most, and what did not come up is dropped before the next is tried.
    #[test]
    fn at_most_three_connections_are_tried(history in histories::<Submission>()) {
        prop_assert!(history.count(|act| *act == Act::Dial) <= 3);
        let mut dialled = false;
        for act in history.acts() {
            match act {
                Act::Dial => {
                    prop_assert!(!dialled, "two connections at once");
                    dialled = true;
                }
                Act::DropConnection => {
                    prop_assert!(dialled);
                    dialled = false;
                }
                _ => {}
            }
        }
        history.lasts_at_most("requesting", Timer::Answer, seconds(5))?;
        history.lasts_at_most("discovering", Timer::Answer, seconds(5))?;
        for stay in history.stays("dialling") {
            prop_assert!(stay.until - stay.entered <= seconds(30) * 3);
        }
    }

    /// PEER-03 and PEER-06, from the client's side: a job is assigned only to a worker that accepted it, once, and before the
    /// first connection is tried.
    #[test]
    fn a_job_is_assigned_only_when_accepted(history in histories::<Submission>()) {
        let mut accepted = false;
        let mut dialled = false;
        prop_assert!(history.count(|act| *act == Act::SendJobRequest) <= 1);
        prop_assert!(history.count(|act| *act == Act::SendJobAssignment) <= 1);
        for moment in &history.moments {
            accepted |= moment.event == Some(Input::JobAccepted) && moment.from == "requesting";
            for act in moment.acts() {
                match act {
                    Act::SendJobAssignment => prop_assert!(accepted && !dialled),
                    Act::Dial => {
                        prop_assert!(!negotiates(&history) || accepted);
                        dialled = true;
                    }
                    _ => {}
                }
            }
        }
    }

    /// PEER-08 and PEER-09, from the client's side: a cancel is sent once at the most, and only for a job that was assigned.
    #[test]
    fn a_cancel_follows_an_assignment(history in histories::<Submission>()) {
        prop_assert!(history.count(|act| *act == Act::SendJobCancel) <= 1);
        let mut assigned = false;
        for act in history.acts() {
            prop_assert!(assigned || *act != Act::SendJobCancel);
            assigned |= *act == Act::SendJobAssignment;
        }
    }

    /// CONN-09 and PEER-07, from the client's side: the package goes out once, on a channel that is open; one that is at the
    /// worker is named there once, and never sent.
    #[test]
    fn the_package_is_sent_or_named_once_on_an_open_channel(history in histories::<Submission>()) {
        let (way, other) = match history.start {
            NAMED => (Act::NameFile, Act::SendPackage),
            _ => (Act::SendPackage, Act::NameFile),
        };
        prop_assert!(history.count(|act| *act == way) <= 1);
        prop_assert_eq!(history.count(|act| *act == other), 0);
        for moment in &history.moments {
            let opens = moment.from == "dialling" && moment.event == Some(Input::ChannelOpen);
            prop_assert_eq!(moment.has(&way), opens);
        }
    }

    /// CONN-10 and protocol page, 4.6, from the client's side: the worker has 30 s to say whether it has the file; what it says
    /// decides, once, and the job is watched only when it has. One of ours that it is in vain for is free at once.
    #[test]
    fn a_named_file_is_watched_only_when_the_worker_has_it(history in histories::<Submission>()) {
        history.lasts_at_most("validating", Timer::Validation, seconds(30))?;
        for moment in &history.moments {
            let validates = moment.from == "validating";
            let in_vain = validates && matches!(moment.event, Some(Input::FileMissing | Input::Fired(Timer::Validation)));
            prop_assert_eq!(moment.has(&Act::ReleaseWorker), in_vain && negotiates(&history));
            let to = match moment.event {
                Some(Input::FileFound) if validates => "watching",
                Some(Input::FileMissing) if validates => {
                    prop_assert!(moment.has(&Act::ReportFailed(Why::NoFile)));
                    "failed"
                }
                Some(Input::Fired(Timer::Validation)) => {
                    prop_assert!(validates && moment.has(&Act::ReportFailed(Why::NotValidated)));
                    "failed"
                }
                Some(Input::FileFound | Input::FileMissing) => {
                    prop_assert!(!moment.counted());
                    continue;
                }
                _ => continue,
            };
            prop_assert_eq!(moment.to, to);
        }
        let watched = history.start == NAMED && history.moments.iter().any(|moment| moment.to == "watching");
        let found = history.moments.iter().any(|moment| moment.counted() && moment.event == Some(Input::FileFound));
        prop_assert!(!watched || found);
    }

    /// Protocol page, 4.6: the results of a package at the worker stay there; whatever a worker announces, nothing is received.
    #[test]
    fn nothing_comes_back_from_a_named_file(history in histories::<Submission>()) {
        if history.start == NAMED {
            prop_assert_eq!(history.count(|act| *act == Act::ReceiveResults), 0);
        }
    }

    /// Ctrl+C, twice: the first is answered at once, and the second ends everything at once (issue 2, "Ctrl+C anywhere, twice
    /// too, cleans up").
    #[test]
    fn a_second_interrupt_ends_at_once(history in histories::<Submission>()) {
        let mut interrupts = 0;
        for moment in &history.moments {
            if moment.event != Some(Input::Interrupt) {
                continue;
            }
            interrupts += 1;
            let over = ["done", "failed"].contains(&moment.to);
            prop_assert!(over || (interrupts == 1 && moment.to == "cancelling"));
            if moment.from == "cancelling" {
                prop_assert!(moment.has(&Act::ReportFailed(Why::Interrupted)));
            }
        }
    }

    /// PEER-08: a cancelled job's acknowledgement is waited for, 25 s at the most: the worker's 10 s of grace, and some.
    #[test]
    fn a_cancel_is_waited_for_25_s(history in histories::<Submission>()) {
        history.lasts_at_most("cancelling", Timer::Cancel, seconds(25))?;
        for moment in history.moments.iter().filter(|moment| moment.from == "cancelling" && moment.to != "cancelling") {
            prop_assert!(moment.has(&Act::ReportFailed(Why::Interrupted)));
        }
        for moment in history.moments.iter().filter(|moment| moment.from == "cancelling") {
            let acknowledged = matches!(moment.event, Some(Input::JobCancelled | Input::JobOver { .. }));
            prop_assert!(!acknowledged || moment.to == "failed");
        }
    }

    /// Nothing is left half-written (issue 2, "Bad input"): when the end is told, no stream is under way.
    #[test]
    fn no_stream_outlives_the_submission(history in histories::<Submission>()) {
        let (mut upload, mut download) = (false, false);
        for moment in &history.moments {
            match moment.event {
                Some(Input::PackageSent | Input::SendFailed) => upload = false,
                // The worker has the package if it says what became of it: what is left is an acknowledgement.
                Some(Input::CommandsDone { .. } | Input::ResultsAnnounced | Input::JobOver { ok: true }) => upload = false,
                Some(Input::ResultsReceived | Input::ReceiveFailed) => download = false,
                _ => {}
            }
            for act in moment.acts() {
                match act {
                    Act::SendPackage => upload = true,
                    Act::ReceiveResults => {
                        prop_assert!(!upload && !download, "two streams at once");
                        download = true;
                    }
                    Act::StopStreams => (upload, download) = (false, false),
                    act if ends(act) => prop_assert!(!upload && !download, "{act:?} with a stream under way"),
                    _ => {}
                }
            }
        }
    }

    /// reading.md 8: done means that the worker says so and that what it returned is here; a foreign worker does not say so, and
    /// its results, with no failed command before them, stand for it.
    #[test]
    fn done_means_done(history in histories::<Submission>()) {
        if !history.chart_is("done") {
            return Ok(());
        }
        let heard = |event: Input| {
            history.moments.iter().any(|moment| moment.counted() && moment.event.as_ref() == Some(&event))
        };
        let received = heard(Input::ResultsReceived);
        prop_assert!(received || !history.acts().any(|act| *act == Act::ReceiveResults));
        let (complete, failed) = (heard(Input::JobOver { ok: true }), heard(Input::CommandsDone { ok: false }));
        let named = history.start == NAMED;
        prop_assert!(complete || (received && !failed && !negotiates(&history) && !named));
        prop_assert!(history.acts().any(|act| [Act::SendPackage, Act::NameFile].contains(act)));
    }

    /// reading.md 7: the verdict and the results come by different ways inside the client, and either may be first: when both
    /// are here, the submission is done at once.
    #[test]
    fn results_and_verdict_may_come_in_either_order(history in histories::<Submission>()) {
        if !negotiates(&history) {
            return Ok(());
        }
        let (mut received, mut complete) = (false, false);
        for moment in &history.moments {
            let fetches = ["fetching", "concluding"].contains(&moment.from);
            received |= fetches && moment.event == Some(Input::ResultsReceived);
            complete |= fetches && moment.event == Some(Input::JobOver { ok: true });
            prop_assert!(!fetches || moment.has(&Act::ReportDone) == (received && complete));
        }
    }

    /// A job can be over before its package is acknowledged to the last byte: what a fast worker says meanwhile is not lost.
    #[test]
    fn what_a_fast_worker_says_is_not_lost(history in histories::<Submission>()) {
        for moment in history.moments.iter().filter(|moment| moment.from == "sending") {
            let to = match moment.event {
                Some(Input::CommandsDone { .. }) => "awaiting",
                Some(Input::ResultsAnnounced) => "fetching",
                Some(Input::JobOver { ok: true }) => "done",
                Some(Input::PackageSent) => "watching",
                _ => continue,
            };
            prop_assert_eq!(moment.to, to);
        }
        for moment in &history.moments {
            let waits = ["sending", "watching", "awaiting"].contains(&moment.from);
            let sent = history.start != NAMED;
            let announced = waits && sent && moment.event == Some(Input::ResultsAnnounced);
            prop_assert_eq!(moment.has(&Act::ReceiveResults), announced);
        }
    }

    /// Protocol page, 4.7: in an inference the commands' end is told behind the results, and changes nothing then: neither
    /// is the stream disturbed, nor is anything waited for that came already.
    #[test]
    fn the_commands_end_may_come_behind_the_results(history in histories::<Submission>()) {
        for moment in &history.moments {
            let fetches = ["fetching", "concluding", "done"].contains(&moment.from);
            if fetches && matches!(moment.event, Some(Input::CommandsDone { .. })) {
                prop_assert_eq!((moment.from, moment.acts().count()), (moment.to, 0));
            }
        }
    }

    /// reading.md 10: a link that is lost for good ends a submission that was under way, at once.
    #[test]
    fn a_lost_link_ends_it(history in histories::<Submission>()) {
        let engaged = ["validating", "sending", "watching", "awaiting", "fetching", "concluding"];
        for moment in history.moments.iter().filter(|moment| engaged.contains(&moment.from)) {
            if moment.event == Some(Input::LinkLost) {
                prop_assert!(moment.has(&Act::ReportFailed(Why::LinkLost)));
            }
        }
    }

    /// reading.md 7: job_failed, or a job_cancelled that nobody here asked for, ends it as failed, at once.
    #[test]
    fn the_workers_failure_is_the_submissions(history in histories::<Submission>()) {
        let engaged = ["dialling", "validating", "sending", "watching", "awaiting", "fetching", "concluding"];
        for moment in history.moments.iter().filter(|moment| engaged.contains(&moment.from)) {
            if matches!(moment.event, Some(Input::JobOver { ok: false } | Input::JobCancelled)) {
                prop_assert!(moment.has(&Act::ReportFailed(Why::JobFailed)));
            }
        }
    }

    /// Left alone, a submission ends, unless it waits for a person, a stream, or a training: those have no deadline here.
    #[test]
    fn left_alone_it_ends_or_waits_for_what_has_no_deadline(history in histories::<Submission>()) {
        history.lasts_at_most("awaiting", Timer::Results, seconds(900))?;
        history.lasts_at_most("concluding", Timer::Verdict, seconds(90))?;
        let alone = history.left_alone(seconds(900));
        let waits = ["idle", "choosing", "sending", "watching", "fetching"];
        prop_assert!(is_over(&alone) || waits.iter().any(|state| alone.chart_is(state)));
    }
}
