//! What people, peers, disks and networks do wrong: each is told to the side that can act on it, leaves the worker
//! available or the process ended with its code, and nothing half-written under its final name.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::{Lab, PATIENCE, Process, alive, hub_at, package, pid_in, until, zip};

/// The error that a command ended with.
fn error(process: &Process) -> String {
    let events = process.events();
    let error = events.iter().rev().find(|event| event["event"] == "error");
    error.unwrap_or_else(|| panic!("no error: {}", process.stdout()))["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

/// A package archive with a ballast of so many MB in it, stored, not compressed.
fn heavy(dir: &Path, name: &str, megabytes: usize, script: &str) -> PathBuf {
    let path = dir.join(format!("{name}.zip"));
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let manifest =
        format!("[job]\nname = \"{name}\"\ncommand = [\"sh\", \"go.sh\"]\noutputs = \"models\"\n");
    for (file, content) in [
        ("loaner.toml", manifest.as_bytes()),
        ("go.sh", script.as_bytes()),
    ] {
        archive
            .start_file(format!("{name}/{file}"), stored)
            .unwrap();
        archive.write_all(content).unwrap();
    }
    archive
        .start_file(format!("{name}/ballast"), stored)
        .unwrap();
    let megabyte: Vec<u8> = (0..1_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for _ in 0..megabytes {
        archive.write_all(&megabyte).unwrap();
    }
    archive.finish().unwrap();
    path
}

async fn assert_free(lab: &Lab) {
    lab.until_status("available", PATIENCE).await;
    assert_eq!(lab.scratch(), Vec::<PathBuf>::new());
}

#[actix_rt::test]
async fn a_wrong_session_string_is_told_apart_from_a_worker_that_is_gone() {
    let mut lab = Lab::new().await;
    let package = lab.package("a", "true");
    let run = |session: &str| {
        let args = [
            "run",
            package.to_str().unwrap(),
            "--json",
            "--hub",
            &lab.url,
            "--session",
            session,
        ];
        Process::start(&args, &[])
    };
    let mut nonsense = run("sleap-session:!!!");
    assert_eq!(nonsense.exit().await, 2);
    let mut elsewhere = run(&loaner::wire::SessionString {
        room_id: "nowhere1".into(),
        token: "x".into(),
        peer_id: "y".into(),
    }
    .to_string());
    assert_eq!(elsewhere.exit().await, 3);
    assert!(
        error(&elsewhere).contains("Room not found"),
        "{}",
        error(&elsewhere)
    );
    lab.worker.signal(Signal::SIGINT);
    lab.worker.exit().await;
    let mut gone = run(&lab.session);
    let code = gone.exit().await;
    assert!(code == 3 || code == 4, "{code}: {}", error(&gone));
}

#[actix_rt::test]
async fn an_unreachable_hub_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path(), "a", "true");
    let work = dir.path().join("work");
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let hub = format!("http://127.0.0.1:{port}");
    for args in [
        vec![
            "worker",
            "--json",
            "--hub",
            &hub,
            "--work-dir",
            work.to_str().unwrap(),
        ],
        vec![
            "run",
            package.to_str().unwrap(),
            "--json",
            "--hub",
            &hub,
            "--room",
            "r",
            "--token",
            "t",
        ],
        vec![
            "workers", "--json", "--hub", &hub, "--room", "r", "--token", "t",
        ],
    ] {
        let mut process = Process::start(&args, &[]);
        assert_eq!(process.exit().await, 3, "{args:?}");
        assert!(error(&process).contains(&hub), "{}", error(&process));
        assert!(
            error(&process).contains("is it running"),
            "{}",
            error(&process)
        );
    }
}

#[actix_rt::test]
async fn a_wrong_room_token_is_refused() {
    let lab = Lab::new().await;
    let package = lab.package("a", "true");
    let args = [
        "run",
        package.to_str().unwrap(),
        "--json",
        "--hub",
        &lab.url,
        "--room",
        &lab.room,
        "--token",
        "wrong",
    ];
    let mut client = Process::start(&args, &[]);
    assert_eq!(client.exit().await, 3);
    assert!(
        error(&client).contains("Invalid token"),
        "{}",
        error(&client)
    );
    assert!(error(&client).contains("token"), "{}", error(&client));
}

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
        assert!(error(&client).contains(expected), "{}", error(&client));
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
    assert_free(&lab).await;
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
        assert!(error(&client).contains(expected), "{}", error(&client));
        assert_free(&lab).await;
    }
}

