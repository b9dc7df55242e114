//! The way to the store and back: each order names what its outcome does to the core.

use std::sync::{Arc, Weak};

use super::super::engine::{ConnId, DeviceKey, Letter};
use super::super::store::{Done, KnownSession, Store, StoreFailed};
use super::core::{Core, Now};
use super::{Index, Mail};

/// Orders to the store. Its methods only queue, so they are called under the lock; the answers come on the store's
/// thread and take the lock themselves.
pub(super) struct Orders {
    store: Arc<dyn Store>,
    mail: Weak<Mail>,
}

impl Orders {
    pub(super) fn new(store: Arc<dyn Store>, mail: Weak<Mail>) -> Self {
        Orders { store, mail }
    }

    /// What is to be done with an answer; nothing when the engine is gone.
    fn then<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Core, Result<T, StoreFailed>, Now) + Send + 'static,
    ) -> Done<T> {
        let mail = self.mail.clone();
        Box::new(move |answer| {
            if let Some(mail) = mail.upgrade() {
                mail.with(|core, now| what(core, answer, now));
            }
        })
    }

    pub(super) fn append(&self, id: u64, letters: Vec<(DeviceKey, Letter)>, devices: usize) {
        let done = self.then(move |core, answer, now| core.appended(id, answer, now));
        self.store.append(letters, devices, done);
    }

    pub(super) fn page(
        &self,
        device: Index,
        key: &DeviceKey,
        (conn, after, letters, bytes): (ConnId, u64, usize, usize),
    ) {
        let done = self.then(move |core, answer, _| core.paged(device, conn, answer));
        self.store.page(key, after, letters, bytes.max(1), done);
    }

    pub(super) fn acknowledge(&self, device: Index, key: &DeviceKey, up_to: u64) {
        let done = self.then(move |core, answer, _| core.freed(device, up_to, answer));
        self.store.acknowledge(key, up_to, done);
    }

    pub(super) fn adopt(&self, from: &DeviceKey, to: &DeviceKey) {
        let keys = (from.clone(), to.clone());
        let done = self.then(move |core, answer, _| core.adopted(&keys.0, &keys.1, answer));
        self.store.adopt(from, to, done);
    }

    pub(super) fn expire(&self, letters: u64, sends: u64, devices: u64) {
        let done = self.then(|core, answer, now| core.expired(answer, now));
        self.store.expire(letters, sends, devices, done);
    }

    pub(super) fn reserve(&self, below: u64) {
        let done = self.then(move |core, answer, _| core.reserved(below, answer));
        self.store.reserve_ids(below, done);
    }

    pub(super) fn seen(&self, device: &DeviceKey, at_ms: u64) {
        self.store.seen(device, at_ms);
    }

    /// Calls `done` when everything before is on disk and answered, with whether all of it is there.
    pub(super) fn sync(
        &self,
        failures: u64,
        done: impl FnOnce(&mut Core, bool, Now) + Send + 'static,
    ) {
        let done = self.then(move |core, answer, now| {
            let all = answer.is_ok() && core.failures == failures;
            done(core, all, now);
        });
        self.store.sync(done);
    }

    /// Calls `done` with whether the sessions are on disk.
    pub(super) fn save_sessions(
        &self,
        sessions: Vec<KnownSession>,
        done: impl FnOnce(bool) + Send + 'static,
    ) {
        let done = self.then(move |_, answer, _| done(answer.is_ok()));
        self.store.save_sessions(sessions, done);
    }
}
