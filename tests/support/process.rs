//! The program itself, as a process.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::PATIENCE;

#[derive(Default)]
struct Lines {
    all: Mutex<Vec<String>>,
    ended: Mutex<bool>,
    more: Notify,
}

/// A running `loaner`. It is killed when dropped.
pub struct Process {
    child: Child,
    pub pid: i32,
    out: Arc<Lines>,
    err: Arc<Lines>,
    read: usize,
    name: String,
    /// Its state, unless it was told another place.
    _state: tempfile::TempDir,
}

fn collect(stream: impl AsyncRead + Unpin + Send + 'static, lines: Arc<Lines>) {
    tokio::spawn(async move {
        let mut reader = BufReader::new(stream).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            lines.all.lock().unwrap().push(line);
            lines.more.notify_waiters();
        }
        *lines.ended.lock().unwrap() = true;
        lines.more.notify_waiters();
    });
}

impl Process {
    /// Starts `loaner` with these arguments and variables, and none of the caller's settings.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Process {
        Process::start_in(&std::env::temp_dir(), args, env)
    }

    /// The same, in this directory.
    pub fn start_in(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loaner"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOANER_")) {
            command.env_remove(name);
        }
        let state = tempfile::tempdir().unwrap();
        command
            .args(args)
            .env("XDG_STATE_HOME", state.path())
            .envs(env.iter().copied())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (out, err) = (Arc::new(Lines::default()), Arc::new(Lines::default()));
        collect(child.stdout.take().unwrap(), out.clone());
        collect(child.stderr.take().unwrap(), err.clone());
        let pid = child.id().unwrap() as i32;
        Process {
            child,
            pid,
            out,
            err,
            read: 0,
            name: args.join(" "),
            _state: state,
        }
    }

    /// The next event of this name on standard output; earlier ones are skipped.
    pub async fn event(&mut self, name: &str) -> Value {
        self.event_where(name, PATIENCE, |_| true).await
    }

    /// The next event of this name for which something holds.
    pub async fn event_where(
        &mut self,
        name: &str,
        patience: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            let more = self.out.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            let fresh: VecDeque<_> = self.out.all.lock().unwrap()[self.read..].to_vec().into();
            for line in fresh {
                self.read += 1;
                let Ok(event) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if event["event"] == name && holds(&event) {
                    return event;
                }
            }
            let ended =
                *self.out.ended.lock().unwrap() && self.out.all.lock().unwrap().len() == self.read;
            if ended || timeout_at(deadline, more).await.is_err() {
                panic!(
                    "no `{name}` came from `{}`:\n{}\n--- log\n{}",
                    self.name,
                    self.stdout(),
                    self.log()
                );
            }
        }
    }

    /// Waits until the job that a client runs has printed `begun`.
    pub async fn begun(&mut self) {
        let begun = |event: &Value| event["text"] == "begun\n";
        self.event_where("output", super::PATIENCE, begun).await;
    }

    /// Waits until the log has a line with this text; the line comes back.
    pub async fn logged(&self, text: &str) -> String {
        self.logged_within(text, PATIENCE).await
    }

    /// The same, with another patience.
    pub async fn logged_within(&self, text: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            let more = self.err.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Some(line) = self
                .err
                .all
                .lock()
                .unwrap()
                .iter()
                .find(|line| line.contains(text))
            {
                return line.clone();
            }
            let ended = *self.err.ended.lock().unwrap();
            if ended || timeout_at(deadline, more).await.is_err() {
                panic!(
                    "`{text}` was not logged by `{}`:\n{}",
                    self.name,
                    self.log()
                );
            }
        }
    }

    /// How often the log has this text so far.
    pub fn log_count(&self, text: &str) -> usize {
        self.err
            .all
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.contains(text))
            .count()
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        self.err.all.lock().unwrap().join("\n")
    }

    /// The whole output so far.
    pub fn stdout(&self) -> String {
        self.out.all.lock().unwrap().join("\n")
    }

    /// The events so far, in order.
    pub fn events(&self) -> Vec<Value> {
        self.out
            .all
            .lock()
            .unwrap()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The error that it ended with.
    pub fn error(&self) -> String {
        let events = self.events();
        let error = events.iter().rev().find(|event| event["event"] == "error");
        error.unwrap_or_else(|| panic!("no error: {}", self.stdout()))["message"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Waits for the end; the exit code comes back (negative: the signal that ended it).
    pub async fn exit(&mut self) -> i32 {
        self.exit_within(PATIENCE).await
    }

    /// The same, with another patience.
    pub async fn exit_within(&mut self, patience: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt as _;
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(status) => {
                let status = status.unwrap();
                // What it wrote last has to be read before anybody looks at it.
                super::until("the output is read", PATIENCE, || {
                    *self.out.ended.lock().unwrap() && *self.err.ended.lock().unwrap()
                })
                .await;
                status.code().unwrap_or_else(|| -status.signal().unwrap())
            }
            Err(_) => panic!(
                "`{}` did not end:\n{}\n--- log\n{}",
                self.name,
                self.stdout(),
                self.log()
            ),
        }
    }
}
