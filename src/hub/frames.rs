//! What each frame of a peer does (signalling-server.md, 2b).
//!
//! A connection speaks only as the peer that it is registered as. Frames that name another sender are refused, and what
//! is relayed carries the identity from the table.

use serde_json::{Map, Value, json};

use super::engine::ConnId;
use super::filter::Filters;
use super::mesh::{ICE_CANDIDATE, MESH_ANSWER, MESH_CONNECT};
use super::metadata;
use super::table::{Now, Seat, Table};

/// Offers remembered per peer as not yet answered, at most; the oldest is forgotten first.
const OFFERS: usize = 32;
/// Characters of a peer's own words that are repeated in an error, at most.
const QUOTED_CHARS: usize = 128;

/// One message of a peer, as far as it could be read.
#[derive(Debug)]
pub(super) enum Frame {
    /// A JSON object, and the bytes that it took.
    Object(Map<String, Value>, usize),
    /// Some other JSON value.
    NotAnObject,
    /// No JSON.
    NotJson,
}

impl Frame {
    /// Reads a message. Nesting is bounded by the parser (128), size by the caller.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Frame::Object(object, bytes.len()),
            Ok(_) => Frame::NotAnObject,
            Err(_) => Frame::NotJson,
        }
    }
}

impl Frame {
    /// The id token of a registration, if it is one and has one.
    pub(super) fn id_token(&self) -> Option<&str> {
        match self {
            Frame::Object(object, _) => {
                let register = object.get("type").and_then(Value::as_str) == Some("register");
                filled(object, "id_token").filter(|_| register)
            }
            _ => None,
        }
    }
}

/// A refusal, or its absence. The value is the error frame for the sender.
pub(super) type Outcome = Result<(), Value>;

impl Table {
    /// Handles one frame; `user` is whose the id token in it is, if there is a good one. Every answer and relayed frame is
    /// queued when this returns. False when the frame made no sense.
    pub(super) fn frame(
        &mut self,
        conn: ConnId,
        frame: Frame,
        user: Option<&str>,
        now: Now,
    ) -> bool {
        let (object, bytes) = match frame {
            Frame::Object(object, bytes) => (object, bytes),
            Frame::NotAnObject => {
                let refusal = error("INVALID_MESSAGE", "Message must be a JSON object");
                self.reply(conn, refusal, now);
                return false;
            }
            Frame::NotJson => {
                self.reply(conn, error("INVALID_JSON", "Invalid JSON format"), now);
                return false;
            }
        };
        let kind = object
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let outcome = match kind.as_str() {
            "register" => {
                self.register(conn, &object, user, now);
                return true;
            }
            "discover_peers" => self.discover(conn, &object, bytes, now),
            "update_metadata" => self.update_metadata(conn, &object, now),
            "peer_message" => self.peer_message(conn, object, now),
            "mail" => self.mail(conn, &object),
            "offer" | "answer" | "candidate" => self.relay(conn, &kind, object, now),
            "mesh_connect" => self.mesh(conn, object, &MESH_CONNECT, now),
            "mesh_answer" => self.mesh(conn, object, &MESH_ANSWER, now),
            "ice_candidate" => self.mesh(conn, object, &ICE_CANDIDATE, now),
            "error" if object.contains_key("target") => {
                self.relay_error(conn, object, now);
                Ok(())
            }
            // The answer to our own JSON ping.
            "pong" if self.config.json_ping => Ok(()),
            _ => Err(unknown(object.get("type"))),
        };
        if let Err(refusal) = outcome {
            tracing::debug!(conn, kind = ?quoted(&kind), %refusal, "frame refused");
            self.reply(conn, refusal, now);
        }
        true
    }

    fn reply(&mut self, conn: ConnId, frame: Value, now: Now) {
        self.deliver(conn, &frame, now);
    }

