//! Messages from device to device: as many as go through, and how long each takes at half of what is asked for.
//!
//! A sender that waits for room sends many at once, which costs a server less for each; so it is also looked whether what is
//! asked for goes through when each message is sent for itself.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jsonwebtoken::Algorithm;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use super::load::{Bench, PATIENCE, on_one_thread, open_all};
use super::pairs::{Load, PAIRS, Pair, WARM_UP, confirm, pace, press, receive};
use super::server::{Kind, Server, cpu_seconds, own_cpu_seconds};
use crate::report::{Figure, Reach};
use crate::say;

/// Messages a second that are asked for.
const WANTED: f64 = 60_000.0;
/// A little more, so that it can be reached on the average.
const SINGLE: f64 = WANTED * 1.01;

/// What one run came to.
struct Outcome {
    /// Messages a second.
    rate: f64,
    /// Cores that the server and the load kept busy.
    server_cores: f64,
    load_cores: f64,
    /// In milliseconds, ascending; empty where it was not asked for.
    latencies: Vec<f64>,
}

/// The figures.
pub async fn measure(bench: Bench<'_>) -> Result<Vec<Figure>> {
    let (hub, _hub_dir) = bench.server(Kind::Hub).await?;
    let (relay, _relay_dir) = bench.server(Kind::Relay).await?;
    let senders = bench.issuer.tokens(Algorithm::HS256, 's', PAIRS)?;
    let recipients = bench.issuer.tokens(Algorithm::HS256, 'r', PAIRS)?;
    let tokens = (senders, recipients);
    let run = async |kind: Kind, rate: Option<f64>| {
        let server: &Server = if kind == Kind::Hub { &hub } else { &relay };
        let (addr, pid, tokens) = (server.addr, server.pid(), tokens.clone());
        let duration = Duration::from_secs_f64(bench.size.seconds);
        on_one_thread(move || run(kind, addr, pid, tokens, rate, duration)).await
    };
    let (mut most, mut paced, mut single) = (Vec::new(), Vec::new(), Vec::new());
    let (mut relay_most, mut relay_paced) = (Vec::new(), Vec::new());
    for round in 1..=bench.size.rounds {
        say(&format!("messages between devices, round {round}: the hub"));
        most.push(run(Kind::Hub, None).await?);
        paced.push(run(Kind::Hub, Some(WANTED / 2.0)).await?);
        single.push(run(Kind::Hub, Some(SINGLE)).await?);
        say(&format!(
            "messages between devices, round {round}: the relay"
        ));
        let outcome = run(Kind::Relay, None).await?;
        let half = outcome.rate / 2.0;
        relay_most.push(outcome);
        relay_paced.push(run(Kind::Relay, Some(half)).await?);
    }
    let rates = |outcomes: &[Outcome]| outcomes.iter().map(|o| o.rate).collect::<Vec<_>>();
    let late = |outcomes: &[Outcome], share: f64| {
        outcomes
            .iter()
            .filter_map(|o| percentile(&o.latencies, share))
            .collect::<Vec<_>>()
    };
    let server = |outcomes: &[Outcome]| outcomes.iter().map(|o| o.server_cores).collect();
    let load = |outcomes: &[Outcome]| outcomes.iter().map(|o| o.load_cores).collect();
    let (rate, relay_rate) = (rates(&most), rates(&relay_most));
    let times = rate
        .iter()
        .zip(&relay_rate)
        .map(|(hub, relay)| hub / relay)
        .collect();
    Ok(vec![
        Figure::median(
            "messages between devices",
            "/s",
            Reach::AtLeast(WANTED),
            rate,
        ),
        Figure::median("  cores busy, hub", "cores", Reach::Nothing, server(&most)),
        Figure::median("  cores busy, load", "cores", Reach::Nothing, load(&most)),
        Figure::median("  plain relay", "/s", Reach::Nothing, relay_rate),
        Figure::median("  compared with the relay", "times", Reach::Nothing, times),
        Figure::median(
            "messages sent one by one",
            "/s",
            Reach::AtLeast(WANTED),
            rates(&single),
        ),
        Figure::median(
            "  99 of 100 within",
            "ms",
            Reach::Nothing,
            late(&single, 0.99),
        ),
        Figure::median(
            "  cores busy, hub",
            "cores",
            Reach::Nothing,
            server(&single),
        ),
        Figure::median("  cores busy, load", "cores", Reach::Nothing, load(&single)),
        Figure::median(
            "99 of 100 within, at 30,000/s",
            "ms",
            Reach::AtMost(10.0),
            late(&paced, 0.99),
        ),
        Figure::median(
            "  half of them within",
            "ms",
            Reach::Nothing,
            late(&paced, 0.5),
        ),
        Figure::median("  cores busy, hub", "cores", Reach::Nothing, server(&paced)),
        Figure::median("  cores busy, load", "cores", Reach::Nothing, load(&paced)),
        Figure::median(
            "  relay, at half of its most",
            "ms",
            Reach::Nothing,
            late(&relay_paced, 0.99),
        ),
        Figure::median(
            "  relay, half within",
            "ms",
            Reach::Nothing,
            late(&relay_paced, 0.5),
        ),
    ])
}

