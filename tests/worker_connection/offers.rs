//! Offers, and who holds the worker.

use serde_json::json;

use crate::support::{Lab, PATIENCE};

/// CONN-01: an offer that the hub forwards is answered to its sender.
/// CONN-03: an available worker is reserved by it, and shows that.
#[actix_rt::test]
async fn an_offer_is_answered_and_reserves_the_worker() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let (connection, _channel, _events) = client.offer(&lab.worker_id).await;
    let answer = client.hear("answer").await;
    assert_eq!(answer["sender"], lab.worker_id.as_str());
    assert_eq!(answer["target"], client.id.as_str());
    let sdp = answer["sdp"].as_str().unwrap();
    assert!(
        sdp.contains("a=candidate") && sdp.contains("a=end-of-candidates"),
        "vanilla ICE: {sdp}"
    );
    connection.accept_answer(sdp).await.unwrap();
    lab.until_status("reserved", PATIENCE).await;
}

/// CONN-02: while one peer holds the worker, another's offer gets `worker_busy` with the status, and no answer; the
/// connection in use is not touched.
#[actix_rt::test]
async fn another_peers_offer_is_refused_while_the_worker_is_held() {
    let lab = Lab::new().await;
    let mut first = lab.peer("client").await;
    let call = first.call(&lab.worker_id).await;
    let mut second = lab.peer("client").await;
    let _offered = second.offer(&lab.worker_id).await;
    let refusal = second.hear("error").await;
    assert_eq!(refusal["reason"], "worker_busy");
    assert_eq!(refusal["current_status"], "reserved");
    assert!(!second.has_heard("answer").await);

    call.upload("slow.zip", &lab.archive("slow", "echo ready; sleep 600"))
        .await;
    call.until("ready").await;
    let mut third = lab.peer("client").await;
    let _offered = third.offer(&lab.worker_id).await;
    assert_eq!(third.hear("error").await["current_status"], "busy");
    assert!(call.channel.is_open());
}

/// reading.md 2 and 3: the holder may offer again, and gets a connection of its own beside the one in use.
#[actix_rt::test]
async fn the_holders_second_offer_gets_a_connection_of_its_own() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let first = client.call(&lab.worker_id).await;
    let second = client.call(&lab.worker_id).await;
    assert!(first.channel.is_open() && second.channel.is_open());
    second
        .upload("a.zip", &lab.archive("a", "echo hello"))
        .await;
    second.until("JOB_COMPLETE").await;
    assert!(first.channel.is_open());
}

/// The hub sends a candidate on its own: a worker takes it, or leaves it, and lives.
#[actix_rt::test]
async fn a_stray_candidate_harms_nobody() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    for candidate in [
        json!(null),
        json!("nonsense"),
        json!({ "candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0 }),
    ] {
        client.say(json!({ "type": "candidate", "sender": client.id, "target": lab.worker_id, "candidate": candidate }));
    }
    client.call(&lab.worker_id).await;
}
