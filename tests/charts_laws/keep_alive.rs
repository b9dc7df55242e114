//! The laws of `keep_alive`.

use std::time::Duration;

use loaner::charts::keep_alive::{Act, Input, KeepAlive, Timer};
use proptest::prelude::*;

use super::history::{History, Subject, config, histories};

const BEAT: Duration = Duration::from_secs(15);

impl Subject for KeepAlive {
    fn weight(event: &Input) -> u32 {
        match event {
            Input::ChannelOpen => 12,
            Input::ChannelClosed => 1,
            Input::Fired(_) => 0,
        }
    }
}

/// When the channel opened, and when it closed or the history ended.
fn open(history: &History<KeepAlive>) -> Option<(Duration, Duration)> {
    let closed = history
        .moments
        .iter()
        .find(|moment| moment.event == Some(Input::ChannelClosed))
        .map_or(history.now, |moment| moment.at);
    let opened = history
        .moments
        .iter()
        .find(|moment| moment.event == Some(Input::ChannelOpen))?;
    (opened.at <= closed && opened.to == "beating").then_some((opened.at, closed))
}

proptest! {
    #![proptest_config(config())]

    /// worker-connection.md, Send keep-alive when channel open (CONN-11); reading.md 19: one beat every 15 s, the first
    /// 15 s after the channel opened, however late that was and however often it was said; none before.
    #[test]
    fn a_beat_every_15_s_from_the_moment_that_the_channel_is_open(history in histories::<KeepAlive>()) {
        let beats: Vec<_> = history
            .moments
            .iter()
            .filter(|moment| moment.has(&Act::SendKeepAlive))
            .map(|moment| moment.at)
            .collect();
        let Some((opened, closed)) = open(&history) else {
            prop_assert!(beats.is_empty());
            return Ok(());
        };
        let mut expected: Vec<_> = (1..)
            .map(|n| opened + BEAT * n)
            .take_while(|at| *at <= closed)
            .collect();
        // A beat that is due at the very moment of the end may be left out.
        if expected.last() == Some(&closed) && beats.len() + 1 == expected.len() {
            expected.pop();
        }
        prop_assert_eq!(beats, expected);
    }

    /// worker-connection.md, Send keep-alive when channel open (CONN-11): "continue until channel closes", and never after.
    #[test]
    fn no_beat_after_the_channel_closed(history in histories::<KeepAlive>()) {
        let mut closed = false;
        for moment in history.left_alone(BEAT * 10).moments {
            prop_assert!(!(closed && moment.has(&Act::SendKeepAlive)));
            closed |= moment.event == Some(Input::ChannelClosed);
            prop_assert!(!closed || moment.running.is_empty());
        }
    }

    /// worker-connection.md, Send keep-alive when channel open (CONN-11): however long nothing else happens, the beats go on.
    #[test]
    fn an_open_channel_is_kept_alive_for_as_long_as_it_is_open(history in histories::<KeepAlive>()) {
        let alone = history.left_alone(BEAT * 240);
        let beats = alone.count(|act| *act == Act::SendKeepAlive);
        if history.chart_is("beating") {
            let (opened, _) = open(&history).expect("it is open");
            prop_assert_eq!(beats as u128, (alone.now - opened).as_nanos() / BEAT.as_nanos());
        } else {
            prop_assert_eq!(beats, history.count(|act| *act == Act::SendKeepAlive));
        }
    }

    /// worker-connection.md, Data channel open (CONN-09): the beat is what starts with the channel, and nothing else.
    #[test]
    fn a_beat_is_sent_only_by_its_timer(history in histories::<KeepAlive>()) {
        for moment in &history.moments {
            let beats = moment.acts().count();
            prop_assert_eq!(beats, usize::from(moment.fired() == Some(Timer::Beat)));
        }
    }
}