fn percentile(ascending: &[f64], share: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    ascending
        .get((last as f64 * share).round() as usize)
        .copied()
}

/// One run: as fast as it goes, or `rate` messages a second whatever happens.
async fn run(
    kind: Kind,
    addr: SocketAddr,
    pid: i32,
    (senders, recipients): (Vec<String>, Vec<String>),
    rate: Option<f64>,
    duration: Duration,
) -> Result<Outcome> {
    let load = Rc::new(Load {
        kind,
        start: Instant::now(),
        stopping: Cell::new(false),
        pairs: std::iter::repeat_with(Pair::default).take(PAIRS).collect(),
        latencies: RefCell::default(),
        counted: Cell::new(u64::MAX),
    });
    let recipients = open_all(addr, &recipients).await?;
    let senders = open_all(addr, &senders).await?;
    let mut tasks: Vec<JoinHandle<Result<()>>> = Vec::new();
    for (pair, (reader, writer)) in recipients.into_iter().enumerate() {
        tasks.push(spawn_local(receive(Rc::clone(&load), pair, reader, writer)));
    }
    let watch = async |after: Duration| {
        sleep(after).await;
        (
            load.total(|pair| pair.received.get()),
            cpu_seconds(pid),
            own_cpu_seconds(),
            Instant::now(),
        )
    };
    let (before, after) = match rate {
        None => {
            for (pair, (reader, writer)) in senders.into_iter().enumerate() {
                tasks.push(spawn_local(press(Rc::clone(&load), pair, reader, writer)));
            }
            (watch(WARM_UP).await, watch(duration).await)
        }
        Some(rate) => {
            let mut writers = Vec::new();
            for (pair, (reader, writer)) in senders.into_iter().enumerate() {
                writers.push(writer);
                tasks.push(spawn_local(confirm(Rc::clone(&load), pair, reader)));
            }
            let pacing = spawn_local(pace(Rc::clone(&load), writers, rate, WARM_UP + duration));
            let seen = (watch(WARM_UP).await, watch(duration).await);
            pacing.await??;
            seen
        }
    };
    load.stopping.set(true);
    let ending = async {
        while !load.is_over() {
            if let Some(failed) = tasks.iter().position(JoinHandle::is_finished) {
                // It failed, or is a sender that has all its receipts.
                tasks.swap_remove(failed).await??;
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    if timeout(PATIENCE, ending)
        .await
        .map_or(Ok(false), |ended| ended.map(|()| true))?
    {
        tasks.iter().for_each(JoinHandle::abort);
    } else {
        bail!(
            "{kind:?}: of {} messages, {} arrived and {} were confirmed",
            load.total(|pair| pair.sent.get()),
            load.total(|pair| pair.received.get()),
            load.total(|pair| pair.confirmed.get()),
        );
    }
    let seconds = (after.3 - before.3).as_secs_f64();
    let mut latencies: Vec<f64> = load
        .latencies
        .borrow()
        .iter()
        .map(|&us| f64::from(us) / 1e3)
        .collect();
    latencies.sort_by(f64::total_cmp);
    Ok(Outcome {
        rate: (after.0 - before.0) as f64 / seconds,
        server_cores: (after.1 - before.1) / seconds,
        load_cores: (after.2 - before.2) / seconds,
        latencies,
    })
}
