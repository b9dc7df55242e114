//! The one table of connections, of both dialects: by id, by user, and by device.
//!
//! A connection is in it from before its peer sees the handshake answered until it is over for good; one of a device stays
//! a while after its socket is gone, so that it can be resumed. Whatever ends a connection, [`Connections::remove`] takes
//! it out by its id, once; so the end of an old one never harms its successor.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::engine::{ConnId, DeviceKey, Sink};
use super::limits::HubLimits;
use super::table::Seat;
use crate::wire::close::CloseCode;

/// The way to one connection. No method waits.
pub(super) trait Outlet: Send {
    /// Queues a text frame. False when it does not fit, or the connection is closing; it is ended then.
    fn send(&self, text: String) -> bool;
    /// Ends the connection, for this reason.
    fn close(&self, code: CloseCode);
    /// The way back for what becomes of mail; none where there is no socket.
    fn postman(&self) -> Option<Arc<dyn Sink>>;
    /// The peer has lost its registration; the socket stays.
    fn unseated(&self);
    /// The device has come back on another connection.
    fn resumed(&self);
}

/// What a connection has moved, for those who ask.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Meter {
    /// Counts a message that came in.
    pub(super) fn count(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// One connection.
pub(super) struct Entry {
    pub(super) outlet: Box<dyn Outlet>,
    /// The device, in the device dialect.
    pub(super) device: Option<DeviceKey>,
    /// It is let in only to be told by a close code why it is not.
    pub(super) turned_away: bool,
    /// The peer that it is registered as, in the signalling dialect.
    pub(super) seat: Option<Seat>,
    /// The socket is gone; the session can be resumed.
    pub(super) resumable: bool,
    /// When it was opened, in seconds since 1970.
    pub(super) opened: f64,
    /// Where it comes from.
    pub(super) from: Option<IpAddr>,
    /// What came in.
    pub(super) meter: Arc<Meter>,
}

impl Entry {
    /// The user behind it, once known.
    pub(super) fn user(&self) -> Option<&str> {
        let device = self.device.as_ref().map(|key| &*key.user);
        device.or_else(|| self.seat.as_ref().map(|seat| &*seat.user))
    }
}

/// Why a connection was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The hub holds as many as it may.
    Hard,
    /// The hub is nearly full, and lets in only those that it knows.
    Soft,
}

/// The table.
#[derive(Default)]
pub(super) struct Connections {
    entries: HashMap<ConnId, Entry>,
    /// The connections of each user, oldest first; none of them empty.
    users: HashMap<Arc<str>, Vec<ConnId>>,
    /// The newest connection of each device.
    devices: HashMap<DeviceKey, ConnId>,
    /// Connections with a socket.
    live: usize,
    last: ConnId,
}

impl Connections {
    /// Adds a connection. One of a device takes the place of an older one of the same device, and of the user's oldest
    /// when there are too many; both are closed before this returns.
    pub(super) fn open(&mut self, entry: Entry, limits: &HubLimits) -> Result<ConnId, Full> {
        if self.live >= limits.sockets {
            return Err(Full::Hard);
        }
        // A peer of the signalling dialect says who it is once it is in, and has a minute for it.
        let stranger = match &entry.device {
            Some(key) => !self.users.contains_key(&key.user),
            None => entry.turned_away,
        };
        if self.live >= limits.sockets_soft && stranger {
            return Err(Full::Soft);
        }
        self.last += 1;
        let conn = self.last;
        if let Some(key) = entry.device.clone() {
            if let Some(old) = self.devices.insert(key.clone(), conn) {
                self.supersede(old);
            }
            self.bound_user(&key.user, limits.connections_per_user);
            self.users.entry(key.user).or_default().push(conn);
        }
        self.live += 1;
        self.entries.insert(conn, entry);
        Ok(conn)
    }

