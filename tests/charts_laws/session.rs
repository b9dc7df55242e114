//! The laws of `session`.

use std::time::Duration;

use loaner::charts::Effect;
use loaner::charts::session::{Act, Input, Session, Timer, Why};
use proptest::prelude::*;

use super::history::{Moment, Subject, config, histories};

const STEP: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);

/// A session that makes its own room is the first of the chart's starts.
const OWN_ROOM: usize = 0;
/// The states of a step towards the hub.
const STEPS: [&str; 4] = ["signing_in", "joining_room", "connecting", "registering"];

impl Subject for Session {
    fn lives() -> Vec<Vec<Input>> {
        vec![vec![
            Input::Start,
            Input::SignedIn,
            Input::RoomCreated,
            Input::SocketOpen,
            Input::Registered,
            Input::SocketLost {
                jitter: 128,
                stale: true,
            },
        ]]
    }

    fn weight(event: &Input) -> u32 {
        match event {
            Input::Shutdown => 1,
            Input::SignInFailed { .. }
            | Input::RoomFailed { .. }
            | Input::Refused { .. }
            | Input::SocketLost { .. } => 6,
            _ => 10,
        }
    }

    fn vary(event: Input, dice: u8) -> Input {
        let jitter = dice;
        match event {
            Input::SignInFailed { .. } => Input::SignInFailed { jitter },
            Input::RoomFailed { .. } => Input::RoomFailed { jitter },
            Input::SocketLost { stale, .. } => Input::SocketLost { jitter, stale },
            Input::Refused { why, .. } => Input::Refused { why, jitter },
            other => other,
        }
    }
}

/// Whether this is a failure of the step that was under way, or of the session itself.
fn fails(moment: &Moment<Session>) -> bool {
    matches!(
        (&moment.event, moment.from),
        (Some(Input::SignInFailed { .. }), "signing_in")
            | (Some(Input::RoomFailed { .. }), "joining_room")
            | (
                Some(Input::SocketLost { .. }),
                "connecting" | "registering" | "registered"
            )
            | (Some(Input::Refused { .. }), "registering" | "registered")
            | (Some(Input::Fired(Timer::Step)), _)
    )
}

fn is_step(act: &Act) -> bool {
    matches!(
        act,
        Act::SignIn | Act::CreateRoom | Act::OpenSocket | Act::SendRegister
    )
}

