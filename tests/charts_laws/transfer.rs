//! The laws of `transfer`.

use std::time::Duration;

use loaner::charts::transfer::{Act, Input, Timer, Transfer};
use proptest::prelude::*;

use super::history::{Subject, config, histories};

const STALL: Duration = Duration::from_secs(120);

impl Subject for Transfer {
    fn weight(event: &Input) -> u32 {
        match event {
            Input::Progressed => 16,
            Input::Started | Input::Ended | Input::Verified => 4,
            Input::Broke | Input::Abort => 1,
            Input::Fired(_) => 0,
        }
    }
}

fn ends(act: &Act) -> bool {
    matches!(act, Act::ReportDone | Act::ReportFailed)
}

proptest! {
    #![proptest_config(config())]

    /// The end of a transfer is told once, and is the last thing that is told (issue 2, "nothing is half-written under its
    /// final name": there is a file, or there is none).
    #[test]
    fn the_end_is_told_once_and_last(history in histories::<Transfer>()) {
        let ended = history.count(ends);
        prop_assert_eq!(ended, usize::from(history.chart_is("done") || history.chart_is("failed")));
        if ended == 1 {
            prop_assert!(history.acts().last().is_some_and(ends));
        }
    }

    /// A stream that was told to stop never comes to a file, and every failure stops the stream first.
    #[test]
    fn a_stopped_stream_brings_no_file(history in histories::<Transfer>()) {
        let acts: Vec<_> = history.acts().collect();
        let allowed: [&[Act]; 3] = [&[], &[Act::ReportDone], &[Act::StopStream, Act::ReportFailed]];
        prop_assert!(allowed.iter().any(|allowed| allowed.iter().eq(acts.iter().copied())), "{:?}", acts);
    }

    /// A file is there only when its end came and it was verified after that.
    #[test]
    fn a_file_is_verified_after_its_end(history in histories::<Transfer>()) {
        let mut ended = false;
        for moment in &history.moments {
            if moment.has(&Act::ReportDone) {
                prop_assert!(ended && moment.event == Some(Input::Verified));
            }
            ended |= moment.event == Some(Input::Ended);
        }
    }

    /// A transfer is given up exactly 120 s after its last progress: its announcement, its first bytes, more bytes, its end.
    /// That is longer than the 90 s of CONN-07, so that a path that comes back finds its file.
    #[test]
    fn a_stall_is_120_s_without_progress(history in histories::<Transfer>()) {
        let mut progress = Duration::ZERO;
        for moment in &history.moments {
            prop_assert!(["done", "failed"].contains(&moment.from) || moment.at <= progress + STALL);
            if moment.fired() == Some(Timer::Stall) {
                prop_assert_eq!(moment.at, progress + STALL);
                prop_assert!(moment.has(&Act::ReportFailed));
            }
            let moves = matches!(moment.event, Some(Input::Started | Input::Progressed | Input::Ended));
            if moves && moment.counted() {
                progress = moment.at;
            }
        }
    }

    /// Every milestone that a stream reports in its order is progress, also the end of an empty file, which never started.
    #[test]
    fn milestones_in_their_order_are_heard(history in histories::<Transfer>()) {
        for moment in &history.moments {
            let heard = match (moment.from, &moment.event) {
                ("announced", Some(Input::Started | Input::Ended)) => true,
                ("streaming", Some(Input::Progressed | Input::Ended)) => true,
                ("verifying", Some(Input::Progressed | Input::Verified)) => true,
                ("announced" | "streaming" | "verifying", Some(Input::Broke | Input::Abort)) => true,
                _ => continue,
            };
            prop_assert_eq!(moment.counted(), heard);
        }
    }

    /// Left alone, a transfer is over within its 120 s.
    #[test]
    fn left_alone_it_ends(history in histories::<Transfer>()) {
        let alone = history.left_alone(STALL);
        prop_assert!(alone.chart_is("done") || alone.chart_is("failed"));
    }
}
