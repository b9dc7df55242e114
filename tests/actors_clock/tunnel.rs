//! The actor of `tunnel` with a carrier that is steered.

use std::time::Duration;

use actix::prelude::*;
use loaner::actors::tunnel::{AskStatus, Listen, News, Of, RestartByHand, Told};
use loaner::charts::tunnel::{Change, Input, Public, Reason, Refusal, Role};

use super::clock::{feed, listener, on_paused_clock, pass, settle};
use super::tunnel_carrier::{Cure, Did, Tube};

/// An address that the connection uses is another one.
pub const MOVED: Input = Input::NetworkChanged {
    change: Change::IpChange,
    major: true,
};

/// What a carrier does for an address that changes after a second.
pub const RESTARTED: [(f64, Did); 5] = [
    (0.0, Did::Open),
    (1.2, Did::Hold(true)),
    (1.2, Did::Offer(2)),
    (1.22, Did::TakeAnswer(2)),
    (1.26, Did::Hold(false)),
];

fn attempts(tube: &Tube) -> Vec<(u32, f64)> {
    let attempt = |news| match news {
        News::Attempt { n, next_in } => Some((n, next_in.as_secs_f64())),
        _ => None,
    };
    tube.told.all().into_iter().filter_map(attempt).collect()
}

/// TUN-10: initializing, connecting, connected; every change reaches every listener once.
#[test]
fn a_tube_comes_up_and_everybody_is_told_once() {
    on_paused_clock(async {
        let tube = Tube::new(Role::Initiator, Duration::from_secs(600));
        let shown = tube.actor.send(AskStatus).await.unwrap();
        assert_eq!(shown.status.public, Public::Initializing);
        let (second, told) = listener(|told: Told| (told.tube, told.news));
        tube.actor.send(Listen(second)).await.unwrap();
        feed(&tube.actor, Input::Start).await;
        pass(100.0).await;
        let states = [(0.0, Public::Connecting), (0.04, Public::Connected)];
        tube.told
            .is(&states.map(|(at, state)| (at, News::State(state))));
        told.is(&states.map(|(at, state)| (at, ("tube-1".to_owned(), News::State(state)))));
        tube.world.did.is(&[(0.0, Did::Open)]);
    });
}

struct Panics;

impl Actor for Panics {
    type Context = Context<Self>;
}

impl Handler<Told> for Panics {
    type Result = ();

    fn handle(&mut self, _: Told, _: &mut Self::Context) {
        panic!("a listener that fails");
    }
}

/// TUN-11: a listener that fails stops neither the others nor the tube, and the connection degrades before it is lost.
#[test]
fn a_listener_that_fails_stops_nobody() {
    on_paused_clock(async {
        let tube = Tube::new(Role::Initiator, Duration::from_secs(600));
        let fails = Panics.start().recipient();
        tube.actor.send(Listen(fails.clone())).await.unwrap();
        let (last, told) = listener(|told: Told| told.news);
        tube.actor.send(Listen(last)).await.unwrap();
        feed(&tube.actor, Input::Start).await;
        pass(1.0).await;
        assert!(!fails.connected());
        tube.world.breaks_until(Cure::Restart);
        feed(&tube.actor, Input::IceDisconnected).await;
        pass(10.0).await;
        use Public::{Connected, Connecting, Degraded, Reconnecting};
        let states = [Connecting, Connected, Degraded, Reconnecting, Connected];
        assert_eq!(tube.states(), states);
        assert_eq!(told.all(), tube.told.all());
    });
}

/// reading.md 27: an address that changes is met with an ICE restart, and data moves again in less than a second; writers wait
/// meanwhile.
#[test]
fn a_changed_address_is_met_with_a_restart() {
    on_paused_clock(async {
        let tube = Tube::connected(Role::Initiator, 600).await;
        tube.world.breaks_until(Cure::Restart);
        feed(&tube.actor, MOVED).await;
        pass(5.0).await;
        tube.world.did.is(&RESTARTED);
        tube.told.is(&[
            (0.0, News::State(Public::Connecting)),
            (0.04, News::State(Public::Connected)),
            (1.0, News::Change(Change::IpChange)),
            (1.0, News::State(Public::Degraded)),
            (1.2, News::State(Public::Reconnecting)),
            (
                1.2,
                News::Attempt {
                    n: 1,
                    next_in: Duration::ZERO,
                },
            ),
            (1.26, News::State(Public::Connected)),
        ]);
    });
}

