//! To the device: connections, windows, pages of the backlog, acknowledgements.

use std::mem;
use std::sync::Arc;

use super::super::engine::{Attached, ConnId, DeviceKey, Letter, Sink};
use super::super::store::{Freed, StoreFailed};
use super::Index;
use super::core::{Core, Now, millis};
use super::device::{Device, Link};
use crate::wire::close::RESUME_TIME;

impl Device {
    /// Gives a letter to the connection. False when it takes no more.
    pub(super) fn give(&mut self, letter: &Letter) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| !link.blocked) else {
            return false;
        };
        if !link.sink.message(letter) {
            link.blocked = true;
            return false;
        }
        link.reached = letter.id;
        self.given = self.given.max(letter.id);
        self.window.push(letter.id, letter.bytes());
        true
    }
}

impl Core {
    pub(super) fn attach(
        &mut self,
        key: &DeviceKey,
        (conn, sink): (ConnId, Arc<dyn Sink>),
        resume: Option<&str>,
        last: Option<u64>,
        now: Now,
    ) {
        let index = self.ensure(key);
        if self.device(index).is_some_and(|device| !device.seen) {
            self.make_room(key);
            self.list(index);
        }
        if let Some(last) = last
            && self
                .device(index)
                .is_some_and(|device| last <= device.given)
        {
            self.advance(index, last, now);
        }
        self.cut(index);

        let nobody = DeviceKey {
            user: Arc::clone(&key.user),
            device: "".into(),
        };
        let orphaned = self.find(&nobody).is_some_and(|(_, nobody)| nobody.listed);
        let adopting = orphaned && !key.device.is_empty();
        let node = self.node.clone();
        let name = |session: u128| format!("{node}.{session:032x}");
        let Some(device) = self.device(index) else {
            // Made above.
            return;
        };
        let alive = device
            .resume_until
            .take()
            .is_some_and(|until| until > now.at);
        let known = device.session != 0 && resume == Some(name(device.session).as_str());
        let honest = device.out.as_ref().is_none_or(|out| !out.dropped);
        let resumed = alive && known && honest;
        if !resumed {
            device.session = rand::random();
        }
        sink.attached(&Attached {
            session: name(device.session),
            resumed,
            expired: mem::take(&mut device.expired),
        });
        if let Some(out) = &mut device.out {
            let kept = mem::take(&mut out.kept);
            out.dropped = false;
            if resumed {
                kept.iter().for_each(|answer| answer.give(&*sink));
            }
        }
        device.seen = true;
        device.attached_at = Some(now.at);
        device.adopting |= adopting;
        // Either of the last two would do; what is wrongly thought live would be lost.
        device.backlog =
            device.adopting || device.load.letters > 0 || device.acked < device.stored_to;
        device.link = Some(Link {
            conn,
            sink,
            reached: 0,
            paging: false,
            blocked: false,
        });
        self.orders.seen(key, now.unix_ms);
        self.pump(index);
    }

    /// Before a new device of a user: forgets one that was only named and has nothing, when there are too many.
    fn make_room(&mut self, key: &DeviceKey) {
        let Some(devices) = self.users.get(&key.user) else {
            return;
        };
        if devices.len() >= self.limits.devices_per_user {
            for index in devices.clone() {
                if self.device(index).is_some_and(|device| device.key != *key) {
                    self.remove_if_unused(index);
                }
            }
        }
    }

    pub(super) fn detach(&mut self, key: &DeviceKey, conn: ConnId, resumable: bool, now: Now) {
        let Some((index, _)) = self
            .find(key)
            .filter(|(_, device)| device.link.as_ref().is_some_and(|link| link.conn == conn))
        else {
            return;
        };
        self.cut(index);
        let Some(device) = self.device(index) else {
            return;
        };
        let until = now.at.saturating_add(millis(RESUME_TIME));
        device.resume_until = resumable.then_some(until);
        if !resumable && let Some(out) = &mut device.out {
            out.kept = Default::default();
        }
    }

    /// Ends the present connection, if there is one: what it has not acknowledged goes to the store.
    fn cut(&mut self, index: Index) {
        let Some(device) = self.device(index) else {
            return;
        };
        if device.link.take().is_none() {
            return;
        }
        // A connection that takes over may resume the session at once.
        device.resume_until = Some(u64::MAX);
        let window = mem::take(&mut device.window);
        for (id, _) in window.letters {
            self.store_post(id);
        }
    }

