//! Connection Heartbeat, and Connection State Management.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

/// A device that speaks WebSocket by hand, and answers nothing by itself.
async fn mute(addr: std::net::SocketAddr, query: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    let request = format!(
        "GET /ws/?token={}{query} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        token("ann", "laptop")
    );
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    tcp
}

/// The next frame of the hub: its first byte and its payload.
async fn frame(tcp: &mut TcpStream) -> (u8, Vec<u8>) {
    let reading = async {
        let first = tcp.read_u8().await.unwrap();
        let length = match tcp.read_u8().await.unwrap() {
            126 => tcp.read_u16().await.unwrap() as usize,
            short => short as usize,
        };
        let mut payload = vec![0; length];
        tcp.read_exact(&mut payload).await.unwrap();
        (first, payload)
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("nothing came")
}

/// SOCK-10: a silent device is pinged, and its pong keeps the connection; one that speaks is not pinged.
#[actix_web::test]
async fn a_ping_that_is_answered_keeps_the_connection() {
    let hub = hub_with(|config| {
        config.ping_interval = Duration::from_millis(200);
        config.pong_timeout = Duration::from_millis(400);
    });
    let mut tcp = mute(hub.addrs[0], "").await;
    assert_eq!(frame(&mut tcp).await.0, 0x81, "the greeting");
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(frame(&mut tcp).await, (0x89, vec![]));
        tcp.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.unwrap();
    }
    assert!(
        start.elapsed() > Duration::from_millis(600),
        "longer than a silent one is kept"
    );
    // Both ways: the device's pings are answered, the protocol's and those in words.
    tcp.write_all(&[0x89, 0x81, 0, 0, 0, 0, b'x'])
        .await
        .unwrap();
    loop {
        match frame(&mut tcp).await {
            (0x8a, payload) => break assert_eq!(payload, b"x"),
            (0x89, _) => tcp.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// SOCK-10: who cannot see the protocol's pings gets them as messages.
#[actix_web::test]
async fn pings_come_as_messages_where_they_are_asked_for() {
    let hub = hub_with(|config| config.ping_interval = Duration::from_millis(100));
    let query = format!("json_ping=1&token={}", token("ann", "laptop"));
    let mut device = Device::open(hub.addrs[0], &query).await;
    device.expect("ping").await;
    device.send("pong", json!({})).await;
    device.expect("ping").await;
}

/// SOCK-11: a device that does not answer is closed with its code and forgotten, within the interval and the time to answer,
/// which are 35 s together by default; it can come back.
#[actix_web::test]
async fn a_device_that_does_not_answer_is_closed_and_cleaned_up() {
    let defaults = loaner::hub::HubConfig::default();
    assert_eq!(
        defaults.ping_interval + defaults.pong_timeout,
        Duration::from_secs(35)
    );
    let hub = hub_with(|config| {
        config.ping_interval = Duration::from_millis(200);
        config.pong_timeout = Duration::from_millis(300);
    });
    let addr = hub.addrs[0];
    let start = Instant::now();
    let mut tcp = mute(addr, "").await;
    frame(&mut tcp).await;
    assert_eq!(frame(&mut tcp).await.0, 0x89);
    let (first, payload) = frame(&mut tcp).await;
    assert_eq!(
        (first, u16::from_be_bytes([payload[0], payload[1]])),
        (0x88, 4408)
    );
    assert!(
        start.elapsed() >= Duration::from_millis(480),
        "{:?}",
        start.elapsed()
    );
    until(|| async { ask(addr, "/connections").await["total"] == 0 }).await;
    Device::connect(addr, "ann", "laptop").await;
}

/// SOCK-14: what a connection is can be asked by the device itself and by the administrator, and by nobody else.
#[actix_web::test]
async fn the_state_of_a_connection_can_be_asked() {
    let hub = hub();
    let addr = hub.addrs[0];
    let mut device = Device::connect(addr, "ann", "laptop").await;
    device.hears_nothing().await;
    device.send("state", json!({})).await;
    let state = device.expect("state").await;
    for (field, value) in [
        ("connection_id", device.connected["connection_id"].clone()),
        ("state", json!("open")),
        ("dialect", json!("device")),
        ("user_id", json!("ann")),
        ("device_id", json!("laptop")),
        ("address", json!("127.0.0.1")),
        ("messages_received", json!(2)),
    ] {
        assert_eq!(state[field], value, "{field}");
    }
    let listed = ask(addr, "/connections").await["connections"][0].clone();
    assert_eq!(listed["connected_at"], state["connected_at"]);
    for path in ["/connections", "/rooms", "/limits"] {
        let url = format!("http://{addr}{path}");
        let without = awc::Client::new().get(&url).send().await.unwrap();
        assert_eq!(without.status(), 401);
        let wrong = awc::Client::new()
            .get(&url)
            .bearer_auth("guess")
            .send()
            .await
            .unwrap();
        assert_eq!(wrong.status(), 401);
    }
    let closed = crate::support::hub_with(|config| config.admin_token = None);
    let url = format!("http://{}/connections", closed.addrs[0]);
    assert_eq!(
        awc::Client::new().get(url).send().await.unwrap().status(),
        404
    );
}

/// SOCK-15: a lost connection is taken up again with the same token; its session goes on, and so does delivery.
#[actix_web::test]
async fn a_lost_connection_is_resumed() {
    let hub = hub();
    let addr = hub.addrs[0];
    let query = format!("token={}", token("ann", "laptop"));
    let mut ann = Device::open(addr, &query).await;
    let session = ann.connected["session"].as_str().unwrap().to_owned();
    let mut bob = Device::connect(addr, "bob", "phone").await;
    // A message of hers whose receipt will come while she is away, and one for her that she has not acknowledged.
    ann.post("bob", Some("phone"), "hers", json!("from ann"))
        .await;
    let hers = bob.expect("message").await;
    bob.post("ann", None, "his", json!("from bob")).await;
    let his = ann.expect("message").await;
    ann.vanish();
    assert_eq!(bob.expect("accepted").await["status"], "stored");
    bob.send("ack", json!({"up_to": hers["message_id"]})).await;
    bob.hears_nothing().await;

    let mut ann = Device::open(addr, &format!("{query}&resume={session}")).await;
    assert_eq!(ann.connected["resumed"], true);
    assert_eq!(ann.connected["session"], session.as_str());
    let receipt = ann.expect("accepted").await;
    assert_eq!(
        (&receipt["client_message_id"], &receipt["status"]),
        (&json!("hers"), &json!("delivered"))
    );
    assert_eq!(ann.expect("message").await, his);
    ann.vanish();
    // What she says she has does not come again; a session that is not hers is not resumed, and she is told.
    let last = his["message_id"].as_u64().unwrap();
    let mut ann = Device::open(addr, &format!("{query}&resume=another&last={last}")).await;
    assert_eq!(ann.connected["resumed"], false);
    assert_ne!(ann.connected["session"], session.as_str());
    ann.hears_nothing().await;
}

/// A token that ends is announced; a new one in band keeps the connection, and without one it is closed with its code.
#[actix_web::test]
async fn a_token_is_refreshed_in_band_or_ends_the_connection() {
    let hub = hub();
    let addr = hub.addrs[0];
    let short = |seconds| signed(&claims("ann", "laptop", seconds));
    let mut device = Device::open(addr, &format!("token={}", short(2))).await;
    let warning = device.expect("token_expiring").await;
    assert!(warning["expires_in_ms"].as_u64().unwrap() <= 1_100);
    for (token, code) in [
        (token("mallory", "laptop"), "TOKEN_INVALID"),
        (token("ann", "phone"), "TOKEN_INVALID"),
        (short(-1), "TOKEN_EXPIRED"),
        ("nonsense".to_owned(), "TOKEN_INVALID"),
    ] {
        device.send("refresh", json!({"token": token})).await;
        assert_eq!(device.expect("error").await["code"], code);
    }
    device.send("refresh", json!({"token": short(3600)})).await;
    let refreshed = device.expect("refreshed").await;
    assert!(refreshed["expires_in_ms"].as_u64().unwrap() > 3_500_000);
    device.hears_nothing().await;
    device.close().await;

    let mut device = Device::open(addr, &format!("token={}", short(1))).await;
    device.expect("token_expiring").await;
    let closing = tokio::time::timeout(Duration::from_secs(15), device.socket_closes());
    assert_eq!(closing.await.expect("it stays open"), 4402);
}
