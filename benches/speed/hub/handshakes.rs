//! Connect, show a token, be let in, say goodbye.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use jsonwebtoken::Algorithm;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::load::{Bench, on_one_thread, open, route};
use super::server::{Kind, Server, cpu_seconds, own_cpu_seconds};
use crate::report::{Figure, Reach};
use crate::say;

/// Handshakes under way at a time.
const AT_ONCE: usize = 64;
/// Users who take turns; each is away when its turn comes.
const USERS: usize = 4096;
const WANTED: f64 = 2000.0;

struct Outcome {
    rate: f64,
    server_cores: f64,
    load_cores: f64,
}

/// The figures.
pub async fn measure(bench: Bench<'_>) -> Result<Vec<Figure>> {
    let (hub, _hub_dir) = bench.server(Kind::Hub).await?;
    let (relay, _relay_dir) = bench.server(Kind::Relay).await?;
    let hmac = bench.issuer.tokens(Algorithm::HS256, 'h', USERS)?;
    let ecdsa = bench.issuer.tokens(Algorithm::ES256, 'e', USERS)?;
    let seconds = bench.size.seconds / 2.0;
    let (mut by_hmac, mut by_ecdsa, mut by_relay) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=bench.size.rounds {
        say(&format!("handshakes, round {round}"));
        by_hmac.push(run(&hub, hmac.clone(), seconds).await?);
        by_ecdsa.push(run(&hub, ecdsa.clone(), seconds).await?);
        by_relay.push(run(&relay, hmac.clone(), seconds).await?);
    }
    let rates = |outcomes: &[Outcome]| outcomes.iter().map(|o| o.rate).collect::<Vec<_>>();
    let (rate, relay_rate) = (rates(&by_hmac), rates(&by_relay));
    let times = rate
        .iter()
        .zip(&relay_rate)
        .map(|(hub, relay)| hub / relay)
        .collect();
    let hub_cores = by_hmac.iter().map(|o| o.server_cores).collect();
    let load_cores = by_hmac.iter().map(|o| o.load_cores).collect();
    Ok(vec![
        Figure::median(
            "handshakes with a token (HS256)",
            "/s",
            Reach::AtLeast(WANTED),
            rate,
        ),
        Figure::median("  cores busy, hub", "cores", Reach::Nothing, hub_cores),
        Figure::median("  cores busy, load", "cores", Reach::Nothing, load_cores),
        Figure::median("  plain relay", "/s", Reach::Nothing, relay_rate),
        Figure::median("  compared with the relay", "times", Reach::Nothing, times),
        Figure::median(
            "handshakes with a token (ES256)",
            "/s",
            Reach::AtLeast(WANTED),
            rates(&by_ecdsa),
        ),
    ])
}

async fn run(server: &Server, tokens: Vec<String>, seconds: f64) -> Result<Outcome> {
    let (addr, pid) = (server.addr, server.pid());
    on_one_thread(move || async move {
        let (next, done) = (Rc::new(Cell::new(0_usize)), Rc::new(Cell::new(0_u32)));
        let tokens = Rc::new(tokens);
        let tasks: Vec<JoinHandle<Result<()>>> = (0..AT_ONCE)
            .map(|_| {
                let (next, done, tokens) = (Rc::clone(&next), Rc::clone(&done), Rc::clone(&tokens));
                spawn_local(async move {
                    loop {
                        let number = next.replace(next.get() + 1);
                        let token = &tokens[number % tokens.len()];
                        let (reader, mut writer) = open(route(addr, number), token, "").await?;
                        writer.close();
                        writer.flush().await?;
                        reader.end().await;
                        done.set(done.get() + 1);
                    }
                })
            })
            .collect();
        let look = || {
            (
                done.get(),
                cpu_seconds(pid),
                own_cpu_seconds(),
                Instant::now(),
            )
        };
        sleep(Duration::from_secs_f64(seconds / 5.0)).await;
        let before = look();
        sleep(Duration::from_secs_f64(seconds)).await;
        let after = look();
        for task in tasks {
            if task.is_finished() {
                task.await??;
            } else {
                task.abort();
            }
        }
        let seconds = (after.3 - before.3).as_secs_f64();
        Ok(Outcome {
            rate: f64::from(after.0 - before.0) / seconds,
            server_cores: (after.1 - before.1) / seconds,
            load_cores: (after.2 - before.2) / seconds,
        })
    })
    .await
}