    pub(super) fn acknowledge(&mut self, key: &DeviceKey, conn: ConnId, up_to: u64, now: Now) {
        let Some((index, device)) = self.find(key) else {
            return;
        };
        let present = device.link.as_ref().is_some_and(|link| link.conn == conn);
        if present && up_to <= device.given {
            self.advance(index, up_to, now);
        }
    }

    /// The device has everything up to an id that it was given.
    fn advance(&mut self, index: Index, up_to: u64, now: Now) {
        let Some(device) = self.device(index).filter(|device| up_to > device.acked) else {
            return;
        };
        device.acked = up_to;
        while let Some(id) = self
            .device(index)
            .and_then(|device| device.window.pop(up_to))
        {
            self.received(index, id, now);
        }
        self.pump(index);
    }

    /// Orders from the store what the device needs of it now.
    pub(super) fn pump(&mut self, index: Index) {
        let draining = self.draining;
        let Some(device) = self
            .devices
            .get_mut(index as usize)
            .and_then(Option::as_deref_mut)
        else {
            return;
        };
        if let Some(up_to) = device.frees() {
            device.freeing = true;
            self.orders.acknowledge(index, &device.key, up_to);
        }
        if device.adopting && !device.adopt_ordered {
            device.adopt_ordered = true;
            let nobody = DeviceKey {
                user: Arc::clone(&device.key.user),
                device: "".into(),
            };
            self.orders.adopt(&nobody, &device.key);
        }
        if !draining && let Some(page) = device.wants(&self.limits) {
            if let Some(link) = &mut device.link {
                link.paging = true;
            }
            self.orders.page(index, &device.key, page);
        }
    }

    /// A page of the backlog is here.
    pub(super) fn paged(
        &mut self,
        index: Index,
        conn: ConnId,
        answer: Result<Vec<Letter>, StoreFailed>,
    ) {
        let Some(device) = self.device(index) else {
            return;
        };
        let Some(link) = device.link.as_mut().filter(|link| link.conn == conn) else {
            // It was for a connection that is gone.
            return;
        };
        link.paging = false;
        let after = link.reached.max(device.acked);
        let Ok(letters) = answer else {
            self.retry.push(index);
            return;
        };
        let mut given = false;
        for letter in letters.iter().filter(|letter| letter.id > after) {
            if !device.give(letter) {
                return;
            }
            given = true;
        }
        if given {
            self.pump(index);
        } else if device.appends == 0 {
            device.backlog = false;
        }
        // Else the page was asked for before the appends that are under way, whose end asks for the next.
    }

    /// The store has removed what was acknowledged, or failed.
    pub(super) fn freed(&mut self, index: Index, up_to: u64, answer: Result<Freed, StoreFailed>) {
        if let Some(device) = self.device(index) {
            device.freeing = false;
        }
        match answer {
            Ok(freed) => {
                self.figures.acknowledged += freed.letters;
                self.credit(Some(index), &freed);
                if let Some(device) = self.device(index) {
                    device.freed_to = device.freed_to.max(up_to);
                }
                self.pump(index);
            }
            Err(_) => self.retry.push(index),
        }
    }

    /// The letters of a user without devices have gone to the first device, or the store failed.
    pub(super) fn adopted(
        &mut self,
        from: &DeviceKey,
        to: &DeviceKey,
        answer: Result<(), StoreFailed>,
    ) {
        let Some((index, device)) = self.find(to) else {
            return;
        };
        device.adopt_ordered = false;
        if answer.is_err() {
            self.retry.push(index);
            return;
        }
        device.adopting = false;
        if let Some((nobody, orphan)) = self.find(from) {
            let (load, expired) = (mem::take(&mut orphan.load), mem::take(&mut orphan.expired));
            let stored_to = orphan.stored_to;
            if orphan.is_idle() {
                self.remove(nobody);
            }
            if let Some(device) = self.device(index) {
                device.load.add(load.letters, load.bytes);
                device.stored_to = device.stored_to.max(stored_to);
                device.expired += expired;
            }
        }
        self.pump(index);
    }

    /// Stores all that is in memory; from now on everything goes to the store, and nothing is given.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        let live: Vec<u64> = self.posts.keys().copied().collect();
        for id in live {
            self.store_post(id);
        }
    }
}
