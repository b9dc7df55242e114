//! What is measured, as a process of its own: the hub, or the relay.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::tokens::{AUDIENCE, ISSUER, Issuer};
use crate::repository;

/// How long a server may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Far beyond what a load sends: what is measured is not to be bounded.
const UNBOUNDED: u32 = 1 << 30;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hub,
    /// `benches/relay.py`.
    Relay,
}

/// A server that runs; killed when dropped.
pub struct Server {
    child: Child,
    pid: i32,
    pub addr: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts one with its files in `dir`. A hub that is started again there finds what the last one stored; with
    /// `addr`, it listens where that one did.
    pub async fn start(
        kind: Kind,
        dir: &Path,
        issuer: &Issuer,
        addr: Option<SocketAddr>,
    ) -> Result<Server> {
        let log = dir.join(format!("{kind:?}.log"));
        let mut command = match kind {
            Kind::Hub => {
                let (secret, key) = (dir.join("secret"), dir.join("key.pem"));
                std::fs::write(&secret, &issuer.secret)?;
                std::fs::write(&key, &issuer.pem)?;
                let listen = addr.map_or("127.0.0.1:0".to_owned(), |addr| addr.to_string());
                let mut command = Command::new(env!("CARGO_BIN_EXE_loaner"));
                for (name, _) in std::env::vars_os() {
                    if name.to_string_lossy().starts_with("LOANER_") {
                        command.env_remove(name);
                    }
                }
                command
                    .args(["hub", "--json", "--listen", &listen, "--store"])
                    .arg(dir.join("hub.sqlite"));
                command.arg("--jwt-secret-file").arg(secret);
                command
                    .arg("--jwt-key")
                    .arg(format!("ES256:{}", key.display()));
                command.args(["--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE]);
                for limit in [
                    "handshakes_per_minute", "socket_messages_per_second",
                    "socket_bytes_per_second",
                ] {
                    command.arg("--limit").arg(format!("{limit}={UNBOUNDED}"));
                }
                command
            }
            Kind::Relay => {
                let python = repository(".venv/bin/python");
                ensure!(
                    python.exists(),
                    "there is no .venv (tools/python-env makes it)"
                );
                let secret = dir.join("secret");
                std::fs::write(&secret, &issuer.secret)?;
                let mut command = Command::new(python);
                command
                    .arg(repository("benches/relay.py"))
                    .arg("--secret-file")
                    .arg(secret);
                command
            }
        };
        let mut child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log)?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .context("it has no id")?;
        let mut lines = BufReader::new(child.stdout.take().context("it has no output")?).lines();
        let line = timeout(PATIENCE, lines.next_line())
            .await
            .context("it does not listen")??;
        let Some(addr) = line.as_deref().and_then(listening_at) else {
            bail!(
                "the server did not start:\n{}",
                std::fs::read_to_string(&log)?
            );
        };
        Ok(Server {
            child,
            pid,
            addr,
            log,
        })
    }

    /// Its number, for [`cpu_seconds`] and [`resident_kib`].
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends it a signal, and waits until it has ended.
    pub async fn end(mut self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid), signal)?;
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.context("the server does not end")??;
        if signal == Signal::SIGTERM && !status.success() {
            bail!(
                "the server ended with {status}:\n{}",
                std::fs::read_to_string(&self.log)?
            );
        }
        Ok(())
    }
}

/// The address in the first line of a server: of the relay, the line is nothing else.
fn listening_at(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    let addr = event["url"]
        .as_str()
        .map_or(Some(line), |url| url.strip_prefix("http://"));
    addr?.trim().parse().ok()
}

/// The processor time that a process has used so far, in seconds.
pub fn cpu_seconds(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    // Behind the name: the 12th and 13th are user and system time, in hundredths of a second.
    let ticks = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// The processor time of this process so far, in seconds.
pub fn own_cpu_seconds() -> f64 {
    i32::try_from(std::process::id()).map_or(0.0, cpu_seconds)
}

/// The resident memory of a process.
pub fn resident_kib(pid: i32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.context("it has no memory")
}
