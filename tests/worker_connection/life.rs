//! From the start of a worker to its end, in order or interrupted.

use std::time::Duration;

use loaner::wire::SessionString;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::timeout;

use crate::support::stub::StubHub;
use crate::support::{self, DEAF, Lab, PATIENCE, Process, alive, until};

/// CONN-15: a start leads from sign-in through room and registration to a worker that listens.
#[actix_rt::test]
async fn a_start_leads_to_a_worker_that_listens() {
    let lab = Lab::new().await;
    let shown = lab.until_status("available", PATIENCE).await;
    assert_eq!(shown["role"], "worker");
    let path: Vec<_> = [
        "signing_in", "joining_room", "connecting", "registering", "registered",
    ]
    .into();
    for state in path {
        lab.worker.logged("\"chart\":\"session\"").await;
        assert!(
            lab.worker.log().contains(&format!("\"to\":\"{state}\"")),
            "{state}: {}",
            lab.worker.log()
        );
    }
    let mut client = lab.peer("client").await;
    client.call(&lab.worker_id).await;
}

/// CONN-18: the confirmation gives room, token and id; the session string holds the three, and both ways of being
/// found are shown.
#[actix_rt::test]
async fn the_registration_is_shown_as_session_string_and_as_room() {
    let lab = Lab::new().await;
    let session: SessionString = lab.session.parse().unwrap();
    assert_eq!(
        (session.room_id, session.token),
        (lab.room.clone(), lab.token.clone())
    );
    assert_eq!(session.peer_id, lab.worker_id);

    let work = lab.dir.path().join("plain");
    let args = [
        "worker",
        "--hub",
        &lab.url,
        "--work-dir",
        work.to_str().unwrap(),
        "--room",
        &lab.room,
        "--token",
        &lab.token,
    ];
    let mut plain = Process::start(&args, &[]);
    until("the plain worker speaks", PATIENCE, || {
        plain.stdout().contains("--token")
    })
    .await;
    assert!(
        plain.stdout().contains("--session sleap-session:"),
        "{}",
        plain.stdout()
    );
    assert!(
        plain
            .stdout()
            .contains(&format!("--room {} --token {}", lab.room, lab.token)),
        "{}",
        plain.stdout()
    );
    plain.signal(Signal::SIGINT);
    assert_eq!(plain.exit().await, 0);
}

/// CONN-16: Ctrl+C before the worker is up ends it at once, and what it had begun is taken back.
#[actix_rt::test]
async fn an_interrupt_during_the_start_leaves_no_orphans() {
    let mut hub = StubHub::start();
    hub.mute();
    let dir = tempfile::tempdir().unwrap();
    let mut worker = support::worker(&hub.url, dir.path(), &[], &[]);
    hub.frame("register").await;
    worker.signal(Signal::SIGINT);
    hub.frame("socket closed").await;
    assert_eq!(hub.asked("/delete-peer").await.body["peer_id"], "w-1");
    assert_eq!(worker.exit().await, 0);
    assert_eq!(worker.log_count("Client shutdown complete"), 1);
    assert_eq!(
        std::fs::read_dir(dir.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count(),
        0
    );
}

/// CONN-17: Ctrl+C while a job runs stops it, tells its holder, and cleans up.
#[actix_rt::test]
async fn an_interrupt_during_a_job_cleans_up() {
    let mut lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    let pid = call
        .begin(
            "slow.zip",
            &lab.archive("slow", "echo pid $$; sleep 600 & wait"),
        )
        .await;
    lab.worker.signal(Signal::SIGINT);
    let failed = client.hear_message("job_failed").await;
    assert_eq!(failed["job_id"], job);
    assert_eq!(failed["error"]["recoverable"], true);
    assert_eq!(lab.worker.exit().await, 0);
    assert!(!alive(pid));
    assert_eq!(lab.scratch(), Vec::<std::path::PathBuf>::new());
}

/// Ctrl+C twice: a trainer that ignores SIGTERM does not hold up a worker whose owner insists.
#[actix_rt::test]
async fn a_second_interrupt_does_not_wait_for_the_grace() {
    let mut lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let pid = call.begin("deaf.zip", &lab.archive("deaf", DEAF)).await;
    let asked = tokio::time::Instant::now();
    lab.worker.signal(Signal::SIGINT);
    lab.worker.logged("\"to\":\"terminating\"").await;
    lab.worker.signal(Signal::SIGINT);
    assert_eq!(lab.worker.exit().await, 0);
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "it waited for the grace"
    );
    until("the trainer is gone", PATIENCE, || !alive(pid)).await;
}

/// CONN-13: a shutdown closes the connection and the socket, has the peer and its room forgotten, and says so once.
#[actix_rt::test]
async fn a_shutdown_leaves_nothing_behind() {
    let mut lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    lab.worker.signal(Signal::SIGINT);
    timeout(PATIENCE, call.channel.closed()).await.unwrap();
    assert_eq!(lab.worker.exit().await, 0);
    assert_eq!(lab.worker.log_count("Client shutdown complete"), 1);
    assert_eq!(client.find(&lab.worker_id).await, None);
    client.leave().await;
    // The room was the worker's own; with its last peer it is gone.
    let mut late = lab.workers(&["--json"]);
    assert_eq!(late.exit().await, 3);
    assert!(
        late.stdout().contains("Room not found"),
        "{}",
        late.stdout()
    );
    assert!(
        !lab.dir
            .path()
            .join("work")
            .read_dir()
            .unwrap()
            .flatten()
            .any(|entry| entry.path().is_dir())
    );
}

/// CONN-14: what ICE does during a shutdown changes nothing: no reconnection, no registration.
#[actix_rt::test]
async fn what_ice_does_during_a_shutdown_changes_nothing() {
    let mut lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    lab.worker.signal(Signal::SIGINT);
    call.hang_up().await;
    assert_eq!(lab.worker.exit().await, 0);
    assert_eq!(lab.worker.log_count("Worker re-registered"), 0);
    assert_eq!(lab.worker.log_count("Client shutdown complete"), 1);
}

/// A connection that is left of a peer's last job says nothing of its next reservation: that it is lost leaves it as it is, and it
/// becomes its job.
#[actix_rt::test]
async fn what_is_left_of_the_last_job_does_not_free_the_next_reservation() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    client.reserve(&lab.worker_id).await;
    let old = client.call(&lab.worker_id).await;
    let archive = lab.archive("a", "echo hello");
    old.upload("a.zip", &archive).await;
    old.until("JOB_COMPLETE").await;
    lab.until_free().await;

    let request = |job: &str| json!({ "app_message_type": "job_request", "job_id": job });
    client.message(&lab.worker_id, request("j2"));
    client.hear_message("job_response").await;
    old.hang_up().await;
    lab.worker.logged("the connection is lost").await;
    let mut other = lab.peer("client").await;
    other.message(&lab.worker_id, request("j3"));
    let response = other.hear_message("job_response").await;
    assert_eq!(response["accepted"], false, "{response}");

    let assignment = json!({ "app_message_type": "job_assignment", "job_id": "j2" });
    client.message(&lab.worker_id, assignment);
    let call = client.call(&lab.worker_id).await;
    call.upload("a.zip", &archive).await;
    call.until("JOB_COMPLETE").await;
}
