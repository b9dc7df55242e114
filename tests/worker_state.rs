//! worker-state.md, scenario by scenario, seen from outside. A hub that can be made to fail stands only where a failure
//! has to be provoked.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::stub::StubHub;
use support::{Lab, PATIENCE, Process};

fn properties(shown: &Value) -> &Value {
    &shown["metadata"]["properties"]
}

/// A worker against a hub that is steered.
fn worker(hub: &StubHub, dir: &tempfile::TempDir) -> Process {
    let env = [("LOANER_LOG", "info,loaner=debug")];
    support::worker(&hub.url, dir.path(), &["--allow-commands"], &env)
}

/// STATE-03: an accepted request shows as reserved, with the pending job.
/// STATE-01: the assigned job shows as busy, with the current job.
/// STATE-02: at its end the worker is available, and no job is shown.
/// STATE-16: all of that by metadata updates, without another registration.
#[actix_rt::test]
async fn the_status_follows_the_job() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let registered_at = client.find(&lab.worker_id).await.unwrap()["connected_at"].clone();
    client.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_request", "job_id": "j1" }),
    );
    client.hear_message("job_response").await;
    let shown = client
        .until_status(&lab.worker_id, "reserved", PATIENCE)
        .await;
    assert_eq!(properties(&shown)["pending_job_id"], "j1");
    client.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_assignment", "job_id": "j1" }),
    );
    let shown = client.until_status(&lab.worker_id, "busy", PATIENCE).await;
    assert_eq!(properties(&shown)["current_job_id"], "j1");
    assert_eq!(properties(&shown)["pending_job_id"], Value::Null);

    let call = client.call(&lab.worker_id).await;
    call.upload("a.zip", &lab.archive("a", "echo hello")).await;
    call.until("JOB_COMPLETE").await;
    let shown = client
        .until_status(&lab.worker_id, "available", PATIENCE)
        .await;
    // An explicit null, since an update never removes a key.
    assert_eq!(properties(&shown)["current_job_id"], Value::Null);
    assert_eq!(
        properties(&shown)
            .as_object()
            .unwrap()
            .get("current_job_id"),
        Some(&Value::Null)
    );
    assert_eq!(shown["connected_at"], registered_at, "it registered again");
    assert_eq!(
        shown["metadata"]["tags"],
        json!(["sleap-rtc", "training-worker"])
    );
}

/// STATE-04: a status that cannot be sent is logged, and the worker lives; the next registration carries it.
/// STATE-06: a registration that fails is logged, and tried again.
#[actix_rt::test]
async fn a_status_that_cannot_be_sent_is_not_lost() {
    let mut hub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let worker = worker(&hub, &dir);
    hub.frame("register").await;
    hub.say(
        json!({ "type": "peer_message", "from_peer_id": "c-1", "to_peer_id": "w-1",
        "payload": { "app_message_type": "job_request", "job_id": "j1" } }),
    );
    assert_eq!(
        properties(&hub.frame("update_metadata").await)["status"],
        "reserved"
    );
    // The socket goes away; until it is back, nothing can be sent, and the lease runs out or a request is answered.
    hub.mute();
    hub.drop_sockets();
    worker.logged("\"to\":\"backing_off\"").await;
    let again = hub.frame("register").await;
    assert_eq!(properties(&again)["status"], "reserved");
    assert_eq!(properties(&again)["pending_job_id"], "j1");
    assert_eq!(again["peer_id"], "w-1", "it keeps its id");
    // The registration is not confirmed: the lease ends meanwhile, and that cannot be told to the hub.
    worker
        .logged_within(
            "a frame for the hub was not sent: not registered",
            Duration::from_secs(75),
        )
        .await;
    // Registrations that were tried before the lease ended are still on their way here.
    loop {
        let next = hub.frame_within("register", Duration::from_secs(60)).await;
        if properties(&next)["status"] == "available" {
            break;
        }
    }
}

/// STATE-05 and STATE-17: after a lost connection the worker sends a full registration, with room, token and identity,
/// and is found again.
#[actix_rt::test]
async fn a_reset_is_followed_by_a_full_registration() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.hang_up().await;
    lab.worker
        .logged("Worker re-registered with signaling server")
        .await;
    let shown = client
        .until_status(&lab.worker_id, "available", PATIENCE)
        .await;
    assert_eq!(
        properties(&shown)["supported_job_types"],
        json!(["training", "inference"])
    );
    assert!(properties(&shown)["hostname"].is_string());
}