#[actix_rt::test]
async fn a_trainer_that_is_not_installed_is_named() {
    let (_hub, url) = support::hub().await;
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    let args = [
        "worker",
        "--json",
        "--hub",
        &url,
        "--work-dir",
        work.to_str().unwrap(),
    ];
    let mut worker = Process::start(&args, &[("PATH", "/usr/bin:/bin")]);
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
    let args = [
        "run",
        package.to_str().unwrap(),
        "--json",
        "--hub",
        &url,
        "--session",
        &session,
        "-o",
        dir.path().to_str().unwrap(),
    ];
    let mut client = Process::start(&args, &[]);
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    assert!(
        error(&client).contains("sleap-nn is not installed on this worker"),
        "{}",
        error(&client)
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
        error(&client).contains("line 2") || error(&client).contains(":2:"),
        "{}",
        error(&client)
    );
    assert_free(&lab).await;
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
    call.upload("a.zip", &zip(&lab.package("a", "echo hello")))
        .await;
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
    assert_free(&lab).await;
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
    assert_free(&lab).await;
}

/// A small file system of its own; `None`, said aloud, where there are no rights to mount one.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(dir: &Path, size: &str) -> Option<Tiny> {
        let path = dir.join("tiny");
        std::fs::create_dir(&path).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!(
                "SKIPPED: mounting a small file system needs rights that this user does not have"
            );
        }
        mounted.then_some(Tiny(path))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[actix_rt::test]
async fn a_full_disk_at_the_worker_is_told_to_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let Some(tiny) = Tiny::mount(dir.path(), "8m") else {
        return;
    };
    let lab = Lab::with(&["--allow-commands", "--work-dir", tiny.0.to_str().unwrap()]).await;
    // More than there is, as announced: refused before the first byte.
    let mut client = lab.run(&heavy(lab.dir.path(), "heavy", 20, "true"), &[]);
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    assert!(error(&client).contains("free"), "{}", error(&client));
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
        error(&client).contains("free") || error(&client).contains("full"),
        "{}",
        error(&client)
    );
    assert_eq!(files(&tiny.0), Vec::<PathBuf>::new());
    assert_free(&lab).await;
}

#[actix_rt::test]
async fn of_two_clients_at_once_one_is_told_that_the_worker_is_busy() {
    let lab = Lab::new().await;
    let slow = lab.package("slow", "echo begun; while [ ! -f ../../../../../go ]; do sleep 0.1; done; mkdir models; echo m > models/m");
    let mut first = lab.run(&slow, &[]);
    first.event("output").await;
    let mut second = lab.run(&lab.package("quick", "true"), &[]);
    assert_eq!(second.exit().await, 4, "{}", second.stdout());
    assert!(error(&second).contains("busy"), "{}", error(&second));
    let args = [
        "run",
        slow.to_str().unwrap(),
        "--json",
        "--hub",
        &lab.url,
        "--room",
        &lab.room,
        "--token",
        &lab.token,
        "--auto-select",
    ];
    let mut third = Process::start(&args, &[]);
    assert_eq!(third.exit().await, 4, "{}", third.stdout());
    assert!(
        error(&third).contains("busy or reserved"),
        "{}",
        error(&third)
    );
    std::fs::write(lab.dir.path().join("go"), "").unwrap();
    assert_eq!(first.exit().await, 0, "{}", first.stdout());
}

