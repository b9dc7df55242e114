//! A worker and a client that have no route to each other.

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant};

use crate::coturn::{SECRET, credential};
use crate::program::{PATIENCE, until};
use crate::scene::Scene;

/// The bytes that coturn has sent for its clients, by the last word that it says of each session.
fn relayed(log: &str) -> u64 {
    let sent = log
        .lines()
        .filter_map(|line| line.split_once(", sb="))
        .map(|(before, sent)| {
            assert!(before.contains("usage:"), "{before}");
            sent.trim().trim_end_matches(',').parse::<u64>().unwrap()
        });
    sent.sum()
}

#[test]
fn a_job_runs_by_relay() {
    let Some(mut scene) = Scene::open(Some(SECRET)) else {
        return;
    };
    assert!(!scene.ends_reach_each_other());
    let package = scene.package(4);
    let begun = Instant::now();
    let mut client = scene.run(&package);
    client.event("connected");
    let open = begun.elapsed();
    client.event("sent");
    client.ends_with(0);
    let took = begun.elapsed() - open;

    let noise = std::fs::read(package.join("noise")).unwrap();
    let results = File::open(scene.output().join("trained_package.zip")).unwrap();
    let mut results = zip::ZipArchive::new(results).unwrap();
    let mut back = Vec::new();
    let mut file = results.by_name("noise").unwrap();
    file.read_to_end(&mut back).unwrap();
    assert!(noise == back, "the results are not what was sent");

    // coturn counts when a session ends: the client gave its relay back when it left, and so does the worker.
    scene.worker.leave();
    until("coturn's account of the traffic", PATIENCE, || {
        relayed(&scene.turn.story()) > 2 * noise.len() as u64
    });
    println!("open after {open:?}; there and back took {took:?}");

    // Each had a credential of its own, which nobody wrote down; nor the secret.
    let log = scene.turn.story();
    for process in [&scene.hub, &scene.worker, &client] {
        let story = process.story();
        assert!(!story.contains(SECRET), "{story}");
        for username in usernames(&log) {
            let credential = credential(&username);
            assert!(!story.contains(&credential), "{username}: {story}");
        }
    }
    assert_eq!(usernames(&log).len(), 2, "{log}");
    // What our peers cannot use is said, once.
    let skipped = "turns:10.78.0.1:5349";
    for process in [&scene.worker, &client] {
        let story = process.story();
        let said = story
            .lines()
            .filter(|line| line.contains(skipped) && line.contains("not used"));
        assert_eq!(said.count(), 1, "{story}");
    }
}

/// The user names that coturn saw, in order, each once.
fn usernames(log: &str) -> Vec<String> {
    let mut names: Vec<_> = log
        .lines()
        .filter_map(|line| Some(line.split_once("user <")?.1.split_once('>')?.0.to_owned()))
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn without_a_relay_they_do_not_meet() {
    let Some(scene) = Scene::open(None) else {
        return;
    };
    let mut client = scene.run(&scene.package(0));
    client.ends_with(5);
    let failure = client.events("error").pop().unwrap();
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains("no path") && message.contains("TURN"),
        "{message}"
    );
}

#[test]
fn with_a_wrong_secret_they_do_not_meet_and_are_told_why() {
    let Some(scene) = Scene::open(Some("not-what-coturn-knows")) else {
        return;
    };
    let begun = Instant::now();
    let mut client = scene.run(&scene.package(0));
    client.ends_with(5);
    // As long as without a relay: 6 s for the connection, and what a busy machine adds.
    assert!(begun.elapsed() < Duration::from_secs(20));
    let failure = client.events("error").pop().unwrap();
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains("turn:10.78.0.1:3478") && message.contains("refuses the credentials"),
        "{message}"
    );
    until("the worker's log names the server", PATIENCE, || {
        scene.worker.story().contains("refuses the credentials")
    });
}
