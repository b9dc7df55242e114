//! Limits on what is kept: rooms, their peers and what these say of themselves, and mailboxes.

use loaner::wire::MAX_DEPTH;
use serde_json::json;

use crate::device::*;
use crate::support::{Peer, create_room, http, register, sign_in};

#[actix_web::test]
async fn rooms_are_bounded_for_each_user_and_for_all() {
    let hub = device_hub(|config| {
        config.limits.rooms_per_user = 2;
        config.limits.rooms = 3;
    });
    let addr = hub.addrs[0];
    let (a, b) = (sign_in(addr).await, sign_in(addr).await);
    let make = async |token: &str| http(addr, "POST", "/create-room", Some(token), None).await;
    for (user, status) in [(&a, 200), (&a, 200), (&a, 429), (&b, 200), (&b, 503)] {
        let answer = make(&user.token).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers.contains_key("retry-after"), status != 200);
    }
    assert_eq!(refusals(addr, "rooms_per_user").await, 1);
    assert_eq!(refusals(addr, "rooms").await, 1);
    assert_eq!(admin(addr, "/rooms").await["total"], 3);
}

#[actix_web::test]
async fn a_room_and_what_its_peers_say_of_themselves_are_bounded() {
    let hub = device_hub(|config| {
        config.limits.peers_per_room = 2;
        config.limits.metadata_bytes = 1024;
    });
    let addr = hub.addrs[0];
    let user = sign_in(addr).await;
    let room = create_room(addr, &user).await;
    let large = json!({"x": "x".repeat(1024)});
    let mut one = Peer::connect(addr).await;
    let reply = one
        .ask(register("one", &user, &room, json!({"metadata": large})))
        .await;
    assert_eq!(
        reply,
        json!({"type": "error", "reason": "metadata too large"})
    );
    assert_eq!(refusals(addr, "metadata_size").await, 1);
    let reply = one
        .ask(register(
            "one",
            &user,
            &room,
            json!({"metadata": {"x": "x".repeat(700)}}),
        ))
        .await;
    assert_eq!(reply["type"], "registered_auth");
    // Not by bits either.
    let more = json!({"type": "update_metadata", "peer_id": "one", "metadata": {"properties": {"y": "y".repeat(700)}}});
    assert_eq!(one.ask(more).await["type"], "error");
    assert_eq!(refusals(addr, "metadata_size").await, 2);

    let _two = Peer::join(addr, "two", &user, &room, json!({})).await;
    assert_eq!(one.discover("one", json!({})).await, ["two"]);
    let mut three = Peer::connect(addr).await;
    let reply = three.ask(register("three", &user, &room, json!({}))).await;
    assert_eq!(reply, json!({"type": "error", "reason": "Room full"}));
    assert_eq!(refusals(addr, "peers_per_room").await, 1);
    // Who takes its own place needs no further one.
    let _again = Peer::join(addr, "two", &user, &room, json!({})).await;
    assert_eq!(one.discover("one", json!({})).await, ["two"]);
}

#[actix_web::test]
async fn a_full_mailbox_refuses_and_loses_nothing_that_has_a_receipt() {
    let hub = device_hub(|config| config.mail.mailbox_letters = 3);
    let addr = hub.addrs[0];
    let mut alice = Wire::device(addr, "alice", "a1").await;
    // It is known, and away.
    Wire::device(addr, "bob", "b1").await.close().await;
    empty_but(addr, 1).await;
    let mut kept = Vec::new();
    for n in 0..6 {
        alice
            .post(("bob", Some("b1")), &format!("m{n}"), json!(n))
            .await;
        let reply = alice.recv().await;
        let payload = &reply["payload"];
        assert_eq!(payload["client_message_id"], format!("m{n}"));
        if reply["type"] == "accepted" {
            assert_eq!(payload["status"], "stored");
            kept.push(n);
        } else {
            assert_eq!(
                (&payload["code"], &payload["retryable"]),
                (&json!("MAILBOX_FULL"), &json!(true))
            );
        }
    }
    assert_eq!(kept, [0, 1, 2]);
    assert_eq!(refusals(addr, "mailbox").await, 3);
    assert_eq!(metric(addr, "loaner_hub_mail_refused_total").await, 3);
    // One full mailbox is no reason to keep anything from another.
    let mut carol = Wire::device(addr, "carol", "c1").await;
    alice.post(("carol", None), "c", json!("for carol")).await;
    assert_eq!(carol.recv_of("message").await["content"], "for carol");

    let mut bob = Wire::device(addr, "bob", "b1").await;
    let mut last = json!(0);
    for n in &kept {
        let message = bob.recv_of("message").await;
        assert_eq!(message["content"], *n);
        last = message["message_id"].clone();
    }
    bob.echo().await;
    bob.send(json!({"type": "ack", "payload": {"up_to": last}}))
        .await;
    bob.echo().await;
    // What was refused may come again under its old id, once the store has made room.
    loop {
        alice.post(("bob", Some("b1")), "m3", json!(3)).await;
        let reply = alice.ask(json!({"type": "ping"})).await;
        if reply["type"] == "pong" {
            break;
        }
        assert_eq!(reply["payload"]["code"], "MAILBOX_FULL");
        alice.recv_of("pong").await;
    }
    assert_eq!(bob.recv_of("message").await["content"], 3);
}

