//! When a burst of messages is over.

use std::time::Duration;

use tokio::time::Instant;

/// Silence that ends a burst.
const QUIET: Duration = Duration::from_millis(250);

/// The longest that a burst is waited for: a machine that never comes to rest is read once a second.
const PATIENCE: Duration = Duration::from_secs(1);

/// The first and the last message since the network was read.
#[derive(Debug, Default)]
pub(super) struct Burst(Option<(Instant, Instant)>);

impl Burst {
    /// A message has come.
    pub(super) fn message(&mut self, now: Instant) {
        let first = self.0.map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
    }

    /// When to read; `None` while nothing has come.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0
            .map(|(first, last)| (first + PATIENCE).min(last + QUIET))
    }

    /// The network was read.
    pub(super) fn over(&mut self) {
        self.0 = None;
    }
}
