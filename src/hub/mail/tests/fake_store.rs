//! A store in memory that carries out its orders when it is told to, fails when it is told to, and can crash.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::super::super::engine::{DeviceKey, Letter, RoomRecord};
use super::super::super::store::*;

/// What is on disk.
#[derive(Default)]
pub struct Disk {
    pub letters: BTreeMap<(DeviceKey, u64), Letter>,
    /// When each device was last connected, and what expired.
    pub devices: BTreeMap<DeviceKey, (u64, u64)>,
    pub sends: Vec<(KnownSend, u64)>,
    pub next_id: u64,
    pub sessions: Vec<KnownSession>,
}

fn freed<'a>(letters: impl IntoIterator<Item = &'a Letter>) -> Freed {
    let (mut freed, mut by) = (Freed::default(), BTreeMap::<Arc<str>, u64>::new());
    for letter in letters {
        freed.letters += 1;
        freed.bytes += letter.bytes() as u64;
        *by.entry(letter.from.user.clone()).or_default() += letter.bytes() as u64;
    }
    freed.by_sender = by.into_iter().collect();
    freed
}

impl Disk {
    /// Removes letters of a device, or of all.
    fn remove(
        &mut self,
        which: impl Fn(&DeviceKey, &Letter) -> bool,
    ) -> BTreeMap<DeviceKey, Freed> {
        let mut gone = BTreeMap::<DeviceKey, Vec<Letter>>::new();
        self.letters.retain(|(device, _), letter| {
            let hit = which(device, letter);
            if hit {
                gone.entry(device.clone()).or_default().push(letter.clone());
            }
            !hit
        });
        gone.into_iter()
            .map(|(device, letters)| (device, freed(&letters)))
            .collect()
    }

    pub fn recovered(&self) -> Recovered {
        let mut senders = HashMap::<Arc<str>, u64>::new();
        for letter in self.letters.values() {
            *senders.entry(letter.from.user.clone()).or_default() += letter.bytes() as u64;
        }
        let device = |(key, (seen_at_ms, expired)): (&DeviceKey, &(u64, u64))| {
            let own = self.letters.iter().filter(|((device, _), _)| device == key);
            let all = freed(own.map(|(_, letter)| letter));
            KnownDevice {
                key: key.clone(),
                seen_at_ms: *seen_at_ms,
                waiting: all.letters,
                waiting_bytes: all.bytes,
                expired: *expired,
            }
        };
        Recovered {
            next_id: self.next_id,
            devices: self.devices.iter().map(device).collect(),
            senders: senders.into_iter().collect(),
            sends: self.sends.iter().map(|(send, _)| send.clone()).collect(),
            sessions: self.sessions.clone(),
            ..Recovered::default()
        }
    }
}

/// Carries an order out, or fails it; what is returned tells the engine.
type Order = Box<dyn FnOnce(&mut Disk, bool) -> Box<dyn FnOnce() + Send> + Send>;

#[derive(Default)]
struct State {
    disk: Disk,
    orders: VecDeque<Order>,
    answers: VecDeque<Box<dyn FnOnce() + Send>>,
    fail: usize,
    /// Orders of each kind so far.
    counts: HashMap<&'static str, usize>,
}

#[derive(Default)]
pub struct FakeStore(Mutex<State>);

impl FakeStore {
    pub fn over(disk: Disk) -> Arc<FakeStore> {
        let state = State {
            disk,
            ..State::default()
        };
        Arc::new(FakeStore(Mutex::new(state)))
    }

    /// Carries out this many orders, without telling.
    pub fn write(&self, orders: usize) {
        let mut state = self.0.lock().unwrap();
        for _ in 0..orders {
            let Some(order) = state.orders.pop_front() else {
                return;
            };
            let fails = state.fail > 0;
            state.fail -= usize::from(fails);
            let answer = order(&mut state.disk, fails);
            state.answers.push_back(answer);
        }
    }

    /// Tells of this many that were carried out.
    pub fn tell(&self, answers: usize) {
        for _ in 0..answers {
            let Some(answer) = self.0.lock().unwrap().answers.pop_front() else {
                return;
            };
            answer();
        }
    }

    /// Carries out all orders, and those that follow from them.
    pub fn settle(&self) {
        for _ in 0..100_000 {
            self.write(1);
            self.tell(1);
            if self.is_quiet() {
                return;
            }
        }
        panic!("the orders never end");
    }

    pub fn is_quiet(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.orders.is_empty() && state.answers.is_empty()
    }

    pub fn fail(&self, orders: usize) {
        self.0.lock().unwrap().fail = orders;
    }

    pub fn count(&self, kind: &str) -> usize {
        self.0
            .lock()
            .unwrap()
            .counts
            .get(kind)
            .copied()
            .unwrap_or(0)
    }

    /// What is on disk when everything else is lost.
    pub fn crash(&self) -> Disk {
        std::mem::take(&mut *self.0.lock().unwrap()).disk
    }

