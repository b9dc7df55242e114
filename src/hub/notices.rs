//! Who comes and who goes: told to the peers that asked for it when they registered (`"notices": true`). The original tells
//! nobody, so peers that did not ask hear nothing.

use serde_json::{Value, json};

use super::room::Peer;
use super::table::{Now, Seat, Table};

/// A peer has come.
pub(super) fn joined(room: &str, peer: &Peer) -> Value {
    json!({"type": "peer_joined", "room_id": room, "peer_id": peer.id, "role": peer.role,
        "metadata": peer.metadata})
}

/// A peer has gone.
pub(super) fn left(seat: &Seat) -> Value {
    json!({"type": "peer_left", "room_id": seat.room, "peer_id": seat.peer, "role": seat.role})
}

impl Table {
    /// Tells those of a room who asked for notices, except the peer that the notice is of.
    pub(super) fn announce(&mut self, room: &str, of: &str, news: &Value, now: Now) {
        let Some(room) = self.rooms.get(room) else {
            return;
        };
        let curious: Vec<_> = room
            .peers
            .iter()
            .filter(|peer| peer.notices && peer.id != of)
            .map(|peer| peer.conn)
            .collect();
        for conn in curious {
            self.deliver(conn, news, now);
        }
    }
}
