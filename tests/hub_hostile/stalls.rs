//! Peers that stop: they do not read, do not answer, or never finish what they begin.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::device::*;
use crate::support::{Peer, create_room, register, sign_in};

/// How long a round trip of somebody else may take meanwhile. Being held up, as by the original, takes 45 s.
const BRISK: Duration = Duration::from_secs(3);

/// Bytes that may wait for one socket.
const OUTBOX: usize = 256 << 10;

/// A hub in which little may wait for a socket.
fn narrow_hub() -> loaner::hub::RunningHub {
    device_hub(|config| {
        config.limits.message_bytes = OUTBOX / 4;
        config.limits.outbox_bytes = OUTBOX;
        config.limits.socket_messages_per_second = u32::MAX;
    })
}

/// What came until the end of the connection, and the code of the close frame if it came as well.
async fn rest(wire: &mut Wire) -> (usize, Option<u16>) {
    let (mut came, mut code) = (0, None);
    while let Ok((first, payload)) = soon(wire.try_next()).await {
        came += payload.len();
        if first == 0x88 {
            code = Some(u16::from_be_bytes([payload[0], payload[1]]));
        }
    }
    (came, code)
}

#[actix_web::test]
async fn a_device_that_never_reads_is_cut_off_and_loses_nothing() {
    const SENT: usize = 200;
    let hub = device_hub(|config| {
        config.ping_interval = Duration::from_millis(1500);
        config.pong_timeout = Duration::from_millis(500);
    });
    let addr = hub.addrs[0];
    let mut stalled = Wire::device(addr, "bob", "b1").await;
    let mut sender = Wire::device(addr, "alice", "a1").await;
    let content = "x".repeat(60_000);
    let mut worst = Duration::ZERO;
    let mut receipts = HashSet::new();
    // 12 MB, far more than the system's buffers and the window together.
    for n in 0..SENT {
        let message = json!({"n": n, "x": content});
        sender.post(("bob", None), &n.to_string(), message).await;
        let start = Instant::now();
        sender.send(json!({"type": "ping"})).await;
        while let message = sender.recv().await
            && message["type"] != "pong"
        {
            receipts.insert(receipt(&message));
        }
        worst = worst.max(start.elapsed());
    }
    assert!(worst < BRISK, "the sender was held up: {worst:?}");
    // It is found out, and what it did not take is in its mailbox: then the sender has its receipts.
    while receipts.len() < SENT {
        receipts.insert(receipt(&sender.recv().await));
    }
    eventually("it is still there", async || {
        metric(addr, "loaner_hub_closed_total{reason=\"ping_timeout\"}").await == 1
    })
    .await;
    let (came, code) = rest(&mut stalled).await;
    assert!(code.is_none_or(|code| code == 4408), "{code:?}");
    assert!(
        came < 8 << 20,
        "more than the window and the system's buffers: {came}"
    );
    let mut back = Wire::device(addr, "bob", "b1").await;
    let mut last = 0;
    for n in 0..SENT {
        let message = back.recv_of("message").await;
        assert_eq!(message["content"]["n"], n, "lost, or out of order");
        let id = message["message_id"].as_u64().unwrap();
        assert!(id > last);
        last = id;
        back.send(json!({"type": "ack", "payload": {"up_to": id}}))
            .await;
    }
    back.echo().await;
}

