//! An engine, its store, its clock, and sockets that remember what they were sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::super::engine::*;
use super::super::core::Now;
use super::super::{Mail, MailLimits, millis};
use super::fake_store::{Disk, FakeStore};
use crate::wire::device::Content;

/// A socket.
#[derive(Default)]
pub struct Socket {
    pub greeting: Mutex<Option<Attached>>,
    pub letters: Mutex<Vec<Letter>>,
    pub receipts: Mutex<Vec<Receipt>>,
    pub refusals: Mutex<Vec<(Option<String>, PostRefused)>>,
    pub refuses: AtomicBool,
}

impl Sink for Socket {
    fn attached(&self, attached: &Attached) {
        assert!(self.letters.lock().unwrap().is_empty(), "greeted first");
        *self.greeting.lock().unwrap() = Some(attached.clone());
    }

    fn message(&self, letter: &Letter) -> bool {
        if self.refuses.load(Ordering::Relaxed) {
            return false;
        }
        self.letters.lock().unwrap().push(letter.clone());
        true
    }

    fn receipt(&self, receipt: &Receipt) {
        self.receipts.lock().unwrap().push(receipt.clone());
    }

    fn refused(&self, id: Option<&str>, why: &PostRefused) {
        let refusal = (id.map(str::to_owned), why.clone());
        self.refusals.lock().unwrap().push(refusal);
    }
}

impl Socket {
    pub fn texts(&self) -> Vec<String> {
        let letters = self.letters.lock().unwrap();
        letters.iter().map(|letter| text(&letter.content)).collect()
    }

    pub fn last(&self) -> u64 {
        self.letters
            .lock()
            .unwrap()
            .last()
            .map_or(0, |letter| letter.id)
    }

    /// The receipts since the last call: what became of each, and whether it is said again.
    pub fn take_receipts(&self) -> Vec<(Status, bool)> {
        let receipts = std::mem::take(&mut *self.receipts.lock().unwrap());
        receipts.iter().map(|r| (r.status, r.duplicate)).collect()
    }

    pub fn take_refusals(&self) -> Vec<PostRefused> {
        let refusals = std::mem::take(&mut *self.refusals.lock().unwrap());
        refusals.into_iter().map(|(_, why)| why).collect()
    }
}

