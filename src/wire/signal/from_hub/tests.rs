#![allow(clippy::unwrap_used)]

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::wire::arbitrary;

fn parse(frame: Value) -> Result<FromHub, WireError> {
    FromHub::parse(&frame.to_string())
}

#[test]
fn a_confirmed_registration_is_read_and_written_as_the_page_has_it() {
    let text = concat!(
        r#"{"type":"registered_auth","room_id":"4fad4e39","token":"d3cc46","peer_id":"f78b","#,
        r#""admin_peer_id":null,"peer_list":["b","a"],"peer_metadata":{"a":{"tags":["x"],"properties":{"n":1}},"#,
        r#""b":{}},"ice_servers":[{"urls":["stun:s"]}],"mesh_ice_servers":[]}"#,
    );
    let frame = FromHub::parse(text).unwrap();
    assert_eq!(frame.to_text(), text);
    assert_eq!(frame.to_text_for("f78b"), text);
    let FromHub::RegisteredAuth(auth) = frame else {
        panic!("{frame:?}")
    };
    assert_eq!(
        (auth.room_id.as_str(), auth.peer_id.as_str()),
        ("4fad4e39", "f78b")
    );
    assert_eq!(auth.token.as_deref(), Some("d3cc46"));
    assert_eq!(auth.admin_peer_id, None);
    assert_eq!(
        auth.peer_list,
        ["b", "a"],
        "the order of registration is kept"
    );
    assert_eq!(auth.peer_metadata["a"].tags, ["x"]);
    assert_eq!(auth.ice_servers[0].urls, ["stun:s"]);
    assert!(!format!("{auth:?}").contains("d3cc46"));
}

/// Later hubs leave things out; whatever else is of the wrong kind is not worth losing the registration.
#[test]
fn a_registration_needs_only_room_and_peer() {
    let bare = parse(json!({"type": "registered_auth", "room_id": "r", "peer_id": "p"}));
    let expected = RegisteredAuth {
        room_id: "r".into(),
        peer_id: "p".into(),
        ..RegisteredAuth::default()
    };
    assert_eq!(bare, Ok(FromHub::RegisteredAuth(expected)));
    let odd = parse(
        json!({"type": "registered_auth", "room_id": "r", "peer_id": "p", "token": null,
        "admin_peer_id": 7, "peer_list": {}, "peer_metadata": [1], "ice_servers": "stun:x",
        "mesh_ice_servers": [null, {}, {"urls": 7}], "more": true}),
    );
    assert_eq!(odd, bare);
    let bad_ids = parse(
        json!({"type": "registered_auth", "room_id": "r", "peer_id": "p",
        "admin_peer_id": "a\n", "peer_list": ["", "x\u{7}"], "peer_metadata": {"": {}, "x\u{7}": {}}}),
    );
    assert_eq!(bad_ids, bare);
    let missing = parse(json!({"type": "registered_auth", "room_id": "r"}));
    assert_eq!(missing, Err(WireError::MissingField("peer_id")));
}

#[test]
fn one_bad_peer_does_not_hide_the_others() {
    let frame = parse(
        json!({"type": "peer_list", "to_peer_id": "c", "count": 9, "peers": [
        {"peer_id": "w1", "role": "worker", "metadata": {"tags": ["sleap-rtc"], "properties": {"gpu_memory_mb": 24576,
            "status": "available"}}, "connected_at": 1765400000.5},
        {"peer_id": "w2"}, {"peer_id": "w3", "role": null, "metadata": "x", "connected_at": "noon"},
        {"role": "worker"}, {"peer_id": ""}, {"peer_id": "a\u{7}"}, 7, null]}),
    );
    let Ok(FromHub::PeerList { peers }) = frame else {
        panic!("{frame:?}")
    };
    let ids: Vec<_> = peers.iter().map(|peer| peer.peer_id.as_str()).collect();
    assert_eq!(ids, ["w1", "w2", "w3"]);
    assert_eq!(peers[0].connected_at, 1_765_400_000.5);
    assert_eq!(peers[0].number("gpu_memory_mb"), Some(24576));
    assert_eq!(peers[0].text("status"), Some("available"));
    for peer in &peers[1..] {
        assert_eq!(
            (peer.role.as_str(), &peer.metadata, peer.connected_at),
            ("peer", &Metadata::default(), 0.0)
        );
    }
    assert!(parse(json!({"type": "peer_list", "peers": {}})).is_err());
    assert_eq!(
        parse(json!({"type": "peer_list"})),
        Err(WireError::MissingField("peers"))
    );
}

