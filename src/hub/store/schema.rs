//! The tables of the store, and how an older file gets to them.

use rusqlite::{Connection, Transaction, params};

/// The version of the tables that this program reads and writes, as it stands in the file (`user_version`).
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Marks a file as ours (`application_id`): "Lhub".
pub(super) const APPLICATION: i64 = 0x4c68_7562;

type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// What leads from version `n` to `n + 1`, at place `n`. An entry is never changed once it was published: files that went
/// through it exist.
const MIGRATIONS: [Migration; 2] = [first, second];

/// Brings the tables from version `from` to [`SCHEMA`], all or nothing.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let steps = &MIGRATIONS[usize::try_from(from).unwrap_or(0).min(MIGRATIONS.len())..];
    if steps.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in steps {
        step(&transaction)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()
}

fn first(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(TABLES)?;
    let secret: [u8; 32] = rand::random();
    transaction.execute(
        "INSERT INTO hub (secret, next_id) VALUES (?1, 0)",
        params![secret],
    )?;
    Ok(())
}

fn second(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(SESSIONS)
}

/// An address is a user's device, known or only a sender; elsewhere its number stands for it. No letter and no send of a
/// sender is younger than its `used_until_ms`, so an address can be removed without a look at the letters.
///
/// Letters lie by mailbox, in the order in which they are read and acknowledged. `letters_by_age` has all that the start
/// and the expiry need, so that neither reads the letters themselves.
const TABLES: &str = "
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
";

/// The sessions of devices over a planned restart, and what each of them has not been told: `session` is its number.
const SESSIONS: &str = "
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    user TEXT NOT NULL,
    device TEXT NOT NULL,
    session BLOB NOT NULL,
    until_ms INTEGER NOT NULL,
    given INTEGER NOT NULL
) STRICT;
CREATE TABLE receipts (
    session INTEGER NOT NULL,
    number INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    client_message_id TEXT,
    is_delivered INTEGER NOT NULL,
    devices INTEGER NOT NULL,
    is_duplicate INTEGER NOT NULL,
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;
";
