//! Files moved from disk to disk by plain aiortc: with itself, and with our worker.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::repository;

/// How long aiortc may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Kills a process group when dropped.
struct Group(i32);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

/// How fast plain aiortc is, in MB/s: two processes, a file of so many MiB from disk to disk, contents compared.
/// aiortc gathers no loopback candidates, hence the network namespace.
pub async fn pair(mib: u32, dir: &Path) -> Result<f64> {
    let result = python(&["bench_aiortc.py", "pair"], mib, dir).await?;
    result["mb_per_s"].as_f64().context("it says no speed")
}

/// How fast an aiortc client and our worker are, in MB/s, there and back; as before, and the worker unpacks what came
/// before it says that it is there.
pub async fn with_worker(mib: u32, dir: &Path) -> Result<(f64, f64)> {
    let program = env!("CARGO_BIN_EXE_loaner");
    let result = python(&["bench_client.py", "--loaner", program], mib, dir).await?;
    let speed = |name: &str| result[name].as_f64().context("it says no speed");
    Ok((speed("up_mb_per_s")?, speed("down_mb_per_s")?))
}

/// Runs one of the scripts, and reads what it measured.
async fn python(args: &[&str], mib: u32, dir: &Path) -> Result<Value> {
    let python = repository(".venv/bin/python");
    let (script, args) = args.split_first().context("no script")?;
    let script = repository("tests/interop").join(script);
    for needed in [&python, &script] {
        ensure!(
            needed.exists(),
            "{} is not there (tools/python-env makes .venv)",
            needed.display()
        );
    }
    let child = Command::new(repository("tests/interop/in-namespace"))
        .arg(python)
        .arg(script)
        .args(args)
        .args(["--mib", &mib.to_string()])
        .env("TMPDIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = Group(
        child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .context("it has no id")?,
    );
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .context("it does not end")??;
    // Its group is empty now, and the number may be somebody else's.
    std::mem::forget(group);
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let result: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(result["identical"] == true, "it moved something else");
    Ok(result)
}
