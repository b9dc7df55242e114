//! `mail`: a message of a registered peer to the mailbox of the user behind another peer of its room, there or not.
//!
//! So a worker reaches whoever submitted a job when that one's laptop is shut. A room maps its peers to their users, also
//! those that have left; nobody else can be written to this way.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::engine::{Attached, ConnId, DeviceKey, Letter, PostRefused, Posting, Receipt, Sink};
use super::frames::{error, filled, quoted};
use super::outbox::Outbox;
use super::prometheus::Limit;
use super::table::Table;
use crate::wire::device::Content;

/// Characters of a peer's own id of a message, at most.
const CLIENT_ID_CHARS: usize = 128;

/// The way back to a peer that sent mail.
pub(super) struct Postman {
    outbox: Outbox,
}

impl Postman {
    /// The way back over this socket.
    pub(super) fn new(outbox: Outbox) -> Self {
        Postman { outbox }
    }

    fn say(&self, frame: &Value) {
        // A peer that does not read is ended by its line.
        self.outbox.text(frame.to_string().as_bytes());
    }
}

impl Sink for Postman {
    fn attached(&self, _: &Attached) {}

    fn message(&self, _: &Letter) -> bool {
        false
    }

    fn receipt(&self, receipt: &Receipt) {
        self.say(&json!({"type": "mail_accepted", "client_message_id": receipt.client_message_id.as_deref(),
            "message_id": receipt.message_id, "status": receipt.status.as_ref()}));
    }

    fn refused(&self, client_message_id: Option<&str>, why: &PostRefused) {
        self.say(&json!({"type": "mail_refused", "client_message_id": client_message_id, "code": why.code(),
            "message": why.to_string(), "retryable": why.is_retryable()}));
    }
}

impl Table {
    /// Handles a `mail` frame: `{from_peer_id, to_peer_id, client_message_id?, payload}`.
    pub(super) fn mail(&mut self, conn: ConnId, frame: &Map<String, Value>) -> Result<(), Value> {
        self.post(conn, frame).map_err(|mut error| {
            // A sender has other frames under way: it has to know which one this is about.
            if let Some(id) = filled(frame, "client_message_id") {
                error["client_message_id"] = quoted(id).into();
            }
            error
        })
    }

    fn post(&mut self, conn: ConnId, frame: &Map<String, Value>) -> Result<(), Value> {
        let (Some(from), Some(to), Some(payload)) = (
            filled(frame, "from_peer_id"),
            filled(frame, "to_peer_id"),
            frame.get("payload").filter(|payload| !payload.is_null()),
        ) else {
            return Err(error(
                "INVALID_MESSAGE",
                "Missing required fields: from_peer_id, to_peer_id, payload",
            ));
        };
        let id = filled(frame, "client_message_id");
        if id.is_some_and(|id| {
            id.chars().count() > CLIENT_ID_CHARS || id.chars().any(char::is_control)
        }) {
            return Err(error("INVALID_MESSAGE", "Invalid client_message_id"));
        }
        let seat = self.speaker(conn, Some(from), "Sender not in any room")?;
        let user = self
            .rooms
            .get(&seat.room)
            .and_then(|room| room.known_user(to));
        let Some(user) = user else {
            let message = format!("Target peer {} was never in this room", quoted(to));
            return Err(error("PEER_NOT_FOUND", &message));
        };
        // Deeper than devices may be told, or with a number that has no other form: it would not get out again.
        let content = Content::json(&payload.to_string())
            .map_err(|why| error("INVALID_MESSAGE", &format!("payload: {}", why.message)))?;
        let posting = Posting {
            user: user.into(),
            device: None,
            client_message_id: id.map(Arc::from),
            echo_self: false,
            content,
        };
        let Some(answers) = self
            .connections
            .get(conn)
            .and_then(|entry| entry.outlet.postman())
        else {
            return Ok(());
        };
        let sender = DeviceKey {
            user: Arc::clone(&seat.user),
            device: seat.peer.as_str().into(),
        };
        if let Err(why) = self
            .engine
            .post(&sender, posting, Some(Arc::clone(&answers)))
        {
            self.metrics.refused(Limit::Mailbox);
            answers.refused(id, &why);
        }
        Ok(())
    }
}
