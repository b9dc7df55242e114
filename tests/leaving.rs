//! A worker that leaves before a client is connected to it: the client is told by the hub, and waits for nobody.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::peer::sign_in;
use support::stub::StubHub;
use support::{Peer, Process};

/// Longer than all attempts to connect together: 90 s.
const LONG: Duration = Duration::from_secs(180);

fn run(url: &str, dir: &tempfile::TempDir, room: &str, token: &str, choice: &[&str]) -> Process {
    let package = support::package(dir.path(), "a", "echo hello");
    let (out, state) = (dir.path().join("out"), dir.path().join("state"));
    let mut args = vec![
        "run",
        package.to_str().unwrap(),
        "--json",
        "--hub",
        url,
        "--room",
        room,
        "--token",
        token,
        "-o",
        out.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    args.extend(choice);
    Process::start(&args, &[])
}

/// How a run ended whose worker was gone: nobody took the job, and that is said with what to do.
async fn ends_without_worker(mut run: Process) {
    assert_eq!(run.exit_within(LONG).await, 4, "{}", run.stdout());
    let error = run.events().pop().unwrap();
    assert_eq!(
        (&error["event"], &error["code"]),
        (&json!("error"), &json!(4))
    );
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("the worker has left the room"),
        "{message}"
    );
    assert!(message.contains("another worker"), "{message}");
}

fn about(worker: &str) -> Value {
    json!({ "peer_id": worker, "role": "worker", "connected_at": 0.0, "metadata": {
        "tags": ["sleap-rtc"], "properties": { "loaner": "0.1.0", "status": "available", "gpu_memory_mb": 1 } } })
}

/// At a real hub, the worker vanishes when it is asked for the job.
#[actix_rt::test]
async fn a_worker_that_leaves_when_it_is_asked_is_not_waited_for() {
    let (_hub, url) = support::hub().await;
    let dir = tempfile::tempdir().unwrap();
    let (id_token, id) = sign_in(&url).await;
    let mut answer = awc::Client::new()
        .post(format!("{url}/create-room"))
        .bearer_auth(&id_token)
        .send()
        .await
        .unwrap();
    let room: Value = answer.json().await.unwrap();
    let (room, token) = (
        room["room_id"].as_str().unwrap(),
        room["token"].as_str().unwrap(),
    );
    let mut worker = Peer::connect(&url, id.clone(), id_token.clone()).await;
    worker.say(
        json!({ "type": "register", "peer_id": id, "room_id": room, "token": token,
        "id_token": id_token, "role": "worker", "metadata": about(&id)["metadata"] }),
    );
    worker.hear("registered_auth").await;
    let run = run(&url, &dir, room, token, &["--worker", &id]);
    worker.hear_message("job_request").await;
    worker.leave().await;
    ends_without_worker(run).await;
}

/// At a hub of which nothing but the notice comes, the worker vanishes when the connection to it has been offered: the
/// offer is not repeated.
#[actix_rt::test]
async fn a_worker_that_leaves_when_it_is_called_is_called_no_more() {
    let mut stub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let run = run(&stub.url, &dir, "4fad4e39", "d3cc46", &["--auto-select"]);
    assert_eq!(stub.frame("register").await["notices"], true);
    stub.frame("discover_peers").await;
    stub.say(
        json!({ "type": "peer_list", "to_peer_id": "c", "count": 1, "peers": [about("w-9")] }),
    );
    let request = stub.frame("peer_message").await["payload"].take();
    assert_eq!(request["app_message_type"], "job_request");
    stub.say(
        json!({ "type": "peer_message", "from_peer_id": "w-9", "to_peer_id": "c", "payload": {
        "app_message_type": "job_response", "job_id": request["job_id"], "accepted": true } }),
    );
    stub.frame("offer").await;
    // Of others, nobody needs to know.
    stub.say(
        json!({ "type": "peer_left", "room_id": "4fad4e39", "peer_id": "w-8", "role": "worker" }),
    );
    stub.say(
        json!({ "type": "peer_left", "room_id": "4fad4e39", "peer_id": "w-9", "role": "worker" }),
    );
    ends_without_worker(run).await;
    loop {
        let frame = stub.any_frame().await;
        assert_ne!(frame["type"], "offer", "{frame}");
        if frame["type"] == "socket closed" {
            break;
        }
    }
}
