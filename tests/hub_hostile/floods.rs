//! Too much, too fast, too large, too deep, or simply rubbish.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::device::*;
use crate::support::{RawSocket, create_room, register, sign_in};

/// Pages of memory that this process, which the hub is a part of, has in use.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[actix_web::test]
async fn a_gibibyte_announced_costs_a_close_frame() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let mut bystander = Wire::device(addr, "bob", "b1").await;
    let before = resident();
    let mut held = Vec::new();
    for n in 0..50 {
        let mut wire = Wire::device(addr, &format!("user{n}"), "d").await;
        let kind = if n % 2 == 0 { 0x82 } else { 0x01 };
        wire.write(&[kind, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4])
            .await;
        wire.write(&[b'['; 1000]).await;
        assert_eq!(wire.closed_with().await, 1009);
        held.push(wire);
    }
    // In pieces, each of which would be allowed; a piece more, and it is too much.
    let mut wire = Wire::device(addr, "pieces", "d").await;
    wire.write(&frame(0x01, &[b' '; 1 << 19])).await;
    wire.write(&frame(0x00, &[b' '; 1 << 19])).await;
    wire.write(&frame(0x00, b" ")).await;
    assert_eq!(wire.closed_with().await, 1009);
    // In no pieces at all, but very many of them.
    let mut wire = Wire::device(addr, "nothing", "d").await;
    wire.write(&frame(0x01, b"")).await;
    wire.write(&frame(0x00, b"").repeat(2000)).await;
    assert_eq!(wire.closed_with().await, 1009);
    assert!(
        resident().saturating_sub(before) < 256 << 20,
        "memory was set aside for it"
    );
    assert_eq!(refusals(addr, "message_size").await, 52);
    bystander.echo().await;
}

#[actix_web::test]
async fn nesting_without_end_is_an_error_in_both_formats() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    const DEEP: usize = 100_000;
    let mut wire = Wire::device(addr, "alice", "a1").await;
    let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
    let objects = "{\"a\":".repeat(DEEP);
    let head = "{\"type\":\"message\",\"payload\":{\"recipient_user_id\":\"bob\",\"content\":";
    for text in [
        open.clone(),
        format!("{open}{close}"),
        format!("{{\"type\":{open}{close}}}"),
        format!("{head}{open}{close}}}}}"),
        format!("{head}{objects}1{}}}}}", "}".repeat(DEEP)),
        format!("{{\"type\":\"ping\",\"payload\":{{\"t\":{open}{close}}}}}"),
        format!("{{\"unknown\":{open}{close},\"type\":\"ping\"}}"),
    ] {
        wire.send_text(&text).await;
        let error = wire.recv_of("error").await;
        let code = error["code"].as_str().unwrap();
        assert!(
            ["TOO_DEEP", "PARSE_ERROR", "INVALID_PAYLOAD"].contains(&code),
            "{text:.60}: {error}"
        );
        wire.echo().await;
    }

    let protocol = "Sec-WebSocket-Protocol: loaner.v1.msgpack\r\n";
    let target = format!("/ws?token={}", token("alice", "a2"));
    let mut packed = Wire::open(addr, &target, protocol).await.ok().unwrap();
    assert_eq!(packed.next().await.0, 0x82, "greeted");
    let word = |text: &str| [&[0xa0 | text.len() as u8], text.as_bytes()].concat();
    let long_word = |text: &str| [&[0xd9, text.len() as u8], text.as_bytes()].concat();
    let payload = |key: Vec<u8>, deep: &[u8]| {
        [
            vec![0x82],
            word("type"),
            word("message"),
            word("payload"),
            vec![0x82],
            word("recipient_user_id"),
            word("bob"),
            key,
            deep.to_vec(),
        ]
        .concat()
    };
    for deep in [
        vec![0x91; DEEP],
        [0x81, 0xa1, b'a'].repeat(DEEP),
        vec![0x91; 4],
    ] {
        for bytes in [
            deep.clone(),
            payload(word("content"), &deep),
            payload(long_word("unknown"), &deep),
            [vec![0x82], word("type"), deep.clone()].concat(),
        ] {
            packed.write(&frame(0x82, &bytes)).await;
            let (first, reply) = packed.next().await;
            let reply = String::from_utf8_lossy(&reply).into_owned();
            assert_eq!(first, 0x82);
            assert!(
                ["TOO_DEEP", "PARSE_ERROR", "INVALID_PAYLOAD"]
                    .iter()
                    .any(|code| reply.contains(code)),
                "{reply}"
            );
        }
    }
    // It lives: a pong comes back.
    packed
        .write(&frame(
            0x82,
            &[vec![0x81], word("type"), word("ping")].concat(),
        ))
        .await;
    assert!(String::from_utf8_lossy(&packed.next().await.1).contains("pong"));
    wire.echo().await;
}

