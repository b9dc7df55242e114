//! What the start finds in the file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::Connection;

use super::super::engine::{DeviceKey, RoomRecord};
use super::addresses::key_of;
use super::db::from_int;
use super::{KnownDevice, KnownSend, Recovered, sessions};

/// Reads everything but the letters themselves.
pub(super) fn recover(file: &Connection) -> rusqlite::Result<Recovered> {
    let (secret, next_id) = file.query_row("SELECT secret, next_id FROM hub", [], |row| {
        Ok((row.get(0)?, from_int(row.get(1)?)))
    })?;
    let addresses: HashMap<i64, DeviceKey> =
        rows(file, "SELECT address, user, device FROM addresses", |row| {
            Ok((row.get(0)?, key_of(row, 1)?))
        })?
        .into_iter()
        .collect();
    let (waiting, senders) = count_letters(file, &addresses)?;
    let devices = rows(
        file,
        "SELECT address, user, device, seen_at_ms, expired FROM addresses WHERE known ORDER BY user, device",
        |row| {
            let (letters, bytes) = waiting.get(&row.get(0)?).copied().unwrap_or_default();
            Ok(KnownDevice {
                key: key_of(row, 1)?,
                seen_at_ms: from_int(row.get(3)?),
                waiting: letters,
                waiting_bytes: bytes,
                expired: from_int(row.get(4)?),
            })
        },
    )?;
    let sends = rows(
        file,
        "SELECT sender, client_message_id, message_id, devices FROM sends ORDER BY message_id",
        |row| {
            Ok(KnownSend {
                from: named(&addresses, row.get(0)?)?,
                client_message_id: row.get(1)?,
                message_id: from_int(row.get(2)?),
                devices: usize::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
            })
        },
    )?;
    let rooms = rows(
        file,
        "SELECT id, owner, token, expires_at FROM rooms ORDER BY id",
        |row| {
            Ok(RoomRecord {
                id: row.get(0)?,
                owner: row.get(1)?,
                token: row.get(2)?,
                expires_at: row.get(3)?,
            })
        },
    )?;
    let peers = rows(
        file,
        "SELECT room, peer, user FROM peers ORDER BY number",
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    Ok(Recovered {
        secret,
        next_id,
        devices,
        senders,
        sends,
        rooms,
        peers,
        sessions: sessions::read(file)?,
    })
}

/// Letters and bytes by mailbox.
type Waiting = HashMap<i64, (u64, u64)>;
/// Bytes by the sender's user.
type Senders = Vec<(Arc<str>, u64)>;

fn count_letters(
    file: &Connection,
    addresses: &HashMap<i64, DeviceKey>,
) -> rusqlite::Result<(Waiting, Senders)> {
    let mut waiting: Waiting = HashMap::new();
    let mut by_sender: HashMap<i64, u64> = HashMap::new();
    let mut statement =
        file.prepare("SELECT mailbox, sender, bytes FROM letters INDEXED BY letters_by_age")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let bytes = from_int(row.get(2)?);
        let mailbox = waiting.entry(row.get(0)?).or_default();
        mailbox.0 += 1;
        mailbox.1 += bytes;
        *by_sender.entry(row.get(1)?).or_default() += bytes;
    }
    let mut senders: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for (sender, bytes) in by_sender {
        *senders.entry(named(addresses, sender)?.user).or_default() += bytes;
    }
    Ok((waiting, senders.into_iter().collect()))
}

fn named(addresses: &HashMap<i64, DeviceKey>, address: i64) -> rusqlite::Result<DeviceKey> {
    addresses
        .get(&address)
        .cloned()
        .ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn rows<T>(
    file: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    file.prepare(sql)?.query_map([], read)?.collect()
}
