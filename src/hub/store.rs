//! What the hub keeps on disk: letters that wait for a device, the devices that are known, rooms, its own secret, and over
//! a planned restart the sessions of devices.
//!
//! [`Store`] is a queue of orders to one writer. Orders are carried out in the order in which they were given, many in
//! one transaction; `done` is called on the writer's thread once the transaction is on disk, in the same order. So a page
//! that is asked for after letters were appended has them.

mod addresses;
mod db;
mod files;
mod recover;
mod schema;
mod sessions;
mod sqlite;
mod writer;

use super::engine::{DeviceKey, Letter, Receipt, RoomRecord};
use std::sync::Arc;

pub use files::{Examined, OpenError, Place};
pub use sqlite::SqliteStore;

/// Called once an order is carried out and on disk. It runs on the writer's thread and must be quick.
pub type Done<T> = Box<dyn FnOnce(Result<T, StoreFailed>) + Send>;

/// The store could not do what it was told; what the database said. Nothing of the order was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StoreFailed(pub String);

/// Letters that are gone from a mailbox, so that whoever counts can count down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many.
    pub letters: u64,
    /// Their [`Letter::bytes`] together.
    pub bytes: u64,
    /// The same bytes by the sender's user.
    pub by_sender: Vec<(Arc<str>, u64)>,
}

/// What was removed for its age: what each mailbox lost, and the devices that are forgotten.
pub type Expired = (Vec<(DeviceKey, Freed)>, Vec<DeviceKey>);

/// A device as it was found at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownDevice {
    /// Which one.
    pub key: DeviceKey,
    /// When it was last connected, in milliseconds since 1970; 0 for one that never was and only has been written to.
    pub seen_at_ms: u64,
    /// Letters that wait for it.
    pub waiting: u64,
    /// Their [`Letter::bytes`] together.
    pub waiting_bytes: u64,
    /// Letters that outlived their retention and that it has not been told of.
    pub expired: u64,
}

/// A client message id that was stored lately, so that a repetition is known as one.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownSend {
    /// The sender.
    pub from: DeviceKey,
    /// Its id of the message.
    pub client_message_id: Arc<str>,
    /// Ours.
    pub message_id: u64,
    /// To how many devices it went.
    pub devices: usize,
}

/// A session that was saved when the hub stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownSession {
    /// Whose it is.
    pub key: DeviceKey,
    /// Its number, which is drawn at random; never 0.
    pub session: u128,
    /// Until when it can be resumed, in milliseconds since 1970.
    pub until_ms: u64,
    /// The id of the last letter that the device was given.
    pub given: u64,
    /// Receipts that it has not been given, in their order.
    pub receipts: Vec<Receipt>,
}

/// Everything that was found at the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    /// The hub's own secret: drawn when the store was made.
    pub secret: [u8; 32],
    /// Every id below this one may be taken.
    pub next_id: u64,
    /// The devices, with or without letters.
    pub devices: Vec<KnownDevice>,
    /// Bytes that lie in mailboxes, by the sender's user.
    pub senders: Vec<(Arc<str>, u64)>,
    /// What was sent lately, oldest first.
    pub sends: Vec<KnownSend>,
    /// The rooms.
    pub rooms: Vec<RoomRecord>,
    /// Room, peer and the user that the peer was.
    pub peers: Vec<(String, String, String)>,
    /// The sessions, as they were saved last. They stay in the store until others are saved in their place: whoever takes
    /// them up saves none before a device can come, so that no later start finds what has passed.
    pub sessions: Vec<KnownSession>,
}

/// A durable queue of orders. Methods without `done` are carried out as well, and fail with a line in the log.
pub trait Store: Send + Sync {
    /// Adds letters to mailboxes, all or none of them. A device that is not known becomes so. For a letter with a client
    /// message id the send is remembered too; `devices` is what [`KnownSend::devices`] is to say.
    fn append(&self, letters: Vec<(DeviceKey, Letter)>, devices: usize, done: Done<()>);

    /// The oldest letters of a device with an id above `after`: at most `letters`, and at most `bytes` of content unless the
    /// first alone is larger.
    fn page(
        &self,
        device: &DeviceKey,
        after: u64,
        letters: usize,
        bytes: usize,
        done: Done<Vec<Letter>>,
    );

    /// Removes a device's letters up to and with this id.
    fn acknowledge(&self, device: &DeviceKey, up_to: u64, done: Done<Freed>);

    /// Gives the letters of one mailbox to another, and what is to be told of expired ones with them.
    /// The device that they came from stays known. A mailbox that is not known has nothing to give.
    fn adopt(&self, from: &DeviceKey, to: &DeviceKey, done: Done<()>);

    /// Removes letters sent before `letters_before_ms` and remembers for each device how many there were; forgets sends before
    /// `sends_before_ms`, and devices that were not seen since `devices_before_ms`, unless letters wait for them or they are to
    /// be told of expired ones. The answer lists what was
    /// freed by device, and the devices that were forgotten.
    fn expire(
        &self,
        letters_before_ms: u64,
        sends_before_ms: u64,
        devices_before_ms: u64,
        done: Done<Expired>,
    );

    /// A device is connected. It has been told of what expired.
    fn seen(&self, device: &DeviceKey, at_ms: u64);

    /// From now on every id below `below` may be taken.
    fn reserve_ids(&self, below: u64, done: Done<()>);

    /// Adds or replaces a room.
    fn save_room(&self, room: RoomRecord);

    /// Removes a room and what is known of its peers.
    fn forget_room(&self, id: &str);

    /// Remembers which user a peer of a room was. Of more than 1024 in a room, the oldest are forgotten.
    fn save_peer(&self, room: &str, peer: &str, user: &str);

    /// Saves these sessions in place of all that are there. Of more than 65 536, or of those with more than 1 048 576
    /// receipts together, only the first are saved, each with all of its receipts.
    fn save_sessions(&self, sessions: Vec<KnownSession>, done: Done<()>);

    /// Calls `done` when everything ordered before is on disk.
    fn sync(&self, done: Done<()>);
}
