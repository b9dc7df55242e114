//! The states of `tunnel`: what is done where one is entered and left, and who decides in it.

mod book;
mod chart;
mod live;
mod pausing;
mod trying;

use std::time::Duration;

use statig::prelude::*;

use super::{
    AGAIN, Act, CHECK, CONNECT, DETACH, Input, LOOK, MOVED, OFFER, Out, Public, REBUILD, REPLY,
    Reason, Rules, SUSPECT, Timer, WISH,
};
use crate::charts::machine::any;

// A state names all of its arguments, also what only its entry action or a superstate reads.
#[allow(unused_variables)]
#[state_machine(
    initial = "State::initializing()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    /// Everything before the end.
    #[superstate]
    fn managing(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.otherwise(context, event)
    }

    #[state(superstate = "managing")]
    fn initializing(context: &mut Out, event: &Input) -> Outcome<State> {
        live::initializing(context, event)
    }

    #[action]
    fn enter_connecting(context: &mut Out) {
        context.act(Act::Notify(Public::Connecting));
        context.act(Act::Open);
        context.arm(Timer::Setup, CONNECT);
    }

    #[action]
    fn leave_connecting(context: &mut Out) {
        context.cancel(Timer::Setup);
    }

    #[state(
        superstate = "managing",
        entry_action = "enter_connecting",
        exit_action = "leave_connecting"
    )]
    fn connecting(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_connecting(context, event)
    }

    /// Data goes both ways, or may do so.
    #[superstate(superstate = "managing")]
    fn live(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_live(context, event)
    }

    #[action]
    fn enter_connected(&mut self, context: &mut Out) {
        self.settle(context);
        context.act(Act::Notify(Public::Connected));
        context.arm(Timer::Look, LOOK);
    }

    #[action]
    fn leave_connected(context: &mut Out) {
        context.cancel(Timer::Look);
        context.cancel(Timer::Answer);
    }

    /// Who is asked for a sign of life was silent for as long as `asked` says.
    #[state(
        superstate = "live",
        entry_action = "enter_connected",
        exit_action = "leave_connected"
    )]
    fn connected(
        &mut self,
        asked: &mut Option<Duration>,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        self.when_connected(asked, context, event)
    }

    #[action]
    fn enter_degraded(&mut self, certain: &mut bool, context: &mut Out) {
        context.act(Act::Notify(Public::Degraded));
        context.act(self.a_ping());
        context.arm(Timer::Suspect, if *certain { MOVED } else { SUSPECT });
    }

    #[action]
    fn leave_degraded(context: &mut Out) {
        context.cancel(Timer::Suspect);
    }

    /// It is `certain` that something has happened, and not only that nothing comes.
    #[state(
        superstate = "live",
        entry_action = "enter_degraded",
        exit_action = "leave_degraded"
    )]
    fn degraded(&mut self, certain: &mut bool, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_degraded(certain, context, event)
    }

    #[action]
    fn enter_recovering(&mut self, context: &mut Out) {
        self.pong = false;
        context.act(Act::Notify(Public::Reconnecting));
        context.act(Act::HoldWriters);
        context.arm(Timer::Patience, self.settings.patience);
    }

    #[action]
    fn leave_recovering(context: &mut Out) {
        context.cancel(Timer::Patience);
        context.act(Act::ReleaseWriters);
    }

    /// The path is lost. Whatever is tried: a proof of both directions ends it, and so does the end of patience.
    #[superstate(
        superstate = "managing",
        entry_action = "enter_recovering",
        exit_action = "leave_recovering"
    )]
    fn recovering(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_recovering(context, event)
    }

    /// Nothing is being tried, and there is a way for it.
    #[superstate(superstate = "recovering")]
    fn pausing(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_pausing(context, event)
    }

    #[action]
    fn enter_grace(&mut self, wait: &mut Duration, context: &mut Out) {
        context.act(self.a_ping());
        context.arm(Timer::Settle, *wait);
    }

    #[action]
    fn leave_grace(context: &mut Out) {
        context.cancel(Timer::Settle);
    }

    #[state(
        superstate = "pausing",
        entry_action = "enter_grace",
        exit_action = "leave_grace"
    )]
    fn grace(&mut self, wait: &mut Duration, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_in_grace(context, event)
    }

    #[state(superstate = "recovering")]
    fn waiting_for_network(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_waiting_for_network(context, event)
    }

    #[action]
    fn enter_backoff(n: &mut u32, wait: &mut Duration, context: &mut Out) {
        context.act(Act::Attempt {
            n: *n,
            next_in: *wait,
        });
        context.arm(Timer::Backoff, *wait);
    }

    #[action]
    fn leave_backoff(context: &mut Out) {
        context.cancel(Timer::Backoff);
    }

    #[state(
        superstate = "pausing",
        entry_action = "enter_backoff",
        exit_action = "leave_backoff"
    )]
    fn backoff(
        &mut self,
        n: &mut u32,
        wait: &mut Duration,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        self.when_backing_off(context, event)
    }

    /// An attempt is under way.
    #[superstate(superstate = "recovering")]
    fn trying(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_trying(context, event)
    }

    /// It is an ICE restart. What it misses, a new connection may do.
    #[superstate(superstate = "trying")]
    fn restarting(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_restarting(context, event)
    }

    #[action]
    fn enter_offering(&mut self, context: &mut Out) {
        context.act(Act::Offer {
            generation: self.generation.0,
        });
        context.arm(Timer::Offer, OFFER);
    }

    #[action]
    fn leave_offering(context: &mut Out) {
        context.cancel(Timer::Offer);
    }

    #[state(
        superstate = "restarting",
        entry_action = "enter_offering",
        exit_action = "leave_offering"
    )]
    fn offering(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_offering(context, event)
    }

    #[action]
    fn enter_awaiting_answer(context: &mut Out) {
        context.arm(Timer::Reply, REPLY);
    }

    #[action]
    fn leave_awaiting_answer(context: &mut Out) {
        context.cancel(Timer::Reply);
    }

    #[state(
        superstate = "restarting",
        entry_action = "enter_awaiting_answer",
        exit_action = "leave_awaiting_answer"
    )]
    fn awaiting_answer(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_awaiting_answer(context, event)
    }

    #[action]
    fn enter_awaiting_offer(&mut self, rebuild: &mut bool, context: &mut Out) {
        context.arm(Timer::Wish, WISH);
        self.ask(context, *rebuild);
    }

    #[action]
    fn leave_awaiting_offer(context: &mut Out) {
        context.cancel(Timer::Wish);
        context.cancel(Timer::Again);
    }

    #[state(
        superstate = "trying",
        entry_action = "enter_awaiting_offer",
        exit_action = "leave_awaiting_offer"
    )]
    fn awaiting_offer(
        &mut self,
        rebuild: &mut bool,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        self.when_awaiting_offer(*rebuild, context, event)
    }

    #[action]
    fn enter_checking(context: &mut Out) {
        context.arm(Timer::Check, CHECK);
        context.arm(Timer::Again, AGAIN);
    }

    #[action]
    fn leave_checking(context: &mut Out) {
        context.cancel(Timer::Check);
        context.cancel(Timer::Again);
    }

    #[state(
        superstate = "restarting",
        entry_action = "enter_checking",
        exit_action = "leave_checking"
    )]
    fn checking(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_checking(context, event)
    }

    #[action]
    fn enter_rebuilding(context: &mut Out) {
        context.arm(Timer::Rebuild, REBUILD);
    }

    #[action]
    fn leave_rebuilding(context: &mut Out) {
        context.cancel(Timer::Rebuild);
    }

    /// The initiator's offer may have been `answered`.
    #[state(
        superstate = "trying",
        entry_action = "enter_rebuilding",
        exit_action = "leave_rebuilding"
    )]
    fn rebuilding(
        &mut self,
        answered: &mut bool,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        self.when_rebuilding(answered, context, event)
    }

    #[action]
    fn enter_failed(&mut self, reason: &mut Reason, context: &mut Out) {
        self.grow_old(context);
        context.act(Act::GiveUp(*reason));
        context.act(Act::Notify(Public::Failed));
        context.arm(Timer::Detach, DETACH);
    }

    #[action]
    fn leave_failed(context: &mut Out) {
        context.cancel(Timer::Detach);
    }

    #[state(
        superstate = "managing",
        entry_action = "enter_failed",
        exit_action = "leave_failed"
    )]
    fn failed(&mut self, reason: &mut Reason, context: &mut Out, event: &Input) -> Outcome<State> {
        self.when_failed(*reason, context, event)
    }

    #[action]
    fn enter_terminated(&mut self, reason: &mut Reason, context: &mut Out) {
        self.grow_old(context);
        context.act(Act::Close(*reason));
        context.act(Act::Notify(Public::Terminated));
    }

    #[state(entry_action = "enter_terminated")]
    fn terminated(reason: &mut Reason, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, StepFailed, Answered, Offered, Asked,
                SessionRefused, Restart, Stale, Close, PeerClosed, Fired
            ] => context.ignore("the tube is over"),
        }
    }
}
