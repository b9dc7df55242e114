//! `loaner status`: what the processes of a user say of themselves, with a hub, a worker and clients as processes.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "support/program.rs"]
mod program;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use program::{LOANER, PATIENCE, Process, until, without_settings};
use serde_json::Value;

/// A user's processes: all have the same directories.
struct User {
    dir: tempfile::TempDir,
    hub: Process,
    worker: Process,
    url: String,
    session: String,
}

impl User {
    fn new() -> User {
        let dir = tempfile::tempdir().unwrap();
        let policy =
            "[[tunnel]]\nto = [\"localhost:9\"]\n[[allow]]\ncommand = [\"sleep\", \"600\"]\n";
        std::fs::write(dir.path().join("policy.toml"), policy).unwrap();
        let hub = ["hub", "--listen", "127.0.0.1:0", "--store", "memory"];
        let mut hub = start(dir.path(), &hub);
        let url = text(&hub.event("listening")["url"]);
        let work = text(&dir.path().join("work").to_str().unwrap().into());
        let policy = text(&dir.path().join("policy.toml").to_str().unwrap().into());
        let mut worker = start(
            dir.path(),
            &[
                "worker", "--hub", &url, "--work-dir", &work, "--policy", &policy,
            ],
        );
        let session = text(&worker.event("registered")["session"]);
        User {
            dir,
            hub,
            worker,
            url,
            session,
        }
    }

    /// A client of the worker.
    fn client(&self, words: &[&str]) -> Process {
        let mut all = vec![words[0], "--hub", &self.url, "--session", &self.session];
        all.extend(&words[1..]);
        start(self.dir.path(), &all)
    }

    fn tunnel(&self) -> Process {
        let mut tunnel = self.client(&["tunnel", "0:9"]);
        tunnel.event("listening");
        tunnel
    }

    fn ask(&self, flags: &[&str]) -> Output {
        let mut command = command(self.dir.path());
        command.arg("status").args(flags).output().unwrap()
    }

    /// What the process of this command says, once that `is_it`.
    fn told(&self, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut told = None;
        until(&format!("a status of {name}"), PATIENCE, || {
            let said = self.ask(&["--json"]);
            let said = String::from_utf8(said.stdout).unwrap();
            let lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
            told = lines
                .into_iter()
                .find(|told: &Value| told["command"] == name && is_it(told));
            told.is_some()
        });
        told.unwrap()
    }

    fn sockets(&self) -> Vec<String> {
        let dir = std::fs::read_dir(self.dir.path().join("loaner")).unwrap();
        dir.map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(LOANER);
    without_settings(&mut command);
    command
        .env("XDG_STATE_HOME", dir.join("state"))
        .env("XDG_RUNTIME_DIR", dir)
        .current_dir(dir);
    command
}

fn start(dir: &Path, args: &[&str]) -> Process {
    let mut command = command(dir);
    command.args([args[0], "--json"]).args(&args[1..]);
    Process::start(args[0], command)
}

/// The part with this chart.
fn part<'a>(told: &'a Value, chart: &str) -> &'a Value {
    let mut parts = told["parts"].as_array().unwrap().iter();
    let part = parts.find(|part| part["chart"] == chart);
    part.unwrap_or_else(|| panic!("no {chart} in {told}"))
}

fn in_state(told: &Value, chart: &str, state: &str) -> bool {
    let mut parts = told["parts"].as_array().unwrap().iter();
    parts.any(|part| part["chart"] == chart && part["state"] == state)
}

