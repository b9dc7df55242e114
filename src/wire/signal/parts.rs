//! The parts that frames are made of.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::wire::json::{Fields, check_id};
use crate::wire::{Hidden, MAX_ID_BYTES, WireError, excerpt};

/// The named facts that a peer tells about itself: `status`, `gpu_memory_mb`, `hostname` and so on.
pub type Properties = Map<String, Value>;

/// The fact that a worker takes no new job: true, beside a `status` that everybody understands.
pub const DRAINING: &str = "draining";

/// What a peer tells about itself at registration, and what discovery returns.
///
/// `Deserialize` is lenient: a part of the wrong type counts as empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Words to be found by, such as `sleap-rtc`.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "lenient_strings"
    )]
    pub tags: Vec<String>,
    /// Named facts. In an update, an explicit null clears a fact; an absent one is left as it was.
    #[serde(
        skip_serializing_if = "Map::is_empty",
        deserialize_with = "lenient_map"
    )]
    pub properties: Properties,
}

impl Metadata {
    /// Reads metadata of any shape; what has the wrong type counts as empty.
    pub(super) fn lenient(value: Option<&Value>) -> Self {
        value
            .and_then(|value| Self::deserialize(value).ok())
            .unwrap_or_default()
    }

    /// Reads the metadata of a peer's own frame, where a wrong type is the peer's mistake.
    pub(super) fn strict(map: &Properties) -> Result<Self, WireError> {
        let fields = Fields(map);
        Ok(Self {
            tags: fields.opt_strings("tags")?.unwrap_or_default(),
            properties: fields
                .opt_object("properties")?
                .cloned()
                .unwrap_or_default(),
        })
    }
}

fn lenient_strings<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(strings(&Value::deserialize(from)?))
}

fn lenient_map<'de, D: Deserializer<'de>>(from: D) -> Result<Properties, D::Error> {
    match Value::deserialize(from)? {
        Value::Object(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

/// The strings of a list; nothing from what is no list.
pub(super) fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// One peer of the room, as discovery reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Who it is.
    pub peer_id: String,
    /// `worker`, `client`, or `peer` where none was given.
    #[serde(default = "PeerInfo::default_role")]
    pub role: String,
    /// What it tells about itself.
    #[serde(default)]
    pub metadata: Metadata,
    /// When it registered: seconds since 1970, 0 where unknown.
    #[serde(default)]
    pub connected_at: f64,
}

impl PeerInfo {
    fn default_role() -> String {
        "peer".to_owned()
    }

    /// Reads one entry of a `peer_list`; nothing where it has no usable id.
    pub(super) fn lenient(value: &Value) -> Option<Self> {
        let fields = Fields::of(value).ok()?;
        Some(Self {
            peer_id: fields.id("peer_id").ok()?,
            role: fields.any_text("role").unwrap_or_else(Self::default_role),
            metadata: Metadata::lenient(fields.get("metadata")),
            connected_at: fields
                .get("connected_at")
                .and_then(Value::as_f64)
                .unwrap_or(0.0),
        })
    }

    /// The property `name`, if it is a whole number that is not negative, such as `gpu_memory_mb`.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.metadata.properties.get(name)?.as_u64()
    }

    /// The property `name`, if it is text, such as `status`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.metadata.properties.get(name)?.as_str()
    }

    /// What a person is to read as a worker's status: its word, or that it drains.
    pub fn status(&self) -> Option<&str> {
        match self.metadata.properties.get(DRAINING) {
            Some(Value::Bool(true)) => Some(DRAINING),
            _ => self.text("status"),
        }
    }
}

/// A STUN or TURN server. Foreign peers accept exactly these four keys and fail on any other.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Its addresses, `stun:host:port` or `turn:host:port`. One string is read as a list of one.
    #[serde(deserialize_with = "one_or_many")]
    pub urls: Vec<String>,
    /// The user name for a TURN server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password for a TURN server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// What the credential is; `password` where absent.
    #[serde(
        default,
        rename = "credentialType",
        skip_serializing_if = "Option::is_none"
    )]
    pub credential_type: Option<String>,
}

