//! Files moved from disk to disk by Loaner.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use blake3::Hash;
use serde_json::Value;

use crate::lab::{Lab, Process, Words};
use crate::{blocking, payload, report};

/// One direction of a trip.
#[derive(Debug, Clone, Copy)]
pub struct Leg {
    /// In MB/s.
    pub speed: f64,
    /// Processor time of both ends, in seconds per GB.
    pub cost: f64,
}

/// How a package went there, and its results came back.
pub struct Trip {
    pub up: Leg,
    /// `None` where there were no results.
    pub down: Option<Leg>,
    /// From the end of the command until the results are on their way, in seconds.
    pub packing: f64,
    /// The client's peak memory, in MiB.
    pub client_peak: f64,
}

/// Sends a package whose job returns its payload, and compares what comes back.
pub async fn there_and_back(
    lab: &mut Lab,
    package: &Path,
    sent: &Hash,
    words: Words,
) -> Result<Trip> {
    let (there, back) = (Spare::for_file(package)?, Spare::for_file(package)?);
    let (mut client, up) = send(lab, package, there, words).await?;
    let (packing, _) = client.event("ended").await?;
    let (began, coming) = client.event("downloading").await?;
    let leg = LegTimer::start(lab, &client, began, &coming["bytes"])?;
    drop(back);
    let (ended, received) = client.event("received").await?;
    let down = leg.end(lab, &client, ended);
    client.event("done").await?;
    let client_peak = client.peak_mib();
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
    Ok(Trip {
        up,
        down: Some(down),
        packing: (began - packing).as_secs_f64(),
        client_peak,
    })
}

/// Sends a package whose job returns nothing. It is unpacked at the worker, which checks every byte.
pub async fn there(lab: &mut Lab, package: &Path) -> Result<Trip> {
    let (mut client, up) = send(lab, package, Spare::none(), Words::Own).await?;
    client.event("done").await?;
    let client_peak = client.peak_mib();
    client.success().await?;
    lab.worker_is_free().await?;
    Ok(Trip {
        up,
        down: None,
        packing: 0.0,
        client_peak,
    })
}

/// Until the last byte is acknowledged.
async fn send(lab: &mut Lab, package: &Path, spare: Spare, words: Words) -> Result<(Process, Leg)> {
    let (mut client, _) = lab.run(package, words)?;
    let (began, announced) = client.event("uploading").await?;
    let leg = LegTimer::start(lab, &client, began, &announced["bytes"])?;
    drop(spare);
    let (ended, _) = client.event("sent").await?;
    let up = leg.end(lab, &client, ended);
    Ok((client, up))
}

struct LegTimer {
    began: Instant,
    bytes: f64,
    cpu: f64,
}

impl LegTimer {
    fn start(lab: &Lab, client: &Process, began: Instant, bytes: &Value) -> Result<Self> {
        let bytes = bytes.as_f64().context("no size")?;
        Ok(LegTimer {
            began,
            bytes,
            cpu: lab.worker_cpu_seconds() + client.cpu_seconds(),
        })
    }

    fn end(&self, lab: &Lab, client: &Process, ended: Instant) -> Leg {
        let cpu = lab.worker_cpu_seconds() + client.cpu_seconds() - self.cpu;
        let seconds = (ended - self.began).as_secs_f64();
        Leg {
            speed: self.bytes / 1e6 / seconds,
            cost: cpu / (self.bytes / 1e9),
        }
    }
}

/// Memory for the pages of a file that is about to be written, given back just before. Many hypervisors take free
/// memory away after seconds, and to have a GiB of it again costs a second: that is not what is measured here.
struct Spare(#[expect(dead_code, reason = "held, and given back")] Vec<u8>);

impl Spare {
    /// Of the size of a file; none where it may not be at hand.
    fn for_file(path: &Path) -> Result<Spare> {
        let size = usize::try_from(path.metadata()?.len()).unwrap_or(usize::MAX);
        let at_hand = report::memory_gib("MemAvailable") * f64::from(1 << 30);
        // As large again for each of the files that are made on the way.
        let enough = size as f64 * 8.0 < at_hand;
        // Not zero, or nothing would be taken from the system.
        Ok(if enough {
            Spare(vec![1; size])
        } else {
            Spare::none()
        })
    }

    fn none() -> Spare {
        Spare(Vec::new())
    }
}
