//! A carrier that is steered: whether data moves, and what would make it move again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt as _;
use loaner::actors::tunnel::{Carrier, Deed, News, Of, Told, TunnelActor, tunnel};
use loaner::charts::tunnel::{Input, Public, Reason, Role, Settings};
use tokio::time::Instant;

use super::clock::{Seen, feed, listener, pass};

/// How long the way to the other side and back takes.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// What a carrier was asked for; pings are not noted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Did {
    Open,
    Offer(u64),
    Rebuild(u64),
    Answer(u64, bool),
    TakeAnswer(u64),
    Ask(u64, bool),
    Hold(bool),
    Close(Reason),
}

/// What makes data move again.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum Cure {
    Nothing,
    Rebuild,
    Restart,
}

/// The world around one tube.
pub struct World {
    pub did: Seen<Did>,
    pub cure: Cell<Cure>,
    /// Since when nothing moves, if so.
    pub broken: Cell<Option<Instant>>,
    pub busy: Cell<bool>,
    /// How long a new connection takes to come up, once its answer is there.
    pub rises_in: Cell<Duration>,
    /// Pings so far.
    pub pings: Cell<u32>,
    /// When the last frame came, where none comes unasked.
    pub heard: Cell<Option<Instant>>,
    made: RefCell<Option<Cure>>,
}

impl World {
    /// Nothing moves any more, until this is done.
    pub fn breaks_until(&self, cure: Cure) {
        self.cure.set(cure);
        self.broken.set(Some(Instant::now()));
    }
}

pub struct Fake {
    world: Rc<World>,
    reports: Recipient<Of>,
}

impl Fake {
    fn later(&self, generation: u64, events: &[Input]) {
        let (reports, events) = (self.reports.clone(), events.to_vec());
        actix::spawn(async move {
            tokio::time::sleep(ROUND_TRIP).await;
            for event in events {
                reports.do_send(Of { generation, event });
            }
        });
    }

    fn describe(&self, generation: u64, made: Cure) -> Deed {
        self.world.made.replace(Some(made));
        if self.world.cure.get() != Cure::Nothing {
            self.later(generation, &[Input::Answered]);
        }
        async { Ok(()) }.boxed_local()
    }
}

impl Carrier for Fake {
    fn open(&mut self, generation: u64) -> Deed {
        self.world.did.note(Did::Open);
        self.later(generation, &[Input::Up]);
        async { Ok(()) }.boxed_local()
    }

    fn offer(&mut self, generation: u64) -> Deed {
        self.world.did.note(Did::Offer(generation));
        self.describe(generation, Cure::Restart)
    }

    fn rebuild(&mut self, generation: u64) -> Deed {
        self.world.did.note(Did::Rebuild(generation));
        self.describe(generation, Cure::Rebuild)
    }

    fn answer(&mut self, generation: u64, rebuild: bool) -> Deed {
        self.world.did.note(Did::Answer(generation, rebuild));
        self.world.broken.set(None);
        self.later(generation, &[Input::Up]);
        async { Ok(()) }.boxed_local()
    }

    fn take_answer(&mut self, generation: u64) -> Deed {
        self.world.did.note(Did::TakeAnswer(generation));
        let (world, reports) = (self.world.clone(), self.reports.clone());
        let made = *world.made.borrow();
        let cured = made.is_some_and(|made| made <= world.cure.get());
        // Of a new connection, nothing is told before it is open.
        let event = match made {
            Some(Cure::Restart) => Input::IceConnected,
            _ => Input::Up,
        };
        actix::spawn(async move {
            tokio::time::sleep(world.rises_in.get()).await;
            if cured {
                world.broken.set(None);
            }
            reports.do_send(Of { generation, event });
        });
        async { Ok(()) }.boxed_local()
    }

    fn ask(&mut self, generation: u64, rebuild: bool) {
        self.world.did.note(Did::Ask(generation, rebuild));
    }

    fn ping(&mut self, generation: u64) {
        self.world.pings.set(self.world.pings.get() + 1);
        if self.world.broken.get().is_none() {
            if self.world.heard.get().is_some() {
                self.world.heard.set(Some(Instant::now() + ROUND_TRIP));
            }
            self.later(generation, &[Input::Heard, Input::Pong, Input::PeerPing]);
        }
    }

    fn quiet(&self) -> (Duration, bool) {
        let since = self.world.broken.get().or(self.world.heard.get());
        let silent = since.map_or(Duration::ZERO, |since| since.elapsed());
        (silent, self.world.busy.get())
    }

    fn hold(&mut self, held: bool) {
        self.world.did.note(Did::Hold(held));
    }

    fn close(&mut self, reason: Reason) {
        self.world.did.note(Did::Close(reason));
    }
}

/// A tube in its world, and what was told of it.
pub struct Tube {
    pub actor: Addr<TunnelActor<Fake>>,
    pub world: Rc<World>,
    pub told: Seen<News>,
}

impl Tube {
    pub fn new(role: Role, patience: Duration) -> Self {
        let (one, told) = listener(|told: Told| told.news);
        let world = Rc::new(World {
            did: Seen::new(),
            cure: Cell::new(Cure::Restart),
            broken: Cell::new(None),
            busy: Cell::new(false),
            rises_in: Cell::new(ROUND_TRIP),
            pings: Cell::new(0),
            heard: Cell::new(None),
            made: RefCell::new(None),
        });
        let settings = Settings { role, patience };
        let carrier = |reports| Fake {
            world: world.clone(),
            reports,
        };
        let actor = tunnel(settings, "tube-1", vec![one], None, carrier);
        Tube { actor, world, told }
    }

    /// One that has come up, a second ago.
    pub async fn connected(role: Role, patience: u64) -> Self {
        let tube = Self::new(role, Duration::from_secs(patience));
        feed(&tube.actor, Input::Start).await;
        pass(1.0).await;
        assert_eq!(tube.states(), [Public::Connecting, Public::Connected]);
        tube
    }

    /// The states that were told, in order.
    pub fn states(&self) -> Vec<Public> {
        let state = |news| match news {
            News::State(state) => Some(state),
            _ => None,
        };
        self.told.all().into_iter().filter_map(state).collect()
    }

    /// What the carrier was asked for, without the writers.
    pub fn did(&self) -> Vec<Did> {
        let all = self.world.did.all().into_iter();
        all.filter(|did| !matches!(did, Did::Hold(_))).collect()
    }
}