impl IceServer {
    /// Reads a list of servers, leaving out what is none.
    pub(super) fn lenient(value: Option<&Value>) -> Vec<Self> {
        let items = value.and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(|item| Self::deserialize(item).ok())
            .collect()
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .field("credential", &self.credential.as_ref().map(|_| Hidden))
            .finish_non_exhaustive()
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let urls = match Value::deserialize(from)? {
        Value::String(url) => vec![url],
        list => strings(&list),
    };
    if urls.is_empty() {
        return Err(serde::de::Error::custom("no url"));
    }
    Ok(urls)
}

/// What a client looks for. Everything given must hold; an absent filter holds for everyone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// The exact role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The asker's own room. Hubs look there and nowhere else, whatever this says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_id: Option<String>,
    /// At least one of these tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// All of these properties: a value to equal, or an object of `$gte`, `$lte`, `$eq`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Properties>,
}

impl Filters {
    pub(super) fn parse(map: &Properties) -> Result<Self, WireError> {
        let fields = Fields(map);
        Ok(Self {
            role: fields.opt_text("role")?,
            room_id: fields.opt_text("room_id")?,
            tags: fields.opt_strings("tags")?,
            properties: fields.opt_object("properties")?.cloned(),
        })
    }
}

/// The `error` frame by which a worker turns an offer down (worker-connection.md, Reject offer when busy).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The client whose offer is refused.
    pub target: String,
    /// Why, as a token: `worker_busy`.
    pub reason: String,
    /// Why, as a sentence.
    pub message: String,
    /// The worker's status: `reserved`, `busy` or `maintenance`.
    pub current_status: String,
}

impl Refusal {
    /// The reason token of a busy worker.
    pub const WORKER_BUSY: &'static str = "worker_busy";

    /// Refuses `target`'s offer because the worker's status is `status`.
    pub fn worker_busy(target: impl Into<String>, status: impl Into<String>) -> Self {
        let current_status = status.into();
        Self {
            target: target.into(),
            reason: Self::WORKER_BUSY.to_owned(),
            message: format!(
                "Worker is currently {current_status}. Try again later, or choose another worker."
            ),
            current_status,
        }
    }

    pub(super) fn parse(fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            target: fields.id("target")?,
            reason: fields.text("reason", MAX_ID_BYTES)?,
            message: fields.opt_text("message")?.unwrap_or_default(),
            current_status: fields.opt_text("current_status")?.unwrap_or_default(),
        })
    }
}

/// An error that the hub reports or relays, in any of its three shapes: `{type, reason}` at registration,
/// `{type, code, message}` afterwards, and `{error}` without a type for a bad identity token.
///
/// `Display` makes one printable sentence of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HubError {
    /// Why, in the hub's or the worker's words: `Room not found`, `worker_busy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A code: `NOT_IN_ROOM`, `PEER_NOT_FOUND`, `INVALID_MESSAGE` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// A sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The status of the worker that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_status: Option<String>,
    /// The peer that a frame was meant for (also read from `target_peer_id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The peer whose refusal the hub relays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The mail that was not taken, by its sender's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
}

impl HubError {
    /// Whether a worker turned the offer down because it is reserved or busy.
    pub fn is_worker_busy(&self) -> bool {
        self.reason.as_deref() == Some(Refusal::WORKER_BUSY)
    }

    /// Whether the hub does not know frames of the type that it was sent.
    pub fn is_unknown_type(&self) -> bool {
        self.code.as_deref() == Some("UNKNOWN_MESSAGE_TYPE")
    }

