//! The one structure of rooms, peers and connections. It does no I/O and reads no clock: frames leave through each
//! connection's [`Outlet`], and the time comes in with every call. So it is tested without a socket.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::HubConfig;
use super::room::{Peer, Room};
use super::tokens::{self, Tokens};

/// How long a room that expired is still known as such.
const EXPIRED_ROOM_KNOWN: Duration = Duration::from_secs(60 * 60);

/// One WebSocket connection, for the hub's lifetime. Cleaning up goes by it and never by a peer's id, so that the end
/// of an old connection cannot remove its successor.
pub(super) type ConnId = u64;

/// The way out to one connection. Neither method waits.
pub(super) trait Outlet: Send {
    /// Queues a text frame. False when the queue is full or the connection is closing.
    fn send(&self, text: String) -> bool;
    /// Queues a close frame, after which nothing is sent any more.
    fn close(&self, code: u16, reason: &'static str);
}

/// A point in time: `at` for spans, `epoch` (seconds since 1970) for what peers are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) epoch: f64,
}

impl Now {
    /// The present.
    pub(super) fn read() -> Self {
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            at: Instant::now(),
            epoch: epoch.as_secs_f64(),
        }
    }
}

/// Where a connection is registered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seat {
    pub(super) room: String,
    pub(super) peer: String,
    pub(super) role: String,
}

struct Conn {
    outlet: Box<dyn Outlet>,
    seat: Option<Seat>,
    /// Since when it has no seat.
    idle_since: Instant,
}

/// Why no room was created.
#[derive(Debug, PartialEq)]
pub(super) enum RoomRefused {
    /// This user has as many as one may have.
    TooManyOfUser,
    /// The hub has as many as it holds.
    HubFull,
}

/// The figures of `/metrics`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    pub(super) active_rooms: usize,
    pub(super) active_connections: usize,
    pub(super) peers_by_role: BTreeMap<String, usize>,
    pub(super) total_connections: u64,
    pub(super) total_messages: u64,
    pub(super) rooms_created: u64,
}

/// What a deletion did, in the words of its answer.
pub(super) mod deleted {
    pub(in crate::hub) const ROOM_STAYS: &str = "peer deleted successfully. Room status: active";
    pub(in crate::hub) const ROOM_TOO: &str = "peer deleted successfully. Room status: deleted";
    pub(in crate::hub) const ALREADY_GONE: &str =
        "peer deleted from Cognito (already removed from room)";
    pub(in crate::hub) const REFUSED: &str =
        "peer not deleted: it is connected, and this needs its own token";
    pub(in crate::hub) const DONE: &str = "peer deleted successfully";
    pub(in crate::hub) const NO_PEER: &str = "peer not found";
    pub(in crate::hub) const NO_ROOM: &str = "room not found";
}

/// Rooms, peers and connections.
pub(super) struct Table {
    pub(super) config: Arc<HubConfig>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) rooms: HashMap<String, Room>,
    conns: HashMap<ConnId, Conn>,
    /// Every registered connection by its peer id. The same id may be in several rooms, under different users: were ids
    /// unique over all rooms, a stranger could occupy one from a room of his own.
    ids: HashMap<String, Vec<ConnId>>,
    last_conn: ConnId,
    pub(super) registrations: u64,
    pub(super) relayed: u64,
    rooms_created: u64,
}

impl Table {
    /// An empty table.
    pub(super) fn new(config: Arc<HubConfig>, tokens: Arc<Tokens>) -> Self {
        Table {
            config,
            tokens,
            rooms: HashMap::new(),
            conns: HashMap::new(),
            ids: HashMap::new(),
            last_conn: 0,
            registrations: 0,
            relayed: 0,
            rooms_created: 0,
        }
    }

    /// Adds a connection, not yet registered. None when the hub is full.
    pub(super) fn open(&mut self, outlet: Box<dyn Outlet>, now: Now) -> Option<ConnId> {
        if self.conns.len() >= self.config.limits.sockets {
            return None;
        }
        self.last_conn += 1;
        self.conns.insert(
            self.last_conn,
            Conn {
                outlet,
                seat: None,
                idle_since: now.at,
            },
        );
        Some(self.last_conn)
    }

    /// A connection ended.
    pub(super) fn gone(&mut self, conn: ConnId, now: Now) {
        self.leave(conn, now);
        self.conns.remove(&conn);
    }

    /// Whether no connection is left.
    pub(super) fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Where a connection is registered, if it is.
    pub(super) fn seat(&self, conn: ConnId) -> Option<&Seat> {
        self.conns.get(&conn)?.seat.as_ref()
    }

