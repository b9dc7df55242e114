//! What an operator sees and sets: health, readiness, metrics, origins, draining.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use loaner::hub::auth::{Algorithm, Jwks};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::support::*;

async fn get(addr: std::net::SocketAddr, path: &str, accept: &str) -> (u16, String) {
    let mut response = awc::Client::new()
        .get(format!("http://{addr}{path}"))
        .insert_header(("accept", accept))
        .send()
        .await
        .unwrap();
    let body = response.body().await.unwrap();
    (
        response.status().as_u16(),
        String::from_utf8_lossy(&body).into_owned(),
    )
}

/// `/metrics` is JSON as ever, and Prometheus' format for who asks for it.
#[actix_web::test]
async fn metrics_come_in_both_forms() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    ann.deliver("bob", None, "1", json!(1)).await;
    let (_, classic) = get(addr, "/metrics", "*/*").await;
    let classic: serde_json::Value = serde_json::from_str(&classic).unwrap();
    assert_eq!(
        classic["active_connections"], 0,
        "peers in rooms, as in the original"
    );
    for (path, accept) in [
        (
            "/metrics",
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
        ),
        ("/metrics?format=prometheus", "*/*"),
    ] {
        let (_, page) = get(addr, path, accept).await;
        for line in [
            "loaner_hub_sockets{for=\"device\"} 1",
            "loaner_hub_mail_posted_total 1",
            "loaner_hub_mail_waiting 1",
            "loaner_hub_handshakes_total{outcome=\"device\"} 1",
            "loaner_hub_panics_total 0",
            "# EOF",
        ] {
            assert!(
                page.lines().any(|found| found == line),
                "{line} is not in\n{page}"
            );
        }
    }
}

/// A page of a foreign origin is refused; programs, which name none, are not.
#[actix_web::test]
async fn only_pages_of_known_origins_connect() {
    let hub = hub_with(|config| config.origins = vec!["https://lab.example".to_owned()]);
    let addr = hub.addrs[0];
    let path = format!("/ws/?token={}", token("ann", "laptop"));
    for path in [path.as_str(), "/"] {
        let (status, _, _) = refused(addr, path, &[("origin", "https://evil.example")]).await;
        assert_eq!(status, 403);
    }
    let mut request = format!("ws://{addr}{path}").into_client_request().unwrap();
    let origin = "https://LAB.example".parse().unwrap();
    request.headers_mut().insert("origin", origin);
    connect_async(request).await.unwrap();
    Device::connect(addr, "ann", "laptop").await;
}

/// A question at `/ready`: the status, and the reason that is given.
async fn ready(addr: std::net::SocketAddr) -> (u16, String) {
    let (status, body) = get(addr, "/ready", "*/*").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let reason = body["reason"].as_str().unwrap_or_default().to_owned();
    (status, reason)
}

/// A hub fetches its issuer's keys by itself; it is ready once it has them, and the first device need not wait for them.
#[actix_web::test]
async fn a_hub_is_ready_when_it_has_the_issuers_keys() {
    let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", issuer.local_addr().unwrap());
    let hub = hub_with(|config| {
        config.auth.algorithms.push(Algorithm::EdDSA);
        config.auth.jwks = Some(Jwks {
            timeout: Jwks::MAX_TIMEOUT,
            ..Jwks::new(&url).unwrap()
        });
    });
    let addr = hub.addrs[0];
    let accepted = tokio::time::timeout(PATIENCE, issuer.accept()).await;
    let (mut asking, _) = accepted.expect("nobody asks for the keys").unwrap();
    let (status, reason) = ready(addr).await;
    assert_eq!(status, 503);
    assert!(reason.contains("JWKS"), "{reason}");
    assert_eq!(get(addr, "/health", "*/*").await.0, 200);

    let key = SigningKey::from_bytes(&[7; 32]);
    let point = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    let set =
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": point}]}).to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", set.len());
    asking.write_all((head + &set).as_bytes()).await.unwrap();
    until(|| async { ready(addr).await.0 == 200 }).await;
    // Nobody can be asked any more.
    drop((asking, issuer));
    let pem = key.to_pkcs8_pem(Default::default()).unwrap();
    let header = jsonwebtoken::Header {
        kid: Some("k".to_owned()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA)
    };
    let signing = jsonwebtoken::EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
    let token = jsonwebtoken::encode(&header, &claims("ann", "laptop", 60), &signing).unwrap();
    Device::open(addr, &format!("token={token}")).await;
}

/// A hub that stops tells its devices when to come back, and is not ready meanwhile.
#[actix_web::test]
async fn a_draining_hub_tells_its_devices_to_come_back() {
    let hub = hub();
    let addr = hub.addrs[0];
    assert_eq!(get(addr, "/ready", "*/*").await.0, 200);
    assert_eq!(get(addr, "/health", "*/*").await.0, 200);
    // A hub that stops accepts nobody, so the question is begun before; it is accepted before the device that comes after it.
    let mut asking = TcpStream::connect(addr).await.unwrap();
    asking
        .write_all(b"GET /ready HTTP/1.1\r\nHost: hub\r\n")
        .await
        .unwrap();
    let mut device = Device::connect(addr, "ann", "laptop").await;
    let stopping = actix_web::rt::spawn(hub.stop());
    let wait = device.expect("going_away").await["retry_after_ms"]
        .as_u64()
        .unwrap();
    assert!((500..=5000).contains(&wait));
    asking.write_all(b"\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, asking.read_to_string(&mut answer))
        .await
        .expect("no answer")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("the hub stops"), "{answer}");
    assert_eq!(device.closed_with().await.0, 4000);
    device.close().await;
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
