//! Any history of devices, senders, time, a store that is late, fails and is killed, against what was promised.

mod laws;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::super::super::engine::*;
use super::super::{MailLimits, millis};
use super::world::{Socket, World, key, to};

/// The devices; `d` and `e` are users who may never connect.
const DEVICES: [&str; 5] = ["a/1", "a/2", "a/3", "b/1", "b/2"];
const ADDRESSES: [&str; 10] = ["a", "a/1", "a/2", "a/3", "b", "b/1", "b/2", "d", "d/1", "e"];

#[derive(Debug, Clone)]
enum Step {
    Attach {
        device: usize,
        resume: bool,
        last: bool,
    },
    Detach {
        device: usize,
        resumable: bool,
    },
    /// An old connection says something.
    Stale {
        device: usize,
    },
    Post {
        from: usize,
        to: usize,
        id: Option<u8>,
        echo: bool,
        answer: bool,
    },
    /// Acknowledges this share of what the connection has, in percent.
    Ack {
        device: usize,
        share: usize,
    },
    /// Acknowledges what was never given.
    BadAck {
        device: usize,
        beyond: u64,
    },
    Refuse {
        device: usize,
        refuses: bool,
    },
    Pass {
        seconds: u64,
    },
    Write {
        orders: usize,
    },
    Tell {
        answers: usize,
    },
    Settle,
    Fail {
        orders: usize,
    },
    Crash,
    Flush,
    /// Everybody is sent away, and the hub stops and starts.
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    let device = || 0..DEVICES.len();
    prop_oneof![
        5 => (device(), any::<bool>(), any::<bool>())
            .prop_map(|(device, resume, last)| Step::Attach { device, resume, last }),
        2 => (device(), any::<bool>())
            .prop_map(|(device, resumable)| Step::Detach { device, resumable }),
        1 => device().prop_map(|device| Step::Stale { device }),
        12 => (
            device(), 0..ADDRESSES.len(), proptest::option::of(0..6u8), any::<bool>(), any::<bool>()
        ).prop_map(|(from, to, id, echo, answer)| Step::Post { from, to, id, echo, answer }),
        8 => (device(), 0..=100usize).prop_map(|(device, share)| Step::Ack { device, share }),
        1 => (device(), 1..5u64).prop_map(|(device, beyond)| Step::BadAck { device, beyond }),
        1 => (device(), any::<bool>())
            .prop_map(|(device, refuses)| Step::Refuse { device, refuses }),
        3 => (0..15u64).prop_map(|seconds| Step::Pass { seconds }),
        6 => (1..6usize).prop_map(|orders| Step::Write { orders }),
        6 => (1..6usize).prop_map(|answers| Step::Tell { answers }),
        2 => Just(Step::Settle),
        1 => (1..4usize).prop_map(|orders| Step::Fail { orders }),
        1 => Just(Step::Crash),
        1 => Just(Step::Flush),
        1 => Just(Step::Stop),
    ]
}

/// A connection of a device.
struct Peer {
    socket: Arc<Socket>,
    conn: ConnId,
}

/// A message that was taken.
struct Sent {
    from: &'static str,
    /// Who it is for; none when it is the same as an earlier one.
    targets: Vec<DeviceKey>,
    answers: Option<Arc<Socket>>,
    receipts: usize,
    /// Whether its sender must have an answer in the end.
    owed: bool,
}

