//! Several hostile peers of both dialects at once, with whatever chance gives them to say; and two honest pairs that must
//! not notice.

use std::cell::Cell;
use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::device::*;
use crate::support::{PATIENCE, Peer, Room, User, create_room, register, sign_in};

/// Cases; each has four hostile peers.
const CASES: u32 = 12;

/// What a hostile peer does next.
#[derive(Debug, Clone)]
enum Deed {
    /// A message of either dialect, some of them aimed at the honest, with some of its bytes changed.
    Message {
        which: usize,
        opcode: u8,
        changes: Vec<(prop::sample::Index, u8)>,
    },
    /// Any bytes as a message.
    Bytes { opcode: u8, bytes: Vec<u8> },
    /// A message in fragments, the last of them missing perhaps, with pings between.
    Fragments {
        which: usize,
        parts: usize,
        whole: bool,
    },
    /// The same message very often.
    Flood { which: usize, times: usize },
    /// Bytes that are no frame.
    Noise(Vec<u8>),
    /// A header that promises more than comes.
    Promise { opcode: u8, length: u64 },
    /// A close frame, and it goes on.
    Close(Vec<u8>),
    /// It reads nothing any more.
    Deaf,
    /// It breaks the connection off and comes back, in the other dialect perhaps.
    Reset { device: bool },
}

fn deed() -> impl Strategy<Value = Deed> {
    let opcode = prop_oneof![4 => Just(0x81u8), 3 => Just(0x82), 1 => any::<u8>()];
    let which = any::<usize>();
    prop_oneof![
        6 => (which, opcode.clone(), vec(any::<(prop::sample::Index, u8)>(), 0..4))
            .prop_map(|(which, opcode, changes)| Deed::Message { which, opcode, changes }),
        2 => (opcode.clone(), vec(any::<u8>(), 0..300)).prop_map(|(opcode, bytes)| Deed::Bytes { opcode, bytes }),
        2 => (which, 1..9usize, any::<bool>()).prop_map(|(which, parts, whole)| Deed::Fragments { which, parts, whole }),
        1 => (which, 1..400usize).prop_map(|(which, times)| Deed::Flood { which, times }),
        1 => vec(any::<u8>(), 1..200).prop_map(Deed::Noise),
        1 => (opcode, any::<u64>()).prop_map(|(opcode, length)| Deed::Promise { opcode, length }),
        1 => vec(any::<u8>(), 0..8).prop_map(Deed::Close),
        1 => Just(Deed::Deaf),
        2 => any::<bool>().prop_map(|device| Deed::Reset { device }),
    ]
}

/// The hub and the honest, for as long as all cases take.
struct Town {
    addr: SocketAddr,
    user: User,
    room: Room,
}

impl Town {
    /// Messages that make sense, in one dialect or the other.
    fn message(&self, which: usize) -> Vec<u8> {
        let all: [Value; 19] = [
            json!({"type": "message", "payload": {"recipient_user_id": "honest", "content": {"a": [1, null]}}}),
            json!({"type": "message", "payload": {"recipient_user_id": "mob", "client_message_id": "x", "content": "y"}}),
            json!({"type": "message", "payload": {"recipient_user_id": "mob", "recipient_device_id": "d1", "echo_self": true, "content": 1}}),
            json!({"type": "message", "payload": {"recipient_user_id": "honest", "recipient_device_id": "h2", "content": "aGk=", "encoding": "base64"}}),
            json!({"type": "ack", "payload": {"up_to": 1u64 << 53}}),
            json!({"type": "ping", "payload": {"t": 1.5}}),
            json!({"type": "pong"}),
            json!({"type": "refresh", "payload": {"token": token("mob", "d1")}}),
            json!({"type": "refresh", "payload": {"token": "eyJ.eyJ.x"}}),
            json!({"type": "state"}),
            register(
                "evil",
                &self.user,
                &self.room,
                json!({"role": "worker", "is_admin": true, "notices": true}),
            ),
            register("w", &self.user, &self.room, json!({})),
            json!({"type": "register", "peer_id": "w", "room_id": self.room.id, "token": "0", "id_token": self.user.token}),
            json!({"type": "discover_peers", "from_peer_id": "evil", "filters": {"properties": {"x": {"$gte": 1}}}}),
            json!({"type": "update_metadata", "peer_id": "evil", "metadata": {"tags": ["a"], "properties": {"x": 1}}}),
            json!({"type": "peer_message", "from_peer_id": "evil", "to_peer_id": "evil", "payload": {"x": [1]}}),
            json!({"type": "peer_message", "from_peer_id": "w", "to_peer_id": "c", "payload": "forged"}),
            json!({"type": "offer", "sender": "evil", "target": "evil", "sdp": "v=0"}),
            json!({"type": "mail", "from_peer_id": "evil", "to_peer_id": "evil", "payload": "x"}),
        ];
        all[which % all.len()].to_string().into_bytes()
    }

