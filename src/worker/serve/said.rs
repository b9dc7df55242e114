//! What the log says of a channel: a client decides how many messages there are, and must not decide how long the log is.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The least time between two keep-alives that are logged, which come every 15 s.
const PACE: Duration = Duration::from_secs(1);
/// How often the log says the same of one channel.
const OFTEN: u32 = 3;

/// What the log has said of one channel.
#[derive(Default)]
pub(super) struct Said {
    times: HashMap<&'static str, u32>,
    beat: Option<Instant>,
}

impl Said {
    /// Whether this is to be logged: the first few times, and then no more.
    pub(super) fn anew(&mut self, what: &'static str) -> bool {
        self.up_to(OFTEN, what)
    }

    /// The same for what a client says by the thousand once it says it at all.
    pub(super) fn once(&mut self, what: &'static str) -> bool {
        self.up_to(1, what)
    }

    /// Whether a keep-alive is to be logged: one at a time.
    pub(super) fn at_its_pace(&mut self) -> bool {
        let due = self.beat.is_none_or(|beat| beat.elapsed() >= PACE);
        if due {
            self.beat = Some(Instant::now());
        }
        due
    }

    fn up_to(&mut self, most: u32, what: &'static str) -> bool {
        let said = self.times.entry(what).or_default();
        *said = said.saturating_add(1);
        *said <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each thing is said for itself, and a flood of it is not.
    #[test]
    fn a_flood_is_told_of_a_few_times() {
        let mut said = Said::default();
        let of = |said: &mut Said, what| (0..1000).filter(|_| said.anew(what)).count();
        assert_eq!(of(&mut said, "one"), 3);
        assert_eq!(of(&mut said, "one"), 0);
        assert_eq!(of(&mut said, "other"), 3);
        assert_eq!((0..9).filter(|_| said.once("third")).count(), 1);
    }
}
