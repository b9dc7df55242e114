//! Our hub and our client against a Python worker.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::PATIENCE;
use crate::scene::{BROKEN, CENTROID, Scene, Worker, names, unzip};

/// What our client said came out of the job.
pub fn output_of(client: &crate::program::Process) -> String {
    let texts = client.events("output").into_iter();
    texts
        .map(|event| event["text"].as_str().unwrap().to_owned())
        .collect()
}

/// What a worker of the original has to find in what it got.
fn check_package(worker: &mut Worker, sent: &[u8]) -> Value {
    let offer = worker.process.event("offer");
    assert_eq!(offer["keys"], json!(["sdp", "sender", "target", "type"]));
    let sdp = offer["sdp"].as_str().unwrap();
    // All candidates are in it, and aiortc may send its chunks of 65536 bytes.
    assert!(sdp.contains("a=candidate:"), "{sdp}");
    let limit = sdp
        .lines()
        .find_map(|line| line.strip_prefix("a=max-message-size:"));
    assert!(limit.unwrap().parse::<u32>().unwrap() >= 65536, "{sdp}");

    let open = worker.process.event("open");
    assert_eq!([&open["label"], &open["protocol"]], ["my-data-channel", ""]);
    assert_eq!(open["ordered"], true);

    let package = worker.process.event("package");
    let header = format!("FILE_META::fly.zip:{}:False", sent.len());
    assert_eq!(
        package["order"],
        json!([
            "PACKAGE_TYPE::train", "OUTPUT_DIR::models", header, "binary", "END_OF_FILE"
        ])
    );
    assert_eq!(package["received"], sent.len());
    assert!(package["largest_chunk"].as_u64().unwrap() <= 65536);
    let entries = package["entries"].as_array().unwrap();
    assert!(
        entries
            .iter()
            .all(|entry| entry.as_str().unwrap().starts_with("fly/"))
    );
    assert!(worker.process.events("stray").is_empty());
    package
}

#[test]
fn a_session_string_leads_to_results() {
    let Some(scene) = Scene::open() else { return };
    let work = scene.directory("work");
    let mut worker = scene.python_worker(&work, &[]);
    let package = scene.package(&[("centroid", CENTROID)]);
    let output = scene.directory("output");
    let mut client = scene.run(&package, &output, &["--session", &worker.session]);
    client.ends_with(0);

    let sent = fs::read(&package).unwrap();
    check_package(&mut worker, &sent);
    assert!(fs::read(work.join("fly.zip")).unwrap() == sent);
    assert_eq!(
        output_of(&client),
        "epoch 1: loss 0.5\n\r10%\r20%done\na log line with FILE_META::x:1:y and END_OF_FILE in it\n"
    );
    assert_eq!(
        client.events("started"),
        [json!({"event": "started", "name": "centroid"})]
    );
    assert_eq!(
        client.events("ended"),
        [json!({"event": "ended", "name": "centroid", "code": 0})]
    );
    assert_eq!(names(&output), ["trained_fly.zip"]);
    let results = fs::read(output.join("trained_fly.zip")).unwrap();
    assert!(results == fs::read(work.join("trained_fly.zip")).unwrap());
    assert_eq!(
        unzip(&output.join("trained_fly.zip"))["centroid/best.ckpt"],
        b"weights\n"
    );

    // Our client closes properly, so that the worker is free again at once.
    worker
        .process
        .wait(Duration::from_secs(10), "closed connection", |event| {
            event["state"] == "closed"
        });
    worker.process.event("registered");
    // No job request, no candidate: a worker that leads its room would not know what to do with them.
    let ignored = worker.process.events("ignored");
    assert!(
        ignored
            .iter()
            .all(|frame| frame["kind"] == "metadata_updated"),
        "{ignored:?}"
    );
    worker.process.leave();
}

