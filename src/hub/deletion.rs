//! What the deletions over HTTP do (signalling-server.md, 1a): only to one's own peers and rooms.

use super::engine::ConnId;
use super::table::{Now, Table};

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

impl Table {
    /// `/delete-peer`: needs the peer's own token (`caller` is its user) while it is connected. The room goes too when
    /// the peer was its last one and the caller created it; while others are in it, it goes with the last of them.
    pub(super) fn delete_peer(&mut self, id: &str, caller: Option<&str>, now: Now) -> &'static str {
        let own = caller.map_or_else(Vec::new, |user| self.connections_of(id, user));
        if own.is_empty() && self.ids.contains_key(id) {
            return deleted::REFUSED;
        }
        for (conn, _) in &own {
            self.expel(*conn, now);
        }
        let before = self.rooms.len();
        for room in self
            .rooms
            .values_mut()
            .filter(|room| caller == Some(room.owner.as_str()))
        {
            room.abandoned = !room.peers.is_empty();
        }
        self.forget_rooms(|room| {
            let abandoned = room.peers.is_empty() && room.last_left.as_deref() == Some(id);
            abandoned && caller == Some(room.owner.as_str())
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
            self.expel(conn, now);
        }
        self.rooms.remove(id);
        self.engine.forget_room(id);
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
}
