//! The structure behind the lock: devices, posts under way, counters, and what time does to them. It has no clock and no
//! lock of its own. `posting` and `delivery` are its two directions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::super::engine::{DeviceKey, EngineFigures, Status};
use super::super::store::{Expired, Freed, Recovered, StoreFailed};
use super::Index;
use super::device::Device;
use super::ids::Ids;
use super::limits::MailLimits;
use super::orders::Orders;
use super::posting::Post;
use super::quota::{Load, Senders};
use super::repeats::{Known, Marker};
use super::wall::Wall;

/// Calls of [`Core::tick`] in which every device is looked at once, and between two calls of `Store::expire`.
const ROUND: u64 = 60;

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    /// Milliseconds since the start: never goes back.
    pub(super) at: u64,
    /// Milliseconds since 1970.
    pub(super) unix_ms: u64,
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) struct Core {
    pub(super) orders: Orders,
    pub(super) limits: MailLimits,
    /// The name of this hub, in session ids.
    pub(super) node: Box<str>,
    pub(super) ids: Ids,
    pub(super) marker: Marker,
    pub(super) devices: Vec<Option<Box<Device>>>,
    pub(super) vacant: Vec<Index>,
    pub(super) index: HashMap<DeviceKey, Index>,
    /// The mailboxes of each user.
    pub(super) users: HashMap<Arc<str>, Vec<Index>>,
    pub(super) listed: usize,
    /// Posts that wait for acknowledgements or for the store, by the id of their letter.
    pub(super) posts: BTreeMap<u64, Post>,
    pub(super) senders: Senders,
    /// Deliveries in memory only, and the bytes of their letters.
    pub(super) live: Load,
    /// Bytes of letters that the store has not yet written.
    pub(super) writing: u64,
    /// What is in the store, or on its way there.
    pub(super) waiting: Load,
    /// Client message ids remembered, of all devices.
    pub(super) remembered: usize,
    /// Devices for which the store failed to do something that is to be tried again.
    pub(super) retry: Vec<Index>,
    /// Letters that could not be written.
    pub(super) failures: u64,
    /// Everything goes to the store, and nothing is given.
    pub(super) draining: bool,
    pub(super) figures: EngineFigures,
    ticks: u64,
    wall: Wall,
    swept: usize,
    expiring: bool,
}

impl Core {
    pub(super) fn new(
        orders: Orders,
        recovered: Recovered,
        node: &str,
        limits: MailLimits,
        now: Now,
    ) -> Self {
        let mut core = Core {
            orders,
            limits,
            node: node.into(),
            ids: Ids::new(recovered.next_id),
            marker: Marker::default(),
            devices: Vec::new(),
            vacant: Vec::new(),
            index: HashMap::new(),
            users: HashMap::new(),
            listed: 0,
            posts: BTreeMap::new(),
            senders: Senders::default(),
            live: Load::default(),
            writing: 0,
            waiting: Load::default(),
            remembered: 0,
            retry: Vec::new(),
            failures: 0,
            draining: false,
            figures: EngineFigures::default(),
            ticks: 0,
            wall: Wall::new(now),
            swept: 0,
            expiring: false,
        };
        for known in recovered.devices {
            let index = core.ensure(&known.key);
            core.list(index);
            core.waiting.add(known.waiting, known.waiting_bytes);
            let stored_to = recovered.next_id;
            if let Some(device) = core.device(index) {
                device.seen = known.seen_at_ms > 0 && !device.key.device.is_empty();
                device.expired = known.expired;
                device.load.add(known.waiting, known.waiting_bytes);
                device.stored_to = if known.waiting > 0 { stored_to } else { 0 };
            }
        }
        for (user, bytes) in recovered.senders.iter().filter(|(_, bytes)| *bytes > 0) {
            core.senders.charge(user, *bytes);
        }
        for send in recovered.sends {
            let (index, mark) = (
                core.ensure(&send.from),
                core.marker.mark(&send.client_message_id),
            );
            let known = Known {
                id: send.message_id,
                devices: u32::try_from(send.devices).unwrap_or(u32::MAX),
                status: Some(Status::Stored),
            };
            core.remember(index, mark, known);
        }
        for session in recovered.sessions {
            core.restore(session, now);
        }
        core
    }

    pub(super) fn device(&mut self, index: Index) -> Option<&mut Device> {
        self.devices.get_mut(index as usize)?.as_deref_mut()
    }

    pub(super) fn find(&mut self, key: &DeviceKey) -> Option<(Index, &mut Device)> {
        let index = *self.index.get(key)?;
        self.device(index).map(|device| (index, device))
    }

    /// The device, made if it was not known.
    pub(super) fn ensure(&mut self, key: &DeviceKey) -> Index {
        if let Some(index) = self.index.get(key) {
            return *index;
        }
        let device = Some(Box::new(Device::new(key.clone())));
        let index = match self.vacant.pop() {
            Some(index) => {
                self.devices[index as usize] = device;
                index
            }
            None => {
                self.devices.push(device);
                // Four thousand million devices do not fit into memory.
                (self.devices.len() - 1) as Index
            }
        };
        self.index.insert(key.clone(), index);
        index
    }

