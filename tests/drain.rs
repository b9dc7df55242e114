//! A worker that drains: it takes no new job, serves whom it has to the end, and leaves.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::{Lab, PATIENCE, Peer, Process};

/// `loaner worker --drain` for the workers that have their jobs there.
fn drain(work: &Path) -> Process {
    let work = work.to_str().unwrap();
    Process::start(&["worker", "--drain", "--json", "--work-dir", work], &[])
}

/// Waits until the hub shows that the worker drains.
async fn until_draining(peer: &mut Peer, lab: &Lab) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let shown = peer.find(&lab.worker_id).await.unwrap();
        let properties = shown["metadata"]["properties"].clone();
        if properties["draining"] == true {
            return properties;
        }
        assert!(tokio::time::Instant::now() < deadline, "{properties}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How a worker ended that drained: properly, with nothing left behind.
async fn has_left(lab: &mut Lab) {
    assert_eq!(lab.worker.exit_within(PATIENCE * 2).await, 0);
    // It was the client that hung up: nobody's time to do so was over.
    for timer in ["HangUp fired", "Linger fired"] {
        assert_eq!(lab.worker.log_count(timer), 0, "{}", lab.worker.log());
    }
    let last = lab.worker.events().pop().unwrap();
    assert_eq!(last["event"], "drained");
    let left = std::fs::read_dir(lab.dir.path().join("work")).unwrap();
    let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["lock"]);
    let metrics = awc::Client::new().get(format!("{}/metrics", lab.url));
    let metrics: Value = metrics.send().await.unwrap().json().await.unwrap();
    assert_eq!(metrics["peers_by_role"]["worker"], Value::Null, "{metrics}");
}

/// A drain during a job: nobody else is let in, in words that every peer knows, and `loaner workers` says more; the job
/// runs to its end, its client gets the results, and only then does the worker leave. Whoever drains sees what it waits
/// for, and that it is over.
#[actix_rt::test]
async fn a_job_is_brought_to_its_end_and_nobody_comes_after() {
    let mut lab = Lab::new().await;
    let mut run = lab.run(&lab.gated_package(), &[]);
    let job = run.event("reserved").await["job"].clone();
    run.begun().await;

    let mut drain = drain(&lab.dir.path().join("work"));
    assert_eq!(drain.event("draining").await["pid"], lab.worker.pid);
    let waiting = drain.event("waiting").await;
    assert_eq!(
        (&waiting["status"], &waiting["job"]),
        (&json!("busy"), &job)
    );
    let told = lab
        .worker
        .event_where("status", PATIENCE, |event| event["draining"] == true)
        .await;
    assert_eq!(told["job"], job);

    let mut other = lab.peer("client").await;
    let properties = until_draining(&mut other, &lab).await;
    assert_eq!(properties["status"], "busy");
    assert_eq!(properties["current_job_id"], job);
    let mut listed = lab.workers(&[]);
    assert_eq!(listed.exit().await, 0);
    assert!(
        listed.stdout().contains(" draining "),
        "{}",
        listed.stdout()
    );
    is_refused(&mut other, &lab).await;

    lab.open_gate();
    assert_eq!(run.exit().await, 0, "{}", run.stdout());
    let done = run.events().pop().unwrap();
    assert_eq!(done["event"], "done");
    let results = support::entries(Path::new(done["results"].as_str().unwrap()));
    assert_eq!(results, [("m".to_owned(), "m\n".to_owned())]);
    has_left(&mut lab).await;
    drain.event("drained").await;
    assert_eq!(drain.exit().await, 0);
}

/// A request and an offer are refused by name.
async fn is_refused(peer: &mut Peer, lab: &Lab) {
    let request = json!({ "app_message_type": "job_request", "job_id": "j2" });
    peer.message(&lab.worker_id, request);
    let response = peer.hear_message("job_response").await;
    assert_eq!(
        (&response["accepted"], &response["reason"]),
        (&json!(false), &json!("busy"))
    );
    let _offer = peer.offer(&lab.worker_id).await;
    let refusal = peer.hear("error").await;
    assert_eq!(refusal["reason"], "worker_busy");
    assert_eq!(refusal["current_status"], "busy");
}

