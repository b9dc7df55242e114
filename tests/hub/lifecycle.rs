//! Start and stop, listeners, liveness, time-outs.

use std::time::{Duration, Instant};

use awc::ws::Message;
use loaner::hub::{Hub, HubConfig, HubError};
use serde_json::json;

use crate::support::*;

#[actix_web::test]
async fn stopping_closes_every_socket_with_1001_and_frees_the_port() {
    let mut s = scene().await;
    let mut x = Peer::connect(s.addr).await;
    x.hears_nothing().await;
    let addr = s.addr;
    let stopping = actix_rt::spawn(s.hub.stop());
    for peer in [&mut s.w, &mut s.c, &mut x] {
        assert_eq!(peer.closed_with().await, 1001);
        peer.send_message(Message::Close(None)).await;
    }
    stopping.await.unwrap();
    let again = hub_with(|config| config.listen = vec![addr]);
    assert_eq!(http(addr, "GET", "/health", None, None).await.status, 200);
    again.stop().await;
}

#[actix_web::test]
async fn a_peer_that_does_not_answer_cannot_hold_up_the_stop() {
    let hub = hub();
    let _silent = RawSocket::connect(hub.addrs[0]).await;
    let start = Instant::now();
    hub.stop().await;
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
}

#[actix_web::test]
async fn further_listeners_serve_the_same_rooms() {
    let hub = hub_with(|config| {
        config.listen = vec![([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into()]
    });
    let (one, two) = (hub.addrs[0], hub.addrs[1]);
    assert_ne!(one.port(), two.port());
    let user = sign_in(one).await;
    let room = create_room(two, &user).await;
    let mut a = Peer::join(one, "A", &user, &room, json!({})).await;
    let b = Peer::join(two, "B", &user, &room, json!({})).await;
    assert_eq!(a.discover("A", json!({})).await, ["B"]);
    drop(b);
}

#[actix_web::test]
async fn any_path_takes_a_websocket_and_the_device_dialect_needs_a_token() {
    let hub = hub();
    let addr = hub.addrs[0];
    for path in ["", "/", "/any/path?and=query", "/health"] {
        let mut peer = Peer::connect_to(&format!("ws://{addr}{path}")).await;
        peer.hears_nothing().await;
    }
    for path in ["/ws", "/ws/", "/ws/?token=x"] {
        let refused = awc::Client::new()
            .ws(format!("ws://{addr}{path}"))
            .connect()
            .await;
        match refused.map(drop) {
            Err(awc::error::WsClientError::InvalidResponseStatus(status)) => {
                assert_eq!(status, 401)
            }
            other => panic!("{path} {other:?}"),
        }
    }
}

#[actix_web::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = Hub::start(HubConfig {
        listen: vec![addr],
        ..HubConfig::default()
    })
    .unwrap_err();
    assert!(
        matches!(error, HubError::Bind { addr: named, .. } if named == addr),
        "{error}"
    );
    let told = error.to_string();
    assert!(
        told.contains(&addr.to_string()) && told.contains("another port"),
        "{told}"
    );
    let none = Hub::start(HubConfig {
        listen: vec![],
        ..HubConfig::default()
    })
    .unwrap_err();
    assert!(matches!(none, HubError::NoListener));
}

#[actix_web::test]
async fn a_silent_peer_is_found_out_and_one_that_answers_pings_stays() {
    let s = scene_with(|config| {
        config.ping_interval = Duration::from_millis(150);
        config.pong_timeout = Duration::from_millis(450);
    })
    .await;
    let mut s = s;
    let c = s.c_user.name.clone();
    let user = sign_in(s.addr).await;
    let mut silent = RawSocket::connect(s.addr).await;
    silent
        .send_text(register("silent", &user, &s.room, json!({})))
        .await;
    silent.recv().await;
    let start = Instant::now();
    // C stays in the conversation meanwhile; the silent one gets its pings and a close frame, and answers nothing.
    let mut pings = 0;
    let code = loop {
        s.c.discover(&c, json!({})).await;
        s.w.hears_nothing().await;
        match silent.recv().await {
            (0x89, _) => pings += 1,
            (0x88, reason) => break u16::from_be_bytes([reason[0], reason[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 1011);
    // Up to a tenth of the interval is given to chance, so that connections are not all pinged together.
    assert!(
        pings == 1 && start.elapsed() >= Duration::from_millis(580),
        "{pings} {:?}",
        start.elapsed()
    );
    assert_eq!(s.c.discover(&c, json!({})).await, [s.w_user.name.as_str()]);
}

#[actix_web::test]
async fn the_json_ping_is_sent_when_asked_for() {
    let mut s = scene_with(|config| {
        config.json_ping = true;
        config.ping_interval = Duration::from_millis(50);
    })
    .await;
    assert_eq!(s.w.recv().await, json!({"type": "ping"}));
    s.w.send(json!({"type": "pong"})).await;
    assert_eq!(
        s.w.recv().await,
        json!({"type": "ping"}),
        "a pong is no unknown message then"
    );
}

#[actix_web::test]
async fn an_unregistered_socket_is_dropped_and_a_registered_one_is_not() {
    let mut s =
        scene_with(|config| config.limits.unregistered_time = Duration::from_millis(200)).await;
    let mut x = Peer::connect(s.addr).await;
    assert_eq!(x.closed_with().await, 1000);
    s.c.hears_nothing().await;
}

#[actix_web::test]
async fn sockets_are_bounded_at_the_handshake() {
    let hub = hub_with(|config| config.limits.sockets = 2);
    let addr = hub.addrs[0];
    let a = Peer::connect(addr).await;
    let _b = Peer::connect(addr).await;
    match awc::Client::new()
        .ws(format!("ws://{addr}"))
        .connect()
        .await
        .map(drop)
    {
        Err(awc::error::WsClientError::InvalidResponseStatus(status)) => assert_eq!(status, 503),
        other => panic!("{other:?}"),
    }
    a.close().await;
    Peer::connect(addr).await.hears_nothing().await;
}

#[actix_web::test]
async fn a_thousand_connections_leave_nothing_behind() {
    let hub = hub();
    let addr = hub.addrs[0];
    let user = sign_in(addr).await;
    let room = create_room(addr, &user).await;
    let mut watcher = Peer::join(addr, "watcher", &user, &room, json!({})).await;
    for n in 0..1000 {
        let peer = Peer::join(
            addr,
            &format!("p{}", n % 7),
            &user,
            &room,
            json!({"is_admin": true}),
        )
        .await;
        // Half of them say goodbye; the others are simply gone.
        if n % 2 == 0 {
            peer.close().await
        } else {
            drop(peer)
        }
    }
    let patience = Instant::now() + PATIENCE;
    while !watcher.discover("watcher", json!({})).await.is_empty() {
        assert!(Instant::now() < patience, "a ghost stays");
    }
    let reply = watcher
        .ask(register("watcher", &user, &room, json!({"is_admin": true})))
        .await;
    assert_eq!(
        (&reply["admin_peer_id"], &reply["peer_list"]),
        (&json!("watcher"), &json!([]))
    );
}
