//! Training packages as sleap-rtc sends them, end to end, and what in the original went wrong with them (sleap-rtc wire
//! protocol, 9.3): a real hub and worker, and a peer that speaks the channel by hand.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::Write as _;

use loaner::rtc::Incoming;
use support::peer::Call;
use support::{Lab, PATIENCE};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// An archive of these files, as they are.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A script that trains these configs.
fn script(configs: &[&str]) -> String {
    let line = |config: &&str| format!("sleap-nn train --config-name {config}\n");
    configs.iter().map(line).collect()
}

/// The names in an archive that came back.
fn names(results: &[u8]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.zip");
    std::fs::write(&path, results).unwrap();
    let entries = support::entries(&path).into_iter();
    entries.map(|(name, _)| name).collect()
}

/// What was said up to the terminal message, that included, and the bytes of a file, if any.
async fn to_the_end(call: &Call) -> (Vec<String>, Vec<u8>) {
    let (mut texts, mut bytes) = (Vec::new(), Vec::new());
    loop {
        match call.next().await.expect("the channel closed") {
            Incoming::Text(text) => {
                texts.push(text);
                let last = texts.last().unwrap();
                if ["JOB_COMPLETE", "JOB_FAILED"]
                    .iter()
                    .any(|end| last.starts_with(end))
                {
                    return (texts, bytes);
                }
            }
            Incoming::Binary(chunk) if chunk.as_ref() == b"KEEP_ALIVE" => {}
            Incoming::Binary(chunk) => bytes.extend_from_slice(&chunk),
        }
    }
}

async fn free(lab: &Lab) {
    lab.until_status("available", PATIENCE).await;
}

/// Both layouts are found, each config is announced and ended by its stem, and has a directory of its own in what comes
/// back.
#[actix_rt::test]
async fn several_models_in_both_layouts() {
    let lab = Lab::with(&[]).await;
    let client = &mut lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let text = script(&["centroid.yaml", "sub/topdown.v2.yml"]);
    for (name, path) in [
        ("labels.zip", "labels/train-script.sh"),
        ("flat.zip", "train-script.sh"),
    ] {
        call.upload(name, &archive(&[(path, text.as_bytes())]))
            .await;
        let (texts, bytes) = to_the_end(&call).await;
        let words: Vec<_> = texts
            .iter()
            .filter(|text| text.starts_with("TRAIN"))
            .collect();
        assert_eq!(
            words,
            [
                "TRAIN_JOB_START::centroid", "TRAIN_JOB_END::centroid",
                "TRAIN_JOB_START::topdown.v2", "TRAIN_JOB_END::topdown.v2", "TRAINING_JOBS_DONE",
            ]
        );
        assert_eq!(
            names(&bytes),
            [
                "centroid/", "centroid/best.ckpt", "topdown.v2/", "topdown.v2/best.ckpt"
            ]
        );
        free(&lab).await;
    }
}

/// Two configs of one stem would be one model in the end: nothing runs, and the line is named.
#[actix_rt::test]
async fn models_do_not_replace_each_other() {
    let lab = Lab::with(&[]).await;
    let client = &mut lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let text = script(&["a/fly.yaml", "b/fly.yaml"]);
    call.upload(
        "labels.zip",
        &archive(&[("train-script.sh", text.as_bytes())]),
    )
    .await;
    let (texts, _) = to_the_end(&call).await;
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].contains("train-script.sh, line 2: the config \"b/fly.yaml\" would write over the model of line 1"),
        "{texts:?}"
    );
}

/// Protocol page 7: two packages of one name share nothing. What the first one's training left is not in the second
/// one's results.
#[actix_rt::test]
async fn a_job_finds_nothing_of_the_one_before() {
    let lab = Lab::with(&[]).await;
    let client = &mut lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    for model in ["first", "second"] {
        let text = script(&[model]);
        call.upload(
            "labels.zip",
            &archive(&[("labels/train-script.sh", text.as_bytes())]),
        )
        .await;
        let (_, bytes) = to_the_end(&call).await;
        assert_eq!(
            names(&bytes),
            [format!("{model}/"), format!("{model}/best.ckpt")]
        );
        free(&lab).await;
    }
}

