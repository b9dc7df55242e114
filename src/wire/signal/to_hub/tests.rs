#![allow(clippy::unwrap_used)]

use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::wire::arbitrary;

/// Writes exactly `text`, and reads it back.
fn is_written_as(frame: &ToHub, text: &str) {
    assert_eq!(frame.to_text(), text);
    assert_eq!(ToHub::parse(text).as_ref(), Ok(frame));
}

fn metadata(tags: &[&str], properties: Value) -> Metadata {
    Metadata {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        properties: properties.as_object().unwrap().clone(),
    }
}

#[test]
fn a_worker_registers_as_the_page_has_it() {
    let register = Register {
        peer_id: "f78b".into(),
        room_id: "4fad4e39".into(),
        token: "d3cc46".into(),
        id_token: "a.b.c".into(),
        role: Some("worker".into()),
        is_admin: Some(true),
        metadata: Some(metadata(
            &["sleap-rtc", "training-worker"],
            json!({"gpu_memory_mb": 24576, "status": "available"}),
        )),
        notices: false,
    };
    is_written_as(
        &ToHub::Register(register),
        concat!(
            r#"{"type":"register","peer_id":"f78b","room_id":"4fad4e39","token":"d3cc46","id_token":"a.b.c","#,
            r#""role":"worker","is_admin":true,"metadata":{"tags":["sleap-rtc","training-worker"],"#,
            r#""properties":{"gpu_memory_mb":24576,"status":"available"}}}"#,
        ),
    );
}

#[test]
fn what_is_not_given_at_registration_is_not_written() {
    let register = Register {
        peer_id: "p".into(),
        room_id: "r".into(),
        token: "t".into(),
        id_token: "i".into(),
        role: None,
        is_admin: None,
        metadata: None,
        notices: false,
    };
    is_written_as(
        &ToHub::Register(register.clone()),
        r#"{"type":"register","peer_id":"p","room_id":"r","token":"t","id_token":"i"}"#,
    );
    let shown = format!(
        "{:?}",
        ToHub::Register(Register {
            token: "s3cret".into(),
            id_token: "s3cret".into(),
            ..register
        })
    );
    assert!(!shown.contains("s3cret"));
}

#[test]
fn descriptions_and_candidates_name_sender_and_target() {
    let (sender, target) = ("c".to_owned(), "w".to_owned());
    let sdp = "v=0\r\n".to_owned();
    is_written_as(
        &ToHub::Offer {
            sender: sender.clone(),
            target: target.clone(),
            sdp: sdp.clone(),
        },
        r#"{"type":"offer","sender":"c","target":"w","sdp":"v=0\r\n"}"#,
    );
    is_written_as(
        &ToHub::Answer {
            sender: sender.clone(),
            target: target.clone(),
            sdp,
        },
        r#"{"type":"answer","sender":"c","target":"w","sdp":"v=0\r\n"}"#,
    );
    is_written_as(
        &ToHub::Candidate {
            sender: sender.clone(),
            target: target.clone(),
            candidate: json!({"candidate": "c"}),
        },
        r#"{"type":"candidate","sender":"c","target":"w","candidate":{"candidate":"c"}}"#,
    );
    is_written_as(
        &ToHub::Candidate {
            sender,
            target,
            candidate: Value::Null,
        },
        r#"{"type":"candidate","sender":"c","target":"w","candidate":null}"#,
    );
}

/// A status update sends properties alone, and an explicit null to clear one.
#[test]
fn a_status_update_sends_what_changed() {
    let update = ToHub::UpdateMetadata {
        peer_id: "w".into(),
        metadata: metadata(&[], json!({"current_job_id": null, "status": "available"})),
    };
    is_written_as(
        &update,
        r#"{"type":"update_metadata","peer_id":"w","metadata":{"properties":{"current_job_id":null,"status":"available"}}}"#,
    );
}

