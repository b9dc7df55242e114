//! What is said on the channel.

use loaner::rtc::Incoming;
use tokio::time::timeout;

use crate::support::{Lab, PATIENCE};

/// CONN-10: messages are told apart by their exact first token, and each reaches whom it concerns.
#[actix_rt::test]
async fn messages_on_the_channel_reach_whom_they_concern() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.text("SHARED_INPUT_PATH::labels/one.slp").await;
    assert_eq!(
        call.until("PATH_").await.pop().unwrap(),
        "PATH_ERROR::Worker I/O paths not configured"
    );
    call.text("INPUT_FILE::labels.slp").await;
    let refused = call.until("FILE_").await.pop().unwrap();
    assert_eq!(
        refused,
        "FILE_NOT_FOUND::labels.slp::Worker I/O paths not configured"
    );
    // A text that holds a token, but not at its beginning, is nothing to a worker.
    call.text("I would like to say END_OF_FILE and FILE_META::x:1:y")
        .await;
    call.text("PACKAGE_TYPE::unheard-of").await;
    call.text("FILE_META::a.zip:10:False").await;
    let refused = call.until("JOB_FAILED").await.pop().unwrap();
    assert!(refused.contains("unheard-of"), "{refused}");
    call.upload(
        "a.zip",
        &lab.archive("a", "mkdir models; echo m > models/m; echo done"),
    )
    .await;
    let (texts, results) = call.results().await;
    assert!(
        texts.contains(&"TRAIN_JOB_START::a".to_owned()),
        "{texts:?}"
    );
    assert!(
        texts.contains(&"TRAINING_JOBS_DONE".to_owned()),
        "{texts:?}"
    );
    assert!(
        texts
            .iter()
            .any(|text| text == &format!("FILE_META::trained_a.zip:{}:models", results.len())),
        "{texts:?}"
    );
    call.until("JOB_COMPLETE").await;
}

/// CONN-11: the worker sends a binary KEEP_ALIVE every 15 s while the channel is open.
#[actix_rt::test]
async fn keep_alives_come_every_fifteen_seconds() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let opened = tokio::time::Instant::now();
    for beat in 1..=2 {
        let message = timeout(PATIENCE, call.channel.recv())
            .await
            .unwrap()
            .unwrap();
        let after = opened.elapsed().as_secs_f64();
        assert!(
            matches!(&message, Incoming::Binary(bytes) if bytes.as_ref() == b"KEEP_ALIVE"),
            "{message:?}"
        );
        assert!(
            (after - 15.0 * f64::from(beat)).abs() < 2.0,
            "beat {beat} came after {after} s"
        );
    }
}

/// CONN-12: a keep-alive that comes in the middle of a file is logged, and is no part of the file.
#[actix_rt::test]
async fn a_keep_alive_is_not_data() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let archive = lab.archive("a", "echo intact");
    call.text(&format!("FILE_META::a.zip:{}:False", archive.len()))
        .await;
    let (head, tail) = archive.split_at(archive.len() / 2);
    call.bytes(head).await;
    call.bytes(b"KEEP_ALIVE").await;
    call.bytes(tail).await;
    call.text("END_OF_FILE").await;
    call.until("intact").await;
    lab.worker.logged("keep-alive received").await;
}