/// The last client need not hang up at once: it reads its results at its own pace, and is connected until it hangs up.
#[actix_rt::test]
async fn the_last_client_reads_its_results_to_the_end() {
    let mut lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    let gate = lab.dir.path().join("go");
    let script = format!(
        "echo pid $$; while [ ! -f '{}' ]; do sleep 0.1; done; mkdir models; head -c 200000 /dev/urandom > models/m",
        gate.display()
    );
    let archive = lab.archive("large", &script);
    call.begin("large.zip", &archive).await;
    lab.worker.signal(Signal::SIGUSR1);
    until_draining(&mut client, &lab).await;
    lab.open_gate();
    lab.worker.event("drained").await;
    let (_, bytes) = call.results().await;
    assert!(bytes.len() > 200_000, "{}", bytes.len());
    client.hear_message("job_complete").await;
    // It is still listened to, and nobody has begun to close its connection.
    call.text("INPUT_FILE::any").await;
    call.until("FILE_NOT_FOUND").await;
    assert_eq!(lab.worker.log_count("\"event\":\"Close\""), 0);
    call.hang_up().await;
    has_left(&mut lab).await;
}

/// A client may still be connected to a worker that nobody holds when it is told to drain: until it hangs up, the worker is
/// shown as what it is, once, and tells everybody who asks that it takes nothing; nothing is told after `drained`.
#[actix_rt::test]
async fn an_idle_worker_that_leaves_is_not_shown_as_free_and_answers() {
    let mut lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    let archive = lab.archive("a", "echo hello");
    call.upload("a.zip", &archive).await;
    call.until("JOB_COMPLETE").await;
    lab.until_free().await;
    lab.worker.signal(Signal::SIGUSR1);

    let mut other = lab.peer("client").await;
    let properties = until_draining(&mut other, &lab).await;
    assert_eq!(properties["status"], "busy");
    assert_eq!(properties["current_job_id"], Value::Null);
    is_refused(&mut other, &lab).await;
    other.message(
        &lab.worker_id,
        json!({ "app_message_type": "loaner_visit" }),
    );
    let visit = other.hear_message("loaner_visit_response").await;
    assert_eq!(visit["accepted"], false, "{visit}");
    call.upload("b.zip", &archive).await;
    let refused = call.until("JOB_FAILED").await;
    assert!(
        refused.last().unwrap().contains("no new jobs"),
        "{refused:?}"
    );

    call.hang_up().await;
    has_left(&mut lab).await;
    let events = lab.worker.events();
    let told = |event: &&Value| event["draining"] == true;
    assert_eq!(events.iter().filter(told).count(), 1, "{events:?}");
}

/// A drain while nobody is there ends the worker at once.
#[actix_rt::test]
async fn an_idle_worker_leaves_at_once() {
    let mut lab = Lab::new().await;
    lab.worker.signal(Signal::SIGUSR1);
    has_left(&mut lab).await;
}

/// A hub that is out of reach does not keep a worker from leaving.
#[actix_rt::test]
async fn a_worker_leaves_without_its_hub_too() {
    let mut lab = Lab::new().await;
    lab.hub.signal(Signal::SIGKILL);
    lab.hub.exit().await;
    lab.worker.event("hub_lost").await;
    let mut drain = drain(&lab.dir.path().join("work"));
    assert_eq!(lab.worker.exit().await, 0);
    assert_eq!(drain.exit().await, 0, "{}", drain.stdout());
}

/// A drain while reserved: the reservation shows as busy, may still become its job, and the worker leaves after that.
#[actix_rt::test]
async fn a_reservation_may_still_become_its_job() {
    let mut lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let request = json!({ "app_message_type": "job_request", "job_id": "j1" });
    client.message(&lab.worker_id, request);
    client.hear_message("job_response").await;
    lab.worker.signal(Signal::SIGUSR1);
    let properties = until_draining(&mut client, &lab).await;
    assert_eq!(properties["status"], "busy");
    assert_eq!(properties["pending_job_id"], "j1");

    let assignment = json!({ "app_message_type": "job_assignment", "job_id": "j1" });
    client.message(&lab.worker_id, assignment);
    let call = client.call(&lab.worker_id).await;
    call.upload("a.zip", &lab.archive("a", "echo hello")).await;
    call.until("JOB_COMPLETE").await;
    call.hang_up().await;
    has_left(&mut lab).await;
}