    /// The seat of a connection that speaks as `claimed`, which must be its own id. `absent` words the error as
    /// the original does, which knows no owner of an id and so only says that nobody of that id is there.
    pub(super) fn speaker(
        &self,
        conn: ConnId,
        claimed: Option<&str>,
        absent: &str,
    ) -> Result<Seat, Value> {
        let Some(seat) = self.seat(conn) else {
            return Err(error("NOT_IN_ROOM", absent));
        };
        let Some(claimed) = claimed else {
            return Err(error("NOT_IN_ROOM", absent));
        };
        if claimed == seat.peer {
            return Ok(seat.clone());
        }
        let there = self
            .rooms
            .get(&seat.room)
            .is_some_and(|room| room.peer(claimed).is_some());
        Err(if there {
            let message = format!(
                "This connection is registered as another peer than {}",
                quoted(claimed)
            );
            error("NOT_IN_ROOM", &message)
        } else {
            error("NOT_IN_ROOM", absent)
        })
    }

    fn discover(
        &mut self,
        conn: ConnId,
        frame: &Map<String, Value>,
        bytes: usize,
        now: Now,
    ) -> Outcome {
        let seat = self.speaker(
            conn,
            filled(frame, "from_peer_id"),
            "Peer not registered in any room",
        )?;
        if bytes > self.config.limits.query_bytes {
            return Err(error("INVALID_MESSAGE", "filters too large"));
        }
        let filters =
            Filters::parse(frame.get("filters")).map_err(|what| error("INVALID_MESSAGE", what))?;
        let Some(room) = self.rooms.get(&seat.room) else {
            return Err(error("ROOM_NOT_FOUND", "Room not found"));
        };
        let found: Vec<Value> = room
            .peers
            .iter()
            .filter(|peer| peer.id != seat.peer && filters.matches(&peer.role, &peer.metadata))
            .map(|peer| {
                json!({"peer_id": peer.id, "role": peer.role, "metadata": peer.metadata, "connected_at": peer.connected_at})
            })
            .collect();
        let list = json!({"type": "peer_list", "to_peer_id": seat.peer, "count": found.len(), "peers": found});
        self.reply(conn, list, now);
        Ok(())
    }

    fn update_metadata(&mut self, conn: ConnId, frame: &Map<String, Value>, now: Now) -> Outcome {
        let (Some(id), Some(update)) = (
            filled(frame, "peer_id"),
            frame.get("metadata").filter(|value| truthy(value)),
        ) else {
            return Err(error(
                "INVALID_MESSAGE",
                "Missing required fields: peer_id, metadata",
            ));
        };
        let seat = self.speaker(conn, Some(id), "Peer not in any room")?;
        let Value::Object(update) = update else {
            return Err(error("INVALID_MESSAGE", "metadata must be an object"));
        };
        let invalid = |what: &str| error("INVALID_MESSAGE", what);
        let old = self
            .rooms
            .get(&seat.room)
            .and_then(|room| room.peer(&seat.peer));
        let Some(old) = old else {
            return Err(error("NOT_IN_ROOM", "Peer not in any room"));
        };
        let merged = metadata::merge(&old.metadata, update).map_err(invalid)?;
        let listed_bytes = self
            .check_size(&seat.room, &seat.peer, &seat.role, &merged)
            .map_err(invalid)?;
        let reply = json!({"type": "metadata_updated", "peer_id": seat.peer, "metadata": merged});
        if let Some(peer) = self
            .rooms
            .get_mut(&seat.room)
            .and_then(|room| room.peer_mut(&seat.peer))
        {
            peer.metadata = merged;
            peer.listed_bytes = listed_bytes;
        }
        self.reply(conn, reply, now);
        Ok(())
    }

