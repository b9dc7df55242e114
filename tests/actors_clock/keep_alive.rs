//! The actor of `keep_alive` with a channel that only counts.

use actix::Addr;
use loaner::actors::keep_alive::{Beat, KeepAliveActor, KeepAlivePerformer};
use loaner::actors::start;
use loaner::charts::keep_alive::{Input, KeepAlive};

use super::clock::{Seen, feed, observe, on_paused_clock, pass, settle};

struct Beats(Seen<()>);

impl Beat for Beats {
    fn beat(&mut self) {
        self.0.note(());
    }
}

fn keep_alive() -> (Addr<KeepAliveActor<Beats>>, Seen<()>) {
    let seen = Seen::new();
    let performer = KeepAlivePerformer(Beats(seen.clone()));
    (
        start(KeepAlive::new(), performer, "link-1 data", None),
        seen,
    )
}

fn at(seconds: &[f64]) -> Vec<(f64, ())> {
    seconds.iter().map(|at| (*at, ())).collect()
}

/// CONN-09, CONN-11: every 15 s from the moment that the channel is open.
#[test]
fn an_open_channel_is_kept_alive_every_15_s() {
    on_paused_clock(async {
        let (actor, seen) = keep_alive();
        feed(&actor, Input::ChannelOpen).await;
        pass(14.9).await;
        seen.is(&[]);
        pass(60.2).await;
        seen.is(&at(&[15.0, 30.0, 45.0, 60.0, 75.0]));
    });
}

/// CONN-11; reading.md 19: a channel that was open before anyone looked is kept alive from the look on, and once only when
/// its opening is told as well.
#[test]
fn a_channel_that_was_open_before_is_kept_alive_from_then_on() {
    on_paused_clock(async {
        let (actor, seen) = keep_alive();
        pass(7.0).await;
        assert!(observe(&actor).await.timers.is_empty());
        feed(&actor, Input::ChannelOpen).await;
        pass(4.0).await;
        feed(&actor, Input::ChannelOpen).await;
        pass(30.0).await;
        seen.is(&at(&[22.0, 37.0]));
    });
}

/// CONN-11: until the channel closes, and never after; then the actor is gone.
#[test]
fn no_beat_follows_the_close_of_the_channel() {
    on_paused_clock(async {
        let (actor, seen) = keep_alive();
        feed(&actor, Input::ChannelOpen).await;
        pass(44.9).await;
        feed(&actor, Input::ChannelClosed).await;
        settle().await;
        assert!(!actor.connected());
        pass(600.0).await;
        seen.is(&at(&[15.0, 30.0]));
    });
}
