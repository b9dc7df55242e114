//! File bytes, between a data channel and the disk: the streams that run beside the `transfer` chart. Memory is
//! bounded by the send buffer and the queues to the disk, whatever the size of the file.

mod own_sink;
mod own_source;
mod partials;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::actors::transfer::Milestones;
use crate::tunnel::tube::Line;
use crate::wire::ChannelText;
use crate::wire::own::OwnText;
use crate::worker::jobs::receive::{FileSink, FileSource, TransferError};

pub use own_sink::OwnSink;
pub use own_source::send_own_file;
pub use partials::{Partials, RESULTS_DIR};

/// How often progress is reported, at the most.
const REPORT: Duration = Duration::from_secs(1);

/// Sends one file: header, bytes, end marker, and then waits until everything has left. `sent` hears the bytes so far.
pub async fn send_file(
    channel: Line,
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
    channel: &Line,
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
    while let Some(mut chunk) = source.next().await.map_err(|error| error.to_string())? {
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(channel.piece_bytes()));
            total += piece.len() as u64;
            channel.send_binary(piece).await.map_err(said)?;
            sent(total);
        }
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

enum Sink {
    Inherited(FileSink),
    /// With the channel on which its sender is told what becomes of it.
    Own(OwnSink, Line),
}

/// What a file on its way in asks of whoever feeds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// There is more to come.
    More,
    /// It is over: received, or not. It has been reported.
    Over,
}

/// One file on its way in. Dropped before its end, it leaves nothing behind, or what may be continued.
pub struct Reception {
    /// None at the end.
    sink: Option<Sink>,
    milestones: Milestones,
    reported: Instant,
    started: bool,
    owner_tells: bool,
}

impl Reception {
    /// Receives into `sink`.
    pub fn new(sink: FileSink, milestones: Milestones) -> Self {
        Self::into_sink(Sink::Inherited(sink), milestones)
    }

    /// Receives what a Loaner peer offered on `channel`, and tells it how much of it is here. What goes wrong is told there
    /// too, unless the owner of the milestones tells it: as a worker does, whose job fails.
    pub async fn own(
        sink: OwnSink,
        channel: Line,
        milestones: Milestones,
        owner_tells: bool,
    ) -> Self {
        let (have, digest) = sink.have();
        say(&channel, OwnText::Accept { have, digest }).await;
        let mut reception = Self::into_sink(Sink::Own(sink, channel), milestones);
        reception.owner_tells = owner_tells;
        reception
    }

    fn into_sink(sink: Sink, milestones: Milestones) -> Self {
        Reception {
            sink: Some(sink),
            milestones,
            reported: Instant::now(),
            started: false,
            owner_tells: false,
        }
    }

    /// Takes a piece of the file. Waits while the disk is behind.
    pub async fn take(&mut self, chunk: Bytes) -> Flow {
        self.begun();
        let taken = match &mut self.sink {
            Some(Sink::Inherited(sink)) => sink.write(chunk).await,
            Some(Sink::Own(sink, _)) => sink.write(chunk).await,
            None => Err(TransferError::GivenUp),
        };
        self.went(taken).await
    }

    /// Takes what a Loaner peer says of the file. After the last of it the file has its name, and the peer has been told.
    pub async fn hear(&mut self, text: &OwnText) -> Flow {
        let Some(Sink::Own(sink, _)) = &mut self.sink else {
            return Flow::More;
        };
        let heard = match text {
            OwnText::Begin { from } => sink.begin(*from).await.map(|()| false),
            OwnText::Check { at, digest } => sink.check(*at, *digest).await,
            _ => Ok(false),
        };
        match heard {
            Ok(true) => {
                self.begun();
                self.end().await;
                Flow::Over
            }
            Ok(false) => Flow::More,
            Err(error) => self.went(Err(error)).await,
        }
    }

    /// Bytes so far.
    pub fn received(&self) -> u64 {
        match &self.sink {
            Some(Sink::Inherited(sink)) => sink.received(),
            Some(Sink::Own(sink, _)) => sink.received(),
            None => 0,
        }
    }

    /// The inherited end marker came: checks the size, and gives the file its name. It ends no file of a Loaner peer, which
    /// has another.
    pub async fn finish(&mut self) -> Flow {
        if matches!(self.sink, Some(Sink::Own(..))) {
            return Flow::More;
        }
        self.end().await;
        Flow::Over
    }

    fn begun(&mut self) {
        if !std::mem::replace(&mut self.started, true) {
            self.milestones.started();
        }
    }

    async fn went(&mut self, taken: Result<(), TransferError>) -> Flow {
        if let Err(error) = taken {
            if let Some(Sink::Own(_, channel)) = &self.sink
                && !self.owner_tells
            {
                let message = error.to_string();
                say(channel, OwnText::Rejected { message }).await;
            }
            self.milestones.broke(&error).await;
            return Flow::Over;
        }
        if self.reported.elapsed() >= REPORT {
            self.reported = Instant::now();
            self.milestones.progressed();
        }
        Flow::More
    }

    async fn end(&mut self) {
        self.milestones.ended();
        let (finished, channel) = match self.sink.take() {
            Some(Sink::Inherited(sink)) => (sink.finish().await, None),
            Some(Sink::Own(sink, channel)) => (sink.finish().await, Some(channel)),
            None => return,
        };
        if let Some(channel) = &channel {
            match &finished {
                Ok(_) => say(channel, OwnText::Verified).await,
                Err(_) if self.owner_tells => {}
                Err(error) => {
                    let message = error.to_string();
                    say(channel, OwnText::Rejected { message }).await;
                }
            }
        }
        match finished {
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

/// Tells a Loaner peer something. One that is gone has lost its channel, which is reported on its own.
async fn say(channel: &Line, text: OwnText) {
    if let Err(error) = channel.send_text(&ChannelText::Own(text).to_text()).await {
        tracing::debug!(%error, "the other side was not told");
    }
}
