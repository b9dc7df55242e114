//! worker-peer-messaging.md, scenario by scenario, by peer messages through a real hub.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::stub::StubHub;
use support::{DEAF, Lab, PATIENCE, alive, zip};

fn request(job: &str, requirements: Value) -> Value {
    json!({ "app_message_type": "job_request", "job_id": job, "job_type": "training",
        "config": { "epochs": 10 }, "requirements": requirements })
}

/// PEER-01 and PEER-10: a request by peer message is answered by peer message to its sender, with the job's id, the
/// verdict and an estimate.
/// PEER-03: an available worker with fitting capabilities accepts, and is reserved for the job.
#[actix_rt::test]
async fn a_fitting_request_is_accepted_and_reserves_the_worker() {
    let lab = Lab::with(&["--gpu-memory-mb", "16000"]).await;
    let mut client = lab.peer("client").await;
    client.message(
        &lab.worker_id,
        request("j1", json!({ "min_gpu_memory_mb": 8000 })),
    );
    let response = client.hear_message("job_response").await;
    assert_eq!(response["job_id"], "j1");
    assert_eq!(response["accepted"], true);
    assert_eq!(response["estimated_duration_minutes"], 5);
    assert_eq!(response["estimated_start_time_sec"], 0);
    assert!(response["worker_info"]["gpu_utilization"].is_number());
    let shown = client
        .until_status(&lab.worker_id, "reserved", PATIENCE)
        .await;
    assert_eq!(shown["metadata"]["properties"]["pending_job_id"], "j1");
}

/// PEER-02: without a WebSocket a message is not sent, which is logged; nothing breaks, and the job goes on.
#[actix_rt::test]
async fn without_a_socket_messages_are_logged_and_nothing_breaks() {
    let mut hub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let env = [("LOANER_LOG", "info,loaner=debug")];
    let mut worker = support::worker(&hub.url, dir.path(), &[], &env);
    worker.event("registered").await;
    hub.frame("register").await;
    hub.say(json!({ "type": "peer_message", "from_peer_id": "c", "to_peer_id": "w-1", "payload": request("j1", json!({})) }));
    hub.frame("peer_message").await;
    hub.mute();
    hub.drop_sockets();
    worker.logged("\"to\":\"backing_off\"").await;
    // The lease ends while there is no registration: its metadata update has nowhere to go.
    worker
        .logged_within(
            "a frame for the hub was not sent: not registered",
            Duration::from_secs(75),
        )
        .await;
    worker.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(worker.exit().await, 0);
}

/// PEER-04: while the worker is busy a request is rejected as such, and changes nothing.
#[actix_rt::test]
async fn a_busy_worker_rejects_requests() {
    let lab = Lab::new().await;
    let mut holder = lab.peer("client").await;
    let job = holder.reserve(&lab.worker_id).await;
    holder.until_status(&lab.worker_id, "busy", PATIENCE).await;
    let mut other = lab.peer("client").await;
    other.message(&lab.worker_id, request("j2", json!({})));
    let response = other.hear_message("job_response").await;
    assert_eq!(
        (response["accepted"].clone(), response["reason"].clone()),
        (json!(false), json!("busy"))
    );
    let shown = other.until_status(&lab.worker_id, "busy", PATIENCE).await;
    assert_eq!(shown["metadata"]["properties"]["current_job_id"], job);
}

/// PEER-05: a request that needs more than there is is rejected as incompatible, with the figure in answer and log.
#[actix_rt::test]
async fn an_incompatible_request_is_rejected_with_its_figure() {
    let lab = Lab::with(&["--gpu-memory-mb", "16000"]).await;
    let mut client = lab.peer("client").await;
    client.message(
        &lab.worker_id,
        request("j1", json!({ "min_gpu_memory_mb": 24000 })),
    );
    let response = client.hear_message("job_response").await;
    assert_eq!(
        (response["accepted"].clone(), response["reason"].clone()),
        (json!(false), json!("incompatible"))
    );
    let logged = lab.worker.logged("incompatible").await;
    assert!(
        logged.contains("24000") && logged.contains("16000"),
        "{logged}"
    );
    // A requirement that makes no sense is no reason to fall over.
    for nonsense in [json!("plenty"), Value::Null, json!([1])] {
        client.message(
            &lab.worker_id,
            request("j2", json!({ "min_gpu_memory_mb": nonsense })),
        );
        assert_eq!(
            client.hear_message("job_response").await["reason"],
            "incompatible"
        );
    }
    lab.until_status("available", PATIENCE).await;
}

