//! WebSocket Connection Establishment.

use loaner::hub::auth::{Algorithm, KeySource, Secret};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::support::*;

/// SOCK-01: a connection with a valid token is registered under its user and device, and greeted.
#[actix_web::test]
async fn a_device_with_a_token_is_greeted_and_registered() {
    let hub = hub();
    let addr = hub.addrs[0];
    let device = Device::connect(addr, "ann", "laptop").await;
    let greeting = &device.connected;
    assert_eq!(greeting["user_id"], "ann");
    assert_eq!(greeting["device_id"], "laptop");
    assert_eq!(greeting["resumed"], false);
    assert_eq!(greeting["ping_interval_ms"], 25_000);
    assert_eq!(greeting["max_message_bytes"], 1 << 20);
    assert!(greeting["token_expires_in_ms"].as_u64().unwrap() > 3_500_000);
    let listed = ask(addr, "/connections?user_id=ann").await;
    assert_eq!(
        listed["connections"][0]["connection_id"],
        greeting["connection_id"]
    );
}

/// SOCK-01: the token may be in the query of either path, in a header, or in the list of subprotocols; a number is a
/// device too.
#[actix_web::test]
async fn the_token_may_come_in_three_ways() {
    let hub = hub();
    let addr = hub.addrs[0];
    let token = token("ann", "laptop");
    for path in ["/ws", "/ws/"] {
        connect_async(format!("ws://{addr}{path}?token={token}"))
            .await
            .unwrap();
    }
    let bearer = format!("Bearer {token}");
    let protocols = format!("loaner.v1.json, bearer.{token}");
    for (name, value) in [
        ("authorization", bearer.as_str()),
        ("sec-websocket-protocol", protocols.as_str()),
    ] {
        let mut request = format!("ws://{addr}/ws/").into_client_request().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        let (_, answer) = connect_async(request).await.unwrap();
        let chosen = answer.headers().get("sec-websocket-protocol");
        let expected = (name == "sec-websocket-protocol").then_some("loaner.v1.json");
        assert_eq!(chosen.map(|name| name.to_str().unwrap()), expected);
    }
    let mut numbered = claims("ann", "", 60);
    numbered["device_id"] = json!(7);
    let device = Device::open(addr, &format!("token={}", signed(&numbered))).await;
    assert_eq!(device.connected["device_id"], "7");
}

/// SOCK-02: an invalid token is 401 in place of the handshake, with a body that says so.
#[actix_web::test]
async fn an_invalid_token_is_refused_at_the_handshake() {
    let hub = hub();
    let addr = hub.addrs[0];
    let forged = {
        let key =
            jsonwebtoken::EncodingKey::from_secret(b"another secret of some thirty-two bytes");
        let claims = claims("ann", "laptop", 60);
        jsonwebtoken::encode(&Default::default(), &claims, &key).unwrap()
    };
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims("ann", "laptop", 60);
        claims[name] = value;
        signed(&claims)
    };
    for (token, code) in [
        ("not.a.jwt".to_owned(), "TOKEN_INVALID"),
        (forged, "TOKEN_INVALID"),
        (with("iss", json!("others")), "TOKEN_INVALID"),
        (with("aud", json!("others")), "TOKEN_INVALID"),
        (with("exp", json!(null)), "TOKEN_INVALID"),
        (with("sub", json!("")), "TOKEN_INVALID"),
        (with("device_id", json!(null)), "TOKEN_NO_DEVICE"),
    ] {
        let (status, head, body) = refused(addr, &format!("/ws/?token={token}"), &[]).await;
        assert_eq!(status, 401, "{body}");
        assert!(head.contains("Bearer error="), "{head}");
        assert_eq!(body["error"]["code"], code, "{body}");
        assert!(!body.to_string().contains(&token), "{body}");
    }
    let (status, _, body) = refused(addr, "/ws/", &[]).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (401, &json!("TOKEN_MISSING"))
    );
    assert_eq!(ask(addr, "/connections").await["total"], 0);
}

/// SOCK-03: an expired token is 401 and called so; a fresh one is let in.
#[actix_web::test]
async fn an_expired_token_is_refused_and_a_fresh_one_is_let_in() {
    let hub = hub();
    let addr = hub.addrs[0];
    let expired = signed(&claims("ann", "laptop", -1));
    let (status, _, body) = refused(addr, &format!("/ws/?token={expired}"), &[]).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (401, &json!("TOKEN_EXPIRED"))
    );
    Device::connect(addr, "ann", "laptop").await;
}

/// SOCK-02, SOCK-03: a page in a browser cannot read a refused handshake, so it may ask for a close code instead.
#[actix_web::test]
async fn a_browser_is_told_by_a_close_code() {
    let hub = hub();
    let addr = hub.addrs[0];
    let expired = signed(&claims("ann", "laptop", -1));
    for (token, code) in [("nonsense", 4401), (expired.as_str(), 4402)] {
        let mut device = Device::ungreeted(addr, &format!("close_codes=1&token={token}")).await;
        assert_eq!(device.closed_with().await.0, code);
    }
    until(|| async { ask(addr, "/connections").await["total"] == 0 }).await;
}

/// A token of the hub's own, as sign-in gives it, is good for the device that it was asked for; a refresh token brings
/// the same user back, and is no id token.
#[actix_web::test]
async fn the_hubs_own_sign_in_serves_devices() {
    let hub = hub();
    let addr = hub.addrs[0];
    let sign_in = |body: serde_json::Value| async move {
        let mut response = awc::Client::new()
            .post(format!("http://{addr}/anonymous-signin"))
            .send_json(&body)
            .await
            .unwrap();
        let body: serde_json::Value = response.json().await.unwrap();
        (response.status().as_u16(), body)
    };
    let (_, first) = sign_in(json!({"device_id": "laptop"})).await;
    let id = first["id_token"].as_str().unwrap();
    let device = Device::open(addr, &format!("token={id}")).await;
    assert_eq!(device.connected["user_id"], first["username"]);
    let refresh = first["refresh_token"].as_str().unwrap();
    let (_, again) = sign_in(json!({"device_id": "phone", "refresh_token": refresh})).await;
    assert_eq!(again["username"], first["username"]);
    let (status, _, _) = refused(addr, &format!("/ws/?token={refresh}"), &[]).await;
    assert_eq!(status, 401);
    assert_eq!(sign_in(json!({"refresh_token": id})).await.0, 401);
    assert_eq!(sign_in(json!({"device_id": "a\u{7}b"})).await.0, 400);
}

/// A hub whose settings cannot work says so before it listens, and names what to do.
#[actix_web::test]
async fn settings_that_cannot_work_are_named_at_the_start() {
    let start = |change: fn(&mut loaner::hub::HubConfig)| {
        let mut config = settings();
        change(&mut config);
        loaner::hub::Hub::check(&config).unwrap_err().to_string()
    };
    assert!(start(|config| config.auth.issuers.clear()).contains("iss"));
    let short = start(|config| {
        config.auth.keys = vec![KeySource::Secret {
            secret: Secret::new("short"),
            kid: None,
        }];
    });
    assert!(short.contains("32"), "{short}");
    let unused = start(|config| config.auth.algorithms = vec![Algorithm::ES256]);
    assert!(unused.contains("algorithm"), "{unused}");
    assert!(start(|config| config.node = "a b".to_owned()).contains("a b"));
}