    fn peer_message(&mut self, conn: ConnId, mut frame: Map<String, Value>, now: Now) -> Outcome {
        let fields = (filled(&frame, "from_peer_id"), filled(&frame, "to_peer_id"));
        let ((Some(from), Some(to)), true) = (fields, frame.get("payload").is_some_and(truthy))
        else {
            return Err(error(
                "INVALID_MESSAGE",
                "Missing required fields: from_peer_id, to_peer_id, payload",
            ));
        };
        let seat = self.speaker(conn, Some(from), "Sender not in any room")?;
        let to = to.to_owned();
        let Some(target) = self.target(&seat, &to) else {
            return Err(error(
                "PEER_NOT_IN_ROOM",
                &format!("Target peer {} not in same room", quoted(&to)),
            ));
        };
        let payload = frame.remove("payload").unwrap_or_default();
        let mut message = json!({"type": "peer_message", "from_peer_id": seat.peer, "to_peer_id": to, "payload": payload});
        if let Some(user) = self.user_of(&seat, &to) {
            message["from_user"] = user;
        }
        if self.pass_on(&seat, &to, target, &message, now) {
            return Ok(());
        }
        Err(error(
            "DELIVERY_FAILED",
            &format!("Failed to deliver message to {}", quoted(&to)),
        ))
    }

    /// `offer`, `answer` and `candidate`: passed on as they are. Failures are silent, as in the original, whose workers
    /// end at an error frame that they did not ask for; only a client learns that its offer went nowhere.
    fn relay(
        &mut self,
        conn: ConnId,
        kind: &str,
        mut frame: Map<String, Value>,
        now: Now,
    ) -> Outcome {
        let Some(seat) = self.seat(conn).cloned() else {
            return Ok(());
        };
        let (Some(sender), Some(target_id)) = (filled(&frame, "sender"), filled(&frame, "target"))
        else {
            tracing::debug!(room = seat.room, peer = ?seat.peer, role = ?seat.role, kind, "no sender or target");
            return Ok(());
        };
        let to_client = |refusal| {
            if seat.role == "client" {
                Err(refusal)
            } else {
                Ok(())
            }
        };
        if sender != seat.peer {
            tracing::warn!(room = seat.room, peer = ?seat.peer, role = ?seat.role, kind, "another peer named as sender");
            let known = self
                .rooms
                .get(&seat.room)
                .is_some_and(|room| room.peer(sender).is_some());
            let message = format!(
                "This connection is registered as another peer than {}",
                quoted(sender)
            );
            // A sender that nobody is gets silence, as ever.
            return if known && seat.role != "worker" {
                Err(error("NOT_IN_ROOM", &message))
            } else {
                Ok(())
            };
        }
        let target_id = target_id.to_owned();
        let absent = || {
            error(
                "PEER_NOT_FOUND",
                &format!("Target peer {} not found", quoted(&target_id)),
            )
        };
        let Some(target) = self.target(&seat, &target_id) else {
            tracing::info!(room = seat.room, peer = ?seat.peer, role = ?seat.role, kind, "target is not in the room");
            return if kind == "offer" {
                to_client(absent())
            } else {
                Ok(())
            };
        };
        frame.insert("sender".to_owned(), Value::String(seat.peer.clone()));
        // What the sender says of it itself does not count.
        frame.remove("from_user");
        if kind == "offer"
            && let Some(user) = self.user_of(&seat, &target_id)
        {
            frame.insert("from_user".to_owned(), user);
        }
        let delivered = self.pass_on(&seat, &target_id, target, &Value::Object(frame), now);
        match kind {
            "offer" if delivered => self.remember_offer(&seat, &target_id),
            "offer" => return to_client(absent()),
            "answer" => {
                self.consume_offer(&seat, &target_id);
            }
            _ => {}
        }
        Ok(())
    }

