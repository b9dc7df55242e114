//! worker-connection.md, scenario by scenario, seen from outside: a real hub and a real worker as processes, and peers
//! that speak the protocol by hand over real sockets and real data channels.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use loaner::rtc::Incoming;
use loaner::wire::SessionString;
use nix::sys::signal::Signal;
use serde_json::json;
use support::stub::StubHub;
use support::{Lab, PATIENCE, Process, alive, pid_in, until, zip};
use tokio::time::timeout;

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

    call.upload(
        "slow.zip",
        &zip(&lab.package("slow", "echo ready; sleep 600")),
    )
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
        .upload("a.zip", &zip(&lab.package("a", "echo hello")))
        .await;
    second.until("JOB_COMPLETE").await;
    assert!(first.channel.is_open());
}

/// CONN-04: an established connection is logged, and data flows.
/// CONN-08: the channel that the client made is logged as made by the remote party.
/// CONN-09: the open channel is logged; its keep-alive has started.
#[actix_rt::test]
async fn a_connection_comes_up_and_its_channel_is_served() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    lab.worker.logged("ICE connection established").await;
    lab.worker.logged("channel created by remote party").await;
    lab.worker.logged("channel is open").await;
    let beating = lab.worker.logged("\"chart\":\"keep_alive\"").await;
    assert!(beating.contains("\"to\":\"beating\""), "{beating}");
    call.upload("a.zip", &zip(&lab.package("a", "echo over the channel")))
        .await;
    call.until("over the channel").await;
}

/// CONN-05: when the client closes the connection, the worker is reset: registered again, and available.
/// STATE-05: that registration is a full one.
#[actix_rt::test]
async fn a_client_that_closes_frees_the_worker() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    lab.until_status("reserved", PATIENCE).await;
    call.hang_up().await;
    lab.worker
        .logged("Worker re-registered with signaling server")
        .await;
    let shown = lab.until_status("available", PATIENCE).await;
    assert_eq!(shown["role"], "worker");
    assert_eq!(shown["metadata"]["properties"]["max_concurrent_jobs"], 1);
    // And it serves the next.
    let mut next = lab.peer("client").await;
    next.call(&lab.worker_id).await;
}

/// CONN-06: a connection that fails (here: it never finds a path) is reset, and the worker is there for others.
#[actix_rt::test]
async fn a_connection_that_fails_frees_the_worker() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    // The answer is never applied, so no check is ever answered.
    let (_connection, _channel, _events) = client.offer(&lab.worker_id).await;
    client.hear("answer").await;
    lab.until_status("reserved", PATIENCE).await;
    lab.worker
        .logged_within("the connection is lost", Duration::from_secs(45))
        .await;
    lab.worker
        .logged("Worker re-registered with signaling server")
        .await;
    lab.until_status("available", PATIENCE).await;
}

/// CONN-07: a path that is gone is waited for: a client that was frozen for 15 s finds its job where it left it.
#[actix_rt::test]
async fn a_path_that_comes_back_in_time_costs_nothing() {
    let lab = Lab::new().await;
    let package = lab.package("slow", "echo begun; while [ ! -f ../../../../../go ]; do sleep 0.1; done; mkdir models; echo m > models/m");
    let mut client = lab.run(&package, &[]);
    client
        .event_where("output", PATIENCE, |event| event["text"] == "begun\n")
        .await;
    client.signal(Signal::SIGSTOP);
    lab.worker
        .logged_within(
            "the path to the client is gone for now",
            Duration::from_secs(30),
        )
        .await;
    client.signal(Signal::SIGCONT);
    lab.worker.logged("the path to the client is back").await;
    std::fs::write(lab.dir.path().join("go"), "").unwrap();
    assert_eq!(client.exit().await, 0, "{}", client.log());
    lab.until_status("available", PATIENCE).await;
}

/// CONN-07: a client that is killed in mid-training is waited for 90 s, no less; then its job is stopped, nothing of
/// it is left, and the worker is available.
#[actix_rt::test]
async fn a_client_killed_in_training_frees_the_worker_after_90_seconds() {
    let lab = Lab::new().await;
    let package = lab.package("slow", "echo pid $$; sleep 600");
    let mut client = lab.run(&package, &[]);
    let output = client.event("output").await;
    let pid = pid_in(output["text"].as_str().unwrap());
    client.signal(Signal::SIGKILL);
    lab.worker
        .logged_within(
            "the path to the client is gone for now",
            Duration::from_secs(30),
        )
        .await;
    let suspected = tokio::time::Instant::now();
    lab.worker
        .logged_within("the connection is lost", Duration::from_secs(100))
        .await;
    let waited = suspected.elapsed();
    assert!(
        waited > Duration::from_secs(88),
        "given up after {waited:?}"
    );
    lab.until_status("available", PATIENCE).await;
    assert!(!alive(pid));
    assert_eq!(lab.scratch(), Vec::<std::path::PathBuf>::new());
}

