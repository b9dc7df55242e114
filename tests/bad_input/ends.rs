//! Clients, workers and hubs that are interrupted or killed.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::files::{files, heavy};
use crate::support::{self, Lab, PATIENCE, alive, hub_at, pid_in, until};

/// The client's process is killed in the middle of the package. The worker waits for the path to come back, for 90 s.
#[actix_rt::test]
async fn a_client_killed_in_its_upload_frees_the_worker_in_time() {
    let lab = Lab::new().await;
    let archive = heavy(lab.dir.path(), "heavy", 1500, "true");
    let mut client = lab.run(&archive, &[]);
    client.event("uploading").await;
    lab.worker.logged("\"to\":\"receiving\"").await;
    client.signal(Signal::SIGKILL);
    client.exit().await;
    lab.until_status("available", Duration::from_secs(120))
        .await;
    assert_eq!(lab.scratch(), Vec::<PathBuf>::new());
}

/// Ctrl+C in the middle of the package: the worker is told, and acknowledges.
#[actix_rt::test]
async fn an_interrupted_upload_is_cancelled_at_the_worker() {
    let lab = Lab::new().await;
    let mut client = lab.run(&heavy(lab.dir.path(), "heavy", 1000, "true"), &[]);
    client.event("uploading").await;
    client.signal(Signal::SIGINT);
    assert_eq!(client.exit().await, 130, "{}", client.stdout());
    lab.until_free().await;
}

/// Ctrl+C while the job runs: cancelled, acknowledged, exit code 130, nothing left on either side.
#[actix_rt::test]
async fn an_interrupted_run_cancels_its_job() {
    let lab = Lab::new().await;
    let mut client = lab.run(&lab.package("slow", "echo pid $$; sleep 600"), &[]);
    let output = client.event("output").await;
    let pid = pid_in(output["text"].as_str().unwrap());
    client.signal(Signal::SIGINT);
    client.event("cancelling").await;
    assert_eq!(client.exit().await, 130, "{}", client.stdout());
    assert!(!alive(pid));
    lab.until_free().await;
    assert_eq!(files(&lab.out()), Vec::<PathBuf>::new());
}

/// Ctrl+C twice: the client leaves at once; the worker notices, and stops the job all the same.
#[actix_rt::test]
async fn a_client_that_is_interrupted_twice_leaves_at_once() {
    let lab = Lab::new().await;
    let mut client = lab.run(
        &lab.package(
            "deaf",
            "trap '' TERM; echo begun; while :; do sleep 1; done",
        ),
        &[],
    );
    client.event("output").await;
    client.signal(Signal::SIGINT);
    client.event("cancelling").await;
    let asked = tokio::time::Instant::now();
    client.signal(Signal::SIGINT);
    assert_eq!(client.exit().await, 130);
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "{:?}",
        asked.elapsed()
    );
    lab.until_free().await;
}

/// The hub is killed and started again while a job runs: the job does not notice; the worker comes back by itself.
#[actix_rt::test]
async fn a_hub_that_is_killed_and_restarted_costs_no_job() {
    let mut lab = Lab::new().await;
    let slow = lab.gated_package();
    let mut client = lab.run(&slow, &[]);
    client.event("output").await;
    lab.hub.signal(Signal::SIGKILL);
    lab.hub.exit().await;
    lab.worker.event("hub_lost").await;
    client.event("hub_lost").await;
    let address = lab.url.strip_prefix("http://").unwrap().to_owned();
    let (_hub, url) = hub_at(&address).await;
    assert_eq!(url, lab.url);
    // The restarted hub knows no rooms: the worker makes another, and shows the new string.
    let again = lab
        .worker
        .event_where("registered", Duration::from_secs(60), |_| true)
        .await;
    assert_eq!(again["worker"], lab.worker_id.as_str());
    lab.open_gate();
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    lab.room = again["room"].as_str().unwrap().to_owned();
    lab.token = again["token"].as_str().unwrap().to_owned();
    lab.until_status("available", PATIENCE).await;
}

/// The worker is killed while a job runs: no process and, after the next start, no directory is left of it; the client
/// gives up with its own code when the path does not come back.
#[actix_rt::test]
async fn a_killed_worker_leaves_no_orphans() {
    let mut lab = Lab::new().await;
    let mut client = lab.run(&lab.package("slow", "echo pid $$; sleep 600 & wait"), &[]);
    let output = client.event("output").await;
    let pid = pid_in(output["text"].as_str().unwrap());
    lab.worker.signal(Signal::SIGKILL);
    lab.worker.exit().await;
    until("the trainer is gone", PATIENCE, || !alive(pid)).await;
    assert!(!lab.scratch().is_empty());
    let work = lab.dir.path().join("work");
    let mut next = support::worker(&lab.url, &work, &[], &[]);
    next.event("registered").await;
    assert_eq!(lab.scratch(), Vec::<PathBuf>::new());
    assert_eq!(
        client.exit_within(Duration::from_secs(130)).await,
        5,
        "{}",
        client.stdout()
    );
    assert!(client.error().contains("lost"), "{}", client.error());
    assert_eq!(files(&lab.out()), Vec::<PathBuf>::new());
}

/// A client that is killed leaves the archive that it had packed; the next one takes it away, and its own too.
#[actix_rt::test]
async fn what_a_killed_client_packed_goes_with_the_next() {
    let lab = Lab::new().await;
    let cache = lab.dir.path().join("cache");
    let package = lab.package("slow", "echo begun; sleep 600");
    let run = || {
        let env = [("XDG_CACHE_HOME", cache.to_str().unwrap())];
        support::run(&lab.url, &package, &["--session", &lab.session], &env)
    };
    let archives = || {
        files(&cache)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ext| ext == "zip"))
            .count()
    };
    let mut killed = run();
    killed.event("output").await;
    assert_eq!(archives(), 1);
    killed.signal(Signal::SIGKILL);
    killed.exit().await;
    assert_eq!(archives(), 1);
    // The worker still waits for the path to come back; the package is packed all the same.
    let mut next = run();
    assert_eq!(next.exit().await, 4, "{}", next.stdout());
    assert_eq!(archives(), 0);
}
