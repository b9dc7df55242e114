//! Frames beside the bytes that stand for them. The MessagePack was put together by hand, from the table of formats of its
//! specification.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use super::*;

/// Joins text (as a `fixstr`, of up to 31 bytes) and bytes.
enum Part {
    S(&'static str),
    B(&'static [u8]),
}
use Part::{B, S};

impl Part {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            S(text) => {
                assert!(text.len() < 32);
                out.push(0xa0 | text.len() as u8);
                out.extend_from_slice(text.as_bytes());
            }
            B(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// A frame without a payload.
fn bare(kind: &'static str) -> Vec<u8> {
    let mut out = vec![0x81];
    S("type").write(&mut out);
    S(kind).write(&mut out);
    out
}

/// A frame whose payload is a map of up to 15 fields (`fixmap`), in this order.
fn frame(kind: &'static str, fields: &[(&'static str, Part)]) -> Vec<u8> {
    assert!(fields.len() < 16);
    let mut out = vec![0x82];
    for part in [S("type"), S(kind), S("payload")] {
        part.write(&mut out);
    }
    out.push(0x80 | fields.len() as u8);
    for (name, value) in fields {
        S(name).write(&mut out);
        value.write(&mut out);
    }
    out
}

/// Both forms of a frame: what `encode` writes, and `is_read` reads back.
fn golden(
    encode: impl Fn(Format, &mut Vec<u8>),
    is_read: impl Fn(Format, &[u8]),
    json: &str,
    msgpack: &[u8],
) {
    for (format, bytes) in [
        (Format::Json, json.as_bytes()),
        (Format::MessagePack, msgpack),
    ] {
        let mut out = Vec::new();
        encode(format, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            String::from_utf8_lossy(bytes)
        );
        assert_eq!(out, bytes);
        is_read(format, bytes);
    }
}

fn to_hub(frame: ToHub, json: &str, msgpack: &[u8]) {
    golden(
        |format, out| frame.encode(format, out),
        |format, bytes| assert_eq!(ToHub::parse(format, bytes), Ok(frame.clone())),
        json,
        msgpack,
    );
}

fn from_hub(frame: FromHub<'_>, json: &str, msgpack: &[u8]) {
    golden(
        |format, out| frame.encode(format, out),
        |format, bytes| assert_eq!(FromHub::parse(format, bytes), Ok(frame.clone())),
        json,
        msgpack,
    );
}

#[test]
fn what_a_device_says() {
    to_hub(
        ToHub::Message(Box::new(Outgoing {
            recipient_user_id: "bob".into(),
            recipient_device_id: Some("tv".into()),
            client_message_id: Some("m1".into()),
            echo_self: true,
            content: Content::json("{\"a\":[1,null]}").unwrap(),
        })),
        "{\"type\":\"message\",\"payload\":{\"recipient_user_id\":\"bob\",\"recipient_device_id\":\"tv\",\
         \"client_message_id\":\"m1\",\"echo_self\":true,\"content\":{\"a\":[1,null]}}}",
        &frame(
            "message",
            &[
                ("recipient_user_id", S("bob")),
                ("recipient_device_id", S("tv")),
                ("client_message_id", S("m1")),
                ("echo_self", B(&[0xc3])),
                ("content", B(&[0x81, 0xa1, b'a', 0x92, 0x01, 0xc0])),
            ],
        ),
    );
    to_hub(
        ToHub::Message(Box::new(Outgoing {
            recipient_user_id: "bob".into(),
            recipient_device_id: None,
            client_message_id: None,
            echo_self: false,
            content: Content::Binary(Bytes::from_static(&[0xff, 0x00, 0x10, 0x01])),
        })),
        "{\"type\":\"message\",\"payload\":{\"recipient_user_id\":\"bob\",\"content\":\"/wAQAQ==\",\
         \"encoding\":\"base64\"}}",
        &frame(
            "message",
            &[
                ("recipient_user_id", S("bob")),
                ("content", B(&[0xc4, 0x04, 0xff, 0x00, 0x10, 0x01])),
            ],
        ),
    );
    to_hub(
        ToHub::Ack { up_to: 300 },
        "{\"type\":\"ack\",\"payload\":{\"up_to\":300}}",
        &frame("ack", &[("up_to", B(&[0xcd, 0x01, 0x2c]))]),
    );
    to_hub(
        ToHub::Ping {
            t: Some(Scalar::Int(-2)),
        },
        "{\"type\":\"ping\",\"payload\":{\"t\":-2}}",
        &frame("ping", &[("t", B(&[0xfe]))]),
    );
    to_hub(ToHub::Pong, "{\"type\":\"pong\"}", &bare("pong"));
    to_hub(ToHub::State, "{\"type\":\"state\"}", &bare("state"));
    to_hub(
        ToHub::Ping { t: None },
        "{\"type\":\"ping\"}",
        &bare("ping"),
    );
    to_hub(
        ToHub::Refresh {
            token: "a.b.c".into(),
        },
        "{\"type\":\"refresh\",\"payload\":{\"token\":\"a.b.c\"}}",
        &frame("refresh", &[("token", S("a.b.c"))]),
    );
}

#[test]
fn what_a_device_hears() {
    let content = Content::json("\"h\\u00e9\"").unwrap();
    let message = FromHub::Message(Incoming {
        message_id: 70_000,
        sender_user_id: "ann".into(),
        sender_device_id: "".into(),
        client_message_id: None,
        sent_at_ms: 1 << 40,
        content: Cow::Borrowed(&content),
    });
    let mut out = Vec::new();
    message.encode(Format::MessagePack, &mut out);
    let expected = frame(
        "message",
        &[
            ("message_id", B(&[0xce, 0x00, 0x01, 0x11, 0x70])),
            ("sender_user_id", S("ann")),
            ("sender_device_id", S("")),
            ("sent_at", B(&[0xcf, 0, 0, 1, 0, 0, 0, 0, 0])),
            ("content", S("hé")),
        ],
    );
    assert_eq!(out, expected);
    out.clear();
    message.encode(Format::Json, &mut out);
    let expected = "{\"type\":\"message\",\"payload\":{\"message_id\":70000,\"sender_user_id\":\"ann\",\
                    \"sender_device_id\":\"\",\"sent_at\":1099511627776,\"content\":\"h\\u00e9\"}}";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(
        FromHub::parse(Format::Json, expected.as_bytes()),
        Ok(message)
    );

    from_hub(
        FromHub::Accepted(Accepted {
            message_id: 9,
            client_message_id: Some("x\"y".into()),
            status: Delivery::Stored,
            devices: 2,
            duplicate: true,
        }),
        "{\"type\":\"accepted\",\"payload\":{\"message_id\":9,\"client_message_id\":\"x\\\"y\",\
         \"status\":\"stored\",\"devices\":2,\"duplicate\":true}}",
        &frame(
            "accepted",
            &[
                ("message_id", B(&[0x09])),
                ("client_message_id", S("x\"y")),
                ("status", S("stored")),
                ("devices", B(&[0x02])),
                ("duplicate", B(&[0xc3])),
            ],
        ),
    );
    from_hub(
        FromHub::Error(ErrorReport {
            code: "MAILBOX_FULL".into(),
            message: "full".into(),
            retryable: true,
            retry_after_ms: Some(200),
            client_message_id: None,
        }),
        "{\"type\":\"error\",\"payload\":{\"code\":\"MAILBOX_FULL\",\"message\":\"full\",\
         \"retryable\":true,\"retry_after_ms\":200}}",
        &frame(
            "error",
            &[
                ("code", S("MAILBOX_FULL")),
                ("message", S("full")),
                ("retryable", B(&[0xc3])),
                ("retry_after_ms", B(&[0xcc, 200])),
            ],
        ),
    );
    from_hub(
        FromHub::State(serde_json::from_str("{\"a\":{\"b\":1.5}}").unwrap()),
        "{\"type\":\"state\",\"payload\":{\"a\":{\"b\":1.5}}}",
        &frame(
            "state",
            &[(
                "a",
                B(&[0x81, 0xa1, b'b', 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]),
            )],
        ),
    );
}

/// Content as MessagePack writes it.
fn as_msgpack(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    transcode::to_msgpack(json, &mut out);
    out
}

#[test]
fn values_take_the_smallest_form_of_their_kind() {
    let cases: [(&str, &[u8]); 25] = [
        ("null", &[0xc0]),
        ("false", &[0xc2]),
        ("true", &[0xc3]),
        ("0", &[0x00]),
        ("127", &[0x7f]),
        ("128", &[0xcc, 0x80]),
        ("256", &[0xcd, 0x01, 0x00]),
        ("65536", &[0xce, 0, 1, 0, 0]),
        ("4294967296", &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        (
            "18446744073709551615",
            &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
        ),
        (
            "18446744073709551616",
            &[0xcb, 0x43, 0xf0, 0, 0, 0, 0, 0, 0],
        ),
        ("-1", &[0xff]),
        ("-32", &[0xe0]),
        ("-33", &[0xd0, 0xdf]),
        ("-129", &[0xd1, 0xff, 0x7f]),
        ("-32769", &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
        ("-9223372036854775808", &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        (
            "-9223372036854775809",
            &[0xcb, 0xc3, 0xe0, 0, 0, 0, 0, 0, 0],
        ),
        ("-0", &[0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("1.0", &[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
        ("1e2", &[0xcb, 0x40, 0x59, 0, 0, 0, 0, 0, 0]),
        ("\"\"", &[0xa0]),
        (
            "\"\\ud83d\\ude00\\n\"",
            &[0xa5, 0xf0, 0x9f, 0x98, 0x80, 0x0a],
        ),
        ("[]", &[0x90]),
        // Keys repeat, and keep their order.
        (
            "{\"b\":1,\"a\":{},\"b\":[2]}",
            &[0x83, 0xa1, b'b', 1, 0xa1, b'a', 0x80, 0xa1, b'b', 0x91, 2],
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(as_msgpack(json), expected, "{json}");
    }
}

#[test]
fn long_values_announce_their_length_in_as_few_bytes_as_it_takes() {
    let heads = |count: usize, head: &[u8]| {
        let array = format!("[{}]", vec!["7"; count].join(","));
        let out = as_msgpack(&array);
        assert!(out.starts_with(head), "{count}");
        assert_eq!(out.len(), head.len() + count);
    };
    heads(15, &[0x9f]);
    heads(16, &[0xdc, 0, 16]);
    heads(65_536, &[0xdd, 0, 1, 0, 0]);
    let map = |count: usize| format!("{{{}}}", vec!["\"\":7"; count].join(","));
    assert!(as_msgpack(&map(15)).starts_with(&[0x8f]));
    assert!(as_msgpack(&map(16)).starts_with(&[0xde, 0, 16]));
    assert!(as_msgpack(&map(65_536)).starts_with(&[0xdf, 0, 1, 0, 0]));
    let text = |count: usize| as_msgpack(&format!("\"{}\"", "x".repeat(count)));
    assert!(text(31).starts_with(&[0xbf, b'x']));
    assert!(text(32).starts_with(&[0xd9, 32, b'x']));
    assert!(text(256).starts_with(&[0xda, 1, 0, b'x']));
    assert!(text(65_536).starts_with(&[0xdb, 0, 1, 0, 0, b'x']));
}

#[test]
fn every_form_of_msgpack_is_read() {
    let json = |bytes: &[u8]| transcode::to_json(bytes, 1 << 20).unwrap();
    let cases: [(&[u8], &str); 22] = [
        (&[0xcc, 5], "5"),
        (&[0xcd, 0, 5], "5"),
        (&[0xce, 0, 0, 0, 5], "5"),
        (&[0xcf, 0, 0, 0, 0, 0, 0, 0, 5], "5"),
        (&[0xd0, 0xfe], "-2"),
        (&[0xd0, 5], "5"),
        (&[0xd1, 0xff, 0xfe], "-2"),
        (&[0xd2, 0xff, 0xff, 0xff, 0xfe], "-2"),
        (&[0xd3, 255, 255, 255, 255, 255, 255, 255, 254], "-2"),
        (
            &[0xd3, 0x7f, 255, 255, 255, 255, 255, 255, 255],
            "9223372036854775807",
        ),
        (&[0xca, 0x3f, 0xc0, 0, 0], "1.5"),
        (&[0xcb, 0x40, 0, 0, 0, 0, 0, 0, 0], "2.0"),
        (&[0xd9, 1, b'a'], "\"a\""),
        (&[0xda, 0, 1, b'a'], "\"a\""),
        (&[0xdb, 0, 0, 0, 1, b'"'], "\"\\\"\""),
        (&[0x91, 0xc0], "[null]"),
        (&[0xdc, 0, 2, 1, 2], "[1,2]"),
        (&[0xdd, 0, 0, 0, 1, 1], "[1]"),
        (&[0x81, 0xa1, b'a', 1], "{\"a\":1}"),
        (&[0xde, 0, 1, 0xa1, b'a', 1], "{\"a\":1}"),
        (&[0xdf, 0, 0, 0, 0], "{}"),
        (&[0xa1, 0x00], "\"\\u0000\""),
    ];
    for (bytes, expected) in cases {
        assert_eq!(json(bytes), expected, "{bytes:x?}");
    }
}
