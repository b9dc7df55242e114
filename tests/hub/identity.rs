//! Weaknesses 1 to 4: nobody speaks as another peer, and nobody removes another peer.

use serde_json::json;

use crate::support::*;

#[actix_web::test]
async fn nobody_speaks_as_another_peer() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let v_user = sign_in(s.addr).await;
    let mut v = Peer::join(s.addr, "V", &v_user, &s.room, json!({"role": "client"})).await;
    let spoofed = [
        json!({"type": "discover_peers", "from_peer_id": c}),
        json!({"type": "update_metadata", "peer_id": c, "metadata": {"tags": ["spoofed"]}}),
        json!({"type": "peer_message", "from_peer_id": c, "to_peer_id": w, "payload": {"x": 1}}),
        json!({"type": "offer", "sender": c, "target": w, "sdp": "x"}),
        json!({"type": "answer", "sender": c, "target": w, "sdp": "x"}),
        json!({"type": "candidate", "sender": c, "target": w, "candidate": "x"}),
        json!({"type": "mesh_connect", "from_peer_id": c, "target_peer_id": w, "offer": {"sdp": "x"}}),
        json!({"type": "mesh_answer", "from_peer_id": c, "target_peer_id": w, "answer": {"sdp": "x"}}),
        json!({"type": "ice_candidate", "from_peer_id": c, "target_peer_id": w, "candidate": {"candidate": "x"}}),
    ];
    for frame in &spoofed {
        let reply = v.ask(frame.clone()).await;
        assert_eq!(reply["code"], "NOT_IN_ROOM", "{frame} {reply}");
        assert!(
            text(&reply["message"]).contains("registered as another peer"),
            "{reply}"
        );
    }
    // Unregistered, it is nobody at all.
    let mut x = Peer::connect(s.addr).await;
    for frame in &spoofed {
        x.send(frame.clone()).await;
    }
    for _ in 0..6 {
        assert_eq!(x.recv().await["code"], "NOT_IN_ROOM");
    }
    x.hears_nothing().await;
    s.w.hears_nothing().await;
    s.c.hears_nothing().await;
    assert_eq!(
        s.w.discover(&w, json!({"tags": ["spoofed"]})).await,
        Vec::<String>::new()
    );
}

#[actix_web::test]
async fn a_worker_that_names_another_sender_gets_no_error_frame() {
    let mut s = scene().await;
    let c = s.c_user.name.clone();
    s.w.send(json!({"type": "answer", "sender": c, "target": c, "sdp": "x"}))
        .await;
    s.w.hears_nothing().await;
    s.c.hears_nothing().await;
}

#[actix_web::test]
async fn a_refused_registration_evicts_nobody() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let stranger = sign_in(s.addr).await;
    let nobody = User {
        token: "no".into(),
        ..stranger.clone()
    };
    let wrong = Room {
        token: "no".into(),
        ..s.room.clone()
    };
    let attempts = [
        (
            json!({"type": "register", "peer_id": w}),
            json!({"type": "error", "reason": "Missing required fields during registration."}),
        ),
        (
            register(&w, &nobody, &s.room, json!({})),
            json!({"error": "Invalid token"}),
        ),
        (
            register(&w, &stranger, &wrong, json!({})),
            json!({"type": "error", "reason": "Invalid token"}),
        ),
        (
            register(&w, &stranger, &s.room, json!({})),
            json!({"type": "error", "reason": "Peer id in use"}),
        ),
    ];
    for (attempt, refusal) in attempts {
        let mut x = Peer::connect(s.addr).await;
        assert_eq!(x.ask(attempt).await, refusal);
        x.close().await;
        assert_eq!(
            s.c.discover(&c, json!({"role": "worker"})).await,
            [w.as_str()]
        );
    }
    s.w.hears_nothing().await;
    // Nor does a refused attempt cost a peer its own registration.
    assert_eq!(
        s.c.ask(register(&w, &s.c_user, &s.room, json!({}))).await["reason"],
        "Peer id in use"
    );
    assert_eq!(s.c.discover(&c, json!({})).await, [w.as_str()]);
}

#[actix_web::test]
async fn the_newest_connection_wins_and_the_end_of_the_old_one_does_not_matter() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let worker = json!({"role": "worker", "metadata": worker_metadata(8192)});
    let mut new = Peer::join(s.addr, &w, &s.w_user, &s.room, worker).await;
    assert_eq!(s.w.closed_with().await, 4409);
    assert_eq!(
        s.c.discover(&c, json!({"role": "worker"})).await,
        [w.as_str()]
    );

    // The old connection ends now; in the original that unregisters the new one.
    s.w.close().await;
    assert_eq!(
        s.c.discover(&c, json!({"role": "worker"})).await,
        [w.as_str()]
    );
    s.c.send(json!({"type": "peer_message", "from_peer_id": c, "to_peer_id": w, "payload": {"to": "the newest"}})).await;
    assert_eq!(new.recv().await["payload"], json!({"to": "the newest"}));
    let reply = new
        .ask(json!({"type": "discover_peers", "from_peer_id": w}))
        .await;
    assert_eq!(reply["peers"][0]["peer_id"], json!(c));
}

