//! What comes from a hostile or broken peer.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::wire::{MAX_DEPTH, MAX_FRAME_BYTES, MAX_ID_BYTES, MAX_TOKEN_BYTES};

fn parse(text: &str) -> Result<ToHub, FrameError> {
    ToHub::parse(Format::Json, text.as_bytes())
}

/// A message with this content, and what was made of it.
fn carried(content: &str) -> Result<Arc<str>, FrameError> {
    let text = format!(
        r#"{{"type":"message","payload":{{"recipient_user_id":"u","client_message_id":"c","content":{content}}}}}"#
    );
    parse(&text).map(|frame| match frame {
        ToHub::Message(message) => match message.content {
            Content::Json(text) => text,
            Content::Binary(_) => unreachable!("there is no encoding"),
        },
        _ => unreachable!("it is a message"),
    })
}

/// The same in MessagePack.
pub(super) fn packed(content: &[u8]) -> Vec<u8> {
    let mut out = b"\x82\xa4type\xa7message\xa7payload\x83\xb1recipient_user_id\xa1u".to_vec();
    out.extend_from_slice(b"\xb1client_message_id\xa1c\xa7content");
    out.extend_from_slice(content);
    out
}

fn carried_packed(content: &[u8]) -> Result<Content, FrameError> {
    match ToHub::parse(Format::MessagePack, &packed(content))? {
        ToHub::Message(message) => Ok(message.content),
        _ => unreachable!("it is a message"),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, FrameError>) -> &'static str {
    result.unwrap_err().code
}

#[test]
fn spelling_survives_and_space_does_not() {
    let kept = r#"{"z":1.50,"a":123456789012345678901234567890,"z":"\u00e9\/\ud83d\ude00","":[1E+2,-0,0.0]}"#;
    assert_eq!(&*carried(kept).unwrap(), kept);
    let loose = "{ \"a b\" :\t[ 1 ,\r\n \"\\\" x \\\\\" ] }";
    assert_eq!(&*carried(loose).unwrap(), "{\"a b\":[1,\"\\\" x \\\\\"]}");
    assert_eq!(&*carried("null").unwrap(), "null");
}

