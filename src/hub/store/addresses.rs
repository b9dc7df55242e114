//! Devices as numbers: a letter's row names its mailbox and its sender by one integer each.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::engine::DeviceKey;
use super::db::int;

/// Addresses held in memory; beyond, they are read again.
const HELD: usize = 65_536;

/// A sender's `used_until_ms` is set so much ahead, to be written once an hour and not with each letter.
const AHEAD_MS: u64 = 60 * 60 * 1000;

#[derive(Clone, Copy)]
struct Held {
    address: i64,
    known: bool,
    used_until_ms: i64,
}

/// The numbers of the addresses in use, as they stand in the file.
#[derive(Default)]
pub(super) struct Addresses {
    held: HashMap<DeviceKey, Held>,
    keys: HashMap<i64, DeviceKey>,
}

impl Addresses {
    /// Forgets what is in memory: to be called when the file may say something else.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        self.keys.clear();
    }

    /// The number of an address that is there.
    pub(super) fn find(
        &mut self,
        file: &Connection,
        key: &DeviceKey,
    ) -> rusqlite::Result<Option<i64>> {
        Ok(self.look_up(file, key)?.map(|held| held.address))
    }

    /// The number of a mailbox; its device becomes known if it was not.
    pub(super) fn mailbox(&mut self, file: &Connection, key: &DeviceKey) -> rusqlite::Result<i64> {
        if let Some(held) = self.look_up(file, key)?
            && held.known
        {
            return Ok(held.address);
        }
        let (address, used_until_ms) = file
            .prepare_cached(
                "INSERT INTO addresses (user, device, known, seen_at_ms, expired, used_until_ms)
                 VALUES (?1, ?2, 1, 0, 0, -1)
                 ON CONFLICT (user, device) DO UPDATE SET known = 1, seen_at_ms = 0
                 RETURNING address, used_until_ms",
            )?
            .query_row([&*key.user, &*key.device], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        self.hold(key, address, true, used_until_ms);
        Ok(address)
    }

    /// The number of a sender, which is kept at least as long as what was sent at `sent_at_ms`.
    pub(super) fn sender(
        &mut self,
        file: &Connection,
        key: &DeviceKey,
        sent_at_ms: u64,
    ) -> rusqlite::Result<i64> {
        if let Some(held) = self.look_up(file, key)?
            && held.used_until_ms >= int(sent_at_ms)
        {
            return Ok(held.address);
        }
        let until = int(sent_at_ms.saturating_add(AHEAD_MS));
        let (address, known) = file
            .prepare_cached(
                "INSERT INTO addresses (user, device, known, seen_at_ms, expired, used_until_ms)
                 VALUES (?1, ?2, 0, 0, 0, ?3)
                 ON CONFLICT (user, device) DO UPDATE SET used_until_ms = excluded.used_until_ms
                 RETURNING address, known",
            )?
            .query_row(params![&*key.user, &*key.device, until], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        self.hold(key, address, known, until);
        Ok(address)
    }

    /// A device is connected: known, seen, and told of what expired.
    pub(super) fn seen(
        &mut self,
        file: &Connection,
        key: &DeviceKey,
        at_ms: u64,
    ) -> rusqlite::Result<()> {
        let address = self.mailbox(file, key)?;
        file.prepare_cached(
            "UPDATE addresses SET seen_at_ms = ?2, expired = 0 WHERE address = ?1",
        )?
        .execute(params![address, int(at_ms)])?;
        Ok(())
    }

    /// Whose number it is.
    pub(super) fn key(&mut self, file: &Connection, address: i64) -> rusqlite::Result<DeviceKey> {
        if let Some(key) = self.keys.get(&address) {
            return Ok(key.clone());
        }
        let (key, known, used_until_ms) = file
            .prepare_cached(
                "SELECT user, device, known, used_until_ms FROM addresses WHERE address = ?1",
            )?
            .query_row([address], |row| {
                Ok((key_of(row, 0)?, row.get(2)?, row.get(3)?))
            })?;
        self.hold(&key, address, known, used_until_ms);
        Ok(key)
    }

    fn look_up(&mut self, file: &Connection, key: &DeviceKey) -> rusqlite::Result<Option<Held>> {
        if let Some(held) = self.held.get(key) {
            return Ok(Some(*held));
        }
        let found = file
            .prepare_cached(
                "SELECT address, known, used_until_ms FROM addresses WHERE user = ?1 AND device = ?2",
            )?
            .query_row([&*key.user, &*key.device], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        Ok(found.map(|(address, known, until)| self.hold(key, address, known, until)))
    }

    fn hold(&mut self, key: &DeviceKey, address: i64, known: bool, used_until_ms: i64) -> Held {
        if self.held.len() >= HELD {
            self.forget();
        }
        let held = Held {
            address,
            known,
            used_until_ms,
        };
        self.held.insert(key.clone(), held);
        self.keys.insert(address, key.clone());
        held
    }
}

/// The device whose user stands in column `at` of a row, and its name in the next.
pub(super) fn key_of(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<DeviceKey> {
    Ok(DeviceKey {
        user: row.get::<_, Arc<str>>(at)?,
        device: row.get::<_, Arc<str>>(at + 1)?,
    })
}
