//! A small model of what a tube may try when, and what it may say, written from reading.md 27 and 28, the integration guide
//! and the rules of the measurements alone.

use std::time::Duration;

use loaner::charts::tunnel::{Act, Input, Public};

const WINDOW: Duration = Duration::from_secs(300);
const STABLE: Duration = Duration::from_secs(60);

/// The state that the guide has for one of the chart's.
pub fn public(state: &str) -> Public {
    match state {
        "initializing" => Public::Initializing,
        "connecting" => Public::Connecting,
        "connected" => Public::Connected,
        "degraded" => Public::Degraded,
        "failed" => Public::Failed,
        "terminated" => Public::Terminated,
        _ => Public::Reconnecting,
    }
}

/// 5 s, 10 s, 20 s, then 60 s.
fn backoff(attempts: usize) -> Duration {
    Duration::from_secs(match attempts {
        0 => 0,
        1 => 5,
        2 => 10,
        3 => 20,
        _ => 60,
    })
}

/// When attempts were made, and what lets the next one off its wait.
#[derive(Debug, Default)]
pub struct Attempts {
    made: Vec<Duration>,
    /// When the last one is known to have failed, and how many counted then.
    failed: Option<(Duration, usize)>,
    /// Whether one was made earlier than the backoff, because of a network that came back.
    let_off: bool,
    /// Whether the network came back since the last attempt.
    network_back: bool,
    connected_since: Option<Duration>,
}

impl Attempts {
    fn counted(&self, now: Duration) -> usize {
        let counts = |at: &&Duration| now - **at < WINDOW;
        self.made.iter().filter(counts).count()
    }

    /// The network came back, or is another one.
    pub fn network_is_back(&mut self) {
        self.network_back = true;
    }

    /// The tube entered or left a state of the guide.
    pub fn enters(&mut self, at: Duration, public: Public) {
        if self
            .connected_since
            .is_some_and(|since| at - since >= STABLE)
        {
            *self = Attempts::default();
        }
        self.connected_since = (public == Public::Connected).then_some(at);
    }

    /// An attempt has failed.
    pub fn fails(&mut self, at: Duration) {
        self.failed = Some((at, self.counted(at)));
    }

    /// An attempt is made: the error says why it should not have been.
    pub fn makes(&mut self, at: Duration) -> Result<(), String> {
        if self
            .connected_since
            .is_some_and(|since| at - since >= STABLE)
        {
            *self = Attempts::default();
        }
        let from_start =
            (self.made.last()).map_or(Duration::ZERO, |last| *last + backoff(self.counted(*last)));
        let from_failure = (self.failed).map_or(Duration::ZERO, |(at, n)| at + backoff(n));
        let earliest = from_start.max(from_failure);
        if at < earliest {
            if self.let_off || !self.network_back {
                return Err(format!("an attempt at {at:?}, not before {earliest:?}"));
            }
            self.let_off = true;
        }
        self.made.push(at);
        self.network_back = false;
        Ok(())
    }
}

/// Which halves of the proof there are that data goes both ways.
#[derive(Debug, Default)]
pub struct Proof {
    pong: bool,
    ping: bool,
}

impl Proof {
    /// A word came from the other side, of the present generation.
    pub fn hears(&mut self, event: &Input) {
        self.pong |= *event == Input::Pong;
        self.ping |= *event == Input::PeerPing;
    }

    /// What an effect makes of it: a new path is not proved, and a lost one not any more.
    pub fn sees(&mut self, act: &Act) {
        match act {
            Act::Offer { .. } | Act::Rebuild { .. } | Act::Answer { .. } => {
                *self = Proof::default()
            }
            Act::Notify(Public::Degraded | Public::Reconnecting) => self.pong = false,
            _ => {}
        }
    }

    /// Whether data went both ways.
    pub fn is_complete(&self) -> bool {
        self.pong && self.ping
    }
}
