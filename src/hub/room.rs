//! What a room holds.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::engine::ConnId;
use super::table::Now;

/// A peer in a room.
pub(super) struct Peer {
    pub(super) id: String,
    pub(super) conn: ConnId,
    /// The user of the token it registered with; who may delete or replace it.
    pub(super) user: String,
    pub(super) role: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) connected_at: f64,
    /// What [`listed_bytes`] says of this peer, kept since it is asked for often.
    pub(super) listed_bytes: usize,
    /// Whether it wants to hear who comes and goes.
    pub(super) notices: bool,
    /// Peers whose offers were relayed to this one and are not answered yet, oldest first.
    pub(super) offers_from: Vec<String>,
}

/// Bytes a peer takes in a `peer_list` or `registered_auth` (where its id stands twice), at most.
pub(super) fn listed_bytes(id: &str, role: &str, metadata: &Map<String, Value>) -> usize {
    // An id's character is at most doubled by JSON's escapes, control characters being refused.
    json_bytes(metadata) + 4 * id.len() + 2 * role.len() + 128
}

/// The length of `metadata` as JSON.
pub(super) fn json_bytes(metadata: &Map<String, Value>) -> usize {
    serde_json::to_vec(metadata).map_or(usize::MAX / 4, |json| json.len())
}

/// A room, with its peers in the order of their registration.
pub(super) struct Room {
    /// The user who created it, and may remove it.
    pub(super) owner: String,
    pub(super) token: String,
    /// When it can no longer be entered, unless peers are in it.
    pub(super) expires: Instant,
    pub(super) admin: Option<String>,
    pub(super) peers: Vec<Peer>,
    /// The id that left an empty room last: its owner takes the room away with itself.
    pub(super) last_left: Option<String>,
    /// Its owner has left for good while others were in it: it goes with the last of them, unless the owner comes back.
    pub(super) abandoned: bool,
    /// Which users its peers are, or were when they last left; the oldest first.
    pub(super) known: Vec<(String, Arc<str>)>,
    /// Until when it lasts by what is written down of it, in seconds since 1970.
    pub(super) kept_until: f64,
}

impl Room {
    /// Whether the room can no longer be entered. Peers inside keep it open.
    pub(super) fn expired(&self, now: Now) -> bool {
        self.peers.is_empty() && now.at > self.expires
    }

    /// Whether its owner has left it for good, and everybody else too.
    pub(super) fn gone(&self) -> bool {
        self.abandoned && self.peers.is_empty()
    }

    /// The user that a peer is or was.
    pub(super) fn known_user(&self, peer: &str) -> Option<&str> {
        let found = self.known.iter().find(|(known, _)| known == peer);
        found.map(|(_, user)| &**user)
    }

    pub(super) fn peer(&self, id: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == id)
    }

    pub(super) fn peer_mut(&mut self, id: &str) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }

    /// Bytes that the peers take in a `peer_list`, at most, without the one named `except`.
    pub(super) fn listed_bytes(&self, except: &str) -> usize {
        let others = self.peers.iter().filter(|peer| peer.id != except);
        others.map(|peer| peer.listed_bytes).sum()
    }
}