/// PEER-06 and PEER-11: the assignment makes the worker busy with the job, and is logged.
/// PEER-07: it then waits for the client to connect; what comes on that channel is the job.
#[actix_rt::test]
async fn an_assignment_is_followed_by_the_clients_connection() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    lab.worker
        .logged("Job assigned and ready for WebRTC connection")
        .await;
    let shown = client.until_status(&lab.worker_id, "busy", PATIENCE).await;
    assert_eq!(shown["metadata"]["properties"]["current_job_id"], job);
    let call = client.call(&lab.worker_id).await;
    call.upload("a.zip", &lab.archive("a", "echo hello")).await;
    let texts = call.until("JOB_COMPLETE").await;
    assert!(texts.last().unwrap().contains(&job), "{texts:?}");
}

/// reading.md 5: an assignment counts only from the holder of the lease, and only for the job that was reserved.
#[actix_rt::test]
async fn an_assignment_without_a_lease_changes_nothing() {
    let lab = Lab::new().await;
    let mut thief = lab.peer("client").await;
    thief.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_assignment", "job_id": "stolen" }),
    );
    let mut client = lab.peer("client").await;
    client.message(&lab.worker_id, request("j1", json!({})));
    assert_eq!(client.hear_message("job_response").await["accepted"], true);
    thief.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_assignment", "job_id": "j1" }),
    );
    client.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_assignment", "job_id": "another" }),
    );
    // The answers to these requests come behind all of that.
    client.message(&lab.worker_id, request("j2", json!({})));
    thief.message(&lab.worker_id, request("j3", json!({})));
    client.hear_message("job_response").await;
    thief.hear_message("job_response").await;
    assert_eq!(
        lab.shown().await.unwrap()["metadata"]["properties"]["status"],
        "reserved"
    );
}

/// PEER-08 and PEER-12: a cancel from the holder stops the job; only when its processes are gone comes the
/// acknowledgement, and the worker is available.
#[actix_rt::test]
async fn a_cancelled_job_is_acknowledged_when_it_is_gone() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    let pid = call
        .begin(
            "slow.zip",
            &lab.archive("slow", "echo pid $$; sleep 600 & wait"),
        )
        .await;
    client.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_cancel", "job_id": job, "reason": "user" }),
    );
    let cancelled = client.hear_message("job_cancelled").await;
    assert_eq!(
        cancelled,
        json!({ "app_message_type": "job_cancelled", "job_id": job, "status": "cancelled", "cleanup_complete": true })
    );
    assert!(!alive(pid));
    assert_eq!(lab.scratch(), Vec::<std::path::PathBuf>::new());
    let texts = call.until("JOB_CANCELLED").await;
    assert!(
        !texts
            .iter()
            .any(|text| text.starts_with("JOB_FAILED") || text.starts_with("JOB_COMPLETE")),
        "{texts:?}"
    );
    let shown = client
        .until_status(&lab.worker_id, "available", PATIENCE)
        .await;
    assert_eq!(
        shown["metadata"]["properties"]["current_job_id"],
        Value::Null
    );
}

/// PEER-08: a trainer that ignores SIGTERM has 10 s, and is then killed; the acknowledgement comes after that.
#[actix_rt::test]
async fn a_deaf_trainer_is_killed_after_ten_seconds() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    let pid = call.begin("deaf.zip", &lab.archive("deaf", DEAF)).await;
    let asked = tokio::time::Instant::now();
    client.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_cancel", "job_id": job }),
    );
    client.hear_message("job_cancelled").await;
    let took = asked.elapsed();
    assert!(
        took > Duration::from_secs(9) && took < Duration::from_secs(15),
        "{took:?}"
    );
    assert!(!alive(pid));
}

/// PEER-09: a cancel of another job, or from another peer, is logged, gets no answer, and changes nothing.
#[actix_rt::test]
async fn a_cancel_that_does_not_fit_changes_nothing() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    let mut thief = lab.peer("client").await;
    client.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_cancel", "job_id": "another" }),
    );
    thief.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_cancel", "job_id": job }),
    );
    for peer in [&mut client, &mut thief] {
        peer.message(&lab.worker_id, request("probe", json!({})));
        peer.hear_message("job_response").await;
        assert_eq!(peer.kept_messages("job_cancelled"), Vec::<Value>::new());
    }
    assert_eq!(
        lab.worker
            .log_count("a cancel for a job that is not the sender's current one"),
        2
    );
    lab.until_status("busy", PATIENCE).await;
}

