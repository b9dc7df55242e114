//! Inference packages, end to end: real hub, worker and client, and a peer that speaks the channel by hand (sleap-rtc
//! wire protocol, 4.7). The trainer is a script whose inference is what the data say.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::peer::Call;
use support::{Lab, PATIENCE, Peer, Process};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A script as the original's client writes it.
const SCRIPT: &str = "#!/bin/bash\nsleap-nn track \\\n    --data_path d.slp \\\n    --only_suggested_frames \\\n    \
    --model_paths models/centroid \\\n    -o d.predictions.slp\n";
/// What such a script is run as.
const CALLED: &str = "TRACK_LOG:called: track --data_path d.slp --model_paths models/centroid -o d.predictions.slp \
    --only_suggested_frames";
/// Data whose inference succeeds.
const GOOD: &str = "echo frame 7\nprintf '10%%\\r20%%\\r\\n'\nprintf predicted > \"$o\"\n";

/// What clients of the original look for anywhere in a text (protocol page, 4.2 and 4.3).
const WORDS: [&str; 14] = [
    "PACKAGE_TYPE", "OUTPUT_DIR", "FILE_META", "END_OF_FILE", "PROGRESS_REPORT", "TRAIN_JOB",
    "TRAINING_JOBS_DONE", "INFERENCE_START", "INFERENCE_JOB_", "INFERENCE_ERROR",
    "INFERENCE_JOBS_DONE", "TRACK_LOG", "JOB_COMPLETE", "KEEP_ALIVE",
];