    /// An `error` with a target is a worker's refusal of an offer. It is passed on once for each offer that was relayed
    /// from that target, and otherwise dropped: any `error` makes a Python worker exit, so a free one would be a weapon.
    /// The sender gets no reply, for the same reason.
    fn relay_error(&mut self, conn: ConnId, mut frame: Map<String, Value>, now: Now) {
        let Some(seat) = self.seat(conn).cloned() else {
            return;
        };
        let Some(target_id) = filled(&frame, "target").map(str::to_owned) else {
            return;
        };
        if frame
            .get("sender")
            .is_some_and(|sender| sender.as_str() != Some(&seat.peer))
        {
            tracing::warn!(room = seat.room, peer = ?seat.peer, role = ?seat.role, "another peer named as sender");
            return;
        }
        if !self.consume_offer(&seat, &target_id) {
            tracing::info!(room = seat.room, peer = ?seat.peer, role = ?seat.role, "error that answers no offer dropped");
            return;
        }
        if let Some(target) = self.target(&seat, &target_id) {
            frame.insert("sender".to_owned(), Value::String(seat.peer.clone()));
            self.pass_on(&seat, &target_id, target, &Value::Object(frame), now);
        }
    }

    /// The connection of a peer in the sender's room.
    /// The user that a peer signed in as, for a peer that it speaks to: only where it goes by another name, and only for one
    /// that asked to be told more than the original tells (`"notices": true`). To all others, frames are as ever.
    fn user_of(&self, seat: &Seat, to: &str) -> Option<Value> {
        let asked = self.rooms.get(&seat.room)?.peer(to)?.notices;
        (asked && *seat.user != *seat.peer).then(|| Value::String(seat.user.to_string()))
    }

    pub(super) fn target(&self, sender: &Seat, id: &str) -> Option<ConnId> {
        Some(self.rooms.get(&sender.room)?.peer(id)?.conn)
    }

    pub(super) fn pass_on(
        &mut self,
        from: &Seat,
        to: &str,
        target: ConnId,
        frame: &Value,
        now: Now,
    ) -> bool {
        let delivered = self.deliver(target, frame, now);
        if delivered {
            self.relayed += 1;
        } else {
            tracing::warn!(room = from.room, peer = ?from.peer, role = ?from.role, ?to, "relay failed");
        }
        delivered
    }

    fn remember_offer(&mut self, from: &Seat, to: &str) {
        if let Some(peer) = self
            .rooms
            .get_mut(&from.room)
            .and_then(|room| room.peer_mut(to))
        {
            if peer.offers_from.len() >= OFFERS {
                peer.offers_from.remove(0);
            }
            peer.offers_from.push(from.peer.clone());
        }
    }

    /// Forgets one offer from `to` that `from` now answers; whether there was one.
    fn consume_offer(&mut self, from: &Seat, to: &str) -> bool {
        let Some(peer) = self
            .rooms
            .get_mut(&from.room)
            .and_then(|room| room.peer_mut(&from.peer))
        else {
            return false;
        };
        let Some(at) = peer.offers_from.iter().position(|offerer| offerer == to) else {
            return false;
        };
        peer.offers_from.remove(at);
        true
    }
}

/// An error frame, except for registrations.
pub(super) fn error(code: &str, message: &str) -> Value {
    json!({"type": "error", "code": code, "message": message})
}

fn unknown(kind: Option<&Value>) -> Value {
    let kind = match kind {
        None | Some(Value::Null) => "None".to_owned(),
        Some(Value::String(kind)) => quoted(kind),
        Some(other) => quoted(&other.to_string()),
    };
    error(
        "UNKNOWN_MESSAGE_TYPE",
        &format!("Unknown message type: {kind}"),
    )
}

/// A peer's words, cut to a length that may be repeated.
pub(super) fn quoted(words: &str) -> String {
    words.chars().take(QUOTED_CHARS).collect()
}

/// A string field that is there and not empty.
pub(super) fn filled<'a>(frame: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    frame.get(name)?.as_str().filter(|value| !value.is_empty())
}

/// What counts as given: the original asks for Python's truth.
pub(super) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(string) => !string.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    }
}
