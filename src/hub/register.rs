//! The `register` frame (signalling-server.md, 2a).

use serde_json::{Map, Value, json};

use super::engine::ConnId;
use super::frames::{filled, truthy};
use super::metadata;
use super::prometheus::Limit;
use super::room::{Peer, json_bytes, listed_bytes};
use super::table::{Now, Table};
use super::tokens::same_secret;

/// Characters of a peer id, at most. Real ones are UUIDs.
const ID_CHARS: usize = 128;
/// Characters of a role, at most.
const ROLE_CHARS: usize = 32;
/// Bytes kept free in a frame that lists a room's peers, for what surrounds the list.
const FRAME_MARGIN: usize = 16 << 10;

impl Table {
    /// Registers a connection as a peer of a room, or says why not. A refused attempt changes nothing: neither for the
    /// peer that it names nor for what the connection was registered as before.
    pub(super) fn register(
        &mut self,
        conn: ConnId,
        frame: &Map<String, Value>,
        user: Option<&str>,
        now: Now,
    ) {
        match self.admit(conn, frame, user, now) {
            Err(refusal) => {
                tracing::debug!(conn, %refusal, "registration refused");
                self.deliver(conn, &refusal, now);
            }
            Ok((room_id, peer)) => {
                let id = peer.id.clone();
                self.join(&room_id, peer, now);
                self.greet(
                    conn,
                    &room_id,
                    &id,
                    frame.get("is_admin").is_some_and(truthy),
                    now,
                );
            }
        }
    }

    /// The checks, in the original's order; then our own.
    fn admit(
        &mut self,
        conn: ConnId,
        frame: &Map<String, Value>,
        user: Option<&str>,
        now: Now,
    ) -> Result<(String, Peer), Value> {
        let field = |name| filled(frame, name);
        let (Some(id), Some(room_id), Some(token), Some(_)) = (
            field("peer_id"),
            field("room_id"),
            field("token"),
            field("id_token"),
        ) else {
            return Err(refused("Missing required fields during registration."));
        };
        let Some(user) = user.map(str::to_owned) else {
            // This one refusal has no `type`, as in the original.
            return Err(json!({"error": "Invalid token"}));
        };
        let Some(room) = self.rooms.get(room_id).filter(|room| !room.gone()) else {
            return Err(refused("Room not found"));
        };
        let from = self.connections.get(conn).and_then(|entry| entry.from);
        if self.guesses.is_spent(room_id, from, now.at) {
            self.metrics.refused(Limit::TokenGuesses);
            return Err(refused("Too many wrong tokens; wait a minute"));
        }
        if !same_secret(room.token.as_bytes(), token.as_bytes()) {
            self.guesses.count(room_id, from, now.at);
            return Err(refused("Invalid token"));
        }
        if room.expired(now) {
            return Err(refused("Room expired"));
        }

        if id.chars().count() > ID_CHARS || id.chars().any(char::is_control) {
            return Err(refused("Invalid peer id"));
        }
        let role = frame
            .get("role")
            .and_then(Value::as_str)
            .filter(|role| !role.is_empty())
            .unwrap_or("peer");
        if role.chars().count() > ROLE_CHARS || role.chars().any(char::is_control) {
            return Err(refused("Invalid role"));
        }
        if room
            .peer(id)
            .is_some_and(|known| known.conn != conn && known.user != user)
        {
            return Err(refused("Peer id in use"));
        }
        let metadata = match frame.get("metadata") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(given)) => metadata::merge(&Map::new(), given).map_err(refused)?,
            Some(_) => return Err(refused("metadata must be an object")),
        };
        // An entry that this one takes over, or leaves behind, does not count.
        let others = room
            .peers
            .iter()
            .filter(|peer| peer.id != id && peer.conn != conn);
        if others.count() >= self.config.limits.peers_per_room {
            self.metrics.refused(Limit::PeersPerRoom);
            return Err(refused("Room full"));
        }
        let listed_bytes = self
            .check_size(room_id, id, role, &metadata)
            .map_err(refused)?;
        let peer = Peer {
            id: id.to_owned(),
            conn,
            user,
            role: role.to_owned(),
            metadata,
            connected_at: now.epoch,
            listed_bytes,
            notices: frame.get("notices").is_some_and(truthy),
            offers_from: Vec::new(),
        };
        Ok((room_id.to_owned(), peer))
    }

    /// Whether a peer's metadata is small enough: by itself, and so that the list of the room's peers still fits into
    /// one frame that every peer accepts. Returns its own share of that list.
    pub(super) fn check_size(
        &self,
        room: &str,
        id: &str,
        role: &str,
        metadata: &Map<String, Value>,
    ) -> Result<usize, &'static str> {
        let limits = &self.config.limits;
        if json_bytes(metadata) > limits.metadata_bytes {
            self.metrics.refused(Limit::MetadataSize);
            return Err("metadata too large");
        }
        let others = self.rooms.get(room).map_or(0, |room| room.listed_bytes(id));
        let own = listed_bytes(id, role, metadata);
        if others + own + FRAME_MARGIN > limits.message_bytes {
            self.metrics.refused(Limit::MetadataSize);
            return Err("the metadata of this room's peers is too large together");
        }
        Ok(own)
    }

    /// Settles the admin's seat and answers `registered_auth`, after an `admin_conflict` if there is one.
    fn greet(&mut self, conn: ConnId, room_id: &str, id: &str, wants_admin: bool, now: Now) {
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        if wants_admin && room.admin.is_none() {
            room.admin = Some(id.to_owned());
        }
        let others: Vec<&Peer> = room.peers.iter().filter(|peer| peer.id != id).collect();
        let peer_list: Vec<&str> = others.iter().map(|peer| peer.id.as_str()).collect();
        let peer_metadata: Map<String, Value> = others
            .iter()
            .map(|peer| (peer.id.clone(), Value::Object(peer.metadata.clone())))
            .collect();
        let conflict = room.admin.as_ref().filter(|admin| wants_admin && *admin != id).map(|admin| {
            json!({"type": "admin_conflict", "room_id": room_id, "current_admin": admin})
        });
        let registered = json!({
            "type": "registered_auth",
            "room_id": room_id,
            "token": room.token,
            "peer_id": id,
            "admin_peer_id": room.admin,
            "peer_list": peer_list,
            "peer_metadata": peer_metadata,
            "ice_servers": self.config.ice.for_peer(id, now.epoch as u64),
            "mesh_ice_servers": self.config.mesh_ice_servers,
        });
        // The conflict comes first: a Python worker that hears of one later hangs up.
        if let Some(conflict) = conflict {
            self.deliver(conn, &conflict, now);
        }
        self.deliver(conn, &registered, now);
    }
}

/// A refused registration: it has a `reason` where other errors have a code and a message.
fn refused(reason: &str) -> Value {
    json!({"type": "error", "reason": reason})
}
