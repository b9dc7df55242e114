//! What is written is read again, in both formats and from one to the other.
#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::wire::arbitrary::{id, object, value};

const FORMATS: [Format; 2] = [Format::Json, Format::MessagePack];

fn json_content() -> impl Strategy<Value = Content> {
    value().prop_map(|value| Content::json(&value.to_string()).unwrap())
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        json_content(),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Content::Binary(bytes.into())),
    ]
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any::<bool>().prop_map(Scalar::Flag),
        any::<u64>().prop_map(Scalar::Uint),
        (i64::MIN..0).prop_map(Scalar::Int),
        proptest::num::f64::NORMAL.prop_map(Scalar::Float),
        "\\PC{0,30}".prop_map(|text| Scalar::Text(text.into())),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..=300_u64, 0..=MAX_MESSAGE_ID]
}

fn to_hub() -> impl Strategy<Value = ToHub> {
    let message = (
        id(),
        option::of(id()),
        option::of(id()),
        any::<bool>(),
        content(),
    );
    prop_oneof![
        message.prop_map(|(user, device, own, echo_self, content)| {
            ToHub::Message(Box::new(Outgoing {
                recipient_user_id: user.into(),
                recipient_device_id: device.map(Into::into),
                client_message_id: own.map(Into::into),
                echo_self,
                content,
            }))
        }),
        number().prop_map(|up_to| ToHub::Ack { up_to }),
        option::of(scalar()).prop_map(|t| ToHub::Ping { t }),
        Just(ToHub::Pong),
        any::<String>().prop_map(|token| ToHub::Refresh { token }),
        Just(ToHub::State),
    ]
}

fn maybe_id() -> impl Strategy<Value = Option<Cow<'static, str>>> {
    option::of(id().prop_map(Cow::Owned))
}

fn from_hub() -> impl Strategy<Value = FromHub<'static>> {
    let connected = (
        (id(), id(), id(), id()),
        any::<bool>(),
        (number(), number(), number()),
        option::of(number()),
    );
    let message = (number(), id(), id(), maybe_id(), number(), content());
    let accepted = (number(), maybe_id(), any::<(bool, bool)>(), number());
    let error = (
        id(),
        any::<String>(),
        any::<bool>(),
        option::of(number()),
        maybe_id(),
    );
    prop_oneof![
        connected.prop_map(|(ids, resumed, numbers, token_expires_in_ms)| {
            FromHub::Connected(Connected {
                connection_id: ids.0.into(),
                user_id: ids.1.into(),
                device_id: ids.2.into(),
                session: ids.3.into(),
                resumed,
                expired: numbers.0,
                ping_interval_ms: numbers.1,
                max_message_bytes: numbers.2,
                token_expires_in_ms,
            })
        }),
        message.prop_map(|(message_id, user, device, own, sent_at_ms, content)| {
            FromHub::Message(Incoming {
                message_id,
                sender_user_id: user.into(),
                sender_device_id: device.into(),
                client_message_id: own,
                sent_at_ms,
                content: Cow::Owned(content),
            })
        }),
        accepted.prop_map(|(message_id, own, (stored, duplicate), devices)| {
            FromHub::Accepted(Accepted {
                message_id,
                client_message_id: own,
                status: if stored {
                    Delivery::Stored
                } else {
                    Delivery::Delivered
                },
                devices,
                duplicate,
            })
        }),
        error.prop_map(|(code, message, retryable, retry_after_ms, own)| {
            FromHub::Error(ErrorReport {
                code: code.into(),
                message: message.into(),
                retryable,
                retry_after_ms,
                client_message_id: own,
            })
        }),
        Just(FromHub::Ping),
        option::of(scalar()).prop_map(|t| FromHub::Pong { t }),
        number().prop_map(|expires_in_ms| FromHub::TokenExpiring { expires_in_ms }),
        number().prop_map(|expires_in_ms| FromHub::Refreshed { expires_in_ms }),
        object().prop_map(FromHub::State),
        number().prop_map(|retry_after_ms| FromHub::GoingAway { retry_after_ms }),
    ]
}

