//! The actor of `tunnel`: one for each tube. It has the carrier do what the chart asks for, keeps the ledger on its clock,
//! and tells what happens to whoever listens.

use std::time::Duration;

use actix::fut::{ActorFutureExt as _, wrap_future};
use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use thiserror::Error;
use tokio::time::Instant;

use super::chart_actor::{ChartActor, Died, Feed, Left, Perform, start_on};
use crate::charts::Chart as _;
use crate::charts::tunnel::{
    Act, Change, Input, Ledger, Public, Reason, Refusal, Settings, Status, Timer, Tunnel,
};
use crate::status::{Facts, Path};

/// Why a carrier could not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct CarrierError(pub String);

/// Something that a carrier does. It is dropped where something else is to be done instead.
pub type Deed = LocalBoxFuture<'static, Result<(), CarrierError>>;

/// What carries a tube: its connections, one after the other, and the way to the other side over the hub. What it has to
/// report, it sends as [`Of`].
pub trait Carrier: Unpin + 'static {
    /// Brings the first connection up; done when its descriptions are under way.
    fn open(&mut self, generation: u64) -> Deed;
    /// Makes and sends the offer of an ICE restart; done when it is sent.
    fn offer(&mut self, generation: u64) -> Deed;
    /// Drops the connection, and makes and sends the offer of a new one; done when it is sent.
    fn rebuild(&mut self, generation: u64) -> Deed;
    /// Answers the offer of this generation that came last; done when the answer is sent.
    fn answer(&mut self, generation: u64, rebuild: bool) -> Deed;
    /// Takes the answer of this generation that came.
    fn take_answer(&mut self, generation: u64) -> Deed;
    /// Asks the initiator for an offer, over the hub.
    fn ask(&mut self, generation: u64, rebuild: bool);
    /// Sends a ping over the connection; the next frame that comes is to be reported as [`Input::Heard`].
    fn ping(&mut self, generation: u64);
    /// How long ago the last frame came, and whether data is on its way that was not acknowledged.
    fn quiet(&self) -> (Duration, bool);
    /// Lets writers wait, or write.
    fn hold(&mut self, held: bool);
    /// Closes everything; does not wait for it.
    fn close(&mut self, reason: Reason);
    /// Whom the tube is with, if that is known.
    fn peer(&self) -> Option<String> {
        None
    }
    /// How the present connection goes, if that is known.
    fn path(&self) -> Option<Path> {
        None
    }
}

/// An event that belongs to a generation: of a description, a ping, or a connection (then the one that it was made or
/// restarted for last). What is of another generation than the tube is dropped and counted.
#[derive(Debug, Clone, PartialEq, Message)]
#[rtype(result = "()")]
pub struct Of {
    /// Which generation.
    pub generation: u64,
    /// What it is.
    pub event: Input,
}

/// Restart it now: a person's wish, or a program's.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct RestartByHand;

/// Asks for what a person is told.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Report")]
pub struct AskStatus;

/// What a person is told.
#[derive(Debug, Clone, PartialEq, Eq, MessageResponse)]
pub struct Report {
    /// What the tube does.
    pub status: Status,
    /// How many words of other generations were dropped.
    pub stale: u64,
}

/// Tell this one too what happens from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Listen(pub Recipient<Told>);

/// Something happened to a tube.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Told {
    /// Its id.
    pub tube: String,
    /// What happened.
    pub news: News,
}

/// What can happen to a tube.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Its public state is another one.
    State(Public),
    /// A change was noticed.
    Change(Change),
    /// An attempt is made, or will be.
    Attempt {
        /// Which one, of those that count.
        n: u32,
        /// When; zero for now.
        next_in: Duration,
    },
    /// It was given up for now.
    GivenUp(Reason),
    /// It is over.
    Closed(Reason),
}