/// reading.md 27: a restart that does not move data within 3 s, and a connection that is gone, are replaced.
#[test]
fn what_a_restart_does_not_mend_is_replaced() {
    on_paused_clock(async {
        let tube = Tube::connected(Role::Initiator, 600).await;
        tube.world.breaks_until(Cure::Rebuild);
        feed(&tube.actor, MOVED).await;
        pass(10.0).await;
        use Did::{Offer, Open, Rebuild, TakeAnswer};
        let restarted = [Open, Offer(2), TakeAnswer(2), Rebuild(3), TakeAnswer(3)];
        assert_eq!(tube.did(), restarted);
        assert_eq!(
            tube.told.all().last(),
            Some(&News::State(Public::Connected))
        );
        pass(120.0).await;
        tube.world.breaks_until(Cure::Rebuild);
        let (generation, event) = (3, Input::Gone);
        tube.actor.send(Of { generation, event }).await.unwrap();
        pass(1.0).await;
        assert_eq!(tube.did()[5..], [Rebuild(4), TakeAnswer(4)]);
        assert_eq!(
            tube.told.all().last(),
            Some(&News::State(Public::Connected))
        );
    });
}

/// A connection that comes up when its attempt is over already, while the next is waited for, is taken, and no further one made.
#[test]
fn a_connection_that_comes_late_is_taken() {
    on_paused_clock(async {
        let tube = Tube::connected(Role::Initiator, 600).await;
        tube.world.breaks_until(Cure::Rebuild);
        tube.world.rises_in.set(Duration::from_secs(17));
        let (generation, event) = (1, Input::Gone);
        tube.actor.send(Of { generation, event }).await.unwrap();
        pass(16.5).await;
        assert_eq!(attempts(&tube).last(), Some(&(2, 5.0)));
        pass(0.6).await;
        assert_eq!(tube.states().last(), Some(&Public::Connected));
        pass(60.0).await;
        assert_eq!(tube.states().last(), Some(&Public::Connected));
        assert_eq!(tube.did(), [Did::Open, Did::Rebuild(2), Did::TakeAnswer(2)]);
    });
}

/// Targets of the design: nobody says a word, and the loss is noticed within 3 s with data on its way, within 7 s without.
#[test]
fn silence_is_noticed() {
    for (busy, at) in [(true, 3.0), (false, 7.0)] {
        on_paused_clock(async move {
            let tube = Tube::connected(Role::Initiator, 600).await;
            tube.world.busy.set(busy);
            pass(2.5).await;
            tube.world.breaks_until(Cure::Rebuild);
            pass(at + 0.01).await;
            assert_eq!(tube.states()[2..], [Public::Degraded, Public::Reconnecting]);
            assert_eq!(attempts(&tube), [(1, 0.0)]);
        });
    }
}

/// TUN-04: what fails is tried again after 5, 10, 20 and then 60 s, counted from its failure, until patience is at its end;
/// then the tube has failed, and not in a normal way.
#[test]
fn attempts_back_off_5_10_20_and_60_s() {
    on_paused_clock(async {
        let tube = Tube::connected(Role::Initiator, 300).await;
        tube.world.breaks_until(Cure::Nothing);
        feed(&tube.actor, MOVED).await;
        pass(400.0).await;
        let waits: Vec<f64> = attempts(&tube).iter().map(|(_, wait)| *wait).collect();
        assert_eq!(
            waits,
            [
                0.0, 5.0, 0.0, 10.0, 0.0, 20.0, 0.0, 60.0, 0.0, 60.0, 0.0, 60.0
            ]
        );
        // The first attempt is a restart, 3 s without an answer, and a new connection; 15 s for every new connection.
        let begun: Vec<Did> = tube.did();
        let expected = [2, 3, 4, 5, 6, 7, 8].map(|generation| match generation {
            2 => Did::Offer(2),
            n => Did::Rebuild(n),
        });
        assert_eq!(begun[1..], expected);
        let end = [
            News::GivenUp(Reason::ConnectionLost),
            News::State(Public::Failed),
        ];
        assert_eq!(tube.told.all().split_off(tube.told.all().len() - 2), end);
    });
}

/// reading.md 12: on a tube that comes back each time, five restarts are made in 5 minutes; the sixth loss is met with a new
/// connection, and when the first restart is 5 minutes ago, the next loss with a restart again.
#[test]
fn restarts_are_counted_in_a_sliding_5_minutes() {
    on_paused_clock(async {
        let tube = Tube::connected(Role::Initiator, 600).await;
        for _ in 0..7 {
            tube.world.breaks_until(Cure::Restart);
            feed(&tube.actor, MOVED).await;
            pass(59.0).await;
        }
        let made: Vec<Did> = tube
            .did()
            .into_iter()
            .filter(|did| !matches!(did, Did::TakeAnswer(_)))
            .collect();
        let mut expected: Vec<Did> = (2..=6).map(Did::Offer).collect();
        expected.extend([Did::Rebuild(7), Did::Offer(8)]);
        assert_eq!(made[1..], expected);
    });
}

