//! Who is who once the signatures are right: refreshes, the hub's own tokens, keys that cannot be had, pages of others.

use std::time::Duration;

use loaner::hub::auth::{Algorithm, Jwks};
use serde_json::{Value, json};

use crate::device::*;
use crate::support::{Peer, http, register, scene, text};

#[actix_web::test]
async fn a_refresh_changes_nobodys_identity() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let mut alice = Wire::device(addr, "alice", "a1").await;
    for stolen in [
        token("bob", "a1"),
        token("alice", "a2"),
        "garbage".to_owned(),
    ] {
        let reply = alice
            .ask(json!({"type": "refresh", "payload": {"token": stolen}}))
            .await;
        assert_eq!(reply["payload"]["code"], "TOKEN_INVALID", "{reply}");
    }
    let own = json!({"type": "refresh", "payload": {"token": token("alice", "a1")}});
    assert_eq!(alice.ask(own).await["type"], "refreshed");
    let state = alice.ask(json!({"type": "state"})).await;
    assert_eq!(
        (&state["payload"]["user_id"], &state["payload"]["device_id"]),
        (&json!("alice"), &json!("a1"))
    );
}

/// A refresh token is a year's worth of sign-ins: it must not pass for an id token, nor the other way round.
#[actix_web::test]
async fn the_hubs_own_tokens_are_not_mixed_up() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let sign_in = async |body: Value| {
        http(
            addr,
            "POST",
            "/anonymous-signin",
            None,
            Some(&body.to_string()),
        )
        .await
    };
    let signed_in = sign_in(json!({"device_id": "d1"})).await.body;
    let refused = Wire::try_device(addr, &text(&signed_in["refresh_token"])).await;
    assert_eq!(refused.err().unwrap().code(), "TOKEN_INVALID");
    let again = sign_in(json!({"refresh_token": signed_in["id_token"], "device_id": "d1"})).await;
    assert_eq!(again.status, 401);
    // What a user may call himself by another issuer's word, he may not refresh here.
    let again = sign_in(json!({"refresh_token": token("alice", "a1")})).await;
    assert_eq!(again.status, 401);
    for device in ["", "a\u{0}b", &"x".repeat(129)] {
        assert_eq!(
            sign_in(json!({"device_id": device})).await.status,
            400,
            "{device:.9}"
        );
    }
    assert!(
        Wire::try_device(addr, &text(&signed_in["id_token"]))
            .await
            .is_ok()
    );
}

#[actix_web::test]
async fn nobody_hears_anothers_token() {
    let mut s = scene().await;
    let user = crate::support::sign_in(s.addr).await;
    let mut late = Peer::connect(s.addr).await;
    let mut heard = late
        .ask(register("late", &user, &s.room, json!({"notices": true})))
        .await
        .to_string();
    heard += &late
        .ask(json!({"type": "discover_peers", "from_peer_id": "late"}))
        .await
        .to_string();
    heard +=
        &s.c.ask(json!({"type": "discover_peers", "from_peer_id": s.c_user.name}))
            .await
            .to_string();
    assert!(heard.contains(&s.w_user.name));
    for token in [&s.w_user.token, &s.c_user.token, &user.token] {
        assert!(!heard.contains(token.as_str()));
    }
}

/// The original's lookups stopped everybody (weakness 7): here only who needs the keys waits for them.
#[actix_web::test]
async fn a_key_server_that_does_not_answer_holds_up_nobody_else() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", silent.local_addr().unwrap());
    let hub = device_hub(|config| {
        let mut jwks = Jwks::new(&url).unwrap();
        jwks.timeout = Duration::from_secs(2);
        config.auth.jwks = Some(jwks);
        config.auth.algorithms.push(Algorithm::ES256);
        config.auth.keys.clear();
    });
    let addr = hub.addrs[0];
    let user = http(
        addr,
        "POST",
        "/anonymous-signin",
        None,
        Some("{\"device_id\":\"d\"}"),
    )
    .await
    .body;
    let foreign = signed(
        &json!({"alg": "ES256", "kid": "k"}),
        &claims("x", "y", json!({})),
        SECRET,
    );
    let asking = Wire::try_device(addr, &foreign);
    let meanwhile = async {
        // It has come to the key server, and waits.
        let (held, _) = soon(silent.accept()).await.unwrap();
        let start = std::time::Instant::now();
        let mut wire = Wire::try_device(addr, &text(&user["id_token"]))
            .await
            .ok()
            .unwrap();
        assert_eq!(wire.recv().await["type"], "connected");
        wire.echo().await;
        (held, start.elapsed())
    };
    let (refused, (_held, took)) = tokio::join!(asking, meanwhile);
    assert!(took < Duration::from_secs(1), "{took:?}");
    let refused = refused.err().unwrap();
    assert_eq!(
        (refused.status, refused.code()),
        (503, "TOKEN_KEYS_UNAVAILABLE")
    );
    assert!(refused.header("retry-after").is_some());
    empty(addr).await;
}

#[actix_web::test]
async fn pages_of_other_origins_are_kept_out_and_told_nothing() {
    let hub = device_hub(|config| config.origins = vec!["https://lab.example".to_owned()]);
    let addr = hub.addrs[0];
    for target in ["/", "/ws"] {
        for origin in [
            "https://evil.example", "null", "https://lab.example.evil", "http://lab.example",
        ] {
            let refused = Wire::open(addr, target, &format!("Origin: {origin}\r\n")).await;
            assert_eq!(refused.err().expect("kept out").status, 403, "{origin}");
        }
    }
    assert!(
        Wire::open(addr, "/", "Origin: https://LAB.example\r\n")
            .await
            .is_ok()
    );
    for origin in ["https://evil.example", "https://lab.example"] {
        let answer = awc::Client::new()
            .post(format!("http://{addr}/anonymous-signin"))
            .insert_header(("Origin", origin))
            .send()
            .await
            .unwrap();
        let shared = answer
            .headers()
            .keys()
            .find(|name| name.as_str().starts_with("access-control"));
        assert!(shared.is_none(), "{shared:?}");
    }
}
