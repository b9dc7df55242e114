//! Frames that a peer sends to the hub.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::http::id_token;
use super::{Filters, Metadata, Refusal};
use crate::wire::json::{self, Fields};
use crate::wire::{Hidden, MAX_SDP_BYTES, WireError, excerpt};

/// A frame from a peer to the hub, told apart by its `type`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToHub {
    /// Enters a room. Must be the first frame.
    Register(Register),
    /// A session description that opens a connection; the hub forwards it as it is.
    Offer {
        /// The peer that sends it.
        sender: String,
        /// The peer that it is meant for.
        target: String,
        /// The session description, all candidates inside.
        sdp: String,
    },
    /// The session description that answers an offer.
    Answer {
        /// The peer that sends it.
        sender: String,
        /// The peer that it is meant for.
        target: String,
        /// The session description, all candidates inside.
        sdp: String,
    },
    /// One candidate, for peers that both said they trickle. Never sent to a foreign peer: it ends their loop.
    Candidate {
        /// The peer that sends it.
        sender: String,
        /// The peer that it is meant for.
        target: String,
        /// The candidate; null says that there are no more.
        candidate: Value,
    },
    /// Changes what the hub tells others about this peer.
    UpdateMetadata {
        /// This peer.
        peer_id: String,
        /// Tags to add, and properties to lay over the old ones.
        metadata: Metadata,
    },
    /// Asks for the peers of the room; the answer is [`FromHub::PeerList`](super::FromHub::PeerList).
    DiscoverPeers {
        /// The peer that asks.
        from_peer_id: String,
        /// Which peers it wants to hear of.
        filters: Filters,
    },
    /// A message for another peer of the room; see [`PeerMessage`](crate::wire::PeerMessage).
    PeerMessage {
        /// The peer that sends it.
        from_peer_id: String,
        /// The peer that it is meant for.
        to_peer_id: String,
        /// The message.
        payload: Value,
    },
    /// A message for the mailbox of the user behind another peer of the room, there or not. The answer is
    /// [`FromHub::MailAccepted`](super::FromHub::MailAccepted) or its counterpart; hubs of old do not know it.
    Mail {
        /// The peer that sends it.
        from_peer_id: String,
        /// The peer whose user it is meant for; it may have left.
        to_peer_id: String,
        /// The sender's own id of the message: sent again under the same id, it is not delivered twice.
        client_message_id: String,
        /// The message.
        payload: Value,
    },
    /// Turns an offer down.
    Error(Refusal),
}

/// The first frame of a peer: who it is, where it wants in, and what it tells about itself.
#[derive(Clone, PartialEq, Serialize)]
pub struct Register {
    /// The name given at sign-in.
    pub peer_id: String,
    /// The room to enter.
    pub room_id: String,
    /// The room's token. Secret.
    pub token: String,
    /// The identity token given at sign-in. Secret.
    pub id_token: String,
    /// `worker` or `client`; the hub takes an absent one for `peer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Whether a worker claims to be the room's admin; not written where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_admin: Option<bool>,
    /// What the peer tells about itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Whether the peer wants to be told who comes and who goes; not written where it does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub notices: bool,
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register")
            .field("peer_id", &self.peer_id)
            .field("room_id", &self.room_id)
            .field("token", &Hidden)
            .field("id_token", &Hidden)
            .field("role", &self.role)
            .field("is_admin", &self.is_admin)
            .field("metadata", &self.metadata)
            .field("notices", &self.notices)
            .finish()
    }
}

impl ToHub {
    /// The frame as JSON text, fields in the order of the protocol page.
    pub fn to_text(&self) -> String {
        json::text(self)
    }

    /// Reads a frame, strictly: every field must have its type. Unknown fields are ignored.
    ///
    /// # Errors
    /// [`WireError::UnknownToken`] for a `type` that is none of these; otherwise what is wrong with the frame.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let map = json::object(text)?;
        let fields = Fields(&map);
        Ok(match fields.str("type")? {
            "register" => Self::Register(Register::parse(fields)?),
            "offer" => Self::Offer {
                sender: fields.id("sender")?,
                target: fields.id("target")?,
                sdp: fields.text("sdp", MAX_SDP_BYTES)?,
            },
            "answer" => Self::Answer {
                sender: fields.id("sender")?,
                target: fields.id("target")?,
                sdp: fields.text("sdp", MAX_SDP_BYTES)?,
            },
            "candidate" => Self::Candidate {
                sender: fields.id("sender")?,
                target: fields.id("target")?,
                candidate: fields.value("candidate")?,
            },
            "update_metadata" => Self::UpdateMetadata {
                peer_id: fields.id("peer_id")?,
                metadata: Metadata::strict(fields.need_object("metadata")?)?,
            },
            "discover_peers" => Self::DiscoverPeers {
                from_peer_id: fields.id("from_peer_id")?,
                filters: match fields.opt_object("filters")? {
                    Some(map) => Filters::parse(map)?,
                    None => Filters::default(),
                },
            },
            "peer_message" => Self::PeerMessage {
                from_peer_id: fields.id("from_peer_id")?,
                to_peer_id: fields.id("to_peer_id")?,
                payload: fields.value("payload")?,
            },
            "mail" => Self::Mail {
                from_peer_id: fields.id("from_peer_id")?,
                to_peer_id: fields.id("to_peer_id")?,
                client_message_id: fields.id("client_message_id")?,
                payload: fields.value("payload")?,
            },
            "error" => Self::Error(Refusal::parse(fields)?),
            other => return Err(WireError::UnknownToken(excerpt(other))),
        })
    }
}

impl Register {
    fn parse(fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            peer_id: fields.id("peer_id")?,
            room_id: fields.id("room_id")?,
            token: fields.id("token")?,
            id_token: id_token(fields)?,
            role: fields.opt_text("role")?,
            is_admin: fields.opt_flag("is_admin")?,
            metadata: match fields.opt_object("metadata")? {
                Some(map) => Some(Metadata::strict(map)?),
                None => None,
            },
            notices: fields.opt_flag("notices")?.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests;