/// Whoever sends very much fills three quarters of a mailbox; the rest is for the user's own devices.
#[actix_web::test]
async fn a_stranger_does_not_part_a_users_own_devices() {
    let hub = device_hub(|config| config.mail.mailbox_letters = 8);
    let addr = hub.addrs[0];
    let mut stranger = Wire::device(addr, "mob", "m1").await;
    let mut phone = Wire::device(addr, "alice", "phone").await;
    Wire::device(addr, "alice", "laptop").await.close().await;
    empty_but(addr, 2).await;
    // How many each of them gets in, one after the other.
    for (wire, room) in [(&mut stranger, 6), (&mut phone, 2)] {
        for n in 0..room {
            wire.post(("alice", Some("laptop")), &format!("m{n}"), json!(n))
                .await;
            let reply = wire.recv().await;
            assert_eq!(reply["type"], "accepted", "{n} of {room}: {reply}");
        }
        wire.post(("alice", Some("laptop")), "last", json!(0)).await;
        assert_eq!(wire.recv().await["payload"]["code"], "MAILBOX_FULL");
    }
}

/// A worker `w`, in a room in which `c` was.
async fn worker_of_one_who_left(addr: std::net::SocketAddr) -> Peer {
    let (worker, client) = (sign_in(addr).await, sign_in(addr).await);
    let room = create_room(addr, &worker).await;
    let w = Peer::join(addr, "w", &worker, &room, json!({})).await;
    let c = Peer::join(addr, "c", &client, &room, json!({})).await;
    c.close().await;
    w
}

/// A worker's mail to a submitter that is away runs into the same bound, and is counted like any other.
#[actix_web::test]
async fn a_full_mailbox_refuses_the_mail_of_a_room_too() {
    let hub = device_hub(|config| config.mail.mailbox_letters = 1);
    let addr = hub.addrs[0];
    let mut w = worker_of_one_who_left(addr).await;
    for (n, kind) in [(0, "mail_accepted"), (1, "mail_refused")] {
        let mail = json!({"type": "mail", "from_peer_id": "w", "to_peer_id": "c", "client_message_id": format!("m{n}"),
            "payload": n});
        let reply = w.ask(mail).await;
        assert_eq!(
            (&reply["type"], &reply["client_message_id"]),
            (&json!(kind), &json!(format!("m{n}")))
        );
        if n == 1 {
            assert_eq!(reply["code"], "MAILBOX_FULL");
        }
    }
    assert_eq!(refusals(addr, "mailbox").await, 1);
}

/// A worker's mail may be nested as deep as any message between devices, and no deeper: it has to get out again, in
/// either format.
#[actix_web::test]
async fn the_mail_of_a_room_is_bounded_in_depth() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let mut w = worker_of_one_who_left(addr).await;
    let nested = |depth| (1..depth).fold(json!([]), |inner, _| json!([inner]));
    for (depth, kind) in [(MAX_DEPTH, "mail_accepted"), (MAX_DEPTH + 1, "error")] {
        let mail = json!({"type": "mail", "from_peer_id": "w", "to_peer_id": "c", "client_message_id": "m",
            "payload": nested(depth)});
        let reply = w.ask(mail).await;
        assert_eq!(reply["type"], kind, "{reply}");
        if kind == "error" {
            assert_eq!(reply["code"], "INVALID_MESSAGE", "{reply}");
        }
    }
}

async fn empty_but(addr: std::net::SocketAddr, left: u64) {
    eventually("a connection stays in the table", async || {
        admin(addr, "/connections").await["total"] == left
    })
    .await;
}
