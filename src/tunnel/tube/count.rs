//! What was sent and what has come, counted.
//!
//! Messages are counted, not numbered: a channel keeps their order, so both sides know which one it is.

use std::collections::VecDeque;

use tokio::sync::OwnedSemaphorePermit;

use super::message::Message;

/// After so many bytes the other side is told at once what is here.
const TELL_BYTES: usize = 256 << 10;

/// And after so many messages.
const TELL_MESSAGES: u64 = 256;

/// What the other side says of itself is impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side claims to have {claimed} messages; {first} to {last} are possible")]
pub struct Impossible {
    claimed: u64,
    first: u64,
    last: u64,
}

/// What was sent, until the other side has it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Messages that the other side has.
    acknowledged: u64,
    /// What was sent since, with its share of the room.
    kept: VecDeque<(Message, OwnedSemaphorePermit)>,
    /// Messages of those that the present channel was given.
    written: usize,
}

impl Sent {
    pub(super) fn push(&mut self, message: Message, room: OwnedSemaphorePermit) {
        self.kept.push_back((message, room));
    }

    /// The next message for the present channel.
    pub(super) fn next(&mut self) -> Option<Message> {
        let next = self.kept.get(self.written)?.0.clone();
        self.written += 1;
        Some(next)
    }

    /// The next message, if it is the only one that the present channel was not given.
    pub(super) fn only(&mut self) -> Option<Message> {
        match self.kept.len() - self.written {
            1 => self.next(),
            _ => None,
        }
    }

    /// Whether the present channel was not given everything.
    pub(super) fn has_next(&self) -> bool {
        self.written < self.kept.len()
    }

    /// Whether there is something that the other side does not have, as far as is known.
    pub(super) fn is_pending(&self) -> bool {
        !self.kept.is_empty()
    }

    /// The other side has so many messages.
    ///
    /// # Errors
    /// When it has said before that it has more, or was not sent as many.
    pub(super) fn acknowledge(&mut self, claimed: u64) -> Result<(), Impossible> {
        let first = self.acknowledged;
        let last = first + self.written as u64;
        let news = claimed.checked_sub(first).filter(|_| claimed <= last);
        let Some(news) = news.and_then(|news| usize::try_from(news).ok()) else {
            return Err(Impossible {
                claimed,
                first,
                last,
            });
        };
        self.kept.drain(..news);
        self.written -= news;
        self.acknowledged = claimed;
        Ok(())
    }

    /// There is another channel: what the other side lacks is sent again.
    ///
    /// # Errors
    /// As [`acknowledge`](Self::acknowledge).
    pub(super) fn restart(&mut self, claimed: u64) -> Result<(), Impossible> {
        self.acknowledge(claimed)?;
        self.written = 0;
        Ok(())
    }
}

/// What has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Received {
    messages: u64,
    /// Messages that the other side was told of.
    told: u64,
    /// Bytes since.
    bytes: usize,
}

impl Received {
    pub(super) fn take(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    /// Whether the other side is to be told at once.
    pub(super) fn is_due(&self) -> bool {
        self.bytes >= TELL_BYTES || self.messages - self.told >= TELL_MESSAGES
    }

    /// Whether the other side does not know all.
    pub(super) fn is_untold(&self) -> bool {
        self.messages > self.told
    }

    /// How much is here; the other side is told.
    pub(super) fn tell(&mut self) -> u64 {
        self.told = self.messages;
        self.bytes = 0;
        self.messages
    }
}
