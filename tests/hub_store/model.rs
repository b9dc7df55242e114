//! The store as its documentation has it: plain maps, nothing on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use loaner::hub::engine::{DeviceKey, Letter, RoomRecord};
use loaner::hub::store::{Freed, KnownDevice, KnownSend, KnownSession, Recovered};

#[derive(Default)]
struct Mailbox {
    seen_at_ms: u64,
    expired: u64,
    letters: BTreeMap<u64, Letter>,
}

#[derive(Default)]
pub struct Model {
    next_id: u64,
    mailboxes: BTreeMap<DeviceKey, Mailbox>,
    /// By the message's id: when it was sent, and the send.
    sends: BTreeMap<u64, (u64, KnownSend)>,
    rooms: BTreeMap<String, RoomRecord>,
    peers: Vec<(String, String, String)>,
    sessions: Vec<KnownSession>,
}

fn freed(letters: &[Letter]) -> Freed {
    let mut by_sender: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for letter in letters {
        *by_sender.entry(letter.from.user.clone()).or_default() += letter.bytes() as u64;
    }
    Freed {
        letters: letters.len() as u64,
        bytes: by_sender.values().sum(),
        by_sender: by_sender.into_iter().collect(),
    }
}

impl Model {
    /// Whether it was done.
    pub fn append(&mut self, letters: &[(DeviceKey, Letter)], devices: usize) -> bool {
        let mut taken = BTreeSet::new();
        for (key, letter) in letters {
            let there = self.mailboxes.get(key);
            if there.is_some_and(|mailbox| mailbox.letters.contains_key(&letter.id))
                || !taken.insert((key, letter.id))
            {
                return false;
            }
        }
        for (key, letter) in letters {
            let mailbox = self.mailboxes.entry(key.clone()).or_default();
            mailbox.letters.insert(letter.id, letter.clone());
            if let Some(client_message_id) = &letter.client_message_id {
                let send = KnownSend {
                    from: letter.from.clone(),
                    client_message_id: client_message_id.clone(),
                    message_id: letter.id,
                    devices,
                };
                self.sends.insert(letter.id, (letter.sent_at_ms, send));
            }
        }
        true
    }

    pub fn page(&self, key: &DeviceKey, after: u64, letters: usize, bytes: usize) -> Vec<Letter> {
        let mut page: Vec<Letter> = Vec::new();
        let mut total = 0;
        let waiting = self.mailboxes.get(key).into_iter();
        for letter in waiting.flat_map(|mailbox| mailbox.letters.values()) {
            total += if letter.id > after {
                letter.content.len()
            } else {
                continue;
            };
            if page.len() == letters || (!page.is_empty() && total > bytes) {
                break;
            }
            page.push(letter.clone());
        }
        page
    }

    pub fn acknowledge(&mut self, key: &DeviceKey, up_to: u64) -> Freed {
        let Some(mailbox) = self.mailboxes.get_mut(key) else {
            return Freed::default();
        };
        let kept = mailbox.letters.split_off(&(up_to + 1));
        let gone: Vec<Letter> = std::mem::replace(&mut mailbox.letters, kept)
            .into_values()
            .collect();
        freed(&gone)
    }

    /// Whether it was done.
    pub fn adopt(&mut self, from: &DeviceKey, to: &DeviceKey) -> bool {
        if from == to || !self.mailboxes.contains_key(from) {
            return true;
        }
        let there = self.mailboxes.get(to);
        let collide = |id: &u64| there.is_some_and(|mailbox| mailbox.letters.contains_key(id));
        if self.mailboxes[from].letters.keys().any(collide) {
            return false;
        }
        let source = self.mailboxes.get_mut(from).unwrap();
        let letters = std::mem::take(&mut source.letters);
        let expired = std::mem::take(&mut source.expired);
        let target = self.mailboxes.entry(to.clone()).or_default();
        target.letters.extend(letters);
        target.expired += expired;
        true
    }

    pub fn expire(
        &mut self,
        letters: u64,
        sends: u64,
        devices: u64,
    ) -> (Vec<(DeviceKey, Freed)>, Vec<DeviceKey>) {
        let mut answer = Vec::new();
        for (key, mailbox) in &mut self.mailboxes {
            let (old, young): (Vec<Letter>, Vec<Letter>) = std::mem::take(&mut mailbox.letters)
                .into_values()
                .partition(|letter| letter.sent_at_ms < letters);
            mailbox.letters = young
                .into_iter()
                .map(|letter| (letter.id, letter))
                .collect();
            mailbox.expired += old.len() as u64;
            if !old.is_empty() {
                answer.push((key.clone(), freed(&old)));
            }
        }
        self.sends.retain(|_, (sent_at_ms, _)| *sent_at_ms >= sends);
        let forgotten = |mailbox: &Mailbox| {
            mailbox.letters.is_empty() && mailbox.expired == 0 && mailbox.seen_at_ms < devices
        };
        let gone = self
            .mailboxes
            .extract_if(.., |_, mailbox| forgotten(mailbox))
            .map(|(key, _)| key)
            .collect();
        (answer, gone)
    }

    pub fn seen(&mut self, key: &DeviceKey, at_ms: u64) {
        let mailbox = self.mailboxes.entry(key.clone()).or_default();
        mailbox.seen_at_ms = at_ms;
        mailbox.expired = 0;
    }

    pub fn reserve_ids(&mut self, below: u64) {
        self.next_id = self.next_id.max(below);
    }

    pub fn save_room(&mut self, room: RoomRecord) {
        self.rooms.insert(room.id.clone(), room);
    }

    pub fn forget_room(&mut self, id: &str) {
        self.rooms.remove(id);
        self.peers.retain(|(room, _, _)| room != id);
    }

    pub fn save_peer(&mut self, room: &str, peer: &str, user: &str) {
        self.peers.retain(|(r, p, _)| (&**r, &**p) != (room, peer));
        self.peers.push((room.into(), peer.into(), user.into()));
        if self.peers.iter().filter(|(r, _, _)| r == room).count() > 1024 {
            let oldest = self.peers.iter().position(|(r, _, _)| r == room).unwrap();
            self.peers.remove(oldest);
        }
    }

    pub fn save_sessions(&mut self, sessions: Vec<KnownSession>) {
        self.sessions = sessions;
    }

    /// What a start is to find.
    pub fn recovered(&self, secret: [u8; 32]) -> Recovered {
        let all: Vec<Letter> = self
            .mailboxes
            .values()
            .flat_map(|m| m.letters.values().cloned())
            .collect();
        Recovered {
            secret,
            next_id: self.next_id,
            devices: self
                .mailboxes
                .iter()
                .map(|(key, mailbox)| KnownDevice {
                    key: key.clone(),
                    seen_at_ms: mailbox.seen_at_ms,
                    waiting: mailbox.letters.len() as u64,
                    waiting_bytes: mailbox
                        .letters
                        .values()
                        .map(|letter| letter.bytes() as u64)
                        .sum(),
                    expired: mailbox.expired,
                })
                .collect(),
            senders: freed(&all).by_sender,
            sends: self.sends.values().map(|(_, send)| send.clone()).collect(),
            rooms: self.rooms.values().cloned().collect(),
            peers: self.peers.clone(),
            sessions: self.sessions.clone(),
        }
    }
}
