//! Many managers beside each other.

use std::time::Duration;

use actix::prelude::*;
use loaner::actors::Feed;
use loaner::charts::tunnel::{Input, Public, Role};
use tokio::time::Instant;

use super::clock::{observe, on_paused_clock, pass};
use super::tunnel::{MOVED, RESTARTED};
use super::tunnel_carrier::{Cure, Did, Tube};

const PATIENCE: Duration = Duration::from_secs(600);
/// How long all of them may take, in real time, on a machine that is busy with other tests.
const LONG: Duration = Duration::from_secs(60);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);

/// TUN-19: a thousand managers lose their network at the same moment: each is restarted within its own time, and told of
/// once.
#[test]
fn a_thousand_managers_restart_at_once() {
    on_paused_clock(async {
        let tubes: Vec<Tube> = (0..1000)
            .map(|_| Tube::new(Role::Initiator, PATIENCE))
            .collect();
        for tube in &tubes {
            tube.actor.do_send(Feed(Input::Start));
        }
        pass(1.0).await;
        for tube in &tubes {
            tube.world.breaks_until(Cure::Restart);
            tube.actor.do_send(Feed(MOVED));
        }
        pass(10.0).await;
        for tube in &tubes {
            tube.world.did.is(&RESTARTED);
            assert_eq!(tube.told.all().len(), 7);
            assert_eq!(observe(&tube.actor).await.state, "connected");
        }
    });
}

/// Waits, in real time, until something is so of each of them.
async fn until_each(what: &str, tubes: &[Tube], is_so: impl Fn(&Tube) -> bool) {
    let deadline = Instant::now() + LONG;
    for tube in tubes {
        while !is_so(tube) {
            assert!(Instant::now() < deadline, "{what}: not so of each");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// TUN-19, in real time: of five hundred managers on one thread, which all have data on its way and hear nothing unasked, each
/// asks for signs of life again and again, is restarted when all lose their network at once, and is told of; none starves
/// another.
#[test]
fn many_managers_do_not_starve_one_another() {
    System::new().block_on(async {
        let tubes: Vec<Tube> = (0..500)
            .map(|_| Tube::new(Role::Initiator, PATIENCE))
            .collect();
        let connected = |tube: &Tube| tube.states().last() == Some(&Public::Connected);
        for tube in &tubes {
            tube.world.busy.set(true);
            tube.world.heard.set(Some(Instant::now()));
            tube.actor.do_send(Feed(Input::Start));
        }
        until_each("it is connected", &tubes, connected).await;
        until_each("it is kept alive", &tubes, |tube| {
            tube.world.pings.get() >= 4
        })
        .await;
        let before: Vec<(usize, usize)> = (tubes.iter())
            .map(|tube| (tube.did().len(), tube.states().len()))
            .collect();
        for tube in &tubes {
            tube.world.breaks_until(Cure::Restart);
            tube.actor.do_send(Feed(MOVED));
        }
        let numbers = tubes.iter().zip(&before);
        let restarted = |(tube, (did, told)): &(&Tube, &(usize, usize))| {
            let answered = |did: &Did| matches!(did, Did::TakeAnswer(_));
            let lost = |state: &Public| *state == Public::Reconnecting;
            tube.did()[*did..].iter().any(answered)
                && tube.states()[*told..].iter().any(lost)
                && connected(tube)
        };
        let deadline = Instant::now() + LONG;
        for one in numbers {
            while !restarted(&one) {
                assert!(Instant::now() < deadline, "one is not restarted");
                tokio::time::sleep(LOOK).await;
            }
        }
    });
}
