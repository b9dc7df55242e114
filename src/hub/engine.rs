//! The seam between the sockets of one hub and what may one day span many: routing between devices, their mailboxes,
//! and the rooms that outlive a restart.
//!
//! [`Engine`] is all that the rest of the hub knows of it. The embedded engine (`mail`, over the SQLite `store`) is one
//! process; a cluster engine would keep the same promises over a network. Ids carry the node for that day.
//!
//! The promises: a message that a sender was told is `delivered` has been acknowledged by the device; one that is
//! `stored` is on disk. Each device gets its messages at least once and in the order of their ids, until it acknowledges
//! them. A client message id that a sender repeats is answered again and not delivered again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::wire::device::Content;

/// One connection at this hub, for the hub's lifetime.
pub type ConnId = u64;

/// A device of a user: the address of a mailbox. Two users may have devices of the same name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey {
    /// The user, from the token's `sub`.
    pub user: Arc<str>,
    /// The device, from the token's `device_id`. Empty for the mailbox of a user none of whose devices is known yet.
    pub device: Arc<str>,
}

impl DeviceKey {
    /// The device `device` of `user`.
    pub fn new(user: &str, device: &str) -> Self {
        DeviceKey {
            user: user.into(),
            device: device.into(),
        }
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.device)
    }
}

/// A message on its way to one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Ascending in the order of sending, over all devices and restarts of the hub. At most 2^53.
    pub id: u64,
    /// Who sent it: stamped by the hub.
    pub from: DeviceKey,
    /// The sender's own id of the message, if it gave one.
    pub client_message_id: Option<Arc<str>>,
    /// What it says.
    pub content: Content,
    /// When the hub took it, in milliseconds since 1970.
    pub sent_at_ms: u64,
}

impl Letter {
    /// Bytes that count against quotas and windows: the content and what goes with it.
    pub fn bytes(&self) -> usize {
        self.content.len()
            + self.from.user.len()
            + self.from.device.len()
            + self.client_message_id.as_ref().map_or(0, |id| id.len())
            + 64
    }
}

/// What a sender asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Posting {
    /// The user it is for.
    pub user: Arc<str>,
    /// The device it is for; all devices of the user without it.
    pub device: Option<Arc<str>>,
    /// The sender's own id of the message, which makes it safe to send again.
    pub client_message_id: Option<Arc<str>>,
    /// Whether the sender's own other devices get it too.
    pub echo_self: bool,
    /// What it says.
    pub content: Content,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// Every device has acknowledged it.
    Delivered,
    /// It is on disk for at least one device, and delivered to the others.
    Stored,
}

/// The answer to a sender: the message will not be lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// The id that the hub gave the message.
    pub message_id: u64,
    /// The sender's own id of it.
    pub client_message_id: Option<Arc<str>>,
    /// What became of it.
    pub status: Status,
    /// To how many devices it went.
    pub devices: usize,
    /// Whether the message had been sent before, and this is the answer again.
    pub duplicate: bool,
}

/// Why a message was not taken. Nothing of it was stored or delivered, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostRefused {
    /// A mailbox that it is for holds as much as it may.
    #[error("the recipient's mailbox is full")]
    MailboxFull,
    /// The sender has as much lying in others' mailboxes as it may.
    #[error("too many of your messages wait in mailboxes")]
    SenderQuota,
    /// The store is full, or failed.
    #[error("the hub cannot store messages now")]
    StoreUnavailable,
    /// The sender waits for more receipts than it may.
    #[error("too many messages wait for their receipt")]
    TooManyUnconfirmed,
    /// The user has as many devices as one may have, and this is none of them.
    #[error("the user has no such device")]
    NoSuchDevice,
}

impl PostRefused {
    /// The code on the wire.
    pub fn code(&self) -> &'static str {
        match self {
            PostRefused::MailboxFull => "MAILBOX_FULL",
            PostRefused::SenderQuota => "QUOTA_EXCEEDED",
            PostRefused::StoreUnavailable => "STORE_UNAVAILABLE",
            PostRefused::TooManyUnconfirmed => "TOO_MANY_UNCONFIRMED",
            PostRefused::NoSuchDevice => "NO_SUCH_DEVICE",
        }
    }

    /// Whether the same message may succeed later.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, PostRefused::NoSuchDevice)
    }
}

/// The way to one device's socket. The engine calls it while it holds its lock: nothing here waits, and nothing calls
/// the engine back.
pub trait Sink: Send + Sync {
    /// The device is attached: the first that it is told, before any message.
    fn attached(&self, attached: &Attached);
    /// Queues a message for the device. False when the socket takes no more; it will be closed then, and the engine
    /// counts the message as not sent.
    fn message(&self, letter: &Letter) -> bool;
    /// Queues the receipt of a message that the device sent.
    fn receipt(&self, receipt: &Receipt);
    /// Tells the device that a message it sent was not taken after all.
    fn refused(&self, client_message_id: Option<&str>, why: &PostRefused);
}

