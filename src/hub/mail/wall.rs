//! The clock on the wall, watched for being set. What is old only by a clock that was set forward is kept for a day, which is
//! time to set it back: letters that are removed do not come again.

use std::time::Duration;

use super::core::{Now, millis};

/// How much further the clock may go at once than time does, for small corrections.
const STEP: Duration = Duration::from_secs(3600);
/// How long nothing is removed after a larger one.
const DOUBT: Duration = Duration::from_secs(24 * 3600);

/// Watches the clock.
pub(super) struct Wall {
    last: Now,
    /// On the clock that never goes back, in milliseconds.
    doubted_until: u64,
}

impl Wall {
    pub(super) fn new(now: Now) -> Self {
        Wall {
            last: now,
            doubted_until: 0,
        }
    }

    /// Whether what is old by the clock may go. To be asked regularly.
    pub(super) fn believes(&mut self, now: Now) -> bool {
        let passed = now.at.saturating_sub(self.last.at);
        let shown = now.unix_ms.saturating_sub(self.last.unix_ms);
        if shown > passed.saturating_add(millis(STEP)) {
            tracing::warn!(
                hours = (shown - passed) / 3_600_000,
                "the clock was set forward; nothing is removed as too old for a day"
            );
            self.doubted_until = now.at.saturating_add(millis(DOUBT));
        }
        self.last = now;
        now.at >= self.doubted_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const YEARS: u64 = 10 * 365 * 24 * HOUR;

    /// Years forward are doubted for a day, years back and an hour forward are not; time itself never is.
    #[test]
    fn a_clock_that_is_set_is_doubted() {
        let now = |at, unix_ms| Now { at, unix_ms };
        let mut wall = Wall::new(now(0, YEARS));
        assert!(wall.believes(now(100 * HOUR, YEARS + 100 * HOUR)));
        assert!(wall.believes(now(101 * HOUR, YEARS + 102 * HOUR)));
        assert!(!wall.believes(now(101 * HOUR, 2 * YEARS)));
        assert!(!wall.believes(now(124 * HOUR, 2 * YEARS + 23 * HOUR)));
        assert!(wall.believes(now(125 * HOUR, 2 * YEARS + 24 * HOUR)));
        assert!(wall.believes(now(126 * HOUR, YEARS)));
        assert!(!wall.believes(now(126 * HOUR, u64::MAX)));
        assert!(
            !wall.believes(now(127 * HOUR, 0)),
            "set back within the day"
        );
    }
}