/// What content means, whatever its spelling.
fn meaning(content: &Content) -> Result<Value, Bytes> {
    match content {
        Content::Json(text) => Ok(serde_json::from_str(text).unwrap()),
        Content::Binary(bytes) => Err(bytes.clone()),
    }
}

fn encoded(frame: &ToHub, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(format, &mut out);
    out
}

#[test]
fn subprotocols_name_formats() {
    assert_eq!(Format::of_protocol("loaner.v1.json"), Some(Format::Json));
    let msgpack = Format::of_protocol("loaner.v1.msgpack");
    assert_eq!(msgpack, Some(Format::MessagePack));
    for protocol in Format::PROTOCOLS {
        let format = Format::of_protocol(protocol).unwrap();
        assert_eq!(format.protocol(), protocol);
    }
    for other in ["", "json", "LOANER.V1.JSON", "loaner.v1.json "] {
        assert_eq!(Format::of_protocol(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn every_frame_to_the_hub_survives(frame in to_hub()) {
        for format in FORMATS {
            let bytes = encoded(&frame, format);
            let again = ToHub::parse(format, &bytes).unwrap();
            match (&frame, &again) {
                (ToHub::Message(was), ToHub::Message(is)) => {
                    prop_assert_eq!(meaning(&was.content), meaning(&is.content));
                    let is = Outgoing { content: was.content.clone(), ..(**is).clone() };
                    prop_assert_eq!(&**was, &is);
                }
                _ => prop_assert_eq!(&frame, &again),
            }
            // What has been through once stays as it is, to the byte.
            prop_assert_eq!(encoded(&again, format), bytes);
        }
    }

    #[test]
    fn every_frame_from_the_hub_survives(frame in from_hub()) {
        for format in FORMATS {
            let mut bytes = Vec::new();
            frame.encode(format, &mut bytes);
            let again = FromHub::parse(format, &bytes).unwrap();
            match (&frame, &again) {
                (FromHub::Message(was), FromHub::Message(is)) => {
                    prop_assert_eq!(meaning(&was.content), meaning(&is.content));
                    let is = Incoming { content: was.content.clone(), ..is.clone() };
                    prop_assert_eq!(was, &is);
                }
                _ => prop_assert_eq!(&frame, &again),
            }
        }
    }

    #[test]
    fn json_through_msgpack_means_the_same(value in value()) {
        let mut packed = Vec::new();
        transcode::to_msgpack(&value.to_string(), &mut packed);
        let text = transcode::to_json(&packed, 1 << 20).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn any_double_survives(number in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO) {
        let mut packed = Vec::new();
        transcode::to_msgpack(&format!("{number:e}"), &mut packed);
        prop_assert_eq!(&packed[1..], &number.to_bits().to_be_bytes()[..]);
        let text = transcode::to_json(&packed, 100).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
    }

    #[test]
    fn text_of_json_passes_as_it_is(value in value()) {
        // However it is laid out, it arrives compact.
        let loose = serde_json::to_string_pretty(&value).unwrap();
        let content = Content::json(&loose).unwrap();
        prop_assert_eq!(content, Content::Json(value.to_string().into()));
    }

    #[test]
    fn bytes_through_base64_are_the_same(bytes in vec(any::<u8>(), 0..100)) {
        let message = |content: Content| ToHub::Message(Box::new(Outgoing {
            recipient_user_id: "u".into(),
            recipient_device_id: None,
            client_message_id: None,
            echo_self: false,
            content,
        }));
        let frame = message(Content::Binary(bytes.into()));
        let padded = String::from_utf8(encoded(&frame, Format::Json)).unwrap();
        let bare = padded.replace('=', "");
        for text in [&padded, &bare] {
            prop_assert_eq!(ToHub::parse(Format::Json, text.as_bytes()), Ok(frame.clone()));
        }
    }
}
