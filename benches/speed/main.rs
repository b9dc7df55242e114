//! The figures that Loaner promises, measured on the real thing: `make bench`.
//!
//! A hub, a worker and clients run as processes of their own, and move files from disk to disk. Plain aiortc moves one
//! too, in the same run, and a plain relay beside the hub. A figure that is missed is reported, and is no error; contents that differ are one.

mod aiortc;
mod charts;
mod foreign;
mod healing;
mod hub;
mod lab;
mod managers;
mod memory;
mod output;
mod payload;
mod report;
mod rest;
mod resume;
mod rounds;
mod trainer;
mod transfer;
mod tunnel;
mod wait;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use lab::{Lab, Words};
use report::{Figure, Machine, Reach, Report};

/// Measures Loaner, and says what is reached.
#[derive(Debug, Parser)]
#[command(name = "speed")]
struct Args {
    /// What to measure; without it, everything.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Bring 4 GiB back too, instead of only sending them.
    #[arg(long)]
    full: bool,
    /// How often 1 GiB is sent and brought back.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Load the hub and watch the worker for seconds only: to see whether it works.
    #[arg(long)]
    short: bool,
    /// Be the trainer of the measurement: print lines for so many seconds.
    #[arg(long, hide = true, value_name = "SECONDS")]
    train: Option<u32>,
    /// Be the measurement of tunnels that heal, in a network of its own: so many rounds of each.
    #[arg(long, hide = true, value_name = "ROUNDS")]
    heal: Option<u32>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Events through charts, and exploring them.
    Charts,
    /// The time until the channel is open.
    Connect,
    /// Throughput, and memory with 1 GiB.
    Transfer,
    /// Memory with 4 GiB.
    Large,
    /// An upload that is interrupted and given again.
    Resume,
    /// A job that prints 200,000 lines a second.
    Output,
    /// TCP through a tunnel.
    Tunnel,
    /// Managers of tubes, many in one process.
    Managers,
    /// A tunnel whose network fails.
    Healing,
    /// A worker that waits.
    Rest,
    /// Sockets of the hub that do nothing.
    HubIdle,
    /// Messages between devices.
    HubRouted,
    /// Messages for devices that are away.
    HubStored,
    /// Handshakes with a token.
    HubHandshakes,
    /// The hub restarted under its clients.
    HubRestart,
}

impl Part {
    fn of(load: hub::Load) -> Part {
        match load {
            hub::Load::Idle => Part::HubIdle,
            hub::Load::Routed => Part::HubRouted,
            hub::Load::Stored => Part::HubStored,
            hub::Load::Handshakes => Part::HubHandshakes,
            hub::Load::Restart => Part::HubRestart,
        }
    }
}

/// How many clients connect, one after the other.
const CONNECTS: u32 = 20;
const GIB: u64 = 1 << 30;
/// What the machine keeps free whatever is measured.
const SPARE: u64 = 2 * GIB;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seconds) = args.train {
        return trainer::train(seconds);
    }
    if !args.bench {
        // `cargo test --all-targets` comes by here.
        eprintln!("speed: `cargo bench --bench speed` measures; nothing is done now");
        return ExitCode::SUCCESS;
    }
    let mut runtime = Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("speed: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(rounds) = args.heal {
        return runtime.block_on(healing::inside(rounds));
    }
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = measure(&args) => measured,
            stopped = stopped() => stopped,
        }
    });
    // A load that was stopped is not waited for.
    runtime.shutdown_background();
    match measured {
        Ok(report) => {
            if args.json {
                println!("{:#}", report.json());
            } else {
                print!("{report}");
            }
            if report.failures.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("speed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ctrl+C drops what is under way, and with it every process and file.
async fn stopped<T>() -> Result<T> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    bail!("stopped")
}

async fn measure(args: &Args) -> Result<Report> {
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let mut report = Report::new(Machine::look());
    let dir = tempfile::Builder::new()
        .prefix("speed-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .context("no directory for the files")?;

    if wanted(Part::Charts) {
        report.remark(report::quiet().await);
        say("charts");
        report
            .figures
            .extend(tokio::task::spawn_blocking(charts::measure).await?);
    }
    if wanted(Part::Connect) {
        report.remark(report::quiet().await);
        report.figures.push(connect(dir.path()).await?);
    }
    if wanted(Part::Transfer) {
        rounds::transfer(args.rounds, dir.path(), &mut report).await?;
    }
    if wanted(Part::Large) {
        rounds::large(args.full, dir.path(), &mut report).await?;
    }
    if wanted(Part::Resume) {
        report.figures.extend(resume::measure(dir.path()).await?);
    }
    if wanted(Part::Output) {
        report.remark(report::quiet().await);
        let figures = output::measure(args.short, dir.path()).await?;
        report.figures.extend(figures);
    }
    if wanted(Part::Tunnel) {
        report.remark(report::quiet().await);
        let figures = tunnel::measure(args.short, dir.path()).await?;
        report.figures.extend(figures);
    }
    if wanted(Part::Managers) {
        report.remark(report::quiet().await);
        report.figures.push(blocking(managers::measure).await?);
    }
    if wanted(Part::Healing) {
        healing::measure(args.short, &mut report).await?;
    }
    if wanted(Part::Rest) {
        report.remark(report::quiet().await);
        let figures = rest::measure(args.short, dir.path()).await?;
        report.figures.extend(figures);
    }
    for load in hub::Load::ALL {
        if wanted(Part::of(load)) {
            report.remark(report::quiet().await);
            // One that fails is no reason not to know the others.
            match hub::measure(load, args.short, dir.path()).await {
                Ok(figures) => report.figures.extend(figures),
                Err(error) => {
                    say(&format!("{error:#}"));
                    report.failures.push(format!("{error:#}"));
                }
            }
        }
    }
    if args.short {
        report.remark("the hub, and what waits or prints, was watched only briefly".to_owned());
    }
    report.ended();
    Ok(report)
}

fn say(what: &str) {
    eprintln!("speed: {what}");
}

/// Does something that blocks, beside everything else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

async fn connect(dir: &Path) -> Result<Figure> {
    let package = dir.join("nothing.zip");
    payload::package(&package, 0, "true")?;
    let mut lab = Lab::start(dir).await?;
    let mut milliseconds = Vec::new();
    for number in 1..=CONNECTS {
        say(&format!("connection {number} of {CONNECTS}"));
        let (mut client, began) = lab.run(&package, Words::Own)?;
        let (connected, _) = client.event("connected").await?;
        milliseconds.push((connected - began).as_secs_f64() * 1e3);
        client.success().await?;
        lab.worker_is_free().await?;
    }
    lab.end().await;
    Ok(Figure::median(
        "`loaner run` started to channel open",
        "ms",
        Reach::AtMost(150.0),
        milliseconds,
    ))
}

fn room_for(dir: &Path, bytes: u64) -> Result<()> {
    use loaner::worker::jobs::disk::{free_space, human};
    let free = free_space(dir)?;
    if free < bytes + SPARE {
        bail!(
            "{} are free in {}, and {} are needed",
            human(free),
            dir.display(),
            human(bytes + SPARE)
        );
    }
    Ok(())
}

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
