//! How long the hot frames take.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use super::*;

/// Prints figures: `cargo test --release --lib device::timing_tests -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures and proves nothing"]
fn timing() {
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(6);
    let content = Content::json(&format!("{{\"text\":\"{}\"}}", &text[..245])).unwrap();
    assert_eq!(content.len(), 256);
    let outgoing = ToHub::Message(Box::new(Outgoing {
        recipient_user_id: "user-0123456789".into(),
        recipient_device_id: Some("device-01".into()),
        client_message_id: Some("7c1f9d0a-4b1e".into()),
        echo_self: false,
        content: content.clone(),
    }));
    let message = FromHub::Message(Incoming {
        message_id: 1_234_567,
        sender_user_id: "user-0123456789".into(),
        sender_device_id: "device-01".into(),
        client_message_id: Some("7c1f9d0a-4b1e".into()),
        sent_at_ms: 1_790_000_000_000,
        content: Cow::Borrowed(&content),
    });
    let accepted = FromHub::Accepted(Accepted {
        message_id: 1_234_567,
        client_message_id: Some("7c1f9d0a-4b1e".into()),
        status: Delivery::Stored,
        devices: 1,
        duplicate: false,
    });
    let measure = |name: &str, work: &mut dyn FnMut()| {
        let round = |work: &mut dyn FnMut()| {
            let start = Instant::now();
            (0..1000).for_each(|_| work());
            start.elapsed().as_nanos() / 1000
        };
        let best = (0..2000).map(|_| round(work)).min();
        println!("{name}: {} ns", best.unwrap_or_default());
    };
    for format in [Format::Json, Format::MessagePack] {
        let mut bytes = Vec::new();
        outgoing.encode(format, &mut bytes);
        measure(&format!("{format:?} parse message"), &mut || {
            black_box(ToHub::parse(format, black_box(&bytes))).unwrap();
        });
        let mut out = Vec::new();
        for (name, frame) in [("message", &message), ("accepted", &accepted)] {
            measure(&format!("{format:?} encode {name}"), &mut || {
                out.clear();
                black_box(frame).encode(format, &mut out);
                black_box(&out);
            });
        }
    }
}
