//! Random orders, with the store closed and opened again between them, against the model.

use std::sync::{Arc, Mutex};

use loaner::hub::engine::{DeviceKey, Letter, Receipt, RoomRecord, Status};
use loaner::hub::store::{Done, KnownSession, SqliteStore, Store, StoreFailed};
use loaner::wire::device::Content;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::model::Model;
use super::open;

/// One hour, by which the store rounds how long it keeps a sender.
const HOUR: u64 = 60 * 60 * 1000;

#[derive(Debug, Clone)]
struct Draft {
    to: DeviceKey,
    from: DeviceKey,
    /// Whether it is the same message as the letter before.
    same: bool,
    client: Option<String>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Op {
    Append {
        drafts: Vec<Draft>,
        devices: usize,
        at: u64,
    },
    /// The last letter once more, and another before it: neither may be taken.
    Again(Draft),
    Page {
        of: DeviceKey,
        after: u64,
        letters: usize,
        bytes: usize,
    },
    Acknowledge {
        of: DeviceKey,
        up_to: u64,
    },
    Adopt {
        from: DeviceKey,
        to: DeviceKey,
    },
    Expire {
        letters: u64,
        sends: u64,
        devices: u64,
    },
    Seen {
        who: DeviceKey,
        at: u64,
    },
    Reserve(u64),
    SaveRoom(RoomRecord),
    ForgetRoom(String),
    SavePeer(String, String, String),
    SaveSessions(Vec<KnownSession>),
    Sync,
    Reopen,
}

fn device() -> impl Strategy<Value = DeviceKey> {
    ("[abü]", "|x|y").prop_map(|(user, device)| DeviceKey::new(&user, &device))
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        "[a-zäß€]{0,20}".prop_map(|text| Content::Json(format!("\"{text}\"").into())),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Content::Binary(bytes.into())),
        // Beyond a page of the file.
        (5000..20_000usize).prop_map(|length| Content::Binary(vec![7; length].into())),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    (
        device(),
        device(),
        any::<bool>(),
        option::of("[a-cé]{1,3}"),
        content(),
    )
        .prop_map(|(to, from, same, client, content)| Draft {
            to,
            from,
            same,
            client,
            content,
        })
}

fn session() -> impl Strategy<Value = KnownSession> {
    let receipt = (
        1..1000u64,
        option::of("[a-cé]{1,3}"),
        any::<bool>(),
        0..9usize,
        any::<bool>(),
    )
        .prop_map(
            |(message_id, client, delivered, devices, duplicate)| Receipt {
                message_id,
                client_message_id: client.map(Into::into),
                status: if delivered {
                    Status::Delivered
                } else {
                    Status::Stored
                },
                devices,
                duplicate,
            },
        );
    (
        device(),
        any::<u128>(),
        time(),
        0..40u64,
        vec(receipt, 0..4),
    )
        .prop_map(|(key, session, until_ms, given, receipts)| KnownSession {
            key,
            session,
            until_ms,
            given,
            receipts,
        })
}

fn time() -> impl Strategy<Value = u64> {
    (0..12u64, 0..4u64).prop_map(|(hours, ms)| hours * HOUR + ms)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (vec(draft(), 0..5), 0..9usize, time())
            .prop_map(|(drafts, devices, at)| Op::Append { drafts, devices, at }),
        1 => draft().prop_map(Op::Again),
        3 => (device(), 0..30u64, 0..6usize, 0..9000usize)
            .prop_map(|(of, after, letters, bytes)| Op::Page { of, after, letters, bytes }),
        1 => device().prop_map(|of| Op::Page { of, after: 0, letters: usize::MAX, bytes: usize::MAX }),
        2 => (device(), 0..40u64).prop_map(|(of, up_to)| Op::Acknowledge { of, up_to }),
        2 => (device(), device()).prop_map(|(from, to)| Op::Adopt { from, to }),
        2 => (time(), time(), time())
            .prop_map(|(letters, sends, devices)| Op::Expire { letters, sends, devices }),
        2 => (device(), time()).prop_map(|(who, at)| Op::Seen { who, at }),
        1 => (0..1000u64).prop_map(Op::Reserve),
        1 => ("[rs]", "[ab]", "[tu]", any::<u32>()).prop_map(|(id, owner, token, expires_at)| {
            Op::SaveRoom(RoomRecord { id, owner, token, expires_at: f64::from(expires_at) / 8.0 })
        }),
        1 => "[rs]".prop_map(Op::ForgetRoom),
        1 => ("[rs]", "[pq]", "[ab]").prop_map(|(room, peer, user)| Op::SavePeer(room, peer, user)),
        1 => vec(session(), 0..4).prop_map(Op::SaveSessions),
        1 => Just(Op::Sync),
        2 => Just(Op::Reopen),
    ]
}

/// Answers as text, with the number of the order, as they come.
type Answers = Arc<Mutex<Vec<(usize, String)>>>;

