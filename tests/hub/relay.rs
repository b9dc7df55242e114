//! Section 2b: what passes from peer to peer, and what is said when it cannot.

use serde_json::{Value, json};

use crate::support::*;

#[actix_web::test]
async fn offers_answers_and_candidates_pass_with_all_their_keys() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let offer = json!({"type": "offer", "sender": c, "target": w, "sdp": "v=0\r\n", "extra": {"kept": [1, 1.5, null, "é☃"]}});
    s.c.send(offer.clone()).await;
    assert_eq!(s.w.recv().await, offer);
    let answer = json!({"type": "answer", "sender": w, "target": c, "sdp": "v=0\r\n"});
    s.w.send(answer.clone()).await;
    assert_eq!(s.c.recv().await, answer);
    let candidate = json!({"type": "candidate", "sender": c, "target": w,
        "candidate": {"candidate": "c", "sdpMid": "0", "sdpMLineIndex": 0}});
    s.c.send(candidate.clone()).await;
    assert_eq!(s.w.recv().await, candidate);
}

#[actix_web::test]
async fn an_offer_to_the_absent_is_told_to_a_client_and_to_nobody_else() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let reply =
        s.c.ask(json!({"type": "offer", "sender": c, "target": "ghost", "sdp": "x"}))
            .await;
    assert_eq!(
        reply,
        json!({"type": "error", "code": "PEER_NOT_FOUND", "message": "Target peer ghost not found"})
    );
    for silent in [
        json!({"type": "offer", "sender": "ghost", "target": w, "sdp": "x"}),
        json!({"type": "offer", "target": w, "sdp": "x"}),
        json!({"type": "offer", "sdp": "x"}),
        json!({"type": "candidate", "sender": c, "target": "ghost"}),
        json!({"type": "answer", "sender": c, "target": "ghost"}),
    ] {
        s.c.send(silent).await;
    }
    s.c.hears_nothing().await;
    s.w.send(json!({"type": "offer", "sender": w, "target": "ghost", "sdp": "x"}))
        .await;
    s.w.hears_nothing().await;
}

/// A peer that goes by another name than its user's cannot hide whose it is: the hub says so in messages and offers to those
/// who asked for notices, and what the peer says of it is dropped. To others, frames are those of the original.
#[actix_web::test]
async fn whose_a_peer_is_the_hub_says() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let user = sign_in(s.addr).await;
    let asks = json!({"role": "worker", "notices": true});
    let mut curious = Peer::join(s.addr, &s.w_user.name, &s.w_user, &s.room, asks).await;
    let mut v = Peer::join(s.addr, "V", &user, &s.room, json!({"role": "client"})).await;
    assert_eq!(curious.recv().await["type"], "peer_joined");
    let message = json!({"type": "peer_message", "from_peer_id": "V", "from_user": c, "to_peer_id": w, "payload": 1});
    let offer = json!({"type": "offer", "sender": "V", "from_user": c, "target": w, "sdp": "x"});
    for frame in [&message, &offer] {
        v.send(frame.clone()).await;
        assert_eq!(curious.recv().await["from_user"], user.name);
    }
    s.c.send(json!({"type": "offer", "sender": c, "from_user": "V", "target": w, "sdp": "x"}))
        .await;
    assert!(curious.recv().await.get("from_user").is_none());
    // The same peer again, as the original's worker comes.
    let role = json!({"role": "worker"});
    let mut plain = Peer::join(s.addr, &s.w_user.name, &s.w_user, &s.room, role).await;
    for frame in [message, offer] {
        v.send(frame).await;
        assert!(plain.recv().await.get("from_user").is_none());
    }
}

