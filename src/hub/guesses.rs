//! Wrong room tokens, counted: a short token must not be found by trying.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use super::limits::{Bucket, network};

/// Addresses with a wrong guess that are remembered, over all rooms. Past it those that have waited long enough are
/// forgotten, then all.
const REMEMBERED: usize = 16 << 10;

/// Per room and address, how many wrong tokens may still be tried.
#[derive(Debug)]
pub(super) struct Guesses {
    per_minute: u32,
    wrong: HashMap<(String, Option<IpAddr>), Bucket>,
}

impl Guesses {
    /// `per_minute` wrong tokens are let pass for each room and address.
    pub(super) fn new(per_minute: u32) -> Self {
        Guesses {
            per_minute,
            wrong: HashMap::new(),
        }
    }

    fn key(room: &str, from: Option<IpAddr>) -> (String, Option<IpAddr>) {
        (room.to_owned(), from.map(network))
    }

    /// Whether this address has guessed too much to be listened to, for this room. A right token does not help it: it
    /// could be the one that was found.
    pub(super) fn is_spent(&mut self, room: &str, from: Option<IpAddr>, now: Instant) -> bool {
        self.wrong
            .get_mut(&Self::key(room, from))
            .is_some_and(|bucket| !bucket.has_one(now))
    }

    /// Counts a wrong token.
    pub(super) fn count(&mut self, room: &str, from: Option<IpAddr>, now: Instant) {
        if self.wrong.len() >= REMEMBERED {
            self.wrong.retain(|_, bucket| !bucket.is_full(now));
            if self.wrong.len() >= REMEMBERED {
                self.wrong.clear();
            }
        }
        let per_minute = f64::from(self.per_minute);
        // Spent already or not: the answer was given, and this is the count for the next one.
        let _ = self
            .wrong
            .entry(Self::key(room, from))
            .or_insert_with(|| Bucket::new(per_minute / 60.0, per_minute, now))
            .try_take(now);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_address_is_not_listened_to_after_too_many_wrong_tokens_for_a_room() {
        let mut guesses = Guesses::new(6);
        let now = Instant::now();
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..6 {
            assert!(!guesses.is_spent("r", Some(a), now));
            guesses.count("r", Some(a), now);
        }
        assert!(guesses.is_spent("r", Some(a), now));
        assert!(!guesses.is_spent("r", Some(b), now), "another address");
        assert!(!guesses.is_spent("s", Some(a), now), "another room");
        assert!(!guesses.is_spent("r", Some(a), now + Duration::from_secs(10)));
    }

    #[test]
    fn the_memory_of_guesses_is_bounded() {
        let mut guesses = Guesses::new(6);
        let now = Instant::now();
        for n in 0..20_000u32 {
            guesses.count("r", Some(IpAddr::V4(n.into())), now);
        }
        assert!(guesses.wrong.len() <= REMEMBERED);
    }
}
