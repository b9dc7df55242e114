//! Message Routing.

use serde_json::json;

use crate::support::*;

/// SOCK-07: a message for a device reaches its connection at once; the sender is stamped by the hub, and told when it is
/// acknowledged.
#[actix_web::test]
async fn a_message_for_a_device_is_delivered_to_its_connection() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    let mut bob = Device::connect(addr, "bob", "phone").await;
    ann.send(
        "message",
        json!({"recipient_user_id": "bob", "recipient_device_id": "phone", "client_message_id": "m1",
            "content": {"text": "hello", "n": 1e100}, "sender_user_id": "mallory"}),
    )
    .await;
    let message = bob.expect("message").await;
    assert_eq!(message["content"], json!({"text": "hello", "n": 1e100}));
    assert_eq!(message["sender_user_id"], "ann");
    assert_eq!(message["sender_device_id"], "laptop");
    assert_eq!(message["client_message_id"], "m1");
    assert!(message["sent_at"].as_u64().unwrap() > 1_700_000_000_000);
    ann.hears_nothing().await;
    bob.send("ack", json!({"up_to": message["message_id"]}))
        .await;
    let receipt = ann.expect("accepted").await;
    let expected = json!({"message_id": message["message_id"], "client_message_id": "m1", "status": "delivered", "devices": 1});
    assert_eq!(receipt, expected);
}

/// SOCK-08: a message for a user reaches all of that user's devices, also one that is away; a sender's own devices
/// only when asked for.
#[actix_web::test]
async fn a_message_for_a_user_is_delivered_to_every_device() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut laptop = Device::connect(addr, "ann", "laptop").await;
    let mut phone = Device::connect(addr, "ann", "phone").await;
    Device::connect(addr, "ann", "tablet").await.close().await;
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    let mut watch = Device::connect(addr, "bob", "watch").await;
    bob.post("ann", None, "1", json!("to all")).await;
    for device in [&mut laptop, &mut phone] {
        assert_eq!(device.take().await["content"], "to all");
    }
    let receipt = bob.expect("accepted").await;
    assert_eq!(
        (&receipt["status"], &receipt["devices"]),
        (&json!("stored"), &json!(3))
    );
    watch.hears_nothing().await;
    let mut tablet = Device::connect(addr, "ann", "tablet").await;
    assert_eq!(tablet.take().await["content"], "to all");

    bob.send(
        "message",
        json!({"recipient_user_id": "ann", "content": "echoed", "echo_self": true}),
    )
    .await;
    assert_eq!(watch.take().await["content"], "echoed");
    for device in [&mut laptop, &mut phone, &mut tablet] {
        assert_eq!(device.take().await["content"], "echoed");
    }
    assert_eq!(bob.expect("accepted").await["devices"], 4);
    bob.hears_nothing().await;
}

/// SOCK-09: a message for a user who is not connected is stored, and given in order when the user comes.
#[actix_web::test]
async fn a_message_for_somebody_offline_waits_in_the_store() {
    let hub = hub();
    let addr = hub.addrs[0];
    Device::connect(addr, "ann", "laptop").await.close().await;
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    for n in 0..300 {
        let receipt = bob
            .deliver("ann", Some("laptop"), &n.to_string(), json!(n))
            .await;
        assert_eq!(receipt["status"], "stored");
    }
    // A user whom nobody has ever seen has a mailbox too; the first device gets what is in it.
    assert_eq!(
        bob.deliver("cid", None, "c", json!("welcome")).await["status"],
        "stored"
    );
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    let mut last = 0;
    for n in 0..300 {
        let message = ann.take().await;
        assert_eq!(message["content"], n);
        let id = message["message_id"].as_u64().unwrap();
        assert!(id > last);
        last = id;
    }
    ann.hears_nothing().await;
    let mut cid = Device::connect(addr, "cid", "first").await;
    assert_eq!(cid.take().await["content"], "welcome");
}

/// At least once: what was not acknowledged comes again, in order; what was does not.
#[actix_web::test]
async fn what_was_not_acknowledged_comes_again() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    for n in 0..4 {
        bob.post("ann", Some("laptop"), &n.to_string(), json!(n))
            .await;
    }
    let first = ann.expect("message").await;
    let second = ann.expect("message").await;
    ann.send("ack", json!({"up_to": first["message_id"]})).await;
    assert_eq!(bob.expect("accepted").await["status"], "delivered");
    ann.expect("message").await;
    ann.vanish();
    for _ in 0..3 {
        assert_eq!(bob.expect("accepted").await["status"], "stored");
    }
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    let again = ann.take().await;
    assert_eq!(again, second);
    for n in 2..4 {
        assert_eq!(ann.take().await["content"], n);
    }
    ann.hears_nothing().await;
}

/// A message that is sent again under its id is answered again, and delivered once.
#[actix_web::test]
async fn a_repeated_message_is_answered_and_not_delivered_again() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    bob.post("ann", None, "same", json!(1)).await;
    bob.post("ann", None, "same", json!(1)).await;
    ann.take().await;
    let receipt = bob.expect("accepted").await;
    let again = bob.deliver("ann", None, "same", json!(1)).await;
    assert_eq!(again["message_id"], receipt["message_id"]);
    assert_eq!(again["duplicate"], true);
    ann.hears_nothing().await;
}

/// A full mailbox refuses; it loses nothing of what it took.
#[actix_web::test]
async fn a_full_mailbox_says_so_and_keeps_what_it_has() {
    let hub = hub_with(|config| config.mail.mailbox_letters = 3);
    let addr = hub.addrs[0];
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    for n in 0..3 {
        bob.deliver("ann", Some("laptop"), &n.to_string(), json!(n))
            .await;
    }
    bob.post("ann", Some("laptop"), "3", json!(3)).await;
    let error = bob.expect("error").await;
    assert_eq!(error["code"], "MAILBOX_FULL");
    assert_eq!(
        (&error["retryable"], &error["client_message_id"]),
        (&json!(true), &json!("3"))
    );
    assert_eq!(refusals(addr, "mailbox").await, 1);
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    for n in 0..3 {
        assert_eq!(ann.take().await["content"], n);
    }
    ann.hears_nothing().await;
    // The store makes room a moment after the acknowledgement; a refused message may come again under its id.
    loop {
        bob.post("ann", Some("laptop"), "3", json!(3)).await;
        bob.send("ping", json!({})).await;
        let (kind, payload) = bob.recv().await;
        if kind == "pong" {
            break;
        }
        assert_eq!(payload["code"], "MAILBOX_FULL");
        bob.expect("pong").await;
    }
    assert_eq!(ann.take().await["content"], 3);
}
