//! Section 1a: the exact answers over HTTP.

use serde_json::json;

use crate::support::*;

#[actix_web::test]
async fn the_golden_http_transcript() {
    let hub = hub();
    let addr = hub.addrs[0];

    let health = http(addr, "GET", "/health", None, None).await.body;
    assert_eq!(health["status"], "healthy");
    assert!(
        text(&health["timestamp"]).len() == 26 && health["version"].is_string(),
        "{health}"
    );
    let mut metrics = http(addr, "GET", "/metrics", None, None).await.body;
    assert!(
        metrics
            .as_object_mut()
            .unwrap()
            .remove("timestamp")
            .is_some()
    );
    let nothing = json!({"active_rooms": 0, "active_connections": 0, "peers_by_role": {}, "total_connections": 0,
        "total_messages": 0, "rooms_created": 0});
    assert_eq!(metrics, nothing);

    let wrong = http(addr, "GET", "/nope", None, None).await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.body),
        (404, json!({"detail": "Not Found"}))
    );
    for (method, path, allow) in [
        ("GET", "/create-room", "POST"),
        ("OPTIONS", "/create-room", "POST"),
        ("POST", "/health", "GET"),
    ] {
        let wrong = http(addr, method, path, None, None).await;
        assert_eq!(
            (wrong.status.as_u16(), wrong.body),
            (405, json!({"detail": "Method Not Allowed"}))
        );
        assert_eq!(wrong.headers.get("allow").unwrap(), allow);
    }
    // By hand, since awc takes the `Upgrade` header, which a 426 must have, for an upgrade that took place.
    let plain = raw_get(addr, "/").await;
    assert!(
        plain.starts_with("HTTP/1.1 426 ") && plain.contains("upgrade: websocket"),
        "{plain}"
    );
    for path in ["/ws", "/ws/", "/ws/?token=x"] {
        let plain = raw_get(addr, path).await;
        assert!(plain.starts_with("HTTP/1.1 426 "), "{plain}");
    }

    let missing = http(addr, "POST", "/create-room", None, None).await;
    assert_eq!(missing.status, 422);
    let detail = json!({"detail": [{"type": "missing", "loc": ["header", "authorization"], "msg": "Field required", "input": null}]});
    assert_eq!(missing.body, detail);
    for bad in ["Bearer not.a.jwt", "Bearer ", "x"] {
        let refused = http(addr, "POST", "/create-room", Some(bad), None).await;
        assert_eq!(refused.status, 401);
        assert!(
            text(&refused.body["detail"]).starts_with("Token verification failed: "),
            "{}",
            refused.body
        );
    }
}

#[actix_web::test]
async fn sign_in_and_rooms_have_the_classic_shapes() {
    let hub = hub();
    let addr = hub.addrs[0];
    let signed_in = http(
        addr,
        "POST",
        "/anonymous-signin",
        None,
        Some("{\"a body\": \"is ignored\"}"),
    )
    .await;
    assert_eq!(signed_in.status, 200);
    assert_eq!(signed_in.body.as_object().unwrap().len(), 2);
    let (name, token) = (
        text(&signed_in.body["username"]),
        text(&signed_in.body["id_token"]),
    );
    assert_eq!(
        (name.len(), token.split('.').count()),
        (36, 3),
        "{name} {token}"
    );

    for auth in [format!("Bearer {token}"), format!("bearer {token}"), token] {
        let room = http(addr, "POST", "/create-room", Some(&auth), None).await;
        assert_eq!(room.status, 200);
        let (id, token) = (text(&room.body["room_id"]), text(&room.body["token"]));
        assert!(
            id.len() == 8
                && token.len() == 32
                && format!("{id}{token}")
                    .chars()
                    .all(|c| c.is_ascii_hexdigit())
        );
    }
}

