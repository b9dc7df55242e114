//! Bounds of the mail engine.

use std::time::Duration;

/// Bounds on what mailboxes, windows and senders may hold. The defaults leave real devices far from every bound.
#[derive(Debug, Clone)]
pub struct MailLimits {
    /// Letters that a device may have been given and not acknowledged (1024). More wait in the store.
    pub window_letters: usize,
    /// Their bytes (1 MiB); a single larger letter is given alone.
    pub window_bytes: usize,
    /// Bytes of all letters that are in memory only (256 MiB). Beyond it letters go through the store.
    pub memory_bytes: u64,
    /// Bytes of letters that the store has not yet written (256 MiB). Beyond it posts are refused.
    pub writing_bytes: u64,
    /// How long a device may take to acknowledge a letter before it is stored (10 s).
    pub ack_timeout: Duration,
    /// Letters that are read from the store at a time (256).
    pub page_letters: usize,
    /// Their bytes (512 KiB).
    pub page_bytes: usize,
    /// Letters in one mailbox (10 000); the last quarter, of these and of their bytes, is for letters of the same user.
    pub mailbox_letters: u64,
    /// Their bytes (64 MiB).
    pub mailbox_bytes: u64,
    /// Bytes that one user may have lying in mailboxes as their sender (64 MiB).
    pub sender_bytes: u64,
    /// Bytes of all mailboxes in the store (4 GiB).
    pub store_bytes: u64,
    /// Posts of one device that wait for their receipt, and receipts kept for it while it is away (4096).
    pub unconfirmed: usize,
    /// Devices of one user that can be addressed (32). One that connects is let in above it.
    pub devices_per_user: usize,
    /// Mailboxes at a time (1 000 000). Beyond it, names that were never seen get none.
    pub mailboxes: usize,
    /// Client message ids remembered of one sending device (4096).
    pub repeats: usize,
    /// Client message ids remembered of all together (4 000 000). Beyond it each device keeps a few only.
    pub repeats_together: usize,
    /// How long they are remembered after the device's last message, at least (10 min).
    pub repeat_time: Duration,
    /// How long a letter is kept (30 days).
    pub retention: Duration,
    /// How long a device without letters is known after it was last seen (90 days).
    pub device_time: Duration,
}

impl Default for MailLimits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        MailLimits {
            window_letters: 1024,
            window_bytes: 1 << 20,
            memory_bytes: 256 << 20,
            writing_bytes: 256 << 20,
            ack_timeout: Duration::from_secs(10),
            page_letters: 256,
            page_bytes: 512 << 10,
            mailbox_letters: 10_000,
            mailbox_bytes: 64 << 20,
            sender_bytes: 64 << 20,
            store_bytes: 4 << 30,
            unconfirmed: 4096,
            devices_per_user: 32,
            mailboxes: 1_000_000,
            repeats: 4096,
            repeats_together: 4_000_000,
            repeat_time: Duration::from_secs(600),
            retention: 30 * DAY,
            device_time: 90 * DAY,
        }
    }
}
