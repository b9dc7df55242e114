//! A step ends with everything that it started, however it ends.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::killpg;
use tokio::time::timeout;

use crate::lab::{LONG, code, first_pid, runs, spawn, wait_until};

#[tokio::test]
async fn terminate_reaches_grandchildren() {
    let mut step = spawn("sh -c 'echo $$; exec sleep 1000' & wait");
    let (grandchild, _lines) = first_pid(&mut step).await;
    assert!(runs(grandchild));
    step.terminate();
    assert_eq!(code(&step).await, -15);
    assert!(!runs(grandchild));
}

#[tokio::test]
async fn stop_kills_after_the_grace_what_ignores_sigterm() {
    let mut step = spawn("trap '' TERM; echo $$; while :; do sleep 0.1; done");
    let (pid, _lines) = first_pid(&mut step).await;
    let start = Instant::now();
    timeout(LONG, step.stop(Duration::from_millis(300)))
        .await
        .unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "it was given less than the grace"
    );
    assert!(!runs(pid));
    assert_eq!(
        killpg(pid, None),
        Err(Errno::ESRCH),
        "the group is gone, its dead are collected"
    );
    assert_eq!(code(&step).await, -9);
}

#[tokio::test]
async fn stop_does_not_wait_for_the_grace_when_it_need_not() {
    let mut step = spawn("trap 'exit 5' TERM; echo $$; while :; do sleep 0.05; done");
    let (_, _lines) = first_pid(&mut step).await;
    timeout(LONG, step.stop(Duration::from_secs(1000)))
        .await
        .unwrap();
    assert_eq!(code(&step).await, 5);
}

/// A background process that outlives its command is ended, and only then is the step over.
#[tokio::test]
async fn what_a_command_leaves_behind_is_swept() {
    for left in ["sleep 1000", "trap \"\" TERM; while :; do sleep 0.1; done"] {
        let mut step = spawn(&format!("sh -c 'echo $$; {left}' & sleep 0.2; exit 4"));
        let (pid, _lines) = first_pid(&mut step).await;
        assert_eq!(code(&step).await, 4);
        assert!(!runs(pid), "{left}");
    }
}

/// A session of its own is no way out either.
#[tokio::test]
async fn a_runaway_is_caught() {
    let mut step =
        spawn("setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & wait");
    let (runaway, _lines) = first_pid(&mut step).await;
    timeout(LONG, step.stop(Duration::from_millis(200)))
        .await
        .unwrap();
    assert!(!runs(runaway));
}

#[tokio::test]
async fn a_dropped_step_is_stopped() {
    let mut step = spawn("echo $$; exec sleep 1000");
    let (pid, _lines) = first_pid(&mut step).await;
    drop(step);
    let gone =
        tokio::task::spawn_blocking(move || wait_until("the end of a dropped step", || !runs(pid)));
    gone.await.unwrap();
}
