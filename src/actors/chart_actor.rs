//! The one generic actor.

use std::collections::HashMap;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use crate::charts::outlook::outlook;
use crate::charts::{Chart, Effect, Out};
use crate::status::{self, Ask, Facts};

/// What a concrete actor adds to its chart: how its effects are performed.
pub trait Perform: Sized + Unpin + 'static {
    /// The chart that decides.
    type Chart: Chart + Unpin;

    /// Performs one effect. Further events go in by [`Feed`], to the context's own address.
    fn perform(&mut self, act: <Self::Chart as Chart>::Act, ctx: &mut Context<ChartActor<Self>>);

    /// Called once, when the actor has started and before its first event.
    fn started(&mut self, _ctx: &mut Context<ChartActor<Self>>) {}

    /// Whether who asks what this process is at is told of it.
    const ANNOUNCED: bool = false;

    /// What is told of it, given what the chart's page says; nothing where there is nothing to tell. `left` says how long a
    /// timer still runs, if it does.
    fn tell_of(
        &self,
        _chart: &Self::Chart,
        _left: &Left<'_, Self::Chart>,
        facts: Facts,
    ) -> Option<Facts> {
        Some(facts)
    }
}

/// How long a timer of a chart still runs, if it does.
pub type Left<'a, C> = dyn Fn(&<C as Chart>::Timer) -> Option<Duration> + 'a;

/// An event for a chart.
pub struct Feed<I>(pub I);

impl<I: 'static> Message for Feed<I> {
    type Result = ();
}

/// Asks an actor for the state of its chart.
#[derive(Message)]
#[rtype(result = "Observed")]
pub struct Observe;

/// What an actor shows of itself.
#[derive(Debug, Clone, PartialEq, Eq, MessageResponse)]
pub struct Observed {
    /// The state of its chart.
    pub state: &'static str,
    /// Its armed timers.
    pub timers: Vec<String>,
}

/// An actor died before its chart came to an end: a defect, and the reason is in the log of the panic.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Died {
    /// Which chart.
    pub chart: &'static str,
    /// Which instance.
    pub instance: String,
    /// In which state.
    pub state: &'static str,
}

/// A timer that runs.
struct Armed {
    number: u64,
    handle: SpawnHandle,
    until: Instant,
}

/// An actor that is driven by a chart.
pub struct ChartActor<P: Perform> {
    chart: P::Chart,
    performer: P,
    instance: String,
    out: Out<<P::Chart as Chart>::Timer, <P::Chart as Chart>::Act>,
    timers: HashMap<<P::Chart as Chart>::Timer, Armed>,
    /// How many timers were ever armed: it tells two of the same name apart.
    armed: u64,
    supervisor: Option<Recipient<Died>>,
}

/// Starts an actor on the current arbiter. `instance` names it in the log; `supervisor` hears of its death.
pub fn start<P: Perform>(
    chart: P::Chart,
    performer: P,
    instance: impl Into<String>,
    supervisor: Option<Recipient<Died>>,
) -> Addr<ChartActor<P>> {
    start_on(Context::new(), chart, performer, instance, supervisor)
}

/// Starts an actor on a context whose address is known already, so that others could be given it before.
pub fn start_on<P: Perform>(
    ctx: Context<ChartActor<P>>,
    chart: P::Chart,
    performer: P,
    instance: impl Into<String>,
    supervisor: Option<Recipient<Died>>,
) -> Addr<ChartActor<P>> {
    let instance = instance.into();
    let announced = P::ANNOUNCED.then(|| instance.clone());
    let addr = ctx.run(ChartActor {
        chart,
        performer,
        instance,
        out: Out::default(),
        timers: HashMap::new(),
        armed: 0,
        supervisor,
    });
    if let Some(instance) = announced {
        status::announce(P::Chart::NAME, &instance, &addr);
    }
    addr
}

impl<P: Perform> ChartActor<P> {
    /// The part that is the concrete actor's own.
    pub fn performer(&mut self) -> &mut P {
        &mut self.performer
    }

    /// The chart, to be read.
    pub fn chart(&self) -> &P::Chart {
        &self.chart
    }

    /// How long a timer still runs, if it does.
    pub fn left(&self, timer: &<P::Chart as Chart>::Timer) -> Option<Duration> {
        let armed = self.timers.get(timer)?;
        Some(armed.until.saturating_duration_since(Instant::now()))
    }