    /// One hostile peer, from its first handshake to its last reset.
    async fn misbehave(&self, name: usize, deeds: &[Deed]) {
        let mut device = name.is_multiple_of(2);
        let mut deeds = deeds.iter();
        'again: loop {
            let target = format!("/ws?token={}", token("mob", &format!("d{name}")));
            let target = if device { target.as_str() } else { "/" };
            let Ok(mut wire) = Wire::open(self.addr, target, "").await else {
                return;
            };
            let mut deaf = false;
            loop {
                let Some(deed) = deeds.next() else {
                    wire.reset();
                    return;
                };
                let bytes = match deed {
                    Deed::Message {
                        which,
                        opcode,
                        changes,
                    } => {
                        let mut bytes = self.message(*which);
                        for (index, byte) in changes {
                            let at = index.index(bytes.len());
                            bytes[at] = *byte;
                        }
                        frame(*opcode, &bytes)
                    }
                    Deed::Bytes { opcode, bytes } => frame(*opcode, bytes),
                    Deed::Fragments {
                        which,
                        parts,
                        whole,
                    } => {
                        let message = self.message(*which);
                        let mut bytes = Vec::new();
                        let size = message.len().div_ceil(*parts);
                        let count = message.chunks(size).count();
                        for (n, part) in message.chunks(size).enumerate() {
                            let first = if n == 0 { 0x01 } else { 0x00 };
                            let last = if *whole && n + 1 == count { 0x80 } else { 0 };
                            bytes.extend(frame(first | last, part));
                            bytes.extend(frame(0x89, b"now"));
                        }
                        bytes
                    }
                    Deed::Flood { which, times } => {
                        frame(0x81, &self.message(*which)).repeat(*times)
                    }
                    Deed::Noise(bytes) => bytes.clone(),
                    Deed::Promise { opcode, length } => {
                        [&[*opcode, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat()
                    }
                    Deed::Close(payload) => frame(0x88, payload),
                    Deed::Deaf => {
                        deaf = true;
                        continue;
                    }
                    Deed::Reset { device: next } => {
                        device = *next;
                        wire.reset();
                        continue 'again;
                    }
                };
                // The hub may have hung up, or stopped to listen for a while.
                let writing = tokio::time::timeout(PATIENCE / 20, wire.tcp.write_all(&bytes));
                if !matches!(writing.await, Ok(Ok(()))) {
                    continue 'again;
                }
                let mut buffer = [0; 4096];
                loop {
                    if deaf {
                        break;
                    }
                    // What is there, without waiting for more.
                    let reading = futures_util::FutureExt::now_or_never(wire.tcp.read(&mut buffer));
                    if !matches!(reading, Some(Ok(1..))) {
                        break;
                    }
                }
            }
        }
    }
}

/// Two devices and two peers of a room that talk to each other.
struct Honest {
    h1: Wire,
    h2: Wire,
    w: Peer,
    c: Peer,
    said: u64,
}

impl Honest {
    /// The message of the other honest device; those of the mob are acknowledged too, or they would fill the window.
    async fn hear(wire: &mut Wire, content: &Value) {
        loop {
            let message = wire.recv_of("message").await;
            wire.send(json!({"type": "ack", "payload": {"up_to": message["message_id"]}}))
                .await;
            if message["sender_user_id"] == "honest" {
                assert_eq!(
                    message["content"], *content,
                    "lost, repeated or out of order"
                );
                return;
            }
            assert_eq!(message["sender_user_id"], "mob");
        }
    }