#[actix_web::test]
async fn peer_messages_are_rebuilt_and_their_failures_told() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let payload = json!({"app_message_type": "job_request", "n": 1.5, "s": "é☃", "deep": {"a": [1, null, true]}});
    for payload in [payload, json!("a plain string")] {
        let message =
            json!({"type": "peer_message", "from_peer_id": c, "to_peer_id": w, "payload": payload});
        let mut sent = message.clone();
        sent["extra"] = json!("dropped");
        s.c.send(sent).await;
        assert_eq!(s.w.recv().await, message);
    }
    let itself = json!({"type": "peer_message", "from_peer_id": c, "to_peer_id": c, "payload": {"self": true}});
    assert_eq!(s.c.ask(itself.clone()).await, itself);

    let stranger = sign_in(s.addr).await;
    let other = create_room(s.addr, &stranger).await;
    let mut w3 = Peer::join(s.addr, "W3", &stranger, &other, json!({"role": "worker"})).await;
    let missing = "Missing required fields: from_peer_id, to_peer_id, payload";
    for (from, to, payload, code, message) in [
        (json!(c), json!(w), json!({}), "INVALID_MESSAGE", missing),
        (
            json!(null),
            json!(w),
            json!({"x": 1}),
            "INVALID_MESSAGE",
            missing,
        ),
        (
            json!(c),
            json!(7),
            json!({"x": 1}),
            "INVALID_MESSAGE",
            missing,
        ),
        (
            json!(c),
            json!("ghost"),
            json!({"x": 1}),
            "PEER_NOT_IN_ROOM",
            "Target peer ghost not in same room",
        ),
        (
            json!(c),
            json!("W3"),
            json!({"x": 1}),
            "PEER_NOT_IN_ROOM",
            "Target peer W3 not in same room",
        ),
        (
            json!("ghost"),
            json!(w),
            json!({"x": 1}),
            "NOT_IN_ROOM",
            "Sender not in any room",
        ),
    ] {
        let frame = json!({"type": "peer_message", "from_peer_id": from, "to_peer_id": to, "payload": payload});
        assert_eq!(
            s.c.ask(frame).await,
            json!({"type": "error", "code": code, "message": message})
        );
    }
    w3.hears_nothing().await;
    s.w.hears_nothing().await;
}

#[actix_web::test]
async fn the_mesh_frames_follow_the_golden_transcript() {
    let mut s = scene().await;
    let w = s.w_user.name.clone();
    let user = sign_in(s.addr).await;
    let mut w2 = Peer::join(s.addr, "W2", &user, &s.room, json!({"role": "worker"})).await;
    for (kind, delivered, body, value) in [
        (
            "mesh_connect",
            "mesh_offer",
            "offer",
            json!({"sdp": "v=0", "type": "offer"}),
        ),
        (
            "mesh_answer",
            "mesh_answer",
            "answer",
            json!({"sdp": "v=0", "type": "answer"}),
        ),
        (
            "ice_candidate",
            "ice_candidate",
            "candidate",
            json!({"candidate": "c", "sdpMid": "0"}),
        ),
    ] {
        let frame = |from: &str, to: &str, value: &Value| json!({"type": kind, "from_peer_id": from, "target_peer_id": to, body: value});
        w2.send(frame("W2", &w, &value)).await;
        assert_eq!(
            s.w.recv().await,
            json!({"type": delivered, "from_peer_id": "W2", body: value})
        );

        w2.send(frame("W2", "ghost", &value)).await;
        match kind {
            "mesh_connect" => {
                let reply = json!({"type": "error", "code": "PEER_NOT_FOUND", "reason": "peer_not_found", "target_peer_id": "ghost"});
                assert_eq!(w2.recv().await, reply);
            }
            "mesh_answer" => {
                let reply = json!({"type": "error", "code": "PEER_NOT_FOUND", "message": "Target peer ghost not found"});
                assert_eq!(w2.recv().await, reply);
            }
            _ => w2.hears_nothing().await,
        }
        let reply = w2.ask(frame("ghost", &w, &value)).await;
        assert_eq!(
            reply,
            json!({"type": "error", "code": "NOT_IN_ROOM", "message": "Sender not in any room"})
        );
        let reply = w2.ask(frame("W2", &w, &json!({}))).await;
        let message = format!("Missing required fields: from_peer_id, target_peer_id, {body}");
        assert_eq!(
            reply,
            json!({"type": "error", "code": "INVALID_MESSAGE", "message": message})
        );
    }
    s.w.hears_nothing().await;
}