    fn supersede(&mut self, old: ConnId) {
        let Some(entry) = self.entries.get(&old) else {
            return;
        };
        if entry.resumable {
            entry.outlet.resumed();
            self.remove(old);
        } else {
            tracing::info!(conn = old, device = ?entry.device, "replaced by a newer connection of the device");
            entry.outlet.close(CloseCode::Replaced);
            // It counts no more among the user's; its socket is closed within seconds.
            self.unlist(old);
        }
    }

    /// Closes the oldest connections of a user, until there is room for one more.
    fn bound_user(&mut self, user: &str, limit: usize) {
        loop {
            let mut live = self
                .of_user(user)
                .filter(|conn| {
                    self.get(*conn)
                        .is_some_and(|entry| entry.device.is_some() && !entry.resumable)
                })
                .peekable();
            let Some(oldest) = live.peek().copied() else {
                return;
            };
            if live.count() < limit.max(1) {
                return;
            }
            if let Some(entry) = self.entries.get(&oldest) {
                tracing::info!(conn = oldest, device = ?entry.device, "the user has too many connections");
                entry.outlet.close(CloseCode::ConnectionLimit);
            }
            self.unlist(oldest);
        }
    }

    /// Takes a connection out of the indexes by user and device.
    fn unlist(&mut self, conn: ConnId) {
        let Some(entry) = self.entries.get(&conn) else {
            return;
        };
        let users = [
            entry.device.as_ref().map(|key| Arc::clone(&key.user)),
            entry.seat.as_ref().map(|seat| Arc::clone(&seat.user)),
        ];
        if let Some(key) = &entry.device
            && self.devices.get(key) == Some(&conn)
        {
            self.devices.remove(key);
        }
        for user in users.into_iter().flatten() {
            if let Some(conns) = self.users.get_mut(&user) {
                conns.retain(|known| *known != conn);
                if conns.is_empty() {
                    self.users.remove(&user);
                }
            }
        }
    }

    /// The socket of a device's connection is gone, and the connection can be resumed.
    pub(super) fn park(&mut self, conn: ConnId) {
        if let Some(entry) = self.entries.get_mut(&conn)
            && !entry.resumable
        {
            entry.resumable = true;
            self.live -= 1;
        }
    }

    /// Takes a connection out, whatever ended it.
    pub(super) fn remove(&mut self, conn: ConnId) {
        self.unlist(conn);
        if let Some(entry) = self.entries.remove(&conn)
            && !entry.resumable
        {
            self.live -= 1;
        }
    }

    /// Sets or takes away what a connection is registered as; returns what it was.
    pub(super) fn seat(&mut self, conn: ConnId, seat: Option<Seat>) -> Option<Seat> {
        let entry = self.entries.get_mut(&conn)?;
        let user = seat.as_ref().map(|seat| Arc::clone(&seat.user));
        let old = std::mem::replace(&mut entry.seat, seat);
        if let Some(old) = &old
            && let Some(conns) = self.users.get_mut(&old.user)
        {
            conns.retain(|known| *known != conn);
            if conns.is_empty() {
                self.users.remove(&old.user);
            }
        }
        if let Some(user) = user {
            self.users.entry(user).or_default().push(conn);
        }
        old
    }

    /// One connection.
    pub(super) fn get(&self, conn: ConnId) -> Option<&Entry> {
        self.entries.get(&conn)
    }

    /// The connections of a user, oldest first.
    pub(super) fn of_user(&self, user: &str) -> impl Iterator<Item = ConnId> {
        self.users.get(user).into_iter().flatten().copied()
    }

    /// The newest connection of a device.
    #[cfg(test)]
    pub(super) fn of_device(&self, device: &DeviceKey) -> Option<ConnId> {
        self.devices.get(device).copied()
    }

    /// Every connection, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Entry)> {
        self.entries.iter().map(|(conn, entry)| (*conn, entry))
    }

    /// Connections with a socket.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Whether no trace is left of any connection.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.users.is_empty() && self.devices.is_empty()
    }
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
