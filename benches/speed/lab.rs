//! A hub, a worker and clients, each a process of its own.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::foreign::Foreign;
use crate::memory::{field_of, peak_of};

/// Where a hub listens unless said otherwise.
const LOOPBACK: &str = "127.0.0.1";
/// Longer than anything takes, on a slow disk too.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a process may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often memory is looked at. The kernel keeps the peak; only its last growth before the end can be missed.
const LOOK: Duration = Duration::from_millis(20);

/// A `loaner` in a process group of its own, which is killed when this is dropped.
pub struct Process {
    child: Child,
    pid: i32,
    name: String,
    log: PathBuf,
    events: mpsc::UnboundedReceiver<(Instant, Value)>,
    peak_kib: Arc<AtomicU64>,
    watching: JoinHandle<()>,
}

impl Process {
    /// Starts `loaner --json`, without the caller's settings. Its log goes to a file in `dir`.
    fn start(dir: &Path, name: &str, args: &[&OsStr]) -> Result<Process> {
        Self::start_by(&[], dir, name, args)
    }

    /// The same, by a command that runs it.
    fn start_by(by: &[String], dir: &Path, name: &str, args: &[&OsStr]) -> Result<Process> {
        let args: Vec<&OsStr> = args.iter().copied().chain(["--json".as_ref()]).collect();
        let mut process = Self::spawn(by, dir, name, &args, Stdio::piped())?;
        let output = process.child.stdout.take().context("it has no output")?;
        let mut lines = BufReader::new(output).lines();
        let (heard, events) = mpsc::unbounded_channel();
        process.events = events;
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(event) = serde_json::from_str(&line) {
                    // Nobody may want to know any more.
                    let _ = heard.send((Instant::now(), event));
                }
            }
        });
        Ok(process)
    }

    /// Starts `loaner`, by another command if there is one, with its output somewhere.
    fn spawn(
        by: &[String],
        dir: &Path,
        name: &str,
        args: &[&OsStr],
        output: Stdio,
    ) -> Result<Process> {
        let log = dir.join(format!("{name}.log"));
        let mut words = by.iter().map(String::as_str);
        let loaner = env!("CARGO_BIN_EXE_loaner");
        let mut command = Command::new(words.next().unwrap_or(loaner));
        command.args(words);
        if !by.is_empty() {
            command.arg(loaner);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LOANER_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(args)
            .env("XDG_STATE_HOME", dir.join("state"))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(File::create(&log)?)
            .process_group(0)
            .spawn()?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .context("it has no id")?;
        let peak_kib = Arc::new(AtomicU64::new(0));
        let watching = tokio::spawn({
            let peak = peak_kib.clone();
            async move {
                while let Some(kib) = peak_of(pid) {
                    peak.fetch_max(kib, Ordering::Relaxed);
                    tokio::time::sleep(LOOK).await;
                }
            }
        });
        Ok(Process {
            child,
            pid,
            name: name.to_owned(),
            log,
            events: mpsc::unbounded_channel().1,
            peak_kib,
            watching,
        })
    }

    /// The next event of this name, and when it was read; earlier ones are skipped.
    pub async fn event(&mut self, name: &str) -> Result<(Instant, Value)> {
        self.event_where(name, |_| true).await
    }

    async fn event_where(
        &mut self,
        name: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<(Instant, Value)> {
        let wanted = async {
            loop {
                let (when, event) = self.events.recv().await?;
                if event["event"] == name && holds(&event) {
                    return Some((when, event));
                }
            }
        };
        let found = timeout(PATIENCE, wanted).await;
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) => bail!(
                "{} ended without `{name}`; its log:\n{}",
                self.name,
                self.last_words()
            ),
            Err(_) => bail!(
                "`{name}` did not come from {}; its log:\n{}",
                self.name,
                self.last_words()
            ),
        }
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid), signal)?)
    }

    /// Waits until it ends.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.context("it does not end")??)
    }

    /// Waits until it ends, which it must do well.
    pub async fn success(&mut self) -> Result<()> {
        let status = self.ended().await?;
        if !status.success() {
            bail!(
                "{} ended with {status}; its log:\n{}",
                self.name,
                self.last_words()
            );
        }
        Ok(())
    }

    /// The most memory that it has had so far, in MiB.
    pub fn peak_mib(&self) -> f64 {
        if let Some(kib) = peak_of(self.pid).filter(|_| self.child.id().is_some()) {
            self.peak_kib.fetch_max(kib, Ordering::Relaxed);
        }
        self.peak_kib.load(Ordering::Relaxed) as f64 / 1024.0
    }

    /// The processor time that it has used so far, in seconds; 0 when it has ended.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        // Behind the name: the 12th and 13th are user and system time, in hundredths of a second.
        let ticks: f64 = fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        ticks / 100.0
    }

    /// The memory that it has now, in MiB; 0 when it has ended.
    pub fn resident_mib(&self) -> f64 {
        field_of(self.pid, "VmRSS:").unwrap_or_default() as f64 / 1024.0
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Asks it to end, and waits.
    pub async fn end(mut self) {
        // Fails when it has ended already, and then nothing is left to do.
        let _ = kill(Pid::from_raw(self.pid), Signal::SIGTERM);
        let _ = timeout(FAREWELL, self.child.wait()).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.watching.abort();
        if self.child.id().is_some() {
            let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }
}

/// The words in which a client speaks to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Loaner's own: files are verified.
    Own,
    /// Those of sleap-rtc, since the client does not learn that the worker knows others.
    Inherited,
}

