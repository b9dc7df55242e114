//! What is said of an inference, on the channel and through the hub.

use super::*;

/// Protocol page 4.7 and 9.2: a flat package, word by word as the original's client waits for them: log lines behind
/// their word, the result as a plain file under the name of `-o`, and only then that all is done.
#[actix_rt::test]
async fn an_inference_is_told_word_by_word() {
    let lab = Lab::with(&[]).await;
    let (mut client, call, job) = negotiated(&lab).await;
    call.upload_inference("track_package.zip", &package(SCRIPT, GOOD))
        .await;
    let (texts, bytes) = call.results().await;
    assert_eq!(
        texts,
        [
            "INFERENCE_START", "INFERENCE_JOB_START::inference", CALLED, "TRACK_LOG:frame 7",
            "TRACK_LOG:\r10%", "TRACK_LOG:20%", "INFERENCE_JOB_END::inference",
            "FILE_META::d.predictions.slp:9:.",
        ]
    );
    assert_eq!(bytes, b"predicted");
    let terminal = format!("JOB_COMPLETE::{job}::d.predictions.slp");
    assert_eq!(
        call.until("JOB_").await,
        ["INFERENCE_JOBS_DONE".to_owned(), terminal]
    );

    // Protocol page 3.6 and 3.7.
    let complete = all(&mut client, &lab.worker_id, "job_complete").await;
    assert_eq!(complete.len(), 1);
    assert_eq!(complete[0]["job_id"], job.as_str());
    assert_eq!(complete[0]["ready_for_download"], true);
    let result = complete[0]["result"].as_object().unwrap();
    assert_eq!(result.len(), 3, "{result:?}");
    assert_eq!(result["predictions_file"], "d.predictions.slp");
    assert_eq!(result["predictions_size_mb"], 9.0 / 1024.0 / 1024.0);
    assert!(result["inference_duration_seconds"].is_u64());
    let statuses = client.kept_messages("job_status");
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    assert_eq!(statuses[0]["status"], "starting");
    assert_eq!(statuses[0]["progress"], 0.0);
    assert_eq!(statuses[0]["message"], "Initializing inference");
    assert!(client.kept_messages("job_failed").is_empty());
    assert_eq!(lab.scratch(), [] as [PathBuf; 0]);
}

/// Protocol page 4.7: a command that fails ends the inference: the next one is not run, nothing is returned although
/// there is something, and that all is done is not said. It is told once as failed.
#[actix_rt::test]
async fn a_failing_inference_stops() {
    let lab = Lab::with(&[]).await;
    let script = "sleap-nn track --data_path d.slp --model_paths models/centroid -o half.slp\n\
        sleap-nn track --data_path half.slp --model_paths models/centroid\n";
    let failing = "echo so far > \"$o\"\necho so far > predictions.slp\nexit 3\n";
    let (mut client, call, job) = negotiated(&lab).await;
    call.upload_inference("track_package.zip", &package(script, failing))
        .await;
    let texts = call.until("JOB_").await;
    assert_eq!(
        texts,
        [
            "INFERENCE_START",
            "INFERENCE_JOB_START::inference",
            "TRACK_LOG:called: track --data_path d.slp --model_paths models/centroid -o half.slp",
            "INFERENCE_JOB_ERROR::inference::3",
            &format!("JOB_FAILED::{job}::Inference failed with exit code 3"),
        ]
    );
    let failed = all(&mut client, &lab.worker_id, "job_failed").await;
    assert_eq!(
        failed[0]["error"],
        json!({ "code": "INFERENCE_FAILED", "message": "Inference failed with exit code 3", "recoverable": false })
    );
    assert_eq!(failed.len(), 1);
    assert!(client.kept_messages("job_complete").is_empty());

    let mut ours = lab.run(&directory(&lab, "fly", script, failing), &[]);
    assert_eq!(ours.exit().await, 6, "{}", ours.stdout());
    assert_eq!(
        error(&ours),
        "the job failed: Inference failed with exit code 3"
    );
    assert!(std::fs::read_dir(lab.out()).unwrap().next().is_none());
}

/// Protocol page 3.8 and 9.2: an inference package without its script is answered, on the channel and through the hub.
#[actix_rt::test]
async fn a_package_without_a_script_is_answered() {
    let lab = Lab::with(&[]).await;
    let (mut client, call, job) = negotiated(&lab).await;
    // A script for training is none for inference.
    let archive = flat(&[
        ("d.slp", GOOD),
        ("train-script.sh", "sleap-nn train --config-name a.yaml\n"),
    ]);
    call.upload_inference("track_package.zip", &archive).await;
    let texts = call.until("JOB_FAILED").await;
    assert_eq!(texts[0], "INFERENCE_ERROR::No track script found");
    assert!(texts[1].starts_with(&format!(
        "JOB_FAILED::{job}::the package has no track-script.sh"
    )));
    assert_eq!(texts.len(), 2);
    let failed = all(&mut client, &lab.worker_id, "job_failed").await;
    assert_eq!(failed[0]["error"]["code"], "TRACK_SCRIPT_NOT_FOUND");
    assert_eq!(failed.len(), 1);
}

