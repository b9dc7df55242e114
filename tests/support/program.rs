//! Programs that report what they do as lines of JSON, for tests that wait without a runtime.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The program under test.
pub const LOANER: &str = env!("CARGO_BIN_EXE_loaner");
/// Longer than anything takes that is not waited for on purpose, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// How often is looked for what cannot be waited for otherwise.
pub const LOOK: Duration = Duration::from_millis(20);

/// Waits until something is so.
pub fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(LOOK);
    }
}

/// What a user has configured is not what is tested.
pub fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOANER_") {
            command.env_remove(name);
        }
    }
    // Nobody shall find it by `loaner status` who does not look for it.
    command.env_remove("XDG_RUNTIME_DIR");
}

/// What a process has said so far.
#[derive(Default)]
struct Heard {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    events: Vec<Value>,
    /// All of it as it came, for whoever has to find out why a test fails.
    story: String,
}

impl Heard {
    /// Reads one of the streams until its end. Events are lines of JSON on standard output.
    fn listen(self: &Arc<Self>, stream: impl Read + Send + 'static, events: bool) {
        let heard = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut said = heard.said.lock().unwrap();
                said.story.push_str(&format!("    {line}\n"));
                if events && let Ok(event) = serde_json::from_str(&line) {
                    said.events.push(event);
                    heard.more.notify_all();
                }
            }
        });
    }
}

/// A running program. Dropped, it is killed.
pub struct Process {
    name: String,
    child: Child,
    heard: Arc<Heard>,
    /// How many events were waited for already.
    seen: usize,
}

impl Process {
    /// Starts a command.
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let heard = Arc::new(Heard::default());
        heard.listen(child.stdout.take().unwrap(), true);
        heard.listen(child.stderr.take().unwrap(), false);
        Process {
            name: name.to_owned(),
            child,
            heard,
            seen: 0,
        }
    }

    /// Everything that it has said so far, events and log.
    pub fn story(&self) -> String {
        format!(
            "{} said:\n{}",
            self.name,
            self.heard.said.lock().unwrap().story
        )
    }

    /// Waits for the next event that `is_it`, and passes over those before it.
    pub fn wait(&mut self, limit: Duration, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + limit;
        let mut said = self.heard.said.lock().unwrap();
        loop {
            if let Some(at) = said.events[self.seen..].iter().position(&is_it) {
                self.seen += at + 1;
                return said.events[self.seen - 1].clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if left.is_zero() || (ended && Arc::strong_count(&self.heard) == 1) {
                drop(said);
                panic!("no {what} within {limit:?}; {}", self.story());
            }
            // Woken now and then, to see whether the process has ended.
            said = self
                .heard
                .more
                .wait_timeout(said, left.min(LOOK))
                .unwrap()
                .0;
        }
    }

    /// Waits for the next event of this name.
    pub fn event(&mut self, name: &str) -> Value {
        self.event_within(PATIENCE, name)
    }

    /// Waits for the next event of this name.
    pub fn event_within(&mut self, limit: Duration, name: &str) -> Value {
        self.wait(limit, &format!("event `{name}`"), |event| {
            event["event"] == name
        })
    }

    /// All events of this name so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let said = self.heard.said.lock().unwrap();
        let of_name = said.events.iter().filter(|event| event["event"] == name);
        of_name.cloned().collect()
    }

    /// Waits for the end; the exit code.
    pub fn exit(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its last words may still be on their way; the readers hold what they write to.
                until("the end of the output", PATIENCE, || {
                    Arc::strong_count(&self.heard) == 1
                });
                return status.code().unwrap_or(-1);
            }
            if Instant::now() > deadline {
                panic!("no end within {PATIENCE:?}; {}", self.story());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for the end, which has to have this exit code.
    pub fn ends_with(&mut self, code: i32) {
        let ended = self.exit();
        assert_eq!(ended, code, "{}", self.story());
    }

    /// Ctrl+C, which ends it with the code for that.
    pub fn interrupt(&mut self) {
        self.signal(Signal::SIGINT);
        self.ends_with(130);
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id()), signal).unwrap();
    }

    /// Asks it to leave, which it has to do properly.
    pub fn leave(&mut self) {
        self.signal(Signal::SIGTERM);
        self.ends_with(0);
    }

    /// Kills it; it can say goodbye to nobody.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.exit();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Shown with the failed test, whichever process the failure was about.
            eprintln!("{}", self.story());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
