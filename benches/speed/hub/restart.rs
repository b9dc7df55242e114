//! A hub that is restarted under its clients: how long until the last one is back, and whether anything is lost.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jsonwebtoken::Algorithm;
use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::comeback::{Load, client};
use super::load::{Bench, PATIENCE, on_one_thread};
use super::server::{Kind, Server};
use crate::report::{Figure, Reach};
use crate::{say, wait};

/// Clients that write to others all the time.
const SENDERS: usize = 100;
/// How long messages go on before and after.
const BEFORE: Duration = Duration::from_secs(2);
/// How often it is looked how far the clients are.
const LOOK: Duration = Duration::from_millis(10);
/// Time between two clients that connect at first.
const OPENING: Duration = Duration::from_micros(300);

/// What a restart came to.
struct Outcome {
    /// Seconds until the last client was back.
    seconds: f64,
    /// Share of the clients that were told to come back, in percent.
    told: f64,
    /// Share of the clients whose session went on, in percent.
    resumed: f64,
    twice: f64,
    messages: f64,
    /// Messages that the hub asked to be sent again.
    refused: f64,
}

/// The figures.
pub async fn measure(bench: Bench<'_>) -> Result<Vec<Figure>> {
    let clients = bench.size.clients;
    let mut figures = Vec::new();
    for (signal, name) in [
        (Signal::SIGTERM, "restart"),
        (Signal::SIGKILL, "kill -9 and start"),
    ] {
        let mut outcomes = Vec::new();
        for round in 1..=bench.size.rounds {
            say(&format!("{name} with {clients} clients, round {round}"));
            outcomes.push(run(bench, signal).await?);
        }
        let of = |what: fn(&Outcome) -> f64| outcomes.iter().map(what).collect::<Vec<_>>();
        let reach = Reach::AtMost(15.0);
        // A hub that is killed has saved no session.
        let resumed = match signal {
            Signal::SIGTERM => Reach::AtLeast(100.0),
            _ => Reach::Nothing,
        };
        let what = format!("{name}: {clients} clients are back");
        figures.extend([
            Figure::most(&what, "s", reach, of(|outcome| outcome.seconds)),
            Figure::median(
                "  told to come back",
                "%",
                Reach::Nothing,
                of(|outcome| outcome.told),
            ),
            Figure::median(
                "  with their session",
                "%",
                resumed,
                of(|outcome| outcome.resumed),
            ),
            Figure::median(
                "  messages meanwhile, none lost",
                "",
                Reach::Nothing,
                of(|outcome| outcome.messages),
            ),
            Figure::median(
                "  of them twice, sent again",
                "",
                Reach::Nothing,
                of(|outcome| outcome.twice),
            ),
            Figure::median(
                "  of them refused at first",
                "",
                Reach::Nothing,
                of(|outcome| outcome.refused),
            ),
        ]);
    }
    Ok(figures)
}

async fn run(bench: Bench<'_>, signal: Signal) -> Result<Outcome> {
    let (hub, dir) = bench.server(Kind::Hub).await?;
    let tokens = bench
        .issuer
        .tokens(Algorithm::HS256, 'c', bench.size.clients)?;
    let addr = hub.addr;
    let restarting = Arc::new(AtomicBool::new(false));
    let planned = signal == Signal::SIGTERM;
    let (ready, is_ready) = oneshot::channel();
    let load = tokio::spawn(on_one_thread({
        let restarting = Arc::clone(&restarting);
        move || run_clients(addr, tokens, planned, restarting, ready)
    }));
    if is_ready.await.is_err() {
        // It ended before all were connected, and says why.
        load.await??;
        bail!("the clients did not connect");
    }
    restarting.store(true, Ordering::Relaxed);
    let start = Instant::now();
    hub.end(signal).await?;
    // To the end of the load.
    let _hub = Server::start(Kind::Hub, dir.path(), bench.issuer, Some(addr)).await?;
    let (mut outcome, last_back) = load.await??;
    outcome.seconds = (last_back - start).as_secs_f64();
    Ok(outcome)
}

async fn run_clients(
    addr: SocketAddr,
    tokens: Vec<String>,
    planned: bool,
    restarting: Arc<AtomicBool>,
    ready: oneshot::Sender<()>,
) -> Result<(Outcome, Instant)> {
    let clients = tokens.len();
    let load = Rc::new(Load {
        addr,
        tokens,
        planned,
        restarting,
        stopping: Cell::default(),
        connected: Cell::default(),
        back: Cell::default(),
        last_back: Cell::new(Instant::now()),
        told: Cell::default(),
        resumed: Cell::default(),
        arrived: RefCell::default(),
        resent: RefCell::default(),
        twice: Cell::default(),
        open: (0..SENDERS.min(clients))
            .map(|_| RefCell::default())
            .collect(),
        sent: Cell::default(),
        refused: Cell::default(),
    });
    let (failed, mut failures) = mpsc::unbounded_channel();
    for index in 0..clients {
        let (load, failed) = (Rc::clone(&load), failed.clone());
        spawn_local(async move {
            sleep(OPENING * u32::try_from(index).unwrap_or(u32::MAX)).await;
            let error = client(&load, index).await;
            // The load may be over.
            let _ = failed.send(error);
        });
    }
    let steps = async {
        until("all clients are connected", || {
            load.connected.get() == clients
        })
        .await?;
        sleep(BEFORE).await;
        // Fails when the other side is gone, and then so is the hub.
        let _ = ready.send(());
        until("all clients are back", || load.back.get() == clients).await?;
        sleep(BEFORE).await;
        load.stopping.set(true);
        let all_confirmed = || load.open.iter().all(|open| open.borrow().is_empty());
        until("every message is confirmed", all_confirmed).await?;
        until("every message has arrived", || {
            load.arrived.borrow().len() == load.sent.get()
        })
        .await
    };
    tokio::select! {
        done = steps => done.with_context(|| format!(
            "{} connected, {} back, {} sent, {} arrived",
            load.connected.get(), load.back.get(), load.sent.get(), load.arrived.borrow().len()
        ))?,
        Some(error) = failures.recv() => return Err(error),
    }
    let share = |count: usize| count as f64 / clients as f64 * 100.0;
    let outcome = Outcome {
        seconds: 0.0,
        told: share(load.told.get()),
        resumed: share(load.resumed.get()),
        messages: load.sent.get() as f64,
        refused: load.refused.get() as f64,
        twice: load.twice.get() as f64,
    };
    Ok((outcome, load.last_back.get()))
}

async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    wait::until(what, PATIENCE, LOOK, holds).await
}
