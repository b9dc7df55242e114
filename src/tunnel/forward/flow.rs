//! Credit: how many bytes of a stream may be under way. Each direction has its own.
//!
//! A receiver grants so many bytes as it has room for, and grants them again as they are taken. Its room is small at
//! first, and doubles while they are, as far as the room that all streams have in common allows.

/// The room that every stream has, bytes.
pub(super) const FIRST_WINDOW: u32 = 64 << 10;
/// The room of a stream that is taken from without a pause, bytes.
const MAX_WINDOW: u32 = 1 << 20;
/// What all streams of a tunnel have beyond their first windows, bytes.
const COMMON_ROOM: u32 = 16 << 20;
/// The most credit that a sender keeps, bytes: no receiver of ours grants as much.
const MAX_CREDIT: u32 = 64 << 20;

/// A rule that the other side broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// More bytes came than were granted.
    #[error("more bytes came than were granted")]
    TooMuch,
    /// More was granted than anybody has room for.
    #[error("more was granted than anybody has room for")]
    TooGenerous,
}

/// What may be sent.
#[derive(Debug, Default)]
pub struct Sending {
    credit: u32,
}

impl Sending {
    /// Further bytes may be sent.
    ///
    /// # Errors
    /// [`Breach::TooGenerous`].
    pub fn grant(&mut self, bytes: u32) -> Result<(), Breach> {
        let credit = self.credit.checked_add(bytes);
        let credit = credit.filter(|credit| *credit <= MAX_CREDIT);
        self.credit = credit.ok_or(Breach::TooGenerous)?;
        Ok(())
    }

    /// How many bytes may be sent now.
    pub fn room(&self) -> usize {
        self.credit as usize
    }

    /// So many are sent; no more than there was [room](Self::room) for.
    pub fn spend(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.credit = self.credit.saturating_sub(bytes);
    }
}

/// The room that the streams of a tunnel have in common.
#[derive(Debug)]
pub struct Common(u32);

impl Default for Common {
    fn default() -> Self {
        Common(COMMON_ROOM)
    }
}

/// What may come.
#[derive(Debug)]
pub struct Receiving {
    window: u32,
    /// Granted, and not come yet.
    open: u32,
    /// Taken, and not granted again.
    taken: u32,
}

impl Default for Receiving {
    fn default() -> Self {
        Receiving {
            window: FIRST_WINDOW,
            open: FIRST_WINDOW,
            taken: 0,
        }
    }
}

impl Receiving {
    /// So many bytes came.
    ///
    /// # Errors
    /// [`Breach::TooMuch`].
    pub fn came(&mut self, bytes: usize) -> Result<(), Breach> {
        let bytes = u32::try_from(bytes).map_err(|_| Breach::TooMuch)?;
        self.open = self.open.checked_sub(bytes).ok_or(Breach::TooMuch)?;
        Ok(())
    }

    /// So many of them were taken. What is to be granted, once it is worth a frame.
    pub fn took(&mut self, bytes: usize, common: &mut Common) -> Option<u32> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.taken = self.taken.saturating_add(bytes).min(self.window);
        if self.taken < self.window / 2 {
            return None;
        }
        let more = self.window.min(MAX_WINDOW - self.window).min(common.0);
        common.0 -= more;
        self.window += more;
        let grant = std::mem::take(&mut self.taken) + more;
        self.open += grant;
        Some(grant)
    }

    /// The stream is over: what it had of the common room is given back.
    pub fn over(&mut self, common: &mut Common) {
        common.0 += self.window - FIRST_WINDOW;
        self.window = FIRST_WINDOW;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Two sides that keep to the rules never breach them, nor come to a standstill; what waits at a receiver is never
        /// more than its window, and all windows together are bounded, whatever is taken when.
        #[test]
        fn honest_streams_flow_and_their_memory_is_bounded(steps in proptest::collection::vec((0_usize..4, any::<bool>(), 1_usize..70_000), 1..400)) {
            let mut common = Common::default();
            let mut streams: Vec<(Sending, Receiving, usize)> = Vec::new();
            for _ in 0..4 {
                let (mut sending, receiving) = (Sending::default(), Receiving::default());
                sending.grant(FIRST_WINDOW).unwrap();
                streams.push((sending, receiving, 0));
            }
            for (which, sends, bytes) in steps {
                let (sending, receiving, waiting) = &mut streams[which];
                if sends {
                    let bytes = bytes.min(sending.room());
                    sending.spend(bytes);
                    prop_assert_eq!(receiving.came(bytes), Ok(()));
                    *waiting += bytes;
                } else {
                    let bytes = bytes.min(*waiting);
                    *waiting -= bytes;
                    if let Some(grant) = receiving.took(bytes, &mut common) {
                        prop_assert_eq!(sending.grant(grant), Ok(()));
                    }
                }
                prop_assert!(*waiting <= receiving.window as usize);
                prop_assert!(receiving.window <= MAX_WINDOW);
                // Once everything is taken, something can be sent.
                prop_assert!(*waiting > 0 || sending.room() > 0);
            }
            let used: u32 = streams.iter().map(|(_, receiving, _)| receiving.window - FIRST_WINDOW).sum();
            prop_assert_eq!(used + common.0, COMMON_ROOM);
            for (_, receiving, _) in &mut streams {
                receiving.over(&mut common);
            }
            prop_assert_eq!(common.0, COMMON_ROOM);
        }
    }

    /// A peer that sends more than it may, or grants more than can be meant, is found out.
    #[test]
    fn breaches_are_found() {
        let mut receiving = Receiving::default();
        receiving.came(FIRST_WINDOW as usize).unwrap();
        assert_eq!(receiving.came(1), Err(Breach::TooMuch));
        let mut sending = Sending::default();
        sending.grant(MAX_CREDIT).unwrap();
        assert_eq!(sending.grant(1), Err(Breach::TooGenerous));
        assert_eq!(Sending::default().grant(u32::MAX), Err(Breach::TooGenerous));
    }

    /// A stream that is drained grows to the largest window; with many, the common room ends it.
    #[test]
    fn windows_grow_as_far_as_there_is_room() {
        let mut common = Common::default();
        let mut streams: Vec<_> = (0..256).map(|_| Receiving::default()).collect();
        for receiving in &mut streams {
            for _ in 0..40 {
                let bytes = receiving.open as usize;
                receiving.came(bytes).unwrap();
                receiving.took(bytes, &mut common);
            }
        }
        assert_eq!(streams[0].window, MAX_WINDOW);
        assert_eq!(streams[255].window, FIRST_WINDOW);
        let all: u64 = streams.iter().map(|one| u64::from(one.window)).sum();
        assert_eq!(all, 256 * u64::from(FIRST_WINDOW) + u64::from(COMMON_ROOM));
    }
}
