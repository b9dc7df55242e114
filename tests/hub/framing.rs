//! Malformed, oversized and unread frames: weaknesses 6 and 9.

use std::time::{Duration, Instant};

use awc::ws::Message;
use serde_json::{Value, json};

use crate::support::*;

#[actix_web::test]
async fn malformed_frames_get_an_error_and_the_connection_lives() {
    let mut s = scene().await;
    let error =
        |code: &str, message: &str| json!({"type": "error", "code": code, "message": message});
    for (frame, kind) in [
        (json!({"type": "ping"}), "ping"),
        (json!({"hello": 1}), "None"),
        (json!({"type": null}), "None"),
        (json!({"type": "query"}), "query"),
        (json!({"type": "error", "reason": "no target"}), "error"),
    ] {
        assert_eq!(
            s.c.ask(frame).await,
            error(
                "UNKNOWN_MESSAGE_TYPE",
                &format!("Unknown message type: {kind}")
            )
        );
    }
    let reply = s.c.ask(json!({"type": "x".repeat(500_000)})).await;
    assert!(
        reply.to_string().len() < 500,
        "what is unknown is not repeated at length"
    );
    let deep = "[".repeat(100_000);
    for text in ["{not json", "", "\"\\ud800\"", deep.as_str()] {
        s.c.send_message(Message::Text(text.to_owned().into()))
            .await;
        assert_eq!(
            s.c.recv().await,
            error("INVALID_JSON", "Invalid JSON format"),
            "{text:.20}"
        );
    }
    s.c.send_message(Message::Binary(vec![0xff, 0xfe, 0xfd, 0xfc, 0x7b].into()))
        .await;
    assert_eq!(
        s.c.recv().await,
        error("INVALID_JSON", "Invalid JSON format")
    );
    for text in ["[]", "5", "\"register\"", "null"] {
        s.c.send_message(Message::Text(text.into())).await;
        assert_eq!(
            s.c.recv().await,
            error("INVALID_MESSAGE", "Message must be a JSON object"),
            "{text}"
        );
    }
    let discover = json!({"type": "discover_peers", "from_peer_id": s.c_user.name});
    s.c.send_message(Message::Binary(discover.to_string().into_bytes().into()))
        .await;
    assert_eq!(
        s.c.recv().await["type"],
        "peer_list",
        "binary frames are read, and answered in text"
    );
}

#[actix_web::test]
async fn a_mebibyte_is_read_and_one_byte_more_closes_with_1009() {
    let hub = hub();
    let mut peer = Peer::connect(hub.addrs[0]).await;
    peer.send_message(Message::Text("x".repeat(1 << 20).into()))
        .await;
    assert_eq!(peer.recv().await["code"], "INVALID_JSON");
    peer.send_message(Message::Text("x".repeat((1 << 20) + 1).into()))
        .await;
    assert_eq!(peer.closed_with().await, 1009);
}

#[actix_web::test]
async fn a_giant_is_refused_by_its_header_and_in_pieces_too() {
    let hub = hub();
    let mut raw = RawSocket::connect(hub.addrs[0]).await;
    raw.send(0x82, 1 << 40, b"only the beginning").await;
    assert_eq!(raw.closed_with().await, 1009, "before its bytes have come");
    raw.drain().await;

    let mut raw = RawSocket::connect(hub.addrs[0]).await;
    let piece = vec![b' '; 600 << 10];
    raw.send(0x01, piece.len() as u64, &piece).await;
    raw.send(0x80, piece.len() as u64, &piece).await;
    assert_eq!(raw.closed_with().await, 1009);

    let mut raw = RawSocket::connect(hub.addrs[0]).await;
    raw.send(0x01, 3, b"{\"t").await;
    raw.send(0x00, 7, b"ype\":\"q").await;
    raw.send(0x80, 2, b"\"}").await;
    let (_, reply) = raw.recv().await;
    let reply: Value = serde_json::from_slice(&reply).unwrap();
    assert_eq!(
        reply["message"], "Unknown message type: q",
        "pieces are put together"
    );
}

#[actix_web::test]
async fn a_protocol_violation_ends_the_connection_with_its_code() {
    let hub = hub();
    for (first, payload, code) in [
        (0x81u8, &b"\xff\xfe"[..], 1007),
        (0x83, b"x", 1002),
        (0xc1, b"x", 1002),
    ] {
        let mut raw = RawSocket::connect(hub.addrs[0]).await;
        raw.send(first, payload.len() as u64, payload).await;
        let (kind, reason) = raw.recv().await;
        assert_eq!(
            (kind, u16::from_be_bytes([reason[0], reason[1]])),
            (0x88, code),
            "{first:#x}"
        );
    }
}

#[actix_web::test]
async fn a_peer_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    let mut s = scene().await;
    let c = s.c_user.name.clone();
    let user = sign_in(s.addr).await;
    let mut stalled = RawSocket::connect(s.addr).await;
    stalled
        .send_text(register(
            "stalled",
            &user,
            &s.room,
            json!({"role": "worker"}),
        ))
        .await;
    stalled.recv().await;

    // 60 MB, of which it reads nothing: far more than any buffer on the way.
    let payload = "x".repeat(500_000);
    let start = Instant::now();
    let mut cut_off = false;
    for _ in 0..120 {
        let frame = json!({"type": "peer_message", "from_peer_id": c, "to_peer_id": "stalled", "payload": payload});
        s.c.send(frame).await;
        let reply =
            s.c.ask(json!({"type": "discover_peers", "from_peer_id": c}))
                .await;
        if reply["code"] == "DELIVERY_FAILED" {
            assert_eq!(s.c.recv().await["count"], 1, "gone from the room as well");
            cut_off = true;
            break;
        }
        assert_eq!(reply["count"], 2, "{reply}");
    }
    assert!(cut_off, "the stalled peer is cut off");
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "and its sender was never held up: {:?}",
        start.elapsed()
    );
    let frame =
        json!({"type": "peer_message", "from_peer_id": c, "to_peer_id": "stalled", "payload": "x"});
    assert_eq!(s.c.ask(frame).await["code"], "PEER_NOT_IN_ROOM");
    s.c.hears_nothing().await;
    s.w.hears_nothing().await;
    assert!(
        stalled.drain().await < 30_000_000,
        "its connection is ended, not fed for ever"
    );
}

#[actix_web::test]
async fn a_peer_that_reads_is_not_cut_off_however_much_it_gets() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let payload = "x".repeat(500_000);
    // 15 MB in all, several times what may wait for one socket.
    for _ in 0..30 {
        let frame =
            json!({"type": "peer_message", "from_peer_id": c, "to_peer_id": w, "payload": payload});
        s.c.send(frame).await;
        assert_eq!(s.w.recv().await["payload"], payload);
    }
    s.c.hears_nothing().await;
}