#[test]
fn all_shapes_of_an_error_are_understood() {
    let error = |frame: Value| match parse(frame) {
        Ok(FromHub::Error(error)) => error,
        other => panic!("{other:?}"),
    };
    let token = error(json!({"error": "Invalid token"}));
    assert_eq!(
        token,
        HubError {
            reason: Some("Invalid token".into()),
            ..HubError::default()
        }
    );
    let room = error(json!({"type": "error", "reason": "Room not found"}));
    assert_eq!(
        room,
        HubError {
            reason: Some("Room not found".into()),
            ..HubError::default()
        }
    );
    let code =
        error(json!({"type": "error", "code": "NOT_IN_ROOM", "message": "Sender not in any room"}));
    assert_eq!(code.code.as_deref(), Some("NOT_IN_ROOM"));
    assert_eq!(code.message.as_deref(), Some("Sender not in any room"));
    let mesh = error(
        json!({"type": "error", "code": "PEER_NOT_FOUND", "reason": "peer_not_found", "target_peer_id": "g"}),
    );
    assert_eq!(mesh.target.as_deref(), Some("g"));
    assert!(!mesh.is_worker_busy());
    let busy = error(
        json!({"type": "error", "target": "c", "sender": "w", "reason": "worker_busy",
        "message": "Worker is currently busy.", "current_status": "busy"}),
    );
    assert!(busy.is_worker_busy());
    assert_eq!(
        (busy.sender.as_deref(), busy.current_status.as_deref()),
        (Some("w"), Some("busy"))
    );
    assert_eq!(
        error(json!({"type": "error", "reason": {}, "target": "a\n"})),
        HubError::default()
    );
    assert_eq!(error(json!({"error": {"detail": 1}})), HubError::default());
}

#[test]
fn the_other_frames() {
    let is = |frame: Value, expected: FromHub| assert_eq!(parse(frame), Ok(expected));
    is(
        json!({"type": "admin_conflict", "room_id": "r", "current_admin": "a"}),
        FromHub::AdminConflict {
            room_id: "r".into(),
            current_admin: "a".into(),
        },
    );
    // APR peers add a role to an offer; it does not matter.
    is(
        json!({"type": "offer", "sender": "c", "target": "w", "sdp": "v=0\r\n", "role": "client"}),
        FromHub::Offer {
            sender: "c".into(),
            sdp: "v=0\r\n".into(),
            from_user: None,
        },
    );
    is(
        json!({"type": "answer", "sender": "w", "target": "c", "sdp": "v=0\r\n"}),
        FromHub::Answer {
            sender: "w".into(),
            sdp: "v=0\r\n".into(),
        },
    );
    is(
        json!({"type": "candidate", "sender": "w", "candidate": null}),
        FromHub::Candidate {
            sender: "w".into(),
            candidate: Value::Null,
        },
    );
    is(
        json!({"type": "metadata_updated", "peer_id": "w", "metadata": {"note": 1}}),
        FromHub::MetadataUpdated {
            peer_id: "w".into(),
            metadata: Metadata::default(),
        },
    );
    is(
        json!({"type": "peer_message", "from_peer_id": "a", "to_peer_id": "b", "payload": "plain"}),
        FromHub::PeerMessage {
            from_peer_id: "a".into(),
            payload: json!("plain"),
            from_user: None,
        },
    );
    is(
        json!({"type": "peer_message", "from_peer_id": "a", "from_user": "ann", "payload": 1}),
        FromHub::PeerMessage {
            from_peer_id: "a".into(),
            payload: json!(1),
            from_user: Some("ann".into()),
        },
    );
    is(json!({"type": "ping"}), FromHub::Ping);
    is(json!({"type": "quit", "error": "x"}), FromHub::Quit);
    for kind in ["mesh_offer", "mesh_answer", "ice_candidate"] {
        is(
            json!({"type": kind, "from_peer_id": "w"}),
            FromHub::Mesh { kind: kind.into() },
        );
    }
    for kind in ["", "Ping", "pings", "mesh_connect", "register"] {
        is(
            json!({"type": kind}),
            FromHub::Unknown { kind: kind.into() },
        );
    }
    let long = parse(json!({"type": "\u{1b}".repeat(1000)})).unwrap();
    assert!(
        matches!(long, FromHub::Unknown { kind } if kind.chars().count() <= 161 && !kind.contains('\u{1b}'))
    );
    assert_eq!(parse(json!({})), Err(WireError::MissingField("type")));
    assert!(matches!(
        parse(json!({"type": 7, "error": "x"})),
        Err(WireError::BadField { field: "type", .. })
    ));
}