/// A worker and a tunnel say how they are with the hub and with each other, in the words of their charts; and nobody says a
/// secret.
#[test]
fn worker_and_tunnel_tell_of_hub_and_connection() {
    let user = User::new();
    let _tunnel = user.tunnel();
    let tunnel = user.told("tunnel", |told| {
        let tube = || part(told, "tunnel");
        in_state(told, "tunnel", "connected")
            && tube()["round_trip"].is_number()
            && tube()["path"] == "direct"
    });
    let tube = part(&tunnel, "tunnel");
    assert_eq!(tube["doing"], "data goes both ways");
    assert_eq!(tube["details"]["peer"], tube["instance"]);
    assert!(tube.get("gives_up_in").is_none() && tube.get("attempt").is_none());
    let session = part(&tunnel, "session");
    assert_eq!(session["state"], "registered");
    assert_eq!(session["details"]["hub"], user.url);
    assert_eq!(part(&tunnel, "peer")["state"], "open");
    let worker = user.told("worker", |told| {
        in_state(told, "tunnel", "connected") && part(told, "tunnel")["path"] == "direct"
    });
    assert_eq!(part(&worker, "availability")["state"], "available");
    assert_eq!(part(&worker, "session")["state"], "registered");

    let said = user.ask(&[]);
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("loaner worker (process "), "{said}");
    assert!(said.contains("loaner tunnel (process "), "{said}");
    assert!(said.contains(": connected. Data goes both ways."), "{said}");
    let session: loaner::wire::SessionString = user.session.parse().unwrap();
    for all in [said, tunnel.to_string(), worker.to_string()] {
        assert!(!all.contains(&session.token), "{all}");
    }
}

/// A job is told of at both ends; and who follows its log is there too.
#[test]
fn a_job_is_told_of_at_both_ends() {
    let user = User::new();
    std::fs::create_dir(user.dir.path().join("job")).unwrap();
    let mut run = user.client(&["run", "job", "--", "sleep", "600"]);
    run.event("started");
    let worker = user.told("worker", |told| in_state(told, "job", "running"));
    let job = text(&part(&worker, "job")["instance"]);
    assert_eq!(part(&worker, "availability")["details"]["job"], job);
    let client = user.told("run", |told| in_state(told, "submission", "watching"));
    assert_eq!(part(&client, "session")["state"], "registered");
    let _logs = user.client(&["logs", "-f"]);
    user.told("logs", |told| in_state(told, "peer", "open"));
}

/// A hub that is gone is told of: which attempt comes next and when, and that there is no end to it.
#[test]
fn a_hub_that_is_gone_is_told_of() {
    let mut user = User::new();
    user.hub.kill();
    let worker = user.told("worker", |told| in_state(told, "session", "backing_off"));
    let session = part(&worker, "session");
    assert!(session["attempt"].as_u64().unwrap() >= 1, "{session}");
    assert!(session["next_in"].as_f64().unwrap() <= 32.0, "{session}");
    let follows = ["Opening the WebSocket.", "Asking the hub for an identity."];
    assert!(follows.contains(&session["next"].as_str().unwrap()));
    assert_eq!(session["then"], "it is tried again for as long as it takes");
    assert!(session.get("gives_up_in").is_none());
}

/// A process that is stopped is named, and is reason to fail; one that was killed leaves nothing; and where nobody is left, that
/// is said.
#[test]
fn who_hangs_is_named_and_who_is_gone_is_not() {
    let mut user = User::new();
    let mut tunnel = user.tunnel();
    assert_eq!(user.sockets().len(), 2);
    tunnel.signal(Signal::SIGSTOP);
    let said = user.ask(&[]);
    assert_eq!(said.status.code(), Some(1));
    let shown = String::from_utf8(said.stdout).unwrap();
    assert!(shown.contains("does not answer"), "{shown}");
    user.told("worker", |told| in_state(told, "session", "registered"));
    let error = String::from_utf8(said.stderr).unwrap();
    assert!(error.contains("no status from process"), "{error}");
    tunnel.signal(Signal::SIGCONT);
    tunnel.kill();
    until("an answer of all that are there", PATIENCE, || {
        user.ask(&[]).status.success() && user.sockets().len() == 1
    });
    user.worker.leave();
    let said = user.ask(&[]);
    assert!(said.status.success() && user.sockets().is_empty());
    let shown = String::from_utf8(said.stdout).unwrap();
    assert!(shown.contains("No worker, run or tunnel"), "{shown}");
    assert!(user.ask(&["--json"]).stdout.is_empty());
}

/// Who stays is told what changes: who comes, and who goes.
#[test]
fn a_watch_shows_who_comes_and_goes() {
    let user = User::new();
    let mut watch = start(user.dir.path(), &["status", "--watch"]);
    let long = Duration::from_secs(60);
    watch.wait(long, "the worker", |event| event["command"] == "worker");
    let mut tunnel = user.tunnel();
    watch.wait(long, "the tunnel", |event| {
        event["command"] == "tunnel" && in_state(event, "tunnel", "connected")
    });
    tunnel.leave();
    watch.event("ended");
    watch.leave();
}
