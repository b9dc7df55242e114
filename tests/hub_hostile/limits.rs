//! Limits on sockets, handshakes and sign-ins: each with its code and its metric.

use std::time::Duration;

use serde_json::{Value, json};

use crate::device::*;
use crate::support::{Answer, create_room, http, register, sign_in};

#[actix_web::test]
async fn of_two_sockets_of_one_device_the_newer_counts() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let mut sender = Wire::device(addr, "alice", "a1").await;
    let mut older = Wire::device(addr, "bob", "b1").await;
    let mut newer = Wire::device(addr, "bob", "b1").await;
    sender
        .post(("bob", Some("b1")), "1", json!("for the newer"))
        .await;
    assert_eq!(newer.recv_of("message").await["content"], "for the newer");
    // What the older one says still is nobody's business.
    older
        .post(("alice", None), "2", json!("from the past"))
        .await;
    older
        .send(json!({"type": "ack", "payload": {"up_to": 1u64 << 53}}))
        .await;
    assert_eq!(older.closed_with().await, 4409, "and no message before it");
    older.close().await;
    sender
        .post(("bob", None), "3", json!("still for the newer"))
        .await;
    assert_eq!(
        newer.recv_of("message").await["content"],
        "still for the newer"
    );
    newer.echo().await;
    sender.echo().await;
    assert_eq!(
        admin(addr, "/connections?user_id=bob").await["connections"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // A fight of two for one place ends with one in it, and nobody else notices.
    let fight = (0..20).map(|_| async { Wire::device(addr, "bob", "b1").await });
    let mut all = futures_util::future::join_all(fight).await;
    eventually("more than one is left", async || {
        admin(addr, "/connections").await["total"] == 2
    })
    .await;
    let mut living = 0;
    for wire in &mut all {
        wire.send(json!({"type": "ping"})).await;
        let ended = loop {
            match wire.next().await {
                // Each was given what is not acknowledged.
                (0x81, text) if text.starts_with(b"{\"type\":\"message\"") => {}
                (0x81, _) => break false,
                (0x88, payload) => {
                    assert_eq!(payload[..2], 4409u16.to_be_bytes());
                    break true;
                }
                other => panic!("{other:?}"),
            }
        };
        living += usize::from(!ended);
    }
    assert_eq!(living, 1);
    sender.send(json!({"type": "ping"})).await;
    sender.recv_of("pong").await;
}

#[actix_web::test]
async fn the_eleventh_connection_of_a_user_costs_the_oldest_its_place() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let mut bystander = Wire::device(addr, "bob", "b1").await;
    let mut wires = Vec::new();
    for n in 0..10 {
        wires.push(Wire::device(addr, "alice", &format!("a{n}")).await);
    }
    for wire in &mut wires {
        wire.echo().await;
    }
    assert_eq!(refusals(addr, "connections_per_user").await, 0);
    // The newcomer is not even greeted when the oldest is told already.
    let mut eleventh = Wire::try_device(addr, &token("alice", "a10"))
        .await
        .ok()
        .unwrap();
    assert_eq!(wires[0].closed_with().await, 4428);
    assert_eq!(refusals(addr, "connections_per_user").await, 1);
    assert_eq!(eleventh.recv().await["type"], "connected");
    for wire in &mut wires[1..] {
        wire.echo().await;
    }
    let listed = admin(addr, "/connections?user_id=alice").await;
    assert_eq!(listed["connections"].as_array().unwrap().len(), 10);
    // A device that comes again takes its own place, not the oldest's.
    let _again = Wire::device(addr, "alice", "a5").await;
    assert_eq!(wires[5].closed_with().await, 4409);
    wires[1].echo().await;
    bystander.echo().await;
}