/// What the hub writes to a peer has the keys that foreign peers read.
#[test]
fn the_receiver_is_named_where_the_original_names_it() {
    let written = |frame: FromHub| serde_json::from_str::<Value>(&frame.to_text_for("me")).unwrap();
    let peers = vec![PeerInfo {
        peer_id: "w".into(),
        role: "worker".into(),
        metadata: Metadata::default(),
        connected_at: 1.5,
    }];
    assert_eq!(
        written(FromHub::PeerList { peers }),
        json!({"type": "peer_list", "to_peer_id": "me", "count": 1, "peers": [
            {"peer_id": "w", "role": "worker", "metadata": {}, "connected_at": 1.5}]})
    );
    assert_eq!(
        written(FromHub::PeerMessage {
            from_peer_id: "a".into(),
            payload: json!({"x": 1}),
            from_user: None,
        }),
        json!({"type": "peer_message", "from_peer_id": "a", "to_peer_id": "me", "payload": {"x": 1}})
    );
    assert_eq!(
        written(FromHub::Offer {
            sender: "a".into(),
            sdp: "x".into(),
            from_user: None,
        }),
        json!({"type": "offer", "sender": "a", "target": "me", "sdp": "x"})
    );
    assert_eq!(
        written(FromHub::MetadataUpdated {
            peer_id: "me".into(),
            metadata: Metadata::default()
        }),
        json!({"type": "metadata_updated", "peer_id": "me", "metadata": {}})
    );
    assert_eq!(
        written(FromHub::Mesh {
            kind: "mesh_offer".into()
        }),
        json!({"type": "mesh_offer"})
    );
}

const KINDS: &[&str] = &[
    "registered_auth", "admin_conflict", "offer", "answer", "candidate", "metadata_updated",
    "peer_list", "peer_message", "error", "ping", "quit", "mesh_offer", "peer_joined", "peer_left",
    "mail_accepted", "mail_refused", "",
];
const FIELDS: &[&str] = &[
    "peer_id", "room_id", "token", "admin_peer_id", "peer_list", "peer_metadata", "ice_servers",
    "mesh_ice_servers", "current_admin", "sender", "target", "sdp", "candidate", "metadata",
    "peers", "from_peer_id", "payload", "reason", "error", "code", "message", "current_status",
    "target_peer_id", "role", "client_message_id", "retryable",
];

fn any_server() -> impl Strategy<Value = IceServer> {
    let texts = [
        arbitrary::maybe_text(),
        arbitrary::maybe_text(),
        arbitrary::maybe_text(),
    ];
    (vec(any::<String>(), 1..3), texts).prop_map(
        |(urls, [username, credential, credential_type])| IceServer {
            urls,
            username,
            credential,
            credential_type,
        },
    )
}

fn any_registration() -> impl Strategy<Value = FromHub> {
    let id = arbitrary::id;
    let servers = || vec(any_server(), 0..3);
    let parts = (
        (id(), id(), arbitrary::maybe_text(), option::of(id())),
        vec(id(), 0..4),
        btree_map(id(), arbitrary::metadata(), 0..4),
        (servers(), servers()),
    );
    parts.prop_map(
        |(
            (room_id, peer_id, token, admin_peer_id),
            peer_list,
            peer_metadata,
            (ice_servers, mesh_ice_servers),
        )| {
            FromHub::RegisteredAuth(RegisteredAuth {
                room_id,
                token,
                peer_id,
                admin_peer_id,
                peer_list,
                peer_metadata,
                ice_servers,
                mesh_ice_servers,
            })
        },
    )
}