#[actix_web::test]
async fn a_replaced_connection_cannot_act_any_more() {
    let hub = hub();
    let addr = hub.addrs[0];
    let user = sign_in(addr).await;
    let room = create_room(addr, &user).await;
    let mut old = RawSocket::connect(addr).await;
    old.send_text(register("P", &user, &room, json!({}))).await;
    old.recv().await;
    let mut new = Peer::join(addr, "P", &user, &room, json!({})).await;
    // It does not answer the close frame, and speaks on.
    assert_eq!(old.closed_with().await, 4409);
    let frame = json!({"type": "peer_message", "from_peer_id": "P", "to_peer_id": "P", "payload": "from the grave"});
    old.send_text(frame).await;
    assert_eq!(old.drain().await, 0, "no answer, only the end");
    new.hears_nothing().await;
}

#[actix_web::test]
async fn an_id_whose_connection_is_gone_may_come_back_under_a_new_sign_in() {
    let mut s = scene().await;
    let w = s.w_user.name.clone();
    s.w.close().await;
    let fresh = sign_in(s.addr).await;
    let mut again = Peer::join(s.addr, &w, &fresh, &s.room, json!({"role": "worker"})).await;
    assert_eq!(s.c.discover(&s.c_user.name, json!({})).await, [w.as_str()]);
    // On its own socket a peer may change its sign-in at any time.
    let fresher = sign_in(s.addr).await;
    let reply = again
        .ask(register(&w, &fresher, &s.room, json!({"role": "worker"})))
        .await;
    assert_eq!(reply["type"], "registered_auth");
}

#[actix_web::test]
async fn a_second_id_on_a_socket_leaves_no_ghost() {
    let mut s = scene().await;
    let c = s.c_user.name.clone();
    let user = sign_in(s.addr).await;
    let claim = json!({"role": "tmp"});
    let mut x = Peer::join(s.addr, "first-id", &user, &s.room, claim.clone()).await;
    let reply = x
        .ask(register("second-id", &user, &s.room, claim.clone()))
        .await;
    assert_eq!(
        reply["peer_list"],
        json!([s.w_user.name, c]),
        "without its own first id"
    );
    assert_eq!(
        s.c.discover(&c, json!({"role": "tmp"})).await,
        ["second-id"]
    );
    let reply = x
        .ask(json!({"type": "discover_peers", "from_peer_id": "first-id"}))
        .await;
    assert_eq!(reply["code"], "NOT_IN_ROOM");

    // The same through a second room.
    let other = create_room(s.addr, &user).await;
    let reply = x.ask(register("second-id", &user, &other, claim)).await;
    assert_eq!(
        (&reply["type"], &reply["peer_list"]),
        (&json!("registered_auth"), &json!([]))
    );
    assert!(s.c.discover(&c, json!({"role": "tmp"})).await.is_empty());
    x.close().await;
    let metrics = http(s.addr, "GET", "/metrics", None, None).await.body;
    assert_eq!(
        (&metrics["active_rooms"], &metrics["active_connections"]),
        (&json!(1), &json!(2))
    );
}

#[actix_web::test]
async fn the_admins_seat_goes_with_the_admin() {
    let hub = hub();
    let addr = hub.addrs[0];
    let (u1, u2) = (sign_in(addr).await, sign_in(addr).await);
    let room = create_room(addr, &u1).await;
    let admin = json!({"role": "worker", "is_admin": true});
    let mut a = Peer::join(addr, "A", &u1, &room, admin.clone()).await;
    a.ask(register("A2", &u1, &room, json!({"role": "worker"})))
        .await;
    let mut b = Peer::connect(addr).await;
    let reply = b.ask(register("B", &u2, &room, admin)).await;
    assert_eq!(reply["admin_peer_id"], "B", "A is no longer there: {reply}");
}

#[actix_web::test]
async fn an_id_cannot_be_occupied_from_another_room() {
    let mut s = scene().await;
    let w = s.w_user.name.clone();
    let stranger = sign_in(s.addr).await;
    let other = create_room(s.addr, &stranger).await;
    let mut squatter = Peer::join(s.addr, &w, &stranger, &other, json!({"role": "worker"})).await;
    s.w.hears_nothing().await;
    s.w.close().await;
    let mut back = Peer::join(s.addr, &w, &s.w_user, &s.room, json!({"role": "worker"})).await;
    assert_eq!(
        s.c.discover(&s.c_user.name, json!({"role": "worker"}))
            .await,
        [w.as_str()]
    );
    s.c.send(json!({"type": "offer", "sender": s.c_user.name, "target": w, "sdp": "x"}))
        .await;
    assert_eq!(back.recv().await["type"], "offer");
    squatter.hears_nothing().await;
    // The rightful owner's own older connection elsewhere does give way.
    let own_room = create_room(s.addr, &s.w_user).await;
    let moved = Peer::join(s.addr, &w, &s.w_user, &own_room, json!({"role": "worker"})).await;
    assert_eq!(back.closed_with().await, 4409);
    assert!(
        s.c.discover(&s.c_user.name, json!({"role": "worker"}))
            .await
            .is_empty()
    );
    moved.close().await;
}
