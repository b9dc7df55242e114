//! An upload that is interrupted at half and given again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::lab::{Lab, Words};
use crate::report::{Figure, Reach};
use crate::{GIB, blocking, payload, room_for, say};

/// How often it is looked how much is there.
const LOOK: Duration = Duration::from_millis(2);
const MIB: f64 = (1 << 20) as f64;

/// The figures.
pub async fn measure(dir: &Path) -> Result<Vec<Figure>> {
    room_for(dir, 3 * GIB)?;
    say("making a package of 1 GiB");
    let path = dir.join("interrupted.zip");
    let package = path.clone();
    blocking(move || payload::package(&package, GIB, "true")).await?;
    let size = path.metadata()?.len();
    let mut lab = Lab::start(dir).await?;

    say("1 GiB, interrupted at half");
    let (mut client, _) = lab.run(&path, Words::Own)?;
    client.event("uploading").await?;
    let there = loop {
        let there = partial(&lab.work_dir());
        if there >= size / 2 {
            break there;
        }
        tokio::time::sleep(LOOK).await;
    };
    // The second says not to wait until the worker has been told.
    client.signal(Signal::SIGINT)?;
    client.signal(Signal::SIGINT)?;
    client.ended().await?;
    lab.worker_is_free().await?;
    let kept = partial(&lab.work_dir());

    say("the same given again");
    let (mut client, _) = lab.run(&path, Words::Own)?;
    let (began, continued) = client.event("continued").await?;
    let (ended, _) = client.event("sent").await?;
    client.event("done").await?;
    client.success().await?;
    lab.worker_is_free().await?;
    lab.end().await;
    std::fs::remove_file(&path)?;

    let from = continued["bytes"].as_u64().context("no offset")?;
    ensure!(from == kept, "{from} bytes are not what was there, {kept}");
    let again = there.saturating_sub(from) as f64 / MIB;
    let rest = (size - from) as f64;
    Ok(vec![
        Figure::most(
            "1 GiB interrupted at half, sent twice",
            "MiB",
            Reach::AtMost(8.0),
            vec![again],
        ),
        Figure::median(
            "  sent when it is given again",
            "MiB",
            Reach::Nothing,
            vec![rest / MIB],
        ),
        Figure::median(
            "  from there until it is verified",
            "s",
            Reach::Nothing,
            vec![(ended - began).as_secs_f64()],
        ),
    ])
}

/// How much of the upload is at the worker, in bytes.
fn partial(work: &Path) -> u64 {
    let entries = std::fs::read_dir(work.join("partial"));
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_none())
        .filter_map(|path| path.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}
