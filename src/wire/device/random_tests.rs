//! Random bytes, and frames that are almost right: nothing panics, and what is understood can be written.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::abuse_tests::packed;
use super::*;
use crate::wire::arbitrary::almost;

/// Both directions in both formats; what is understood can be written, and is understood again.
fn feed(bytes: &[u8]) {
    for format in [Format::Json, Format::MessagePack] {
        if let Ok(frame) = ToHub::parse(format, bytes) {
            for format in [Format::Json, Format::MessagePack] {
                let mut out = Vec::new();
                frame.encode(format, &mut out);
                ToHub::parse(format, &out).unwrap();
            }
        }
        if let Ok(frame) = FromHub::parse(format, bytes) {
            frame.encode(format, &mut Vec::new());
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300)) {
        feed(&bytes);
        feed(&packed(&bytes));
    }

    #[test]
    fn random_text_does_no_harm(text in "[\\[\\]{}\",:\\\\ud8c0-9eE+.ntrf \\n-]{0,10}") {
        // Whatever serde_json takes, and nothing else, is taken here.
        let ours = Content::json(&text);
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
    }

    #[test]
    fn almost_frames_do_no_harm(frame in almost("type",
        &["message", "ack", "ping", "refresh", "connected", "accepted", "error", "state", "nonsense"],
        &["payload", "type"])) {
        feed(frame.to_string().as_bytes());
    }

    #[test]
    fn almost_payloads_do_no_harm(payload in almost("client_message_id", &["c"],
        &["recipient_user_id", "content", "encoding", "echo_self", "up_to", "t", "token", "message_id", "devices"])) {
        for kind in ["message", "ack", "ping", "refresh", "accepted"] {
            let text = json!({"type": kind, "payload": payload}).to_string();
            feed(text.as_bytes());
            let mut out = Vec::new();
            transcode::to_msgpack(&text, &mut out);
            feed(&out);
        }
    }

    #[test]
    fn mutated_frames_do_no_harm(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let content = Content::json(r#"{"a":[1,-2,3.5,true,null,"\u00e9\ud83d\ude00"],"b":{"c":[]}}"#).unwrap();
        let frame = ToHub::Message(Box::new(Outgoing {
            recipient_user_id: "someone".into(),
            recipient_device_id: Some("phone".into()),
            client_message_id: Some("c".into()),
            echo_self: true,
            content,
        }));
        for format in [Format::Json, Format::MessagePack] {
            let mut bytes = Vec::new();
            frame.encode(format, &mut bytes);
            for (index, byte) in &changes {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            feed(&bytes);
        }
    }
}
