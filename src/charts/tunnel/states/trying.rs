//! What the manager does during an attempt to bring a lost connection back.

use std::time::Duration;

use statig::prelude::*;

use super::super::{AGAIN, ASK_AGAIN, Act, Input, Out, Reason, Rules, SETTLE, Session, Timer};
use super::State;
use crate::charts::machine::any;

impl Rules {
    pub(super) fn when_trying(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::NetworkDown if self.learn(event) => {
                context.act(Act::AttemptFailed);
                Transition(State::waiting_for_network())
            }
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, StepFailed, Answered, Offered, Asked,
                SessionRefused, Restart, Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_restarting(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![IceFailed, Gone, StepFailed] => self.escalate(context),
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected,
                NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, Answered, Offered, Asked, SessionRefused, Restart,
                Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_offering(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::OfferReady => Transition(State::awaiting_answer()),
            Input::Fired(Timer::Offer) => self.escalate(context),
            Input::Pong | Input::PeerPing => too_early(context),
            Input::SignallingDown if self.learn(event) => cut_off(context),
            any![
                Start, Quiet, Heard, Up, IceConnected, IceDisconnected, IceFailed, Gone,
                NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, StepFailed, Answered, Offered, Asked, SessionRefused, Restart,
                Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_awaiting_answer(
        &mut self,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::Answered => {
                context.act(Act::TakeAnswer);
                Transition(State::checking())
            }
            Input::Fired(Timer::Reply) => self.escalate(context),
            Input::Pong | Input::PeerPing => too_early(context),
            Input::SignallingDown if self.learn(event) => cut_off(context),
            any![
                Start, Quiet, Heard, Up, IceConnected, IceDisconnected, IceFailed, Gone,
                NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, StepFailed, Offered, Asked, SessionRefused,
                Restart, Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    /// Asks the initiator, and again while it is waited for.
    pub(super) fn ask(&self, context: &mut Out, rebuild: bool) {
        context.act(Act::AskForRestart {
            generation: self.generation.0,
            rebuild,
        });
        context.arm(Timer::Again, ASK_AGAIN);
    }

    pub(super) fn when_awaiting_offer(
        &mut self,
        rebuild: bool,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::StepFailed | Input::Fired(Timer::Wish) => fail_attempt(context, Duration::ZERO),
            Input::Fired(Timer::Again) => {
                self.ask(context, rebuild);
                Handled
            }
            Input::SignallingDown if self.learn(event) => cut_off(context),
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, Answered, Offered, Asked, SessionRefused, Restart,
                Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_checking(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Fired(Timer::Check) => self.escalate(context),
            Input::Fired(Timer::Again) => {
                context.arm(Timer::Again, AGAIN);
                self.ping(context)
            }
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, StepFailed, Answered, Offered, Asked,
                SessionRefused, Restart, Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_rebuilding(
        &mut self,
        answered: &mut bool,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::Answered if self.is_initiator() && !*answered => {
                *answered = true;
                context.act(Act::TakeAnswer);
                Handled
            }
            any![IceFailed, Gone, StepFailed] | Input::Fired(Timer::Rebuild) => {
                fail_attempt(context, Duration::ZERO)
            }
            // What it is being made of is of the network that was.
            Input::NetworkChanged {
                change,
                major: true,
            } => {
                context.act(Act::ChangeDetected(*change));
                let outcome = fail_attempt(context, SETTLE);
                context.act(Act::WaiveBackoff);
                outcome
            }
            Input::SessionRefused => {
                self.session = Session::Lost;
                Transition(State::failed(Reason::SessionLost))
            }
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected,
                NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, Answered, Offered, Asked, Restart, Stale, Close,
                PeerClosed, Fired
            ] => Super,
        }
    }

    /// An ICE restart has not helped: a new connection is next, without a wait.
    fn escalate(&mut self, context: &mut Out) -> Outcome<State> {
        if !self.has_way() {
            cut_off(context)
        } else if self.is_initiator() {
            self.rebuild(context)
        } else {
            Transition(State::awaiting_offer(true))
        }
    }
}

/// It can only have come over the path that was.
fn too_early(context: &mut Out) -> Outcome<State> {
    context.ignore("the restart is not agreed yet: it says nothing of the path to come")
}

/// No description can be exchanged any more.
fn cut_off(context: &mut Out) -> Outcome<State> {
    context.act(Act::AttemptFailed);
    Transition(State::waiting_for_network())
}

fn fail_attempt(context: &mut Out, wait: Duration) -> Outcome<State> {
    context.act(Act::AttemptFailed);
    Transition(State::grace(wait))
}
