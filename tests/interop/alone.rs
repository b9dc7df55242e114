//! Our hub in the place of the original's, with nobody but Python peers.

use serde_json::json;

use crate::program::PATIENCE;
use crate::scene::{CENTROID, Scene, names, unzip};

#[test]
fn python_peers_meet_through_our_hub() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.python_worker(&scene.directory("work"), &[]);
    let room = ["--room", &worker.room, "--token", &worker.token];
    let package = scene.package(&[("centroid", CENTROID)]);
    let output = scene.directory("output");
    let mut client = scene.python_client(&package, &output, &room);
    let found = client.event("discovered")["peers"].clone();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(found[0]["peer_id"], worker.id.as_str());
    assert_eq!(
        found[0]["metadata"]["properties"]["gpu_model"],
        "NVIDIA RTX A5000"
    );
    client.event("file");
    assert_eq!(
        unzip(&output.join("trained_fly.zip"))["centroid/best.ckpt"],
        b"weights\n"
    );
    client.leave();

    // Free again, and still found by its tags, although the updates of its status had none.
    worker.process.wait(PATIENCE, "closed connection", |event| {
        event["state"] == "closed"
    });
    worker.process.event("registered");
    let again = scene.directory("again");
    let mut next = scene.python_client(&package, &again, &room);
    next.event("file");
    assert_eq!(names(&again), ["trained_fly.zip"]);
    next.leave();

    // Who has left is not there any more.
    worker.process.leave();
    let mut late = scene.python_client(&package, &again, &room);
    late.ends_with(4);
    assert_eq!(late.event("discovered")["peers"], json!([]));
}

#[test]
fn only_one_worker_leads_a_room_and_the_other_negotiates() {
    let Some(scene) = Scene::open() else { return };
    let mut first = scene.python_worker(&scene.directory("first"), &[]);
    let room = ["--room", &first.room, "--token", &first.token];
    let mut second = scene.python_worker(&scene.directory("second"), &room);
    let conflict = &second.process.events("admin_conflict")[..];
    assert_eq!(
        conflict.len(),
        1,
        "it comes before the registration's answer"
    );
    assert_eq!(conflict[0]["admin"], first.id.as_str());
    assert!(first.process.events("admin_conflict").is_empty());

    let package = scene.package(&[("centroid", CENTROID)]);
    let output = scene.directory("output");
    let mut client = scene.python_client(
        &package,
        &output,
        &["--session", &second.session, "--negotiate"],
    );
    let job = client.event("requested")["job_id"].clone();
    client.event("file");
    let heard: Vec<_> = second
        .process
        .events("peer_message")
        .iter()
        .map(|event| {
            assert_eq!(event["payload"]["job_id"], job);
            event["payload"]["app_message_type"].clone()
        })
        .collect();
    assert_eq!(heard, ["job_request", "job_assignment"]);
    client.leave();
    second.process.leave();
    first.process.leave();
}
