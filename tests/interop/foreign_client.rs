//! A Python client against our hub and our worker.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{PATIENCE, Process};
use crate::scene::{BROKEN, CENTROID, Scene, labels, names, unzip};

/// The texts that a client got on its channel, in order.
pub fn texts(client: &Process) -> Vec<String> {
    let texts = client.events("text").into_iter();
    texts
        .map(|event| event["text"].as_str().unwrap().to_owned())
        .collect()
}

/// The texts that a client takes for something else than output, by substring.
pub fn controls(client: &Process) -> Vec<String> {
    let mut events = client.events("text");
    events.retain(|event| !event["control"].is_null());
    let texts = events.into_iter();
    texts
        .map(|event| event["text"].as_str().unwrap().to_owned())
        .collect()
}

/// The job messages of this kind that came through the hub.
pub fn told(client: &Process, kind: &str) -> Vec<Value> {
    let payloads = client.events("peer_message").into_iter();
    payloads
        .map(|event| event["payload"].clone())
        .filter(|payload| payload["app_message_type"] == kind)
        .collect()
}

/// The command of a training without its two ports, which are other ones each time; and the ports, controller first.
pub fn command(written: &[u8]) -> (String, [u16; 2]) {
    let written = String::from_utf8_lossy(written);
    let (command, ports) = written
        .trim_end()
        .split_once(" trainer_config.zmq.controller_port=")
        .unwrap();
    let (controller, publish) = ports
        .split_once(" trainer_config.zmq.publish_port=")
        .unwrap();
    let ports = [controller, publish].map(|port| port.parse().unwrap());
    assert!(ports.iter().all(|port| *port > 0), "{ports:?}");
    (command.to_owned(), ports)
}

#[test]
fn a_package_is_trained_and_its_results_come_back() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.worker();
    let package = scene.package(&[("centroid", CENTROID)]);
    let output = scene.directory("output");
    // Keep-alives between the chunks are no part of the file.
    let mut client = scene.python_client(
        &package,
        &output,
        &["--session", &worker.session, "--interleave"],
    );
    let open = client.event("open");
    assert_eq!(open["label"], "my-data-channel");
    assert_eq!(open["ordered"], true);
    let file = client.event("file");

    let announced = format!("FILE_META::trained_fly.zip:{}:models", file["received"]);
    assert_eq!(
        controls(&client),
        [
            "TRAIN_JOB_START::centroid", "TRAIN_JOB_END::centroid", "TRAINING_JOBS_DONE",
            &announced, "END_OF_FILE",
        ]
    );
    assert_eq!(file["announced"], file["received"]);
    // What looks like control messages came through as output; only joiners without width are in it.
    let texts: Vec<_> = texts(&client)
        .iter()
        .map(|text| text.replace('\u{2060}', ""))
        .collect();
    let end = texts
        .iter()
        .position(|text| text == "TRAIN_JOB_END::centroid")
        .unwrap();
    assert_eq!(
        texts[1..end],
        [
            "epoch 1: loss 0.5\n",
            "\r10%",
            "\r20%",
            "done\n",
            "a log line with FILE_META::x:1:y and END_OF_FILE in it\n",
        ]
    );

    assert_eq!(names(&output), ["trained_fly.zip"]);
    let results = unzip(&output.join("trained_fly.zip"));
    assert_eq!(
        results.keys().collect::<Vec<_>>(),
        ["centroid/best.ckpt", "centroid/command"]
    );
    assert_eq!(results["centroid/best.ckpt"], b"weights\n");
    let (command, [controller, publish]) = command(&results["centroid/command"]);
    assert_eq!(
        command,
        "sleap-nn train --config-name centroid.yaml --config-dir . trainer_config.ckpt_dir=models \
         trainer_config.run_name=centroid trainer_config.train_data_loader.num_workers=0 \
         trainer_config.val_data_loader.num_workers=0"
    );
    assert_ne!(controller, publish);

    // The client stays where it is; that does not keep the worker from the next one.
    worker.status("reserved");
    worker.status("busy");
    worker.status("available");
    assert!(client.events("channel_closed").is_empty());
    let again = scene.directory("again");
    let mut next = scene.python_client(&package, &again, &["--session", &worker.session]);
    next.event("file");
    let mut more = unzip(&again.join("trained_fly.zip"));
    assert_eq!(self::command(&more["centroid/command"]).0, command);
    more.insert(
        "centroid/command".into(),
        results["centroid/command"].clone(),
    );
    assert_eq!(more, results);
    next.leave();
    client.leave();
    assert!(
        client.events("frame").is_empty(),
        "{:?}",
        client.events("frame")
    );
    worker.process.leave();
    assert_eq!(scene.leftovers(), [] as [PathBuf; 0]);
}