#[test]
fn the_worker_with_the_most_memory_is_found() {
    let Some(scene) = Scene::open() else { return };
    let mut small = scene.python_worker(&scene.directory("small"), &["--gpu-memory-mb", "8000"]);
    let room = ["--room", &small.room, "--token", &small.token];
    let mut args = room.to_vec();
    args.extend(["--gpu-memory-mb", "16000"]);
    let mut large = scene.python_worker(&scene.directory("large"), &args);
    let package = scene.package(&[("centroid", CENTROID)]);
    let output = scene.directory("output");
    let mut target = room.to_vec();
    target.push("--auto-select");
    let mut client = scene.run(&package, &output, &target);
    client.ends_with(0);
    assert_eq!(client.event("chosen")["worker"], large.id.as_str());
    check_package(&mut large, &fs::read(&package).unwrap());
    assert_eq!(names(&output), ["trained_fly.zip"]);
    large.process.leave();
    small.process.leave();
    assert!(small.process.events("offer").is_empty());
}

#[test]
fn a_failed_training_has_its_exit_code() {
    let Some(scene) = Scene::open() else { return };
    let worker = scene.python_worker(&scene.directory("work"), &[]);
    let package = scene.package(&[("centroid", BROKEN), ("topdown", CENTROID)]);
    let output = scene.directory("output");
    let mut client = scene.run(&package, &output, &["--session", &worker.session]);
    client.ends_with(6);
    assert_eq!(
        client.events("ended"),
        [
            json!({"event": "ended", "name": "centroid", "code": 3}),
            json!({"event": "ended", "name": "topdown", "code": 0}),
        ]
    );
    let error = client.event("error");
    assert_eq!(
        error["message"],
        "the job failed: centroid failed with exit code 3"
    );
    // What the other model came to is worth having.
    let results = unzip(&output.join("trained_fly.zip"));
    assert_eq!(results["topdown/best.ckpt"], b"weights\n");
}

#[test]
fn a_worker_cannot_choose_where_results_go() {
    for name in [
        "../evil.zip", "/tmp/evil.zip", "a/../../evil.zip", "..\\evil.zip",
    ] {
        let Some(scene) = Scene::open() else { return };
        let work = scene.directory("work");
        let mut worker = scene.python_worker(&work, &["--announce", name]);
        let package = scene.package(&[("centroid", CENTROID)]);
        let output = scene.directory("output");
        // Where the client keeps its identity.
        scene.directory("state");
        let before = names(&scene.path("."));
        let mut client = scene.run(&package, &output, &["--session", &worker.session]);
        client.ends_with(7);
        assert_eq!(worker.process.event("results")["announced"], name);
        let message = client.event("error")["message"].to_string();
        assert!(
            message.contains("the results did not arrive whole"),
            "{message}"
        );
        assert!(names(&output).is_empty(), "{name}");
        assert_eq!(names(&scene.path(".")), before, "{name}");
        assert!(!std::path::Path::new("/tmp/evil.zip").exists());
    }
}

#[test]
fn a_worker_that_leaves_ends_the_run() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.python_worker(&scene.directory("work"), &[]);
    let package = scene.package(&[("centroid", &scene.gated())]);
    let output = scene.directory("output");
    let mut client = scene.run(&package, &output, &["--session", &worker.session]);
    client.wait(PATIENCE, "output of the training", |event| {
        event["text"] == "waiting\n"
    });
    worker.process.leave();
    client.ends_with(5);
    assert!(names(&output).is_empty());
}

/// Takes the 15 s until the first keep-alive, and as long again until the second.
#[test]
fn the_client_keeps_the_connection_alive() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.python_worker(&scene.directory("work"), &[]);
    let package = scene.package(&[("centroid", &(scene.gated() + CENTROID))]);
    let output = scene.directory("output");
    let mut client = scene.run(&package, &output, &["--session", &worker.session]);
    worker.process.event("keep_alive");
    worker.process.event("keep_alive");
    scene.open_gate();
    client.ends_with(0);
    assert!(worker.process.events("stray").is_empty());
}
