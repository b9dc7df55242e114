//! Frames that a peer hears from the hub.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::parts::strings;
use super::{HubError, IceServer, Metadata, PeerInfo};
use crate::wire::json::{self, Fields, check_id};
use crate::wire::{Hidden, MAX_SDP_BYTES, WireError, excerpt};

/// A frame from the hub to a peer, told apart by its `type`.
///
/// Fields that only name the receiver (`target`, `to_peer_id`) are not kept;
/// [`to_text_for`](Self::to_text_for) writes them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromHub {
    /// The registration is confirmed.
    RegisteredAuth(RegisteredAuth),
    /// The room has an admin already; comes before `registered_auth`, which follows all the same.
    AdminConflict {
        /// The room.
        room_id: String,
        /// Its admin.
        current_admin: String,
    },
    /// A peer opens a connection.
    Offer {
        /// The peer that sends it.
        sender: String,
        /// The session description.
        sdp: String,
        /// The user that it signed in as, where that is not its own name.
        #[serde(skip_serializing_if = "Option::is_none")]
        from_user: Option<String>,
    },
    /// A peer answers an offer.
    Answer {
        /// The peer that sends it.
        sender: String,
        /// The session description.
        sdp: String,
    },
    /// A candidate of a peer that trickles.
    Candidate {
        /// The peer that sends it.
        sender: String,
        /// The candidate; null says that there are no more.
        candidate: Value,
    },
    /// A metadata update was taken; this is the whole of it now.
    MetadataUpdated {
        /// The peer that it is about.
        peer_id: String,
        /// Its metadata.
        metadata: Metadata,
    },
    /// The peers that discovery found. Entries without a usable id are left out.
    PeerList {
        /// The peers.
        peers: Vec<PeerInfo>,
    },
    /// A message of another peer; see [`PeerMessage`](crate::wire::PeerMessage).
    PeerMessage {
        /// The peer that sends it.
        from_peer_id: String,
        /// The message.
        payload: Value,
        /// The user that it signed in as, where that is not its own name.
        #[serde(skip_serializing_if = "Option::is_none")]
        from_user: Option<String>,
    },
    /// A peer came into the room; for those that registered with notices.
    PeerJoined {
        /// The peer.
        peer_id: String,
        /// Its role.
        role: String,
        /// What it tells about itself.
        metadata: Metadata,
    },
    /// A peer left the room; for those that registered with notices.
    PeerLeft {
        /// The peer.
        peer_id: String,
    },
    /// Mail was taken: it will not be lost.
    MailAccepted {
        /// The sender's own id of it.
        client_message_id: String,
    },
    /// Mail was not taken.
    MailRefused {
        /// The sender's own id of it.
        client_message_id: String,
        /// Why, as a token: `MAILBOX_FULL` and the like.
        code: String,
        /// Whether the same may be taken later.
        retryable: bool,
    },
    /// An error. It never ends the worker.
    Error(HubError),
    /// A sign of life, of later hubs; it wants no answer.
    Ping,
    /// Asks to leave.
    Quit,
    /// A frame of the mesh among the original's workers; not for us, and harmless to ignore.
    #[serde(skip)]
    Mesh {
        /// `mesh_offer`, `mesh_answer` or `ice_candidate`.
        kind: String,
    },
    /// A frame of a type that is not known.
    #[serde(skip)]
    Unknown {
        /// The beginning of its `type`, made printable.
        kind: String,
    },
}

/// The confirmation of a registration, and what a peer needs to know to begin.
#[derive(Clone, Default, PartialEq, Serialize)]
pub struct RegisteredAuth {
    /// The room that was entered.
    pub room_id: String,
    /// The room's token, where the hub repeats it. Secret.
    pub token: Option<String>,
    /// The receiver's own id.
    pub peer_id: String,
    /// The room's admin.
    pub admin_peer_id: Option<String>,
    /// The other peers of the room, workers and clients alike, in the order of their registration.
    pub peer_list: Vec<String>,
    /// What they tell about themselves.
    pub peer_metadata: BTreeMap<String, Metadata>,
    /// STUN and TURN servers for connections to clients.
    pub ice_servers: Vec<IceServer>,
    /// STUN and TURN servers for connections among workers.
    pub mesh_ice_servers: Vec<IceServer>,
}

impl fmt::Debug for RegisteredAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredAuth")
            .field("room_id", &self.room_id)
            .field("token", &self.token.as_ref().map(|_| Hidden))
            .field("peer_id", &self.peer_id)
            .field("admin_peer_id", &self.admin_peer_id)
            .field("peer_list", &self.peer_list)
            .field("peer_metadata", &self.peer_metadata)
            .field("ice_servers", &self.ice_servers)
            .field("mesh_ice_servers", &self.mesh_ice_servers)
            .finish()
    }
}

