//! What each order does to the tables, within the writer's transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::engine::{DeviceKey, Letter, RoomRecord};
use super::addresses::{Addresses, key_of};
use super::{Expired, Freed};
use crate::wire::device::Content;

/// Peers that are remembered of one room.
const PEERS_OF_A_ROOM: i64 = 1024;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It cannot be, and nothing of it was written: the orders beside it are untouched.
    #[error("{0}")]
    Refused(&'static str),
    /// The database failed: what it wrote is to be rolled back, and the orders beside it with it.
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
}

/// The open database, in the hands of the writer.
pub(super) struct Db {
    pub(super) file: Connection,
    pub(super) addresses: Addresses,
}

impl Db {
    pub(super) fn append(
        &mut self,
        letters: &[(DeviceKey, Letter)],
        devices: usize,
    ) -> Result<(), Failure> {
        if letters
            .iter()
            .any(|(_, letter)| i64::try_from(letter.id).is_err())
        {
            return Err(Failure::Refused("a letter's id is too large"));
        }
        let mut remembered = None;
        for (device, letter) in letters {
            let mailbox = self.addresses.mailbox(&self.file, device)?;
            let sender = self
                .addresses
                .sender(&self.file, &letter.from, letter.sent_at_ms)?;
            let (is_binary, content) = match &letter.content {
                Content::Json(text) => (false, text.as_bytes()),
                Content::Binary(bytes) => (true, &bytes[..]),
            };
            self.file
                .prepare_cached("INSERT INTO letters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
                .execute(params![
                    mailbox,
                    int(letter.id),
                    sender,
                    int(letter.sent_at_ms),
                    int(letter.bytes() as u64),
                    letter.client_message_id.as_deref(),
                    is_binary,
                    content
                ])?;
            // Letters of one message follow one another: it is remembered once.
            if let Some(client_message_id) = &letter.client_message_id
                && remembered != Some(letter.id)
            {
                self.file
                    .prepare_cached("INSERT OR REPLACE INTO sends VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute(params![
                        int(letter.sent_at_ms),
                        int(letter.id),
                        sender,
                        &**client_message_id,
                        int(devices as u64)
                    ])?;
                remembered = Some(letter.id);
            }
        }
        Ok(())
    }

