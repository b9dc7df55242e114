//! Jobs that fail or are cancelled, and what is left of them.

use super::*;

/// A job that fails says so once and leaves the output directory as it was: one that cannot be prepared, one that is no
/// package at all, and one whose command fails with nothing to show for it.
#[actix_rt::test]
async fn a_failed_job_leaves_no_trace() {
    let scene = Scene::new().await;
    scene.put("fails.zip", "exit 3");
    fs::write(scene.input().join("broken.zip"), "no zip").unwrap();
    fs::write(scene.input().join("notes.txt"), "no package").unwrap();
    fs::write(scene.input().join("labels.slp"), "labels").unwrap();
    let call = scene.call().await;
    for (name, why) in [
        ("fails.zip", "exit code 3"),
        ("broken.zip", "is not a package"),
        ("notes.txt", "neither a .zip package nor a .slp file"),
        ("labels.slp", "neither train-script.sh"),
    ] {
        ask(&call, "job_1", name).await;
        let texts = call.until("JOB_FAILED").await;
        let failed = texts.last().unwrap();
        assert!(
            failed.starts_with("JOB_FAILED::job_1::") && failed.contains(why),
            "{failed}"
        );
        assert_eq!(scene.left(), Vec::<String>::new(), "{name}");
        assert_eq!(scene.lab.scratch(), Vec::<PathBuf>::new());
        scene.lab.until_status("available", PATIENCE).await;
        // The next answer comes behind everything that the job said.
        let said = verdict_only(&call).await;
        assert_eq!(said, ["FILE_NOT_FOUND::marker::File does not exist"]);
    }
    let untouched = ["broken.zip", "fails.zip", "labels.slp", "notes.txt"];
    assert_eq!(tree(&scene.input(), ""), untouched);
}

/// What comes up to the answer for a file that is not there.
async fn verdict_only(call: &Call) -> Vec<String> {
    ask(call, "job_marker", "marker").await;
    call.until("FILE_NOT_FOUND::marker").await
}

/// What a failed command left behind stays, as it is sent back for a package that was sent.
#[actix_rt::test]
async fn what_a_failed_command_left_stays() {
    let scene = Scene::new().await;
    scene.put(
        "labels.zip",
        "mkdir models; echo half > models/best; ln -s /etc/passwd models/link; exit 3",
    );
    let call = scene.call().await;
    ask(&call, "job_1", "labels.zip").await;
    call.until("JOB_FAILED::job_1::").await;
    let kept = [
        "jobs", "jobs/job_1", "jobs/job_1/models", "jobs/job_1/models/best",
    ];
    assert_eq!(scene.left(), kept);
}

/// A job that is cancelled leaves nothing, though its command had written something. Until then nothing stands under
/// the final name.
#[actix_rt::test]
async fn a_cancelled_job_leaves_nothing() {
    let scene = Scene::new().await;
    scene.put(
        "slow.zip",
        "mkdir models; echo x > models/best; echo up; sleep 600 & wait",
    );
    let mut client = scene.lab.peer("client").await;
    let job = client.reserve(&scene.lab.worker_id).await;
    let call = client.call(&scene.lab.worker_id).await;
    ask(&call, &job, "slow.zip").await;
    call.until("up").await;
    assert!(!scene.output().join("jobs").join(&job).exists());
    client.message(
        &scene.lab.worker_id,
        json!({ "app_message_type": "job_cancel", "job_id": job }),
    );
    call.until("JOB_CANCELLED").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}
