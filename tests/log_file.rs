//! The log of hub and worker in a file that is turned by its size.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::Process;

/// A hub that logs everything into this file.
fn hub(log: &Path, flags: &[&str]) -> Process {
    let log = log.to_str().unwrap();
    let mut args = vec![
        "hub", "--json", "--listen", "127.0.0.1:0", "--store", "memory",
    ];
    args.extend(["--log-file", log]);
    args.extend(flags);
    Process::start(&args, &[("LOANER_LOG", "trace")])
}

/// A hub and a worker with much to say keep the latest of it, each line whole, in as much room as they may; standard error
/// has nothing of it.
#[actix_rt::test]
async fn the_log_of_a_server_takes_as_much_room_as_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let (hub_log, worker_log) = (dir.path().join("hub.log"), dir.path().join("worker.log"));
    let flags = ["--log-max", "5 kB", "--log-keep", "2"];
    let mut hub = hub(&hub_log, &flags);
    let url = hub.event("listening").await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut all = vec!["--log-file", worker_log.to_str().unwrap()];
    all.extend(flags);
    let env = [("LOANER_LOG", "trace")];
    let mut worker = support::worker(&url, &dir.path().join("work"), &all, &env);
    worker.event("registered").await;
    for process in [&mut worker, &mut hub] {
        process.signal(Signal::SIGTERM);
        assert_eq!(process.exit().await, 0);
        assert_eq!(process.log(), "");
    }
    for (log, last) in [
        (&hub_log, "hub stopped"),
        (&worker_log, "Client shutdown complete"),
    ] {
        let name = |number: &str| format!("{}{number}", log.display());
        let mut lines = Vec::new();
        for number in [".2", ".1", ""] {
            let text = fs::read_to_string(name(number)).unwrap();
            let longest = text.lines().map(str::len).max().unwrap_or(0) + 1;
            assert!(text.len() <= longest.max(5000), "{number}: {}", text.len());
            lines.extend(
                text.lines()
                    .map(|line| serde_json::from_str::<Value>(line).unwrap()),
            );
        }
        assert!(!fs::exists(name(".3")).unwrap());
        let times: Vec<_> = lines
            .iter()
            .map(|line| line["timestamp"].as_str().unwrap())
            .collect();
        assert!(times.is_sorted_by_key(|time| &time[..19]), "{times:?}");
        assert!(
            lines.iter().any(|line| line.to_string().contains(last)),
            "{lines:?}"
        );
    }
}

/// A disk that takes nothing does not keep a hub from serving; that is said once.
#[actix_rt::test]
async fn a_full_disk_is_told_once_and_stops_nobody() {
    let mut hub = hub(Path::new("/dev/full"), &[]);
    let url = hub.event("listening").await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let health = awc::Client::new().get(format!("{url}/health")).send().await;
    assert_eq!(health.unwrap().status(), 200);
    hub.signal(Signal::SIGTERM);
    assert_eq!(hub.exit().await, 0);
    let log = hub.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.contains("the log /dev/full cannot be written: No space left"),
        "{log}"
    );
}

/// A file that cannot be the log is told before anything is done.
#[actix_rt::test]
async fn a_log_that_cannot_be_written_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("hub.log");
    let mut first = hub(&taken, &[]);
    first.event("listening").await;
    for (log, why) in [
        (taken.as_path(), "another process writes its log there"),
        (&dir.path().join("none/hub.log"), "No such file"),
        (dir.path(), "directory"),
    ] {
        let mut refused = hub(log, &[]);
        assert_eq!(refused.exit().await, 7);
        let error = refused.error();
        assert!(
            error.contains(why) && error.contains(log.to_str().unwrap()),
            "{error}"
        );
    }
    let mut small = hub(&taken, &["--log-max", "10 B"]);
    assert_eq!(small.exit().await, 2);
    assert!(small.error().contains("at least 1 kB"), "{}", small.error());
}