fn any_frame() -> impl Strategy<Value = FromHub> {
    let id = arbitrary::id;
    let peer = (id(), any::<String>(), arbitrary::metadata(), any::<i32>());
    let peer = peer.prop_map(|(peer_id, role, metadata, eighths)| PeerInfo {
        peer_id,
        role,
        metadata,
        connected_at: f64::from(eighths) / 8.0,
    });
    let maybe = arbitrary::maybe_text;
    let error = (
        [maybe(), maybe(), maybe(), maybe()],
        [option::of(id()), option::of(id()), option::of(id())],
    );
    prop_oneof![
        any_registration(),
        (id(), id()).prop_map(|(room_id, current_admin)| FromHub::AdminConflict {
            room_id,
            current_admin
        }),
        (id(), any::<String>(), option::of(id())).prop_map(|(sender, sdp, from_user)| {
            FromHub::Offer {
                sender,
                sdp,
                from_user,
            }
        }),
        (id(), any::<String>()).prop_map(|(sender, sdp)| FromHub::Answer { sender, sdp }),
        (id(), arbitrary::value())
            .prop_map(|(sender, candidate)| FromHub::Candidate { sender, candidate }),
        (id(), arbitrary::metadata())
            .prop_map(|(peer_id, metadata)| FromHub::MetadataUpdated { peer_id, metadata }),
        vec(peer, 0..4).prop_map(|peers| FromHub::PeerList { peers }),
        (id(), arbitrary::value(), option::of(id())).prop_map(
            |(from_peer_id, payload, from_user)| FromHub::PeerMessage {
                from_peer_id,
                payload,
                from_user,
            }
        ),
        error.prop_map(
            |([reason, code, message, current_status], [target, sender, client_message_id])| {
                FromHub::Error(HubError {
                    reason,
                    code,
                    message,
                    current_status,
                    target,
                    sender,
                    client_message_id,
                })
            }
        ),
        (id(), any::<String>(), arbitrary::metadata()).prop_map(|(peer_id, role, metadata)| {
            FromHub::PeerJoined {
                peer_id,
                role,
                metadata,
            }
        }),
        id().prop_map(|peer_id| FromHub::PeerLeft { peer_id }),
        id().prop_map(|client_message_id| FromHub::MailAccepted { client_message_id }),
        (id(), "[A-Z_]{1,9}", any::<bool>()).prop_map(|(client_message_id, code, retryable)| {
            FromHub::MailRefused {
                client_message_id,
                code,
                retryable,
            }
        }),
        Just(FromHub::Ping),
        Just(FromHub::Quit),
        Just(FromHub::Mesh {
            kind: "mesh_answer".into()
        }),
        "[A-Z]{1,9}".prop_map(|kind| FromHub::Unknown { kind }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(frame in any_frame(), receiver in arbitrary::id()) {
        // An `error` for another peer names that peer, whoever receives it.
        prop_assert_eq!(FromHub::parse(&frame.to_text_for(&receiver)), Ok(frame.clone()));
        prop_assert_eq!(FromHub::parse(&frame.to_text()), Ok(frame));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = FromHub::parse(&text);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in any::<Vec<u8>>()) {
        let _ = FromHub::parse(&String::from_utf8_lossy(&bytes));
    }

    /// Frames that are almost right do not panic it either, and what it reads it can write.
    #[test]
    fn no_frame_makes_the_reader_panic(frame in arbitrary::almost("type", KINDS, FIELDS)) {
        if let Ok(read) = FromHub::parse(&frame.to_string()) {
            if let FromHub::Error(error) = &read {
                prop_assert!(!error.to_string().chars().any(char::is_control));
            }
            prop_assert_eq!(FromHub::parse(&read.to_text()), Ok(read));
        }
    }
}
