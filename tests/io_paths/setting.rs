//! Which directories there are, and who is told.

use super::*;

/// The directories are told to whoever looks for workers, absolute, with their links resolved.
#[actix_rt::test]
async fn the_registration_tells_the_directories() {
    let scene = Scene::new().await;
    let shown = scene.lab.shown().await.unwrap();
    assert_eq!(
        shown["metadata"]["properties"]["io_paths"],
        json!({ "input": scene.input().canonicalize().unwrap(), "output": scene.output().canonicalize().unwrap(),
            "filesystem": "vast" })
    );
    let without = Lab::new().await.shown().await.unwrap();
    let properties = without["metadata"]["properties"].as_object().unwrap();
    assert!(!properties.contains_key("io_paths"), "{properties:?}");
}

/// One directory without the other, and one that is not there, end the worker at once, with what to do.
#[actix_rt::test]
async fn directories_that_cannot_be_used_end_the_worker_at_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let cases = [
        (vec!["--input-path", at], 2, "--output-path DIR"),
        (vec!["--filesystem", "vast"], 2, "--input-path DIR"),
        (
            vec!["--input-path", at, "--output-path", "/no/such"],
            7,
            "--output-path /no/such",
        ),
        (
            vec!["--output-path", at, "--input-path", file.to_str().unwrap()],
            7,
            "--input-path",
        ),
    ];
    for (flags, code, expected) in cases {
        let mut args = vec!["worker", "--json", "--hub", "http://127.0.0.1:9"];
        args.extend(&flags);
        let mut worker = Process::start(&args, &[]);
        let error = worker.event("error").await;
        assert_eq!(error["code"], code, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        assert_eq!(worker.exit().await, code);
    }
}

/// A worker without directories says so to both generations.
#[actix_rt::test]
async fn a_worker_without_directories_says_so() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let said = verdict(&call, "job_1", "labels.zip").await;
    assert_eq!(
        said,
        "FILE_NOT_FOUND::labels.zip::Worker I/O paths not configured"
    );
    for text in [
        "JOB_ID::j1", "SHARED_INPUT_PATH::a.zip", "SHARED_OUTPUT_PATH::o",
        "SHARED_STORAGE_JOB::start",
    ] {
        call.text(text).await;
    }
    for _ in 0..2 {
        assert_eq!(
            call.until("PATH_").await,
            ["PATH_ERROR::Worker I/O paths not configured"]
        );
    }
}