#[actix_web::test]
async fn malformed_bodies_are_refused_in_the_shape_of_the_original() {
    let hub = hub();
    let addr = hub.addrs[0];
    let try_body = async |body: Option<&str>| {
        let answer = http(addr, "POST", "/delete-peer", None, body).await;
        (answer.status.as_u16(), answer.body["detail"][0].clone())
    };
    assert_eq!(
        try_body(None).await,
        (
            422,
            json!({"type": "missing", "loc": ["body"], "msg": "Field required", "input": null})
        )
    );
    let (status, detail) = try_body(Some("{oops")).await;
    assert_eq!(
        (status, &detail["type"], &detail["loc"]),
        (422, &json!("json_invalid"), &json!(["body", 1]))
    );
    assert_eq!(
        (&detail["msg"], &detail["input"]),
        (&json!("JSON decode error"), &json!({}))
    );
    assert!(detail["ctx"]["error"].is_string());
    let list = json!({"type": "dict_type", "loc": ["body"], "msg": "Input should be a valid dictionary", "input": ["nobody"]});
    assert_eq!(try_body(Some("[\"nobody\"]")).await, (422, list));

    let gone = json!({"status": "peer deleted from Cognito (already removed from room)"});
    for nobody in [
        json!({}),
        json!({"peer_id": "nobody"}),
        json!({"peer_id": 5}),
        json!({"peer_id": null}),
    ] {
        assert_eq!(post(addr, "/delete-peer", None, nobody).await, gone);
    }
    for (body, status) in [
        (json!({}), "peer not found"),
        (json!({"peer_id": "nobody"}), "peer not found"),
        (json!({"room_id": "nowhere"}), "room not found"),
    ] {
        assert_eq!(
            post(addr, "/delete-peers-and-room", None, body).await,
            json!({"status": status})
        );
    }

    let large = format!("{{\"peer_id\": \"{}\"}}", "x".repeat(20_000));
    let refused = http(addr, "POST", "/delete-peer", None, Some(&large)).await;
    assert_eq!(refused.status, 413);
}

#[actix_web::test]
async fn rooms_and_sign_ins_are_bounded() {
    let hub = hub_with(|config| {
        config.limits.rooms_per_user = 2;
        config.limits.rooms = 3;
        config.limits.signins_per_minute = 8;
    });
    let addr = hub.addrs[0];
    let (a, b) = (sign_in(addr).await, sign_in(addr).await);
    let make =
        async |user: &User| http(addr, "POST", "/create-room", Some(&user.token), None).await;
    assert_eq!(make(&a).await.status, 200);
    assert_eq!(make(&a).await.status, 200);
    let refused = make(&a).await;
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(make(&b).await.status, 200);
    let refused = make(&b).await;
    assert_eq!(refused.status, 503, "the hub is full");
    assert!(refused.headers.contains_key("retry-after"));

    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(
            http(addr, "POST", "/anonymous-signin", None, None)
                .await
                .status
                .as_u16(),
        );
    }
    assert_eq!((statuses[0], statuses[3]), (200, 429), "{statuses:?}");
}

#[actix_web::test]
async fn metrics_count_peers_and_relayed_messages() {
    let mut s = scene().await;
    s.c.send(
        json!({"type": "offer", "sender": s.c_user.name, "target": s.w_user.name, "sdp": "v=0"}),
    )
    .await;
    s.w.recv().await;
    s.c.send(json!({"type": "offer", "sender": s.c_user.name, "target": "ghost", "sdp": "v=0"}))
        .await;
    s.c.recv().await;
    let mut metrics = http(s.addr, "GET", "/metrics", None, None).await.body;
    metrics.as_object_mut().unwrap().remove("timestamp");
    let expected = json!({"active_rooms": 1, "active_connections": 2, "peers_by_role": {"client": 1, "worker": 1},
        "total_connections": 2, "total_messages": 1, "rooms_created": 1});
    assert_eq!(metrics, expected);
}

