//! The store in one SQLite file.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::super::core::lock;
use super::super::engine::{DeviceKey, Letter, RoomRecord};
use super::addresses::Addresses;
use super::db::{Db, Failure};
use super::files::{self, Examined, OpenError, Place};
use super::recover::recover;
use super::sessions;
use super::writer::{Order, Task, Writer};
use super::{Done, Expired, Freed, KnownSession, Recovered, Store, StoreFailed};

/// Bytes of letters that may wait for the writer. More are refused, as when the disk is full.
const QUEUED_BYTES: usize = 256 << 20;

/// A [`Store`] in one SQLite file, or in memory. Dropping it carries out what was ordered and closes the file, as
/// [`SqliteStore::close`] does.
///
/// The thread that calls never waits for the disk. At most 256 MiB of letters wait to be written.
pub struct SqliteStore {
    /// None once closed.
    orders: Mutex<Option<Sender<Box<dyn Order>>>>,
    queued: Arc<AtomicUsize>,
    writer: Mutex<Option<JoinHandle<Result<(), StoreFailed>>>>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the store, or makes it where there is none, and says what is in it. A file is for one store at a time, over
    /// all processes, and only its owner may read it.
    ///
    /// # Errors
    /// The file cannot be had, is in use, is not a store, is damaged, or is of a newer version; it is left as it was.
    pub fn open(place: &Place) -> Result<(SqliteStore, Recovered), OpenError> {
        let path = match place {
            Place::File(path) => path,
            Place::Memory => Path::new(":memory:"),
        };
        let file = files::open(place)?;
        let found = recover(&file).map_err(|error| files::failure(path, error))?;
        let (orders, waiting) = channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            db: Db {
                file,
                addresses: Addresses::default(),
            },
            orders: waiting,
            queued: Arc::clone(&queued),
        };
        let writer = thread::Builder::new()
            .name("hub-store".into())
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        let store = SqliteStore {
            orders: Mutex::new(Some(orders)),
            queued,
            writer: Mutex::new(Some(writer)),
        };
        Ok((store, found))
    }

    /// Looks whether [`SqliteStore::open`] would succeed. Nothing is made or changed; a store that nobody uses is taken for
    /// the time of the look, so that a hub that starts at that moment finds it in use.
    ///
    /// # Errors
    /// Those of [`SqliteStore::open`], save that the store is in use.
    pub fn examine(place: &Place) -> Result<Examined, OpenError> {
        files::examine(place)
    }

    /// From now on the file may grow to so many bytes and not beyond; the log beside it (64 MiB, usually less) is not
    /// counted. What is in it stays. A letter for which there is no room fails, as on a full disk.
    pub fn limit_bytes(&self, bytes: u64) {
        self.give(move |db| db.limit_bytes(bytes), 0, logged("limit_bytes"));
    }

    /// Carries out what was ordered, and closes the file. What is ordered after it is not done, and not answered.
    ///
    /// # Errors
    /// The file could not be closed; what was answered before is on disk all the same.
    pub fn close(&self) -> Result<(), StoreFailed> {
        lock(&self.orders).take();
        let writer = lock(&self.writer).take();
        match writer {
            // Dropped by what the writer itself called: it ends when it comes back from there.
            Some(writer) if writer.thread().id() == thread::current().id() => Ok(()),
            Some(writer) => writer
                .join()
                .unwrap_or_else(|_| Err(StoreFailed("its thread panicked".into()))),
            None => Ok(()),
        }
    }

    fn give<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Db) -> Result<T, Failure> + Send + 'static,
        bytes: usize,
        done: Done<T>,
    ) {
        // Counted before the writer can take it off again.
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        let sent = lock(&self.orders)
            .as_ref()
            .map(|orders| orders.send(Task::new(work, bytes, done)));
        if !matches!(sent, Some(Ok(()))) {
            tracing::debug!("the store is closed; an order came too late");
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store was not closed well");
        }
    }
}

impl Store for SqliteStore {
    fn append(&self, letters: Vec<(DeviceKey, Letter)>, devices: usize, done: Done<()>) {
        let bytes = letters.iter().map(|(_, letter)| letter.bytes()).sum();
        if self.queued.load(Ordering::Relaxed).saturating_add(bytes) > QUEUED_BYTES {
            // Answered in its turn, like every order.
            let why = "too much waits to be written";
            return self.give(move |_| Err(Failure::Refused(why)), 0, done);
        }
        self.give(move |db| db.append(&letters, devices), bytes, done);
    }

    fn page(
        &self,
        device: &DeviceKey,
        after: u64,
        letters: usize,
        bytes: usize,
        done: Done<Vec<Letter>>,
    ) {
        let device = device.clone();
        self.give(move |db| db.page(&device, after, letters, bytes), 0, done);
    }

    fn acknowledge(&self, device: &DeviceKey, up_to: u64, done: Done<Freed>) {
        let device = device.clone();
        self.give(move |db| db.acknowledge(&device, up_to), 0, done);
    }

    fn adopt(&self, from: &DeviceKey, to: &DeviceKey, done: Done<()>) {
        let (from, to) = (from.clone(), to.clone());
        self.give(move |db| db.adopt(&from, &to), 0, done);
    }

    fn expire(
        &self,
        letters_before_ms: u64,
        sends_before_ms: u64,
        devices_before_ms: u64,
        done: Done<Expired>,
    ) {
        self.give(
            move |db| db.expire(letters_before_ms, sends_before_ms, devices_before_ms),
            0,
            done,
        );
    }

    fn seen(&self, device: &DeviceKey, at_ms: u64) {
        let device = device.clone();
        self.give(move |db| db.seen(&device, at_ms), 0, logged("seen"));
    }

    fn reserve_ids(&self, below: u64, done: Done<()>) {
        self.give(move |db| db.reserve_ids(below), 0, done);
    }

    fn save_room(&self, room: RoomRecord) {
        self.give(move |db| db.save_room(&room), 0, logged("save_room"));
    }

    fn forget_room(&self, id: &str) {
        let id = id.to_owned();
        self.give(move |db| db.forget_room(&id), 0, logged("forget_room"));
    }

    fn save_peer(&self, room: &str, peer: &str, user: &str) {
        let (room, peer, user) = (room.to_owned(), peer.to_owned(), user.to_owned());
        self.give(
            move |db| db.save_peer(&room, &peer, &user),
            0,
            logged("save_peer"),
        );
    }

    fn save_sessions(&self, sessions: Vec<KnownSession>, done: Done<()>) {
        self.give(move |db| Ok(sessions::save(&db.file, &sessions)?), 0, done);
    }

    fn sync(&self, done: Done<()>) {
        self.give(|_| Ok(()), 0, done);
    }
}

/// For an order of which nobody waits to hear.
fn logged(order: &'static str) -> Done<()> {
    Box::new(move |outcome| {
        if let Err(error) = outcome {
            tracing::warn!(order, %error, "the store did not carry out an order");
        }
    })
}
