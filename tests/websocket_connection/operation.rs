//! What an operator sees and sets: health, readiness, metrics, origins, draining.

use serde_json::json;
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

/// A hub that stops tells its devices when to come back, and is not ready meanwhile.
#[actix_web::test]
async fn a_draining_hub_tells_its_devices_to_come_back() {
    let hub = hub();
    let addr = hub.addrs[0];
    assert_eq!(get(addr, "/ready", "*/*").await.0, 200);
    assert_eq!(get(addr, "/health", "*/*").await.0, 200);
    let mut device = Device::connect(addr, "ann", "laptop").await;
    let stopping = actix_web::rt::spawn(hub.stop());
    let wait = device.expect("going_away").await["retry_after_ms"]
        .as_u64()
        .unwrap();
    assert!((500..=5000).contains(&wait));
    assert_eq!(device.closed_with().await.0, 4000);
    device.close().await;
    stopping.await.unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
