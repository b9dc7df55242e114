//! Disks that are full, and results where something is already.

use std::path::PathBuf;

use serde_json::Value;

use crate::files::{Tiny, files, heavy};
use crate::support::{self, Lab, PATIENCE};

#[actix_rt::test]
async fn a_full_disk_at_the_worker_is_told_to_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let Some(tiny) = Tiny::mount(dir.path(), "8m") else {
        return;
    };
    let lab = Lab::working_in(&tiny.0).await;
    // More than there is, as announced: refused before the first byte.
    let mut client = lab.run(&heavy(lab.dir.path(), "heavy", 20, "true"), &[]);
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    assert!(client.error().contains("free"), "{}", client.error());
    lab.until_status("available", PATIENCE).await;
    // It fits as an archive, and not beside it when unpacked.
    let mut client = lab.run(&heavy(lab.dir.path(), "medium", 5, "true"), &[]);
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    lab.until_status("available", PATIENCE).await;
    // The job itself fills the disk.
    let script = "mkdir models; dd if=/dev/zero of=models/m bs=1M count=50";
    let mut client = lab.run(&lab.package("greedy", script), &[]);
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    lab.until_status("available", PATIENCE).await;
    // And after all that there is room again.
    let mut client = lab.run(
        &lab.package("modest", "mkdir models; echo m > models/m"),
        &[],
    );
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
}

/// A job that fills the disk that its log is on has the last word all the same: the log keeps room ahead for that.
#[actix_rt::test]
async fn what_a_job_says_on_a_full_disk_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let Some(tiny) = Tiny::mount(dir.path(), "8m") else {
        return;
    };
    let state = tiny.0.join("state");
    let lab = Lab::with(&["--allow-commands", "--state-dir", state.to_str().unwrap()]).await;
    let filler = tiny.0.join("filler");
    let script = format!(
        "echo begun; dd if=/dev/zero of={0} bs=64k 2>/dev/null; cat /dev/zero >> {0} 2>/dev/null; seq 1 9999; exit 4",
        filler.display()
    );
    let mut client = lab.run(&lab.package("greedy", &script), &[]);
    client
        .event_where("output", PATIENCE, |event| event["text"] == "9999\n")
        .await;
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    lab.until_status("available", PATIENCE).await;
}

#[actix_rt::test]
async fn a_full_disk_at_the_client_leaves_nothing_half_written() {
    let lab = Lab::new().await;
    let dir = tempfile::tempdir().unwrap();
    let Some(tiny) = Tiny::mount(dir.path(), "1m") else {
        return;
    };
    let script = "mkdir models; head -c 5000000 /dev/urandom > models/m";
    let mut client = lab.run(
        &lab.package("big", script),
        &["-o", tiny.0.to_str().unwrap()],
    );
    assert_eq!(client.exit().await, 7, "{}", client.stdout());
    assert!(
        client.error().contains("free") || client.error().contains("full"),
        "{}",
        client.error()
    );
    assert_eq!(files(&tiny.0), Vec::<PathBuf>::new());
    lab.until_free().await;
}

/// Results never replace what is there, and never leave the output directory.
#[actix_rt::test]
async fn results_replace_nothing() {
    let lab = Lab::new().await;
    std::fs::create_dir(lab.out()).unwrap();
    std::fs::write(lab.out().join("trained_a.zip"), "precious").unwrap();
    let package = lab.package("a", "mkdir models; echo m > models/m");
    let mut client = lab.run(&package, &[]);
    let done = client.event("done").await;
    assert!(
        done["results"]
            .as_str()
            .unwrap()
            .ends_with("trained_a-2.zip"),
        "{done}"
    );
    assert_eq!(client.exit().await, 0);
    assert_eq!(
        std::fs::read_to_string(lab.out().join("trained_a.zip")).unwrap(),
        "precious"
    );
    assert_eq!(
        support::entries(&lab.out().join("trained_a-2.zip")),
        [("m".to_owned(), "m\n".to_owned())]
    );
}

/// A job that writes nothing is complete, and says so.
#[actix_rt::test]
async fn a_job_without_results_is_complete() {
    let lab = Lab::new().await;
    let mut client = lab.run(&lab.package("a", "echo hello"), &[]);
    let done = client.event("done").await;
    assert_eq!(done["results"], Value::Null);
    assert_eq!(client.exit().await, 0);
}