/// STATE-07: the room is asked for with the identity token.
/// STATE-09: the identity comes from an anonymous sign-in. The body names the device, which hubs of old do not read.
/// STATE-15: sign-in, room, registration with role and metadata, and the session string, in this order.
#[actix_rt::test]
async fn the_first_registration_comes_after_sign_in_and_room() {
    let mut hub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let mut worker = worker(&hub, &dir);
    let sign_in = hub.asked("/anonymous-signin").await;
    assert_eq!(sign_in.authorization, None);
    let body = sign_in.body.as_object().unwrap();
    assert!(body.len() == 1 && body["device_id"].is_string(), "{body:?}");
    let room = hub.asked("/create-room").await;
    assert_eq!(room.authorization.as_deref(), Some("Bearer an.id.token"));
    let register = hub.frame("register").await;
    assert_eq!(register["peer_id"], "w-1");
    assert_eq!(register["room_id"], "4fad4e39");
    assert_eq!(register["token"], "d3cc46");
    assert_eq!(register["id_token"], "an.id.token");
    assert_eq!(register["role"], "worker");
    assert_eq!(properties(&register)["status"], "available");
    assert!(properties(&register)["gpu_memory_mb"].is_number());
    let registered = worker.event("registered").await;
    assert_eq!(
        registered["session"],
        "sleap-session:eyJyIjogIjRmYWQ0ZTM5IiwgInQiOiAiZDNjYzQ2IiwgInAiOiAidy0xIn0="
    );
}

/// STATE-08: a refused room ends the start, with what the hub said and a code of its own.
#[actix_rt::test]
async fn a_refused_room_ends_the_start() {
    let hub = StubHub::start();
    hub.answer("/create-room", Some((500, "no more rooms today")));
    let dir = tempfile::tempdir().unwrap();
    let mut worker = worker(&hub, &dir);
    assert_eq!(worker.exit().await, 3);
    assert!(
        worker.stdout().contains("no more rooms today"),
        "{}",
        worker.stdout()
    );
    assert!(worker.stdout().contains("500"), "{}", worker.stdout());
    assert!(
        worker.log().contains("no more rooms today"),
        "{}",
        worker.log()
    );
}

