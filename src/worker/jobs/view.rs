//! What the client of a job sees of its log while it runs: all of it, as long as it keeps up; else as much as it can take,
//! with a line that says what is missing. Nothing is kept in memory for it: it is read from the log's file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::disk::human;
use super::lines::whole_characters;
use super::log::{Log, LogReader};
use super::run::Words;
use super::work::Halt;
use crate::tunnel::tube::Line;
use crate::wire::own::OwnText;

/// Bytes of the log that a client may be behind before the job is held up for it.
pub const BEHIND: u64 = 4 * 1024 * 1024;
/// How much a client is shown of what it was behind, when the rest is left out, in bytes.
const TAIL: u64 = 64 * 1024;
/// Bytes of the log that are looked at together. The longest line is shorter.
const CHUNK: usize = 128 * 1024;
/// Bytes of the log in one message to a Loaner client; as JSON, it may be six times as long.
const PART: usize = 16 * 1024;
/// Lines that are sent one by one; more of them at a time are joined where the words allow it.
const FEW: usize = 64;
/// What a client is told instead of a log that could not be made.
const MISSING: &str = "[loaner] the worker cannot keep the log of this job: what it prints is not shown, and it runs all the same";
/// How long the client may take for what is left of the log when a command has ended.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// The view of one client, which follows the log.
#[derive(Debug)]
pub struct View {
    channel: Line,
    /// Up to where it has been sent.
    sent: watch::Receiver<u64>,
    /// The client had its time: what it is behind may be left out.
    hurried: Arc<AtomicBool>,
    /// How long the job may still be held up.
    patience: Duration,
}