#[actix_web::test]
async fn a_million_short_messages_keep_nobody_waiting() {
    const MANY: usize = 1_000_000;
    let hub = device_hub(|config| {
        config.limits.socket_messages_per_second = u32::MAX;
        config.limits.socket_bytes_per_second = u32::MAX;
    });
    let addr = hub.addrs[0];
    let mut bob = Wire::device(addr, "bob", "b1").await;
    let mut flooding = Wire::device(addr, "alice", "a1").await;
    let batch = frame(0x81, b"{\"type\":\"pong\"}").repeat(10_000);
    let flood = async {
        for _ in 0..MANY / 10_000 {
            tokio::time::timeout(
                Duration::from_secs(60),
                tokio::io::AsyncWriteExt::write_all(&mut flooding.tcp, &batch),
            )
            .await
            .expect("the hub does not read")
            .unwrap();
        }
        flooding.send(json!({"type": "state"})).await;
        flooding.recv().await
    };
    let (worst, trips) = (Cell::new(Duration::ZERO), Cell::new(0));
    let honest = async {
        loop {
            worst.set(worst.get().max(bob.echo().await));
            trips.set(trips.get() + 1);
        }
    };
    let state = tokio::select! {
        state = flood => state,
        () = honest => unreachable!(),
    };
    assert!(trips.get() > 10, "{trips:?}");
    assert!(
        worst.get() < Duration::from_secs(2),
        "somebody else waited {worst:?}"
    );
    assert_eq!(state["payload"]["messages_received"], MANY + 1);
}

#[actix_web::test]
async fn who_sends_too_many_messages_is_told_and_then_closed() {
    const RATE: u32 = 10;
    let hub = device_hub(|config| config.limits.socket_messages_per_second = RATE);
    let addr = hub.addrs[0];
    let mut fast = Wire::device(addr, "alice", "a1").await;
    let start = Instant::now();
    let mut bytes = Vec::new();
    for n in 0..200 {
        let message = json!({"type": "message", "payload": {"recipient_user_id": "bob",
            "client_message_id": format!("m{n}"), "content": n}});
        bytes.extend(frame(0x81, message.to_string().as_bytes()));
    }
    fast.write(&bytes).await;
    let (mut accepted, mut refused) = (0, 0);
    let code = loop {
        let (first, payload) = fast.next().await;
        if first == 0x88 {
            break u16::from_be_bytes([payload[0], payload[1]]);
        }
        let reply: Value = serde_json::from_slice(&payload).unwrap();
        let payload = &reply["payload"];
        match reply["type"].as_str().unwrap() {
            "accepted" => accepted += 1,
            "error" => {
                refused += 1;
                assert_eq!(
                    (&payload["code"], &payload["retryable"]),
                    (&json!("RATE_LIMITED"), &json!(true))
                );
                let wait = payload["retry_after_ms"].as_u64().unwrap();
                assert!(
                    (1..=1000 / u64::from(RATE) + 1).contains(&wait),
                    "{payload}"
                );
                assert!(
                    payload["client_message_id"]
                        .as_str()
                        .unwrap()
                        .starts_with('m'),
                    "{payload}"
                );
            }
            other => panic!("{other}"),
        }
    };
    assert_eq!((code, refused), (4429, 10));
    let most = f64::from(RATE) * (2.0 + start.elapsed().as_secs_f64());
    assert!(
        f64::from(accepted) <= most,
        "{accepted} were let pass, where {most} were allowed"
    );
    assert_eq!(refusals(addr, "message_rate").await, 10);
    // What got a receipt is there, and nothing else.
    let mut bob = Wire::device(addr, "bob", "b1").await;
    for n in 0..metric(addr, "loaner_hub_mail_posted_total").await {
        assert_eq!(bob.recv_of("message").await["content"], n);
    }
    bob.echo().await;
}

