//! The account of a tube's attempts: how soon the next may come, and whether it may be an ICE restart
//! (reading.md 28; the integration guide's backoff of 5, 10, 20 and at most 60 s).
//!
//! It is a pure value beside the chart, since it counts in time and the chart has none. Who performs the chart's
//! effects shows each of them to [`Ledger::note`], with the time on a clock of its own choice that never goes back.

use std::collections::VecDeque;
use std::time::Duration;

use super::vocabulary::{Act, Public};

/// How long an attempt counts.
pub const WINDOW: Duration = Duration::from_secs(300);
/// How long a connection has to last for its attempts to be forgotten.
pub const STABLE: Duration = Duration::from_secs(60);
/// How many ICE restarts there may be in [`WINDOW`].
pub const RESTARTS: usize = 5;
/// The wait after the first attempt that counts, the second, the third, and every other.
pub const BACKOFF: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(60),
];

/// What the ledger says of an attempt now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be made.
    Go {
        /// Which one it would be, of those that count.
        n: u32,
        /// Whether it may be an ICE restart.
        restart: bool,
    },
    /// It may not be made yet.
    Wait {
        /// Which one it would be, of those that count.
        n: u32,
        /// How long it has to wait.
        wait: Duration,
    },
}

/// The attempts of one tube.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    attempts: VecDeque<Duration>,
    restarts: VecDeque<Duration>,
    /// No attempt before.
    ready: Duration,
    /// Whether a wait was cut short since the attempts were last forgotten.
    waived: bool,
    connected_since: Option<Duration>,
}

impl Ledger {
    /// Of a tube that has tried nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many attempts count.
    pub fn attempts(&self, now: Duration) -> u32 {
        let mut then = self.clone();
        then.forget(now);
        then.number()
    }

    /// Whether an attempt may be made now.
    pub fn weigh(&mut self, now: Duration) -> Verdict {
        self.forget(now);
        let n = self.number().saturating_add(1);
        match self.ready.checked_sub(now) {
            Some(wait) if !wait.is_zero() => Verdict::Wait { n, wait },
            _ => Verdict::Go {
                n,
                restart: self.restarts.len() < RESTARTS,
            },
        }
    }

    /// Keeps account of an effect of the chart.
    pub fn note(&mut self, now: Duration, act: &Act) {
        self.forget(now);
        match act {
            Act::Attempt { next_in, .. } if next_in.is_zero() => {
                // What it was connected for is over, and forgotten once.
                self.connected_since = None;
                self.attempts.push_back(now);
                self.ready = now.saturating_add(self.backoff());
            }
            Act::AttemptFailed => {
                self.ready = self.ready.max(now.saturating_add(self.backoff()));
            }
            Act::Offer { .. } => self.restarts.push_back(now),
            Act::WaiveBackoff if now < self.ready && !self.waived => {
                self.waived = true;
                self.ready = now;
            }
            Act::Notify(Public::Connected) => self.connected_since = Some(now),
            Act::Notify(_) => self.connected_since = None,
            Act::Open
            | Act::Look
            | Act::Ping { .. }
            | Act::Weigh
            | Act::AskForRestart { .. }
            | Act::Answer { .. }
            | Act::TakeAnswer
            | Act::Rebuild { .. }
            | Act::HoldWriters
            | Act::ReleaseWriters
            | Act::ChangeDetected(_)
            | Act::Attempt { .. }
            | Act::WaiveBackoff
            | Act::RefuseRestart(_)
            | Act::CountStale
            | Act::GiveUp(_)
            | Act::Close(_) => {}
        }
    }

    fn number(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX)
    }

    /// The wait after the last attempt; none where none counts.
    fn backoff(&self) -> Duration {
        let longest = BACKOFF.len();
        match self.attempts.len() {
            0 => Duration::ZERO,
            n => BACKOFF[n.min(longest) - 1],
        }
    }

    fn forget(&mut self, now: Duration) {
        let over = |at: &Duration| at.saturating_add(WINDOW) <= now;
        while self.attempts.front().is_some_and(over) {
            self.attempts.pop_front();
        }
        while self.restarts.front().is_some_and(over) {
            self.restarts.pop_front();
        }
        let stable = |since: Duration| since.saturating_add(STABLE) <= now;
        if self.connected_since.is_some_and(stable) {
            self.attempts.clear();
            self.waived = false;
            self.ready = Duration::ZERO;
        }
    }
}