impl RegisteredAuth {
    fn parse(fields: Fields<'_>) -> Result<Self, WireError> {
        let usable = |id: &String| check_id("peer_list", id).is_ok();
        let peers = fields.get("peer_metadata").and_then(Value::as_object);
        Ok(Self {
            room_id: fields.id("room_id")?,
            token: fields.any_text("token"),
            peer_id: fields.id("peer_id")?,
            admin_peer_id: fields.any_text("admin_peer_id").filter(usable),
            peer_list: fields
                .get("peer_list")
                .map(strings)
                .unwrap_or_default()
                .into_iter()
                .filter(usable)
                .collect(),
            peer_metadata: peers
                .into_iter()
                .flatten()
                .filter(|(id, _)| usable(id))
                .map(|(id, metadata)| (id.clone(), Metadata::lenient(Some(metadata))))
                .collect(),
            ice_servers: IceServer::lenient(fields.get("ice_servers")),
            mesh_ice_servers: IceServer::lenient(fields.get("mesh_ice_servers")),
        })
    }
}

impl FromHub {
    /// Reads a frame. Unknown fields are ignored, an unknown `type` is [`FromHub::Unknown`].
    ///
    /// # Errors
    /// What is wrong with the frame, where nothing can be made of it.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let map = json::object(text)?;
        let fields = Fields(&map);
        // A bad identity token is answered by {"error": ..}, without a type.
        if fields.get("type").is_none() && fields.get("error").is_some() {
            return Ok(Self::Error(HubError::lenient(fields)));
        }
        Ok(match fields.str("type")? {
            "registered_auth" => Self::RegisteredAuth(RegisteredAuth::parse(fields)?),
            "admin_conflict" => Self::AdminConflict {
                room_id: fields.id("room_id")?,
                current_admin: fields.id("current_admin")?,
            },
            "offer" => Self::Offer {
                sender: fields.id("sender")?,
                sdp: fields.text("sdp", MAX_SDP_BYTES)?,
                from_user: fields.any_text("from_user"),
            },
            "answer" => Self::Answer {
                sender: fields.id("sender")?,
                sdp: fields.text("sdp", MAX_SDP_BYTES)?,
            },
            "candidate" => Self::Candidate {
                sender: fields.id("sender")?,
                candidate: fields.value("candidate")?,
            },
            "metadata_updated" => Self::MetadataUpdated {
                peer_id: fields.id("peer_id")?,
                metadata: Metadata::lenient(fields.get("metadata")),
            },
            "peer_list" => {
                let peers = fields.value("peers")?;
                let Value::Array(peers) = peers else {
                    return Err(WireError::bad("peers", "a list was expected"));
                };
                let peers = peers.iter().filter_map(PeerInfo::lenient).collect();
                Self::PeerList { peers }
            }
            "peer_message" => Self::PeerMessage {
                from_peer_id: fields.id("from_peer_id")?,
                payload: fields.value("payload")?,
                from_user: fields.any_text("from_user"),
            },
            "peer_joined" => Self::PeerJoined {
                peer_id: fields.id("peer_id")?,
                role: fields.any_text("role").unwrap_or_default(),
                metadata: Metadata::lenient(fields.get("metadata")),
            },
            "peer_left" => Self::PeerLeft {
                peer_id: fields.id("peer_id")?,
            },
            "mail_accepted" => Self::MailAccepted {
                client_message_id: fields.id("client_message_id")?,
            },
            "mail_refused" => Self::MailRefused {
                client_message_id: fields.id("client_message_id")?,
                code: excerpt(&fields.any_text("code").unwrap_or_default()),
                retryable: fields.opt_flag("retryable")?.unwrap_or(false),
            },
            "error" => Self::Error(HubError::lenient(fields)),
            "ping" => Self::Ping,
            "quit" => Self::Quit,
            kind @ ("mesh_offer" | "mesh_answer" | "ice_candidate") => Self::Mesh {
                kind: kind.to_owned(),
            },
            other => Self::Unknown {
                kind: excerpt(other),
            },
        })
    }

    /// The frame as JSON text, without the fields that only name the receiver.
    pub fn to_text(&self) -> String {
        match self {
            Self::Mesh { kind } | Self::Unknown { kind } => json!({ "type": kind }).to_string(),
            frame => json::text(frame),
        }
    }

    /// The frame as JSON text, as the hub writes it to the peer `receiver`: with `target`, `to_peer_id` and `count`
    /// where the original has them.
    pub fn to_text_for(&self, receiver: &str) -> String {
        #[derive(Serialize)]
        struct Addressed<'a> {
            #[serde(flatten)]
            frame: &'a FromHub,
            #[serde(skip_serializing_if = "Option::is_none")]
            target: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            to_peer_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            count: Option<usize>,
        }
        let mut addressed = Addressed {
            frame: self,
            target: None,
            to_peer_id: None,
            count: None,
        };
        match self {
            Self::Offer { .. } | Self::Answer { .. } | Self::Candidate { .. } => {
                addressed.target = Some(receiver);
            }
            Self::PeerMessage { .. } => addressed.to_peer_id = Some(receiver),
            Self::PeerList { peers } => {
                addressed.to_peer_id = Some(receiver);
                addressed.count = Some(peers.len());
            }
            _ => return self.to_text(),
        }
        json::text(&addressed)
    }
}

#[cfg(test)]
mod tests;