pub fn text(content: &Content) -> String {
    match content {
        Content::Json(text) => text.to_string(),
        Content::Binary(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// A device, written `user/device`.
pub fn key(name: &str) -> DeviceKey {
    let (user, device) = name.split_once('/').unwrap();
    DeviceKey::new(user, device)
}

/// A message to `user` or `user/device`.
pub fn to(name: &str, text: &str) -> Posting {
    let (user, device) = name
        .split_once('/')
        .map_or((name, None), |(u, d)| (u, Some(d)));
    Posting {
        user: user.into(),
        device: device.map(Into::into),
        client_message_id: None,
        echo_self: false,
        content: Content::Json(text.into()),
    }
}

/// The same with a client message id.
pub fn with_id(id: &str, posting: Posting) -> Posting {
    Posting {
        client_message_id: Some(id.into()),
        ..posting
    }
}

pub struct World {
    pub mail: Arc<Mail>,
    pub store: Arc<FakeStore>,
    pub limits: MailLimits,
    pub clock: Arc<AtomicU64>,
    pub conns: ConnId,
}

impl World {
    pub fn new() -> World {
        World::with(MailLimits::default())
    }

    /// An engine whose first ids are reserved.
    pub fn with(limits: MailLimits) -> World {
        let clock = Arc::new(AtomicU64::new(1_000));
        let world = World::over(Disk::default(), limits, clock);
        world.store.settle();
        world
    }

    pub fn over(mut disk: Disk, limits: MailLimits, clock: Arc<AtomicU64>) -> World {
        let recovered = disk.recovered();
        // As a hub does before it serves.
        disk.sessions.clear();
        let store = FakeStore::over(disk);
        let time = Arc::clone(&clock);
        let now = move || {
            let at = time.load(Ordering::Relaxed);
            Now {
                at,
                unix_ms: 1_000_000_000_000 + at,
            }
        };
        let mail = Mail::with_clock(
            store.clone(),
            recovered,
            "node1",
            limits.clone(),
            Box::new(now),
        );
        World {
            mail,
            store,
            limits,
            clock,
            conns: 0,
        }
    }

    /// A planned stop of a hub whose sockets are gone, and a new start.
    pub fn stop_and_start(&mut self) {
        drop(self.mail.close(Duration::ZERO));
        self.store.settle();
        self.restart();
        self.store.settle();
    }

    /// kill -9, and a new start.
    pub fn restart(&mut self) {
        let disk = self.store.crash();
        *self = World::over(disk, self.limits.clone(), Arc::clone(&self.clock));
    }

    pub fn pass(&self, time: Duration) {
        self.clock.fetch_add(millis(time), Ordering::Relaxed);
        self.mail.tick();
    }

    pub fn attach(&mut self, name: &str) -> (Arc<Socket>, ConnId) {
        let (socket, conn, _) = self.attach_with(name, None, None);
        (socket, conn)
    }

    pub fn attach_with(
        &mut self,
        name: &str,
        resume: Option<&str>,
        last: Option<u64>,
    ) -> (Arc<Socket>, ConnId, Attached) {
        self.conns += 1;
        let socket = Arc::new(Socket::default());
        self.mail
            .attach(&key(name), self.conns, socket.clone(), resume, last);
        let attached = socket.greeting.lock().unwrap().clone().unwrap();
        (socket, self.conns, attached)
    }

    pub fn post(&self, from: &str, posting: Posting) -> Result<(), PostRefused> {
        self.mail.post(&key(from), posting, None)
    }

    /// Whether every counter is what it counts. Only when the store is quiet.
    pub fn audit(&self) {
        assert!(self.store.is_quiet());
        self.mail.with(|core, _| {
            self.store.look(|disk| {
                let mut senders = std::collections::HashMap::<Arc<str>, u64>::new();
                let mut loads = std::collections::HashMap::<DeviceKey, (u64, u64)>::new();
                let mut add = |device: &DeviceKey, letter: &Letter| {
                    let bytes = letter.bytes() as u64;
                    *senders.entry(letter.from.user.clone()).or_default() += bytes;
                    let load = loads.entry(device.clone()).or_default();
                    *load = (load.0 + 1, load.1 + bytes);
                };
                let (mut waiting, mut waiting_bytes) = (0, 0);
                for ((device, _), letter) in &disk.letters {
                    add(device, letter);
                    waiting += 1;
                    waiting_bytes += letter.bytes() as u64;
                }
                let (mut live, mut memory) = (0, 0);
                for post in core.posts.values() {
                    assert!(!post.storing);
                    live += post.targets.len() as u64;
                    memory += post.letter.bytes() as u64;
                    for target in &post.targets {
                        let device = core.devices[*target as usize].as_ref().unwrap();
                        assert!(
                            device
                                .window
                                .letters
                                .iter()
                                .any(|(id, _)| *id == post.letter.id)
                        );
                        add(&device.key, &post.letter);
                    }
                }
                let mut remembered = 0;
                for device in core.devices.iter().flatten() {
                    let load = loads.remove(&device.key).unwrap_or_default();
                    assert_eq!(
                        (device.load.letters, device.load.bytes),
                        load,
                        "{:?}",
                        device.key
                    );
                    assert_eq!(device.appends, 0);
                    remembered += device.out.as_ref().map_or(0, |out| out.repeats.len());
                    let bytes: u64 = device
                        .window
                        .letters
                        .iter()
                        .map(|(_, b)| u64::from(*b))
                        .sum();
                    assert_eq!(device.window.bytes as u64, bytes);
                }
                assert!(loads.is_empty(), "letters of nobody: {loads:?}");
                assert_eq!(core.senders.0, senders);
                assert_eq!(
                    (core.waiting.letters, core.waiting.bytes),
                    (waiting, waiting_bytes)
                );
                assert_eq!((core.live.letters, core.live.bytes), (live, memory));
                assert_eq!((core.writing, core.remembered), (0, remembered));
            });
        });
    }
}
