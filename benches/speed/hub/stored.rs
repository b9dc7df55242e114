//! Messages for devices that are away: how many are on disk and confirmed, and whether they are still there after the hub
//! was killed in the midst of it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jsonwebtoken::Algorithm;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use super::load::{Bench, PATIENCE, on_one_thread, open_all};
use super::server::{Kind, Server, cpu_seconds, own_cpu_seconds};
use super::socket::{Reader, TEXT, Writer, find, number};
use super::tokens::DEVICE;
use crate::report::{Figure, Reach};
use crate::say;

const SENDERS: usize = 16;
/// Devices that are away, for each sender.
const AWAY: usize = 64;
/// Messages that a sender has under way.
const WINDOW: usize = 512;
/// Bytes of a message's content, as JSON.
const CONTENT: usize = 256;
const WARM_UP: Duration = Duration::from_secs(1);
/// So long nothing must come any more before all is taken to be there.
const QUIET: Duration = Duration::from_millis(500);

/// What the senders saw.
struct Sent {
    /// Ids of all messages that were confirmed as stored.
    confirmed: HashSet<u64>,
    /// How many the hub asked to be sent later.
    refused: f64,
    rate: f64,
    server_cores: f64,
    load_cores: f64,
}

/// The figures.
pub async fn measure(bench: Bench<'_>) -> Result<Vec<Figure>> {
    let (mut rates, mut collected, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let (mut server_cores, mut load_cores) = (Vec::new(), Vec::new());
    for round in 1..=bench.size.rounds {
        say(&format!(
            "messages for devices that are away, round {round}"
        ));
        let (hub, dir) = bench.server(Kind::Hub).await?;
        let senders = bench.issuer.tokens(Algorithm::HS256, 's', SENDERS)?;
        let away = bench.issuer.tokens(Algorithm::HS256, 'a', SENDERS * AWAY)?;
        let (addr, pid) = (hub.addr, hub.pid());
        let duration = Duration::from_secs_f64(bench.size.seconds);
        let sent = on_one_thread(move || send(addr, pid, senders, duration)).await?;
        // It was killed; this waits for its end.
        hub.end(Signal::SIGKILL).await?;
        say(&format!(
            "the hub was killed, and {} confirmed messages are to be there",
            sent.confirmed.len()
        ));
        let hub = Server::start(Kind::Hub, dir.path(), bench.issuer, None).await?;
        let (addr, confirmed) = (hub.addr, sent.confirmed);
        collected.push(on_one_thread(move || collect(addr, away, confirmed)).await?);
        rates.push(sent.rate);
        refused.push(sent.refused);
        server_cores.push(sent.server_cores);
        load_cores.push(sent.load_cores);
    }
    Ok(vec![
        Figure::median(
            "stored for devices that are away",
            "/s",
            Reach::AtLeast(5000.0),
            rates,
        ),
        Figure::median("  cores busy, hub", "cores", Reach::Nothing, server_cores),
        Figure::median("  cores busy, load", "cores", Reach::Nothing, load_cores),
        Figure::median("  refused for a while", "", Reach::Nothing, refused),
        Figure::median(
            "  fetched after kill -9, none lost",
            "/s",
            Reach::Nothing,
            collected,
        ),
    ])
}

struct Load {
    /// The hub is about to be killed.
    killed: Cell<bool>,
    confirmed: RefCell<HashSet<u64>>,
    refused: Cell<u32>,
}

async fn send(addr: SocketAddr, pid: i32, tokens: Vec<String>, duration: Duration) -> Result<Sent> {
    let load = Rc::new(Load {
        killed: Cell::new(false),
        confirmed: RefCell::default(),
        refused: Cell::default(),
    });
    let tasks: Vec<JoinHandle<Result<()>>> = open_all(addr, &tokens)
        .await?
        .into_iter()
        .enumerate()
        .map(|(sender, (reader, writer))| {
            let load = Rc::clone(&load);
            spawn_local(async move {
                match press(&load, sender, reader, writer).await {
                    Err(error) if !load.killed.get() => Err(error),
                    _ => Ok(()),
                }
            })
        })
        .collect();
    let look = || {
        (
            load.confirmed.borrow().len(),
            cpu_seconds(pid),
            own_cpu_seconds(),
            Instant::now(),
        )
    };
    sleep(WARM_UP).await;
    let before = look();
    sleep(duration).await;
    let after = look();
    load.killed.set(true);
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    for task in tasks {
        // What the hub had written before its end is still read.
        timeout(PATIENCE, task)
            .await
            .context("a killed hub keeps its sockets")???;
    }
    let seconds = (after.3 - before.3).as_secs_f64();
    Ok(Sent {
        rate: (after.0 - before.0) as f64 / seconds,
        server_cores: (after.1 - before.1) / seconds,
        load_cores: (after.2 - before.2) / seconds,
        confirmed: load.confirmed.take(),
        refused: f64::from(load.refused.get()),
    })
}

/// Sends to one device after the other, until the hub is gone.
async fn press(load: &Load, sender: usize, mut reader: Reader, mut writer: Writer) -> Result<()> {
    let (mut sent, mut done) = (0, 0);
    loop {
        if sent - done <= WINDOW / 2 {
            while sent - done < WINDOW {
                let away = sender * AWAY + sent % AWAY;
                let room = CONTENT - 13;
                let message = format!(
                    r#"{{"type":"message","payload":{{"recipient_user_id":"a{away}","recipient_device_id":"{DEVICE}","client_message_id":"{sent}","content":"~{sent:010}{:x<room$}"}}}}"#,
                    ""
                );
                writer.text(message.as_bytes());
                sent += 1;
            }
            writer.flush().await?;
        }
        reader.more().await?;
        let mut confirmed = load.confirmed.borrow_mut();
        while let Some(frame) = reader.next()? {
            if frame.kind != TEXT {
                continue;
            }
            let text = reader.bytes(&frame);
            let id =
                number(text, b"\"message_id\":").filter(|_| find(text, b"\"stored\"").is_some());
            if id.is_none() && find(text, b"\"retryable\":true").is_some() {
                // It counts as little as if it had not been sent.
                load.refused.set(load.refused.get() + 1);
                done += 1;
                continue;
            }
            let Some(id) = id else {
                bail!("a sender was told {}", String::from_utf8_lossy(text));
            };
            ensure!(confirmed.insert(id), "message {id} was confirmed twice");
            done += 1;
        }
    }
}

/// What is still to come, and what came last.
struct Inbox {
    missing: RefCell<HashSet<u64>>,
    fetched: Cell<u64>,
    last: Cell<Instant>,
}

/// Connects all that were away; messages a second until everything that was confirmed is there.
async fn collect(addr: SocketAddr, tokens: Vec<String>, confirmed: HashSet<u64>) -> Result<f64> {
    let start = Instant::now();
    let inbox = Rc::new(Inbox {
        missing: RefCell::new(confirmed),
        fetched: Cell::new(0),
        last: Cell::new(start),
    });
    let mut tasks: Vec<JoinHandle<Result<()>>> = open_all(addr, &tokens)
        .await?
        .into_iter()
        .map(|(reader, writer)| spawn_local(fetch(Rc::clone(&inbox), reader, writer)))
        .collect();
    let all_there = async {
        while !inbox.missing.borrow().is_empty() || inbox.last.get().elapsed() < QUIET {
            if let Some(ended) = tasks.iter().position(JoinHandle::is_finished) {
                tasks.swap_remove(ended).await??;
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    if timeout(PATIENCE, all_there)
        .await
        .map_or(Ok(false), |ended| ended.map(|()| true))?
    {
        tasks.iter().for_each(JoinHandle::abort);
        let seconds = (inbox.last.get() - start).as_secs_f64();
        return Ok(inbox.fetched.get() as f64 / seconds);
    }
    bail!(
        "{} confirmed messages are lost",
        inbox.missing.borrow().len()
    )
}

async fn fetch(inbox: Rc<Inbox>, mut reader: Reader, mut writer: Writer) -> Result<()> {
    let (mut last_id, mut last_number) = (0, None);
    loop {
        while let Some(frame) = reader.next()? {
            if frame.kind != TEXT {
                continue;
            }
            let text = reader.bytes(&frame);
            let id = number(text, b"\"message_id\":");
            let (Some(id), Some(number)) = (id, number(text, b"\"~")) else {
                bail!("a device was told {}", String::from_utf8_lossy(text));
            };
            ensure!(id > last_id, "message {id} came after {last_id}");
            ensure!(
                Some(number) > last_number,
                "number {number} came after {last_number:?}"
            );
            (last_id, last_number) = (id, Some(number));
            inbox.missing.borrow_mut().remove(&id);
            inbox.fetched.set(inbox.fetched.get() + 1);
            inbox.last.set(Instant::now());
        }
        if last_id > 0 {
            writer.text(format!(r#"{{"type":"ack","payload":{{"up_to":{last_id}}}}}"#).as_bytes());
            writer.flush().await?;
        }
        reader.more().await?;
    }
}
