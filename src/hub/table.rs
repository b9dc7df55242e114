//! Connections, rooms and the peers in them: one structure, under one lock. It does no I/O and reads no clock: frames leave
//! through each connection's [`Outlet`], and the time comes in with every call. So it is tested without a socket.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::HubConfig;
use super::connections::Connections;
use super::engine::{ConnId, Engine};
use super::guesses::Guesses;
use super::notices;
use super::prometheus::{Limit, Metrics};
use super::room::{Peer, Room};
use super::tokens;
use crate::wire::close::CloseCode;

/// How long a room that expired is still known as such.
const EXPIRED_ROOM_KNOWN: Duration = Duration::from_secs(60 * 60);

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
    /// The user of the token that it registered with.
    pub(super) user: Arc<str>,
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
    /// Rooms, with peers in them or not.
    pub(super) rooms: usize,
    /// Open sockets of the device dialect.
    pub(super) devices: usize,
    /// Open sockets of the signalling dialect.
    pub(super) signalling: usize,
    /// Connections without a socket that can be resumed.
    pub(super) resumable: usize,
}

/// Rooms, peers and connections.
pub(super) struct Table {
    pub(super) config: Arc<HubConfig>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) rooms: HashMap<String, Room>,
    pub(super) connections: Connections,
    /// Every registered connection by its peer id. The same id may be in several rooms, under different users: were ids
    /// unique over all rooms, a stranger could occupy one from a room of his own.
    pub(super) ids: HashMap<String, Vec<ConnId>>,
    pub(super) registrations: u64,
    pub(super) relayed: u64,
    rooms_created: u64,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) guesses: Guesses,
}

impl Table {
    /// An empty table.
    pub(super) fn new(
        config: Arc<HubConfig>,
        metrics: Arc<Metrics>,
        engine: Arc<dyn Engine>,
    ) -> Self {
        Table {
            guesses: Guesses::new(config.limits.guesses_per_minute),
            config,
            metrics,
            rooms: HashMap::new(),
            connections: Connections::default(),
            ids: HashMap::new(),
            registrations: 0,
            relayed: 0,
            rooms_created: 0,
            engine,
        }
    }

    /// A connection is over for good.
    pub(super) fn gone(&mut self, conn: ConnId, now: Now) {
        self.leave(conn, now);
        self.connections.remove(conn);
    }

    /// Where a connection is registered, if it is.
    pub(super) fn seat(&self, conn: ConnId) -> Option<&Seat> {
        self.connections.get(conn)?.seat.as_ref()
    }