    /// Creates a room of `owner`; returns its id and token.
    pub(super) fn create_room(
        &mut self,
        owner: &str,
        now: Now,
    ) -> Result<(String, String), RoomRefused> {
        let limits = &self.config.limits;
        if self.rooms.len() >= limits.rooms {
            self.rooms.retain(|_, room| !room.expired(now));
        }
        if self.rooms.len() >= limits.rooms {
            return Err(RoomRefused::HubFull);
        }
        let owned = self
            .rooms
            .values()
            .filter(|room| room.owner == owner && !room.expired(now));
        if owned.count() >= limits.rooms_per_user {
            return Err(RoomRefused::TooManyOfUser);
        }
        let mut id = tokens::room_id();
        while self.rooms.contains_key(&id) {
            id = tokens::room_id();
        }
        let token = tokens::room_token();
        let room = Room {
            owner: owner.to_owned(),
            token: token.clone(),
            expires: now.at + self.config.room_lifetime,
            admin: None,
            peers: Vec::new(),
            last_left: None,
            abandoned: false,
        };
        self.rooms.insert(id.clone(), room);
        self.rooms_created += 1;
        Ok((id, token))
    }

    /// Seats a connection in an existing room. The caller has made sure that a peer of that id in the room is of the same
    /// user, or of this connection; it is replaced, and its place in the order kept.
    ///
    /// The newest connection of a peer wins: older ones of the same user and id are closed, in whatever room.
    pub(super) fn join(&mut self, room_id: &str, mut peer: Peer, now: Now) {
        let conn = peer.conn;
        let seat = Seat {
            room: room_id.to_owned(),
            peer: peer.id.clone(),
            role: peer.role.clone(),
        };
        if self
            .seat(conn)
            .is_some_and(|old| old.room != seat.room || old.peer != seat.peer)
        {
            self.leave(conn, now);
        }
        for (old, old_room) in self.connections_of(&peer.id, &peer.user) {
            if old == conn {
                continue;
            }
            tracing::info!(room = old_room, peer = ?peer.id, old, new = conn, "peer replaced by a newer connection");
            if old_room == room_id {
                self.unseat(old, now);
            } else {
                self.leave(old, now);
            }
            self.close(old, 4409, "replaced");
        }
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        tracing::info!(room = room_id, peer = ?peer.id, role = ?peer.role, conn, "peer joined");
        self.registrations += 1;
        entry.seat = Some(seat);
        let known = self.ids.entry(peer.id.clone()).or_default();
        if !known.contains(&conn) {
            known.push(conn);
        }
        let user = peer.user.clone();
        match room.peers.iter_mut().find(|old| old.id == peer.id) {
            Some(old) => {
                if old.conn == conn {
                    peer.offers_from = std::mem::take(&mut old.offers_from);
                }
                *old = peer;
            }
            None => room.peers.push(peer),
        }
        if user == room.owner {
            room.abandoned = false;
        }
    }

    /// The connections, with their rooms, on which `user` is registered as `id`.
    fn connections_of(&self, id: &str, user: &str) -> Vec<(ConnId, String)> {
        let conns = self.ids.get(id).into_iter().flatten();
        conns
            .filter_map(|conn| {
                let seat = self.seat(*conn)?;
                let peer = self.rooms.get(&seat.room)?.peer(id)?;
                (peer.user == user).then(|| (*conn, seat.room.clone()))
            })
            .collect()
    }

    /// Takes a connection's seat away; the entry in the room is the caller's business.
    fn unseat(&mut self, conn: ConnId, now: Now) -> Option<Seat> {
        let entry = self.conns.get_mut(&conn)?;
        let seat = entry.seat.take()?;
        entry.idle_since = now.at;
        if let Some(known) = self.ids.get_mut(&seat.peer) {
            known.retain(|known| *known != conn);
            if known.is_empty() {
                self.ids.remove(&seat.peer);
            }
        }
        Some(seat)
    }

    /// Takes a connection out of its room: the admin's seat becomes free, and the room's time begins anew when it is
    /// empty. The connection stays open.
    pub(super) fn leave(&mut self, conn: ConnId, now: Now) {
        let Some(seat) = self.unseat(conn, now) else {
            return;
        };
        tracing::info!(room = seat.room, peer = ?seat.peer, role = ?seat.role, conn, "peer left");
        let Some(room) = self.rooms.get_mut(&seat.room) else {
            return;
        };
        room.peers.retain(|peer| peer.conn != conn);
        for peer in &mut room.peers {
            peer.offers_from.retain(|from| *from != seat.peer);
        }
        if room.admin.as_ref() == Some(&seat.peer) {
            room.admin = None;
        }
        if room.peers.is_empty() {
            room.expires = room.expires.max(now.at + self.config.room_lifetime);
            room.last_left = Some(seat.peer);
        }
    }

