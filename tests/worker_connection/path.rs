//! The connection: up, closed, failed, gone for a while, gone for good.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Lab, PATIENCE, alive, pid_in};

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
    call.upload("a.zip", &lab.archive("a", "echo over the channel"))
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
    let package = lab.gated_package();
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
    lab.open_gate();
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
    lab.until_free().await;
    assert!(!alive(pid));
}
