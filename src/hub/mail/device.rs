//! One device: its mailbox, its connection, and what it sent.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::engine::{ConnId, DeviceKey, PostRefused, Receipt, Sink};
use super::limits::MailLimits;
use super::quota::Load;
use super::repeats::Repeats;

/// Everything about a device. It is small while nothing happens: ten thousand of them are idle.
pub(super) struct Device {
    pub(super) key: DeviceKey,
    /// It was connected once: it gets what is for all devices of its user.
    pub(super) seen: bool,
    /// It has a mailbox, and stands in its user's list.
    pub(super) listed: bool,
    /// Letters of the mailbox `""` are on their way to it; nothing is given until they are here.
    pub(super) adopting: bool,
    /// The order to adopt is with the store.
    pub(super) adopt_ordered: bool,
    /// Letters are in the store that this connection was not given.
    pub(super) backlog: bool,
    /// An acknowledgement is on its way to the store.
    pub(super) freeing: bool,
    /// The present connection.
    pub(super) link: Option<Link>,
    /// What the present connection was given and has not acknowledged.
    pub(super) window: Window,
    /// The device has everything up to this id.
    pub(super) acked: u64,
    /// The last id that any of its connections was given since the start, or in the session that was saved before it.
    pub(super) given: u64,
    /// The last id that went to the store.
    pub(super) stored_to: u64,
    /// The store has removed everything up to this id.
    pub(super) freed_to: u64,
    /// Letters on their way to the store.
    pub(super) appends: u32,
    /// Everything unacknowledged, in memory and in the store.
    pub(super) load: Load,
    /// Letters that outlived their retention and that it was not told of.
    pub(super) expired: u64,
    pub(super) session: u128,
    /// Until when the session can be resumed, while it is away.
    pub(super) resume_until: Option<u64>,
    /// Made when it first sends.
    pub(super) out: Option<Box<Outgoing>>,
}

impl Device {
    pub(super) fn new(key: DeviceKey) -> Self {
        Device {
            key,
            seen: false,
            listed: false,
            adopting: false,
            adopt_ordered: false,
            backlog: false,
            freeing: false,
            link: None,
            window: Window::default(),
            acked: 0,
            given: 0,
            stored_to: 0,
            freed_to: 0,
            appends: 0,
            load: Load::default(),
            expired: 0,
            session: 0,
            resume_until: None,
            out: None,
        }
    }

    /// Whether a letter can be given now, ahead of the store.
    pub(super) fn takes(&self, bytes: usize, limits: &MailLimits) -> bool {
        let open = self.link.as_ref().is_some_and(|link| !link.blocked);
        open && !self.backlog
            && self.window.letters.len() < limits.window_letters
            && (self.window.letters.is_empty() || self.window.bytes + bytes <= limits.window_bytes)
    }

    /// Letters and bytes of the next page, when there is one to ask for and half of the window is free.
    pub(super) fn wants(&self, limits: &MailLimits) -> Option<(ConnId, u64, usize, usize)> {
        let link = self.link.as_ref()?;
        let idle = !link.paging && !link.blocked && self.backlog && !self.adopting;
        let letters = self.window.letters.len();
        let room =
            letters <= limits.window_letters / 2 && self.window.bytes <= limits.window_bytes / 2;
        (idle && room).then(|| {
            (
                link.conn,
                link.reached.max(self.acked),
                (limits.window_letters - letters).min(limits.page_letters),
                (limits.window_bytes - self.window.bytes).min(limits.page_bytes),
            )
        })
    }

    /// The acknowledgement that the store has to be told of.
    pub(super) fn frees(&self) -> Option<u64> {
        (!self.freeing && self.freed_to < self.acked.min(self.stored_to)).then_some(self.acked)
    }

    /// Whether nothing depends on it: no letters, no connection, no session, nothing on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.link.is_none()
            && self.load.letters == 0
            && self.appends == 0
            && !self.freeing
            && !self.adopting
            && self.out.is_none()
            && self.resume_until.is_none()
    }

    /// The part that sends.
    pub(super) fn outgoing(&mut self) -> &mut Outgoing {
        self.out.get_or_insert_default()
    }
}

/// A connection.
pub(super) struct Link {
    pub(super) conn: ConnId,
    pub(super) sink: Arc<dyn Sink>,
    /// The last id that it was given.
    pub(super) reached: u64,
    /// A page is on its way.
    pub(super) paging: bool,
    /// The socket took no more: it is about to be closed.
    pub(super) blocked: bool,
}

/// What a connection was given and has not acknowledged, ascending.
#[derive(Default)]
pub(super) struct Window {
    pub(super) letters: VecDeque<(u64, u32)>,
    pub(super) bytes: usize,
}

impl Window {
    pub(super) fn push(&mut self, id: u64, bytes: usize) {
        self.letters
            .push_back((id, u32::try_from(bytes).unwrap_or(u32::MAX)));
        self.bytes += bytes;
    }

    /// The oldest, if it is not above `up_to`.
    pub(super) fn pop(&mut self, up_to: u64) -> Option<u64> {
        let &(id, bytes) = self.letters.front().filter(|(id, _)| *id <= up_to)?;
        self.letters.pop_front();
        self.bytes = self.bytes.saturating_sub(bytes as usize);
        if self.letters.is_empty() && self.letters.capacity() > 16 {
            // A device that was busy once is idle now.
            *self = Window::default();
        }
        Some(id)
    }
}

/// An answer to a sender.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Receipt(Receipt),
    Refused(Option<Arc<str>>, PostRefused),
}

impl Answer {
    pub(super) fn give(&self, sink: &dyn Sink) {
        match self {
            Answer::Receipt(receipt) => sink.receipt(receipt),
            Answer::Refused(id, why) => sink.refused(id.as_deref(), why),
        }
    }
}

/// What a device sent.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Posts that wait for their answer.
    pub(super) unconfirmed: usize,
    /// Answers kept for the session while it is away.
    pub(super) kept: VecDeque<Answer>,
    /// Some could not be kept: the session cannot be resumed honestly.
    pub(super) dropped: bool,
    pub(super) repeats: Repeats,
    /// When it last sent.
    pub(super) sent_at: u64,
}
