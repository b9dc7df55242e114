//! The keeper: it outlives what it should, and its death and the worker's leave nothing behind.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;

use crate::lab::{LOANER, again, code, first_pid, parent, runs, spawn, wait_until};

/// Without its keeper (killed for want of memory, say), the worker itself ends the group.
#[tokio::test]
async fn a_killed_keeper_leaves_nothing_behind() {
    let mut step = spawn("trap '' TERM; echo $$; while :; do sleep 0.1; done");
    let (pid, _lines) = first_pid(&mut step).await;
    kill(parent(pid), Signal::SIGKILL).unwrap();
    assert_eq!(code(&step).await, -9);
    assert!(!runs(pid));
}

/// A service manager may send SIGTERM to all processes at once; the keeper lives on and does its work.
#[tokio::test]
async fn a_keeper_does_not_mind_signals() {
    let mut step = spawn("echo $$; exec sleep 1000");
    let (pid, _lines) = first_pid(&mut step).await;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(parent(pid), signal).unwrap();
    }
    assert!(
        timeout(Duration::from_millis(200), step.wait())
            .await
            .is_err()
    );
    assert!(runs(pid));
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(code(&step).await, -2);
}

/// By hand, without a worker: the exit codes are those of a shell.
#[test]
fn a_keeper_by_hand() {
    for (script, expected) in [("exit 3", 3), ("kill -9 $$", 137)] {
        let mut keeper = Command::new(LOANER)
            .args(["keep", "--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let _lifeline = keeper.stdin.take();
        assert_eq!(keeper.wait().unwrap().code(), Some(expected), "{script}");
    }
    let ended = Command::new(LOANER)
        .args(["keep", "sleep", "1000"])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(ended.code(), Some(143), "nobody holds the lifeline");
    let output = Command::new(LOANER)
        .arg("keep")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no command given"));
}

/// SIGKILL of the worker: of this very program, called again to play that part. (Its `LOANER_*` variables are not the
/// job's, which else would not tell its number.)
#[test]
fn the_death_of_the_worker_ends_the_job() {
    const INSIDE: &str = "LOANER_TEST_WORKER";
    if let Ok(script) = std::env::var(INSIDE) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut step = spawn(&script);
            let (pid, _lines) = first_pid(&mut step).await;
            println!("\nthe job is {pid}");
            step.wait().await;
        });
        panic!("the job ended before its worker");
    }
    let stubborn = "trap '' TERM; echo $$; while :; do sleep 0.1; done";
    for (script, least) in [
        (
            "[ -z \"$LOANER_TEST_WORKER\" ] && echo $$; exec sleep 1000",
            0,
        ),
        (stubborn, 9),
    ] {
        let mut worker = again("keeper::the_death_of_the_worker_ends_the_job", &[])
            .env(INSIDE, script)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
        let pid = lines
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("the job is ")?.parse().ok());
        let pid = Pid::from_raw(pid.unwrap());
        let keeper = parent(pid);
        assert!(runs(pid) && runs(keeper));
        let start = Instant::now();
        worker.kill().unwrap();
        assert_eq!(worker.wait().unwrap().signal(), Some(9));
        wait_until("the end of the job", || !runs(pid));
        assert!(
            start.elapsed() >= Duration::from_secs(least),
            "it had its grace"
        );
        wait_until("the end of the keeper", || !runs(keeper));
    }
}
