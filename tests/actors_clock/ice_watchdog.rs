//! The actor of `ice_watchdog` with an ICE state that is steered.

use std::cell::Cell;
use std::rc::Rc;

use actix::Addr;
use loaner::actors::ice_watchdog::{Verdict, WatchdogActor, WatchdogPerformer};
use loaner::actors::start;
use loaner::charts::ice_watchdog::{IceWatchdog, Input};
use loaner::rtc::IceState;

use super::clock::{Seen, feed, listener, observe, on_paused_clock, pass, settle};

struct Watched {
    actor: Addr<WatchdogActor>,
    /// What a look at the connection shows.
    ice: Rc<Cell<IceState>>,
    looks: Seen<()>,
    verdicts: Seen<Verdict>,
}

fn watched() -> Watched {
    let (peer, verdicts) = listener(|verdict: Verdict| verdict);
    let (ice, looks) = (Rc::new(Cell::new(IceState::Disconnected)), Seen::new());
    let performer = WatchdogPerformer {
        look: Box::new({
            let (ice, looks) = (ice.clone(), looks.clone());
            move || {
                looks.note(());
                ice.get()
            }
        }),
        peer,
    };
    Watched {
        actor: start(IceWatchdog::new(), performer, "link-1", None),
        ice,
        looks,
        verdicts,
    }
}

/// CONN-07: 90 s, and not before; a look every second meanwhile.
#[test]
fn a_disconnected_connection_is_reset_after_90_s() {
    on_paused_clock(async {
        let watched = watched();
        feed(&watched.actor, Input::Disconnected).await;
        pass(89.5).await;
        watched.verdicts.is(&[(0.0, Verdict::Suspect)]);
        let every_second: Vec<_> = (1..=89).map(|second| (f64::from(second), ())).collect();
        watched.looks.is(&every_second);
        pass(1.0).await;
        watched
            .verdicts
            .is(&[(0.0, Verdict::Suspect), (90.0, Verdict::Reset)]);
        assert!(!watched.actor.connected());
    });
}

/// CONN-07: the look at 89 s finds the path back, and nothing is reset, then or later.
#[test]
fn a_recovery_in_the_last_second_is_seen() {
    on_paused_clock(async {
        let watched = watched();
        feed(&watched.actor, Input::Disconnected).await;
        pass(88.5).await;
        watched.ice.set(IceState::Connected);
        pass(600.0).await;
        watched
            .verdicts
            .is(&[(0.0, Verdict::Suspect), (89.0, Verdict::Recovered)]);
        assert_eq!(watched.looks.all().len(), 89);
        let shown = observe(&watched.actor).await;
        assert_eq!((shown.state, shown.timers.len()), ("quiet", 0));
    });
}

/// CONN-07: the stack's own word of a recovery is as good as a look, and the next disconnection has its own 90 s.
#[test]
fn each_disconnection_has_90_s_of_its_own() {
    on_paused_clock(async {
        let watched = watched();
        feed(&watched.actor, Input::Disconnected).await;
        pass(80.25).await;
        feed(&watched.actor, Input::Connected).await;
        pass(9.75).await;
        feed(&watched.actor, Input::Disconnected).await;
        pass(50.0).await;
        // Said again, it changes nothing.
        feed(&watched.actor, Input::Disconnected).await;
        pass(600.0).await;
        watched.verdicts.is(&[
            (0.0, Verdict::Suspect),
            (80.25, Verdict::Recovered),
            (90.0, Verdict::Suspect),
            (180.0, Verdict::Reset),
        ]);
    });
}

/// CONN-06: a look that finds ICE failed does not wait for the rest of the 90 s.
#[test]
fn a_failure_that_a_look_finds_resets_at_once() {
    on_paused_clock(async {
        let watched = watched();
        feed(&watched.actor, Input::Disconnected).await;
        pass(9.5).await;
        watched.ice.set(IceState::Failed);
        pass(600.0).await;
        watched
            .verdicts
            .is(&[(0.0, Verdict::Suspect), (10.0, Verdict::Reset)]);
    });
}

/// CONN-14: the connection is being closed while its path is gone: no further look, no verdict.
#[test]
fn a_connection_that_closes_is_watched_no_longer() {
    on_paused_clock(async {
        let watched = watched();
        feed(&watched.actor, Input::Disconnected).await;
        pass(30.5).await;
        feed(&watched.actor, Input::Closed).await;
        settle().await;
        assert!(!watched.actor.connected());
        pass(600.0).await;
        watched.verdicts.is(&[(0.0, Verdict::Suspect)]);
        assert_eq!(watched.looks.all().len(), 30);
    });
}
