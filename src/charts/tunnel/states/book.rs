//! What the rules of `tunnel` keep account of, the ways that several states share, and what no state takes.

use std::time::Duration;

use statig::prelude::*;

use super::super::{
    Act, Change, Input, Out, Reason, Refusal, Role, Rules, Session, Timer, Verdict,
};
use super::State;
use crate::charts::machine::any;

impl Rules {
    pub(super) fn is_initiator(&self) -> bool {
        self.settings.role == Role::Initiator
    }

    /// Whether descriptions can reach the other side, and a connection can come of them.
    pub(super) fn has_way(&self) -> bool {
        self.network && self.signalling
    }

    pub(super) fn is_resumable(&self) -> bool {
        self.session == Session::Kept
    }

    /// Whether nothing speaks against the connection that there is: the proof of it stands.
    pub(super) fn is_sound(&self) -> bool {
        self.pong && self.ping
    }

    /// Takes note of what an event says of network or hub; whether it is news.
    pub(super) fn learn(&mut self, event: &Input) -> bool {
        let before = (self.network, self.signalling);
        match event {
            Input::NetworkDown => self.network = false,
            Input::NetworkUp => self.network = true,
            Input::SignallingDown => self.signalling = false,
            Input::SignallingUp => self.signalling = true,
            any![
                Start, Quiet, Heard, Pong, PeerPing, Up, IceConnected, IceDisconnected, IceFailed,
                Gone, NetworkChanged, Woke, QualityLow, Weighed, OfferReady, StepFailed, Answered,
                Offered, Asked, SessionRefused, Restart, Stale, Close, PeerClosed, Fired
            ] => {}
        }
        before != (self.network, self.signalling)
    }

    pub(super) fn a_ping(&self) -> Act {
        Act::Ping {
            generation: self.generation.0,
        }
    }

    pub(super) fn ping(&self, context: &mut Out) -> Outcome<State> {
        context.act(self.a_ping());
        Handled
    }

    /// A part of the proof that data goes both ways over this generation.
    pub(super) fn prove(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        let part = if *event == Input::Pong {
            &mut self.pong
        } else {
            &mut self.ping
        };
        if std::mem::replace(part, true) {
            return context.ignore("this half of the proof is there already");
        }
        if self.pong && self.ping {
            Transition(State::connected(None))
        } else {
            Handled
        }
    }

    /// Data goes both ways.
    pub(super) fn settle(&mut self, context: &mut Out) {
        (self.pong, self.ping) = (true, true);
        self.session = Session::Kept;
        self.grow_old(context);
    }

    /// The proof of this direction is void; an ICE restart may help for so long.
    pub(super) fn doubt(&mut self, context: &mut Out, restart_within: Duration) {
        self.pong = false;
        if restart_within.is_zero() {
            self.grow_old(context);
        } else {
            self.young = true;
            context.arm(Timer::Young, restart_within);
        }
    }

    /// An ICE restart would not help any more.
    pub(super) fn grow_old(&mut self, context: &mut Out) {
        self.young = false;
        context.cancel(Timer::Young);
    }

    pub(super) fn degrade(
        &mut self,
        context: &mut Out,
        change: Option<Change>,
        restart_within: Duration,
        certain: bool,
    ) -> Outcome<State> {
        if let Some(change) = change {
            context.act(Act::ChangeDetected(change));
        }
        self.doubt(context, restart_within);
        Transition(State::degraded(certain))
    }

    /// The connection itself is gone.
    pub(super) fn lose(&mut self, context: &mut Out, change: Change) -> Outcome<State> {
        context.act(Act::ChangeDetected(change));
        self.doubt(context, Duration::ZERO);
        Transition(State::grace(Duration::ZERO))
    }

    fn begin(&mut self, generation: u64) {
        self.generation.0 = generation;
        (self.pong, self.ping) = (false, false);
    }

    fn begin_next(&mut self) {
        self.begin(self.generation.0.saturating_add(1));
    }

