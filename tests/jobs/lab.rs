//! Steps to run, and looks at what became of their processes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loaner::worker::jobs::plan::Step;
use loaner::worker::jobs::process::{LineReader, RunningStep};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::time::timeout;

pub const LOANER: &str = env!("CARGO_BIN_EXE_loaner");

/// Far longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(30);

pub fn sh(script: &str) -> Step {
    Step {
        name: "test".into(),
        argv: vec!["sh".into(), "-c".into(), script.into()],
        env: Vec::new(),
        trainer: false,
    }
}

pub fn spawn(script: &str) -> RunningStep {
    RunningStep::spawn(&sh(script), Path::new("/"), Path::new(LOANER)).unwrap()
}

pub async fn output(step: &mut RunningStep) -> Vec<String> {
    let mut reader = step.lines();
    let mut lines = Vec::new();
    while let Some(line) = timeout(LONG, reader.next()).await.unwrap() {
        lines.push(line.text);
    }
    lines
}

pub async fn code(step: &RunningStep) -> i32 {
    timeout(LONG, step.wait()).await.unwrap().code
}

/// The number that the step prints first, a process id, and the rest of its output, to be held until the end.
pub async fn first_pid(step: &mut RunningStep) -> (Pid, LineReader) {
    let mut lines = step.lines();
    let line = timeout(LONG, lines.next()).await.unwrap().unwrap();
    (Pid::from_raw(line.text.parse().unwrap()), lines)
}

/// A process that has ended but was not collected yet by the system's first process does not run any more.
pub fn runs(pid: Pid) -> bool {
    kill(pid, None).is_ok()
        && fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            !stat
                .rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('Z'))
        })
}

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn parent(pid: Pid) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    Pid::from_raw(
        stat.rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap(),
    )
}

/// This test program, to run the one test `name`; called by way of `wrapper` if there is one.
pub fn again(name: &str, wrapper: &[&str]) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut words: Vec<&std::ffi::OsStr> = wrapper.iter().map(|word| word.as_ref()).collect();
    words.push(exe.as_os_str());
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--exact", name, "--nocapture"])
        .stdin(Stdio::null());
    command
}