/// The directory to be returned lies inside the package: no other is packed, whatever the client asks for.
#[actix_rt::test]
async fn no_other_directory_is_returned() {
    let lab = Lab::with(&[]).await;
    let client = &mut lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let text = script(&["a.yaml"]);
    let package = archive(&[("labels/train-script.sh", text.as_bytes())]);
    for dir in ["../..", "/etc", "models/../../..", "..\\.."] {
        call.text("PACKAGE_TYPE::train").await;
        call.text(&format!("OUTPUT_DIR::{dir}")).await;
        call.file("labels.zip", &package, "False").await;
        let (texts, bytes) = to_the_end(&call).await;
        let last = texts.last().unwrap();
        assert!(last.contains("the output directory"), "{dir}: {texts:?}");
        assert!(bytes.is_empty() && texts.len() == 1, "{dir}: {texts:?}");
        free(&lab).await;
    }
    // One that is not there is no reason to wait for it: what the command wrote comes back.
    call.text("OUTPUT_DIR::runs").await;
    call.file("labels.zip", &package, "False").await;
    let (texts, bytes) = to_the_end(&call).await;
    assert!(
        texts.last().unwrap().starts_with("JOB_COMPLETE"),
        "{texts:?}"
    );
    assert_eq!(names(&bytes), ["a/", "a/best.ckpt"]);
}

/// Bytes, and ends, of files that nobody announced are dropped, and the package behind them arrives as it was sent.
#[actix_rt::test]
async fn stray_bytes_do_not_get_into_a_file() {
    let lab = Lab::with(&[]).await;
    let client = &mut lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.bytes(b"nobody asked for this").await;
    call.text("END_OF_FILE").await;
    call.bytes(b"nor for this").await;
    let text = script(&["a.yaml"]);
    call.upload(
        "labels.zip",
        &archive(&[("labels/train-script.sh", text.as_bytes())]),
    )
    .await;
    let (texts, _) = to_the_end(&call).await;
    assert!(
        texts.last().unwrap().starts_with("JOB_COMPLETE"),
        "{texts:?}"
    );
}

/// A file that was begun and never ended does not swallow the next one: nothing is made of the two together, the worker
/// is free again, and takes the next package whole.
#[actix_rt::test]
async fn a_file_that_was_begun_does_not_swallow_the_next() {
    let lab = Lab::with(&[]).await;
    let client = &mut lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let text = script(&["a.yaml"]);
    let package = archive(&[("labels/train-script.sh", text.as_bytes())]);
    call.text("FILE_META::begun.zip:1000:False").await;
    call.bytes(&[7; 500]).await;
    call.upload("labels.zip", &package).await;
    let (texts, _) = to_the_end(&call).await;
    assert!(texts.last().unwrap().starts_with("JOB_FAILED"), "{texts:?}");
    assert!(
        !texts.iter().any(|text| text.starts_with("TRAIN")),
        "{texts:?}"
    );
    free(&lab).await;
    call.upload("labels.zip", &package).await;
    let mut texts = to_the_end(&call).await.0;
    // What the first two came to is told each by itself, and may take until now.
    while texts.last().unwrap().starts_with("JOB_FAILED") {
        texts = to_the_end(&call).await.0;
    }
    assert!(
        texts.last().unwrap().starts_with("JOB_COMPLETE"),
        "{texts:?}"
    );
}

/// Bytes of files are not in the log: it does not grow with what is sent, even where it is detailed.
#[actix_rt::test]
async fn the_log_does_not_grow_with_the_package() {
    let lab = Lab::with(&[]).await;
    let client = &mut lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let text = script(&["a.yaml"]);
    let mut logged = Vec::new();
    for megabytes in [0, 16] {
        let before = lab.worker.log().len();
        let ballast = vec![b'x'; megabytes << 20];
        let package = archive(&[
            ("labels/train-script.sh", text.as_bytes()),
            ("labels/labels.slp", &ballast),
        ]);
        call.upload("labels.zip", &package).await;
        to_the_end(&call).await;
        free(&lab).await;
        logged.push(lab.worker.log().len() - before);
    }
    assert!(!lab.worker.log().contains("xxxxxxxx"));
    // 256 chunks: not even a line for each.
    assert!(logged[1] < logged[0] + 64 * 256, "{logged:?}");
}
