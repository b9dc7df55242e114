//! What a tube has done so far.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The figures of a tube, since its manager was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// When it was last active: a message for it, bytes over it, a keepalive, or [`super::Manager::update_activity`].
    pub last_activity: SystemTime,
    /// Attempts to bring a lost connection back.
    pub reconnection_attempts: u64,
    /// Those of them that were ICE restarts, offered or answered here.
    pub ice_restart_attempts: u64,
    /// When the last attempt was made.
    pub last_restart: Option<SystemTime>,
    /// When it was last connected, the first time or again.
    pub established: Option<SystemTime>,
    /// How often it was connected.
    pub connections: u64,
    /// Bytes of the messages that were sent.
    pub bytes_sent: u64,
    /// Bytes of the messages that were received.
    pub bytes_received: u64,
    /// How long the last ping and its answer took.
    pub round_trip: Option<Duration>,
}

/// What a manager counts as it goes.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub attempts: u64,
    pub restarts: u64,
    pub last_attempt: Option<Instant>,
    pub connections: u64,
    pub established: Option<Instant>,
    pub round_trip: Option<Duration>,
}

impl Figures {
    pub(super) fn attempted(&mut self, now: Instant) {
        self.attempts += 1;
        self.last_attempt = Some(now);
    }

    pub(super) fn restarted(&mut self) {
        self.restarts += 1;
    }

    pub(super) fn connected(&mut self, now: Instant) {
        self.connections += 1;
        self.established = Some(now);
    }
}
