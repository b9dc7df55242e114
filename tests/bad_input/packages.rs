//! Packages that are none, that cannot be run, or that do not arrive.

use crate::files::files;
use crate::support::{self, Lab, PATIENCE};

#[actix_rt::test]
async fn a_package_that_is_none_is_noticed_before_anybody_is_bothered() {
    let lab = Lab::new().await;
    let text = lab.dir.path().join("notes.zip");
    std::fs::write(&text, "this is no archive").unwrap();
    let empty = lab.dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    for (path, expected) in [
        (text, "give a directory or a .zip file"),
        (empty, "neither"),
        (lab.dir.path().join("missing"), "No such file"),
    ] {
        let mut client = lab.run(&path, &[]);
        assert_eq!(client.exit().await, 7, "{}", client.stdout());
        assert!(client.error().contains(expected), "{}", client.error());
        assert!(
            !client.stdout().contains("registered"),
            "{}",
            client.stdout()
        );
    }
}

#[actix_rt::test]
async fn an_archive_that_is_none_fails_the_job_and_not_the_worker() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.upload("notes.zip", b"this is no archive").await;
    let failed = call.until("JOB_FAILED").await.pop().unwrap();
    assert!(failed.contains("not a package"), "{failed}");
    lab.until_free().await;
}

#[actix_rt::test]
async fn what_cannot_be_run_is_explained() {
    // No `sleap-nn` on this worker's PATH but the system's directories.
    let lab = Lab::with(&[]).await;
    let script = |name: &str, text: &str| {
        let dir = lab.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("train-script.sh"), text).unwrap();
        dir
    };
    for (path, expected) in [
        (
            script("silent", "#!/bin/sh\necho hello\n"),
            "no `sleap-nn train",
        ),
        (
            script("failing", "sleap-nn train --config-name bad.yaml\n"),
            "exit code 3",
        ),
        (lab.package("wild", "true"), "--allow-commands"),
    ] {
        let mut client = lab.run(&path, &[]);
        assert_eq!(client.exit().await, 6, "{}", client.stdout());
        assert!(client.error().contains(expected), "{}", client.error());
        lab.until_free().await;
    }
}

#[actix_rt::test]
async fn a_trainer_that_is_not_installed_is_named() {
    let (_hub, url) = support::hub().await;
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    let mut worker = support::worker(&url, &work, &[], &[("PATH", "/usr/bin:/bin")]);
    let session = worker.event("registered").await["session"]
        .as_str()
        .unwrap()
        .to_owned();
    let package = dir.path().join("labels");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(
        package.join("train-script.sh"),
        "sleap-nn train --config-name a.yaml\n",
    )
    .unwrap();
    let out = dir.path().to_str().unwrap();
    let mut client = support::run(&url, &package, &["--session", &session, "-o", out], &[]);
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    assert!(
        client
            .error()
            .contains("sleap-nn is not installed on this worker"),
        "{}",
        client.error()
    );
    worker
        .event_where("status", PATIENCE, |event| event["status"] == "available")
        .await;
}

/// A manifest whose mistake is in the second line is answered with that line.
#[actix_rt::test]
async fn a_wrong_manifest_is_answered_with_its_line() {
    let lab = Lab::new().await;
    let dir = lab.dir.path().join("typo");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("loaner.toml"), "[job]\ncomand = \"true\"\n").unwrap();
    let mut client = lab.run(&dir, &[]);
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    assert!(
        client.error().contains("line 2") || client.error().contains(":2:"),
        "{}",
        client.error()
    );
    lab.until_free().await;
}

#[actix_rt::test]
async fn names_that_lead_elsewhere_are_refused() {
    let lab = Lab::new().await;
    let before = files(lab.dir.path());
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    for name in [
        "../evil.zip", "/tmp/evil.zip", "a:b.zip", "..", "con\u{0}.zip", "a/b.zip", "a\\b.zip",
    ] {
        call.text(&format!("FILE_META::{name}:4:False")).await;
        call.bytes(b"evil").await;
        call.text("END_OF_FILE").await;
        let refused = call.until("JOB_FAILED").await.pop().unwrap();
        assert!(refused.starts_with("JOB_FAILED::none::"), "{refused}");
    }
    assert_eq!(files(lab.dir.path()), before);
    // The worker is still there for a package with a name.
    call.upload("a.zip", &lab.archive("a", "echo hello")).await;
    call.until("JOB_COMPLETE").await;
}

#[actix_rt::test]
async fn a_file_that_is_longer_than_announced_is_refused_at_once() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.text("FILE_META::a.zip:10:False").await;
    call.bytes(b"eleven byte").await;
    let failed = call.until("JOB_FAILED").await.pop().unwrap();
    assert!(failed.contains("did not arrive"), "{failed}");
    lab.until_free().await;
}

#[actix_rt::test]
async fn a_file_that_is_cut_short_is_refused() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.text("FILE_META::a.zip:10:False").await;
    call.bytes(b"nine byte").await;
    call.text("END_OF_FILE").await;
    let failed = call.until("JOB_FAILED").await.pop().unwrap();
    assert!(failed.contains('9') && failed.contains("10"), "{failed}");
    lab.until_free().await;
}

/// The connection breaks in the middle of the package: the part is gone, and the worker free at once.
#[actix_rt::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.text("FILE_META::a.zip:1000000:False").await;
    call.bytes(&[7; 65536]).await;
    lab.worker.logged("\"to\":\"receiving\"").await;
    call.hang_up().await;
    lab.worker.logged("\"to\":\"failed\"").await;
    lab.until_free().await;
}