/// Whose receipt it is.
fn receipt(message: &Value) -> String {
    assert_eq!(
        (&message["type"], &message["payload"]["status"]),
        (&json!("accepted"), &json!("stored"))
    );
    message["payload"]["client_message_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A backlog is given piece by piece: it is no reason to cut off a device that reads, however little may wait for it.
#[actix_web::test]
async fn a_device_that_reads_is_not_cut_off_for_its_backlog() {
    const SENT: usize = 40;
    let hub = narrow_hub();
    let addr = hub.addrs[0];
    Wire::device(addr, "bob", "b1").await.close().await;
    let mut sender = Wire::device(addr, "alice", "a1").await;
    let content = "x".repeat(60_000);
    for n in 0..SENT {
        sender
            .post(("bob", None), &n.to_string(), json!({"n": n, "x": content}))
            .await;
        receipt(&sender.recv().await);
    }
    let mut back = Wire::device(addr, "bob", "b1").await;
    for n in 0..SENT {
        let message = back.recv_of("message").await;
        assert_eq!(message["content"]["n"], n);
        back.send(json!({"type": "ack", "payload": {"up_to": message["message_id"]}}))
            .await;
    }
    back.echo().await;
    assert_eq!(refusals(addr, "send_queue").await, 0);
}

#[actix_web::test]
async fn a_peer_in_a_room_that_never_reads_is_cut_off_with_1011() {
    let hub = narrow_hub();
    let addr = hub.addrs[0];
    let user = sign_in(addr).await;
    let room = create_room(addr, &user).await;
    let mut sender = Peer::join(addr, "sender", &user, &room, json!({})).await;
    let mut stalled = Wire::signalling(addr).await;
    stalled
        .ask(register("stalled", &user, &room, json!({})))
        .await;
    let payload = "x".repeat(60_000);
    let mut worst = Duration::ZERO;
    for n in 0.. {
        assert!(n < 600, "36 MB, and nobody is cut off");
        let message = json!({"type": "peer_message", "from_peer_id": "sender", "to_peer_id": "stalled", "payload": payload});
        sender.send(message).await;
        let start = Instant::now();
        let reply = sender
            .ask(json!({"type": "discover_peers", "from_peer_id": "sender"}))
            .await;
        worst = worst.max(start.elapsed());
        if reply["code"] == "DELIVERY_FAILED" {
            break;
        }
    }
    assert!(worst < BRISK, "the sender was held up: {worst:?}");
    assert_eq!(refusals(addr, "send_queue").await, 1);
    let (_, code) = rest(&mut stalled).await;
    assert!(code.is_none_or(|code| code == 1011), "{code:?}");
}

#[actix_web::test]
async fn a_half_open_connection_is_found_out_and_its_place_is_free() {
    let hub = device_hub(|config| {
        config.ping_interval = Duration::from_millis(300);
        config.pong_timeout = Duration::from_millis(300);
    });
    let addr = hub.addrs[0];
    let mut polite = Wire::device(addr, "bob", "b1").await;
    let mut mute = Wire::device(addr, "alice", "a1").await;
    // Another does not even read, and a third is in the middle of a message.
    let deaf = Wire::device(addr, "alice", "a2").await;
    let mut halfway = Wire::device(addr, "alice", "a3").await;
    halfway
        .write(&[0x81, 0xff, 0, 0, 0, 0, 0, 0x0f, 0, 0])
        .await;
    mute.polite = false;
    let answers = async {
        // It answers the pings for as long as the others are there.
        loop {
            soon(polite.try_frame()).await.unwrap();
            polite.write(&frame(0x8a, b"")).await;
        }
    };
    let others = async {
        let mut pings = 0;
        let code = loop {
            match soon(mute.try_frame()).await.unwrap() {
                (0x89, _) => pings += 1,
                (0x88, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((pings, code), (1, 4408));
        // It answers the close frame no more than the pings; the hub does not wait for it for long.
        eventually("the silent are still there", async || {
            admin(addr, "/connections").await["total"] == 1
        })
        .await;
    };
    tokio::select! {
        () = answers => unreachable!(),
        () = others => {}
    }
    assert_eq!(
        metric(addr, "loaner_hub_closed_total{reason=\"ping_timeout\"}").await,
        3
    );
    drop((mute, deaf, halfway));
    polite.close().await;
    empty(addr).await;
}

/// Bytes that come one at a time, without end: a request's head, the head of a second one, and a body.
#[actix_web::test]
async fn who_dribbles_is_cut_off_while_others_get_in() {
    let time = Duration::from_secs(1);
    let hub = device_hub(|config| config.limits.request_time = time);
    let addr = hub.addrs[0];
    let head = handshake(addr, "/ws?token=x", "Cookie: ").replace("\r\n\r\n", "");
    let first = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    let body = "POST /anonymous-signin HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n";
    // What is sent at once, and what dribbles after it.
    let dribblers =
        [("", head.as_str()), (first, &head), (body, "{")].map(|(whole, dribble)| async move {
            let tcp = dial(addr).await;
            let (mut reader, mut writer) = tcp.into_split();
            let start = Instant::now();
            let dribbling = async {
                writer.write_all(whole.as_bytes()).await?;
                let mut pause = tokio::time::interval(Duration::from_millis(20));
                for byte in dribble.bytes().chain(std::iter::repeat(b'x')) {
                    pause.tick().await;
                    writer.write_all(&[byte]).await?;
                }
                Ok::<_, std::io::Error>(())
            };
            let reading = async {
                let mut answer = Vec::new();
                // The end may be rough.
                let _ = reader.read_to_end(&mut answer).await;
                String::from_utf8_lossy(&answer).into_owned()
            };
            tokio::pin!(reading);
            let answer = tokio::select! {
                answer = &mut reading => answer,
                Err(_) = dribbling => reading.await,
            };
            (answer, start.elapsed())
        });
    let others = async {
        let start = Instant::now();
        for n in 0..20 {
            let user = format!("user{n}");
            Wire::device(addr, &user, "d").await.echo().await;
        }
        start.elapsed()
    };
    let (cut, took) =
        soon(async { tokio::join!(futures_util::future::join_all(dribblers), others) }).await;
    assert!(took < Duration::from_secs(5), "others wait: {took:?}");
    for (answer, after) in &cut {
        assert!(!answer.contains(" 101 "), "{answer}");
        assert!(*after < Duration::from_secs(8), "after {after:?}: {answer}");
    }
    assert!(cut[0].1 >= time / 2 && cut[2].1 >= time / 2, "{cut:?}");
    assert!(
        cut[1].0.starts_with("HTTP/1.1 200"),
        "the first request is answered: {cut:?}"
    );
    empty(addr).await;
}

/// Answers that nobody reads fill what may wait for a socket, and then it is over.
#[actix_web::test]
async fn a_device_that_asks_and_never_reads_the_answers_is_cut_off() {
    let hub = narrow_hub();
    let addr = hub.addrs[0];
    let mut rude = Wire::device(addr, "rude", "d").await;
    // Each asks for an answer that is larger than itself.
    let ask = frame(0x81, b"{\"type\":\"state\"}").repeat(1000);
    let asking = async { while rude.tcp.write_all(&ask).await.is_ok() {} };
    let cut = eventually("it may go on for ever", async || {
        refusals(addr, "send_queue").await > 0
    });
    tokio::select! {
        () = asking => cut_off(addr).await,
        () = cut => {}
    }
    assert_eq!(
        metric(addr, "loaner_hub_closed_total{reason=\"slow_reader\"}").await,
        1
    );
    let (came, code) = rest(&mut rude).await;
    assert!(code.is_none_or(|code| code == 4413), "{code:?}");
    assert!(came < OUTBOX + (8 << 20), "{came}");
    Wire::device(addr, "bob", "b1").await.echo().await;
}

async fn cut_off(addr: std::net::SocketAddr) {
    assert_eq!(refusals(addr, "send_queue").await, 1);
}
