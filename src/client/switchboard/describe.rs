//! What a client says of itself, and whom it looks for.

use serde_json::json;

use crate::actors::session::Describe;
use crate::wire::{Filters, Metadata, Properties, Register};

/// What the registration says of a client (protocol page, 1.1); identity and room are the session's. Several clients of
/// one user may be in a room at a time: each has a name of its own.
pub(crate) fn describe() -> Describe {
    let peer_id = uuid::Uuid::new_v4().to_string();
    Box::new(move || register(peer_id.clone()))
}

fn register(peer_id: String) -> Register {
    let mut properties = Properties::new();
    properties.insert("platform".to_owned(), json!(std::env::consts::OS));
    properties.insert("loaner".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    Register {
        peer_id,
        room_id: String::new(),
        token: String::new(),
        id_token: String::new(),
        role: Some("client".to_owned()),
        is_admin: None,
        metadata: Some(Metadata {
            tags: vec!["sleap-rtc".to_owned(), "training-client".to_owned()],
            properties,
        }),
        notices: true,
    }
}

/// Every worker of the room, whatever its status and its memory: who finds none that fits wants to be told why.
pub(in crate::client) fn worker_filter(room_id: &str) -> Filters {
    Filters {
        role: Some("worker".to_owned()),
        room_id: Some(room_id.to_owned()),
        tags: None,
        properties: None,
    }
}