/// Performs the effects of `tunnel`.
pub struct TunnelPerformer<C> {
    tube: String,
    carrier: C,
    ledger: Ledger,
    began: Instant,
    listeners: Vec<Recipient<Told>>,
    stale: u64,
    /// Of the wish that is being handled.
    refused: Option<Refusal>,
    doing: Option<SpawnHandle>,
    /// The generation of what is being done.
    generation: u64,
    /// When the first ping of this generation was sent that has no answer yet.
    asked: Option<Instant>,
    /// How long the last answer took.
    round_trip: Option<Duration>,
}

/// The actor of `tunnel`.
pub type TunnelActor<C> = ChartActor<TunnelPerformer<C>>;

/// Starts the manager of a tube. It begins when it is fed [`Input::Start`]. The carrier is made with whom it reports to.
pub fn tunnel<C: Carrier>(
    settings: Settings,
    tube: &str,
    listeners: Vec<Recipient<Told>>,
    supervisor: Option<Recipient<Died>>,
    carrier: impl FnOnce(Recipient<Of>) -> C,
) -> Addr<TunnelActor<C>> {
    let ctx = Context::<TunnelActor<C>>::new();
    let performer = TunnelPerformer {
        tube: tube.to_owned(),
        carrier: carrier(ctx.address().recipient()),
        ledger: Ledger::new(),
        began: Instant::now(),
        listeners,
        stale: 0,
        refused: None,
        doing: None,
        generation: 1,
        asked: None,
        round_trip: None,
    };
    start_on(ctx, Tunnel::new(settings), performer, tube, supervisor)
}

impl<C: Carrier> TunnelPerformer<C> {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// One that is gone is left out; the others are told.
    fn tell(&mut self, news: News) {
        self.listeners.retain(Recipient::connected);
        for listener in &self.listeners {
            let tube = self.tube.clone();
            listener.do_send(Told { tube, news });
        }
    }

    /// A ping of the present generation was answered.
    fn answered(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.round_trip = Some(asked.elapsed());
        }
    }

    /// From now on, what is done is of this generation.
    fn begin(&mut self, generation: u64) {
        self.generation = generation;
        (self.asked, self.round_trip) = (None, None);
    }

    /// Has the carrier do something instead of what it was doing.
    fn start(&mut self, deed: Deed, done: Option<Input>, ctx: &mut Context<ChartActor<Self>>) {
        let generation = self.generation;
        let deed = wrap_future::<_, ChartActor<Self>>(deed).map(move |result, actor, ctx| {
            let event = match result {
                Ok(()) => done,
                Err(error) => {
                    tracing::info!(tube = %actor.performer().tube, generation, %error, "a step failed");
                    Some(Input::StepFailed)
                }
            };
            if let Some(event) = event {
                actor.take(generation, event, ctx);
            }
        });
        if let Some(old) = self.doing.replace(ctx.spawn(deed)) {
            ctx.cancel_future(old);
        }
    }
}

impl<C: Carrier> Perform for TunnelPerformer<C> {
    type Chart = Tunnel;

    const ANNOUNCED: bool = true;

    fn perform(&mut self, act: Act, ctx: &mut Context<ChartActor<Self>>) {
        let now = self.now();
        self.ledger.note(now, &act);
        match act {
            Act::Open => {
                let deed = self.carrier.open(self.generation);
                self.start(deed, None, ctx);
            }
            Act::Offer { generation } => {
                self.begin(generation);
                let deed = self.carrier.offer(generation);
                self.start(deed, Some(Input::OfferReady), ctx);
            }
            Act::Rebuild { generation } => {
                self.begin(generation);
                let deed = self.carrier.rebuild(generation);
                self.start(deed, None, ctx);
            }
            Act::Answer {
                generation,
                rebuild,
            } => {
                self.begin(generation);
                let deed = self.carrier.answer(generation, rebuild);
                self.start(deed, None, ctx);
            }
            Act::TakeAnswer => {
                let deed = self.carrier.take_answer(self.generation);
                self.start(deed, None, ctx);
            }
            Act::AskForRestart {
                generation,
                rebuild,
            } => self.carrier.ask(generation, rebuild),
            Act::Ping { generation } => {
                self.asked.get_or_insert_with(Instant::now);
                self.carrier.ping(generation);
            }
            Act::Look => {
                let (silent, busy) = self.carrier.quiet();
                ctx.notify(Feed(Input::Quiet { silent, busy }));
            }
            Act::Weigh => ctx.notify(Feed(Input::Weighed(self.ledger.weigh(now)))),
            Act::HoldWriters => self.carrier.hold(true),
            Act::ReleaseWriters => self.carrier.hold(false),
            Act::RefuseRestart(refusal) => self.refused = Some(refusal),
            Act::CountStale => self.stale = self.stale.saturating_add(1),
            Act::Notify(public) => self.tell(News::State(public)),
            Act::ChangeDetected(change) => self.tell(News::Change(change)),
            Act::Attempt { n, next_in } => self.tell(News::Attempt { n, next_in }),
            Act::GiveUp(reason) => self.tell(News::GivenUp(reason)),
            Act::Close(reason) => {
                self.carrier.close(reason);
                self.tell(News::Closed(reason));
            }
            // What the ledger has noted is all there is to do.
            Act::AttemptFailed | Act::WaiveBackoff => {}
        }
    }

