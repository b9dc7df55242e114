//! Our client, and a Python worker that has packages of its own (sleap-rtc wire protocol, 4.6).

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::foreign_worker::output_of;
use crate::scene::{BROKEN, CENTROID, Scene, Worker, names};

/// A worker with this package among its own; its directory of results.
fn with(scene: &Scene, model: &str) -> (Worker, PathBuf) {
    let [source, results, work] = ["in", "results", "work"].map(|name| scene.directory(name));
    let package = scene.package(&[("centroid", model)]);
    fs::rename(package, source.join("fly.zip")).unwrap();
    let args = ["--io", source.to_str().unwrap(), results.to_str().unwrap()];
    (scene.python_worker(&work, &args), results)
}

/// A package of the worker's own is trained there, and its client is told where the results are.
#[test]
fn a_package_of_the_workers_own_is_trained() {
    let Some(scene) = Scene::open() else { return };
    let (mut worker, results) = with(&scene, CENTROID);
    let mut client = scene.run_named("fly.zip", &worker);
    client.ends_with(0);
    let order = worker.process.event("named")["order"].clone();
    assert_eq!(order[1], "INPUT_FILE::fly.zip");
    assert!(output_of(&client).starts_with("epoch 1: loss 0.5\n"));
    let done = client.event("done");
    assert_eq!(done["results"], json!(null));
    let place = PathBuf::from(done["at_worker"].as_str().unwrap());
    assert_eq!(place.parent(), Some(results.join("jobs").as_path()));
    assert_eq!(
        fs::read(place.join("fly/models/centroid/best.ckpt")).unwrap(),
        b"weights\n"
    );
}

/// A model that fails there is a job that failed, although such a worker calls it complete.
#[test]
fn a_training_that_fails_there_failed() {
    let Some(scene) = Scene::open() else { return };
    let (worker, _) = with(&scene, BROKEN);
    let mut client = scene.run_named("fly.zip", &worker);
    client.ends_with(6);
    let error = client.event("error")["message"].clone();
    assert_eq!(error, "the job failed: centroid failed with exit code 3");
}

/// A file that such a worker does not have, and a path, of which such a worker knows nothing: that takes the 30 s that the
/// original gives the answer.
#[test]
fn a_worker_that_lacks_the_file_or_says_nothing_is_left() {
    let Some(scene) = Scene::open() else { return };
    let (worker, results) = with(&scene, CENTROID);
    let mut client = scene.run_named("none.zip", &worker);
    client.ends_with(7);
    let error = client.event("error")["message"].clone();
    let message = error.as_str().unwrap();
    assert!(
        message.contains("none.zip: File does not exist"),
        "{message}"
    );

    let mut waiting = scene.run_named("flies/fly.zip", &worker);
    waiting.ends_with(5);
    let error = waiting.event("error")["message"].clone();
    let message = error.as_str().unwrap();
    assert!(message.contains("did not say within 30 s"), "{message}");
    assert!(message.contains("loaner run PACKAGE"), "{message}");
    assert!(names(&results).is_empty());
}