#[test]
fn discovery_takes_filters_or_none() {
    let filters = Filters {
        role: Some("worker".into()),
        room_id: Some("4fad4e39".into()),
        tags: Some(vec!["sleap-rtc".into()]),
        properties: json!({"gpu_memory_mb": {"$gte": 8000}, "status": "available"})
            .as_object()
            .cloned(),
    };
    is_written_as(
        &ToHub::DiscoverPeers {
            from_peer_id: "c".into(),
            filters,
        },
        concat!(
            r#"{"type":"discover_peers","from_peer_id":"c","filters":{"role":"worker","room_id":"4fad4e39","#,
            r#""tags":["sleap-rtc"],"properties":{"gpu_memory_mb":{"$gte":8000},"status":"available"}}}"#,
        ),
    );
    let bare = ToHub::parse(r#"{"type":"discover_peers","from_peer_id":"c"}"#);
    let none = ToHub::DiscoverPeers {
        from_peer_id: "c".into(),
        filters: Filters::default(),
    };
    assert_eq!(bare, Ok(none));
}

#[test]
fn peer_messages_and_refusals() {
    is_written_as(
        &ToHub::PeerMessage {
            from_peer_id: "a".into(),
            to_peer_id: "b".into(),
            payload: json!({"app_message_type": "job_request"}),
        },
        r#"{"type":"peer_message","from_peer_id":"a","to_peer_id":"b","payload":{"app_message_type":"job_request"}}"#,
    );
    is_written_as(
        &ToHub::Error(Refusal::worker_busy("c1", "reserved")),
        concat!(
            r#"{"type":"error","target":"c1","reason":"worker_busy","#,
            r#""message":"Worker is currently reserved. Try again later, or choose another worker.","#,
            r#""current_status":"reserved"}"#,
        ),
    );
}

#[test]
fn bad_frames_say_what_is_wrong() {
    let error = |frame: Value| ToHub::parse(&frame.to_string()).unwrap_err();
    let bad_field = |frame: Value| match error(frame) {
        WireError::BadField { field, .. } => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(error(json!({})), WireError::MissingField("type"));
    assert_eq!(
        error(json!({"type": null})),
        WireError::MissingField("type")
    );
    assert_eq!(bad_field(json!({"type": 7})), "type");
    for kind in ["", "Offer", "offer ", "regis", "ping", "registered_auth"] {
        assert_eq!(
            error(json!({"type": kind})),
            WireError::UnknownToken(kind.into())
        );
    }
    let offer = |sender: Value, sdp: Value| json!({"type": "offer", "sender": sender, "target": "w", "sdp": sdp});
    assert!(ToHub::parse(&offer(json!("c"), json!("x")).to_string()).is_ok());
    assert_eq!(
        error(json!({"type": "offer", "sender": "c", "sdp": "x"})),
        WireError::MissingField("target")
    );
    assert_eq!(
        error(offer(json!("c"), json!(null))),
        WireError::MissingField("sdp")
    );
    assert_eq!(bad_field(offer(json!("c"), json!({"sdp": "x"}))), "sdp");
    assert_eq!(
        bad_field(offer(json!("c"), json!("x".repeat(MAX_SDP_BYTES + 1)))),
        "sdp"
    );
    assert_eq!(bad_field(offer(json!(7), json!("x"))), "sender");
    assert_eq!(bad_field(offer(json!(""), json!("x"))), "sender");
    assert_eq!(bad_field(offer(json!("c\u{1b}[2J"), json!("x"))), "sender");
    assert_eq!(
        bad_field(offer(json!("c".repeat(257)), json!("x"))),
        "sender"
    );
    let candidate = json!({"type": "candidate", "sender": "c", "target": "w"});
    assert_eq!(error(candidate), WireError::MissingField("candidate"));
    let update =
        |metadata: Value| json!({"type": "update_metadata", "peer_id": "w", "metadata": metadata});
    assert_eq!(bad_field(update(json!([]))), "metadata");
    assert_eq!(bad_field(update(json!({"tags": "one"}))), "tags");
    assert_eq!(bad_field(update(json!({"tags": ["one", 2]}))), "tags");
    assert_eq!(bad_field(update(json!({"properties": 1}))), "properties");
    assert_eq!(
        bad_field(json!({"type": "discover_peers", "from_peer_id": "c", "filters": []})),
        "filters"
    );
}

const KINDS: &[&str] = &[
    "register", "offer", "answer", "candidate", "update_metadata", "discover_peers",
    "peer_message", "mail", "error", "",
];
const FIELDS: &[&str] = &[
    "peer_id", "room_id", "token", "id_token", "role", "is_admin", "metadata", "sender", "target",
    "sdp", "candidate", "from_peer_id", "to_peer_id", "filters", "payload", "reason", "message",
    "current_status", "client_message_id", "notices",
];

fn any_frame() -> impl Strategy<Value = ToHub> {
    let id = arbitrary::id;
    let text = any::<String>;
    let register = (
        [id(), id(), id(), id()],
        arbitrary::maybe_text(),
        any::<Option<bool>>(),
        option::of(arbitrary::metadata()),
        any::<bool>(),
    );
    let filters = (
        arbitrary::maybe_text(),
        arbitrary::maybe_text(),
        option::of(proptest::collection::vec(text(), 0..3)),
        option::of(arbitrary::object()),
    );
    prop_oneof![
        register.prop_map(
            |([peer_id, room_id, token, id_token], role, is_admin, metadata, notices)| {
                ToHub::Register(Register {
                    peer_id,
                    room_id,
                    token,
                    id_token,
                    role,
                    is_admin,
                    metadata,
                    notices,
                })
            }
        ),
        (id(), id(), text()).prop_map(|(sender, target, sdp)| ToHub::Offer {
            sender,
            target,
            sdp
        }),
        (id(), id(), text()).prop_map(|(sender, target, sdp)| ToHub::Answer {
            sender,
            target,
            sdp
        }),
        (id(), id(), arbitrary::value()).prop_map(|(sender, target, candidate)| ToHub::Candidate {
            sender,
            target,
            candidate
        }),
        (id(), arbitrary::metadata())
            .prop_map(|(peer_id, metadata)| ToHub::UpdateMetadata { peer_id, metadata }),
        (id(), filters).prop_map(|(from_peer_id, (role, room_id, tags, properties))| {
            ToHub::DiscoverPeers {
                from_peer_id,
                filters: Filters {
                    role,
                    room_id,
                    tags,
                    properties,
                },
            }
        }),
        (id(), id(), arbitrary::value()).prop_map(|(from_peer_id, to_peer_id, payload)| {
            ToHub::PeerMessage {
                from_peer_id,
                to_peer_id,
                payload,
            }
        }),
        (id(), id(), id(), arbitrary::value()).prop_map(
            |(from_peer_id, to_peer_id, client_message_id, payload)| ToHub::Mail {
                from_peer_id,
                to_peer_id,
                client_message_id,
                payload,
            }
        ),
        (id(), text(), text(), text()).prop_map(|(target, reason, message, current_status)| {
            ToHub::Error(Refusal {
                target,
                reason,
                message,
                current_status,
            })
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(frame in any_frame()) {
        prop_assert_eq!(ToHub::parse(&frame.to_text()), Ok(frame));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = ToHub::parse(&text);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in any::<Vec<u8>>()) {
        let _ = ToHub::parse(&String::from_utf8_lossy(&bytes));
    }

    /// Frames that are almost right do not panic it either, and what it reads it can write.
    #[test]
    fn no_frame_makes_the_reader_panic(frame in arbitrary::almost("type", KINDS, FIELDS)) {
        if let Ok(read) = ToHub::parse(&frame.to_string()) {
            prop_assert_eq!(ToHub::parse(&read.to_text()), Ok(read));
        }
    }
}