/// PEER-13: an unknown type is logged with its name, and rubbish is survived.
#[actix_rt::test]
async fn an_unknown_peer_message_is_logged() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    client.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_dance", "job_id": "j1" }),
    );
    client.message(&lab.worker_id, json!("a plain string"));
    client.message(&lab.worker_id, json!({ "app_message_type": 7 }));
    client.message(&lab.worker_id, json!({ "app_message_type": "job_request" }));
    client.message(&lab.worker_id, request("j1", json!({})));
    assert_eq!(client.hear_message("job_response").await["accepted"], true);
    lab.worker.logged("job_dance").await;
}

/// PEER-14: each command is announced as starting, with progress 0 and its name.
/// PEER-15: success is reported with progress 1 and, once, as complete, with duration and size.
#[actix_rt::test]
async fn progress_and_success_are_reported_by_peer_message() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    call.upload(
        "a.zip",
        &lab.archive("a", "mkdir models; echo m > models/m"),
    )
    .await;
    let starting = client.hear_message("job_status").await;
    assert_eq!(starting["job_id"], job);
    assert_eq!(
        (starting["status"].clone(), starting["progress"].clone()),
        (json!("starting"), json!(0.0))
    );
    assert_eq!(starting["message"], "Initializing training: a");
    let done = client.hear_message("job_status").await;
    assert_eq!(
        (done["status"].clone(), done["progress"].clone()),
        (json!("running"), json!(1.0))
    );
    let complete = client.hear_message("job_complete").await;
    assert_eq!(complete["status"], "completed");
    assert_eq!(complete["transfer_method"], "webrtc_datachannel");
    assert_eq!(complete["ready_for_download"], true);
    assert!(complete["result"]["training_duration_minutes"].is_number());
    let (_, results) = call.results().await;
    assert_eq!(complete["result"]["results_size_bytes"], results.len());
    // One terminal message: behind it, nothing more of the job comes.
    client
        .until_status(&lab.worker_id, "available", PATIENCE)
        .await;
    for kind in ["job_complete", "job_failed", "job_cancelled"] {
        assert_eq!(client.kept_messages(kind), Vec::<Value>::new(), "{kind}");
    }
}

/// PEER-16: a trainer that exits 3 is reported once as failed, with code, message and whether to try again; the next
/// model still runs, and what there is of results comes back.
#[actix_rt::test]
async fn a_failure_is_reported_by_peer_message() {
    let lab = Lab::with(&[]).await;
    let package = lab.dir.path().join("models-two");
    std::fs::create_dir_all(&package).unwrap();
    let script = "sleap-nn train --config-name bad.yaml\nsleap-nn train --config-name good.yaml\n";
    std::fs::write(package.join("train-script.sh"), script).unwrap();
    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    call.upload("models-two.zip", &zip(&package)).await;
    let (texts, _results) = call.results().await;
    assert!(
        texts.contains(&"TRAIN_JOB_ERROR::bad::3".to_owned()),
        "{texts:?}"
    );
    assert!(
        texts.contains(&"TRAIN_JOB_END::good".to_owned()),
        "{texts:?}"
    );
    let failed = client.hear_message("job_failed").await;
    assert_eq!(failed["job_id"], job);
    assert_eq!(failed["error"]["code"], "TRAINING_FAILED");
    assert_eq!(
        failed["error"]["message"],
        "Training job bad failed with exit code 3"
    );
    assert_eq!(failed["error"]["recoverable"], false);
    call.until("JOB_FAILED").await;
    client
        .until_status(&lab.worker_id, "available", PATIENCE)
        .await;
    assert_eq!(client.kept_messages("job_complete"), Vec::<Value>::new());
}

/// reading.md 4: a reservation is a lease of 60 s; without an assignment it ends by itself.
#[actix_rt::test]
async fn a_reservation_ends_by_itself() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    client.message(&lab.worker_id, request("j1", json!({})));
    client.hear_message("job_response").await;
    let reserved = tokio::time::Instant::now();
    client
        .until_status(&lab.worker_id, "reserved", PATIENCE)
        .await;
    client
        .until_status(&lab.worker_id, "available", Duration::from_secs(70))
        .await;
    assert!(
        reserved.elapsed() > Duration::from_secs(58),
        "{:?}",
        reserved.elapsed()
    );
}