/// What a device that connects is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Attached {
    /// The id of the session, to resume it by.
    pub session: String,
    /// Whether the session that was asked for goes on: receipts of earlier messages still come. It outlives a planned
    /// restart of the hub, and no other end of it.
    pub resumed: bool,
    /// Messages that outlived their retention in the mailbox since the device was last here, and are gone.
    pub expired: u64,
}

/// A room, as far as it outlives a restart of the hub.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomRecord {
    /// Its id.
    pub id: String,
    /// The user who created it.
    pub owner: String,
    /// Its token.
    pub token: String,
    /// Until when it can be entered while nobody is in it, in seconds since 1970.
    pub expires_at: f64,
}

/// What the engine counts, for the metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineFigures {
    /// Messages taken from senders since the start.
    pub posted: u64,
    /// Deliveries acknowledged by devices since the start.
    pub acknowledged: u64,
    /// Messages written to the store since the start.
    pub stored: u64,
    /// Messages refused since the start, for any reason of [`PostRefused`].
    pub refused: u64,
    /// Repeated messages that were answered and not delivered again, since the start.
    pub duplicates: u64,
    /// Messages that outlived their retention since the start.
    pub expired: u64,
    /// Messages in memory, sent and not acknowledged.
    pub in_flight: u64,
    /// Messages in the store.
    pub waiting: u64,
    /// Bytes of them.
    pub waiting_bytes: u64,
    /// Devices known.
    pub devices: u64,
    /// Whether the store could not be written when it was last asked to.
    pub store_failing: bool,
}

/// Routing, mailboxes and room records. Every method returns at once; what takes time comes through a [`Sink`].
pub trait Engine: Send + Sync {
    /// A device is connected from now on: `sink` is told so, and then given the messages that wait for it. It
    /// takes over from an older connection of the device. `resume` is the session that it wants to go on with, `last` the
    /// last message that it has (an acknowledgement).
    fn attach(
        &self,
        device: &DeviceKey,
        conn: ConnId,
        sink: Arc<dyn Sink>,
        resume: Option<&str>,
        last: Option<u64>,
    );

    /// A connection of the device ended. What was not acknowledged goes to the store; when `resumable`, receipts are kept
    /// for [`crate::wire::close::RESUME_TIME`]. A connection that is not the device's present one changes nothing.
    fn detach(&self, device: &DeviceKey, conn: ConnId, resumable: bool);

    /// Sends a message. On success exactly one [`Sink::receipt`] or [`Sink::refused`] follows, to whichever connection
    /// `from` has then (or to none, if it stays away). A sender that is not a device, such as a worker in a room, gives a
    /// `sink` of its own for the answer.
    fn post(
        &self,
        from: &DeviceKey,
        posting: Posting,
        answer_to: Option<Arc<dyn Sink>>,
    ) -> Result<(), PostRefused>;

    /// The device has every message up to this id.
    fn acknowledge(&self, device: &DeviceKey, conn: ConnId, up_to: u64);

    /// Does what is due: stores what was not acknowledged in time, forgets sessions, removes what is too old. To be called
    /// about once a second.
    fn tick(&self);

    /// Keeps a room over restarts, or changes what is kept.
    fn save_room(&self, room: RoomRecord);

    /// Forgets a room.
    fn forget_room(&self, id: &str);

    /// Remembers which user a peer of a room was, so that it can be written to after it has left.
    fn save_peer(&self, room: &str, peer: &str, user: &str);

    /// What is counted.
    fn figures(&self) -> EngineFigures;

    /// Stores what is in memory, and resolves when all of it is on disk or `within` is over. Messages that come in
    /// after it are stored at once, and delivered at the next start.
    fn flush(&self, within: Duration) -> BoxFuture<'static, bool>;

    /// The last [`Engine::flush`], once nobody is connected any more: saves the sessions that can be resumed, too, so that
    /// the next start goes on with them.
    fn close(&self, within: Duration) -> BoxFuture<'static, bool>;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An engine that leads nowhere, for tests of what does not need one.
    pub(crate) struct Nowhere;

    impl Engine for Nowhere {
        fn attach(
            &self,
            _: &DeviceKey,
            _: ConnId,
            _: Arc<dyn Sink>,
            _: Option<&str>,
            _: Option<u64>,
        ) {
        }
        fn detach(&self, _: &DeviceKey, _: ConnId, _: bool) {}
        fn post(
            &self,
            _: &DeviceKey,
            _: Posting,
            _: Option<Arc<dyn Sink>>,
        ) -> Result<(), PostRefused> {
            Err(PostRefused::StoreUnavailable)
        }
        fn acknowledge(&self, _: &DeviceKey, _: ConnId, _: u64) {}
        fn tick(&self) {}
        fn save_room(&self, _: RoomRecord) {}
        fn forget_room(&self, _: &str) {}
        fn save_peer(&self, _: &str, _: &str, _: &str) {}
        fn figures(&self) -> EngineFigures {
            EngineFigures::default()
        }
        fn flush(&self, _: Duration) -> BoxFuture<'static, bool> {
            Box::pin(std::future::ready(true))
        }
        fn close(&self, _: Duration) -> BoxFuture<'static, bool> {
            Box::pin(std::future::ready(true))
        }
    }
}