/// TUN-05: a tube that has failed is restarted by hand, and not before its wait is over.
#[test]
fn a_failed_tube_is_restarted_by_hand() {
    on_paused_clock(async {
        let tube = Tube::connected(Role::Initiator, 90).await;
        tube.world.breaks_until(Cure::Nothing);
        feed(&tube.actor, MOVED).await;
        pass(90.3).await;
        assert_eq!(tube.states().last(), Some(&Public::Failed));
        let told = tube.actor.send(AskStatus).await.unwrap().status;
        assert_eq!((told.attempts, told.gives_up_in.is_some()), (4, true));
        let refused = tube.actor.send(RestartByHand).await.unwrap();
        let Err(Refusal::Wait(wait)) = refused else {
            panic!("{refused:?}")
        };
        assert!(wait <= Duration::from_secs(60));
        tube.world.cure.set(Cure::Rebuild);
        pass(wait.as_secs_f64() + 0.01).await;
        assert_eq!(tube.actor.send(RestartByHand).await.unwrap(), Ok(()));
        pass(1.0).await;
        assert_eq!(tube.states().last(), Some(&Public::Connected));
    });
}

/// A network that comes back lets an attempt off its wait, once.
#[test]
fn a_restored_network_cuts_the_backoff_short_once() {
    on_paused_clock(async {
        let tube = Tube::connected(Role::Initiator, 600).await;
        tube.world.breaks_until(Cure::Nothing);
        let (generation, event) = (1, Input::Gone);
        tube.actor.send(Of { generation, event }).await.unwrap();
        // The new connection has failed after 15 s, and again after 5 and 15 s; the next wait is one of 10 s.
        pass(36.0).await;
        assert_eq!(attempts(&tube).last(), Some(&(3, 10.0)));
        feed(&tube.actor, Input::NetworkDown).await;
        pass(1.0).await;
        let told = tube.actor.send(AskStatus).await.unwrap().status;
        assert_eq!(told.doing, "waiting for the network");
        feed(&tube.actor, Input::NetworkUp).await;
        pass(0.5).await;
        assert_eq!(attempts(&tube).last(), Some(&(3, 0.0)));
        feed(&tube.actor, Input::NetworkDown).await;
        feed(&tube.actor, Input::NetworkUp).await;
        pass(0.5).await;
        let (n, wait) = *attempts(&tube).last().unwrap();
        assert!(n == 4 && wait > 19.0, "{n} {wait}");
    });
}

/// The responder asks, and takes what is offered; what comes of another generation is counted, and does nothing.
#[test]
fn a_responder_asks_and_takes_what_is_offered() {
    on_paused_clock(async {
        let tube = Tube::connected(Role::Responder, 90).await;
        tube.world.breaks_until(Cure::Nothing);
        feed(&tube.actor, MOVED).await;
        pass(1.0).await;
        assert_eq!(tube.did(), [Did::Open, Did::Ask(1, false)]);
        let offer = |generation| Of {
            generation,
            event: Input::Offered {
                generation,
                rebuild: true,
            },
        };
        tube.actor.send(offer(1)).await.unwrap();
        tube.actor.send(offer(5)).await.unwrap();
        tube.actor.send(offer(4)).await.unwrap();
        pass(1.0).await;
        assert_eq!(tube.did()[2..], [Did::Answer(5, true)]);
        assert_eq!(tube.states().last(), Some(&Public::Connected));
        assert_eq!(tube.actor.send(AskStatus).await.unwrap().stale, 2);
    });
}

/// Closing is told once, and leaves neither timer nor actor.
#[test]
fn the_end_is_told_once_and_leaves_nothing() {
    on_paused_clock(async {
        let tube = Tube::connected(Role::Initiator, 600).await;
        feed(&tube.actor, Input::Close).await;
        tube.actor.do_send(loaner::actors::Feed(Input::Close));
        settle().await;
        assert!(!tube.actor.connected());
        pass(600.0).await;
        let end = [
            News::Closed(Reason::Normal),
            News::State(Public::Terminated),
        ];
        assert_eq!(tube.told.all()[2..], end);
        assert_eq!(tube.did(), [Did::Open, Did::Close(Reason::Normal)]);
    });
}