    /// Offers, or asks for an offer. An ICE restart only where both the ledger and the loss allow one.
    pub(super) fn attempt(&mut self, context: &mut Out, n: u32, restart: bool) -> Outcome<State> {
        let restart = restart && self.young;
        self.grow_old(context);
        self.pong = false;
        context.act(Act::Attempt {
            n,
            next_in: Duration::ZERO,
        });
        if !self.is_initiator() {
            Transition(State::awaiting_offer(!restart))
        } else if restart {
            self.begin_next();
            Transition(State::offering())
        } else {
            self.rebuild(context)
        }
    }

    pub(super) fn rebuild(&mut self, context: &mut Out) -> Outcome<State> {
        self.begin_next();
        context.act(Act::Rebuild {
            generation: self.generation.0,
        });
        Transition(State::rebuilding(false))
    }

    /// Whether an ICE restart that is asked for by hand may help.
    pub(super) fn is_fresh(&self) -> bool {
        self.young || self.is_sound()
    }

    /// A restart by hand.
    fn restart(&mut self, context: &mut Out, verdict: Verdict) -> Outcome<State> {
        match verdict {
            Verdict::Wait { wait, .. } => refuse(context, Refusal::Wait(wait)),
            Verdict::Go { .. } if !self.has_way() => refuse(context, Refusal::NoWay),
            Verdict::Go { n, restart } => {
                self.young = self.is_fresh();
                self.attempt(context, n, restart)
            }
        }
    }

    /// Takes an offer of a newer generation, whatever is under way here.
    fn take(&mut self, context: &mut Out, generation: u64, rebuild: bool) -> Outcome<State> {
        self.begin(generation);
        self.grow_old(context);
        context.act(Act::Answer {
            generation,
            rebuild,
        });
        Transition(if rebuild {
            State::rebuilding(true)
        } else {
            State::checking()
        })
    }

    /// What is the same for every state that does not say otherwise.
    pub(super) fn otherwise(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Offered {
                generation,
                rebuild,
            } if !self.is_initiator() => self.take(context, *generation, *rebuild),
            Input::Offered { .. } => context.ignore("this side makes the offers"),
            Input::Stale => {
                context.act(Act::CountStale);
                Handled
            }
            Input::NetworkChanged { change, .. } => {
                context.act(Act::ChangeDetected(*change));
                Handled
            }
            any![NetworkDown, NetworkUp, SignallingDown, SignallingUp] if self.learn(event) => {
                Handled
            }
            any![NetworkDown, NetworkUp, SignallingDown, SignallingUp] => {
                context.ignore("it is known")
            }
            Input::Fired(Timer::Young) if self.young => {
                self.young = false;
                Handled
            }
            Input::Close | Input::PeerClosed => Transition(State::terminated(Reason::Normal)),
            Input::Start => context.ignore("it has begun already"),
            Input::Quiet { .. } => context.ignore("nobody asked how long it has been quiet"),
            any![Heard, Pong, PeerPing] => context.ignore("no sign of life is waited for"),
            Input::Up => context.ignore("no connection is being made"),
            any![IceConnected, IceDisconnected, IceFailed, Gone] => {
                context.ignore("the connection is not in use, or its loss is suspected already")
            }
            Input::Woke => {
                context.ignore("there is no connection that could have been slept through")
            }
            Input::QualityLow => context.ignore("the connection is in doubt or lost already"),
            Input::Weighed(_) => context.ignore("nothing is weighed: a late answer"),
            any![OfferReady, StepFailed, Answered] => {
                context.ignore("it is about a step that is over")
            }
            Input::Asked { .. } => context.ignore("this side asks, or has nothing to restart"),
            Input::SessionRefused => context.ignore("no session is being resumed"),
            Input::Restart(verdict) => self.restart(context, *verdict),
            Input::Fired(_) => context.ignore("the timer belongs to another state"),
        }
    }
}

/// There is no restart by hand now.
pub(super) fn refuse(context: &mut Out, why: Refusal) -> Outcome<State> {
    context.act(Act::RefuseRestart(why));
    Handled
}