#[actix_web::test]
async fn who_sends_too_many_bytes_is_read_more_slowly_and_loses_nothing() {
    let hub = device_hub(|config| config.limits.socket_bytes_per_second = 200_000);
    let addr = hub.addrs[0];
    let mut fast = Wire::device(addr, "alice", "a1").await;
    let start = Instant::now();
    // 700 kB, of which 400 may come at once.
    let text = json!({"type": "ping", "payload": {"t": 7}}).to_string() + &" ".repeat(99_000);
    for _ in 0..7 {
        fast.send_text(&text).await;
    }
    for _ in 0..7 {
        assert_eq!(fast.recv().await["type"], "pong");
    }
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
    assert!(refusals(addr, "byte_rate").await >= 1);
}

/// Pings are answered, so they count as well.
#[actix_web::test]
async fn pings_without_end_are_read_more_slowly() {
    let hub = device_hub(|config| config.limits.socket_bytes_per_second = 200 << 10);
    let addr = hub.addrs[0];
    let mut fast = Wire::device(addr, "alice", "a1").await;
    let start = Instant::now();
    // As many as 700 KiB of messages, of which 400 KiB may come at once.
    fast.write(&frame(0x89, b"").repeat(700)).await;
    for _ in 0..700 {
        assert_eq!(soon(fast.try_frame()).await.unwrap(), (0x8a, Vec::new()));
    }
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1300), "{took:?}");
    assert!(refusals(addr, "byte_rate").await >= 1);
}

#[actix_web::test]
async fn rubbish_is_answered_and_then_ends_the_connection() {
    const STRIKES: usize = 20;
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let rubbish = |n: usize| match n % 5 {
        0 => frame(0x81, b"{not json"),
        1 => frame(0x82, b"\xc1\xff"),
        2 => frame(0x81, b"[]"),
        3 => frame(0x81, b"{\"type\":\"message\",\"payload\":{\"content\":1}}"),
        _ => frame(0x81, b"{\"type\":\"nonsense\"}"),
    };
    let mut wire = Wire::device(addr, "alice", "a1").await;
    for n in 1..STRIKES {
        wire.write(&rubbish(n)).await;
        assert!(wire.next().await.0 < 0x88, "an answer");
    }
    // It is still heard; the next one is too much.
    wire.write(&frame(0x81, b"{\"type\":\"ping\"}")).await;
    assert_eq!(wire.recv().await["type"], "pong");
    wire.write(&rubbish(0)).await;
    assert_eq!(wire.recv().await["payload"]["code"], "PARSE_ERROR");
    assert_eq!(wire.closed_with().await, 1008);
    assert_eq!(refusals(addr, "rubbish").await, 1);

    let user = sign_in(addr).await;
    let room = create_room(addr, &user).await;
    let mut raw = RawSocket::connect(addr).await;
    raw.send_text(register("p", &user, &room, json!({}))).await;
    raw.recv().await;
    for _ in 0..STRIKES {
        raw.send(0x81, 5, b"[1,2]").await;
        assert_eq!(raw.recv().await.0, 0x81, "an answer");
    }
    assert_eq!(raw.closed_with().await, 1008);
    assert_eq!(refusals(addr, "rubbish").await, 2);
}

#[actix_web::test]
async fn what_is_no_websocket_ends_with_its_code() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let nothing_masked = [0x81, 0x02, b'{', b'}'];
    let cases: [(&[u8], u16); 9] = [
        (&frame(0x81, b"\xff\xfe"), 1007),
        (&frame(0x83, b"x"), 1002),
        (&frame(0xc1, b"x"), 1002),
        (&frame(0x80, b"x"), 1002),
        (&frame(0x09, b"x"), 1002),
        (&frame(0x89, &[0; 126]), 1002),
        (&frame(0x88, b"x"), 1002),
        (&[frame(0x01, b"a"), frame(0x01, b"b")].concat(), 1002),
        (&nothing_masked, 1002),
    ];
    for (bytes, code) in cases {
        let mut wire = Wire::device(addr, "alice", "a1").await;
        wire.write(bytes).await;
        assert_eq!(wire.closed_with().await, code, "{bytes:?}");
    }
    // The answer to HTTP that is none, and to TLS where there is none.
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        &[0; 64],
    ] {
        let mut wire = dial(addr).await;
        tokio::io::AsyncWriteExt::write_all(&mut wire, bytes)
            .await
            .unwrap();
        let mut answer = Vec::new();
        // The end may be rough.
        let _ = soon(tokio::io::AsyncReadExt::read_to_end(&mut wire, &mut answer)).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{answer:?}"
        );
    }
    empty(addr).await;
}