/// A drain while reserved for somebody who goes away ends the worker then.
#[actix_rt::test]
async fn a_reservation_that_is_given_up_is_not_waited_for() {
    let mut lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let request = json!({ "app_message_type": "job_request", "job_id": "j1" });
    client.message(&lab.worker_id, request);
    client.hear_message("job_response").await;
    lab.worker.signal(Signal::SIGUSR1);
    until_draining(&mut client, &lab).await;
    client.leave().await;
    has_left(&mut lab).await;
}

/// Who has no time for the drain ends the worker as ever: its job is cancelled.
#[actix_rt::test]
async fn a_drain_can_be_cut_short() {
    let mut lab = Lab::new().await;
    let mut run = lab.run(&lab.gated_package(), &[]);
    run.begun().await;
    let mut drain = drain(&lab.dir.path().join("work"));
    drain.event("waiting").await;
    lab.worker.signal(Signal::SIGTERM);
    assert_eq!(lab.worker.exit().await, 0);
    assert_eq!(run.exit().await, 6, "{}", run.stdout());
    assert_eq!(drain.exit().await, 0);
}

/// Ctrl+C at `--drain` ends the waiting and not the drain; a second one finds the worker again.
#[actix_rt::test]
async fn to_stop_waiting_does_not_stop_the_drain() {
    let mut lab = Lab::new().await;
    let mut run = lab.run(&lab.gated_package(), &[]);
    run.begun().await;
    let work = lab.dir.path().join("work");
    let mut first = drain(&work);
    first.event("waiting").await;
    first.signal(Signal::SIGINT);
    assert_eq!(first.exit().await, 130);
    assert!(
        first.error().contains("the drain goes on"),
        "{}",
        first.error()
    );
    let mut second = drain(&work);
    second.event("waiting").await;
    lab.open_gate();
    assert_eq!(run.exit().await, 0, "{}", run.stdout());
    has_left(&mut lab).await;
    assert_eq!(second.exit().await, 0);
}

/// A worker that is killed in its drain did not end as it should, and that is said.
#[actix_rt::test]
async fn a_worker_that_is_killed_has_not_drained() {
    let mut lab = Lab::new().await;
    let mut run = lab.run(&lab.gated_package(), &[]);
    run.begun().await;
    let mut drain = drain(&lab.dir.path().join("work"));
    drain.event("waiting").await;
    lab.worker.signal(Signal::SIGKILL);
    lab.worker.exit().await;
    assert_eq!(drain.exit().await, 1);
    assert!(drain.error().contains("was killed"), "{}", drain.error());
}

/// Where no worker runs, or several do, that is said with what to do; nobody is told to drain.
#[actix_rt::test]
async fn which_worker_has_to_be_clear() {
    let dir = tempfile::tempdir().unwrap();
    let mut none = drain(&dir.path().join("nowhere"));
    assert_eq!(none.exit().await, 4);
    assert!(none.error().contains("--work-dir"), "{}", none.error());
    assert!(!dir.path().join("nowhere").exists());

    let mut lab = Lab::new().await;
    let work = lab.dir.path().join("work");
    let mut second = support::worker(&lab.url, &work, &[], &[]);
    second.event("registered").await;
    let mut several = drain(&work);
    assert_eq!(several.exit().await, 2);
    let error = several.error();
    for pid in [lab.worker.pid, second.pid] {
        assert!(error.contains(&format!("process {pid}")), "{error}");
    }
    assert!(error.contains("kill -USR1"), "{error}");
    second.signal(Signal::SIGTERM);
    assert_eq!(second.exit().await, 0);
    let mut one = drain(&work);
    assert_eq!(one.exit().await, 0, "{}", one.stdout());
    has_left(&mut lab).await;
}