    pub(super) fn page(
        &mut self,
        device: &DeviceKey,
        after: u64,
        letters: usize,
        bytes: usize,
    ) -> Result<Vec<Letter>, Failure> {
        let Db { file, addresses } = self;
        let Some(mailbox) = addresses.find(file, device)? else {
            return Ok(Vec::new());
        };
        let mut statement = file.prepare_cached(
            "SELECT id, sender, sent_at_ms, client_message_id, is_binary, length(content), content
             FROM letters WHERE mailbox = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut rows = statement.query(params![mailbox, int(after), int(letters as u64)])?;
        let (mut page, mut total) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            // Asked first, so that a large one that does not fit is not read.
            total += from_int(row.get(5)?);
            if !page.is_empty() && total > bytes as u64 {
                break;
            }
            let content: Vec<u8> = row.get(6)?;
            let content = if row.get(4)? {
                Content::Binary(Bytes::from(content))
            } else {
                let text = String::from_utf8(content).map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(6, Type::Blob, Box::new(error))
                })?;
                Content::Json(text.into())
            };
            page.push(Letter {
                id: from_int(row.get(0)?),
                from: addresses.key(file, row.get(1)?)?,
                client_message_id: row.get(3)?,
                content,
                sent_at_ms: from_int(row.get(2)?),
            });
        }
        Ok(page)
    }

    pub(super) fn acknowledge(&mut self, device: &DeviceKey, up_to: u64) -> Result<Freed, Failure> {
        let Some(mailbox) = self.addresses.find(&self.file, device)? else {
            return Ok(Freed::default());
        };
        let mut gone = Gone::default();
        {
            let mut statement = self.file.prepare_cached(
                "DELETE FROM letters WHERE mailbox = ?1 AND id <= ?2 RETURNING sender, bytes",
            )?;
            let mut rows = statement.query(params![mailbox, int(up_to)])?;
            while let Some(row) = rows.next()? {
                gone.count(row.get(0)?, from_int(row.get(1)?));
            }
        }
        self.freed(gone)
    }

    pub(super) fn adopt(&mut self, from: &DeviceKey, to: &DeviceKey) -> Result<(), Failure> {
        if from == to {
            return Ok(());
        }
        let given: Option<(i64, i64)> = self
            .file
            .prepare_cached(
                "SELECT address, expired FROM addresses
                 WHERE user = ?1 AND device = ?2 AND known",
            )?
            .query_row([&*from.user, &*from.device], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((old, expired)) = given else {
            return Ok(());
        };
        let new = self.addresses.mailbox(&self.file, to)?;
        self.file
            .prepare_cached("UPDATE letters SET mailbox = ?2 WHERE mailbox = ?1")?
            .execute([old, new])?;
        self.add_expired(new, expired)?;
        self.add_expired(old, -expired)
    }

    pub(super) fn expire(
        &mut self,
        letters_before_ms: u64,
        sends_before_ms: u64,
        devices_before_ms: u64,
    ) -> Result<Expired, Failure> {
        let mut gone: BTreeMap<i64, Gone> = BTreeMap::new();
        {
            let mut statement = self.file.prepare_cached(
                "DELETE FROM letters WHERE sent_at_ms < ?1 RETURNING mailbox, sender, bytes",
            )?;
            let mut rows = statement.query([int(letters_before_ms)])?;
            while let Some(row) = rows.next()? {
                gone.entry(row.get(0)?)
                    .or_default()
                    .count(row.get(1)?, from_int(row.get(2)?));
            }
        }
        let mut freed = Vec::with_capacity(gone.len());
        for (mailbox, gone) in gone {
            self.add_expired(mailbox, int(gone.letters))?;
            let key = self.addresses.key(&self.file, mailbox)?;
            freed.push((key, self.freed(gone)?));
        }
        freed.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.file
            .prepare_cached("DELETE FROM sends WHERE sent_at_ms < ?1")?
            .execute([int(sends_before_ms)])?;

        let mut forgotten: Vec<DeviceKey> = self
            .file
            .prepare_cached(
                "UPDATE addresses SET known = 0, seen_at_ms = 0, expired = 0
                 WHERE known AND seen_at_ms < ?1 AND expired = 0
                   AND NOT EXISTS (SELECT 1 FROM letters WHERE mailbox = address)
                 RETURNING user, device",
            )?
            .query_map([int(devices_before_ms)], |row| key_of(row, 0))?
            .collect::<Result<_, _>>()?;
        forgotten.sort();
        // Whatever such an address sent is older than what was removed just now.
        let removed = self
            .file
            .prepare_cached("DELETE FROM addresses WHERE NOT known AND used_until_ms < ?1")?
            .execute([int(letters_before_ms.min(sends_before_ms))])?;
        if removed > 0 || !forgotten.is_empty() {
            self.addresses.forget();
        }
        Ok((freed, forgotten))
    }

    pub(super) fn seen(&mut self, device: &DeviceKey, at_ms: u64) -> Result<(), Failure> {
        Ok(self.addresses.seen(&self.file, device, at_ms)?)
    }

    pub(super) fn reserve_ids(&mut self, below: u64) -> Result<(), Failure> {
        self.file
            .prepare_cached("UPDATE hub SET next_id = max(next_id, ?1)")?
            .execute([int(below)])?;
        Ok(())
    }

    pub(super) fn save_room(&mut self, room: &RoomRecord) -> Result<(), Failure> {
        self.file
            .prepare_cached("INSERT OR REPLACE INTO rooms VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![room.id, room.owner, room.token, room.expires_at])?;
        Ok(())
    }

    pub(super) fn forget_room(&mut self, id: &str) -> Result<(), Failure> {
        self.file
            .prepare_cached("DELETE FROM rooms WHERE id = ?1")?
            .execute([id])?;
        self.file
            .prepare_cached("DELETE FROM peers WHERE room = ?1")?
            .execute([id])?;
        Ok(())
    }

    pub(super) fn save_peer(&mut self, room: &str, peer: &str, user: &str) -> Result<(), Failure> {
        // A replaced row gets a new number, which makes it the youngest.
        self.file
            .prepare_cached("INSERT OR REPLACE INTO peers (room, peer, user) VALUES (?1, ?2, ?3)")?
            .execute([room, peer, user])?;
        self.file
            .prepare_cached(
                "DELETE FROM peers WHERE room = ?1 AND number <=
                 (SELECT number FROM peers WHERE room = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![room, PEERS_OF_A_ROOM])?;
        Ok(())
    }

    /// Bounds the file, in whole pages; never below what it has.
    pub(super) fn limit_bytes(&mut self, bytes: u64) -> Result<(), Failure> {
        let page: i64 = self
            .file
            .pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = (int(bytes) / page.max(1)).max(1);
        self.file
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        Ok(())
    }

    fn add_expired(&mut self, address: i64, letters: i64) -> Result<(), Failure> {
        self.file
            .prepare_cached("UPDATE addresses SET expired = expired + ?2 WHERE address = ?1")?
            .execute([address, letters])?;
        Ok(())
    }

    fn freed(&mut self, gone: Gone) -> Result<Freed, Failure> {
        let mut by_user: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for (sender, bytes) in gone.by_sender {
            let user = self.addresses.key(&self.file, sender)?.user;
            *by_user.entry(user).or_default() += bytes;
        }
        Ok(Freed {
            letters: gone.letters,
            bytes: gone.bytes,
            by_sender: by_user.into_iter().collect(),
        })
    }
}

/// Letters that were removed, by the sender's number.
#[derive(Default)]
struct Gone {
    letters: u64,
    bytes: u64,
    by_sender: BTreeMap<i64, u64>,
}

impl Gone {
    fn count(&mut self, sender: i64, bytes: u64) {
        self.letters += 1;
        self.bytes += bytes;
        *self.by_sender.entry(sender).or_default() += bytes;
    }
}

/// A number as SQLite holds it. Beyond 2^63 there is nothing to tell apart.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that [`int`] wrote.
pub(super) fn from_int(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
