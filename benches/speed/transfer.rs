//! Files moved from disk to disk, by Loaner and by plain aiortc.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use blake3::Hash;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::lab::{Lab, Process};
use crate::{blocking, payload, repository};

/// How long aiortc may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a package went there, and its results came back. Speeds are in MB/s.
pub struct Trip {
    pub up: f64,
    pub down: f64,
    /// From the end of the command until the results are on their way, seconds.
    pub packing: f64,
    /// The client's peak memory, in MiB.
    pub client_peak: f64,
}

/// Sends a package whose job returns its payload, and compares what comes back.
pub async fn there_and_back(lab: &mut Lab, package: &Path, sent: &Hash) -> Result<Trip> {
    let (mut client, mut trip) = send(lab, package).await?;
    let (packing, _) = client.event("ended").await?;
    let (began, coming) = client.event("downloading").await?;
    let (ended, received) = client.event("received").await?;
    trip.packing = (began - packing).as_secs_f64();
    trip.down = speed(&coming["bytes"], (ended - began).as_secs_f64())?;
    trip.client_peak = client.peak_mib();
    client.event("done").await?;
    trip.client_peak = client.peak_mib();
    client.success().await?;
    lab.worker_is_free().await?;
    let results = PathBuf::from(
        received["path"]
            .as_str()
            .context("results without a path")?,
    );
    let archive = results.clone();
    let returned = blocking(move || payload::returned(&archive)).await?;
    ensure!(
        returned == *sent,
        "what came back is not what was sent: {returned}, not {sent}"
    );
    std::fs::remove_file(results)?;
    Ok(trip)
}

/// Sends a package whose job returns nothing. It is unpacked at the worker, which checks every byte.
pub async fn there(lab: &mut Lab, package: &Path) -> Result<Trip> {
    let (mut client, mut trip) = send(lab, package).await?;
    client.event("done").await?;
    trip.client_peak = client.peak_mib();
    client.success().await?;
    lab.worker_is_free().await?;
    Ok(trip)
}

/// Until the last byte is acknowledged.
async fn send(lab: &mut Lab, package: &Path) -> Result<(Process, Trip)> {
    let (mut client, _) = lab.run(package)?;
    let (began, announced) = client.event("uploading").await?;
    let (ended, _) = client.event("sent").await?;
    let up = speed(&announced["bytes"], (ended - began).as_secs_f64())?;
    Ok((
        client,
        Trip {
            up,
            down: 0.0,
            packing: 0.0,
            client_peak: 0.0,
        },
    ))
}

fn speed(bytes: &Value, seconds: f64) -> Result<f64> {
    Ok(bytes.as_f64().context("no size")? / 1e6 / seconds)
}

/// Kills a process group when dropped.
struct Group(i32);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

/// How fast plain aiortc is, in MB/s: two processes, a file of so many MiB from disk to disk, contents compared.
/// aiortc gathers no loopback candidates, hence the network namespace.
pub async fn aiortc(mib: u32) -> Result<f64> {
    let python = repository(".venv/bin/python");
    let script = repository("tests/interop/bench_aiortc.py");
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
        .args(["pair", "--mib", &mib.to_string()])
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
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
    result["mb_per_s"].as_f64().context("it says no speed")
}
