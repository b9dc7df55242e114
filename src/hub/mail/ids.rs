//! Letter ids: one ascending counter, reserved on disk ahead of need, so that no id is ever given twice.

/// Ids reserved at a time.
const BLOCK: u64 = 1 << 20;

/// The largest id: what a JSON number holds exactly.
const LAST: u64 = 1 << 53;

/// The counter.
#[derive(Debug)]
pub(super) struct Ids {
    next: u64,
    /// Every id below it is reserved on disk.
    reserved: u64,
    asking: bool,
}

impl Ids {
    /// Starts at `next`; nothing is reserved yet.
    pub(super) fn new(next: u64) -> Self {
        // 0 is "nothing acknowledged", and so no id.
        let next = next.max(1);
        Ids {
            next,
            reserved: next,
            asking: false,
        }
    }

    /// The next id, if it is reserved.
    pub(super) fn peek(&self) -> Option<u64> {
        (self.next < self.reserved).then_some(self.next)
    }

    /// Uses up what [`Ids::peek`] showed.
    pub(super) fn advance(&mut self) {
        self.next += 1;
    }

    /// The bound to reserve now, when half of what was reserved is used, or `anyway`, and nothing is on its way.
    pub(super) fn ask(&mut self, anyway: bool) -> Option<u64> {
        let enough = self.reserved > self.next + BLOCK / 2 && !anyway;
        if self.asking || enough || self.reserved >= LAST {
            return None;
        }
        self.asking = true;
        Some((self.reserved + BLOCK).min(LAST))
    }

    /// What became of the reservation of `below`.
    pub(super) fn answered(&mut self, below: u64, ok: bool) {
        self.asking = false;
        if ok {
            self.reserved = self.reserved.max(below);
        }
    }
}