    async fn exchange(&mut self) {
        self.said += 1;
        let content = json!({"said": self.said});
        for back in [false, true] {
            let (h1, h2, w, c) = (&mut self.h1, &mut self.h2, &mut self.w, &mut self.c);
            let (from, to, name) = if back { (h2, h1, "h1") } else { (h1, h2, "h2") };
            let id = format!("{}-{name}", self.said);
            from.post(("honest", Some(name)), &id, content.clone())
                .await;
            Self::hear(to, &content).await;
            let (from, to, me, them) = if back {
                (c, w, "c", "w")
            } else {
                (w, c, "w", "c")
            };
            let message = json!({"type": "peer_message", "from_peer_id": me, "to_peer_id": them, "payload": content});
            from.send(message).await;
            let heard = to.recv().await;
            assert_eq!(
                (&heard["from_peer_id"], &heard["payload"]),
                (&json!(me), &content)
            );
        }
    }
}

#[test]
fn a_mob_ends_nothing_but_itself() {
    let seed = match std::env::var("MOB_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => rand::random::<u64>(),
    };
    eprintln!("MOB_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        cases: CASES,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, rng);

    let system = actix_web::rt::System::new();
    let hub = system.block_on(async {
        device_hub(|config| {
            config.limits.threads = 2;
            config.limits.outbox_bytes = 256 << 10;
            config.limits.handshakes_per_minute = u32::MAX;
            // Guesses at the honest room's token come from the same address as its peers, which are in already.
            config.mail.mailbox_letters = 200;
        })
    });
    let addr = hub.addrs[0];
    let (town, honest) = system.block_on(async {
        let (honest, user) = (sign_in(addr).await, sign_in(addr).await);
        let ours = create_room(addr, &honest).await;
        let town = Town {
            addr,
            room: create_room(addr, &user).await,
            user,
        };
        let honest = Honest {
            h1: Wire::device(addr, "honest", "h1").await,
            h2: Wire::device(addr, "honest", "h2").await,
            w: Peer::join(
                addr,
                "w",
                &honest,
                &ours,
                json!({"role": "worker", "is_admin": true}),
            )
            .await,
            c: Peer::join(addr, "c", &honest, &ours, json!({"role": "client"})).await,
            said: 0,
        };
        (town, honest)
    });
    let honest = Cell::new(Some(honest));
    let outcome = runner.run(&vec(vec(deed(), 0..25), 4), |mob| {
        system.block_on(async {
            let mut ours = honest.take().expect("an earlier case failed");
            let done = Cell::new(false);
            let misbehaving = async {
                let all = mob
                    .iter()
                    .enumerate()
                    .map(|(name, deeds)| town.misbehave(name, deeds));
                futures_util::future::join_all(all).await;
                done.set(true);
            };
            let going_on = async {
                while !done.get() {
                    ours.exchange().await;
                }
            };
            tokio::join!(misbehaving, going_on);
            ours.exchange().await;
            eventually("a hostile peer stays in the table", async || {
                admin(addr, "/connections").await["total"] == 4
            })
            .await;
            prop_assert_eq!(metric(addr, "loaner_hub_panics_total").await, 0);
            honest.set(Some(ours));
            Ok(())
        })
    });
    assert!(outcome.is_ok(), "MOB_SEED={seed}: {outcome:?}");
    system.block_on(async {
        let Honest { h1, h2, w, c, .. } = honest.take().unwrap();
        h1.reset();
        h2.close().await;
        w.close().await;
        drop(c);
        empty(addr).await;
        assert_eq!(metric(addr, "loaner_hub_peers{role=\"worker\"}").await, 0);
    });
}