    /// Creates a room of `owner`; returns its id and token.
    pub(super) fn create_room(
        &mut self,
        owner: &str,
        now: Now,
    ) -> Result<(String, String), RoomRefused> {
        let limits = &self.config.limits;
        if self.rooms.len() >= limits.rooms {
            self.forget_rooms(|room| room.expired(now));
        }
        let limits = &self.config.limits;
        if self.rooms.len() >= limits.rooms {
            self.metrics.refused(Limit::Rooms);
            return Err(RoomRefused::HubFull);
        }
        let owned = self
            .rooms
            .values()
            .filter(|room| room.owner == owner && !room.expired(now));
        if owned.count() >= limits.rooms_per_user {
            self.metrics.refused(Limit::RoomsPerUser);
            return Err(RoomRefused::TooManyOfUser);
        }
        let mut id = tokens::room_id();
        while self.rooms.contains_key(&id) {
            id = tokens::room_id();
        }
        let token = tokens::room_token(self.config.classic_room_tokens);
        let room = Room {
            owner: owner.to_owned(),
            token: token.clone(),
            expires: now.at + self.config.room_lifetime,
            admin: None,
            peers: Vec::new(),
            last_left: None,
            abandoned: false,
            known: Vec::new(),
            kept_until: 0.0,
        };
        self.rooms.insert(id.clone(), room);
        self.keep(&id, now);
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
            user: peer.user.as_str().into(),
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
                self.unseat(old);
            } else {
                self.leave(old, now);
            }
            self.close(old, CloseCode::Replaced);
        }
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        if self.connections.get(conn).is_none() {
            return;
        }
        tracing::info!(room = room_id, peer = ?peer.id, role = ?peer.role, conn, "peer joined");
        self.registrations += 1;
        self.connections.seat(conn, Some(seat));
        let known = self.ids.entry(peer.id.clone()).or_default();
        if !known.contains(&conn) {
            known.push(conn);
        }
        let user = peer.user.clone();
        let (id, news) = (peer.id.clone(), notices::joined(room_id, &peer));
        let is_new = room.peer(&id).is_none();
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
        self.remember(room_id, &id, &user, now);
        if is_new {
            self.announce(room_id, &id, &news, now);
        }
    }

    /// The connections, with their rooms, on which `user` is registered as `id`.
    pub(super) fn connections_of(&self, id: &str, user: &str) -> Vec<(ConnId, String)> {
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
    fn unseat(&mut self, conn: ConnId) -> Option<Seat> {
        let seat = self.connections.seat(conn, None)?;
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
        let Some(seat) = self.unseat(conn) else {
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
        let emptied = room.peers.is_empty();
        if emptied {
            room.expires = room.expires.max(now.at + self.config.room_lifetime);
            room.last_left = Some(seat.peer.clone());
        }
        if emptied {
            self.keep(&seat.room, now);
        } else {
            self.announce(&seat.room, &seat.peer, &notices::left(&seat), now);
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
            .connections
            .get(conn)
            .is_some_and(|conn| conn.outlet.send(text));
        if !sent {
            if let Some(seat) = self.seat(conn) {
                tracing::warn!(room = seat.room, peer = ?seat.peer, role = ?seat.role, conn, "peer reads too slowly");
            }
            self.leave(conn, now);
            self.close(conn, CloseCode::SlowReaderClassic);
        }
        sent
    }

    fn close(&self, conn: ConnId, code: CloseCode) {
        if let Some(conn) = self.connections.get(conn) {
            conn.outlet.close(code);
        }
    }

    /// Takes a connection out of its room from outside; it is told, since it may register again.
    pub(super) fn expel(&mut self, conn: ConnId, now: Now) {
        self.leave(conn, now);
        if let Some(conn) = self.connections.get(conn) {
            conn.outlet.unseated();
        }
    }

    /// Forgets rooms some time after they expired (until then a peer that comes late is told so).
    pub(super) fn sweep(&mut self, now: Now) {
        self.forget_rooms(|room| {
            room.gone() || (room.peers.is_empty() && now.at >= room.expires + EXPIRED_ROOM_KNOWN)
        });
        self.keep_occupied(now);
    }

    /// The hub stops: every peer leaves, and every connection is closed with what its dialect says for that.
    pub(super) fn drain(&mut self, now: Now) {
        let conns: Vec<(ConnId, bool)> = self
            .connections
            .iter()
            .map(|(conn, entry)| (conn, entry.device.is_some()))
            .collect();
        // All go, and most come back to the hub's next life: that is no news of anybody.
        for peer in self.rooms.values_mut().flat_map(|room| &mut room.peers) {
            peer.notices = false;
        }
        for (conn, device) in conns {
            self.leave(conn, now);
            let code = if device {
                CloseCode::GoingAway
            } else {
                CloseCode::HubStops
            };
            self.close(conn, code);
        }
    }

    /// The figures of `/metrics`.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            total_connections: self.registrations,
            total_messages: self.relayed,
            rooms_created: self.rooms_created,
            rooms: self.rooms.len(),
            ..Snapshot::default()
        };
        for (_, entry) in self.connections.iter() {
            match (entry.resumable, &entry.device) {
                (true, _) => snapshot.resumable += 1,
                (false, Some(_)) => snapshot.devices += 1,
                (false, None) => snapshot.signalling += 1,
            }
        }
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
