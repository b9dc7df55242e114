//! Error Handling.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::*;

/// SOCK-18: what cannot be read is answered with an error, and the connection lives; who goes on is closed.
#[actix_web::test]
async fn rubbish_is_answered_and_persistent_rubbish_closed() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut device = Device::connect(addr, "ann", "laptop").await;
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let deep = format!(
        r#"{{"type":"message","payload":{{"recipient_user_id":"ann","content":{open}{close}}}}}"#
    );
    for (rubbish, code) in [
        (Message::text("{oops"), "PARSE_ERROR"),
        (Message::text(""), "PARSE_ERROR"),
        (Message::text("[]"), "PARSE_ERROR"),
        (Message::text(deep), "TOO_DEEP"),
        (Message::binary(vec![0xc1]), "PARSE_ERROR"),
        (Message::text(r#"{"type":"ack"}"#), "INVALID_PAYLOAD"),
    ] {
        device.send_message(rubbish.clone()).await;
        if rubbish.is_binary() {
            assert!(device.next().await.is_binary());
            device.send("ping", json!({})).await;
            device.expect("pong").await;
        } else {
            assert_eq!(device.expect("error").await["code"], code, "{rubbish:.40}");
        }
    }
    device.hears_nothing().await;
    for _ in 6..20 {
        device.send_message(Message::text("rubbish")).await;
        device.expect("error").await;
    }
    assert_eq!(device.closed_with().await.0, 1008);
    assert_eq!(refusals(addr, "rubbish").await, 1);
}

/// SOCK-19: what cannot be done is an error with a code and a message, that names the message it is about and says
/// whether to try again; the connection lives.
#[actix_web::test]
async fn what_cannot_be_done_is_an_error_with_a_code() {
    let hub = hub_with(|config| config.mail.devices_per_user = 1);
    let mut device = Device::connect(hub.addrs[0], "ann", "laptop").await;
    device.post("ann", Some("phone"), "m1", json!(1)).await;
    let error = device.expect("error").await;
    assert_eq!(error["code"], "NO_SUCH_DEVICE");
    assert_eq!(error["retryable"], false);
    assert_eq!(error["client_message_id"], "m1");
    assert!(!error["message"].as_str().unwrap().is_empty());
    device
        .send("message", json!({"client_message_id": "m2", "content": 1}))
        .await;
    let error = device.expect("error").await;
    assert_eq!(
        (&error["code"], &error["client_message_id"]),
        (&json!("INVALID_PAYLOAD"), &json!("m2"))
    );
    device.hears_nothing().await;
}

/// SOCK-19: too many messages in a second are refused with the time to wait, each by its id; who does not slow down is
/// closed.
#[actix_web::test]
async fn who_sends_too_fast_is_told_and_then_closed() {
    let hub = hub_with(|config| config.limits.socket_messages_per_second = 5);
    let addr = hub.addrs[0];
    let mut device = Device::connect(addr, "ann", "laptop").await;
    for n in 0..10 {
        device.send("ping", json!({"t": n})).await;
        device.expect("pong").await;
    }
    device.post("ann", None, "m1", json!(1)).await;
    let error = device.expect("error").await;
    assert_eq!(
        (&error["code"], &error["client_message_id"]),
        (&json!("RATE_LIMITED"), &json!("m1"))
    );
    let wait = error["retry_after_ms"].as_u64().unwrap();
    assert!((1..=200).contains(&wait), "{wait}");
    for _ in 0..50 {
        device.send("ping", json!({})).await;
    }
    loop {
        match device.next().await {
            Message::Close(Some(frame)) => break assert_eq!(u16::from(frame.code), 4429),
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(refusals(addr, "message_rate").await >= 10);
}

/// SOCK-20: a connection that breaks is closed, cleaned up, and counted; nobody else notices.
#[actix_web::test]
async fn a_broken_connection_is_cleaned_up_and_counted() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    // A frame of a kind that does not exist.
    let tcp: &mut TcpStream = ann.tcp();
    tcp.write_all(&[0x83, 0x80, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(ann.closed_with().await.0, 1002);
    until(|| async { ask(addr, "/connections").await["total"] == 1 }).await;
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    ann.send_message(Message::text("x".repeat((1 << 20) + 1)))
        .await;
    assert_eq!(ann.closed_with().await.0, 1009);
    assert_eq!(refusals(addr, "message_size").await, 1);
    bob.hears_nothing().await;
}
