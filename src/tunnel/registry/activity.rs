//! When a tube was last active.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::lock;

/// The last activity of a tube. Each is later than the one before.
#[derive(Debug)]
pub(super) struct Activity {
    began: (Instant, SystemTime),
    last: Mutex<Instant>,
}

impl Activity {
    /// It is active now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Activity {
            began: (now, SystemTime::now()),
            last: Mutex::new(now),
        }
    }

    /// It is active now.
    pub(super) fn touch(&self) {
        let mut last = lock(&self.last);
        let next = last.checked_add(Duration::from_nanos(1));
        *last = next.map_or_else(Instant::now, |next| next.max(Instant::now()));
    }

    /// When it was.
    pub(super) fn last(&self) -> Instant {
        *lock(&self.last)
    }

    /// A moment, for a person.
    pub(super) fn time_of(&self, moment: Instant) -> SystemTime {
        let (began, time) = self.began;
        time + moment.saturating_duration_since(began)
    }
}