#[test]
fn depth_is_bounded_in_both_formats() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(carried(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(code(carried(&nested(MAX_DEPTH + 1))), "TOO_DEEP");
    assert_eq!(code(carried(&nested(100_000))), "TOO_DEEP");
    assert_eq!(code(parse(&"[".repeat(100_000))), "PARSE_ERROR");
    assert_eq!(code(parse(&"{\"a\":".repeat(100_000))), "TOO_DEEP");
    assert_eq!(code(carried(&"{\"a\":".repeat(100_000))), "TOO_DEEP");

    let arrays = |depth: usize| [vec![0x91; depth - 1], vec![0x90]].concat();
    assert!(carried_packed(&arrays(MAX_DEPTH)).is_ok());
    assert_eq!(code(carried_packed(&arrays(MAX_DEPTH + 1))), "TOO_DEEP");
    assert_eq!(code(carried_packed(&arrays(100_000))), "TOO_DEEP");
    let maps = b"\x81\xa1a".repeat(100_000);
    assert_eq!(code(carried_packed(&maps)), "TOO_DEEP");
    assert_eq!(code(ToHub::parse(Format::MessagePack, &maps)), "TOO_DEEP");
    // As a key, too.
    assert_eq!(code(carried_packed(&vec![0x81; 100_000])), "TOO_DEEP");

    // What is just deep enough goes out in the other format, to the bottom.
    let deep = Content::json(&nested(MAX_DEPTH)).unwrap();
    assert_eq!(carried_packed(&arrays(MAX_DEPTH)).unwrap(), deep);
    let mut out = Vec::new();
    transcode::to_msgpack(&nested(MAX_DEPTH), &mut out);
    assert_eq!(out, arrays(MAX_DEPTH));
}

#[test]
fn announced_lengths_are_not_believed() {
    for marker in [0xdb, 0xc6, 0xdd, 0xdf, 0xc9] {
        for tail in [&[][..], &[0; 1000]] {
            let bytes = [&[marker, 255, 255, 255, 255][..], tail].concat();
            assert_eq!(code(carried_packed(&bytes)), "PARSE_ERROR", "{marker:x}");
            let whole = ToHub::parse(Format::MessagePack, &bytes);
            assert_eq!(code(whole), "PARSE_ERROR", "{marker:x}");
        }
    }
    // Nor where nothing is read yet: whoever asks for the count may rely on it.
    for head in [[0xdd, 0, 0, 0, 3], [0xdf, 0, 0, 0, 2]] {
        let bytes = [&head[..], &[1, 1]].concat();
        assert!(msgpack::Scanner::new(&bytes).item().is_err(), "{head:x?}");
    }
    // One member more than there are bytes.
    assert_eq!(code(carried_packed(&[0x92, 1])), "PARSE_ERROR");
    assert_eq!(code(carried_packed(&[0x81, 0xa0])), "PARSE_ERROR");
}

#[test]
fn a_frame_cut_off_anywhere_is_an_error() {
    let frame = ToHub::Message(Box::new(Outgoing {
        recipient_user_id: "someone".into(),
        recipient_device_id: Some("phone".into()),
        client_message_id: Some("c".into()),
        echo_self: true,
        content: Content::json(r#"{"a":[1,-2,3.5,true,null,"\u00e9x"],"b":{"c":[]}}"#).unwrap(),
    }));
    for format in [Format::Json, Format::MessagePack] {
        let mut bytes = Vec::new();
        frame.encode(format, &mut bytes);
        assert!(ToHub::parse(format, &bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(ToHub::parse(format, &bytes[..end]).is_err(), "{end}");
        }
        bytes.push(b'0');
        assert_eq!(code(ToHub::parse(format, &bytes)), "PARSE_ERROR");
    }
}

#[test]
fn what_has_no_form_in_the_other_format_is_refused_with_its_id() {
    for content in [
        "1e999",
        "[-1e999]",
        r#""\ud800""#,
        r#"{"\udc00":1}"#,
        r#""\ud800\u0041""#,
        r#""\ud800\ud800""#,
        &"9".repeat(400),
    ] {
        let error = carried(content).unwrap_err();
        assert_eq!(error.code, "CONTENT_NOT_CONVERTIBLE", "{content}");
        assert_eq!(error.client_message_id.as_deref(), Some("c"));
    }
    assert!(carried("1e-999").is_ok());
    let nan = [&[0xcb][..], &f64::NAN.to_bits().to_be_bytes()].concat();
    let infinite = [&[0xca][..], &f32::INFINITY.to_bits().to_be_bytes()].concat();
    for content in [
        &nan[..],
        &infinite,
        &[0x91, 0xc4, 1, 0],
        &[0x81, 0xa1, b'a', 0xc4, 0],
        &[0x81, 0x01, 0x01],
        &[0x81, 0xc0, 0x01],
        &[0xd4, 1, 2],
        &[0x91, 0xd6, 0xff, 0, 0, 0, 0],
    ] {
        let error = ToHub::parse(Format::MessagePack, &packed(content)).unwrap_err();
        assert_eq!(error.code, "CONTENT_NOT_CONVERTIBLE", "{content:x?}");
        assert_eq!(error.client_message_id.as_deref(), Some("c"));
    }
    // Elsewhere than in content, nobody minds.
    assert!(parse(r#"{"type":"pong","x":[1e999,"\ud800"]}"#).is_ok());
    let ignored = b"\x82\xa4type\xa4pong\xa1x\x91\xd4\x01\x02";
    assert!(ToHub::parse(Format::MessagePack, ignored).is_ok());
}

#[test]
fn what_is_no_frame_is_told_apart() {
    for text in [
        "",
        " ",
        "{",
        "[]",
        "1",
        "null",
        "{}",
        "{}{}",
        "{\"type\":1}",
        "{\"type\":null}",
        "{'type':'pong'}",
        "{\"type\":\"pong\",}",
        "{\"type\":\"pong\" \"a\":1}",
        "{\"type\":\"pong\"}x",
        "\u{feff}{\"type\":\"pong\"}",
        "{\"type\":\"po\u{1}ng\"}",
        "{\"type\":\"\\x\"}",
        "{\"type\":\"\\ud800\"}",
        "{\"\\ud800\":1,\"type\":\"pong\"}",
        "{\"type\":\"pong\",\"a\":01}",
        "{\"type\":\"pong\",\"a\":1.}",
        "{\"type\":\"pong\",\"a\":.5}",
        "{\"a\":+1}",
        "{\"type\":\"pong\",\"a\":1e}",
        "{\"type\":\"pong\",\"a\":NaN}",
        "{\"type\":\"pong\",\"a\":-}",
        "{\"type\":\"pong\",\"a\":[1,]}",
        "{\"type\":\"pong\",\"a\":[,1]}",
        "{\"type\":\"pong\",\"a\":tru}",
        "{\"type\":\"pong\",\"type\":\"pong\"}",
        "{\"type\":\"pong\",\"t\\u0079pe\":\"state\"}",
        "{\"type\":\"pong\",\"payload\":{},\"payload\":{}}",
        "{\"type\":\"ack\",\"payload\":{\"up_to\":1,\"up_to\":2}}",
    ] {
        assert_eq!(code(parse(text)), "PARSE_ERROR", "{text}");
    }
    for bytes in [
        &b"{\"type\":\"p\xff\"}"[..],
        b"{\"type\":\"pong\",\"a\":\"\xed\xa0\x80\"}",
        b"\xff",
    ] {
        assert_eq!(code(ToHub::parse(Format::Json, bytes)), "PARSE_ERROR");
    }
    for bytes in [
        &b"\x81\xa4type\xc1"[..],
        b"\x81\xa4type\xa1\xff",
        b"\x82\xa4type\xa4pong\x01\x01",
        b"\x80",
        b"\x90",
        b"\x81\xc4\x04type\xa4pong",
        b"\x81\xa4type\xc4\x04pong",
        b"{\"type\":\"pong\"}",
        b"\x82\xa4type\xa4pong\xa4type\xa4pong",
    ] {
        let result = ToHub::parse(Format::MessagePack, bytes);
        assert_eq!(code(result), "PARSE_ERROR", "{bytes:x?}");
    }
    let error = parse(r#"{"type":"fly\n","payload":{"client_message_id":"c"}}"#).unwrap_err();
    assert_eq!(error.code, "UNKNOWN_TYPE");
    assert!(error.message.contains("fly\u{fffd}"), "{error}");
    assert_eq!(error.client_message_id.as_deref(), Some("c"));
}

#[test]
fn fields_are_checked() {
    let message = |fields: &str| {
        parse(&format!(
            "{{\"type\":\"message\",\"payload\":{{{fields}}}}}"
        ))
    };
    let long = "x".repeat(MAX_ID_BYTES + 1);
    for fields in [
        r#""content":1"#,
        r#""recipient_user_id":"u""#,
        r#""recipient_user_id":1,"content":1"#,
        r#""recipient_user_id":"","content":1"#,
        r#""recipient_user_id":"\n","content":1"#,
        r#""recipient_user_id":"\ud800","content":1"#,
        r#""recipient_user_id":null,"content":1"#,
        r#""recipient_user_id":"u","content":1,"client_message_id":7"#,
        r#""recipient_user_id":"u","content":1,"recipient_device_id":"""#,
        r#""recipient_user_id":"u","content":1,"echo_self":1"#,
        r#""recipient_user_id":"u","content":1,"encoding":"hex""#,
        r#""recipient_user_id":"u","content":1,"encoding":"base64""#,
        r#""recipient_user_id":"u","content":"*","encoding":"base64""#,
        r#""recipient_user_id":"u","content":"QQ==QQ==","encoding":"base64""#,
        &format!(r#""recipient_user_id":"{long}","content":1"#),
    ] {
        assert_eq!(code(message(fields)), "INVALID_PAYLOAD", "{fields}");
    }
    assert!(
        message(&format!(
            r#""recipient_user_id":"{}","content":1"#,
            &long[1..]
        ))
        .is_ok()
    );
    let nulls = r#""recipient_user_id":"u","recipient_device_id":null,"echo_self":null,"content":null,"encoding":null"#;
    assert!(message(nulls).is_ok());
    for text in [
        r#"{"type":"message"}"#,
        r#"{"type":"message","payload":null}"#,
        r#"{"type":"pong","payload":[]}"#,
        r#"{"type":"ack","payload":{}}"#,
        r#"{"type":"ack","payload":{"up_to":-1}}"#,
        r#"{"type":"ack","payload":{"up_to":1.5}}"#,
        r#"{"type":"ack","payload":{"up_to":"1"}}"#,
        r#"{"type":"ack","payload":{"up_to":9007199254740993}}"#,
        r#"{"type":"ack","payload":{"up_to":1e999}}"#,
        r#"{"type":"ack","payload":{"up_to":18446744073709551616}}"#,
        r#"{"type":"refresh","payload":{}}"#,
        r#"{"type":"ping","payload":{"t":{}}}"#,
        r#"{"type":"ping","payload":{"t":1e999}}"#,
        &json!({"type": "ping", "payload": {"t": "x".repeat(MAX_ECHO_BYTES + 1)}}).to_string(),
        &json!({"type": "refresh", "payload": {"token": "x".repeat(MAX_TOKEN_BYTES + 1)}})
            .to_string(),
    ] {
        assert_eq!(code(parse(text)), "INVALID_PAYLOAD", "{text}");
    }
    let acks = [
        ("9007199254740992", 1 << 53),
        ("5.0", 5),
        ("1e3", 1000),
        ("-0", 0),
    ];
    for (spelled, up_to) in acks {
        let text = format!(r#"{{"payload":{{"up_to":{spelled}}},"type":"ack"}}"#);
        assert_eq!(parse(&text), Ok(ToHub::Ack { up_to }));
    }
    let escaped = r#"{"t\u0079pe":"ack","payload":{"up_\u0074o":4,"other":{}},"more":[]}"#;
    assert_eq!(parse(escaped), Ok(ToHub::Ack { up_to: 4 }));
}

#[test]
fn sizes_are_bounded() {
    let padded = |len: usize| format!("{{\"type\":\"pong\"}}{}", " ".repeat(len - 15));
    assert_eq!(parse(&padded(MAX_FRAME_BYTES)), Ok(ToHub::Pong));
    assert_eq!(code(parse(&padded(MAX_FRAME_BYTES + 1))), "TOO_LONG");
    // A control character takes one byte in MessagePack and six in JSON.
    let controls = |len: usize| [&[0xdb][..], &(len as u32).to_be_bytes(), &vec![1; len]].concat();
    assert!(carried_packed(&controls(MAX_FRAME_BYTES / 6 - 1)).is_ok());
    assert_eq!(
        code(carried_packed(&controls(MAX_FRAME_BYTES / 6 + 1))),
        "TOO_LONG"
    );
}

#[test]
fn no_secret_shows() {
    let token = "eyJhbGciOi".to_owned();
    let frame = ToHub::Refresh { token };
    assert!(!format!("{frame:?}").contains("eyJ"));
    let long = json!({"type": "refresh", "payload": {"token": "eyJ".repeat(MAX_TOKEN_BYTES)}});
    assert!(
        !parse(&long.to_string())
            .unwrap_err()
            .to_string()
            .contains("eyJ")
    );
}

#[test]
fn content_that_breaks_its_promise_becomes_nil() {
    let long = "[".repeat(100_000);
    for text in [
        "", "{", "[1,]", "1 2", "[1e999]", "1e999", "\"\\ud800\"", "\"\u{1}\"", &long,
    ] {
        let mut out = vec![7];
        transcode::to_msgpack(text, &mut out);
        assert_eq!(out, [7, 0xc0], "{text:.20}");
        assert!(Content::json(text).is_err());
    }
}