/// STATE-10: a refused sign-in ends the start.
#[actix_rt::test]
async fn a_refused_sign_in_ends_the_start() {
    let hub = StubHub::start();
    hub.answer(
        "/anonymous-signin",
        Some((500, r#"{"detail":"Anonymous sign-in failed: closed"}"#)),
    );
    let dir = tempfile::tempdir().unwrap();
    let mut worker = worker(&hub, &dir);
    assert_eq!(worker.exit().await, 3);
    assert!(
        worker.stdout().contains("Anonymous sign-in failed: closed"),
        "{}",
        worker.stdout()
    );
}

/// STATE-10, and bad input: sense is made neither of an answer that is not what was asked for, nor of none at all.
#[actix_rt::test]
async fn a_hub_that_makes_no_sense_or_says_nothing_ends_the_start() {
    let hub = StubHub::start();
    hub.answer("/anonymous-signin", Some((200, "<html>welcome</html>")));
    let dir = tempfile::tempdir().unwrap();
    let mut first = worker(&hub, &dir);
    assert_eq!(first.exit().await, 3);
    assert!(
        first.stdout().contains("makes no sense"),
        "{}",
        first.stdout()
    );
    hub.answer("/anonymous-signin", None);
    let mut second = worker(&hub, &dir);
    assert_eq!(second.exit().await, 3);
}

/// STATE-11: at its end the worker asks the hub to forget it, by its id and with its token.
#[actix_rt::test]
async fn the_end_deletes_the_peer() {
    let mut hub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let mut worker = worker(&hub, &dir);
    worker.event("registered").await;
    worker.signal(Signal::SIGTERM);
    hub.frame("socket closed").await;
    let deletion = hub.asked("/delete-peer").await;
    assert_eq!(deletion.body, json!({ "peer_id": "w-1" }));
    assert_eq!(
        deletion.authorization.as_deref(),
        Some("Bearer an.id.token")
    );
    assert_eq!(worker.exit().await, 0);
}

/// STATE-12: a deletion that is refused, or never answered, is logged and does not keep the worker from ending.
#[actix_rt::test]
async fn a_failed_deletion_does_not_keep_the_worker() {
    for answer in [Some((500, "cannot")), None] {
        let hub = StubHub::start();
        hub.answer("/delete-peer", answer);
        let dir = tempfile::tempdir().unwrap();
        let mut worker = worker(&hub, &dir);
        worker.event("registered").await;
        worker.signal(Signal::SIGINT);
        assert_eq!(worker.exit().await, 0);
        assert_eq!(
            worker.log_count("the hub was not told that this peer leaves"),
            1,
            "{}",
            worker.log()
        );
        assert_eq!(worker.log_count("Client shutdown complete"), 1);
    }
}

/// STATE-13: the worker shows a session string of room, token and id.
/// STATE-14: a client that is given only that string reaches this very worker, though there are others.
#[actix_rt::test]
async fn a_session_string_leads_to_its_worker() {
    let lab = Lab::new().await;
    assert!(lab.session.starts_with("sleap-session:eyJyIjog"));
    let _other = lab.another_worker(&[]).await;
    let mut client = lab.run(&lab.package("a", "mkdir models; echo m > models/m"), &[]);
    let chosen = client.event("chosen").await;
    assert_eq!(chosen["worker"], lab.worker_id.as_str());
    assert_eq!(client.exit().await, 0);
}

/// reading.md 15: an `error` frame never ends the worker.
#[actix_rt::test]
async fn an_error_frame_does_not_end_the_worker() {
    let mut hub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let mut worker = worker(&hub, &dir);
    worker.event("registered").await;
    hub.frame("register").await;
    hub.say(json!({ "type": "error", "code": "UNKNOWN_MESSAGE_TYPE", "message": "Unknown message type: error" }));
    hub.say(json!({ "type": "error", "reason": "worker_busy", "target": "w-1", "current_status": "busy" }));
    hub.say(json!({ "type": "quit" }));
    hub.say(json!({ "no": "type" }));
    hub.say(json!({ "type": "mesh_offer", "from_peer_id": "x", "offer": {} }));
    hub.say(json!({ "type": "peer_message", "from_peer_id": "c", "to_peer_id": "w-1", "payload": { "app_message_type": "job_request", "job_id": "j" } }));
    let answer = hub.frame("peer_message").await;
    assert_eq!(answer["payload"]["accepted"], true);
    worker.signal(Signal::SIGINT);
    assert_eq!(worker.exit().await, 0);
}

/// reading.md 15: when the identity is refused later, the worker signs in afresh and keeps its id; when the room is
/// gone, it makes another and shows the new session string.
#[actix_rt::test]
async fn a_refused_registration_is_mended() {
    let mut hub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let mut worker = worker(&hub, &dir);
    worker.event("registered").await;
    hub.frame("register").await;
    hub.asked("/create-room").await;
    hub.answer(
        "/anonymous-signin",
        Some((200, r#"{"id_token":"another.token","username":"w-2"}"#)),
    );
    hub.say(json!({ "error": "Invalid token" }));
    let again = hub.frame("register").await;
    assert_eq!(
        (again["id_token"].as_str(), again["peer_id"].as_str()),
        (Some("another.token"), Some("w-1"))
    );
    worker.logged("\"to\":\"registered\"").await;
    hub.answer(
        "/create-room",
        Some((200, r#"{"room_id":"another1","token":"token1"}"#)),
    );
    hub.say(json!({ "type": "error", "reason": "Room not found" }));
    hub.asked("/create-room").await;
    let registered = worker
        .event_where("registered", PATIENCE, |event| event["room"] == "another1")
        .await;
    assert_eq!(registered["worker"], "w-1");
}

/// STATE-04: a status that changes while a registration is on its way is told as soon as that is confirmed.
#[actix_rt::test]
async fn a_status_that_changed_during_a_registration_is_told_after_it() {
    let mut hub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let worker = worker(&hub, &dir);
    hub.frame("register").await;
    worker.logged("\"to\":\"registered\"").await;
    hub.mute();
    hub.drop_sockets();
    let again = hub.frame("register").await;
    assert_eq!(properties(&again)["status"], "available");
    hub.say(
        json!({ "type": "peer_message", "from_peer_id": "c-1", "to_peer_id": "w-1",
        "payload": { "app_message_type": "job_request", "job_id": "j1" } }),
    );
    worker
        .logged("a frame for the hub was not sent: not registered")
        .await;
    hub.say(json!({ "type": "registered_auth", "room_id": "4fad4e39", "token": "d3cc46", "peer_id": "w-1" }));
    let update = hub.frame("update_metadata").await;
    assert_eq!(properties(&update)["status"], "reserved");
    assert_eq!(properties(&update)["pending_job_id"], "j1");
}
