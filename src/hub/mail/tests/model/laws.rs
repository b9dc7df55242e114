//! What must be true after every step, and in the end.

use std::time::Duration;

use super::super::super::super::engine::*;
use super::super::world::{World, key, text};
use super::{DEVICES, Model, Peer, Step};

impl Model {
    /// Checks what every socket was sent, and every receipt that is new.
    pub(super) fn check(&mut self, world: &World) {
        let all = self
            .peers
            .iter()
            .map(|(device, peer)| (*device, peer.socket.clone()));
        let all: Vec<_> = all.chain(self.ended.iter().cloned()).collect();
        for (device, socket) in &all {
            let letters = socket.letters.lock().unwrap();
            let ids: Vec<u64> = letters.iter().map(|letter| letter.id).collect();
            assert!(ids.is_sorted_by(|a, b| a < b), "{device} was given {ids:?}");
            self.given.entry(key(device)).or_default().extend(&ids);
            for letter in letters.iter() {
                let sent = &self.sent[&text(&letter.content)];
                assert_eq!(key(sent.from), letter.from);
                let of_nobody = DeviceKey::new(&key(device).user, "");
                let meant = sent
                    .targets
                    .iter()
                    .any(|t| *t == key(device) || *t == of_nobody);
                assert!(meant, "{device} was given what was not for it");
            }
        }
        let mut answers = Vec::new();
        for sent in self.sent.values_mut() {
            if let Some(socket) = &sent.answers {
                sent.receipts += socket.receipts.lock().unwrap().len();
                answers.push((sent.from, socket.clone()));
            }
        }
        let sockets: Vec<_> = all.into_iter().chain(answers).collect();
        let mut receipts = Vec::new();
        for (from, socket) in sockets {
            let new = std::mem::take(&mut *socket.receipts.lock().unwrap());
            receipts.extend(new.into_iter().map(|receipt| (from, receipt)));
        }
        // Sockets are not looked at in the order in which they were written to.
        receipts.sort_by_key(|(_, receipt)| (receipt.message_id, receipt.duplicate));
        for (from, receipt) in receipts {
            self.check_receipt(world, from, &receipt, false);
        }
    }

    /// What a receipt promises holds when it is given; one that was `kept` may be older than what was said since then.
    pub(super) fn check_receipt(
        &mut self,
        world: &World,
        from: &'static str,
        receipt: &Receipt,
        kept: bool,
    ) {
        let id = receipt.message_id;
        if !receipt.duplicate {
            assert!(self.confirmed.insert(id), "two receipts for {id}");
        }
        if let Some(own) = &receipt.client_message_id {
            let said = (id, receipt.status);
            let before = self.receipts.insert((from, own.to_string()), said);
            match before {
                // What was never on disk may be sent anew after a crash.
                Some((_, Status::Delivered)) if self.crashes > 0 => {}
                Some(before) => {
                    assert_eq!((before, receipt.duplicate || kept), (said, true));
                }
                None => {}
            }
        }
        let Some((words, sent)) = self.sent.iter().find(|(words, _)| {
            let on_disk = world.store.look(|disk| {
                disk.letters
                    .values()
                    .any(|l| l.id == id && text(&l.content) == **words)
            });
            let sockets = self.peers.values().map(|p| &p.socket);
            let mut sockets = sockets.chain(self.ended.iter().map(|(_, socket)| socket));
            on_disk
                || sockets.any(|s| {
                    let letters = s.letters.lock().unwrap();
                    letters
                        .iter()
                        .any(|l| l.id == id && text(&l.content) == **words)
                })
        }) else {
            panic!("a receipt for {id}, which is nowhere");
        };
        assert_eq!(receipt.devices, sent.targets.len());
        self.promised.push((id, sent.targets.clone()));
        for target in &sent.targets {
            let has = |key: &DeviceKey| self.has.get(key).is_some_and(|ids| ids.contains(&id));
            let on_disk = world.store.look(|disk| {
                let mut keys = disk.letters.keys();
                keys.any(|(k, n)| *n == id && (k == target || *target.device == *""))
            });
            let nobody = target.device.is_empty();
            let had =
                has(target) || nobody && self.seen.iter().any(|k| k.user == target.user && has(k));
            let fine = had || on_disk && receipt.status == Status::Stored;
            assert!(
                fine,
                "{words}: {target:?} has not {id}, said to be {:?}",
                receipt.status
            );
        }
    }

    /// Everything works again, and everybody comes and acknowledges.
    pub(super) fn finish(&mut self, world: &mut World) {
        world.store.fail(0);
        world.store.settle();
        self.check(world);
        for device in DEVICES.into_iter().chain(["d/1", "e/1"]) {
            let step = DEVICES.iter().position(|d| *d == device);
            match step {
                Some(device) => {
                    self.step(
                        world,
                        &Step::Attach {
                            device,
                            resume: true,
                            last: false,
                        },
                        0,
                    );
                }
                None => {
                    let (socket, conn) = world.attach(device);
                    self.seen.insert(key(device));
                    self.peers.insert(device, Peer { socket, conn });
                }
            }
        }
        let mut rounds = 0;
        while rounds < 3 || world.store.look(|disk| !disk.letters.is_empty()) {
            rounds += 1;
            assert!(rounds < 1000, "some letters never arrive");
            world.pass(Duration::from_secs(1));
            world.store.settle();
            self.check(world);
            for device in DEVICES.into_iter().chain(["d/1", "e/1"]) {
                let last = self.peers[device].socket.last();
                self.acknowledge(world, device, last);
            }
            world.store.settle();
            self.check(world);
        }
        world.audit();
        let figures = world.mail.figures();
        assert_eq!(
            (figures.in_flight, figures.waiting, figures.waiting_bytes),
            (0, 0, 0)
        );
        world.mail.with(|core, _| {
            assert!(core.posts.is_empty() && core.senders.0.is_empty());
            for device in core.devices.iter().flatten() {
                assert_eq!(device.out.as_ref().map_or(0, |out| out.unconfirmed), 0);
                assert!(!device.backlog && !device.adopting && device.window.letters.is_empty());
            }
        });
        assert!(world.store.look(|disk| disk.letters.is_empty()));
        self.check_answers();
        for (id, targets) in &self.promised {
            for target in targets {
                let meant = |k: &DeviceKey| {
                    k == target || target.device.is_empty() && k.user == target.user
                };
                let mut has = self
                    .has
                    .iter()
                    .filter(|(k, _)| meant(k))
                    .map(|(_, ids)| ids);
                assert!(has.any(|ids| ids.contains(id)), "{target:?} never got {id}");
            }
        }
    }

    /// Everyone who was promised an answer has one.
    fn check_answers(&self) {
        for (words, sent) in &self.sent {
            let Some(answers) = &sent.answers else {
                continue;
            };
            // Receipts were taken out, and counted, as they were checked.
            let told = sent.receipts + answers.refusals.lock().unwrap().len();
            assert!(
                told == 1 || told == 0 && !sent.owed,
                "{words} had {told} answers"
            );
        }
    }
}
