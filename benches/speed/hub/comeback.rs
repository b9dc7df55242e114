//! A client that comes back whatever happens to its hub, and neither loses nor doubles a message.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant as Moment, sleep, sleep_until};

use super::load::route;
use super::socket::{self, CLOSE, PING, Reader, Refused, TEXT, Writer};
use super::tokens::DEVICE;

/// How often each of them does.
const PACE: Duration = Duration::from_millis(100);
/// The first pause before a client comes back is up to this, by chance.
const PAUSE: f64 = 1.0;
/// No pause is longer, in seconds.
const LONGEST_PAUSE: f64 = 8.0;

/// What all clients share.
pub struct Load {
    pub addr: SocketAddr,
    pub tokens: Vec<String>,
    /// The restart keeps sessions, and so nothing comes twice.
    pub planned: bool,
    pub restarting: Arc<AtomicBool>,
    /// No more messages are begun.
    pub stopping: Cell<bool>,
    pub connected: Cell<usize>,
    pub back: Cell<usize>,
    pub last_back: Cell<Instant>,
    pub told: Cell<usize>,
    pub resumed: Cell<usize>,
    /// By sender and its number of it, the id of each message that arrived.
    pub arrived: RefCell<HashMap<(usize, u64), u64>>,
    /// By sender and its number of it, what was sent again since it was not confirmed.
    pub resent: RefCell<HashSet<(usize, u64)>>,
    /// How many of those came twice: at least once is what is promised.
    pub twice: Cell<usize>,
    /// Of each sender, what is not confirmed yet: the number, and to whom it goes.
    pub open: Vec<RefCell<BTreeMap<u64, usize>>>,
    pub sent: Cell<usize>,
    pub refused: Cell<usize>,
}

/// A client that comes back whatever happens; ends with an error only.
pub async fn client(load: &Load, index: usize) -> anyhow::Error {
    let mut state = Client {
        session: None,
        last: 0,
        next: Moment::now(),
        number: 0,
        again: Vec::new(),
    };
    let mut attempt = 0;
    loop {
        let mut query = format!("&last={}", state.last);
        if let Some(session) = &state.session {
            query.push_str("&resume=");
            query.extend(url::form_urlencoded::byte_serialize(session.as_bytes()));
        }
        let opened = socket::connect(route(load.addr, index), &load.tokens[index], &query).await;
        let mut away = Duration::ZERO;
        match opened {
            Ok((reader, writer)) => match state.talk(load, index, reader, writer).await {
                Ok(()) => attempt = 0,
                Err(error) => return error,
            },
            Err(error) => match error.downcast_ref::<Refused>() {
                Some(refused) if refused.status == 429 || refused.status == 503 => {
                    away = refused.retry_after.unwrap_or_default();
                }
                Some(_) => return error,
                None if load.restarting.load(Ordering::Relaxed) => {}
                None => return error,
            },
        }
        let pause = (PAUSE * f64::from(1 << attempt)).min(LONGEST_PAUSE);
        // The first pause may be none; the others are at least half.
        let least = if attempt == 0 { 0.0 } else { 0.5 };
        let chance = least + (1.0 - least) * rand::random::<f64>();
        attempt = (attempt + 1).min(8);
        sleep(away + Duration::from_secs_f64(pause * chance)).await;
    }
}

/// What a client keeps from one connection to the next.
struct Client {
    session: Option<String>,
    /// The last message that it has.
    last: u64,
    /// When it sends again.
    next: Moment,
    number: u64,
    /// What the hub did not take, and asked to be sent again.
    again: Vec<u64>,
}

