//! Inference, with a client and with a worker of the original.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::foreign_client::{controls, texts, told};
use crate::foreign_worker::output_of;
use crate::program::PATIENCE;
use crate::scene::{PREDICT, Scene, labels, names, unzip};

/// Protocol page 4.7: a client for inference, its package flat as it makes it, waits for these words in this order, looks
/// for them anywhere in a text, and saves the result under the name that it is announced with.
#[test]
fn an_inference_comes_back_as_one_file() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.worker();
    let output = scene.directory("output");
    let mut client = scene.python_client(
        &scene.inference(PREDICT),
        &output,
        &["--session", &worker.session, "--track", "--negotiate"],
    );
    client.wait(PATIENCE, "the end", |event| {
        event["control"] == "INFERENCE_JOBS_DONE"
    });
    let words: Vec<_> = controls(&client)
        .into_iter()
        .filter(|text| !text.starts_with("TRACK_LOG:"))
        .collect();
    assert_eq!(
        words,
        [
            "INFERENCE_START", "INFERENCE_JOB_START::inference", "INFERENCE_JOB_END::inference",
            "FILE_META::d.predictions.slp:100000:.", "END_OF_FILE", "INFERENCE_JOBS_DONE",
        ]
    );
    let log: Vec<_> = texts(&client)
        .iter()
        .filter_map(|text| text.strip_prefix("TRACK_LOG:"))
        .map(|text| text.replace('\u{2060}', ""))
        .collect();
    assert_eq!(
        log,
        [
            "sleap-nn track --data_path d.slp --model_paths models/centroid --model_paths models/topdown \
             -o d.predictions.slp --only_suggested_frames",
            "frame 7",
            "INFERENCE_JOBS_DONE",
            "FILE_META::x:1:y",
            "END_OF_FILE",
        ]
    );
    assert_eq!(names(&output), ["d.predictions.slp"]);
    assert!(fs::read(output.join("d.predictions.slp")).unwrap() == labels()[..100_000]);

    client.wait(PATIENCE, "job_complete", |event| {
        event["payload"]["app_message_type"] == "job_complete"
    });
    let result = &told(&client, "job_complete")[0]["result"];
    assert_eq!(result["predictions_file"], "d.predictions.slp");
    worker.status("available");
    client.leave();
    assert_eq!(scene.leftovers(), [] as [PathBuf; 0]);
}

/// Protocol page 4.7: an inference that fails stops there; nothing comes back, and that all is done is not said.
#[test]
fn an_inference_that_fails_returns_nothing() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.worker();
    let output = scene.directory("output");
    let mut client = scene.python_client(
        &scene.inference("echo so far > \"$o\"\nexit 3\n"),
        &output,
        &["--session", &worker.session, "--track", "--negotiate"],
    );
    client.wait(PATIENCE, "job_failed", |event| {
        event["payload"]["app_message_type"] == "job_failed"
    });
    let error = &told(&client, "job_failed")[0]["error"];
    assert_eq!(error["code"], "INFERENCE_FAILED");
    worker.status("available");
    client.leave();
    assert_eq!(
        controls(&client).last().unwrap(),
        "INFERENCE_JOB_ERROR::inference::3"
    );
    assert!(client.events("file").is_empty());
    assert!(names(&output).is_empty());
}

/// A directory with a package for inference.
fn inference(scene: &Scene, data: &str) -> PathBuf {
    let package = scene.directory("fly");
    for (name, content) in unzip(&scene.inference(data)) {
        let path = package.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    package
}

/// Protocol page 4.7: at a worker of the original, as it was designed, all is done when it says so behind the result;
/// nothing more comes, and nothing more is waited for.
#[test]
fn an_inference_at_a_worker_of_the_original() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.python_worker(&scene.directory("work"), &[]);
    let package = inference(&scene, PREDICT);
    let output = scene.directory("output");
    let mut client = scene.run(&package, &output, &["--session", &worker.session]);
    client.ends_with(0);
    let order = worker.process.event("package")["order"].clone();
    assert_eq!(order[0], "PACKAGE_TYPE::track");
    assert_eq!(order[1], "OUTPUT_DIR::.");
    let header = order[2].as_str().unwrap();
    assert!(
        header.starts_with("FILE_META::fly.zip:") && header.ends_with(":false"),
        "{header}"
    );
    assert_eq!(
        client.events("ended"),
        [json!({"event": "ended", "name": "inference", "code": 0})]
    );
    assert!(
        output_of(&client)
            .ends_with("\nframe 7\nINFERENCE_JOBS_DONE\nFILE_META::x:1:y\nEND_OF_FILE\n")
    );
    assert_eq!(names(&output), ["d.predictions.slp"]);
    assert!(fs::read(output.join("d.predictions.slp")).unwrap() == labels()[..100_000]);
}

/// The same where it returns nothing, fails, or finds no script: each is the end, and known at once.
#[test]
fn an_inference_that_comes_to_nothing_ends_too() {
    for (data, code, message) in [
        ("true\n", 0, None),
        (
            "exit 3\n",
            6,
            Some("the job failed: inference failed with exit code 3"),
        ),
        ("", 6, Some("the job failed: No track script found")),
    ] {
        let Some(scene) = Scene::open() else { return };
        let worker = scene.python_worker(&scene.directory("work"), &[]);
        let package = inference(&scene, data);
        let output = scene.directory("output");
        let sent = if data.is_empty() {
            // Not where a worker of the original looks for it.
            scene.inference(data)
        } else {
            package
        };
        let mut client = scene.run(&sent, &output, &["--session", &worker.session]);
        client.ends_with(code);
        if let Some(message) = message {
            assert_eq!(client.event("error")["message"], message);
        }
        assert!(names(&output).is_empty());
    }
}