#[actix_web::test]
async fn a_nearly_full_hub_knows_its_own_and_a_full_one_nobody() {
    let hub = device_hub(|config| {
        config.limits.sockets = 20;
        config.limits.sockets_soft = 15;
    });
    let addr = hub.addrs[0];
    let mut held = Vec::new();
    for n in 0..15 {
        held.push(Wire::device(addr, &format!("user{n}"), "d").await);
    }
    let refused = Wire::try_device(addr, &token("stranger", "d"))
        .await
        .err()
        .unwrap();
    assert_eq!(
        (refused.status, refusals(addr, "sockets_soft").await),
        (503, 1)
    );
    assert!(
        refused
            .header("retry-after")
            .is_some_and(|wait| wait != "0")
    );
    // Nor is there room for who is let in only to be told why it may not.
    let told = "/ws?close_codes=1&token=nonsense";
    let refused = Wire::open(addr, told, "").await.err().unwrap();
    assert_eq!(
        (refused.status, refusals(addr, "sockets_soft").await),
        (503, 2)
    );
    for n in 0..4 {
        held.push(Wire::device(addr, "user3", &format!("more{n}")).await);
    }
    // One who was here a moment ago is known as well.
    held.remove(0).reset();
    eventually("it stays in the table", async || {
        admin(addr, "/connections").await["total"] == 18
    })
    .await;
    held.push(Wire::device(addr, "user0", "d").await);
    held.push(Wire::device(addr, "user0", "d2").await);
    assert_eq!(refusals(addr, "sockets").await, 0);
    let refused = Wire::try_device(addr, &token("user3", "last"))
        .await
        .err()
        .unwrap();
    assert_eq!((refused.status, refusals(addr, "sockets").await), (503, 1));
    assert!(
        refused
            .header("retry-after")
            .is_some_and(|wait| wait != "0")
    );
    let refused = Wire::open(addr, "/", "").await.err().unwrap();
    assert_eq!((refused.status, refusals(addr, "sockets").await), (503, 2));
    // Whoever runs it still gets in, and those who are in notice nothing.
    assert_eq!(http(addr, "GET", "/health", None, None).await.status, 200);
    for wire in &mut held {
        wire.echo().await;
    }
    held.pop().unwrap().close().await;
    eventually("its place is not given to another", async || {
        Wire::try_device(addr, &token("user3", "last"))
            .await
            .is_ok()
    })
    .await;
}

/// Nine tenths of one are not nothing.
#[actix_web::test]
async fn a_small_hub_lets_strangers_in_too() {
    let hub = device_hub(|config| config.limits.sockets = 1);
    let addr = hub.addrs[0];
    for n in 0..3 {
        let wire = Wire::device(addr, &format!("user{n}"), "d").await;
        wire.close().await;
    }
    assert_eq!(refusals(addr, "sockets_soft").await, 0);
}

#[actix_web::test]
async fn handshakes_from_one_address_are_counted_whoever_they_are_for() {
    let hub = device_hub(|config| config.limits.handshakes_per_minute = 3);
    let addr = hub.addrs[0];
    let _first = Wire::device(addr, "alice", "a1").await;
    let _second = Wire::signalling(addr).await;
    assert_eq!(
        Wire::try_device(addr, "rubbish")
            .await
            .err()
            .unwrap()
            .status,
        401
    );
    for target in ["/", "/ws"] {
        let refused = Wire::open(addr, target, "").await.err().unwrap();
        assert_eq!(refused.status, 429);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=21).contains(&wait), "{wait}");
    }
    assert_eq!(refusals(addr, "handshakes_per_address").await, 2);
    assert_eq!(http(addr, "GET", "/health", None, None).await.status, 200);
}

fn retry_after(answer: &Answer) -> u64 {
    let wait = answer.headers.get("retry-after").expect("it says when");
    wait.to_str().unwrap().parse().unwrap()
}

#[actix_web::test]
async fn sign_ins_from_one_address_are_counted() {
    let hub = device_hub(|config| config.limits.signins_per_minute = 2);
    let addr = hub.addrs[0];
    let user = sign_in(addr).await;
    create_room(addr, &user).await;
    for (path, auth) in [
        ("/anonymous-signin", None),
        ("/create-room", Some(user.token.as_str())),
    ] {
        let refused = http(addr, "POST", path, auth, None).await;
        assert_eq!(refused.status, 429, "{path}");
        let wait = retry_after(&refused);
        assert!((1..=31).contains(&wait), "{wait}");
    }
    assert_eq!(refusals(addr, "signins_per_address").await, 2);
}

