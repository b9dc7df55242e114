//! What a device sent lately, so that a message that it sends again is answered and not delivered again.
//!
//! A client message id is kept as a keyed 128-bit hash: 32 bytes each, whatever the sender chose, and no sender can
//! find two that collide.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::super::engine::Status;

/// What each device keeps when all together remember too much.
const FEW: usize = 64;

/// A client message id, hashed.
pub(super) type Mark = [u64; 2];

/// The key of the hash, drawn at the start.
#[derive(Debug, Default)]
pub(super) struct Marker(RandomState, RandomState);

impl Marker {
    /// The mark of an id.
    pub(super) fn mark(&self, id: &str) -> Mark {
        [self.0.hash_one(id), self.1.hash_one(id)]
    }
}

/// What is known of a message that was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: u64,
    pub(super) devices: u32,
    /// None while the first is under way.
    pub(super) status: Option<Status>,
}

/// The marks of one device, oldest first.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: HashMap<Mark, Known>,
    order: VecDeque<Mark>,
}

impl Repeats {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn get(&self, mark: &Mark) -> Option<Known> {
        self.known.get(mark).copied()
    }

    /// Remembers a message, and forgets the oldest settled ones beyond `most` (or beyond a few, when `scarce`).
    /// The balance of how many are remembered.
    pub(super) fn insert(&mut self, mark: Mark, known: Known, most: usize, scarce: bool) -> isize {
        let before = self.known.len();
        if self.known.insert(mark, known).is_none() {
            self.order.push_back(mark);
        }
        let most = if scarce { most.min(FEW) } else { most };
        // What is under way stays, else a repetition of it would be delivered; each is looked at once.
        let mut looked = self.order.len();
        while self.known.len() > most && looked > 0 {
            looked -= 1;
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if self.known.get(&oldest).is_some_and(|k| k.status.is_none()) {
                self.order.push_back(oldest);
            } else {
                self.known.remove(&oldest);
            }
        }
        self.known.len() as isize - before as isize
    }

    /// The message is settled.
    pub(super) fn settle(&mut self, mark: &Mark, status: Status) {
        if let Some(known) = self.known.get_mut(mark) {
            known.status = Some(status);
        }
    }

    /// The message was refused after all: whoever sends it again means it. Whether it was remembered.
    pub(super) fn forget(&mut self, mark: &Mark) -> bool {
        if let Some(at) = self.order.iter().position(|m| m == mark) {
            self.order.remove(at);
        }
        self.known.remove(mark).is_some()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const UNDER_WAY: Known = Known {
        id: 1,
        devices: 1,
        status: None,
    };

    #[test]
    fn the_oldest_settled_goes_first_and_what_is_under_way_stays() {
        let (marker, mut repeats) = (Marker::default(), Repeats::default());
        let marks: Vec<Mark> = (0..6).map(|n| marker.mark(&n.to_string())).collect();
        for mark in &marks[..4] {
            assert_eq!(repeats.insert(*mark, UNDER_WAY, 4, false), 1);
        }
        repeats.settle(&marks[1], Status::Stored);
        repeats.settle(&marks[2], Status::Stored);
        assert_eq!(repeats.insert(marks[4], UNDER_WAY, 4, false), 0);
        assert_eq!(repeats.get(&marks[1]), None);
        assert_eq!(repeats.get(&marks[0]), Some(UNDER_WAY));
        assert_eq!(repeats.get(&marks[2]).unwrap().status, Some(Status::Stored));
        assert!(repeats.forget(&marks[0]) && !repeats.forget(&marks[0]));
        assert_eq!(repeats.insert(marks[0], UNDER_WAY, 4, false), 1);
        assert_eq!((repeats.len(), repeats.order.len()), (4, 4));
    }

    #[test]
    fn when_memory_is_scarce_a_device_keeps_a_few() {
        let (marker, mut repeats) = (Marker::default(), Repeats::default());
        let mut balance = 0;
        for n in 0..1000 {
            let mark = marker.mark(&n.to_string());
            balance += repeats.insert(mark, UNDER_WAY, 4096, n > 500);
            repeats.settle(&mark, Status::Delivered);
        }
        assert_eq!((repeats.len(), balance), (FEW, FEW as isize));
    }
}