/// An archive as the original's client makes it: the files are at its root.
fn flat(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A flat package with this script and these data.
fn package(script: &str, data: &str) -> Vec<u8> {
    flat(&[
        ("d.slp", data),
        ("models/centroid/best.ckpt", "weights"),
        ("track-script.sh", script),
    ])
}

/// The same as a directory.
fn directory(lab: &Lab, name: &str, script: &str, data: &str) -> PathBuf {
    let dir = lab.dir.path().join(name);
    std::fs::create_dir_all(dir.join("models/centroid")).unwrap();
    std::fs::write(dir.join("d.slp"), data).unwrap();
    std::fs::write(dir.join("models/centroid/best.ckpt"), "weights").unwrap();
    std::fs::write(dir.join("track-script.sh"), script).unwrap();
    dir
}

/// A client with a job of its own, connected.
async fn negotiated(lab: &Lab) -> (Peer, Call, String) {
    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    (client, call, job)
}

/// The job messages of this kind, once the worker is available again and so no more can come.
async fn all(client: &mut Peer, worker: &str, kind: &str) -> Vec<Value> {
    client.until_status(worker, "available", PATIENCE).await;
    client.kept_messages(kind)
}

fn error(process: &Process) -> String {
    let events = process.events();
    let error = events.iter().find(|event| event["event"] == "error");
    error.map_or_else(
        || panic!("{}", process.stdout()),
        |error| error["message"].as_str().unwrap().to_owned(),
    )
}

/// What our client printed of the job's output.
fn output(process: &Process) -> String {
    let events = process.events();
    let texts = events.iter().filter(|event| event["event"] == "output");
    texts.map(|event| event["text"].as_str().unwrap()).collect()
}

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

/// `loaner run` of a directory, and of a flat zip: it says what the package is for, shows the log, and saves the result
/// under the name that it was announced with. Nothing that is there is replaced.
#[actix_rt::test]
async fn our_client_runs_inferences() {
    let lab = Lab::with(&[]).await;
    let dir = directory(&lab, "fly", SCRIPT, GOOD);
    let zip = lab.dir.path().join("flat.zip");
    File::create(&zip)
        .unwrap()
        .write_all(&package(SCRIPT, GOOD))
        .unwrap();
    for (path, saved) in [(&dir, "d.predictions.slp"), (&zip, "d.predictions-2.slp")] {
        let mut client = lab.run(path, &[]);
        assert_eq!(client.exit().await, 0, "{}", client.stdout());
        let events = client.events();
        let of = |name: &str| -> Vec<&Value> {
            events
                .iter()
                .filter(|event| event["event"] == name)
                .collect()
        };
        assert_eq!(
            of("started"),
            [&json!({ "event": "started", "name": "inference" })]
        );
        assert_eq!(
            of("ended"),
            [&json!({ "event": "ended", "name": "inference", "code": 0 })]
        );
        let done = of("done")[0];
        let result = lab.out().join(saved);
        assert_eq!(done["results"], result.to_str().unwrap());
        assert_eq!((&done["bytes"], &done["entries"]), (&json!(9), &json!([])));
        assert_eq!(std::fs::read(result).unwrap(), b"predicted");
        assert!(
            output(&client).ends_with("frame 7\n\r10%20%\n"),
            "{:?}",
            output(&client)
        );
        lab.until_status("available", PATIENCE).await;
    }
    // To people it is a file, not an archive of nothing.
    let out = lab.out();
    let hub = [
        "--hub",
        &lab.url,
        "--session",
        &lab.session,
        "-o",
        out.to_str().unwrap(),
    ];
    let mut args = vec!["run", dir.to_str().unwrap()];
    args.extend(hub);
    let mut client = Process::start(&args, &[]);
    assert_eq!(client.exit().await, 0, "{}", client.log());
    let text = client.stdout();
    assert!(text.ends_with("d.predictions-3.slp (9 B)"), "{text}");
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

/// Names with blanks, quotes and letters of any script come through as they are; a name that a header cannot carry is
/// refused with its line, and so is everything else that this worker does not run.
#[actix_rt::test]
async fn results_have_odd_names_and_scripts_are_answered_with_their_line() {
    let lab = Lab::with(&[]).await;
    let name = "größe ☃ 'x' (1).predictions.slp";
    let track = "sleap-nn track --data_path d.slp --model_paths models/centroid";
    let odd = directory(&lab, "odd", &format!("{track} -o \"out/{name}\"\n"), GOOD);
    let mut client = lab.run(&odd, &[]);
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    assert_eq!(std::fs::read(lab.out().join(name)).unwrap(), b"predicted");

    for (option, expected) in [
        (
            "-o run:b.slp",
            "track-script.sh, line 2: the path \"run:b.slp\" of `-o` is refused: it contains a colon",
        ),
        (
            "-o ../x.slp",
            "track-script.sh, line 2: the path \"../x.slp\" of `-o` is refused",
        ),
        (
            "-i /etc/passwd",
            "track-script.sh, line 2: the path \"/etc/passwd\" of `-i` is refused: it is absolute",
        ),
        (
            "--device cuda",
            "track-script.sh, line 2: the option `--device` is not known here",
        ),
        ("; touch x", "track-script.sh, line 2: `;` is for a shell"),
    ] {
        lab.until_status("available", PATIENCE).await;
        let bad = directory(&lab, "bad", &format!("\n{track} {option}\n"), GOOD);
        let mut client = lab.run(&bad, &[]);
        assert_eq!(client.exit().await, 6, "{}", client.stdout());
        assert!(error(&client).contains(expected), "{}", error(&client));
    }
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

/// A client of the original says where on its own disk the result goes. That is nothing to a worker, and comes back with
/// the result only where it cannot be taken for more than a field of the header.
#[actix_rt::test]
async fn the_clients_own_directory_is_nothing_to_the_worker() {
    let lab = Lab::with(&[]).await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    for (said, hint) in [
        ("/home/me/results", "/home/me/results"),
        ("../results", "../results"),
        ("C:\\results", "."),
        ("a/END_OF_FILE", "."),
    ] {
        call.text("PACKAGE_TYPE::track").await;
        call.text(&format!("OUTPUT_DIR::{said}")).await;
        call.file("a.zip", &package(SCRIPT, GOOD), "false").await;
        let (texts, bytes) = call.results().await;
        assert_eq!(bytes, b"predicted");
        let header = format!("FILE_META::d.predictions.slp:9:{hint}");
        assert_eq!(texts.last(), Some(&header));
        call.until("JOB_COMPLETE").await;
        client
            .until_status(&lab.worker_id, "available", PATIENCE)
            .await;
    }
}

/// A package of which nothing was said is what its script says; a type stays until another one is said, and one that
/// nobody knows is refused.
#[actix_rt::test]
async fn the_type_of_a_package_is_sticky_and_may_be_left_out() {
    let lab = Lab::with(&[]).await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let tracking = package(SCRIPT, GOOD);
    let training = flat(&[("train-script.sh", "sleap-nn train --config-name a.yaml\n")]);

    call.file("a.zip", &tracking, "false").await;
    let texts = call.until("JOB_COMPLETE").await;
    assert!(
        texts.contains(&"FILE_META::d.predictions.slp:9:.".to_owned()),
        "{texts:?}"
    );
    client
        .until_status(&lab.worker_id, "available", PATIENCE)
        .await;

    call.file("b.zip", &training, "False").await;
    let texts = call.until("JOB_COMPLETE").await;
    assert!(texts.contains(&"TRAIN_JOB_END::a".to_owned()), "{texts:?}");
    client
        .until_status(&lab.worker_id, "available", PATIENCE)
        .await;

    call.text("PACKAGE_TYPE::track").await;
    for name in ["c.zip", "d.zip"] {
        call.file(name, &training, "false").await;
        let texts = call.until("JOB_FAILED").await;
        assert_eq!(texts[0], "INFERENCE_ERROR::No track script found");
        client
            .until_status(&lab.worker_id, "available", PATIENCE)
            .await;
    }

    call.text("PACKAGE_TYPE::fly").await;
    call.file("e.zip", &tracking, "false").await;
    assert_eq!(
        call.until("JOB_FAILED").await,
        ["JOB_FAILED::none::this worker does not run packages of type `fly`"]
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

/// A worker says that it takes jobs of both types, and takes one for inference.
#[actix_rt::test]
async fn a_request_for_inference_is_accepted() {
    let lab = Lab::with(&[]).await;
    let shown = lab.shown().await.unwrap();
    assert_eq!(
        shown["metadata"]["properties"]["supported_job_types"],
        json!(["training", "inference"])
    );
    let mut client = lab.peer("client").await;
    client.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_request", "job_id": "j1", "job_type": "inference",
            "dataset_info": { "frame_count": 500 } }),
    );
    let response = client.hear_message("job_response").await;
    assert_eq!(response["accepted"], true, "{response}");
    assert_eq!(response["estimated_duration_minutes"], 5);
}

/// A directory is a package for inference only by that script; its archive has one top directory of its name.
#[test]
fn a_package_knows_what_it_is_for() {
    use loaner::client::Package;
    use loaner::wire::PackageKind;
    let dir = tempfile::tempdir().unwrap();
    let open =
        |path: &Path| Package::open(path, &std::sync::atomic::AtomicBool::new(false)).unwrap();
    let fly = dir.path().join("fly");
    std::fs::create_dir(&fly).unwrap();
    std::fs::write(fly.join("track-script.sh"), SCRIPT).unwrap();
    let package = open(&fly);
    assert_eq!(package.kind, PackageKind::Track);
    assert_eq!(
        support::entries(&package.path)
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        ["fly/", "fly/track-script.sh"]
    );
    std::fs::write(fly.join("train-script.sh"), "").unwrap();
    assert_eq!(open(&fly).kind, PackageKind::Train);
}
