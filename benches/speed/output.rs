//! A job that prints 200,000 lines a second, with a client that takes them and with one that takes nothing for a while.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::lab::Lab;
use crate::report::{Figure, Reach};
use crate::wait::until;
use crate::{blocking, payload, say, trainer};

/// How long the job may be held up in all by a client that does not keep up, in seconds.
const WAIT: u32 = 3;
/// How often it is looked whether the trainer is done.
const LOOK: Duration = Duration::from_millis(20);
/// Longer than the trainer takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of one job.
struct Outcome {
    /// Lines a second that the trainer printed.
    rate: f64,
    /// How long it was held up, in seconds.
    held: f64,
    /// Of its lines, how many the log has and how many the client was shown, in percent.
    logged: f64,
    shown: f64,
}

/// The figures.
pub async fn measure(short: bool, dir: &Path) -> Result<Vec<Figure>> {
    let seconds = if short { 3 } else { 10 };
    let mut lab = Lab::start_with(dir, &["--output-wait", &WAIT.to_string()]).await?;
    say("a job that prints 200,000 lines a second");
    let taken = job(&mut lab, dir, seconds, false).await?;
    say("the same, and its client takes nothing");
    let stopped = job(&mut lab, dir, seconds, true).await?;
    let peak = lab.worker_peak();
    lab.end().await;
    let mut figures = Vec::new();
    for (client, outcome, most) in [
        ("its client keeps up", taken, Reach::Nothing),
        (
            "its client is stopped",
            stopped,
            Reach::AtMost(f64::from(WAIT)),
        ),
    ] {
        for (what, unit, reach, value) in [
            (
                format!("a job prints, {client}"),
                "lines/s",
                Reach::Nothing,
                outcome.rate,
            ),
            ("  held up in all".to_owned(), "s", most, outcome.held),
            (
                "  lines in the log".to_owned(),
                "%",
                Reach::AtLeast(100.0),
                outcome.logged,
            ),
            (
                "  lines that the client saw".to_owned(),
                "%",
                Reach::Nothing,
                outcome.shown,
            ),
        ] {
            figures.push(Figure::median(&what, unit, reach, vec![value]));
        }
    }
    let what = "  memory of the worker, both";
    figures.push(Figure::most(what, "MiB", Reach::AtMost(96.0), vec![peak]));
    Ok(figures)
}

async fn job(lab: &mut Lab, dir: &Path, seconds: u32, stopped: bool) -> Result<Outcome> {
    let place = tempfile::tempdir_in(dir)?;
    let dir = place.path();
    let (here, program) = (dir.display(), std::env::current_exe()?);
    let command = format!("cd '{here}' && '{}' --train {seconds}", program.display());
    let package = dir.join("trainer.zip");
    payload::package(&package, 0, &command)?;

    let shown = dir.join("shown");
    let args = ["run".as_ref(), package.as_ref(), "--json".as_ref()];
    let mut client = lab.client(&args, File::create(&shown)?)?;
    if stopped {
        let much = || shown.metadata().is_ok_and(|meta| meta.len() > 1 << 20);
        until("the client shows much", PATIENCE, LOOK, much).await?;
        client.signal(Signal::SIGSTOP)?;
    }
    let said = dir.join(trainer::SAID);
    until("the trainer is done", PATIENCE, LOOK, || said.exists()).await?;
    client.signal(Signal::SIGCONT)?;
    client.success().await?;
    lab.worker_is_free().await?;

    let log = dir.join("log");
    lab.client(&["logs".as_ref()], File::create(&log)?)?
        .success()
        .await?;
    let said: Value = serde_json::from_slice(&std::fs::read(said)?)?;
    let number = |name: &str| said[name].as_f64().context("the trainer says nothing");
    let lines = number("lines")?;
    let (logged, seen) = blocking(move || Ok((in_log(&log)?, seen(&shown)?))).await?;
    Ok(Outcome {
        rate: lines / number("seconds")?,
        held: number("held")?,
        logged: f64::from(logged) / lines * 100.0,
        shown: f64::from(seen) / lines * 100.0,
    })
}

/// How many lines are in the log: all that there are, in their order.
fn in_log(log: &Path) -> Result<u32> {
    let mut next = 0;
    for line in BufReader::new(File::open(log)?).lines() {
        let line = line?;
        ensure!(line == trainer::line(next).trim_end(), "in the log: {line}");
        next += 1;
    }
    Ok(next)
}

/// How many lines the client was shown. What was left out is where it was told that something is, and nowhere else.
fn seen(shown: &Path) -> Result<u32> {
    let (mut at, mut seen) = (0, 0);
    let length = trainer::line(0).len() as u64;
    for event in BufReader::new(File::open(shown)?).lines() {
        let event: Value = serde_json::from_str(&event?)?;
        if event["event"] == "left_out" {
            ensure!(event["from"] == at, "{event}, and not from {at}");
            at = event["to"].as_u64().context("no end")?;
        }
        if event["event"] == "output" {
            let number = u32::try_from(at / length)?;
            ensure!(event["text"] == trainer::line(number), "{event} at {at}");
            at += length;
            seen += 1;
        }
    }
    Ok(seen)
}