proptest! {
    #![proptest_config(config())]

    /// reading.md 14; worker-connection.md, Clean Exit (CONN-13, CONN-16, CONN-17): nothing but the end follows a shutdown:
    /// no step towards the hub, no report but the last.
    #[test]
    fn nothing_but_the_end_follows_a_shutdown(history in histories::<Session>()) {
        let mut down = false;
        for moment in history.left_alone(HOUR).moments {
            let begins = !down && moment.event == Some(Input::Shutdown);
            down |= begins;
            for act in moment.acts().filter(|_| down) {
                match act {
                    Act::SayGoodbye => prop_assert!(begins),
                    Act::ReportClosed | Act::ReportFailed => {}
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
        let alone = history.left_alone(GOODBYE);
        let ended = alone.acts().any(|act| matches!(act, Act::ReportClosed | Act::ReportFailed));
        prop_assert!(!down || ended);
    }

    /// worker-connection.md, Graceful shutdown (CONN-13); worker-state.md, Deletion failure (STATE-12): goodbye is said once,
    /// takes 5 s at the most whether it succeeds or not, and the end is reported once and last.
    #[test]
    fn goodbye_is_said_once_and_never_holds_up_the_end(history in histories::<Session>()) {
        history.lasts_at_most("closing", Timer::Closing, GOODBYE)?;
        let over = history.chart_is("closed") || history.chart_is("failed");
        prop_assert_eq!(
            history.count(|act| *act == Act::SayGoodbye),
            usize::from(over || history.chart_is("closing"))
        );
        let ended = |act: &Act| matches!(act, Act::ReportClosed | Act::ReportFailed);
        prop_assert_eq!(history.count(ended), usize::from(over));
        prop_assert!(!over || history.acts().last().is_some_and(ended));
    }

    /// worker-connection.md, Worker startup (CONN-15); worker-state.md, Initial registration on startup (STATE-15): identity,
    /// room, socket, registration: one step at a time, each begun only when the one before has ended.
    #[test]
    fn there_is_one_step_at_a_time(history in histories::<Session>()) {
        let mut under_way: Option<Act> = None;
        for moment in &history.moments {
            let ended = matches!(
                (&under_way, &moment.event),
                (Some(Act::SignIn), Some(Input::SignedIn | Input::SignInFailed { .. }))
                    | (Some(Act::CreateRoom), Some(Input::RoomCreated | Input::RoomFailed { .. }))
                    | (Some(Act::OpenSocket), Some(Input::SocketOpen | Input::SocketLost { .. }))
                    | (
                        Some(Act::SendRegister),
                        Some(Input::Registered | Input::Refused { .. } | Input::SocketLost { .. }),
                    )
                    | (Some(_), Some(Input::Fired(Timer::Step) | Input::Shutdown))
            );
            if ended {
                under_way = None;
            }
            for act in moment.acts().filter(|act| is_step(act)) {
                prop_assert!(under_way.is_none(), "{act:?} during {under_way:?}");
                // A registration that is sent again while the session is up is no step: nobody waits for its answer.
                if moment.from != "registered" {
                    under_way = Some(act.clone());
                }
            }
            prop_assert_eq!(under_way.is_some(), STEPS.contains(&moment.to));
        }
    }

    /// reading.md 15; STATE-15: there is one socket at a time, and a registration goes out only on an open one.
    #[test]
    fn there_is_one_socket_at_a_time(history in histories::<Session>()) {
        #[derive(Debug, PartialEq)]
        enum Socket { Absent, Opening, Open }
        let mut socket = Socket::Absent;
        for moment in &history.moments {
            match (&moment.event, &socket) {
                (Some(Input::SocketOpen), Socket::Opening) => socket = Socket::Open,
                (Some(Input::SocketLost { .. }), _) => socket = Socket::Absent,
                _ => {}
            }
            for act in moment.acts() {
                match act {
                    Act::OpenSocket => {
                        prop_assert_eq!(&socket, &Socket::Absent);
                        socket = Socket::Opening;
                    }
                    Act::SendRegister => prop_assert_eq!(&socket, &Socket::Open),
                    Act::DropSocket | Act::SayGoodbye => socket = Socket::Absent,
                    _ => {}
                }
            }
            prop_assert!(moment.to != "registered" || socket == Socket::Open);
            prop_assert!(moment.to != "backing_off" || socket == Socket::Absent);
        }
    }

    /// Every step towards the hub has 10 s, exactly.
    #[test]
    fn a_step_has_10_s(history in histories::<Session>()) {
        for state in STEPS {
            history.lasts_at_most(state, Timer::Step, STEP)?;
        }
    }

    /// reading.md 16; worker-state.md, Room creation failure and Sign-in failure (STATE-08, STATE-10): before the first
    /// registration a failure is final, at once, and reported as one.
    #[test]
    fn a_failure_before_the_first_registration_is_final(history in histories::<Session>()) {
        let mut registered = false;
        let mut failed = false;
        for moment in history.left_alone(GOODBYE).moments {
            if !registered && fails(&moment) {
                prop_assert_eq!(moment.to, "closing");
                prop_assert!(moment.has(&Act::SayGoodbye));
                failed = true;
            }
            prop_assert!(registered || !moment.has(&Act::ReportDown));
            if moment.has(&Act::ReportFailed) {
                prop_assert!(failed && !registered);
            }
            prop_assert!(!(failed && moment.has(&Act::ReportClosed)));
            registered |= moment.has(&Act::ReportUp);
        }
    }

    /// reading.md 15 and 16: after it, a failure is never final: it is waited out and tried again, without end.
    #[test]
    fn a_failure_after_it_is_retried(history in histories::<Session>()) {
        let mut registered = false;
        for moment in &history.moments {
            if registered && fails(moment) {
                prop_assert_eq!(moment.to, "backing_off");
                prop_assert!(moment.has(&Act::ReportDown));
            }
            prop_assert!(!registered || moment.to != "failed");
            registered |= moment.has(&Act::ReportUp);
        }
        let ended = history.moments.iter().any(|moment| ["closing", "closed", "failed"].contains(&moment.to));
        if registered && !ended {
            let alone = history.left_alone(HOUR);
            let now = alone.moments.last().map(|moment| moment.to);
            prop_assert!(now == Some("registered") || alone.moments.len() > history.moments.len() + 50);
        }
    }

    /// reading.md 15: the backoff doubles from 1 s to 32 s with each failure since the session was last up, and jitter takes
    /// away half of it at the most; then exactly one step follows, exactly then.
    #[test]
    fn the_backoff_is_between_half_and_all_of_its_length(history in histories::<Session>()) {
        let mut failures = 0_u32;
        let mut due = None;
        for moment in &history.moments {
            if moment.fired() == Some(Timer::Backoff) {
                prop_assert_eq!(due.take(), Some(moment.at));
                prop_assert_eq!(moment.acts().filter(|act| is_step(act)).count(), 1);
            }
            if moment.has(&Act::ReportDown) {
                let full = Duration::from_secs(2_u64.saturating_pow(failures).min(32));
                let wait = moment.effects.iter().find_map(|effect| match effect {
                    Effect::Arm(Timer::Backoff, wait) => Some(*wait),
                    _ => None,
                });
                let wait = wait.expect("a backoff has a timer");
                prop_assert!((full / 2..=full).contains(&wait), "{wait:?} of {full:?}");
                due = Some(moment.at + wait);
                failures += 1;
            }
            if moment.has(&Act::ReportUp) {
                failures = 0;
            }
        }
    }

    /// reading.md 15: with an identity that is near its end, or that the hub refused, the worker signs in afresh before it
    /// connects again, however often that fails on the way.
    #[test]
    fn no_socket_is_opened_with_an_identity_that_is_known_to_be_bad(history in histories::<Session>()) {
        let mut good = false;
        for moment in &history.moments {
            if moment.counted() {
                match &moment.event {
                    Some(Input::SignedIn) => good = true,
                    Some(Input::SocketLost { stale: true, .. } | Input::Refused { why: Why::Identity, .. }) => good = false,
                    _ => {}
                }
            }
            prop_assert!(good || !moment.has(&Act::OpenSocket));
        }
    }

    /// reading.md 15: an identity that is good is kept: after an ordinary loss, the next step is the socket.
    #[test]
    fn a_good_identity_is_kept(history in histories::<Session>()) {
        let mut ordinary = false;
        for moment in &history.moments {
            if moment.fired() == Some(Timer::Backoff) {
                prop_assert!(!ordinary || moment.has(&Act::OpenSocket));
            }
            if moment.has(&Act::ReportDown) {
                ordinary = matches!(
                    moment.event,
                    Some(Input::SocketLost { stale: false, .. } | Input::Refused { why: Why::Other, .. })
                );
            }
        }
    }

    /// worker-state.md, Room Creation (STATE-07): a room is made only by a worker that was told of none, and again only when
    /// the hub has lost it; nobody registers without one.
    #[test]
    fn a_room_is_made_when_there_is_none(history in histories::<Session>()) {
        let own = history.start == OWN_ROOM;
        let mut room = !own;
        for moment in &history.moments {
            match &moment.event {
                Some(Input::RoomCreated) if moment.counted() => room = true,
                Some(Input::Refused { why: Why::Room, .. }) if moment.counted() => room = !own,
                _ => {}
            }
            prop_assert!(room || !moment.has(&Act::OpenSocket));
            prop_assert!(!room || !moment.has(&Act::CreateRoom));
        }
    }

    /// worker-state.md, Re-register after client disconnect (STATE-05, STATE-17): asked to, a session that is up sends one full
    /// registration, and stays up; a session that is not registers anyway.
    #[test]
    fn a_registration_is_sent_again_on_demand(history in histories::<Session>()) {
        for moment in &history.moments {
            if moment.event == Some(Input::Reregister) {
                let up = moment.from == "registered";
                prop_assert_eq!(moment.acts().collect::<Vec<_>>(), if up { vec![&Act::SendRegister] } else { vec![] });
                prop_assert_eq!(moment.from, moment.to);
            }
        }
    }

    /// worker-connection.md, Registration confirmed (CONN-18): the session is up when, and only when, the hub confirms.
    #[test]
    fn up_and_down_are_told_in_turns(history in histories::<Session>()) {
        let mut up = false;
        for moment in &history.moments {
            let confirmed = moment.from == "registering" && moment.event == Some(Input::Registered);
            prop_assert_eq!(moment.has(&Act::ReportUp), confirmed);
            prop_assert!(!(up && confirmed));
            up |= confirmed;
            if moment.has(&Act::ReportDown) {
                up = false;
            }
            prop_assert_eq!(moment.to == "registered", up && !["closing", "closed"].contains(&moment.to));
        }
    }
}
