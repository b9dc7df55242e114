//! Sessions over a planned restart: what is saved of a device that is away, and what it finds when it comes back.

use super::super::store::KnownSession;
use super::core::{Core, Now, millis};
use super::device::{Answer, Device};
use super::repeats::Known;
use crate::wire::close::RESUME_TIME;

impl Device {
    /// Its session, if it can be resumed by the next start of the hub as by this one.
    fn session_to_save(&self, now: Now) -> Option<KnownSession> {
        let left = self.resume_until?.saturating_sub(now.at);
        if left == 0 {
            return None;
        }
        let receipts = match &self.out {
            None => Vec::new(),
            // An answer is lost, or will be: it comes after the last that is written.
            Some(out) if out.dropped || out.unconfirmed > 0 => return None,
            Some(out) => out
                .kept
                .iter()
                .map(|answer| match answer {
                    Answer::Receipt(receipt) => Some(receipt.clone()),
                    // The store failed, and the message is to be sent again. A device that hears that its session does not
                    // go on sends again whatever has no receipt, so the refusal itself need not be kept by that same store.
                    Answer::Refused(..) => None,
                })
                .collect::<Option<Vec<_>>>()?,
        };
        Some(KnownSession {
            key: self.key.clone(),
            session: self.session,
            until_ms: now.unix_ms.saturating_add(left),
            given: self.given,
            receipts,
        })
    }
}

impl Core {
    /// Saves the sessions that can be resumed, and calls `done` with whether they are on disk.
    pub(super) fn save_sessions(&mut self, now: Now, done: impl FnOnce(bool) + Send + 'static) {
        let devices = self.devices.iter().flatten();
        let sessions = devices
            .filter_map(|device| device.session_to_save(now))
            .collect();
        self.orders.save_sessions(sessions, done);
    }

    /// Takes up a session that was saved, if its time is not over.
    pub(super) fn restore(&mut self, known: KnownSession, now: Now) {
        // By a clock that was set back meanwhile it would last too long.
        let left = known.until_ms.saturating_sub(now.unix_ms);
        let left = left.min(millis(RESUME_TIME));
        if left == 0 {
            return;
        }
        let index = self.ensure(&known.key);
        for receipt in &known.receipts {
            // One that was delivered is in no table of the store: sent again, it is to be known all the same.
            if let Some(id) = &receipt.client_message_id {
                let mark = self.marker.mark(id);
                let known = Known {
                    id: receipt.message_id,
                    devices: u32::try_from(receipt.devices).unwrap_or(u32::MAX),
                    status: Some(receipt.status),
                };
                self.remember(index, mark, known);
            }
        }
        if let Some(device) = self.device(index) {
            device.session = known.session;
            device.resume_until = Some(now.at.saturating_add(left));
            device.given = known.given;
            if !known.receipts.is_empty() {
                let kept = known.receipts.into_iter().map(Answer::Receipt);
                device.outgoing().kept = kept.collect();
            }
        }
    }
}