    /// Gives the device a mailbox.
    pub(super) fn list(&mut self, index: Index) {
        let Some(device) = self.device(index) else {
            return;
        };
        if !std::mem::replace(&mut device.listed, true) {
            let user = Arc::clone(&device.key.user);
            self.users.entry(user).or_default().push(index);
            self.listed += 1;
        }
    }

    /// Forgets the device.
    pub(super) fn remove(&mut self, index: Index) {
        let Some(device) = self.devices.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        self.index.remove(&device.key);
        self.vacant.push(index);
        if device.listed {
            self.listed -= 1;
            if let Some(devices) = self.users.get_mut(&device.key.user) {
                devices.retain(|i| *i != index);
                if devices.is_empty() {
                    self.users.remove(&device.key.user);
                }
            }
        }
    }

    /// Forgets the device if it was never connected and nothing depends on it.
    pub(super) fn remove_if_unused(&mut self, index: Index) {
        if self.device(index).is_some_and(|d| !d.seen && d.is_idle()) {
            self.remove(index);
        }
    }

    /// Reserves ids, if it is time.
    pub(super) fn reserve(&mut self) {
        if let Some(below) = self.ids.ask(false) {
            self.orders.reserve(below);
        }
    }

    pub(super) fn reserved(&mut self, below: u64, answer: Result<(), StoreFailed>) {
        self.figures.store_failing = answer.is_err();
        // After a failure the next tick asks again.
        self.ids.answered(below, answer.is_ok());
    }

    /// Takes back the charge for letters that are gone from the store.
    pub(super) fn credit(&mut self, device: Option<Index>, freed: &Freed) {
        self.waiting.take(freed.letters, freed.bytes);
        if let Some(device) = device.and_then(|index| self.device(index)) {
            device.load.take(freed.letters, freed.bytes);
        }
        for (user, bytes) in &freed.by_sender {
            self.senders.credit(user, *bytes);
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Now) {
        let timeout = millis(self.limits.ack_timeout);
        // Posts are in the order of their time.
        let late: Vec<u64> = self
            .posts
            .iter()
            .take_while(|(_, post)| post.storing || post.at.saturating_add(timeout) <= now.at)
            .filter(|(_, post)| !post.storing)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.store_post(id);
        }
        for index in std::mem::take(&mut self.retry) {
            self.pump(index);
        }
        // A store that failed is tried again this way, also when nobody sends anything.
        if let Some(below) = self.ids.ask(self.figures.store_failing) {
            self.orders.reserve(below);
        }
        self.sweep(now);
        let believed = self.wall.believes(now);
        if self.ticks.is_multiple_of(ROUND) && !self.expiring && believed {
            self.expiring = true;
            let before = |time| now.unix_ms.saturating_sub(millis(time));
            let limits = &self.limits;
            self.orders.expire(
                before(limits.retention),
                before(limits.repeat_time),
                before(limits.device_time),
            );
        }
        self.ticks += 1;
    }

    /// Looks at some of the devices, all within a [`ROUND`]: sessions that ended, ids remembered for long enough, and
    /// devices of which nothing is left.
    fn sweep(&mut self, now: Now) {
        let repeat_time = millis(self.limits.repeat_time);
        for _ in 0..self.devices.len().div_ceil(ROUND as usize) {
            let at = self.swept % self.devices.len();
            self.swept = at + 1;
            let Some(device) = self.devices[at].as_deref_mut() else {
                continue;
            };
            let ended = device.resume_until.is_some_and(|until| until <= now.at);
            if ended {
                device.resume_until = None;
            }
            if let Some(out) = &mut device.out {
                if ended {
                    out.kept = Default::default();
                    out.dropped = true;
                }
                let quiet = out.sent_at.saturating_add(repeat_time) <= now.at;
                if quiet && out.unconfirmed == 0 && out.kept.is_empty() {
                    self.remembered -= out.repeats.len();
                    device.out = None;
                }
            }
            self.remove_if_unused(at as Index);
        }
    }

    pub(super) fn expired(&mut self, answer: Result<Expired, StoreFailed>, now: Now) {
        self.expiring = false;
        let Ok((freed, forgotten)) = answer else {
            return;
        };
        for (key, freed) in freed {
            let index = self.find(&key).map(|(index, device)| {
                device.expired += freed.letters;
                index
            });
            self.figures.expired += freed.letters;
            self.credit(index, &freed);
        }
        let device_time = self.limits.device_time;
        for key in forgotten {
            let Some((index, device)) = self.find(&key) else {
                continue;
            };
            let came = |at| now.at < millis(device_time).saturating_add(at);
            if device.link.is_some() || device.attached_at.is_some_and(came) {
                // It is or was here, and the store did not hear of it, or only after it was asked.
                self.orders.seen(&key, now.unix_ms);
            } else {
                // Forgotten as soon as nothing depends on it.
                device.seen = false;
                self.remove_if_unused(index);
            }
        }
    }

    pub(super) fn figures(&self) -> EngineFigures {
        EngineFigures {
            in_flight: self.live.letters,
            waiting: self.waiting.letters,
            waiting_bytes: self.waiting.bytes,
            devices: self.listed as u64,
            ..self.figures.clone()
        }
    }
}
