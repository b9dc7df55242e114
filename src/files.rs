//! File bytes, between a data channel and the disk: the streams that run beside the `transfer` chart. Memory is
//! bounded by the send buffer and the queues to the disk, whatever the size of the file.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::actors::transfer::Milestones;
use crate::rtc::Channel;
use crate::wire::ChannelText;
use crate::worker::jobs::receive::{FileSink, FileSource, TransferError};

/// How often progress is reported, at the most.
const REPORT: Duration = Duration::from_secs(1);

/// Sends one file: header, bytes, end marker, and then waits until everything has left. `sent` hears the bytes so far.
pub async fn send_file(
    channel: Channel,
    path: PathBuf,
    name: String,
    hint: String,
    milestones: Milestones,
    sent: impl Fn(u64),
) {
    tokio::select! {
        result = stream_out(&channel, &path, name, hint, &milestones, sent) => match result {
            Ok(()) => milestones.verified(path).await,
            Err(reason) => milestones.broke(reason).await,
        },
        () = milestones.stopped() => {}
    }
}

async fn stream_out(
    channel: &Channel,
    path: &std::path::Path,
    name: String,
    hint: String,
    milestones: &Milestones,
    sent: impl Fn(u64),
) -> Result<(), String> {
    let said = |error: crate::rtc::RtcError| error.to_string();
    let mut source = FileSource::open(path).map_err(|error| error.to_string())?;
    let meta = ChannelText::FileMeta {
        name,
        size: source.size(),
        hint,
    };
    channel.send_text(&meta.to_text()).await.map_err(said)?;
    milestones.started();
    let (mut total, mut reported) = (0, Instant::now());
    while let Some(chunk) = source.next().await.map_err(|error| error.to_string())? {
        total += chunk.len() as u64;
        channel.send_binary(chunk).await.map_err(said)?;
        sent(total);
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            milestones.progressed();
        }
    }
    channel
        .send_text(&ChannelText::EndOfFile.to_text())
        .await
        .map_err(said)?;
    milestones.ended();
    channel.drained().await.map_err(said)
}

/// One file on its way in. Dropped before its end, it leaves nothing behind.
pub struct Reception {
    sink: FileSink,
    milestones: Milestones,
    reported: Instant,
    started: bool,
}

impl Reception {
    /// Receives into `sink`.
    pub fn new(sink: FileSink, milestones: Milestones) -> Self {
        Reception {
            sink,
            milestones,
            reported: Instant::now(),
            started: false,
        }
    }

    /// Takes a piece of the file. Waits while the disk is behind.
    ///
    /// # Errors
    /// When the file grows past its declared size, or the disk fails; it has been reported.
    pub async fn take(&mut self, chunk: Bytes) -> Result<(), TransferError> {
        if !self.started {
            self.started = true;
            self.milestones.started();
        }
        if let Err(error) = self.sink.write(chunk).await {
            self.milestones.broke(&error).await;
            return Err(error);
        }
        if self.reported.elapsed() >= REPORT {
            self.reported = Instant::now();
            self.milestones.progressed();
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn received(&self) -> u64 {
        self.sink.received()
    }

    /// The end marker came: checks the size, and gives the file its name.
    pub async fn finish(self) {
        self.milestones.ended();
        match self.sink.finish().await {
            Ok(path) => self.milestones.verified(path).await,
            Err(error) => self.milestones.broke(error).await,
        }
    }

    /// Its end will not come: the part that is here goes.
    pub async fn give_up(self, reason: &str) {
        drop(self.sink);
        self.milestones.broke(reason).await;
    }

    /// Resolves when the transfer is to stop.
    pub async fn stopped(&self) {
        self.milestones.stopped().await;
    }
}
