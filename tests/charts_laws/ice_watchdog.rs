//! The laws of `ice_watchdog`.

use std::time::Duration;

use loaner::charts::ice_watchdog::{Act, IceWatchdog, Input, Timer};
use proptest::prelude::*;

use super::history::{Subject, config, histories};

const PATIENCE: Duration = Duration::from_secs(90);
const TICK: Duration = Duration::from_secs(1);

impl Subject for IceWatchdog {
    fn weight(event: &Input) -> u32 {
        match event {
            Input::Connected => 2,
            Input::Disconnected => 12,
            Input::Failed | Input::Closed => 1,
            Input::Fired(_) => 0,
        }
    }
}

proptest! {
    #![proptest_config(config())]

    /// worker-connection.md, Connection disconnected (CONN-07); reading.md 12: after 90 s the connection is reset, and not
    /// before, counted from the first word of it and not from a later one.
    #[test]
    fn disconnected_for_90_s_is_a_reset_and_not_before(history in histories::<IceWatchdog>()) {
        history.lasts_at_most("suspect", Timer::Patience, PATIENCE)?;
        for stay in history.stays("suspect") {
            let reset = stay.ended.is_some_and(|moment| moment.has(&Act::ResetConnection));
            let failed = stay.ended.is_some_and(|moment| moment.event == Some(Input::Failed));
            let waited = stay.until - stay.entered == PATIENCE;
            prop_assert!(!reset || failed || waited);
        }
        if history.stays("suspect").last().is_some_and(|stay| stay.ended.is_none()) {
            let alone = history.left_alone(PATIENCE);
            prop_assert!(alone.acts().any(|act| *act == Act::ResetConnection));
        }
    }

    /// worker-connection.md, Connection disconnected (CONN-07): "check every second if state returns to connected".
    #[test]
    fn a_suspect_connection_is_looked_at_every_second(history in histories::<IceWatchdog>()) {
        for stay in history.stays("suspect") {
            let looks: Vec<_> = history
                .moments
                .iter()
                .filter(|moment| moment.has(&Act::LookAtIce))
                .map(|moment| moment.at)
                .filter(|at| (stay.entered..=stay.until).contains(at) && *at > stay.entered)
                .collect();
            let mut expected: Vec<_> = (1..)
                .map(|n| stay.entered + TICK * n)
                .take_while(|at| *at <= stay.until)
                .collect();
            // A look that is due at the very moment of the end may be left out.
            if expected.last() == Some(&stay.until) && looks.len() + 1 == expected.len() {
                expected.pop();
            }
            prop_assert_eq!(looks, expected);
        }
    }

    /// worker-connection.md, Connection disconnected (CONN-07): a recovery inside the 90 s cancels everything; the next
    /// disconnection has its own 90 s.
    #[test]
    fn a_recovery_cancels_the_wait(history in histories::<IceWatchdog>()) {
        for moment in &history.moments {
            let recovers = moment.from == "suspect" && moment.event == Some(Input::Connected);
            prop_assert_eq!(moment.has(&Act::ReportRecovered), recovers);
            if recovers {
                prop_assert_eq!(moment.to, "quiet");
                prop_assert!(moment.running.is_empty());
            }
        }
        if history.chart_is("quiet") {
            let alone = history.left_alone(PATIENCE * 2);
            prop_assert_eq!(alone.moments.len(), history.moments.len());
        }
    }

    /// worker-connection.md, Connection failed (CONN-06) and Connection disconnected (CONN-07): a connection is reset at
    /// most once, at once when ICE fails, and its watchdog says nothing after that.
    #[test]
    fn a_connection_is_reset_once_and_at_once_when_ice_fails(history in histories::<IceWatchdog>()) {
        prop_assert!(history.count(|act| *act == Act::ResetConnection) <= 1);
        for moment in &history.moments {
            let fails = moment.event == Some(Input::Failed) && ["quiet", "suspect"].contains(&moment.from);
            let expires = moment.fired() == Some(Timer::Patience);
            prop_assert_eq!(moment.has(&Act::ResetConnection), fails || expires);
            prop_assert!(moment.from != "reset" || moment.effects.is_empty());
        }
    }

    /// reading.md 14; worker-connection.md, Shutdown during ICE state change (CONN-14): once its connection is closed, a
    /// watchdog neither looks nor speaks, whatever ICE does.
    #[test]
    fn a_closed_connection_is_not_watched(history in histories::<IceWatchdog>()) {
        let mut closed = false;
        for moment in history.left_alone(PATIENCE * 2).moments {
            prop_assert!(!(closed && moment.acts().next().is_some()));
            closed |= moment.event == Some(Input::Closed);
            prop_assert!(!closed || moment.running.is_empty());
        }
    }

    /// reading.md 12: suspicion and recovery are told in turns, so that whoever hears them knows where the path stands.
    #[test]
    fn suspicion_and_recovery_alternate(history in histories::<IceWatchdog>()) {
        let mut suspect = false;
        for act in history.acts() {
            match act {
                Act::ReportSuspect => {
                    prop_assert!(!suspect);
                    suspect = true;
                }
                Act::ReportRecovered => {
                    prop_assert!(suspect);
                    suspect = false;
                }
                Act::LookAtIce => prop_assert!(suspect),
                Act::ResetConnection => {}
            }
        }
    }
}