#[test]
fn the_package_arrives_as_it_was_sent() {
    let Some(scene) = Scene::open() else { return };
    let worker = scene.worker();
    let package = scene.package(&[("echo", "cp labels.slp models/echo/labels.slp\n")]);
    let output = scene.directory("output");
    let mut client = scene.python_client(
        &package,
        &output,
        &["--session", &worker.session, "--interleave"],
    );
    client.event("file");
    let results = unzip(&output.join("trained_fly.zip"));
    assert!(results["echo/labels.slp"] == labels());
    client.leave();
}

#[test]
fn a_job_is_negotiated_through_the_hub() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.worker();
    let package = scene.package(&[("centroid", CENTROID), ("topdown", CENTROID)]);
    let output = scene.directory("output");
    // Found by discovery, with the filters of the original.
    let mut client = scene.python_client(
        &package,
        &output,
        &[
            "--room", &worker.room, "--token", &worker.token, "--negotiate",
        ],
    );
    let found = client.event("discovered");
    assert_eq!(found["peers"].as_array().unwrap().len(), 1);
    assert_eq!(found["peers"][0]["peer_id"], worker.id.as_str());
    assert_eq!(found["peers"][0]["role"], "worker");
    let job = client.event("requested")["job_id"].clone();

    client.wait(PATIENCE, "job_complete", |event| {
        event["payload"]["app_message_type"] == "job_complete"
    });
    let response = &told(&client, "job_response")[..];
    assert_eq!(response.len(), 1);
    assert_eq!(response[0]["job_id"], job);
    assert_eq!(response[0]["accepted"], true);
    assert_eq!(response[0]["estimated_duration_minutes"], 1);
    let statuses: Vec<_> = told(&client, "job_status")
        .iter()
        .map(|status| {
            assert_eq!(status["job_id"], job);
            json!([status["status"], status["progress"], status["message"]])
        })
        .collect();
    assert_eq!(
        statuses,
        [
            json!(["starting", 0.0, "Initializing training: centroid"]),
            json!(["running", 1.0, "Training completed: centroid"]),
            json!(["starting", 0.0, "Initializing training: topdown"]),
            json!(["running", 1.0, "Training completed: topdown"]),
        ]
    );
    let complete = &told(&client, "job_complete")[..];
    assert_eq!(complete.len(), 1);
    assert_eq!(complete[0]["job_id"], job);
    assert_eq!(complete[0]["status"], "completed");
    assert_eq!(complete[0]["transfer_method"], "webrtc_datachannel");
    assert_eq!(complete[0]["ready_for_download"], true);
    assert_eq!(complete[0]["result"]["total_jobs"], 2);
    assert!(complete[0]["result"]["training_duration_minutes"].is_number());

    client.leave();
    assert_eq!(client.events("file").len(), 1);
    let reserved = worker.status("reserved");
    assert_eq!(reserved["job"], job);
    let busy = worker.status("busy");
    assert_eq!(busy["job"], job);
    worker.status("available");
}

#[test]
fn a_model_that_fails_is_reported_and_the_next_one_is_trained() {
    let Some(scene) = Scene::open() else { return };
    let worker = scene.worker();
    let package = scene.package(&[("centroid", BROKEN), ("topdown", CENTROID)]);
    let output = scene.directory("output");
    let mut client = scene.python_client(
        &package,
        &output,
        &["--session", &worker.session, "--negotiate"],
    );
    client.event("file");
    client.wait(PATIENCE, "job_failed", |event| {
        event["payload"]["app_message_type"] == "job_failed"
    });
    assert_eq!(
        controls(&client)[..5],
        [
            "TRAIN_JOB_START::centroid", "TRAIN_JOB_ERROR::centroid::3",
            "TRAIN_JOB_START::topdown", "TRAIN_JOB_END::topdown", "TRAINING_JOBS_DONE",
        ]
    );
    let failed = &told(&client, "job_failed")[..];
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["error"]["code"], "TRAINING_FAILED");
    assert!(told(&client, "job_complete").is_empty());
    // What there is comes back all the same.
    let results = unzip(&output.join("trained_fly.zip"));
    assert_eq!(results["topdown/best.ckpt"], b"weights\n");
    client.leave();
}

