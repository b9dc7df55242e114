//! Sockets that do nothing but answer pings.

use std::time::Duration;

use anyhow::Result;
use jsonwebtoken::Algorithm;
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::load::{Bench, on_one_thread, open_all};
use super::server::{Kind, cpu_seconds, resident_kib};
use super::socket::{PING, Reader, Writer};
use crate::report::{Figure, Reach};
use crate::say;

/// Until what the handshakes left is settled.
const SETTLING: Duration = Duration::from_secs(5);
/// Sockets that come and go before it is looked how much memory a server has without any.
const WARM_UP: usize = 100;

/// What idle sockets cost a server.
struct Cost {
    /// Resident memory for each, in KiB.
    memory: f64,
    /// Share of a core for all, in percent.
    core: f64,
}

/// The figures.
pub async fn measure(bench: Bench<'_>) -> Result<Vec<Figure>> {
    let count = bench.size.idle;
    say(&format!("{count} idle sockets: the hub"));
    let hub = cost(Kind::Hub, bench).await?;
    say(&format!("{count} idle sockets: the relay"));
    let relay = cost(Kind::Relay, bench).await?;
    let what = format!("{count} idle sockets, memory of each");
    Ok(vec![
        Figure::median(&what, "KiB", Reach::AtMost(10.0), vec![hub.memory]),
        Figure::median("  plain relay", "KiB", Reach::Nothing, vec![relay.memory]),
        Figure::median(
            "  relay, compared",
            "times",
            Reach::Nothing,
            vec![relay.memory / hub.memory],
        ),
        Figure::median(
            "  share of a core, all",
            "%",
            Reach::AtMost(5.0),
            vec![hub.core],
        ),
        Figure::median("  plain relay", "%", Reach::Nothing, vec![relay.core]),
    ])
}

async fn cost(kind: Kind, bench: Bench<'_>) -> Result<Cost> {
    let (server, _dir) = bench.server(kind).await?;
    let (pid, addr, size) = (server.pid(), server.addr, bench.size);
    let tokens = bench.issuer.tokens(Algorithm::HS256, 'i', size.idle)?;
    on_one_thread(move || async move {
        drop(open_all(addr, &tokens[..WARM_UP.min(tokens.len())]).await?);
        sleep(Duration::from_secs(1)).await;
        let before = resident_kib(pid)?;
        let sockets = open_all(addr, &tokens).await?;
        let count = sockets.len() as f64;
        let (failed, mut failure) = oneshot::channel();
        let mut failed = Some(failed);
        let waiting: Vec<_> = sockets
            .into_iter()
            .map(|(reader, writer)| spawn_local(answer(reader, writer)))
            .collect();
        let watching = spawn_local(async move {
            // None ends by itself.
            let (ended, ..) = futures_util::future::select_all(waiting).await;
            if let (Some(failed), Ok(Err(error))) = (failed.take(), ended) {
                // Whoever measures may be done.
                let _ = failed.send(error);
            }
        });
        sleep(SETTLING).await;
        let memory = (resident_kib(pid)? - before) / count;
        let cpu = cpu_seconds(pid);
        sleep(Duration::from_secs_f64(size.idle_seconds)).await;
        let core = (cpu_seconds(pid) - cpu) / size.idle_seconds * 100.0;
        if let Ok(error) = failure.try_recv() {
            return Err(error.context("an idle socket was closed"));
        }
        watching.abort();
        Ok(Cost { memory, core })
    })
    .await
}

async fn answer(mut reader: Reader, mut writer: Writer) -> Result<()> {
    loop {
        reader.more().await?;
        while let Some(frame) = reader.next()? {
            if frame.kind == PING {
                writer.pong(reader.bytes(&frame));
                writer.flush().await?;
            }
        }
    }
}