    pub fn look<T>(&self, at: impl FnOnce(&Disk) -> T) -> T {
        at(&self.0.lock().unwrap().disk)
    }

    fn order<T: Send + 'static>(
        &self,
        kind: &'static str,
        done: Done<T>,
        what: impl FnOnce(&mut Disk) -> T + Send + 'static,
    ) {
        let mut state = self.0.lock().unwrap();
        *state.counts.entry(kind).or_default() += 1;
        state.orders.push_back(Box::new(move |disk, fails| {
            let answer = if fails {
                Err(StoreFailed("told to".into()))
            } else {
                Ok(what(disk))
            };
            Box::new(move || done(answer))
        }));
    }
}

impl Store for FakeStore {
    fn append(&self, letters: Vec<(DeviceKey, Letter)>, devices: usize, done: Done<()>) {
        self.order("append", done, move |disk| {
            for (key, letter) in letters {
                disk.devices.entry(key.clone()).or_default();
                if let Some(client_message_id) = letter.client_message_id.clone() {
                    let send = KnownSend {
                        from: letter.from.clone(),
                        client_message_id,
                        message_id: letter.id,
                        devices,
                    };
                    disk.sends.retain(|(old, _)| {
                        (&old.from, &old.client_message_id) != (&send.from, &send.client_message_id)
                    });
                    disk.sends.push((send, letter.sent_at_ms));
                }
                let taken = disk.letters.insert((key, letter.id), letter);
                assert!(taken.is_none(), "appended twice: {taken:?}");
            }
        });
    }

    fn page(
        &self,
        device: &DeviceKey,
        after: u64,
        letters: usize,
        bytes: usize,
        done: Done<Vec<Letter>>,
    ) {
        let (from, to) = ((device.clone(), after + 1), (device.clone(), u64::MAX));
        self.order("page", done, move |disk| {
            let mut sum = 0;
            let fits = |(n, letter): &(usize, &Letter)| {
                sum += letter.bytes();
                *n == 0 || sum <= bytes
            };
            let range = disk.letters.range(from..=to).map(|(_, letter)| letter);
            let page = range.take(letters).enumerate().take_while(fits);
            page.map(|(_, letter)| letter.clone()).collect()
        });
    }

    fn acknowledge(&self, device: &DeviceKey, up_to: u64, done: Done<Freed>) {
        let key = device.clone();
        self.order("acknowledge", done, move |disk| {
            let mut gone = disk.remove(|device, letter| *device == key && letter.id <= up_to);
            gone.remove(&key).unwrap_or_default()
        });
    }

    fn adopt(&self, from: &DeviceKey, to: &DeviceKey, done: Done<()>) {
        let (from, to) = (from.clone(), to.clone());
        self.order("adopt", done, move |disk| {
            let ids: Vec<u64> = disk
                .letters
                .keys()
                .filter(|key| key.0 == from)
                .map(|key| key.1)
                .collect();
            for id in ids {
                let letter = disk.letters.remove(&(from.clone(), id)).unwrap();
                disk.letters.insert((to.clone(), id), letter);
            }
            disk.devices.remove(&from);
            disk.devices.entry(to).or_default();
        });
    }

    #[allow(clippy::type_complexity)]
    fn expire(
        &self,
        letters_before_ms: u64,
        sends_before_ms: u64,
        devices_before_ms: u64,
        done: Done<(Vec<(DeviceKey, Freed)>, Vec<DeviceKey>)>,
    ) {
        self.order("expire", done, move |disk| {
            let gone = disk.remove(|_, letter| letter.sent_at_ms < letters_before_ms);
            for (key, freed) in &gone {
                disk.devices.get_mut(key).unwrap().1 += freed.letters;
            }
            disk.sends.retain(|(_, at)| *at >= sends_before_ms);
            let mut forgotten = Vec::new();
            disk.devices.retain(|key, (seen, _)| {
                let empty = !disk.letters.keys().any(|(device, _)| device == key);
                let forget = empty && *seen < devices_before_ms;
                if forget {
                    forgotten.push(key.clone());
                }
                !forget
            });
            (gone.into_iter().collect(), forgotten)
        });
    }

    fn seen(&self, device: &DeviceKey, at_ms: u64) {
        let key = device.clone();
        self.order("seen", Box::new(|_| {}), move |disk| {
            disk.devices.insert(key, (at_ms, 0));
        });
    }

    fn reserve_ids(&self, below: u64, done: Done<()>) {
        self.order("reserve", done, move |disk| {
            disk.next_id = disk.next_id.max(below)
        });
    }

    fn save_room(&self, _: RoomRecord) {}

    fn forget_room(&self, _: &str) {}

    fn save_peer(&self, _: &str, _: &str, _: &str) {}

    fn save_sessions(&self, sessions: Vec<KnownSession>, done: Done<()>) {
        self.order("sessions", done, move |disk| disk.sessions = sessions);
    }

    fn sync(&self, done: Done<()>) {
        self.order("sync", done, |_| {});
    }
}