#[test]
fn a_worker_that_has_a_client_refuses_others() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.worker();
    let package = scene.package(&[("centroid", &(scene.gated() + CENTROID))]);
    let output = scene.directory("output");
    let mut holder = scene.python_client(&package, &output, &["--session", &worker.session]);
    worker.status("busy");
    holder.wait(PATIENCE, "output of the training", |event| {
        event["text"] == "waiting\n"
    });

    let nothing = scene.directory("nothing");
    let mut other = scene.python_client(&package, &nothing, &["--session", &worker.session]);
    let refusal = other.event("frame");
    assert_eq!(refusal["kind"], "error");
    assert_eq!(refusal["frame"]["reason"], "worker_busy");
    assert_eq!(refusal["frame"]["current_status"], "busy");
    assert!(refusal["frame"]["message"].is_string());
    // As in the original, the refusal is not acted upon: it waits for an answer that never comes.
    other.ends_with(3);
    assert!(other.events("answered").is_empty());

    let mut negotiator = scene.python_client(
        &package,
        &nothing,
        &["--session", &worker.session, "--negotiate"],
    );
    negotiator.ends_with(4);
    let response = &told(&negotiator, "job_response")[..];
    assert_eq!(response.len(), 1);
    assert_eq!(response[0]["accepted"], false);
    assert_eq!(response[0]["reason"], "busy");

    // Nor is it found by those who look for a free one.
    let mut seeker = scene.python_client(
        &package,
        &nothing,
        &["--room", &worker.room, "--token", &worker.token],
    );
    seeker.ends_with(4);
    assert_eq!(seeker.event("discovered")["peers"], json!([]));

    // The holder noticed nothing of all that.
    scene.open_gate();
    holder.event("file");
    holder.leave();
    worker.status("available");
    assert!(names(&nothing).is_empty());
}

#[test]
fn a_client_that_leaves_properly_frees_the_worker_at_once() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.worker();
    let package = scene.package(&[("centroid", &scene.gated())]);
    let mut client = scene.python_client(
        &package,
        &scene.directory("output"),
        &["--session", &worker.session],
    );
    client.wait(PATIENCE, "output of the training", |event| {
        event["text"] == "waiting\n"
    });
    assert!(scene.trainer_lives());
    client.leave();
    // Well before anybody could have noticed that a path is gone.
    worker.status_within(Duration::from_secs(10), "available");
    assert!(!scene.trainer_lives());
    assert_eq!(scene.leftovers(), [] as [PathBuf; 0]);
}

/// Slow: aiortc says nothing when it dies, and the worker waits the 90 s that the specification gives a path.
#[test]
fn a_client_that_is_killed_frees_the_worker_after_90_seconds() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.worker();
    let package = scene.package(&[("centroid", &scene.gated())]);
    let mut client = scene.python_client(
        &package,
        &scene.directory("output"),
        &["--session", &worker.session],
    );
    client.wait(PATIENCE, "output of the training", |event| {
        event["text"] == "waiting\n"
    });
    client.kill();
    let killed = Instant::now();
    worker.status_within(Duration::from_secs(130), "available");
    assert!(killed.elapsed() > Duration::from_secs(90));
    assert!(!scene.trainer_lives());

    // And it is as good as new.
    scene.open_gate();
    let again = scene.directory("again");
    let mut next = scene.python_client(&package, &again, &["--session", &worker.session]);
    next.event("file");
    next.leave();
}

/// Takes the 15 s until the first keep-alive, and as long again until the second.
#[test]
fn the_worker_keeps_the_connection_alive() {
    let Some(scene) = Scene::open() else { return };
    let worker = scene.worker();
    let package = scene.package(&[("centroid", &(scene.gated() + CENTROID))]);
    let mut client = scene.python_client(
        &package,
        &scene.directory("output"),
        &["--session", &worker.session],
    );
    client.event("open");
    client.event("keep_alive");
    client.event("keep_alive");
    scene.open_gate();
    client.event("file");
    client.leave();
    // They were binary, and nothing else was outside of the file.
    assert!(client.events("stray").is_empty());
}
