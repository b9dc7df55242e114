//! Section 2a: the order of the checks, and what a registered peer is told.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

#[actix_web::test]
async fn the_checks_come_in_the_original_order_and_leave_the_socket_open() {
    let hub = hub_with(|config| config.room_lifetime = Duration::ZERO);
    let addr = hub.addrs[0];
    let user = sign_in(addr).await;
    let expired = create_room(addr, &user).await;
    let mut x = Peer::connect(addr).await;
    let missing =
        json!({"type": "error", "reason": "Missing required fields during registration."});
    let room = Room {
        id: "nowhere1".into(),
        token: "badbad".into(),
    };
    let nobody = User {
        token: "not.a.jwt".into(),
        ..user.clone()
    };

    assert_eq!(x.ask(json!({"type": "register"})).await, missing);
    for field in ["peer_id", "room_id", "token", "id_token"] {
        for empty in [json!(""), json!(null), json!(5), json!(["x"])] {
            let mut frame = register("x", &user, &room, json!({}));
            frame[field] = empty;
            assert_eq!(x.ask(frame).await, missing);
        }
    }
    assert_eq!(
        x.ask(register("x", &nobody, &room, json!({}))).await,
        json!({"error": "Invalid token"})
    );
    let reason = |reason: &str| json!({"type": "error", "reason": reason});
    assert_eq!(
        x.ask(register("x", &user, &room, json!({}))).await,
        reason("Room not found")
    );
    let wrong = Room {
        token: "badbad".into(),
        ..expired.clone()
    };
    assert_eq!(
        x.ask(register("x", &user, &wrong, json!({}))).await,
        reason("Invalid token")
    );
    assert_eq!(
        x.ask(register("x", &user, &expired, json!({}))).await,
        reason("Room expired")
    );
    for frame in [
        json!({"type": "discover_peers", "from_peer_id": "x"}),
        json!({"type": "discover_peers"}),
    ] {
        let reply = json!({"type": "error", "code": "NOT_IN_ROOM", "message": "Peer not registered in any room"});
        assert_eq!(x.ask(frame).await, reply);
    }
}

#[actix_web::test]
async fn registered_peers_learn_of_each_other_in_order() {
    let ice = json!({"urls": ["stun:192.0.2.1:3478"]});
    let hub = hub_with(|config| config.ice.stun = vec!["stun:192.0.2.1:3478".to_owned()]);
    let addr = hub.addrs[0];
    let (u1, u2, u3) = (
        sign_in(addr).await,
        sign_in(addr).await,
        sign_in(addr).await,
    );
    let room = create_room(addr, &u1).await;
    let worker =
        |memory| json!({"role": "worker", "is_admin": true, "metadata": worker_metadata(memory)});
    let expected = |id: &str, admin: &str, list: serde_json::Value, metadata: serde_json::Value| {
        json!({"type": "registered_auth", "room_id": room.id, "token": room.token, "peer_id": id,
            "admin_peer_id": admin, "peer_list": list, "peer_metadata": metadata, "ice_servers": [ice],
            "mesh_ice_servers": []})
    };

    let mut w1 = Peer::connect(addr).await;
    for _ in 0..2 {
        let reply = w1.ask(register("W1", &u1, &room, worker(16384))).await;
        assert_eq!(
            reply,
            expected("W1", "W1", json!([]), json!({})),
            "again on the same socket is no conflict"
        );
    }
    let mut w2 = Peer::connect(addr).await;
    let conflict = w2.ask(register("W2", &u2, &room, worker(8192))).await;
    assert_eq!(
        conflict,
        json!({"type": "admin_conflict", "room_id": room.id, "current_admin": "W1"})
    );
    let metadata = json!({"W1": worker_metadata(16384)});
    assert_eq!(
        w2.recv().await,
        expected("W2", "W1", json!(["W1"]), metadata),
        "after the conflict"
    );
    let mut c = Peer::connect(addr).await;
    let metadata = json!({"W1": worker_metadata(16384), "W2": worker_metadata(8192)});
    let reply = c.ask(register("C", &u3, &room, json!({}))).await;
    assert_eq!(reply, expected("C", "W1", json!(["W1", "W2"]), metadata));
    w1.hears_nothing().await;

    // The seat becomes free when the admin leaves; nobody is told, and the next claim wins it.
    w1.close().await;
    w2.hears_nothing().await;
    let reply = w2
        .ask(register(
            "W2",
            &u2,
            &room,
            json!({"role": "worker", "is_admin": false}),
        ))
        .await;
    assert_eq!(reply["admin_peer_id"], json!(null));
    let reply = w2
        .ask(register(
            "W2",
            &u2,
            &room,
            json!({"role": "worker", "is_admin": true}),
        ))
        .await;
    assert_eq!(reply["admin_peer_id"], "W2");
    let reply = w2
        .ask(register(
            "W2",
            &u2,
            &room,
            json!({"role": "worker", "is_admin": false}),
        ))
        .await;
    assert_eq!(
        reply["admin_peer_id"], "W2",
        "not claiming it again does not give it up"
    );
}

#[actix_web::test]
async fn what_a_peer_says_of_itself_is_bounded() {
    let s = scene_with(|config| {
        config.limits.peers_per_room = 3;
        config.limits.metadata_bytes = 2000;
    })
    .await;
    let user = sign_in(s.addr).await;
    let mut x = Peer::connect(s.addr).await;
    for (id, more) in [
        ("x", json!({"metadata": {"note": "x".repeat(2000)}})),
        ("x", json!({"metadata": ["x"]})),
        ("x", json!({"metadata": {"tags": "x"}})),
        ("x", json!({"metadata": {"properties": 5}})),
        ("x", json!({"role": "r".repeat(33)})),
        ("line\nbreak", json!({})),
        ("i".repeat(129).as_str(), json!({})),
    ] {
        let reply = x.ask(register(id, &user, &s.room, more)).await;
        assert!(
            reply["type"] == "error" && reply["reason"].is_string(),
            "{reply}"
        );
    }
    let reply = x
        .ask(register(
            "x",
            &user,
            &s.room,
            json!({"metadata": null, "role": null}),
        ))
        .await;
    assert_eq!(reply["type"], "registered_auth");
    let mut y = Peer::connect(s.addr).await;
    assert_eq!(
        y.ask(register("y", &user, &s.room, json!({}))).await["reason"],
        "Room full"
    );
    let reply = x.ask(register("x2", &user, &s.room, json!({}))).await;
    assert_eq!(
        reply["type"], "registered_auth",
        "a peer that changes its id takes no second place"
    );
}

#[actix_web::test]
async fn the_list_of_a_room_always_fits_into_one_frame() {
    let hub = hub_with(|config| config.limits.message_bytes = 64 << 10);
    let addr = hub.addrs[0];
    let user = sign_in(addr).await;
    let room = create_room(addr, &user).await;
    let mut peers = Vec::new();
    let refused = loop {
        let mut peer = Peer::connect(addr).await;
        let metadata = json!({"metadata": {"note": "\u{1}".repeat(2000)}});
        let reply = peer
            .ask(register(
                &format!("p{}", peers.len()),
                &user,
                &room,
                metadata,
            ))
            .await;
        assert!(reply.to_string().len() <= 64 << 10);
        if reply["type"] == "error" {
            break reply;
        }
        peers.push(peer);
    };
    assert!(
        text(&refused["reason"]).contains("too large together"),
        "{refused}"
    );
    assert!(peers.len() >= 3);
    assert_eq!(
        peers[0].discover("p0", json!({})).await.len(),
        peers.len() - 1
    );
}