#[actix_rt::test]
async fn no_fitting_worker_is_told_with_the_figure() {
    let lab = Lab::with(&["--gpu-memory-mb", "8000"]).await;
    let package = lab.package("a", "true");
    let args = [
        "run",
        package.to_str().unwrap(),
        "--json",
        "--hub",
        &lab.url,
        "--room",
        &lab.room,
        "--token",
        &lab.token,
        "--auto-select",
        "--min-gpu-memory",
        "24000",
    ];
    let mut client = Process::start(&args, &[]);
    assert_eq!(client.exit().await, 4);
    assert!(error(&client).contains("24000"), "{}", error(&client));
    let mut client = lab.run(&package, &["--min-gpu-memory", "24000"]);
    assert_eq!(client.exit().await, 4);
    assert!(
        error(&client).contains("needs 24000 MB of GPU memory, has 8000 MB"),
        "{}",
        error(&client)
    );
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
    assert_free(&lab).await;
}

/// The client's process is killed in the middle of the package. The worker waits for the path to come back, for 90 s.
#[actix_rt::test]
async fn a_client_killed_in_its_upload_frees_the_worker_in_time() {
    let lab = Lab::new().await;
    let archive = heavy(lab.dir.path(), "heavy", 1500, "true");
    let mut client = lab.run(&archive, &[]);
    client.event("uploading").await;
    lab.worker.logged("\"to\":\"receiving\"").await;
    client.signal(Signal::SIGKILL);
    client.exit().await;
    lab.until_status("available", Duration::from_secs(120))
        .await;
    assert_eq!(lab.scratch(), Vec::<PathBuf>::new());
}

/// Ctrl+C in the middle of the package: the worker is told, and acknowledges.
#[actix_rt::test]
async fn an_interrupted_upload_is_cancelled_at_the_worker() {
    let lab = Lab::new().await;
    let mut client = lab.run(&heavy(lab.dir.path(), "heavy", 1000, "true"), &[]);
    client.event("uploading").await;
    client.signal(Signal::SIGINT);
    assert_eq!(client.exit().await, 130, "{}", client.stdout());
    assert_free(&lab).await;
}

/// Ctrl+C while the job runs: cancelled, acknowledged, exit code 130, nothing left on either side.
#[actix_rt::test]
async fn an_interrupted_run_cancels_its_job() {
    let lab = Lab::new().await;
    let mut client = lab.run(&lab.package("slow", "echo pid $$; sleep 600"), &[]);
    let output = client.event("output").await;
    let pid = pid_in(output["text"].as_str().unwrap());
    client.signal(Signal::SIGINT);
    client.event("cancelling").await;
    assert_eq!(client.exit().await, 130, "{}", client.stdout());
    assert!(!alive(pid));
    assert_free(&lab).await;
    assert_eq!(files(&lab.out()), Vec::<PathBuf>::new());
}

/// Ctrl+C twice: the client leaves at once; the worker notices, and stops the job all the same.
#[actix_rt::test]
async fn a_client_that_is_interrupted_twice_leaves_at_once() {
    let lab = Lab::new().await;
    let mut client = lab.run(
        &lab.package(
            "deaf",
            "trap '' TERM; echo begun; while :; do sleep 1; done",
        ),
        &[],
    );
    client.event("output").await;
    client.signal(Signal::SIGINT);
    client.event("cancelling").await;
    let asked = tokio::time::Instant::now();
    client.signal(Signal::SIGINT);
    assert_eq!(client.exit().await, 130);
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "{:?}",
        asked.elapsed()
    );
    assert_free(&lab).await;
}