fn busy(target: &str) -> Value {
    json!({"type": "error", "target": target, "reason": "worker_busy", "message": "Worker is currently busy.",
        "current_status": "busy"})
}

#[actix_web::test]
async fn worker_busy_reaches_the_client_once_per_offer() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let offer = json!({"type": "offer", "sender": c, "target": w, "sdp": "v=0"});

    // Unasked for, it goes nowhere: an `error` makes a Python worker exit.
    s.w.send(busy(&c)).await;
    s.w.hears_nothing().await;
    s.c.send(busy(&w)).await;
    s.c.hears_nothing().await;
    s.w.hears_nothing().await;

    s.c.send(offer.clone()).await;
    assert_eq!(s.w.recv().await, offer);
    s.w.send(busy(&c)).await;
    let mut relayed = busy(&c);
    relayed["sender"] = json!(w);
    assert_eq!(s.c.recv().await, relayed);
    s.w.send(busy(&c)).await;
    s.w.hears_nothing().await;
    s.c.hears_nothing().await;

    // An answer uses the offer up as well.
    s.c.send(offer).await;
    s.w.recv().await;
    s.w.send(json!({"type": "answer", "sender": w, "target": c, "sdp": "v=0"}))
        .await;
    assert_eq!(s.c.recv().await["type"], "answer");
    s.w.send(busy(&c)).await;
    s.w.hears_nothing().await;
    s.c.hears_nothing().await;
}

#[actix_web::test]
async fn an_error_answers_only_the_offer_of_its_target() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    let user = sign_in(s.addr).await;
    let mut d = Peer::join(s.addr, "D", &user, &s.room, json!({"role": "client"})).await;
    s.c.send(json!({"type": "offer", "sender": c, "target": w, "sdp": "v=0"}))
        .await;
    s.w.recv().await;
    // D was offered nothing, and W got no offer from D.
    d.send(busy(&c)).await;
    d.hears_nothing().await;
    s.w.send(busy("D")).await;
    let mut forged = busy(&c);
    forged["sender"] = json!("D");
    s.w.send(forged).await;
    s.w.hears_nothing().await;
    d.hears_nothing().await;
    s.c.hears_nothing().await;
    s.w.send(busy(&c)).await;
    assert_eq!(s.c.recv().await["sender"], json!(w), "still owed to C");

    // An offer is forgotten with the peer that made it, so that its successor is not refused for it.
    s.c.send(json!({"type": "offer", "sender": c, "target": w, "sdp": "v=0"}))
        .await;
    s.w.recv().await;
    s.c.close().await;
    let mut again = Peer::join(s.addr, &c, &s.c_user, &s.room, json!({"role": "client"})).await;
    s.w.send(busy(&c)).await;
    s.w.hears_nothing().await;
    again.hears_nothing().await;
}

#[actix_web::test]
async fn a_frame_that_grows_past_the_limit_is_not_delivered() {
    let mut s = scene().await;
    let (w, c) = (s.w_user.name.clone(), s.c_user.name.clone());
    // Small as it comes in, 1e15 is written out with sixteen digits.
    let payload = format!("[{}1]", "1e15,".repeat(150_000));
    let frame = format!(
        r#"{{"type":"peer_message","from_peer_id":"{c}","to_peer_id":"{w}","payload":{payload}}}"#
    );
    s.c.send_message(awc::ws::Message::Text(frame.into())).await;
    let reply = s.c.recv().await;
    assert_eq!(reply["code"], "DELIVERY_FAILED", "{reply}");
    s.w.hears_nothing().await;
}
