//! What the manager does with a lost connection between its attempts, and after them.

use std::time::Duration;

use statig::prelude::*;

use super::super::{
    Act, Input, Out, Reason, Refusal, Rules, SETTLE, Session, Timer, Verdict, WEIGH,
};
use super::State;
use super::book::refuse;
use crate::charts::machine::any;

impl Rules {
    pub(super) fn when_recovering(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Pong | Input::PeerPing => self.prove(context, event),
            // A connection may come up when its attempt is over: a path that takes long is better than none.
            any![Up, IceConnected] => self.ping(context),
            Input::IceDisconnected => context.ignore("the loss is known"),
            any![Woke, IceFailed, Gone] | Input::Asked { rebuild: true } if self.young => {
                self.grow_old(context);
                Handled
            }
            any![Woke, IceFailed, Gone] => context.ignore("an ICE restart is ruled out already"),
            Input::Asked { .. } => context.ignore("it is being brought back already"),
            Input::Close | Input::PeerClosed => {
                Transition(State::terminated(Reason::ConnectionLost))
            }
            Input::Fired(Timer::Patience) => Transition(State::failed(Reason::ConnectionLost)),
            any![
                Start, Quiet, Heard, NetworkChanged, NetworkDown, NetworkUp, SignallingDown,
                SignallingUp, QualityLow, Weighed, OfferReady, StepFailed, Answered, Offered,
                SessionRefused, Restart, Stale, Fired
            ] => Super,
        }
    }

    pub(super) fn when_pausing(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Weighed(Verdict::Go { n, restart }) if self.has_way() => {
                self.attempt(context, *n, *restart)
            }
            Input::Weighed(Verdict::Go { .. }) => Transition(State::waiting_for_network()),
            Input::Weighed(Verdict::Wait { n, wait }) => Transition(State::backoff(*n, *wait)),
            any![NetworkDown, SignallingDown] if self.learn(event) => {
                Transition(State::waiting_for_network())
            }
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, OfferReady, StepFailed, Answered, Offered, Asked, SessionRefused,
                Restart, Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_in_grace(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Fired(Timer::Settle) if self.has_way() => weigh(context, Timer::Settle),
            Input::Fired(Timer::Settle) => Transition(State::waiting_for_network()),
            Input::NetworkChanged {
                change,
                major: true,
            } => {
                context.act(Act::ChangeDetected(*change));
                context.arm(Timer::Settle, SETTLE);
                Handled
            }
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, StepFailed, Answered, Offered, Asked,
                SessionRefused, Restart, Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_waiting_for_network(
        &mut self,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            any![NetworkUp, SignallingUp] if self.learn(event) => {
                self.back(context, event, self.has_way())
            }
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, StepFailed, Answered, Offered, Asked,
                SessionRefused, Restart, Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_backing_off(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Fired(Timer::Backoff) => weigh(context, Timer::Backoff),
            Input::NetworkChanged {
                change,
                major: true,
            } => {
                context.act(Act::ChangeDetected(*change));
                context.act(Act::WaiveBackoff);
                Transition(State::grace(SETTLE))
            }
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, StepFailed, Answered, Offered, Asked,
                SessionRefused, Restart, Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_failed(
        &mut self,
        reason: Reason,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            any![NetworkUp, SignallingUp] if self.learn(event) => {
                self.back(context, event, self.is_resumable())
            }
            Input::NetworkChanged {
                change,
                major: true,
            } if self.is_resumable() => {
                context.act(Act::ChangeDetected(*change));
                context.act(Act::WaiveBackoff);
                Transition(State::grace(SETTLE))
            }
            Input::Asked { .. } if self.is_initiator() && self.is_resumable() => {
                Transition(State::grace(Duration::ZERO))
            }
            Input::Restart(_) if self.session == Session::Lost => {
                refuse(context, Refusal::SessionLost)
            }
            Input::Offered { .. } if self.session == Session::Lost && !self.is_initiator() => {
                context.ignore("there is no session that could go on")
            }
            Input::Close | Input::PeerClosed | Input::Fired(Timer::Detach) => {
                Transition(State::terminated(reason))
            }
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, StepFailed, Answered, Offered, Asked,
                SessionRefused, Restart, Stale, Fired
            ] => Super,
        }
    }

    /// The network or the hub is there again: what waited for it goes on. The network lets it off a wait.
    fn back(&self, context: &mut Out, event: &Input, goes_on: bool) -> Outcome<State> {
        if *event == Input::NetworkUp {
            context.act(Act::WaiveBackoff);
        }
        if goes_on {
            Transition(State::grace(SETTLE))
        } else {
            Handled
        }
    }
}

/// Asks the ledger, for a limited time.
fn weigh(context: &mut Out, timer: Timer) -> Outcome<State> {
    context.act(Act::Weigh);
    context.arm(timer, WEIGH);
    Handled
}