    /// Feeds one event: decide, record, perform.
    pub fn feed(&mut self, event: &<P::Chart as Chart>::Input, ctx: &mut Context<Self>) {
        let from = self.chart.state();
        let mut out = std::mem::take(&mut self.out);
        out.reset();
        self.chart.dispatch(event, &mut out);
        // Names cost something, and a hub has many connections.
        if out.is_undecided() || tracing::enabled!(target: "loaner::chart", tracing::Level::INFO) {
            match P::Chart::timer_of(event) {
                Some(timer) => self.record(from, &format!("{timer:?} fired"), &out),
                None => self.record(from, event.as_ref(), &out),
            }
        }
        self.carry_out(&mut out, ctx);
        self.out = out;
        if self.chart.is_final() && !ctx.state().stopping() {
            ctx.stop();
        }
    }

    fn record(
        &self,
        from: &'static str,
        event: &str,
        out: &Out<<P::Chart as Chart>::Timer, <P::Chart as Chart>::Act>,
    ) {
        let (chart, instance, to) = (P::Chart::NAME, self.instance.as_str(), self.chart.state());
        if out.is_undecided() {
            tracing::error!(target: "loaner::chart", chart, instance, from, event, "undecided");
        } else if let Some(reason) = out.ignored() {
            tracing::debug!(target: "loaner::chart", chart, instance, from, event, reason, "ignored");
        } else {
            tracing::info!(target: "loaner::chart", chart, instance, from, event, to, effects = ?out.effects(), "transition");
        }
    }

    fn carry_out(
        &mut self,
        out: &mut Out<<P::Chart as Chart>::Timer, <P::Chart as Chart>::Act>,
        ctx: &mut Context<Self>,
    ) {
        for effect in out.drain() {
            match effect {
                Effect::Arm(timer, after) => {
                    self.armed += 1;
                    let number = self.armed;
                    let handle = ctx.run_later(after, move |actor, ctx| {
                        // One that was due when it was cancelled still gets here: actix looks at cancelled futures later.
                        if actor
                            .timers
                            .get(&timer)
                            .is_some_and(|armed| armed.number == number)
                        {
                            actor.timers.remove(&timer);
                            actor.feed(&P::Chart::fired(timer), ctx);
                        }
                    });
                    let until = Instant::now() + after;
                    let armed = Armed {
                        number,
                        handle,
                        until,
                    };
                    if let Some(old) = self.timers.insert(timer, armed) {
                        ctx.cancel_future(old.handle);
                    }
                }
                Effect::Cancel(timer) => {
                    if let Some(armed) = self.timers.remove(&timer) {
                        ctx.cancel_future(armed.handle);
                    }
                }
                Effect::Act(act) => self.performer.perform(act, ctx),
            }
        }
    }
}

impl<P: Perform> Actor for ChartActor<P> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Milestones only: a mailbox that fills up would mean that bytes took the wrong way.
        ctx.set_mailbox_capacity(256);
        let mut out = std::mem::take(&mut self.out);
        self.chart.begin(&mut out);
        self.carry_out(&mut out, ctx);
        self.out = out;
        self.performer.started(ctx);
    }
}

impl<P: Perform> Handler<Feed<<P::Chart as Chart>::Input>> for ChartActor<P> {
    type Result = ();

    fn handle(&mut self, event: Feed<<P::Chart as Chart>::Input>, ctx: &mut Self::Context) {
        self.feed(&event.0, ctx);
    }
}

impl<P: Perform> Handler<Observe> for ChartActor<P> {
    type Result = Observed;

    fn handle(&mut self, _: Observe, _: &mut Self::Context) -> Observed {
        let mut timers: Vec<_> = self
            .timers
            .keys()
            .map(|timer| format!("{timer:?}"))
            .collect();
        timers.sort();
        Observed {
            state: self.chart.state(),
            timers,
        }
    }
}

impl<P: Perform> Handler<Ask> for ChartActor<P> {
    type Result = MessageResult<Ask>;

    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
        let mut facts = Facts {
            chart: P::Chart::NAME.to_owned(),
            instance: self.instance.clone(),
            state: self.chart.state().to_owned(),
            ..Facts::default()
        };
        if let Some(shown) = outlook(&self.chart, |timer| self.left(timer)) {
            facts.doing = shown.state.about.to_owned();
            if let Some((after, next)) = shown.next {
                facts.next_in = Some(after.as_secs_f64());
                facts.next = Some(next.about.to_owned());
            }
        }
        let left = |timer: &_| self.left(timer);
        MessageResult(self.performer.tell_of(&self.chart, &left, facts))
    }
}

impl<P: Perform> Drop for ChartActor<P> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.chart.is_final() {
            let died = Died {
                chart: P::Chart::NAME,
                instance: self.instance.clone(),
                state: self.chart.state(),
            };
            tracing::error!(target: "loaner::chart", chart = died.chart, instance = %died.instance, state = died.state, "the actor died");
            if let Some(supervisor) = &self.supervisor {
                supervisor.do_send(died);
            }
        }
    }
}