fn told<T: std::fmt::Debug + 'static>(answers: &Answers, number: usize) -> Done<T> {
    let answers = Arc::clone(answers);
    Box::new(move |outcome: Result<T, StoreFailed>| {
        answers.lock().unwrap().push((number, said(outcome.ok())));
    })
}

fn said<T: std::fmt::Debug>(outcome: Option<T>) -> String {
    outcome.map_or("failed".into(), |value| format!("{value:?}"))
}

struct Run {
    store: SqliteStore,
    model: Model,
    answers: Answers,
    expected: Vec<(usize, String)>,
    last_id: u64,
    last: Option<(DeviceKey, Letter)>,
}

impl Run {
    fn letters(&mut self, drafts: Vec<Draft>, at: u64) -> Vec<(DeviceKey, Letter)> {
        let mut letters: Vec<(DeviceKey, Letter)> = Vec::new();
        for draft in drafts {
            let letter = match letters.last() {
                Some((_, before)) if draft.same => before.clone(),
                _ => {
                    self.last_id += 1;
                    Letter {
                        id: self.last_id,
                        from: draft.from,
                        client_message_id: draft.client.map(Into::into),
                        content: draft.content,
                        sent_at_ms: at,
                    }
                }
            };
            letters.push((draft.to, letter));
        }
        letters
    }

    fn append(&mut self, number: usize, letters: Vec<(DeviceKey, Letter)>, devices: usize) {
        let done = self.model.append(&letters, devices);
        if done && let Some(last) = letters.last() {
            self.last = Some(last.clone());
        }
        self.expected.push((number, said(done.then_some(()))));
        self.store
            .append(letters, devices, told(&self.answers, number));
    }

    fn give(&mut self, number: usize, op: Op) {
        let answers = Arc::clone(&self.answers);
        let (store, model) = (&self.store, &mut self.model);
        let expected = match op {
            Op::Append {
                drafts,
                devices,
                at,
            } => {
                let letters = self.letters(drafts, at);
                return self.append(number, letters, devices);
            }
            Op::Again(other) => {
                let at = HOUR;
                let mut letters = self.letters(vec![other], at);
                letters.extend(self.last.clone());
                return self.append(number, letters, 3);
            }
            Op::Page {
                of,
                after,
                letters,
                bytes,
            } => {
                store.page(&of, after, letters, bytes, told(&answers, number));
                said(Some(model.page(&of, after, letters, bytes)))
            }
            Op::Acknowledge { of, up_to } => {
                store.acknowledge(&of, up_to, told(&answers, number));
                said(Some(model.acknowledge(&of, up_to)))
            }
            Op::Adopt { from, to } => {
                store.adopt(&from, &to, told(&answers, number));
                said(model.adopt(&from, &to).then_some(()))
            }
            Op::Expire {
                letters,
                sends,
                devices,
            } => {
                store.expire(letters, sends, devices, told(&answers, number));
                said(Some(model.expire(letters, sends, devices)))
            }
            Op::Reserve(below) => {
                store.reserve_ids(below, told(&answers, number));
                model.reserve_ids(below);
                said(Some(()))
            }
            Op::SaveSessions(sessions) => {
                store.save_sessions(sessions.clone(), told(&answers, number));
                model.save_sessions(sessions);
                said(Some(()))
            }
            Op::Sync => {
                store.sync(told(&answers, number));
                said(Some(()))
            }
            Op::Seen { who, at } => {
                store.seen(&who, at);
                return model.seen(&who, at);
            }
            Op::SaveRoom(room) => {
                store.save_room(room.clone());
                return model.save_room(room);
            }
            Op::ForgetRoom(id) => {
                store.forget_room(&id);
                return model.forget_room(&id);
            }
            Op::SavePeer(room, peer, user) => {
                store.save_peer(&room, &peer, &user);
                return model.save_peer(&room, &peer, &user);
            }
            Op::Reopen => return,
        };
        self.expected.push((number, expected));
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// Every answer is the model's, in the order of the orders; every start finds what the model has.
    #[test]
    fn it_does_what_the_model_does(ops in vec(op(), 1..120)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/hub.db");
        let (store, found) = open(&path).unwrap();
        let secret = found.secret;
        let mut run = Run {
            store,
            model: Model::default(),
            answers: Answers::default(),
            expected: Vec::new(),
            last_id: 0,
            last: None,
        };
        prop_assert_eq!(found, run.model.recovered(secret));
        for (number, op) in ops.into_iter().chain([Op::Reopen]).enumerate() {
            let reopen = matches!(op, Op::Reopen);
            run.give(number, op);
            if reopen {
                run.store.close().unwrap();
                let (store, found) = open(&path).unwrap();
                run.store = store;
                prop_assert_eq!(&*run.answers.lock().unwrap(), &run.expected);
                prop_assert_eq!(found, run.model.recovered(secret));
            }
        }
    }
}