/// The hub is killed and started again while a job runs: the job does not notice; the worker comes back by itself.
#[actix_rt::test]
async fn a_hub_that_is_killed_and_restarted_costs_no_job() {
    let mut lab = Lab::new().await;
    let slow = lab.package("slow", "echo begun; while [ ! -f ../../../../../go ]; do sleep 0.1; done; mkdir models; echo m > models/m");
    let mut client = lab.run(&slow, &[]);
    client.event("output").await;
    lab.hub.signal(Signal::SIGKILL);
    lab.hub.exit().await;
    lab.worker.event("hub_lost").await;
    client.event("hub_lost").await;
    let address = lab.url.strip_prefix("http://").unwrap().to_owned();
    let (_hub, url) = hub_at(&address).await;
    assert_eq!(url, lab.url);
    // The restarted hub knows no rooms: the worker makes another, and shows the new string.
    let again = lab
        .worker
        .event_where("registered", Duration::from_secs(60), |_| true)
        .await;
    assert_eq!(again["worker"], lab.worker_id.as_str());
    std::fs::write(lab.dir.path().join("go"), "").unwrap();
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    lab.room = again["room"].as_str().unwrap().to_owned();
    lab.token = again["token"].as_str().unwrap().to_owned();
    lab.until_status("available", PATIENCE).await;
}

/// The worker is killed while a job runs: no process and, after the next start, no directory is left of it; the client
/// gives up with its own code when the path does not come back.
#[actix_rt::test]
async fn a_killed_worker_leaves_no_orphans() {
    let mut lab = Lab::new().await;
    let mut client = lab.run(&lab.package("slow", "echo pid $$; sleep 600 & wait"), &[]);
    let output = client.event("output").await;
    let pid = pid_in(output["text"].as_str().unwrap());
    lab.worker.signal(Signal::SIGKILL);
    lab.worker.exit().await;
    until("the trainer is gone", PATIENCE, || !alive(pid)).await;
    assert!(!lab.scratch().is_empty());
    let work = lab.dir.path().join("work");
    let args = [
        "worker",
        "--json",
        "--hub",
        &lab.url,
        "--work-dir",
        work.to_str().unwrap(),
    ];
    let mut next = Process::start(&args, &[]);
    next.event("registered").await;
    assert_eq!(lab.scratch(), Vec::<PathBuf>::new());
    assert_eq!(
        client.exit_within(Duration::from_secs(130)).await,
        5,
        "{}",
        client.stdout()
    );
    assert!(error(&client).contains("lost"), "{}", error(&client));
    assert_eq!(files(&lab.out()), Vec::<PathBuf>::new());
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

/// The hub refuses a second peer under a name that is taken; a worker in a room that it was told of keeps that room.
#[actix_rt::test]
async fn a_worker_in_a_room_that_it_was_told_of_ends_when_that_is_wrong() {
    let (_hub, url) = support::hub().await;
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "worker",
        "--json",
        "--hub",
        &url,
        "--work-dir",
        dir.path().to_str().unwrap(),
        "--room",
        "4fad4e39",
        "--token",
        "d3cc46",
    ];
    let mut worker = Process::start(&args, &[]);
    assert_eq!(worker.exit().await, 3);
    assert!(
        error(&worker).contains("Room not found"),
        "{}",
        error(&worker)
    );
    assert_eq!(
        json!(worker.log_count("Client shutdown complete")),
        json!(0)
    );
}

/// A client that is killed leaves the archive that it had packed; the next one takes it away, and its own too.
#[actix_rt::test]
async fn what_a_killed_client_packed_goes_with_the_next() {
    let lab = Lab::new().await;
    let cache = lab.dir.path().join("cache");
    let package = lab.package("slow", "echo begun; sleep 600");
    let run = || {
        let args = [
            "run",
            package.to_str().unwrap(),
            "--json",
            "--hub",
            &lab.url,
            "--session",
            &lab.session,
        ];
        Process::start(&args, &[("XDG_CACHE_HOME", cache.to_str().unwrap())])
    };
    let archives = || {
        files(&cache)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ext| ext == "zip"))
            .count()
    };
    let mut killed = run();
    killed.event("output").await;
    assert_eq!(archives(), 1);
    killed.signal(Signal::SIGKILL);
    killed.exit().await;
    assert_eq!(archives(), 1);
    // The worker still waits for the path to come back; the package is packed all the same.
    let mut next = run();
    assert_eq!(next.exit().await, 4, "{}", next.stdout());
    assert_eq!(archives(), 0);
}