#[derive(Default)]
struct Model {
    peers: BTreeMap<&'static str, Peer>,
    /// The session that each device was last told of.
    sessions: BTreeMap<&'static str, String>,
    ended: Vec<(&'static str, Arc<Socket>)>,
    /// What each device has acknowledged, by letter id.
    has: HashMap<DeviceKey, BTreeSet<u64>>,
    /// What each device was ever given.
    given: HashMap<DeviceKey, BTreeSet<u64>>,
    seen: BTreeSet<DeviceKey>,
    /// By their text.
    sent: BTreeMap<String, Sent>,
    /// The message ids that receipts gave to a sender's own id, and whether it is on disk.
    receipts: BTreeMap<(&'static str, String), (u64, Status)>,
    /// Message ids with a first receipt.
    confirmed: BTreeSet<u64>,
    /// What receipts promised: the letter, and who gets it or has it.
    promised: Vec<(u64, Vec<DeviceKey>)>,
    crashes: usize,
}

impl Model {
    /// The devices that a message is for, from what the trait says.
    fn targets(&self, from: &DeviceKey, posting: &Posting) -> Vec<DeviceKey> {
        let of = |user: &Arc<str>| {
            let user = Arc::clone(user);
            self.seen.iter().filter(move |k| k.user == user).cloned()
        };
        let own = posting.user == from.user;
        let mut all: BTreeSet<DeviceKey> = match &posting.device {
            Some(device) => [DeviceKey::new(&posting.user, device)].into(),
            None if of(&posting.user).next().is_none() => {
                [DeviceKey::new(&posting.user, "")].into()
            }
            None => of(&posting.user)
                .filter(|k| k != from || posting.echo_self)
                .collect(),
        };
        if posting.echo_self && (!own || posting.device.is_some()) {
            all.extend(of(&from.user).filter(|k| k != from));
        }
        all.into_iter().collect()
    }

    fn end(&mut self, device: &'static str) {
        if let Some(peer) = self.peers.remove(device) {
            self.ended.push((device, peer.socket));
        }
    }

    fn acknowledge(&mut self, world: &World, device: &'static str, up_to: u64) {
        let key = key(device);
        let given = self.given.get(&key).into_iter().flatten();
        let had: Vec<u64> = given.copied().filter(|id| *id <= up_to).collect();
        self.has.entry(key.clone()).or_default().extend(had);
        world.mail.acknowledge(&key, self.peers[device].conn, up_to);
    }

    fn step(&mut self, world: &mut World, step: &Step, n: usize) {
        match *step {
            Step::Attach {
                device,
                resume,
                last,
            } => {
                let name = DEVICES[device];
                self.check(world);
                let last = last.then(|| self.given.get(&key(name)).and_then(|g| g.last().copied()));
                let known = world
                    .mail
                    .with(|core, _| core.find(&key(name)).map_or(0, |d| d.1.given));
                if let Some(last) = last.flatten().filter(|last| *last <= known) {
                    let had: Vec<u64> = self.given[&key(name)].range(..=last).copied().collect();
                    self.has.entry(key(name)).or_default().extend(had);
                }
                let session = self.sessions.get(name).cloned().filter(|_| resume);
                let (socket, conn, attached) =
                    world.attach_with(name, session.as_deref(), last.flatten());
                self.end(name);
                self.seen.insert(key(name));
                let kept = std::mem::take(&mut *socket.receipts.lock().unwrap());
                self.peers.insert(name, Peer { socket, conn });
                self.sessions.insert(name, attached.session);
                for receipt in kept {
                    self.check_receipt(world, name, &receipt, true);
                }
            }
            Step::Detach { device, resumable } => {
                if let Some(peer) = self.peers.get(DEVICES[device]) {
                    world
                        .mail
                        .detach(&key(DEVICES[device]), peer.conn, resumable);
                    self.end(DEVICES[device]);
                }
            }
            Step::Stale { device } => {
                world.mail.acknowledge(&key(DEVICES[device]), 0, u64::MAX);
                world.mail.detach(&key(DEVICES[device]), 0, false);
            }
            Step::Post {
                from,
                to: at,
                id,
                echo,
                answer,
            } => {
                let (from, words) = (DEVICES[from], format!("\"{n}\""));
                let posting = Posting {
                    client_message_id: id.map(|id| id.to_string().into()),
                    echo_self: echo,
                    ..to(ADDRESSES[at], &words)
                };
                let targets = self.targets(&key(from), &posting);
                let answers = answer.then(|| Arc::new(Socket::default()));
                let sink = answers.clone().map(|a| a as Arc<dyn Sink>);
                // Before, since a letter may be given within the call.
                let sent = Sent {
                    from,
                    targets,
                    answers,
                    receipts: 0,
                    owed: true,
                };
                self.sent.insert(words.clone(), sent);
                if world.mail.post(&key(from), posting, sink).is_err() {
                    self.sent.remove(&words);
                }
            }
            Step::Ack { device, share } => {
                let name = DEVICES[device];
                let Some(peer) = self.peers.get(name) else {
                    return;
                };
                let letters = peer.socket.letters.lock().unwrap();
                let Some(letter) = letters.get((letters.len() * share / 100).saturating_sub(1))
                else {
                    return;
                };
                let up_to = letter.id;
                drop(letters);
                self.check(world);
                self.acknowledge(world, name, up_to);
            }
            Step::BadAck { device, beyond } => {
                if let Some(peer) = self.peers.get(DEVICES[device]) {
                    let given = world
                        .mail
                        .with(|c, _| c.find(&key(DEVICES[device])).unwrap().1.given);
                    world
                        .mail
                        .acknowledge(&key(DEVICES[device]), peer.conn, given + beyond);
                }
            }
            Step::Refuse { device, refuses } => {
                if let Some(peer) = self.peers.get(DEVICES[device]) {
                    peer.socket.refuses.store(refuses, Ordering::Relaxed);
                }
            }
            Step::Pass { seconds } => world.pass(Duration::from_secs(seconds)),
            Step::Write { orders } => world.store.write(orders),
            Step::Tell { answers } => world.store.tell(answers),
            Step::Settle => {
                world.store.settle();
                world.audit();
            }
            Step::Fail { orders } => world.store.fail(orders),
            Step::Crash => self.crash(world),
            Step::Flush => {
                drop(world.mail.flush(Duration::ZERO));
                world.store.settle();
                self.check(world);
                self.crash(world);
            }
            Step::Stop => {
                drop(world.mail.flush(Duration::ZERO));
                for (name, peer) in &self.peers {
                    world.mail.detach(&key(name), peer.conn, true);
                }
                drop(world.mail.close(Duration::ZERO));
                world.store.settle();
                self.crash(world);
            }
        }
        self.check(world);
    }

    fn crash(&mut self, world: &mut World) {
        self.check(world);
        for device in DEVICES {
            self.end(device);
        }
        for sent in self.sent.values_mut() {
            sent.owed = false;
        }
        self.crashes += 1;
        world.restart();
        // Who was connected is known if the store had heard of it.
        self.seen = world.store.look(|disk| {
            disk.devices
                .iter()
                .filter(|(_, (at, _))| *at > 0)
                .map(|(key, _)| key.clone())
                .collect()
        });
        world.store.settle();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn promises_are_kept_in_any_history(
        steps in proptest::collection::vec(step(), 1..80),
        window in 1..6usize,
        page in 1..4usize,
    ) {
        let limits = MailLimits {
            window_letters: window,
            page_letters: page,
            ack_timeout: Duration::from_secs(10),
            ..MailLimits::default()
        };
        assert!(millis(limits.ack_timeout) > 0);
        let mut world = World::with(limits);
        let mut model = Model::default();
        for (n, step) in steps.iter().enumerate() {
            model.step(&mut world, step, n);
        }
        model.finish(&mut world);
    }
}
