//! Hubs, rooms, tokens and workers that are not there, or not free.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{self, Lab, Process, package};

#[actix_rt::test]
async fn a_wrong_session_string_is_told_apart_from_a_worker_that_is_gone() {
    let mut lab = Lab::new().await;
    let package = lab.package("a", "true");
    let run = |session: &str| support::run(&lab.url, &package, &["--session", session], &[]);
    let mut nonsense = run("sleap-session:!!!");
    assert_eq!(nonsense.exit().await, 2);
    let mut elsewhere = run(&loaner::wire::SessionString {
        room_id: "nowhere1".into(),
        token: "x".into(),
        peer_id: "y".into(),
    }
    .to_string());
    assert_eq!(elsewhere.exit().await, 3);
    assert!(
        elsewhere.error().contains("Room not found"),
        "{}",
        elsewhere.error()
    );
    lab.worker.signal(Signal::SIGINT);
    lab.worker.exit().await;
    let mut gone = run(&lab.session);
    let code = gone.exit().await;
    assert!(code == 3 || code == 4, "{code}: {}", gone.error());
}

#[actix_rt::test]
async fn an_unreachable_hub_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path(), "a", "true");
    let work = dir.path().join("work");
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let hub = format!("http://127.0.0.1:{port}");
    let room = ["--room", "r", "--token", "t"];
    let mut workers = vec!["workers", "--json", "--hub", &hub];
    workers.extend(room);
    for mut process in [
        support::worker(&hub, &work, &[], &[]),
        support::run(&hub, &package, &room, &[]),
        Process::start(&workers, &[]),
    ] {
        assert_eq!(process.exit().await, 3, "{}", process.stdout());
        assert!(process.error().contains(&hub), "{}", process.error());
        assert!(
            process.error().contains("is it running"),
            "{}",
            process.error()
        );
    }
}

#[actix_rt::test]
async fn a_wrong_room_token_is_refused() {
    let lab = Lab::new().await;
    let package = lab.package("a", "true");
    let room = ["--room", &lab.room, "--token", "wrong"];
    let mut client = support::run(&lab.url, &package, &room, &[]);
    assert_eq!(client.exit().await, 3);
    assert!(
        client.error().contains("Invalid token"),
        "{}",
        client.error()
    );
    assert!(client.error().contains("token"), "{}", client.error());
}

#[actix_rt::test]
async fn of_two_clients_at_once_one_is_told_that_the_worker_is_busy() {
    let lab = Lab::new().await;
    let slow = lab.gated_package();
    let mut first = lab.run(&slow, &[]);
    first.event("output").await;
    let mut second = lab.run(&lab.package("quick", "true"), &[]);
    assert_eq!(second.exit().await, 4, "{}", second.stdout());
    assert!(second.error().contains("busy"), "{}", second.error());
    let mut third = lab.run_in_room(&slow, &["--auto-select"]);
    assert_eq!(third.exit().await, 4, "{}", third.stdout());
    assert!(
        third.error().contains("busy or reserved"),
        "{}",
        third.error()
    );
    lab.open_gate();
    assert_eq!(first.exit().await, 0, "{}", first.stdout());
}

#[actix_rt::test]
async fn no_fitting_worker_is_told_with_the_figure() {
    let lab = Lab::with(&["--gpu-memory-mb", "8000"]).await;
    let package = lab.package("a", "true");
    let mut client = lab.run_in_room(&package, &["--auto-select", "--min-gpu-memory", "24000"]);
    assert_eq!(client.exit().await, 4);
    assert!(client.error().contains("24000"), "{}", client.error());
    let mut client = lab.run(&package, &["--min-gpu-memory", "24000"]);
    assert_eq!(client.exit().await, 4);
    assert!(
        client
            .error()
            .contains("needs 24000 MB of GPU memory, has 8000 MB"),
        "{}",
        client.error()
    );
}

/// The hub refuses a second peer under a name that is taken; a worker in a room that it was told of keeps that room.
#[actix_rt::test]
async fn a_worker_in_a_room_that_it_was_told_of_ends_when_that_is_wrong() {
    let (_hub, url) = support::hub().await;
    let dir = tempfile::tempdir().unwrap();
    let room = ["--room", "4fad4e39", "--token", "d3cc46"];
    let mut worker = support::worker(&url, dir.path(), &room, &[]);
    assert_eq!(worker.exit().await, 3);
    assert!(
        worker.error().contains("Room not found"),
        "{}",
        worker.error()
    );
    assert_eq!(
        json!(worker.log_count("Client shutdown complete")),
        json!(0)
    );
}