#[actix_web::test]
async fn deleting_a_connected_peer_needs_its_own_token() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let target = json!({"peer_id": w});
    for (auth, body) in [
        (None, target.clone()),
        (Some(s.c_user.token.as_str()), target.clone()),
        (Some("Bearer nonsense"), target.clone()),
        (None, json!({"peer_id": w, "id_token": s.c_user.token})),
    ] {
        let answer = post(s.addr, "/delete-peer", auth, body).await;
        assert!(
            text(&answer["status"]).starts_with("peer not deleted"),
            "{answer}"
        );
        assert_eq!(
            s.c.discover(&c, json!({})).await,
            [w.as_str()],
            "still there"
        );
    }
    s.w.hears_nothing().await;

    let auth = format!("Bearer {}", s.c_user.token);
    let answer = post(s.addr, "/delete-peer", Some(&auth), json!({"peer_id": c})).await;
    assert_eq!(
        answer,
        json!({"status": "peer deleted successfully. Room status: active"})
    );
    let reply =
        s.c.ask(json!({"type": "discover_peers", "from_peer_id": c}))
            .await;
    assert_eq!(
        reply,
        json!({"type": "error", "code": "NOT_IN_ROOM", "message": "Peer not registered in any room"})
    );
    assert!(s.w.discover(&w, json!({})).await.is_empty());
    let again = post(s.addr, "/delete-peer", Some(&auth), json!({"peer_id": c})).await;
    assert_eq!(
        again,
        json!({"status": "peer deleted from Cognito (already removed from room)"})
    );

    let own = json!({"peer_id": w, "id_token": s.w_user.token});
    let last = post(s.addr, "/delete-peer", None, own).await;
    assert_eq!(
        last,
        json!({"status": "peer deleted successfully. Room status: deleted"}),
        "its creator takes the room along"
    );
    let reply = s.c.ask(register(&c, &s.c_user, &s.room, json!({}))).await;
    assert_eq!(reply, json!({"type": "error", "reason": "Room not found"}));
}

#[actix_web::test]
async fn a_python_peer_closes_first_and_deletes_without_a_token() {
    let mut s = scene().await;
    let w = s.w_user.name.clone();
    s.w.close().await;
    let answer = post(s.addr, "/delete-peer", None, json!({"peer_id": w})).await;
    assert_eq!(
        answer,
        json!({"status": "peer deleted from Cognito (already removed from room)"})
    );
    assert!(s.c.discover(&s.c_user.name, json!({})).await.is_empty());

    // A stranger who only knows the id cannot take the room away from its creator.
    s.c.close().await;
    post(
        s.addr,
        "/delete-peer",
        None,
        json!({"peer_id": s.c_user.name}),
    )
    .await;
    post(s.addr, "/delete-peer", None, json!({"peer_id": w})).await;
    let w = Peer::join(s.addr, &w, &s.w_user, &s.room, json!({"role": "worker"})).await;
    w.close().await;
    let auth = format!("Bearer {}", s.w_user.token);
    post(
        s.addr,
        "/delete-peer",
        Some(&auth),
        json!({"peer_id": s.w_user.name}),
    )
    .await;
    let mut late = Peer::connect(s.addr).await;
    let reply = late
        .ask(register("late", &s.c_user, &s.room, json!({})))
        .await;
    assert_eq!(
        reply["reason"], "Room not found",
        "the creator, with a token, takes the empty room along"
    );
}

#[actix_web::test]
async fn only_its_creator_empties_a_room() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let by_room = json!({"room_id": s.room.id});
    for (auth, body) in [
        (None, by_room.clone()),
        (Some(s.c_user.token.as_str()), by_room.clone()),
        (None, json!({"peer_id": w})),
        (Some(s.c_user.token.as_str()), json!({"peer_id": w})),
    ] {
        let answer = post(s.addr, "/delete-peers-and-room", auth, body).await;
        assert!(
            text(&answer["status"]).starts_with("peer not deleted"),
            "{answer}"
        );
    }
    assert_eq!(s.c.discover(&c, json!({})).await, [w.as_str()]);

    let done = json!({"status": "peer deleted successfully"});
    // An inference client of the original ends with this one: it goes, and nobody else does.
    assert_eq!(
        post(
            s.addr,
            "/delete-peers-and-room",
            Some(&s.c_user.token),
            json!({"peer_id": c})
        )
        .await,
        done
    );
    assert!(
        s.w.discover(&w, json!({})).await.is_empty(),
        "W is registered, and alone"
    );
    assert_eq!(
        post(
            s.addr,
            "/delete-peers-and-room",
            Some(&s.w_user.token),
            by_room
        )
        .await,
        done
    );
    let reply =
        s.w.ask(json!({"type": "discover_peers", "from_peer_id": w}))
            .await;
    assert_eq!(reply["code"], "NOT_IN_ROOM");
    let metrics = http(s.addr, "GET", "/metrics", None, None).await.body;
    assert_eq!(
        (&metrics["active_rooms"], &metrics["active_connections"]),
        (&json!(0), &json!(0)),
        "no ghosts"
    );
}