impl View {
    /// Shows a log to the client on a channel. In all, the job is held up for `patience` at most; for a client that is away, and
    /// will be shown what it missed, it is not.
    pub(super) fn start(
        log: &Log,
        channel: Line,
        words: Words,
        halt: watch::Receiver<Halt>,
        patience: Duration,
    ) -> Self {
        let (tell, sent) = watch::channel(0);
        let hurried = Arc::new(AtomicBool::new(patience.is_zero()));
        let shower = Shower {
            channel: channel.clone(),
            words,
            hurried: hurried.clone(),
            tell,
        };
        let log = log.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shower.show(log) => {}
                () = super::run::halted(&halt, Halt::Terminate) => {}
            }
        });
        View {
            channel,
            sent,
            hurried,
            patience,
        }
    }

    /// Holds the job up while the client is far behind; not for longer than its patience in all.
    pub async fn keep_up(&mut self, written: u64) {
        let far = |sent: u64| written.saturating_sub(sent) > BEHIND;
        if self.patience.is_zero() || !far(*self.sent.borrow()) {
            return;
        }
        let began = Instant::now();
        let caught_up = self.sent.wait_for(|sent| !far(*sent));
        let in_time = tokio::select! {
            biased;
            () = self.channel.held(true) => true,
            caught_up = timeout(self.patience, caught_up) => caught_up.is_ok(),
        };
        self.patience = self.patience.saturating_sub(began.elapsed());
        if !in_time || self.patience.is_zero() {
            self.patience = Duration::ZERO;
            self.hurried.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until the client has what is written, or has had its time, in which it was not away.
    pub async fn catch_up(&mut self, written: u64) {
        let out_of_time = async {
            while timeout(LAST_WORDS, self.channel.held(true)).await.is_ok() {
                self.channel.held(false).await;
            }
        };
        tokio::select! {
            biased;
            _ = self.sent.wait_for(|sent| *sent >= written) => {}
            () = out_of_time => self.hurried.store(true, Ordering::Relaxed),
        }
    }
}

/// Sends the log.
struct Shower {
    channel: Line,
    words: Words,
    hurried: Arc<AtomicBool>,
    tell: watch::Sender<u64>,
}

impl Shower {
    async fn show(self, log: Log) {
        let mut reader = match log.read(0).await {
            Ok(reader) => reader,
            Err(error) => {
                tracing::debug!(%error, "a client sees nothing of a job's log");
                return self.say_missing().await;
            }
        };
        loop {
            if self.hurried.load(Ordering::Relaxed) && reader.behind() > BEHIND {
                self.leave_out(&mut reader).await;
            }
            let at = reader.at();
            let most = if self.words.own { PART } else { CHUNK };
            match reader.next(most, true).await {
                Ok(chunk) if chunk.is_empty() => return,
                Ok(chunk) => {
                    // The next begins with a last line that is not whole.
                    let whole = whole_lines(&chunk);
                    reader.go_back((chunk.len() - whole) as u64);
                    if self.send(at, &chunk[..whole]).await.is_none() {
                        return;
                    }
                }
                Err(error) => return tracing::warn!(%error, "a job's log could not be read"),
            }
            self.tell.send_replace(reader.at());
        }
    }

    /// Tells the client why it is shown nothing.
    async fn say_missing(&self) {
        let text = if self.words.own {
            let text = format!("{MISSING}\n");
            OwnText::LogPart { at: 0, text }.to_text()
        } else {
            self.words.line(MISSING, false)
        };
        // A channel that is gone needs no reason.
        let _ = self.channel.send_text(&text).await;
    }

    /// Passes over what the client is behind, and says so.
    async fn leave_out(&self, reader: &mut LogReader) {
        let from = reader.at();
        reader.skip_to(from + reader.behind() - TAIL);
        // The first line there is not whole.
        if let Ok(chunk) = reader.next(CHUNK, false).await {
            let rest = chunk
                .iter()
                .position(|byte| is_end(*byte))
                .map_or(0, |at| chunk.len() - at - 1);
            reader.go_back(rest as u64);
        }
        let to = reader.at();
        tracing::info!(from, to, "a client does not keep up with its job's output");
        let text = if self.words.own {
            OwnText::LogGap { from, to }.to_text()
        } else {
            let left_out = human(to - from);
            let notice = format!("[loaner] {left_out} of output are left out here");
            self.words.line(&notice, false)
        };
        // A channel that is gone is seen at the next line.
        let _ = self.channel.send_text(&text).await;
    }

    /// Sends whole lines that stand at this offset; nothing, if the channel is gone.
    async fn send(&self, at: u64, lines: &[u8]) -> Option<()> {
        if self.words.own {
            let text = String::from_utf8_lossy(lines).into_owned();
            let part = OwnText::LogPart { at, text };
            return self.channel.send_text(&part.to_text()).await.ok();
        }
        let lines: Vec<_> = lines.split_inclusive(|byte| is_end(*byte)).collect();
        // A foreign peer knows one line in one message, and may lose messages when too many of them wait for it.
        let most = if lines.len() > FEW { PART } else { 0 };
        let mut message = String::new();
        for line in lines {
            let (text, end) = line.split_at(line.len().saturating_sub(1));
            let text = String::from_utf8_lossy(text);
            let line = self.words.line(&text, end == b"\r");
            let joins = !self.words.infers && end == b"\n" && message.len() + line.len() <= most;
            if !joins && !message.is_empty() {
                self.channel
                    .send_text(&std::mem::take(&mut message))
                    .await
                    .ok()?;
            }
            message.push_str(&line);
            if end == b"\r" {
                self.channel
                    .send_text(&std::mem::take(&mut message))
                    .await
                    .ok()?;
            }
        }
        match message.is_empty() {
            true => Some(()),
            false => self.channel.send_text(&message).await.ok(),
        }
    }
}

fn is_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// How many bytes there are up to the end of the last whole line, or of the last whole character where no line ends.
pub(crate) fn whole_lines(chunk: &[u8]) -> usize {
    match chunk.iter().rposition(|byte| is_end(*byte)) {
        Some(at) => at + 1,
        None => whole_characters(chunk),
    }
}
