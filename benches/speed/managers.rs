//! A thousand managers of tubes in one process, on the real clock: all lose their connection at the same moment.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use anyhow::{Result, ensure};
use futures_util::FutureExt as _;
use loaner::actors::Feed;
use loaner::actors::tunnel::{Carrier, Deed, Of, TunnelActor, tunnel};
use loaner::charts::tunnel::{
    BACKOFF, Change, Input, MOVED, PATIENCE, REBUILD, REPLY, Reason, Role, Settings,
};

use crate::report::{Figure, Reach};
use crate::say;

/// How many there are.
const MANAGERS: usize = 1000;
/// Longer than what they are watched for takes.
const LIMIT: Duration = Duration::from_secs(120);
/// A timer may fire so much early: tokio's clock counts in milliseconds.
const EARLY: f64 = -2.0;

/// How late the latest of their timers is.
pub fn measure() -> Result<Figure> {
    say(&format!("{MANAGERS} managers restart at once"));
    let late = System::new().block_on(restart())?;
    Ok(Figure::most(
        "1,000 managers restart, the latest timer",
        "ms",
        Reach::AtMost(100.0),
        late,
    ))
}

/// What a carrier was told to do, and when.
#[derive(Default)]
struct Seen {
    /// Nothing moves any more.
    broken: Cell<bool>,
    /// Attempts, each by an offer or a new connection.
    attempts: RefCell<Vec<Instant>>,
}

/// Whose connections come up at once, until none does any more.
struct Steered {
    seen: Rc<Seen>,
    reports: Recipient<Of>,
}

impl Steered {
    fn report(&self, generation: u64, events: &[Input]) {
        for event in events {
            let event = event.clone();
            self.reports.do_send(Of { generation, event });
        }
    }

    fn attempt(&self) -> Deed {
        self.seen.attempts.borrow_mut().push(Instant::now());
        done()
    }
}

fn done() -> Deed {
    std::future::ready(Ok(())).boxed_local()
}

impl Carrier for Steered {
    fn open(&mut self, generation: u64) -> Deed {
        self.report(generation, &[Input::Up]);
        done()
    }

    fn offer(&mut self, _: u64) -> Deed {
        self.attempt()
    }

    fn rebuild(&mut self, _: u64) -> Deed {
        self.attempt()
    }

    fn answer(&mut self, _: u64, _: bool) -> Deed {
        done()
    }

    fn take_answer(&mut self, _: u64) -> Deed {
        done()
    }

    fn ask(&mut self, _: u64, _: bool) {}

    fn ping(&mut self, generation: u64) {
        if !self.seen.broken.get() {
            self.report(generation, &[Input::Pong, Input::PeerPing]);
        }
    }

    fn quiet(&self) -> (Duration, bool) {
        (Duration::ZERO, false)
    }

    fn hold(&mut self, _: bool) {}

    fn close(&mut self, _: Reason) {}
}

struct Manager {
    seen: Rc<Seen>,
    actor: Addr<TunnelActor<Steered>>,
}

impl Manager {
    fn start() -> Manager {
        let seen = Rc::new(Seen::default());
        let settings = Settings {
            role: Role::Initiator,
            patience: PATIENCE,
        };
        let carrier = |reports| Steered {
            seen: seen.clone(),
            reports,
        };
        let actor = tunnel(settings, "tube", Vec::new(), carrier);
        actor.do_send(Feed(Input::Start));
        Manager { seen, actor }
    }
}

/// Of each manager: how late its first restart was, the new connection after it, and the next after that, in milliseconds.
async fn restart() -> Result<Vec<f64>> {
    let managers: Vec<_> = (0..MANAGERS).map(|_| Manager::start()).collect();
    // All are up.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut lost = Vec::with_capacity(MANAGERS);
    for manager in &managers {
        manager.seen.broken.set(true);
        lost.push(Instant::now());
        manager.actor.do_send(Feed(Input::NetworkChanged {
            change: Change::IpChange,
            major: true,
        }));
    }
    // An offer that nobody answers, a new connection that does not come up, and the wait for the next.
    let times = [MOVED, REPLY, REBUILD + BACKOFF[0]];
    let began = Instant::now();
    let all_done = || {
        let made = |manager: &Manager| manager.seen.attempts.borrow().len();
        managers.iter().all(|manager| made(manager) >= times.len())
    };
    while !all_done() {
        ensure!(began.elapsed() < LIMIT, "some managers do not try again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut late = Vec::with_capacity(MANAGERS * times.len());
    for (manager, mut before) in managers.iter().zip(lost) {
        for (at, time) in manager.seen.attempts.borrow().iter().zip(times) {
            late.push((at.duration_since(before).as_secs_f64() - time.as_secs_f64()) * 1e3);
            before = *at;
        }
    }
    let early = late.iter().copied().fold(0.0, f64::min);
    ensure!(
        early >= EARLY,
        "a timer fired {early} ms from its time, too early"
    );
    Ok(late)
}
