//! Throughput and memory.

use std::path::Path;

use anyhow::Result;

use crate::lab::{Lab, Words};
use crate::report::{self, Figure, Reach, Report};
use crate::transfer::{self, Leg};
use crate::{GIB, aiortc, blocking, payload, room_for, say};

/// What aiortc moves: it needs seconds for this.
const PEER_MIB: u32 = 64;

/// 1 GiB there and back in Loaner's own words and in those of sleap-rtc, and what aiortc moves, in turn.
pub async fn transfer(rounds: u32, dir: &Path, report: &mut Report) -> Result<()> {
    room_for(dir, 5 * GIB)?;
    say("making a package of 1 GiB");
    let path = dir.join("payload.zip");
    let package = path.clone();
    let sent = blocking(move || payload::package(&package, GIB, payload::KEEP)).await?;
    let mut lab = Lab::start(dir).await?;
    let (mut own, mut inherited, mut plain) = (Legs::default(), Legs::default(), Plain::default());
    let (mut packing, mut client_peaks) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (words, name, legs) in [
            (Words::Own, "verified", &mut own),
            (
                Words::Inherited,
                "in the words of sleap-rtc",
                &mut inherited,
            ),
        ] {
            say(&format!(
                "round {round} of {rounds}: 1 GiB there and back, {name}"
            ));
            report.remark(report::quiet().await);
            let trip = transfer::there_and_back(&mut lab, &path, &sent, words).await?;
            legs.up.push(trip.up);
            legs.down.extend(trip.down);
            packing.push(trip.packing);
            client_peaks.push(trip.client_peak);
        }
        say(&format!(
            "round {round} of {rounds}: aiortc, {PEER_MIB} MiB"
        ));
        plain.measure(dir, report).await;
    }
    let worker_peak = lab.worker_peak();
    lab.end().await;
    std::fs::remove_file(&path)?;

    let aiortc = report::median(&plain.pair);
    for (what, least, legs) in [
        ("1 GiB verified, client to worker", 300.0, own.up),
        ("1 GiB verified, worker to client", 300.0, own.down),
        ("1 GiB, client to worker", 250.0, inherited.up),
        ("1 GiB, worker to client", 250.0, inherited.down),
    ] {
        let speeds: Vec<f64> = legs.iter().map(|leg| leg.speed).collect();
        let costs = legs.iter().map(|leg| leg.cost).collect();
        report.figures.extend([
            Figure::median(what, "MB/s", Reach::AtLeast(least), speeds.clone()),
            compared(&speeds, aiortc, 12.0),
            Figure::median("  processor time, both ends", "s/GB", Reach::Nothing, costs),
        ]);
    }
    let pair = format!("plain aiortc, {PEER_MIB} MiB");
    let pair = Figure::median(&pair, "MB/s", Reach::Nothing, plain.pair);
    report.figures.push(pair);
    for (what, speeds) in [
        ("aiortc client to our worker", plain.up),
        ("our worker to aiortc client", plain.down),
    ] {
        report.figures.extend([
            Figure::median(what, "MB/s", Reach::Nothing, speeds.clone()),
            compared(&speeds, aiortc, 1.2),
        ]);
    }
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

/// Both directions of the trips in one kind of words.
#[derive(Default)]
struct Legs {
    up: Vec<Leg>,
    down: Vec<Leg>,
}

/// What plain aiortc reaches, in MB/s.
#[derive(Default)]
struct Plain {
    pair: Vec<f64>,
    up: Vec<f64>,
    down: Vec<f64>,
}

impl Plain {
    async fn measure(&mut self, dir: &Path, report: &mut Report) {
        report.remark(report::quiet().await);
        match aiortc::pair(PEER_MIB, dir).await {
            Ok(speed) => self.pair.push(speed),
            Err(error) => report.remark(format!("aiortc was not measured: {error:#}")),
        }
        report.remark(report::quiet().await);
        match aiortc::with_worker(PEER_MIB, dir).await {
            Ok((up, down)) => {
                self.up.push(up);
                self.down.push(down);
            }
            Err(error) => report.remark(format!(
                "aiortc with our worker was not measured: {error:#}"
            )),
        }
    }
}

/// How many times as fast as aiortc with itself.
fn compared(speeds: &[f64], aiortc: Option<f64>, least: f64) -> Figure {
    let times = aiortc.map(|aiortc| speeds.iter().map(|speed| speed / aiortc).collect());
    let reach = Reach::AtLeast(least);
    Figure::median(
        "  compared with aiortc",
        "times",
        reach,
        times.unwrap_or_default(),
    )
}

/// 4 GiB: the memory of both ends.
pub async fn large(full: bool, dir: &Path, report: &mut Report) -> Result<()> {
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
        transfer::there_and_back(&mut lab, &path, &sent, Words::Own).await?
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
