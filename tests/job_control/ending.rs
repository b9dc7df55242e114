//! Stop is not cancel.

use serde_json::{Value, json};

use super::Ours;
use super::support::PATIENCE;

/// Says `begun`, and when it is asked to stop, saves and says so.
const SAVES: &str = "trap 'echo saving; mkdir -p models; echo m > models/m; exit 0' INT; echo begun; while :; do sleep 0.1; done";

/// A job that is asked to stop by another process of its user saves what it has, and its results come back to whoever runs it;
/// all three see that it stops, and how long it has. The command that asked ends when the job has ended.
#[actix_rt::test]
async fn a_job_that_is_asked_to_stop_saves_and_returns_what_it_has() {
    let mut ours = Ours::new().await;
    let package = ours.package(SAVES, "");
    let mut client = ours.run(&package);
    client.begun().await;

    let mut stop = ours.ask("stop", &[]);
    let told = stop
        .event_where("job", PATIENCE, |event| event["state"] == "stopping")
        .await;
    let left = told["seconds_left"].as_u64().unwrap();
    assert!((50..=60).contains(&left), "{told}");
    let done = client.event("done").await;
    assert_eq!(done["entries"][0]["name"], "m", "{done}");
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    let events = client.events();
    let seen = |event: Value| events.contains(&event);
    assert!(seen(
        json!({ "event": "ending", "state": "stopping", "seconds": 60 })
    ));
    assert!(seen(json!({ "event": "output", "text": "saving\n" })));

    let over = stop
        .event_where("job", PATIENCE, |event| event["state"] == "completed")
        .await;
    assert_eq!(over["message"], "it was asked to stop, and did");
    assert_eq!(stop.exit().await, 0);
    let ending = ours.lab.worker.event("job_ending").await;
    assert_eq!(
        (ending["state"].as_str(), ending["seconds"].as_u64()),
        (Some("stopping"), Some(60))
    );
    ours.lab.until_free().await;
}

/// A command that follows SIGINT without a word of its own has stopped, and not failed; further commands are not run.
#[actix_rt::test]
async fn a_command_that_simply_ends_has_stopped() {
    let ours = Ours::new().await;
    let package = ours.package(
        "mkdir models; echo m > models/m; echo begun; exec sleep 1000",
        "",
    );
    let mut client = ours.run(&package);
    client.begun().await;
    let mut stop = ours.ask("stop", &[]);
    assert_eq!(stop.exit().await, 0, "{}", stop.stdout());
    client.event("done").await;
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
}

/// A job that does not stop in its time is killed; it has failed, and what it had written comes back.
#[actix_rt::test]
async fn a_job_that_does_not_stop_is_killed_and_says_so() {
    let ours = Ours::new().await;
    let script =
        "trap '' INT; mkdir models; echo m > models/m; echo begun; while :; do sleep 0.1; done";
    let package = ours.package(script, "deadline = \"1s\"");
    let mut client = ours.run(&package);
    client.begun().await;
    let mut stop = ours.ask("stop", &[]);
    let over = stop
        .event_where("job", PATIENCE, |event| event["state"] == "failed")
        .await;
    assert!(
        over["message"].as_str().unwrap().contains("was killed"),
        "{over}"
    );
    assert_eq!(stop.exit().await, 0, "{}", stop.stdout());
    client.event("received").await;
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    assert!(
        client.error().contains("did not end in the time"),
        "{}",
        client.error()
    );
    ours.lab.until_free().await;
}

/// A cancel from elsewhere ends the job, also one that was asked to stop before; nothing comes back, and its client is told.
#[actix_rt::test]
async fn a_job_is_cancelled_from_elsewhere() {
    let mut ours = Ours::new().await;
    let script = "trap '' INT; echo begun; while :; do sleep 0.1; done";
    let package = ours.package(script, "deadline = \"9m\"");
    let mut client = ours.run(&package);
    client.begun().await;
    let mut stop = ours.ask("stop", &["--no-wait"]);
    assert_eq!(stop.exit().await, 0, "{}", stop.stdout());

    let mut cancel = ours.ask("cancel", &[]);
    let told = cancel
        .event_where("job", PATIENCE, |event| event["state"] == "terminating")
        .await;
    assert!(told["seconds_left"].as_u64().unwrap() <= 10, "{told}");
    cancel
        .event_where("job", PATIENCE, |event| event["state"] == "cancelled")
        .await;
    assert_eq!(cancel.exit().await, 0);
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    assert!(
        client.error().contains("it was cancelled"),
        "{}",
        client.error()
    );
    let ended = ours.lab.worker.event("job_ended").await;
    assert_eq!(ended["outcome"], "cancelled");
    ours.lab.until_free().await;

    let mut late = ours.ask("cancel", &[ended["job"].as_str().unwrap()]);
    assert_eq!(late.exit().await, 8);
    assert!(
        late.error().contains("is over: it is cancelled"),
        "{}",
        late.error()
    );
    let mut none = ours.ask("stop", &[]);
    assert_eq!(none.exit().await, 8);
    assert!(
        none.error().contains("no job of yours runs there"),
        "{}",
        none.error()
    );
}

/// Whoever can reach the worker cannot reach the jobs of others: not to end them, and not to look at them.
#[actix_rt::test]
async fn a_job_is_its_users_alone() {
    let ours = Ours::new().await;
    let package = ours.package(SAVES, "");
    let mut client = ours.run(&package);
    client.begun().await;
    let id = ours.jobs().await[0]["id"].as_str().unwrap().to_owned();
    let other = ours.lab.dir.path().join("other");
    for command in ["stop", "cancel", "logs", "fetch"] {
        let mut asked = ours.ask_as(&other, command, &[&id]);
        assert_eq!(asked.exit().await, 8, "{command}: {}", asked.stdout());
        assert!(asked.error().contains("knows no job"), "{}", asked.error());
    }
    let mut jobs = ours.ask_as(&other, "jobs", &[]);
    assert_eq!(jobs.exit().await, 0);
    assert!(jobs.events().is_empty());
    let mut stop = ours.ask("stop", &[&id[..8]]);
    assert_eq!(stop.exit().await, 0, "{}", stop.stdout());
    assert_eq!(client.exit().await, 0);
}
