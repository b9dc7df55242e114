//! Who holds how much. What is posted is charged once, and the charge is taken back when the letter is acknowledged,
//! has expired, or was refused after all.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::engine::PostRefused;
use super::limits::MailLimits;

/// Letters and their bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) letters: u64,
    pub(super) bytes: u64,
}

impl Load {
    pub(super) fn add(&mut self, letters: u64, bytes: u64) {
        self.letters += letters;
        self.bytes += bytes;
    }

    pub(super) fn take(&mut self, letters: u64, bytes: u64) {
        debug_assert!(
            self.letters >= letters && self.bytes >= bytes,
            "more taken than there was: {self:?}, {letters}, {bytes}"
        );
        self.letters = self.letters.saturating_sub(letters);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether a mailbox that holds this takes a letter more; `own` when it is from a device of the mailbox's user.
    /// The last quarter is for those: strangers who send very much do not part a user's own devices.
    pub(super) fn admits(
        &self,
        bytes: u64,
        own: bool,
        limits: &MailLimits,
    ) -> Result<(), PostRefused> {
        let for_strangers = |most: u64| most - most / 4;
        let full = self.letters >= limits.mailbox_letters
            || self.bytes + bytes > limits.mailbox_bytes
            || !own
                && (self.letters >= for_strangers(limits.mailbox_letters)
                    || self.bytes >= for_strangers(limits.mailbox_bytes));
        if full {
            return Err(PostRefused::MailboxFull);
        }
        Ok(())
    }
}

/// Bytes that lie in mailboxes, by the user who sent them. Users with none are not in it.
#[derive(Debug, Default)]
pub(super) struct Senders(pub(super) HashMap<Arc<str>, u64>);

impl Senders {
    /// Whether the user may send this much more.
    pub(super) fn admits(
        &self,
        user: &str,
        bytes: u64,
        limits: &MailLimits,
    ) -> Result<(), PostRefused> {
        let lying = self.0.get(user).copied().unwrap_or(0);
        if lying + bytes > limits.sender_bytes {
            return Err(PostRefused::SenderQuota);
        }
        Ok(())
    }

    pub(super) fn charge(&mut self, user: &Arc<str>, bytes: u64) {
        match self.0.get_mut(user) {
            Some(lying) => *lying += bytes,
            None => {
                self.0.insert(Arc::clone(user), bytes);
            }
        }
    }

    pub(super) fn credit(&mut self, user: &str, bytes: u64) {
        let Some(lying) = self.0.get_mut(user) else {
            return;
        };
        debug_assert!(*lying >= bytes, "more credited than charged");
        *lying = lying.saturating_sub(bytes);
        if *lying == 0 {
            self.0.remove(user);
        }
    }
}