    /// Queues a frame for a connection. False when it is larger than a peer may be sent, or the connection is gone; a
    /// connection that has too much waiting is cut off, so that it never holds up its senders.
    pub(super) fn deliver(&mut self, conn: ConnId, frame: &Value, now: Now) -> bool {
        let text = frame.to_string();
        // Numbers can grow when they are written anew, so what came in small enough may not be so any more.
        if text.len() > self.config.limits.message_bytes {
            return false;
        }
        let sent = self
            .conns
            .get(&conn)
            .is_some_and(|conn| conn.outlet.send(text));
        if !sent {
            if let Some(seat) = self.seat(conn) {
                tracing::warn!(room = seat.room, peer = ?seat.peer, role = ?seat.role, conn, "peer reads too slowly");
            }
            self.leave(conn, now);
            self.close(conn, 1011, "reads too slowly");
        }
        sent
    }

    fn close(&self, conn: ConnId, code: u16, reason: &'static str) {
        if let Some(conn) = self.conns.get(&conn) {
            conn.outlet.close(code, reason);
        }
    }

    /// `/delete-peer`: needs the peer's own token (`caller` is its user) while it is connected. The room goes too when
    /// the peer was its last one and the caller created it; while others are in it, it goes with the last of them.
    pub(super) fn delete_peer(&mut self, id: &str, caller: Option<&str>, now: Now) -> &'static str {
        let own = caller.map_or_else(Vec::new, |user| self.connections_of(id, user));
        if own.is_empty() && self.ids.contains_key(id) {
            return deleted::REFUSED;
        }
        for (conn, _) in &own {
            self.leave(*conn, now);
        }
        let before = self.rooms.len();
        for room in self
            .rooms
            .values_mut()
            .filter(|room| caller == Some(room.owner.as_str()))
        {
            room.abandoned = !room.peers.is_empty();
        }
        self.rooms.retain(|_, room| {
            let abandoned = room.peers.is_empty() && room.last_left.as_deref() == Some(id);
            !(abandoned && caller == Some(room.owner.as_str()))
        });
        match (own.is_empty(), self.rooms.len() < before) {
            (true, _) => deleted::ALREADY_GONE,
            (false, true) => deleted::ROOM_TOO,
            (false, false) => deleted::ROOM_STAYS,
        }
    }

    /// `/delete-peers-and-room` by a room's id: only its creator empties and removes it.
    pub(super) fn delete_room(&mut self, id: &str, caller: Option<&str>, now: Now) -> &'static str {
        let Some(room) = self.rooms.get(id) else {
            return deleted::NO_ROOM;
        };
        if caller != Some(room.owner.as_str()) {
            return deleted::REFUSED;
        }
        let conns: Vec<ConnId> = room.peers.iter().map(|peer| peer.conn).collect();
        for conn in conns {
            self.leave(conn, now);
        }
        self.rooms.remove(id);
        deleted::DONE
    }

    /// `/delete-peers-and-room` by a peer's id: the room's creator removes its room; anyone else just himself.
    pub(super) fn delete_room_of(
        &mut self,
        id: &str,
        caller: Option<&str>,
        now: Now,
    ) -> &'static str {
        let Some(conns) = self.ids.get(id) else {
            return deleted::NO_PEER;
        };
        let owned = conns
            .iter()
            .filter_map(|conn| self.seat(*conn))
            .find(|seat| {
                let room = self.rooms.get(&seat.room);
                room.is_some_and(|room| Some(room.owner.as_str()) == caller)
            });
        if let Some(room) = owned.map(|seat| seat.room.clone()) {
            return self.delete_room(&room, caller, now);
        }
        match self.delete_peer(id, caller, now) {
            deleted::REFUSED => deleted::REFUSED,
            _ => deleted::DONE,
        }
    }

    /// Closes connections that have been unregistered for too long, and forgets rooms some time after they expired
    /// (until then a peer that comes late is told so).
    pub(super) fn sweep(&mut self, now: Now) {
        let limit = self.config.limits.unregistered_time;
        for (id, conn) in &self.conns {
            if conn.seat.is_none() && now.at.saturating_duration_since(conn.idle_since) > limit {
                tracing::debug!(conn = id, "closing a connection that is not registered");
                conn.outlet.close(1000, "not registered");
            }
        }
        self.rooms.retain(|_, room| {
            !room.gone() && (!room.peers.is_empty() || now.at < room.expires + EXPIRED_ROOM_KNOWN)
        });
    }

    /// The hub stops: every peer leaves, and every connection is closed with 1001.
    pub(super) fn drain(&mut self, now: Now) {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.leave(conn, now);
            self.close(conn, 1001, "hub stops");
        }
    }

    /// The figures of `/metrics`.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            total_connections: self.registrations,
            total_messages: self.relayed,
            rooms_created: self.rooms_created,
            ..Snapshot::default()
        };
        for room in self.rooms.values().filter(|room| !room.peers.is_empty()) {
            snapshot.active_rooms += 1;
            snapshot.active_connections += room.peers.len();
            for peer in &room.peers {
                *snapshot.peers_by_role.entry(peer.role.clone()).or_default() += 1;
            }
        }
        snapshot
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
