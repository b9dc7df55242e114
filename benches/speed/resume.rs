//! An upload that is interrupted at half and given again.

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tokio::time::timeout;

use crate::lab::{Lab, Words};
use crate::report::{Figure, Reach};
use crate::wait::until;
use crate::{GIB, blocking, payload, room_for, say};

/// How often it is looked how much is there.
const LOOK: Duration = Duration::from_millis(2);
/// Longer than half of it takes, on a slow disk too.
const PATIENCE: Duration = Duration::from_secs(300);
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
    let half = || partial(&lab.work_dir()) >= size / 2;
    until("half of it is there", PATIENCE, LOOK, half).await?;
    let pid = client.pid();
    let mut given = read_of(pid, &path);
    // The second says not to wait until the worker has been told.
    client.signal(Signal::SIGINT)?;
    client.signal(Signal::SIGINT)?;
    let mut ended = pin!(client.ended());
    while timeout(LOOK, &mut ended).await.is_err() {
        given = given.max(read_of(pid, &path));
    }
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
    fs::remove_file(&path)?;

    let from = continued["bytes"].as_u64().context("no offset")?;
    ensure!(from == kept, "{from} bytes are not what was there, {kept}");
    ensure!(
        given >= from,
        "{from} bytes are there, and {given} were sent"
    );
    let again = (given - from) as f64 / MIB;
    let rest = (size - from) as f64;
    Ok(vec![
        Figure::most(
            "1 GiB interrupted at half, sent twice at most",
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

/// How far a process has read a file, which it does to send it: all that it can have sent, and what waits in it to be sent.
fn read_of(pid: i32, path: &Path) -> u64 {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    let open = open.into_iter().flatten().flatten();
    let ours = open.filter(|file| fs::read_link(file.path()).is_ok_and(|link| link == path));
    let position = |file: fs::DirEntry| {
        let number = file.file_name().into_string().ok()?;
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        info.lines()
            .find_map(|line| line.strip_prefix("pos:"))?
            .trim()
            .parse()
            .ok()
    };
    ours.filter_map(position).max().unwrap_or(0)
}

/// How much of the upload is at the worker, in bytes.
fn partial(work: &Path) -> u64 {
    let entries = fs::read_dir(work.join("partial"));
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
