//! What an administrator can ask for: `/connections`, `/rooms` and `/limits`, with the administrator's token.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};
use strum::IntoEnumIterator as _;

use super::connections::Entry;
use super::engine::ConnId;
use super::limits::HubLimits;
use super::prometheus::{Limit, Metrics};
use super::table::{Now, Table};

/// Connections or rooms in one answer, at most.
const PAGE: usize = 1000;

/// One connection, as it is told to an administrator, and to the device itself.
pub(super) fn connection(node: &str, conn: ConnId, entry: &Entry, now: Now) -> Map<String, Value> {
    let known = json!({
        "connection_id": connection_id(node, conn),
        "dialect": if entry.device.is_some() { "device" } else { "signalling" },
        "state": if entry.resumable { "resumable" } else { "open" },
        "user_id": entry.user(),
        "device_id": entry.device.as_ref().map(|key| &*key.device),
        "room_id": entry.seat.as_ref().map(|seat| &seat.room),
        "peer_id": entry.seat.as_ref().map(|seat| &seat.peer),
        "role": entry.seat.as_ref().map(|seat| &seat.role),
        "address": entry.from.map(|from| from.to_string()),
        "connected_at": entry.opened,
        "connected_for_ms": ((now.epoch - entry.opened).max(0.0) * 1000.0) as u64,
        "messages_received": entry.meter.messages.load(Ordering::Relaxed),
        "bytes_received": entry.meter.bytes.load(Ordering::Relaxed),
    });
    match known {
        Value::Object(known) => known,
        _ => Map::new(),
    }
}

/// The id of a connection, which carries the node.
pub(super) fn connection_id(node: &str, conn: ConnId) -> String {
    format!("{node}-{conn}")
}

/// The connections, or those of one user: at most 1000, after the one numbered `after`.
pub(super) fn connections(table: &Table, user: Option<&str>, after: ConnId, now: Now) -> Value {
    let node = &table.config.node;
    let mut ids: Vec<ConnId> = match user {
        Some(user) => table.connections.of_user(user).collect(),
        None => table.connections.iter().map(|(conn, _)| conn).collect(),
    };
    ids.retain(|conn| *conn > after);
    ids.sort_unstable();
    let more = ids.len() > PAGE;
    ids.truncate(PAGE);
    let next = ids.last().copied().filter(|_| more);
    let found: Vec<Value> = ids
        .into_iter()
        .filter_map(|conn| {
            let entry = table.connections.get(conn)?;
            Some(Value::Object(connection(node, conn, entry, now)))
        })
        .collect();
    json!({"connections": found, "total": table.connections.live(), "next_after": next})
}

/// The rooms: at most 1000, without their tokens.
pub(super) fn rooms(table: &Table, now: Now) -> Value {
    let mut found: Vec<Value> = table
        .rooms
        .iter()
        .take(PAGE)
        .map(|(id, room)| {
            let peers: Vec<Value> = room
                .peers
                .iter()
                .map(|peer| json!({"peer_id": peer.id, "role": peer.role, "user_id": peer.user, "connected_at": peer.connected_at}))
                .collect();
            let left = room.expires.saturating_duration_since(now.at);
            json!({"room_id": id, "created_by": room.owner, "admin_peer_id": room.admin, "peers": peers,
                "expires_in_s": if room.peers.is_empty() { Some(left.as_secs()) } else { None }})
        })
        .collect();
    found.sort_by(|a, b| a["room_id"].as_str().cmp(&b["room_id"].as_str()));
    json!({"rooms": found, "total": table.rooms.len()})
}

/// The limits that are in force, and how often peers ran into each.
pub(super) fn limits(limits: &HubLimits, metrics: &Metrics) -> Value {
    let refused: Map<String, Value> = Limit::iter()
        .map(|limit| (limit.as_ref().to_owned(), metrics.refusals(limit).into()))
        .collect();
    json!({
        "refused": refused,
        "limits": HubLimits::NAMES.iter().map(|name| (*name, limits.get(name))).collect::<BTreeMap<_, _>>(),
    })
}