/// CONN-10: messages are told apart by their exact first token, and each reaches whom it concerns.
#[actix_rt::test]
async fn messages_on_the_channel_reach_whom_they_concern() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.text("SHARED_INPUT_PATH::labels/one.slp").await;
    assert_eq!(
        call.until("PATH_").await.pop().unwrap(),
        "PATH_ERROR::Worker I/O paths not configured"
    );
    call.text("INPUT_FILE::labels.slp").await;
    let refused = call.until("FILE_").await.pop().unwrap();
    assert_eq!(
        refused,
        "FILE_NOT_FOUND::labels.slp::Worker I/O paths not configured"
    );
    // A text that holds a token, but not at its beginning, is nothing to a worker.
    call.text("I would like to say END_OF_FILE and FILE_META::x:1:y")
        .await;
    call.text("PACKAGE_TYPE::unheard-of").await;
    call.text("FILE_META::a.zip:10:False").await;
    let refused = call.until("JOB_FAILED").await.pop().unwrap();
    assert!(refused.contains("unheard-of"), "{refused}");
    call.upload(
        "a.zip",
        &zip(&lab.package("a", "mkdir models; echo m > models/m; echo done")),
    )
    .await;
    let (texts, results) = call.results().await;
    assert!(
        texts.contains(&"TRAIN_JOB_START::a".to_owned()),
        "{texts:?}"
    );
    assert!(
        texts.contains(&"TRAINING_JOBS_DONE".to_owned()),
        "{texts:?}"
    );
    assert!(
        texts
            .iter()
            .any(|text| text == &format!("FILE_META::trained_a.zip:{}:models", results.len())),
        "{texts:?}"
    );
    call.until("JOB_COMPLETE").await;
}

/// CONN-11: the worker sends a binary KEEP_ALIVE every 15 s while the channel is open.
#[actix_rt::test]
async fn keep_alives_come_every_fifteen_seconds() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let opened = tokio::time::Instant::now();
    for beat in 1..=2 {
        let message = timeout(Duration::from_secs(20), call.channel.recv())
            .await
            .unwrap()
            .unwrap();
        let after = opened.elapsed().as_secs_f64();
        assert!(
            matches!(&message, Incoming::Binary(bytes) if bytes.as_ref() == b"KEEP_ALIVE"),
            "{message:?}"
        );
        assert!(
            (after - 15.0 * f64::from(beat)).abs() < 2.0,
            "beat {beat} came after {after} s"
        );
    }
}

/// CONN-12: a keep-alive that comes in the middle of a file is logged, and is no part of the file.
#[actix_rt::test]
async fn a_keep_alive_is_not_data() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let archive = zip(&lab.package("a", "echo intact"));
    call.text(&format!("FILE_META::a.zip:{}:False", archive.len()))
        .await;
    let (head, tail) = archive.split_at(archive.len() / 2);
    call.bytes(head).await;
    call.bytes(b"KEEP_ALIVE").await;
    call.bytes(tail).await;
    call.text("END_OF_FILE").await;
    call.until("intact").await;
    lab.worker.logged("keep-alive received").await;
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
    let mut late = Process::start(
        &[
            "workers", "--json", "--hub", &lab.url, "--room", &lab.room, "--token", &lab.token,
        ],
        &[],
    );
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

/// CONN-16: Ctrl+C before the worker is up ends it at once, and what it had begun is taken back.
#[actix_rt::test]
async fn an_interrupt_during_the_start_leaves_no_orphans() {
    let mut hub = StubHub::start();
    hub.mute();
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().to_str().unwrap();
    let mut worker = Process::start(
        &["worker", "--json", "--hub", &hub.url, "--work-dir", work],
        &[],
    );
    hub.frame("register").await;
    worker.signal(Signal::SIGINT);
    hub.frame("socket closed").await;
    assert_eq!(hub.asked("/delete-peer").await.body["peer_id"], "w-1");
    assert_eq!(worker.exit().await, 0);
    assert_eq!(worker.log_count("Client shutdown complete"), 1);
    assert_eq!(
        std::fs::read_dir(work)
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
    call.upload(
        "slow.zip",
        &zip(&lab.package("slow", "echo pid $$; sleep 600 & wait")),
    )
    .await;
    let texts = call.until("pid ").await;
    let pid = pid_in(texts.last().unwrap());
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
    call.upload(
        "deaf.zip",
        &zip(&lab.package(
            "deaf",
            "trap '' TERM; echo pid $$; while :; do sleep 1; done",
        )),
    )
    .await;
    let texts = call.until("pid ").await;
    let pid = pid_in(texts.last().unwrap());
    let asked = tokio::time::Instant::now();
    lab.worker.signal(Signal::SIGINT);
    lab.worker.logged("\"to\":\"stopping\"").await;
    lab.worker.signal(Signal::SIGINT);
    assert_eq!(lab.worker.exit().await, 0);
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "it waited for the grace"
    );
    until("the trainer is gone", PATIENCE, || !alive(pid)).await;
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