/// A hub and a worker that wait.
pub struct Lab {
    dir: tempfile::TempDir,
    hub: Process,
    worker: Process,
    url: String,
    /// The same hub, without what it tells of Loaner's own words.
    foreign: Foreign,
    session: String,
}

impl Lab {
    /// Starts them, with a directory of their own in `dir`.
    pub async fn start(dir: &Path) -> Result<Lab> {
        Self::start_with(dir, &[]).await
    }

    /// Starts them, with more options of the worker.
    pub async fn start_with(dir: &Path, options: &[&str]) -> Result<Lab> {
        let mut all = vec!["--allow-commands"];
        all.extend(options);
        Self::start_as(dir, &all).await
    }

    /// Starts them, with what the worker allows in a file.
    pub async fn with_policy(dir: &Path, policy: &Path) -> Result<Lab> {
        Self::with_policy_at(LOOPBACK, dir, policy).await
    }

    /// The same, with the hub at another address.
    pub async fn with_policy_at(address: &str, dir: &Path, policy: &Path) -> Result<Lab> {
        let policy = policy.to_str().context("no text")?;
        Self::start_at(address, dir, &["--policy", policy]).await
    }

    async fn start_as(dir: &Path, options: &[&str]) -> Result<Lab> {
        Self::start_at(LOOPBACK, dir, options).await
    }

    async fn start_at(address: &str, dir: &Path, options: &[&str]) -> Result<Lab> {
        let dir = tempfile::tempdir_in(dir)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
        let address = format!("{address}:0");
        let listen: [&OsStr; 5] =
            ["hub", "--listen", &address, "--store", "memory"].map(OsStr::new);
        let mut hub = Process::start(dir.path(), "hub", &listen)?;
        let url = text(&hub.event("listening").await?.1["url"])?;
        let work = dir.path().join("work");
        let mut args: Vec<&OsStr> = vec![
            "worker".as_ref(),
            "--hub".as_ref(),
            url.as_ref(),
            "--work-dir".as_ref(),
            work.as_ref(),
        ];
        args.extend(options.iter().map(OsStr::new));
        let mut worker = Process::start(dir.path(), "worker", &args)?;
        let session = text(&worker.event("registered").await?.1["session"])?;
        Ok(Lab {
            dir,
            hub,
            worker,
            foreign: Foreign::start(&url).await?,
            url,
            session,
        })
    }

    /// Starts a client with this package, and says when.
    pub fn run(&self, package: &Path, words: Words) -> Result<(Process, Instant)> {
        let out = self.out();
        let url = match words {
            Words::Own => &self.url,
            Words::Inherited => &self.foreign.url,
        };
        let args: [&OsStr; 8] = [
            "run".as_ref(),
            package.as_ref(),
            "--hub".as_ref(),
            url.as_ref(),
            "--session".as_ref(),
            self.session.as_ref(),
            "--output".as_ref(),
            out.as_ref(),
        ];
        let began = Instant::now();
        Ok((Process::start(self.dir.path(), "client", &args)?, began))
    }

    /// Starts a client that speaks to the worker, such as `run` or `logs`, with what it says as text in a file.
    pub fn client(&self, args: &[&OsStr], output: File) -> Result<Process> {
        let more = ["--hub", &self.url, "--session", &self.session].map(OsStr::new);
        let args: Vec<&OsStr> = args.iter().copied().chain(more).collect();
        Process::spawn(&[], self.dir.path(), "client", &args, output.into())
    }

    /// Starts a tunnel to the worker.
    pub fn tunnel(&self, forward: &str) -> Result<Process> {
        self.tunnel_by(&[], forward)
    }

    /// The same, by a command that runs it.
    pub fn tunnel_by(&self, by: &[String], forward: &str) -> Result<Process> {
        let args = [
            "tunnel", forward, "--hub", &self.url, "--session", &self.session,
        ];
        Process::start_by(by, self.dir.path(), "tunnel", &args.map(OsStr::new))
    }

    /// Waits until the worker takes the next job.
    pub async fn worker_is_free(&mut self) -> Result<()> {
        self.worker
            .event_where("status", |event| event["status"] == "available")
            .await?;
        Ok(())
    }

    /// The most memory that the worker has had, in MiB.
    pub fn worker_peak(&self) -> f64 {
        self.worker.peak_mib()
    }

    /// The memory that the worker has now, in MiB.
    pub fn worker_resident(&self) -> f64 {
        self.worker.resident_mib()
    }

    /// Where the worker has its files.
    pub fn work_dir(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The processor time that the worker has used so far, in seconds.
    pub fn worker_cpu_seconds(&self) -> f64 {
        self.worker.cpu_seconds()
    }

    /// Where the results go.
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Ends worker and hub.
    pub async fn end(self) {
        self.worker.end().await;
        self.hub.end().await;
    }
}
