//! WebSocket Message Format.

use loaner::wire::device::{Content, Format, FromHub, ToHub};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::*;

async fn from_hub(device: &mut Device) -> FromHub<'static> {
    match device.next().await {
        Message::Binary(bytes) => FromHub::parse(Format::MessagePack, &bytes).unwrap(),
        other => panic!("no binary frame: {other:?}"),
    }
}

async fn say(device: &mut Device, frame: &ToHub) {
    let mut bytes = Vec::new();
    frame.encode(Format::MessagePack, &mut bytes);
    device.send_message(Message::binary(bytes)).await;
}

fn message(user: &str, content: Content) -> ToHub {
    ToHub::Message(Box::new(loaner::wire::device::Outgoing {
        recipient_user_id: user.into(),
        recipient_device_id: Some("laptop".into()),
        client_message_id: None,
        echo_self: false,
        content,
    }))
}

/// SOCK-16: every frame is an object with a type and a payload; unknown fields are ignored, an unknown type is an error.
#[actix_web::test]
async fn json_frames_have_a_type_and_a_payload() {
    let hub = hub();
    let mut device = Device::connect(hub.addrs[0], "ann", "laptop").await;
    let frame =
        json!({"type": "ping", "payload": {"t": 7, "more": [1]}, "extra": true}).to_string();
    device.send_message(Message::text(frame)).await;
    assert_eq!(device.recv().await, ("pong".to_owned(), json!({"t": 7})));
    device.send("dance", json!({})).await;
    let error = device.expect("error").await;
    assert_eq!(error["code"], "UNKNOWN_TYPE");
    assert!(error["message"].as_str().unwrap().contains("dance"));
    // What a message says goes through unread: spelling, order, great numbers.
    let text = r#"{"type":"message","payload":{"recipient_user_id":"ann","recipient_device_id":"laptop","echo_self":true,"content":{"z":1.10,"a":123456789012345678901234567890}}}"#;
    device.send_message(Message::text(text)).await;
    match device.next().await {
        Message::Text(text) => {
            assert!(
                text.contains(r#""content":{"z":1.10,"a":123456789012345678901234567890}"#),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// SOCK-17: MessagePack in binary frames has the same schema; content passes from one form to the other and back.
#[actix_web::test]
async fn messagepack_and_json_devices_understand_each_other() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut json_side = Device::connect(addr, "ann", "laptop").await;
    // Without a subprotocol the answer is in the kind that the device used last.
    let mut packed = Device::connect(addr, "bob", "laptop").await;
    say(&mut packed, &ToHub::Ping { t: None }).await;
    assert_eq!(from_hub(&mut packed).await, FromHub::Pong { t: None });

    let bytes = Content::Binary(vec![0, 159, 255].into());
    say(&mut packed, &message("ann", bytes.clone())).await;
    let got = json_side.take().await;
    assert_eq!(
        (&got["content"], &got["encoding"]),
        (&json!("AJ//"), &json!("base64"))
    );
    assert!(matches!(from_hub(&mut packed).await, FromHub::Accepted(_)));

    json_side
        .send(
            "message",
            json!({"recipient_user_id": "bob", "recipient_device_id": "laptop",
            "content": got["content"], "encoding": "base64"}),
        )
        .await;
    let FromHub::Message(back) = from_hub(&mut packed).await else {
        panic!("no message");
    };
    assert_eq!(*back.content, bytes);
    say(
        &mut packed,
        &ToHub::Ack {
            up_to: back.message_id,
        },
    )
    .await;
    json_side.expect("accepted").await;

    let value = Content::json(r#"{"a":[1,-2,1.5,null,true,"é"]}"#).unwrap();
    say(&mut packed, &message("ann", value)).await;
    assert_eq!(
        json_side.take().await["content"],
        json!({"a": [1, -2, 1.5, null, true, "é"]})
    );
}

/// SOCK-17: a subprotocol settles the format from the greeting on.
#[actix_web::test]
async fn a_subprotocol_settles_the_format() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let hub = hub();
    let url = format!("ws://{}/ws/?token={}", hub.addrs[0], token("ann", "laptop"));
    let mut request = url.into_client_request().unwrap();
    let offered = "chat, loaner.v1.msgpack".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    let (mut socket, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(
        answer.headers()["sec-websocket-protocol"],
        "loaner.v1.msgpack"
    );
    let greeting = futures_util::StreamExt::next(&mut socket)
        .await
        .unwrap()
        .unwrap();
    let Message::Binary(bytes) = greeting else {
        panic!("{greeting:?}")
    };
    let greeting = FromHub::parse(Format::MessagePack, &bytes).unwrap();
    assert!(matches!(greeting, FromHub::Connected(_)), "{greeting:?}");
}