    /// Reads the fields that are text and leaves out the rest: a bad error frame is still an error frame.
    pub(super) fn lenient(fields: Fields<'_>) -> Self {
        let id = |name| {
            fields
                .any_text(name)
                .filter(|id| check_id("target", id).is_ok())
        };
        Self {
            reason: fields
                .any_text("reason")
                .or_else(|| fields.any_text("error")),
            code: fields.any_text("code"),
            message: fields.any_text("message"),
            current_status: fields.any_text("current_status"),
            target: id("target").or_else(|| id("target_peer_id")),
            sender: id("sender"),
            client_message_id: id("client_message_id"),
        }
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = |text: &Option<String>| text.as_deref().map(excerpt);
        if self.is_worker_busy() {
            let status = clean(&self.current_status).unwrap_or_else(|| "busy".to_owned());
            return write!(f, "the worker turned the offer down: it is {status}");
        }
        let target = clean(&self.target).map_or(String::new(), |peer| format!(" (peer {peer})"));
        match (clean(&self.reason), clean(&self.code), clean(&self.message)) {
            (_, Some(code), Some(message)) => write!(f, "the hub refused: {message} [{code}]"),
            (_, None, Some(text)) | (Some(text), _, None) | (None, Some(text), None) => {
                write!(f, "the hub refused: {text}{target}")
            }
            (None, None, None) => write!(f, "the hub refused, without a reason{target}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn lenient_metadata_keeps_what_is_usable() {
        let read = |value: Value| Metadata::lenient(Some(&value));
        let good = read(json!({"tags": ["a", 1, null, "b"], "properties": {"x": null}, "note": 1}));
        assert_eq!(good.tags, ["a", "b"]);
        assert_eq!(Value::Object(good.properties), json!({"x": null}));
        for bad in [
            json!(null),
            json!(3),
            json!([]),
            json!({"tags": 3, "properties": []}),
        ] {
            assert_eq!(read(bad), Metadata::default());
        }
    }

    #[test]
    fn empty_parts_of_metadata_are_not_written() {
        assert_eq!(json!(Metadata::default()), json!({}));
        let mut update = Metadata::default();
        update.properties.insert("status".into(), json!("reserved"));
        assert_eq!(json!(update), json!({"properties": {"status": "reserved"}}));
    }

    #[test]
    fn ice_servers_take_one_url_or_many_and_show_no_credential() {
        let list = json!([{"urls": "stun:a"}, {"urls": ["turn:b", "turn:c"], "username": "u", "credential": "s3cret"},
            {"urls": []}, {"username": "no urls"}, 7]);
        let servers = IceServer::lenient(Some(&list));
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[0].urls, ["stun:a"]);
        assert_eq!(json!(servers[0]), json!({"urls": ["stun:a"]}));
        assert_eq!(servers[1].credential.as_deref(), Some("s3cret"));
        assert!(!format!("{servers:?}").contains("s3cret"));
    }

    #[test]
    fn a_busy_worker_refuses_in_the_shape_that_clients_know() {
        let refusal = Refusal::worker_busy("c1", "reserved");
        assert_eq!(
            (refusal.target.as_str(), refusal.reason.as_str()),
            ("c1", "worker_busy")
        );
        assert_eq!(refusal.current_status, "reserved");
        assert!(refusal.message.starts_with("Worker is currently reserved."));
    }

    #[test]
    fn hub_errors_read_as_sentences_and_cannot_write_to_the_terminal() {
        let error = |value: Value| HubError::lenient(Fields::of(&value).unwrap()).to_string();
        assert_eq!(
            error(json!({"reason": "Room not found"})),
            "the hub refused: Room not found"
        );
        assert_eq!(
            error(json!({"code": "NOT_IN_ROOM", "message": "Sender not in any room"})),
            "the hub refused: Sender not in any room [NOT_IN_ROOM]"
        );
        assert_eq!(
            error(
                json!({"code": "PEER_NOT_FOUND", "reason": "peer_not_found", "target_peer_id": "w9"})
            ),
            "the hub refused: peer_not_found (peer w9)"
        );
        assert_eq!(
            error(json!({"reason": "worker_busy", "current_status": "reserved"})),
            "the worker turned the offer down: it is reserved"
        );
        assert_eq!(
            error(json!({"reason": 7})),
            "the hub refused, without a reason"
        );
        let hostile = error(json!({"reason": format!("\u{1b}[2J{}", "x".repeat(100_000))}));
        assert!(
            !hostile.contains('\u{1b}') && hostile.len() < 300,
            "{hostile}"
        );
    }
}
