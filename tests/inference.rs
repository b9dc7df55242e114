//! Inference packages, end to end: real hub, worker and client, and a peer that speaks the channel by hand (sleap-rtc
//! wire protocol, 4.7). The trainer is a script whose inference is what the data say.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "inference/limits.rs"]
mod limits;
#[path = "inference/packages.rs"]
mod packages;
mod support;
#[path = "inference/words.rs"]
mod words;

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
