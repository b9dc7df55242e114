//! The figures that Loaner promises, measured on the real thing: `make bench`.
//!
//! A hub, a worker and clients run as processes of their own, and move files from disk to disk. Plain aiortc moves one
//! too, in the same run, and a plain relay beside the hub. A figure that is missed is reported, and is no error; contents that differ are one.

mod charts;
mod hub;
mod lab;
mod payload;
mod report;
mod transfer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use lab::Lab;
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
    /// Load the hub for seconds only, with fewer sockets: to see whether it works.
    #[arg(long)]
    short: bool,
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
/// What aiortc moves: it needs seconds for this.
const PEER_MIB: u32 = 64;
const GIB: u64 = 1 << 30;
/// What the machine keeps free whatever is measured.
const SPARE: u64 = 2 * GIB;

fn main() -> ExitCode {
    let args = Args::parse();
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
        transfer(args.rounds, dir.path(), &mut report).await?;
    }
    if wanted(Part::Large) {
        large(args.full, dir.path(), &mut report).await?;
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
        report.remark("the hub was loaded only briefly".to_owned());
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
        let (mut client, began) = lab.run(&package)?;
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

async fn transfer(rounds: u32, dir: &Path, report: &mut Report) -> Result<()> {
    room_for(dir, 5 * GIB)?;
    say("making a package of 1 GiB");
    let path = dir.join("payload.zip");
    let package = path.clone();
    let sent = blocking(move || payload::package(&package, GIB, payload::KEEP)).await?;
    let mut lab = Lab::start(dir).await?;
    let (mut up, mut down, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let (mut packing, mut client_peaks) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}: 1 GiB there and back"));
        report.remark(report::quiet().await);
        let trip = transfer::there_and_back(&mut lab, &path, &sent).await?;
        up.push(trip.up);
        down.extend(trip.down);
        packing.push(trip.packing);
        client_peaks.push(trip.client_peak);
        say(&format!(
            "round {round} of {rounds}: aiortc, {PEER_MIB} MiB"
        ));
        report.remark(report::quiet().await);
        match transfer::aiortc(PEER_MIB, dir).await {
            Ok(speed) => peer.push(speed),
            Err(error) => report.remark(format!("aiortc was not measured: {error:#}")),
        }
    }
    let worker_peak = lab.worker_peak();
    lab.end().await;
    std::fs::remove_file(&path)?;

    let aiortc = report::median(&peer);
    for (what, legs) in [
        ("1 GiB, client to worker", up),
        ("1 GiB, worker to client", down),
    ] {
        let speeds: Vec<f64> = legs.iter().map(|leg| leg.speed).collect();
        let costs = legs.iter().map(|leg| leg.cost).collect();
        let times = aiortc.map(|aiortc| speeds.iter().map(|speed| speed / aiortc).collect());
        report.figures.extend([
            Figure::median(what, "MB/s", Reach::AtLeast(250.0), speeds),
            Figure::median(
                "  compared with aiortc",
                "times",
                Reach::AtLeast(12.0),
                times.unwrap_or_default(),
            ),
            Figure::median("  processor time, both ends", "s/GB", Reach::Nothing, costs),
        ]);
    }
    report.figures.push(Figure::median(
        &format!("  plain aiortc, {PEER_MIB} MiB"),
        "MB/s",
        Reach::Nothing,
        peer,
    ));
    report.figures.push(Figure::median(
        "packing 1 GiB of results",
        "s",
        Reach::Nothing,
        packing,
    ));
    report.figures.push(Figure::most(
        "1 GiB, memory of the worker",
        "MiB",
        Reach::AtMost(96.0),
        vec![worker_peak],
    ));
    report.figures.push(Figure::most(
        "1 GiB, memory of the client",
        "MiB",
        Reach::AtMost(96.0),
        client_peaks,
    ));
    Ok(())
}

async fn large(full: bool, dir: &Path, report: &mut Report) -> Result<()> {
    // The package, its copy at the worker, what is unpacked, and the results on both sides.
    let copies = if full { 5 } else { 3 };
    if let Err(error) = room_for(dir, copies * 4 * GIB) {
        report.remark(format!("4 GiB were not moved: {error:#}"));
        return Ok(());
    }
    say("making a package of 4 GiB");
    let path = dir.join("large.zip");
    let (package, command) = (path.clone(), if full { payload::KEEP } else { "true" });
    let sent = blocking(move || payload::package(&package, 4 * GIB, command)).await?;
    let mut lab = Lab::start(dir).await?;
    say(if full {
        "4 GiB there and back"
    } else {
        "4 GiB there"
    });
    let trip = if full {
        transfer::there_and_back(&mut lab, &path, &sent).await?
    } else {
        transfer::there(&mut lab, &path).await?
    };
    let worker_peak = lab.worker_peak();
    lab.end().await;
    std::fs::remove_file(&path)?;
    for (whose, peak) in [("worker", worker_peak), ("client", trip.client_peak)] {
        report.figures.push(Figure::most(
            &format!("4 GiB, memory of the {whose}"),
            "MiB",
            Reach::AtMost(96.0),
            vec![peak],
        ));
    }
    Ok(())
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
