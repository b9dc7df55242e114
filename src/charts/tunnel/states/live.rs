//! What the manager does before its connection is lost: while it is made, while it works, and while it is doubted.

use std::time::Duration;

use statig::prelude::*;

use super::super::{
    ANSWER, Act, BUSY, Change, ICE_LAG, IDLE, Input, LEAST, LOOK, MOVED, Out, Reason, Refusal,
    Rules, SETTLE, Timer, YOUNG,
};
use super::State;
use super::book::refuse;
use crate::charts::machine::any;

pub(super) fn initializing(context: &mut Out, event: &Input) -> Outcome<State> {
    match event {
        Input::Start => Transition(State::connecting()),
        Input::Offered { .. } => context.ignore("nothing has begun yet"),
        Input::Restart(_) => refuse(context, Refusal::NotConnected),
        any![
            Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed, Gone,
            NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke, QualityLow,
            Weighed, OfferReady, StepFailed, Answered, Asked, SessionRefused, Stale, Close,
            PeerClosed, Fired
        ] => Super,
    }
}

impl Rules {
    pub(super) fn when_connecting(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Up => self.ping(context),
            Input::Pong | Input::PeerPing => self.prove(context, event),
            any![IceFailed, Gone, StepFailed] | Input::Fired(Timer::Setup) => {
                Transition(State::failed(Reason::ConnectionFailed))
            }
            Input::Restart(_) => refuse(context, Refusal::NotConnected),
            any![
                Start, Quiet, Heard, IceConnected, IceDisconnected, NetworkChanged, NetworkDown,
                NetworkUp, SignallingDown, SignallingUp, Woke, QualityLow, Weighed, OfferReady,
                Answered, Offered, Asked, SessionRefused, Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_live(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::IceFailed => self.lose(context, Change::IceFailure),
            Input::Gone => self.lose(context, Change::Timeout),
            Input::Asked { rebuild } if self.is_initiator() => {
                if *rebuild {
                    self.grow_old(context);
                } else if self.is_sound() {
                    self.doubt(context, YOUNG - ICE_LAG);
                }
                Transition(State::grace(Duration::ZERO))
            }
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected,
                NetworkChanged, NetworkDown, NetworkUp, SignallingDown, SignallingUp, Woke,
                QualityLow, Weighed, OfferReady, StepFailed, Answered, Offered, Asked,
                SessionRefused, Restart, Stale, Close, PeerClosed, Fired
            ] => Super,
        }
    }

    pub(super) fn when_connected(
        &mut self,
        asked: &mut Option<Duration>,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::Fired(Timer::Look) => {
                context.act(Act::Look);
                // The answer sets it right; without one, this bounds the time until the next look.
                context.arm(Timer::Look, LOOK);
                Handled
            }
            Input::Quiet { silent, busy } => self.listen(context, asked, *silent, *busy),
            any![Heard, Pong] if asked.is_some() => hear(context, asked),
            Input::Fired(Timer::Answer) if asked.is_some() => {
                let silent = asked.unwrap_or_default() + ANSWER;
                let left = YOUNG.saturating_sub(silent);
                self.degrade(context, Some(Change::Timeout), left, false)
            }
            Input::IceDisconnected => {
                self.degrade(context, Some(Change::Timeout), YOUNG - ICE_LAG, false)
            }
            Input::QualityLow => self.degrade(context, Some(Change::QualityDegraded), YOUNG, false),
            Input::NetworkChanged {
                change,
                major: true,
            } => self.degrade(context, Some(*change), YOUNG, true),
            Input::NetworkDown if self.learn(event) => self.degrade(context, None, YOUNG, true),
            Input::Woke => self.degrade(context, None, Duration::ZERO, true),
            any![
                Start, Heard, Pong, PeerPing, Up, IceConnected, IceFailed, Gone, NetworkChanged,
                NetworkDown, NetworkUp, SignallingDown, SignallingUp, Weighed, OfferReady,
                StepFailed, Answered, Offered, Asked, SessionRefused, Restart, Stale, Close,
                PeerClosed, Fired
            ] => Super,
        }
    }

    /// Asks who is silent, and looks again when whoever is not may be.
    fn listen(
        &mut self,
        context: &mut Out,
        asked: &mut Option<Duration>,
        silent: Duration,
        busy: bool,
    ) -> Outcome<State> {
        if !is_silent(silent, busy) {
            let next = limit(busy).saturating_sub(silent).clamp(LEAST, LOOK);
            context.arm(Timer::Look, next);
            return hear(context, asked);
        }
        if asked.is_some() {
            return context.ignore("it was asked, and has its time");
        }
        *asked = Some(silent);
        context.arm(Timer::Answer, ANSWER);
        self.ping(context)
    }

    pub(super) fn when_degraded(
        &mut self,
        certain: &mut bool,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::Pong => Transition(State::connected(None)),
            Input::Heard if *certain => {
                context.ignore("it may have been on its way before the change; a pong was not")
            }
            Input::Heard => Transition(State::connected(None)),
            Input::IceConnected => self.ping(context),
            Input::NetworkChanged {
                change,
                major: true,
            } => {
                context.act(Act::ChangeDetected(*change));
                be_certain(context, certain)
            }
            Input::NetworkDown if self.learn(event) => be_certain(context, certain),
            Input::Woke => {
                self.grow_old(context);
                be_certain(context, certain)
            }
            Input::Fired(Timer::Suspect) => {
                let wait = if *certain { Duration::ZERO } else { SETTLE };
                Transition(State::grace(wait))
            }
            any![
                Start, Quiet, PeerPing, Up, IceDisconnected, IceFailed, Gone, NetworkChanged,
                NetworkDown, NetworkUp, SignallingDown, SignallingUp, QualityLow, Weighed,
                OfferReady, StepFailed, Answered, Offered, Asked, SessionRefused, Restart, Stale,
                Close, PeerClosed, Fired
            ] => Super,
        }
    }
}

/// How long nothing has to come before the other side is asked.
fn limit(busy: bool) -> Duration {
    if busy { BUSY } else { IDLE }
}

pub(super) fn is_silent(silent: Duration, busy: bool) -> bool {
    silent >= limit(busy)
}

fn hear(context: &mut Out, asked: &mut Option<Duration>) -> Outcome<State> {
    *asked = None;
    context.cancel(Timer::Answer);
    Handled
}

fn be_certain(context: &mut Out, certain: &mut bool) -> Outcome<State> {
    *certain = true;
    context.arm(Timer::Suspect, MOVED);
    Handled
}
