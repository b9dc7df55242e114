//! Files of earlier versions, and what the versions since have added.

use loaner::hub::engine::{DeviceKey, Receipt, RoomRecord, Status};
use loaner::hub::store::{KnownDevice, KnownSend, KnownSession, Recovered, Store};
use loaner::wire::device::Content;
use rusqlite::Connection;

use super::{open, wait};

/// The tables as version 1 made them, and something in each.
const VERSION_1: &str = "
CREATE TABLE hub (
    secret BLOB NOT NULL,
    next_id INTEGER NOT NULL
) STRICT;
CREATE TABLE addresses (
    address INTEGER PRIMARY KEY,
    user TEXT NOT NULL,
    device TEXT NOT NULL,
    known INTEGER NOT NULL,
    seen_at_ms INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    used_until_ms INTEGER NOT NULL,
    UNIQUE (user, device)
) STRICT;
CREATE TABLE letters (
    mailbox INTEGER NOT NULL,
    id INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    sent_at_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    client_message_id TEXT,
    is_binary INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (mailbox, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX letters_by_age ON letters (sent_at_ms, mailbox, id, sender, bytes);
CREATE TABLE sends (
    sent_at_ms INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    client_message_id TEXT NOT NULL,
    devices INTEGER NOT NULL,
    PRIMARY KEY (sent_at_ms, message_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE rooms (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    token TEXT NOT NULL,
    expires_at REAL NOT NULL
) STRICT;
CREATE TABLE peers (
    number INTEGER PRIMARY KEY,
    room TEXT NOT NULL,
    peer TEXT NOT NULL,
    user TEXT NOT NULL,
    UNIQUE (room, peer)
) STRICT;
CREATE INDEX peers_by_age ON peers (room);

INSERT INTO hub VALUES (zeroblob(32), 1048577);
INSERT INTO addresses VALUES (1, 'alice', 'laptop', 0, 0, 0, 3600005), (2, 'bob', 'phone', 1, 4, 3, -1);
INSERT INTO letters VALUES (2, 7, 1, 5, 100, 'x', 0, CAST('\"hello\"' AS BLOB));
INSERT INTO sends VALUES (5, 7, 1, 'x', 1);
INSERT INTO rooms VALUES ('r', 'bob', 't', 2.5);
INSERT INTO peers VALUES (1, 'r', 'p', 'bob');
PRAGMA application_id = 0x4c687562;
PRAGMA user_version = 1;
";

fn session(user: &str, receipts: usize) -> KnownSession {
    let receipt = |id: u64| Receipt {
        message_id: id,
        client_message_id: Some("x".into()),
        status: Status::Stored,
        devices: 1,
        duplicate: false,
    };
    KnownSession {
        key: DeviceKey::new(user, "phone"),
        session: u128::MAX - 1,
        until_ms: 9,
        given: 7,
        receipts: (1..=receipts as u64).map(receipt).collect(),
    }
}

/// A file of version 1 is brought to the present tables with all that is in it, and takes what they are for.
#[test]
fn a_store_of_version_1_is_migrated_with_everything_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    old.close().unwrap();

    let bob = DeviceKey::new("bob", "phone");
    let alice = DeviceKey::new("alice", "laptop");
    let mut all = Recovered {
        secret: [0; 32],
        next_id: 1_048_577,
        devices: vec![KnownDevice {
            key: bob.clone(),
            seen_at_ms: 4,
            waiting: 1,
            waiting_bytes: 100,
            expired: 3,
        }],
        senders: vec![("alice".into(), 100)],
        sends: vec![KnownSend {
            from: alice.clone(),
            client_message_id: "x".into(),
            message_id: 7,
            devices: 1,
        }],
        rooms: vec![RoomRecord {
            id: "r".into(),
            owner: "bob".into(),
            token: "t".into(),
            expires_at: 2.5,
        }],
        peers: vec![("r".into(), "p".into(), "bob".into())],
        sessions: Vec::new(),
    };
    let (store, found) = open(&path).unwrap();
    assert_eq!(found, all);
    let page = wait(|done| store.page(&bob, 0, 9, 999, done)).unwrap();
    assert_eq!((page.len(), &page[0].from), (1, &alice));
    assert_eq!(page[0].content, Content::Json("\"hello\"".into()));
    all.sessions = vec![session("bob", 2)];
    wait(|done| store.save_sessions(all.sessions.clone(), done)).unwrap();
    store.close().unwrap();

    let version: i64 = Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 2);
    let (store, found) = open(&path).unwrap();
    assert_eq!(found, all);
    // Taken up by a hub, they are found no more, however it ends.
    wait(|done| store.save_sessions(Vec::new(), done)).unwrap();
    store.close().unwrap();
    assert_eq!(open(&path).unwrap().1.sessions, []);
}

/// Of sessions that hold more receipts than are kept together, the first are saved, none of them in part.
#[test]
fn what_is_kept_of_sessions_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    let (store, _) = open(&path).unwrap();
    let many: Vec<KnownSession> = (0..65_540).map(|n| session(&n.to_string(), 0)).collect();
    wait(|done| store.save_sessions(many.clone(), done)).unwrap();
    store.close().unwrap();
    let (store, found) = open(&path).unwrap();
    assert!(found.sessions == many[..65_536]);

    let few = [1, (1 << 20) - 1, 1].map(|receipts| session("bob", receipts));
    wait(|done| store.save_sessions(few.to_vec(), done)).unwrap();
    store.close().unwrap();
    let (_store, found) = open(&path).unwrap();
    assert!(found.sessions == few[..2]);
}