    fn tell_of(&self, chart: &Tunnel, left: &Left<'_, Tunnel>, mut facts: Facts) -> Option<Facts> {
        let left = read(left);
        let status = chart.status(&self.ledger, self.now(), left);
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        facts.state = status.public.to_string();
        facts.doing = status.doing.to_owned();
        facts.attempt = status.attempt;
        facts.next_in = seconds(status.next_in);
        facts.next = status.next.map(str::to_owned);
        facts.gives_up_in = seconds(status.gives_up_in);
        facts.then = status.then.map(str::to_owned);
        facts.path = self.carrier.path();
        facts.round_trip = seconds(self.round_trip);
        let peer = self.carrier.peer().map(|peer| ("peer".to_owned(), peer));
        facts.details.extend(peer);
        Some(facts)
    }
}

/// Reads all timers before the time is read: else one would seem to fire a moment before the ledger lets it go on.
fn read(left: &Left<'_, Tunnel>) -> impl Fn(Timer) -> Option<Duration> + use<> {
    let running: Vec<_> = Tunnel::timers()
        .into_iter()
        .filter_map(|timer| Some((timer, left(&timer)?)))
        .collect();
    move |timer| {
        let found = running.iter().find(|(running, _)| *running == timer);
        found.map(|(_, left)| *left)
    }
}

impl<C: Carrier> TunnelActor<C> {
    fn take(&mut self, generation: u64, event: Input, ctx: &mut Context<Self>) {
        let event = self.chart().judge(generation, event);
        if event == Input::Pong {
            self.performer().answered();
        }
        self.feed(&event, ctx);
    }
}

impl<C: Carrier> Handler<Of> for TunnelActor<C> {
    type Result = ();

    fn handle(&mut self, of: Of, ctx: &mut Self::Context) {
        self.take(of.generation, of.event, ctx);
    }
}

impl<C: Carrier> Handler<RestartByHand> for TunnelActor<C> {
    type Result = Result<(), Refusal>;

    fn handle(&mut self, _: RestartByHand, ctx: &mut Self::Context) -> Self::Result {
        let performer = self.performer();
        performer.refused = None;
        let verdict = performer.ledger.weigh(performer.now());
        self.feed(&Input::Restart(verdict), ctx);
        self.performer().refused.take().map_or(Ok(()), Err)
    }
}

impl<C: Carrier> Handler<AskStatus> for TunnelActor<C> {
    type Result = Report;

    fn handle(&mut self, _: AskStatus, _: &mut Self::Context) -> Report {
        let left = read(&|timer| self.left(timer));
        let performer = self.performer();
        let (now, stale) = (performer.now(), performer.stale);
        let ledger = performer.ledger.clone();
        let status = self.chart().status(&ledger, now, left);
        Report { status, stale }
    }
}

impl<C: Carrier> Handler<Listen> for TunnelActor<C> {
    type Result = ();

    fn handle(&mut self, listen: Listen, _: &mut Self::Context) {
        self.performer().listeners.push(listen.0);
    }
}
