//! Pairs of a sender and a recipient, and what each of the two does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::server::Kind;
use super::socket::{PING, Reader, TEXT, Writer, find, number};
use super::template::{MARK, NUMBER, TIME, Template, read_digits};

/// Senders, each with a recipient of its own.
pub const PAIRS: usize = 64;
/// Messages that a sender has under way when it sends as fast as it can.
const WINDOW: u64 = 64;
/// Before it counts.
pub const WARM_UP: Duration = Duration::from_secs(1);

/// A sender and its recipient.
#[derive(Default)]
pub struct Pair {
    pub sent: Cell<u64>,
    /// At the sender.
    pub confirmed: Cell<u64>,
    /// At the recipient.
    pub received: Cell<u64>,
    /// The recipient has received something.
    pub news: Notify,
}

/// What all tasks share.
pub struct Load {
    pub kind: Kind,
    pub start: Instant,
    /// No more is sent.
    pub stopping: Cell<bool>,
    pub pairs: Vec<Pair>,
    /// Of messages that were due from `counted` on, in microseconds.
    pub latencies: RefCell<Vec<u32>>,
    pub counted: Cell<u64>,
}

impl Load {
    /// Microseconds since the start.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Over all pairs.
    pub fn total(&self, what: impl Fn(&Pair) -> u64) -> u64 {
        self.pairs.iter().map(what).sum()
    }

    /// How many messages of a pair are certain to have arrived: the relay confirms none.
    fn done(&self, pair: &Pair) -> u64 {
        match self.kind {
            Kind::Hub => pair.confirmed.get(),
            Kind::Relay => pair.received.get(),
        }
    }

    /// Whether everything that was sent has arrived, and no more is sent.
    pub fn is_over(&self) -> bool {
        let whole = |pair: &Pair| {
            self.done(pair) == pair.sent.get() && pair.received.get() == pair.sent.get()
        };
        self.stopping.get() && self.pairs.iter().all(whole)
    }
}

/// Sends as fast as what was sent arrives.
pub async fn press(
    load: Rc<Load>,
    index: usize,
    mut reader: Reader,
    mut writer: Writer,
) -> Result<()> {
    let (pair, template) = (&load.pairs[index], Template::new(index));
    loop {
        let under_way = pair.sent.get() - load.done(pair);
        if load.stopping.get() {
            if under_way == 0 {
                return Ok(());
            }
        } else if under_way <= WINDOW / 2 {
            let due = load.now();
            for _ in under_way..WINDOW {
                template.append(pair.sent.get(), due, writer.frames());
                pair.sent.set(pair.sent.get() + 1);
            }
            writer.flush().await?;
        }
        tokio::select! {
            more = reader.more() => {
                more?;
                receipts(pair, &mut reader)?;
            }
            () = pair.news.notified(), if load.kind == Kind::Relay => {}
        }
    }
}

/// Reads what a sender is told while somebody else sends.
pub async fn confirm(load: Rc<Load>, index: usize, mut reader: Reader) -> Result<()> {
    loop {
        reader.more().await?;
        receipts(&load.pairs[index], &mut reader)?;
    }
}

fn receipts(pair: &Pair, reader: &mut Reader) -> Result<()> {
    while let Some(frame) = reader.next()? {
        if frame.kind == TEXT {
            let text = reader.bytes(&frame);
            ensure!(
                text.starts_with(b"{\"type\":\"accepted\""),
                "a sender was told {}",
                String::from_utf8_lossy(text)
            );
            pair.confirmed.set(pair.confirmed.get() + 1);
        } else {
            ensure!(frame.kind == PING, "a sender's socket was closed");
        }
    }
    Ok(())
}

/// Sends to all pairs in turn, each message when it is due.
pub async fn pace(
    load: Rc<Load>,
    mut writers: Vec<Writer>,
    rate: f64,
    duration: Duration,
) -> Result<()> {
    let templates: Vec<Template> = (0..PAIRS).map(Template::new).collect();
    let start = load.now();
    load.counted.set(start + WARM_UP.as_micros() as u64);
    let total = (rate * duration.as_secs_f64()) as u64;
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut next = 0;
    while next < total {
        ticks.tick().await;
        let due_by_now = ((load.now() - start) as f64 * rate / 1e6) as u64;
        let first = next;
        while next < due_by_now.min(total) {
            let index = next as usize % PAIRS;
            let pair = &load.pairs[index];
            let due = start + (next as f64 * 1e6 / rate) as u64;
            templates[index].append(pair.sent.get(), due, writers[index].frames());
            pair.sent.set(pair.sent.get() + 1);
            next += 1;
        }
        for index in (first..next).take(PAIRS) {
            writers[index as usize % PAIRS].flush().await?;
        }
    }
    Ok(())
}

/// Receives, and acknowledges what came together at once.
pub async fn receive(
    load: Rc<Load>,
    index: usize,
    mut reader: Reader,
    mut writer: Writer,
) -> Result<()> {
    let pair = &load.pairs[index];
    // Where the digits were last: they move only when an id gets longer.
    let mut at = 0;
    loop {
        reader.more().await?;
        let (now, mut last) = (load.now(), None);
        let mut received = pair.received.get();
        while let Some(frame) = reader.next()? {
            if frame.kind != TEXT {
                ensure!(frame.kind == PING, "a recipient's socket was closed");
                writer.pong(reader.bytes(&frame));
                continue;
            }
            let text = reader.bytes(&frame);
            if text.get(at..at + MARK.len()) != Some(MARK) {
                at = find(text, MARK).with_context(|| {
                    format!("a recipient was told {}", String::from_utf8_lossy(text))
                })?;
            }
            let digits = at + MARK.len();
            let (number, due) = text[digits..digits + NUMBER + TIME].split_at(NUMBER);
            ensure!(
                read_digits(number) == received,
                "message {} came when {received} was due",
                read_digits(number)
            );
            received += 1;
            let due = read_digits(due);
            if due >= load.counted.get() {
                let late = u32::try_from(now.saturating_sub(due)).unwrap_or(u32::MAX);
                load.latencies.borrow_mut().push(late);
            }
            last = Some(frame);
        }
        pair.received.set(received);
        if load.kind == Kind::Relay {
            pair.news.notify_one();
        } else if let Some(id) =
            last.and_then(|frame| number(reader.bytes(&frame), b"\"message_id\":"))
        {
            writer.text(format!(r#"{{"type":"ack","payload":{{"up_to":{id}}}}}"#).as_bytes());
        }
        writer.flush().await?;
    }
}