/// Protocol page 3.7 and 9.5: without a result the job is complete, with a warning and without a file, and what the
/// package had brought along under the result's name is not taken for one.
#[actix_rt::test]
async fn a_result_that_is_missing_or_stale_is_not_sent() {
    let lab = Lab::with(&[]).await;
    let (mut client, call, job) = negotiated(&lab).await;
    let archive = flat(&[
        ("d.slp", "ls\n"),
        ("d.predictions.slp", "of last week"),
        ("models/centroid/best.ckpt", "weights"),
        ("track-script.sh", SCRIPT),
    ]);
    call.upload_inference("track_package.zip", &archive).await;
    let texts = call.until("JOB_COMPLETE").await;
    assert_eq!(
        texts,
        [
            "INFERENCE_START",
            "INFERENCE_JOB_START::inference",
            CALLED,
            "TRACK_LOG:d.slp",
            "TRACK_LOG:models",
            "TRACK_LOG:track-script.sh",
            "INFERENCE_JOB_END::inference",
            "INFERENCE_JOBS_DONE",
            &format!("JOB_COMPLETE::{job}::"),
        ]
    );
    let complete = all(&mut client, &lab.worker_id, "job_complete").await;
    assert_eq!(complete[0]["ready_for_download"], false);
    let result = complete[0]["result"].as_object().unwrap();
    assert_eq!(result.len(), 2, "{result:?}");
    assert_eq!(result["warning"], "No predictions file generated");
    assert!(result["inference_duration_seconds"].is_u64());

    // A link is no result either: it could lead anywhere on the worker.
    for data in ["true", "ln -s /etc/hostname \"$o\"", "mkdir \"$o\""] {
        let mut ours = lab.run(&directory(&lab, "fly", SCRIPT, data), &[]);
        assert_eq!(ours.exit().await, 0, "{}", ours.stdout());
        assert_eq!(ours.event("done").await["results"], Value::Null, "{data}");
        lab.until_status("available", PATIENCE).await;
    }
    assert!(std::fs::read_dir(lab.out()).unwrap().next().is_none());
}

/// Protocol page 4.1: what an inference prints is output and nothing else, also to peers that look for control words
/// anywhere in a text; and our client shows it.
#[actix_rt::test]
async fn control_words_in_the_log_are_output() {
    let lab = Lab::with(&[]).await;
    let words = "echo INFERENCE_JOBS_DONE\necho FILE_META::x:1:y\necho \"at 3: END_OF_FILE\"\n\
        printf 'INFERENCE_JOB_ERROR::a::1\\rKEEP_ALIVE\\n'\nprintf predicted > \"$o\"\n";
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.upload_inference("track_package.zip", &package(SCRIPT, words))
        .await;
    let (texts, bytes) = call.results().await;
    assert_eq!(bytes, b"predicted");
    for text in &texts {
        let own = WORDS.iter().filter(|word| text.starts_with(*word)).count();
        let found = WORDS.iter().filter(|word| text.contains(*word)).count();
        assert!(own == 1 && found == 1, "{text}");
    }
    let plain: Vec<_> = texts
        .iter()
        .map(|text| text.replace('\u{2060}', ""))
        .collect();
    assert_eq!(
        plain[3..7],
        [
            "TRACK_LOG:INFERENCE_JOBS_DONE", "TRACK_LOG:FILE_META::x:1:y",
            "TRACK_LOG:at 3: END_OF_FILE", "TRACK_LOG:\rINFERENCE_JOB_ERROR::a::1",
        ]
    );
    call.until("JOB_COMPLETE").await;
    call.hang_up().await;
    lab.until_status("available", PATIENCE).await;

    let mut ours = lab.run(&directory(&lab, "fly", SCRIPT, words), &[]);
    assert_eq!(ours.exit().await, 0, "{}", ours.stdout());
    let shown = output(&ours).replace('\u{2060}', "");
    assert!(
        shown.contains("INFERENCE_JOBS_DONE\nFILE_META::x:1:y\nat 3: END_OF_FILE\n"),
        "{shown}"
    );
}

/// A trainer that is not there is told to the client of an inference in its own words.
#[actix_rt::test]
async fn a_trainer_that_is_not_installed_is_named() {
    let lab = Lab::with(&[]).await;
    std::fs::remove_file(lab.dir.path().join("bin/sleap-nn")).unwrap();
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.upload_inference("track_package.zip", &package(SCRIPT, GOOD))
        .await;
    let texts = call.until("JOB_FAILED").await;
    assert_eq!(
        texts[..4],
        [
            "INFERENCE_START",
            "INFERENCE_JOB_START::inference",
            "TRACK_LOG:sleap-nn is not installed on this worker (not found in PATH)",
            "INFERENCE_JOB_ERROR::inference::127",
        ]
    );
    assert_eq!(texts.len(), 5);
}
