//! What a person is told of a tube.

use std::time::Duration;

use super::{Act, Input, Ledger, Out, Public, Reason, Session, State, Timer, Tunnel};
use crate::charts::{Chart as _, Effect};

/// What a tube does at the moment, and what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its state, as the integration guide names it.
    pub public: Public,
    /// What it is doing, in words.
    pub doing: &'static str,
    /// How many attempts to bring it back count at the moment.
    pub attempts: u32,
    /// Which attempt, of those that count, is being made or waited for.
    pub attempt: Option<u32>,
    /// How long until the next step, at the latest.
    pub next_in: Option<Duration>,
    /// What it does then, unless something happens before, in words.
    pub next: Option<&'static str>,
    /// How long until it is given up.
    pub gives_up_in: Option<Duration>,
    /// What happens then.
    pub then: Option<&'static str>,
}

impl Tunnel {
    /// The state as the integration guide names it.
    pub fn public(&self) -> Public {
        match self.0.state() {
            State::Initializing {} => Public::Initializing,
            State::Connecting {} => Public::Connecting,
            State::Connected { .. } => Public::Connected,
            State::Degraded { .. } => Public::Degraded,
            State::Grace { .. }
            | State::WaitingForNetwork {}
            | State::Backoff { .. }
            | State::Offering {}
            | State::AwaitingAnswer {}
            | State::AwaitingOffer { .. }
            | State::Checking {}
            | State::Rebuilding { .. } => Public::Reconnecting,
            State::Failed { .. } => Public::Failed,
            State::Terminated { .. } => Public::Terminated,
        }
    }

    /// Why the tube failed or ended, if it did.
    pub fn reason(&self) -> Option<Reason> {
        match self.0.state() {
            State::Failed { reason } | State::Terminated { reason } => Some(*reason),
            State::Initializing {}
            | State::Connecting {}
            | State::Connected { .. }
            | State::Degraded { .. }
            | State::Grace { .. }
            | State::WaitingForNetwork {}
            | State::Backoff { .. }
            | State::Offering {}
            | State::AwaitingAnswer {}
            | State::AwaitingOffer { .. }
            | State::Checking {}
            | State::Rebuilding { .. } => None,
        }
    }

    /// What a person is told. `now` is on the ledger's clock; `left` says how long a timer still runs, if it does.
    pub fn status(
        &self,
        ledger: &Ledger,
        now: Duration,
        left: impl Fn(Timer) -> Option<Duration>,
    ) -> Status {
        let (gives_up_in, then) = match self.public() {
            Public::Connecting => (left(Timer::Setup), Some(UNTIL_RESTARTED)),
            Public::Reconnecting => (left(Timer::Patience), Some(UNTIL_RESTARTED)),
            Public::Failed => (
                left(Timer::Detach),
                Some("the tube ends, and what waits for it"),
            ),
            Public::Initializing | Public::Connected | Public::Degraded | Public::Terminated => {
                (None, None)
            }
        };
        let attempts = ledger.attempts(now);
        let step = self.step().and_then(|timer| Some((timer, left(timer)?)));
        let next = step.and_then(|(timer, after)| {
            let older = left(Timer::Young).filter(|left| *left <= after);
            self.next(ledger, now + after, timer, older.is_some())
        });
        Status {
            public: self.public(),
            doing: self.doing(),
            attempts,
            attempt: self.attempt(attempts),
            next_in: step.map(|(_, after)| after),
            next,
            gives_up_in,
            then,
        }
    }

    /// What is done once this timer has fired, when the loss may have grown `older` than an ICE restart can mend. It is not
    /// said anywhere: a copy of the chart shows it.
    fn next(
        &self,
        ledger: &Ledger,
        now: Duration,
        timer: Timer,
        older: bool,
    ) -> Option<&'static str> {
        let (mut chart, mut ledger) = (self.clone(), ledger.clone());
        if older {
            chart.dispatch(&Input::Fired(Timer::Young), &mut Out::default());
        }
        let mut event = Some(Input::Fired(timer));
        for _ in 0..MOST_STEPS {
            let Some(input) = event.take() else { break };
            let mut out = Out::default();
            chart.dispatch(&input, &mut out);
            for effect in out.drain() {
                match effect {
                    Effect::Act(Act::Weigh) => event = Some(Input::Weighed(ledger.weigh(now))),
                    Effect::Act(act) => ledger.note(now, &act),
                    Effect::Arm(timer, Duration::ZERO) => event = Some(Input::Fired(timer)),
                    Effect::Arm(..) | Effect::Cancel(_) => {}
                }
            }
        }
        Some(chart.doing()).filter(|next| *next != self.doing())
    }

    /// Which attempt is being made or waited for, where so many were made.
    fn attempt(&self, made: u32) -> Option<u32> {
        match self.0.state() {
            State::Backoff { n, .. } => Some(*n),
            State::Offering {}
            | State::AwaitingAnswer {}
            | State::AwaitingOffer { .. }
            | State::Checking {}
            | State::Rebuilding { .. } => Some(made),
            State::Initializing {}
            | State::Connecting {}
            | State::Connected { .. }
            | State::Degraded { .. }
            | State::Grace { .. }
            | State::WaitingForNetwork {}
            | State::Failed { .. }
            | State::Terminated { .. } => None,
        }
    }

    /// The timer of what comes next by itself.
    fn step(&self) -> Option<Timer> {
        match self.0.state() {
            State::Degraded { .. } => Some(Timer::Suspect),
            State::Grace { .. } => Some(Timer::Settle),
            State::Backoff { .. } => Some(Timer::Backoff),
            State::Connecting {} => Some(Timer::Setup),
            State::Offering {} => Some(Timer::Offer),
            State::AwaitingAnswer {} => Some(Timer::Reply),
            State::AwaitingOffer { .. } => Some(Timer::Wish),
            State::Checking {} => Some(Timer::Check),
            State::Rebuilding { .. } => Some(Timer::Rebuild),
            State::Initializing {}
            | State::Connected { .. }
            | State::WaitingForNetwork {}
            | State::Failed { .. }
            | State::Terminated { .. } => None,
        }
    }

    fn doing(&self) -> &'static str {
        let rules = self.0.inner();
        match self.0.state() {
            State::Initializing {} => "nothing has begun",
            State::Connecting {} => "connecting for the first time",
            State::Connected { .. } => "data goes both ways",
            State::Degraded { .. } => "waiting for a sign of life",
            State::Grace { .. } => "the connection is lost; looking what can be done",
            State::WaitingForNetwork {} if !rules.network => "waiting for the network",
            State::WaitingForNetwork {} => "waiting for the hub",
            State::Backoff { .. } => "waiting before the next attempt",
            State::Offering {} | State::AwaitingAnswer {} => "offering a restart of the connection",
            State::AwaitingOffer { .. } => "waiting for the other side to offer a connection",
            State::Checking {} => "looking for a way over the restarted connection",
            State::Rebuilding { .. } => "making a new connection",
            State::Failed { .. } if rules.session == Session::Lost => {
                "given up: the other side does not know the session any more"
            }
            State::Failed {
                reason: Reason::ConnectionFailed,
            } => "given up: the first connection did not come up",
            State::Failed { .. } => "given up: the connection did not come back",
            State::Terminated { .. } => "over",
        }
    }
}

/// How many steps follow each other without a wait, at the most: an attempt fails, the loss is looked at, the ledger is asked.
const MOST_STEPS: usize = 4;

const UNTIL_RESTARTED: &str =
    "it is given up, until it is restarted by hand or the network comes back";