impl Client {
    /// From `connected` to the end of the connection. An error is something that must not be.
    async fn talk(
        &mut self,
        load: &Load,
        index: usize,
        mut reader: Reader,
        mut writer: Writer,
    ) -> Result<()> {
        let is_sender = index < load.open.len();
        let mut greeted = false;
        loop {
            let before = self.last;
            while let Ok(Some(frame)) = reader.next() {
                match frame.kind {
                    TEXT => {
                        let said: Value = serde_json::from_slice(reader.bytes(&frame))?;
                        greeted |= self.hear(load, index, &said, &mut writer)?;
                    }
                    PING => writer.pong(reader.bytes(&frame)),
                    CLOSE => {
                        let code = reader.bytes(&frame).get(..2);
                        let code = code.map(|code| u16::from_be_bytes([code[0], code[1]]));
                        ensure!(code == Some(4000), "a client was closed with {code:?}");
                        load.told.set(load.told.get() + 1);
                        writer.close();
                        // The hub may not wait for it.
                        let _ = writer.flush().await;
                        return Ok(());
                    }
                    _ => {}
                }
            }
            if self.last > before {
                let ack = json!({"type": "ack", "payload": {"up_to": self.last}});
                writer.text(ack.to_string().as_bytes());
            }
            if writer.flush().await.is_err() {
                return Ok(());
            }
            tokio::select! {
                more = reader.more() => if more.is_err() { return Ok(()) },
                () = sleep_until(self.next), if is_sender && greeted && !(load.stopping.get() && self.again.is_empty()) => {
                    self.next += PACE;
                    self.send_again(load, index, &mut writer);
                    if load.stopping.get() {
                        continue;
                    }
                    let to = rand::random_range(0..load.tokens.len());
                    load.open[index].borrow_mut().insert(self.number, to);
                    load.sent.set(load.sent.get() + 1);
                    post(index, self.number, to, &mut writer);
                    self.number += 1;
                }
            }
        }
    }

    /// Sends what was refused for a while, unless it was confirmed meanwhile.
    fn send_again(&mut self, load: &Load, index: usize, writer: &mut Writer) {
        let open = load.open[index].borrow();
        for number in self.again.drain(..) {
            if let Some(&to) = open.get(&number) {
                post(index, number, to, writer);
            }
        }
    }

    /// Takes a message; true when it was the first of a connection.
    fn hear(
        &mut self,
        load: &Load,
        index: usize,
        said: &Value,
        writer: &mut Writer,
    ) -> Result<bool> {
        let payload = &said["payload"];
        match said["type"].as_str() {
            Some("connected") => {
                self.session = payload["session"].as_str().map(str::to_owned);
                if load.restarting.load(Ordering::Relaxed) {
                    load.back.set(load.back.get() + 1);
                    load.last_back.set(Instant::now());
                    load.resumed
                        .set(load.resumed.get() + usize::from(payload["resumed"] == true));
                } else {
                    load.connected.set(load.connected.get() + 1);
                    self.next = Moment::now();
                }
                // What was not confirmed is sent again; the hub knows it by its number.
                self.again.clear();
                if let Some(open) = load.open.get(index) {
                    for (&number, &to) in open.borrow().iter() {
                        load.resent.borrow_mut().insert((index, number));
                        post(index, number, to, writer);
                    }
                }
                return Ok(true);
            }
            Some("message") => {
                let id = payload["message_id"]
                    .as_u64()
                    .context("a message without an id")?;
                if id <= self.last {
                    ensure!(
                        !load.planned, "message {id} came again, after {}", self.last
                    );
                    return Ok(false);
                }
                self.last = id;
                let content = payload["content"].as_str().unwrap_or_default();
                let parsed = content.split_once('-').and_then(|(sender, number)| {
                    Some((sender.parse::<usize>().ok()?, number.parse::<u64>().ok()?))
                });
                let key = parsed.with_context(|| format!("a message says {content:?}"))?;
                if let Some(first) = load.arrived.borrow_mut().insert(key, id) {
                    // Delivered and not yet confirmed when the hub was killed: sent again, as it must be.
                    if load.planned || !load.resent.borrow().contains(&key) {
                        bail!("a message came twice, as {first} and as {id}");
                    }
                    load.twice.set(load.twice.get() + 1);
                }
            }
            Some("accepted") => {
                let number = payload["client_message_id"]
                    .as_str()
                    .and_then(|id| id.parse().ok());
                let number: u64 = number.context("a receipt without our id")?;
                if let Some(open) = load.open.get(index) {
                    open.borrow_mut().remove(&number);
                }
            }
            Some("going_away") => {}
            Some("error") if payload["retryable"] == true => {
                let number = payload["client_message_id"].as_str();
                let number = number.and_then(|id| id.parse().ok());
                self.again
                    .push(number.with_context(|| format!("a client was told {said}"))?);
                load.refused.set(load.refused.get() + 1);
            }
            _ => bail!("a client was told {said}"),
        }
        Ok(false)
    }
}

fn post(sender: usize, number: u64, to: usize, writer: &mut Writer) {
    let message = json!({"type": "message", "payload": {
        "recipient_user_id": format!("c{to}"),
        "recipient_device_id": DEVICE,
        "client_message_id": number.to_string(),
        "content": format!("{sender}-{number}"),
    }});
    writer.text(message.to_string().as_bytes());
}
