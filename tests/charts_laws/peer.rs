//! The laws of `peer`.

use std::time::Duration;

use loaner::charts::peer::{Act, Input, Lost, Peer, Timer};
use proptest::prelude::*;

use super::history::{Subject, config, histories};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The offering side is the first of the chart's starts.
const OFFERER: usize = 0;

impl Subject for Peer {
    fn lives() -> Vec<Vec<Input>> {
        vec![vec![
            Input::Begin,
            Input::Agreed,
            Input::IceConnected,
            Input::ChannelCreated,
            Input::ChannelOpen,
            Input::JobBegan,
            Input::JobEnded,
        ]]
    }

    fn weight(event: &Input) -> u32 {
        match event {
            Input::Close | Input::NegotiationFailed | Input::GivenUp | Input::ChannelClosed => 1,
            Input::ChannelOpen => 4,
            _ => 8,
        }
    }
}

proptest! {
    #![proptest_config(config())]

    /// worker-connection.md, Clean Exit (CONN-13): the stack is closed exactly once, after the watchdog's end was told.
    #[test]
    fn the_stack_is_closed_exactly_once(history in histories::<Peer>()) {
        let ends = history.chart_is("closing") || history.chart_is("closed");
        prop_assert_eq!(history.count(|act| *act == Act::CloseStack), usize::from(ends));
        prop_assert_eq!(history.count(|act| *act == Act::EndWatchdog), usize::from(ends));
        let last_words: Vec<_> = history
            .acts()
            .filter(|act| matches!(act, Act::CloseStack | Act::EndWatchdog))
            .collect();
        prop_assert!(!ends || last_words == [&Act::EndWatchdog, &Act::CloseStack]);
    }

    /// worker-connection.md, Connection closed by client (CONN-05): the end is reported exactly once, and is the last word.
    #[test]
    fn the_end_is_reported_once_and_last(history in histories::<Peer>()) {
        let reported = history.count(|act| *act == Act::ReportClosed);
        prop_assert_eq!(reported, usize::from(history.chart_is("closed")));
        if reported == 1 {
            prop_assert_eq!(history.acts().last(), Some(&Act::ReportClosed));
        }
    }

    /// worker-connection.md, Shutdown during ICE state change (CONN-14); reading.md 14: once a connection is being closed,
    /// whatever ICE, channels and jobs report, only its end is told.
    #[test]
    fn nothing_but_the_end_follows_closing(history in histories::<Peer>()) {
        let after: Vec<_> = history
            .left_alone(seconds(3600))
            .acts()
            .skip_while(|act| **act != Act::CloseStack)
            .skip(1)
            .cloned()
            .collect();
        prop_assert!(after.is_empty() || after == [Act::ReportClosed], "{after:?}");
    }

    /// worker-connection.md, Clean Exit (CONN-13): a connection can be closed at any time, and is then gone within 5 s.
    #[test]
    fn closing_takes_at_most_5_s(history in histories::<Peer>()) {
        history.lasts_at_most("closing", Timer::Closing, seconds(5))?;
        for moment in &history.moments {
            if moment.event == Some(Input::Close) {
                prop_assert!(["closing", "closed"].contains(&moment.to));
            }
        }
        if history.chart_is("closing") {
            prop_assert!(history.left_alone(seconds(5)).chart_is("closed"));
        }
    }

    /// reading.md 10; CONN-05 to CONN-07: a loss is reported at most once, and one that was wished for is none.
    #[test]
    fn a_loss_is_reported_at_most_once(history in histories::<Peer>()) {
        prop_assert!(history.count(|act| matches!(act, Act::ReportLost(_))) <= 1);
        for moment in &history.moments {
            let lost = moment.acts().any(|act| matches!(act, Act::ReportLost(_)));
            prop_assert!(!lost || moment.to == "closing");
            let wished = moment.event == Some(Input::Close) || moment.fired() == Some(Timer::Linger);
            prop_assert!(!(lost && wished));
        }
    }

    /// CONN-04 to CONN-07: what is lost is what there was: a connection that never opened, or one that had opened and was
    /// closed by the other side, or whose path the watchdog gave up. It opens at most once.
    #[test]
    fn a_loss_says_what_was_lost(history in histories::<Peer>()) {
        prop_assert!(history.count(|act| *act == Act::ReportOpen) <= 1);
        let mut open = false;
        for moment in &history.moments {
            for act in moment.acts() {
                match act {
                    Act::ReportOpen => open = true,
                    Act::ReportLost(Lost::NeverOpened) => prop_assert!(!open),
                    Act::ReportLost(Lost::ClosedByPeer) => {
                        prop_assert!(open && moment.event == Some(Input::ChannelClosed));
                    }
                    Act::ReportLost(Lost::PathLost) => prop_assert!(open && moment.event == Some(Input::GivenUp)),
                    _ => {}
                }
            }
        }
    }

    /// worker-connection.md, Connection disconnected (CONN-07): on an open connection ICE's troubles go to the watchdog, which
    /// has the last word; a path that is gone for a while closes nothing.
    #[test]
    fn the_watchdog_has_the_last_word_on_an_open_connection(history in histories::<Peer>()) {
        for moment in history.moments.iter().filter(|moment| ["open", "lingering"].contains(&moment.from)) {
            let told = match moment.event {
                Some(Input::IceConnected) => Act::TellWatchdogConnected,
                Some(Input::IceDisconnected) => Act::TellWatchdogDisconnected,
                Some(Input::IceFailed) => Act::TellWatchdogFailed,
                _ => continue,
            };
            prop_assert_eq!(moment.from, moment.to);
            prop_assert_eq!(moment.acts().collect::<Vec<_>>(), vec![&told]);
        }
    }

    /// worker-connection.md, Connection established (CONN-04): while a connection comes up, its success is logged, and its
    /// failure ends it at once.
    #[test]
    fn success_is_logged_and_failure_ends_the_setup(history in histories::<Peer>()) {
        for moment in history.moments.iter().filter(|moment| ["negotiating", "connecting"].contains(&moment.from)) {
            let fails = matches!(
                moment.event,
                Some(Input::IceFailed | Input::NegotiationFailed | Input::ChannelClosed | Input::GivenUp)
            );
            let expires = moment.fired() == Some(Timer::Setup);
            prop_assert_eq!(moment.has(&Act::ReportLost(Lost::NeverOpened)), fails || expires);
            prop_assert_eq!(moment.has(&Act::LogConnected), moment.event == Some(Input::IceConnected));
        }
    }

    /// worker-connection.md, Data channel created by client (CONN-08): every channel of a connection in use is served.
    #[test]
    fn every_channel_is_served(history in histories::<Peer>()) {
        for moment in &history.moments {
            let made = moment.event == Some(Input::ChannelCreated);
            let in_use = ["negotiating", "connecting", "open", "lingering"].contains(&moment.from);
            prop_assert_eq!(moment.has(&Act::ServeChannel), made && in_use);
        }
    }

    /// worker-connection.md, Receive offer from client (CONN-01): each side makes its own description, once, at the beginning.
    #[test]
    fn each_side_describes_itself_once(history in histories::<Peer>()) {
        let (mine, others) = if history.start == OFFERER {
            (Act::SendOffer, Act::SendAnswer)
        } else {
            (Act::SendAnswer, Act::SendOffer)
        };
        let began = history.moments.iter().any(|moment| moment.counted() && moment.event == Some(Input::Begin));
        prop_assert_eq!(history.count(|act| *act == mine), usize::from(began));
        prop_assert_eq!(history.count(|act| *act == others), 0);
        prop_assert!(!began || history.acts().next() == Some(&mine));
    }

    /// A setup has an end: 20 s for the descriptions, then 30 s where this side answers, and 6 s where it offers and can try
    /// again (reading.md 4: a reservation must not hang on a connection that never comes up).
    #[test]
    fn a_setup_is_bounded(history in histories::<Peer>()) {
        history.lasts_at_most("negotiating", Timer::Setup, seconds(20))?;
        let connecting = if history.start == OFFERER { seconds(6) } else { seconds(30) };
        history.lasts_at_most("connecting", Timer::Setup, connecting)?;
        if history.chart_is("negotiating") || history.chart_is("connecting") {
            let alone = history.left_alone(seconds(35));
            prop_assert!(alone.chart_is("closed"));
            prop_assert!(alone.acts().any(|act| *act == Act::ReportLost(Lost::NeverOpened)));
        }
    }

    /// reading.md 11: a connection whose job ended is closed after exactly 30 s, unless another job begins on it.
    #[test]
    fn an_idle_connection_lingers_30_s(history in histories::<Peer>()) {
        history.lasts_at_most("lingering", Timer::Linger, seconds(30))?;
        for moment in &history.moments {
            let ended = moment.from == "open" && moment.event == Some(Input::JobEnded);
            prop_assert_eq!(moment.from == "open" && moment.to == "lingering", ended);
            if moment.from == "lingering" && moment.event == Some(Input::JobBegan) {
                prop_assert_eq!(moment.to, "open");
                prop_assert!(moment.running.is_empty());
            }
        }
        if history.chart_is("open") {
            prop_assert!(history.left_alone(seconds(3600)).chart_is("open"));
        }
    }
}
