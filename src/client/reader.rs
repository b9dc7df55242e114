//! Reading the data channel at the client: job output goes straight to the user, file bytes straight to the disk, and
//! only milestones to the client's switchboard.

use std::path::PathBuf;
use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Progress, Ui};
use crate::actors::peer::LinkId;
use crate::actors::transfer::Milestones;
use crate::files::Reception;
use crate::rtc::{Channel, Incoming};
use crate::wire::{ChannelText, KEEP_ALIVE, WireError};
use crate::worker::jobs::receive::FileSink;

/// A control message of the worker, or why its announcement of results cannot be taken.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Said {
    pub link: LinkId,
    pub text: Result<ChannelText, WireError>,
}

/// The worker announced results. Without an answer, their bytes are dropped.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ResultsComing {
    pub link: LinkId,
    pub name: String,
    pub size: u64,
    pub reply: oneshot::Sender<Place>,
}

/// Where results go.
pub(super) struct Place {
    pub dir: PathBuf,
    pub name: String,
    pub milestones: Milestones,
}

struct Reader {
    link: LinkId,
    said: Recipient<Said>,
    coming: Recipient<ResultsComing>,
    ui: Arc<dyn Ui>,
    reception: Option<Reception>,
}

/// Reads a channel until it closes.
pub(super) async fn read(
    link: LinkId,
    channel: Channel,
    said: Recipient<Said>,
    coming: Recipient<ResultsComing>,
    ui: Arc<dyn Ui>,
) {
    let mut reader = Reader {
        link,
        said,
        coming,
        ui,
        reception: None,
    };
    loop {
        let message = tokio::select! {
            message = channel.recv() => message,
            () = stopped(&reader.reception) => {
                reader.reception = None;
                continue;
            }
        };
        match message {
            Some(Incoming::Binary(bytes)) => reader.binary(bytes).await,
            Some(Incoming::Text(text)) => reader.text(&text).await,
            None => break,
        }
    }
}

async fn stopped(reception: &Option<Reception>) {
    match reception {
        Some(reception) => reception.stopped().await,
        None => std::future::pending().await,
    }
}

impl Reader {
    async fn binary(&mut self, bytes: Bytes) {
        if bytes.as_ref() == KEEP_ALIVE {
            return tracing::debug!(link = %self.link, "keep-alive received");
        }
        let Some(reception) = &mut self.reception else {
            return tracing::debug!(link = %self.link, bytes = bytes.len(), "bytes that nobody asked for");
        };
        if reception.take(bytes).await.is_err() {
            self.reception = None;
        } else {
            self.ui.progress(Progress::Downloaded {
                bytes: reception.received(),
            });
        }
    }

    async fn text(&mut self, text: &str) {
        match ChannelText::parse(text) {
            Ok(ChannelText::Log(text)) => self.ui.output(&text),
            Ok(ChannelText::TrackLog(text)) if text.starts_with('\r') => self.ui.output(&text),
            Ok(ChannelText::TrackLog(text)) => {
                self.ui
                    .output(&format!("{}\n", text.trim_end_matches(['\r', '\n'])));
            }
            Ok(ChannelText::FileMeta { name, size, .. }) => self.announced(name, size).await,
            Ok(ChannelText::EndOfFile) => {
                if let Some(reception) = self.reception.take() {
                    reception.finish().await;
                }
            }
            Ok(text) => self.say(Ok(text)),
            Err(error) => {
                tracing::warn!(link = %self.link, %error, "a message of the worker was refused");
                // Results that cannot be taken would be waited for in vain.
                if text.starts_with("FILE_META") {
                    self.reception = None;
                    self.say(Err(error));
                }
            }
        }
    }

    fn say(&self, text: Result<ChannelText, WireError>) {
        self.said.do_send(Said {
            link: self.link,
            text,
        });
    }

    async fn announced(&mut self, name: String, size: u64) {
        self.reception = None;
        let (reply, answer) = oneshot::channel();
        self.coming.do_send(ResultsComing {
            link: self.link,
            name,
            size,
            reply,
        });
        let Ok(place) = answer.await else {
            return tracing::warn!(link = %self.link, "a file came that is not wanted now");
        };
        match FileSink::create(&place.dir, &place.name, size) {
            Ok(sink) => self.reception = Some(Reception::new(sink, place.milestones)),
            Err(error) => place.milestones.broke(error).await,
        }
    }
}
