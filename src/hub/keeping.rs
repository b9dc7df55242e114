//! Rooms over a restart of the hub: what is written down of them, and when.

use std::sync::Arc;
use std::time::Duration;

use super::engine::RoomRecord;
use super::room::Room;
use super::table::{Now, Table};
use super::tokens;

/// Peers of a room whose users are remembered after they left, at most; as many as the store keeps.
const KNOWN: usize = 1024;

impl Table {
    /// Takes in the rooms of the hub's earlier life, and which users their peers were.
    pub(super) fn restore(
        &mut self,
        rooms: Vec<RoomRecord>,
        peers: Vec<(String, String, String)>,
        now: Now,
    ) {
        for record in rooms {
            if tokens::is_short(&record.token) && !self.config.classic_room_tokens {
                tracing::warn!(
                    room = record.id,
                    "a room with a token of the classic short form is not taken up; allow such tokens, or make the room anew"
                );
                continue;
            }
            let left = Duration::try_from_secs_f64(record.expires_at - now.epoch);
            // By a clock that was set back meanwhile it would last too long.
            let left = left.unwrap_or_default().min(self.config.room_lifetime);
            let room = Room {
                owner: record.owner,
                token: record.token,
                // One that has expired is still known as such for a while.
                expires: now.at + left,
                admin: None,
                peers: Vec::new(),
                last_left: None,
                abandoned: false,
                known: Vec::new(),
                kept_until: record.expires_at,
            };
            self.rooms.insert(record.id, room);
        }
        for (room, peer, user) in peers {
            if let Some(room) = self.rooms.get_mut(&room) {
                room.known.push((peer, user.into()));
            }
        }
    }

    /// Writes a room down, to be entered until its present end, or for one more lifetime while peers are in it.
    pub(super) fn keep(&mut self, id: &str, now: Now) {
        let lifetime = self.config.room_lifetime;
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let left = room.expires.saturating_duration_since(now.at);
        let left = if room.peers.is_empty() {
            left
        } else {
            left.max(lifetime)
        };
        room.kept_until = now.epoch + left.as_secs_f64();
        self.engine.save_room(RoomRecord {
            id: id.to_owned(),
            owner: room.owner.clone(),
            token: room.token.clone(),
            expires_at: room.kept_until,
        });
    }

    /// Rooms with peers in them do not expire; what is written down must not lag behind.
    pub(super) fn keep_occupied(&mut self, now: Now) {
        let soon = now.epoch + self.config.room_lifetime.as_secs_f64() / 2.0;
        let due: Vec<String> = self
            .rooms
            .iter()
            .filter(|(_, room)| !room.peers.is_empty() && room.kept_until < soon)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            self.keep(&id, now);
        }
    }

    /// Forgets the rooms of which this is true, for good.
    pub(super) fn forget_rooms(&mut self, mut done: impl FnMut(&Room) -> bool) {
        let engine = Arc::clone(&self.engine);
        self.rooms.retain(|id, room| {
            let done = done(room);
            if done {
                engine.forget_room(id);
            }
            !done
        });
    }

    /// Remembers which user a peer is, so that it can be written to when it has left.
    pub(super) fn remember(&mut self, room_id: &str, peer: &str, user: &str, now: Now) {
        let Some(room) = self.rooms.get_mut(room_id) else {
            return;
        };
        if room.known_user(peer) == Some(user) {
            return;
        }
        room.known.retain(|(known, _)| known != peer);
        if room.known.len() >= KNOWN {
            room.known.remove(0);
        }
        room.known.push((peer.to_owned(), user.into()));
        self.engine.save_peer(room_id, peer, user);
        self.keep(room_id, now);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::super::HubConfig;
    use super::super::engine::tests::Nowhere;
    use super::*;

    /// The clock was set while the hub was away: a room lasts no longer than a new one would, and one that is over by the clock
    /// is over.
    #[test]
    fn a_room_of_before_lasts_no_longer_than_a_new_one() {
        let config = Arc::new(HubConfig::default());
        let lifetime = config.room_lifetime;
        let mut table = Table::new(config, Arc::default(), Arc::new(Nowhere));
        let now = Now {
            at: Instant::now(),
            epoch: 1e9,
        };
        let ends = [1e9 + 60.0, 1e9 + 3.2e8, f64::MAX, 1e9 - 3.2e8, f64::NAN];
        let rooms = ends.iter().enumerate().map(|(number, end)| RoomRecord {
            id: number.to_string(),
            owner: "ann".into(),
            token: "t".repeat(32),
            expires_at: *end,
        });
        table.restore(rooms.collect(), Vec::new(), now);
        let left = |number: usize| table.rooms[&number.to_string()].expires - now.at;
        let none = Duration::ZERO;
        assert_eq!([0, 1].map(left), [Duration::from_secs(60), lifetime]);
        assert_eq!([2, 3, 4].map(left), [none; 3]);
    }
}