#[actix_web::test]
async fn room_tokens_are_not_found_by_trying() {
    let hub = device_hub(|config| config.limits.guesses_per_minute = 3);
    let addr = hub.addrs[0];
    let (owner, guesser) = (sign_in(addr).await, sign_in(addr).await);
    let (room, other) = (
        create_room(addr, &owner).await,
        create_room(addr, &owner).await,
    );
    let guess = |token: &str| register("p", &guesser, &room, json!({"token": token}));
    // On one socket or on several.
    for n in 0..3 {
        let reply = Wire::signalling(addr)
            .await
            .ask(guess(&format!("{n:032x}")))
            .await;
        assert_eq!(reply, json!({"type": "error", "reason": "Invalid token"}));
    }
    assert_eq!(refusals(addr, "token_guesses").await, 0);
    let mut wire = Wire::signalling(addr).await;
    for token in ["00000000000000000000000000000003", room.token.as_str()] {
        let reply = wire.ask(guess(token)).await;
        assert_eq!(reply["reason"], "Too many wrong tokens; wait a minute");
    }
    assert_eq!(refusals(addr, "token_guesses").await, 2);
    let reply = wire.ask(register("p", &guesser, &other, json!({}))).await;
    assert_eq!(
        reply["type"], "registered_auth",
        "the other room is not concerned"
    );
}

#[actix_web::test]
async fn a_socket_without_a_registration_is_closed() {
    let hub = device_hub(|config| config.limits.unregistered_time = Duration::from_millis(300));
    let addr = hub.addrs[0];
    let mut idle = Wire::signalling(addr).await;
    // It is no use to talk.
    let mut busy = Wire::signalling(addr).await;
    let mut device = Wire::device(addr, "alice", "a1").await;
    busy.send(json!({"type": "discover_peers"})).await;
    busy.recv().await;
    assert_eq!(idle.closed_with().await, 1000);
    assert_eq!(busy.closed_with().await, 1000);
    assert_eq!(refusals(addr, "unregistered").await, 2);
    device.echo().await;
}

/// A limit of 0 is a limit, not a defect.
#[actix_web::test]
async fn limits_of_zero_refuse_everybody_and_break_nothing() {
    let hub = device_hub(|config| {
        config.limits.handshakes_per_minute = 0;
        config.limits.signins_per_minute = 0;
    });
    let addr = hub.addrs[0];
    let refused = Wire::open(addr, "/", "").await.err().unwrap();
    assert_eq!(refused.status, 429);
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    let refused = http(addr, "POST", "/anonymous-signin", None, None).await;
    assert_eq!(refused.status, 429);
    assert!(retry_after(&refused) > 0);

    let hub = device_hub(|config| {
        config.limits.socket_bytes_per_second = 0;
        config.limits.socket_messages_per_second = 0;
    });
    let addr = hub.addrs[0];
    let mut wire = Wire::device(addr, "alice", "a1").await;
    let reply = wire.ask(json!({"type": "ping"})).await;
    assert_eq!(reply["payload"]["code"], "RATE_LIMITED", "{reply}");
    let wait = reply["payload"]["retry_after_ms"].as_u64().unwrap();
    assert!((1..1 << 53).contains(&wait), "{wait}");
    assert_eq!(metric(addr, "loaner_hub_panics_total").await, 0);
}

/// Every limit has a test in this binary that provokes it; a new one is missing here until it has.
#[actix_web::test]
async fn every_limit_is_known_to_these_tests() {
    let hub = device_hub(|_| {});
    let told = admin(hub.addrs[0], "/limits").await;
    let told: Vec<&str> = told["refused"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut known = [
        "handshakes_per_address", "sockets", "sockets_soft", "connections_per_user",
        "message_rate", "byte_rate", "message_size", "send_queue", "unregistered", "rubbish",
        "metadata_size", "peers_per_room", "rooms_per_user", "rooms", "signins_per_address",
        "token_guesses", "mailbox",
    ];
    known.sort_unstable();
    assert_eq!(told, known);
    // They are told to the administrator alone.
    for auth in [
        None,
        Some("Bearer x"),
        Some(""),
        Some("Bearer the administrator'"),
        Some("the administrator's and more"),
    ] {
        for path in ["/limits", "/rooms", "/connections"] {
            let answer = http(hub.addrs[0], "GET", path, auth, None).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body["refused"]),
                (401, &Value::Null)
            );
        }
    }
}
