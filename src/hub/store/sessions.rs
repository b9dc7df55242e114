//! The sessions of devices in the file: written when the hub stops, read when it starts.

use rusqlite::{Connection, params};

use super::super::engine::{Receipt, Status};
use super::KnownSession;
use super::addresses::key_of;
use super::db::{from_int, int};

/// Sessions that are saved, and read: well above what connects to one hub.
const SESSIONS: usize = 65_536;

/// Receipts of all of them together.
const RECEIPTS: usize = 1 << 20;

/// Writes these sessions in place of all that are there, within the writer's transaction.
pub(super) fn save(file: &Connection, sessions: &[KnownSession]) -> rusqlite::Result<()> {
    file.execute_batch("DELETE FROM sessions; DELETE FROM receipts;")?;
    let mut session_row = file.prepare("INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut receipt_row =
        file.prepare("INSERT INTO receipts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let mut room = RECEIPTS;
    for (number, known) in (0_i64..).zip(sessions.iter().take(SESSIONS)) {
        let Some(left) = room.checked_sub(known.receipts.len()) else {
            break;
        };
        room = left;
        session_row.execute(params![
            number,
            &*known.key.user,
            &*known.key.device,
            known.session.to_be_bytes(),
            int(known.until_ms),
            int(known.given),
        ])?;
        for (place, receipt) in (0_i64..).zip(&known.receipts) {
            receipt_row.execute(params![
                number,
                place,
                int(receipt.message_id),
                receipt.client_message_id.as_deref(),
                receipt.status == Status::Delivered,
                int(receipt.devices as u64),
                receipt.duplicate,
            ])?;
        }
    }
    Ok(())
}

/// The sessions as they were saved; of a file that has more than is ever saved, the first.
pub(super) fn read(file: &Connection) -> rusqlite::Result<Vec<KnownSession>> {
    let mut session_rows = file.prepare(
        "SELECT number, user, device, session, until_ms, given FROM sessions ORDER BY number LIMIT ?1",
    )?;
    let mut receipt_rows = file.prepare(
        "SELECT message_id, client_message_id, is_delivered, devices, is_duplicate FROM receipts
         WHERE session = ?1 ORDER BY number LIMIT ?2",
    )?;
    let (mut sessions, mut room) = (Vec::new(), RECEIPTS);
    let mut rows = session_rows.query([int(SESSIONS as u64)])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let receipts = receipt_rows
            .query_map([number, int(room as u64 + 1)], receipt)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        // Without all of its receipts it would not be the session that it says it is.
        let Some(left) = room.checked_sub(receipts.len()) else {
            break;
        };
        room = left;
        sessions.push(KnownSession {
            key: key_of(row, 1)?,
            session: u128::from_be_bytes(row.get(3)?),
            until_ms: from_int(row.get(4)?),
            given: from_int(row.get(5)?),
            receipts,
        });
    }
    Ok(sessions)
}

fn receipt(row: &rusqlite::Row<'_>) -> rusqlite::Result<Receipt> {
    let status = if row.get(2)? {
        Status::Delivered
    } else {
        Status::Stored
    };
    Ok(Receipt {
        message_id: from_int(row.get(0)?),
        client_message_id: row.get(1)?,
        status,
        devices: usize::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        duplicate: row.get(4)?,
    })
}
