//! Serving one data channel of a client: every message is parsed and handed to whom it concerns (worker-connection.md,
//! Route datachannel messages). File bytes go straight to the disk.

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::actors::job::{Admission, Announcement};
use crate::actors::peer::LinkId;
use crate::files::Reception;
use crate::rtc::{Channel, Incoming};
use crate::wire::{ChannelText, KEEP_ALIVE, PackageKind};
use crate::worker::jobs::receive::{FileSink, SinkOptions};

/// What a channel asks of the worker: to let a package in.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Announced {
    /// On which connection.
    pub link: LinkId,
    /// On which channel of it.
    pub channel: Channel,
    /// What was announced.
    pub announcement: Announcement,
    /// The answer: where it goes, or why not.
    pub reply: oneshot::Sender<Result<Admission, String>>,
}

/// The reply to anything that needs worker-side paths: this worker has none.
const NO_PATHS: &str = "Worker I/O paths not configured";

/// What is known of the next package on a channel.
struct Server {
    link: LinkId,
    channel: Channel,
    worker: Recipient<Announced>,
    kind: Option<PackageKind>,
    output_dir: Option<String>,
    reception: Option<Reception>,
    /// Bytes of a file that was turned away, until its end marker.
    unwanted: bool,
}

/// Serves a channel until it closes.
pub async fn serve(link: LinkId, channel: Channel, worker: Recipient<Announced>) {
    let mut server = Server {
        link,
        channel: channel.clone(),
        worker,
        kind: None,
        output_dir: None,
        reception: None,
        unwanted: false,
    };
    loop {
        let message = tokio::select! {
            message = channel.recv() => message,
            () = stopped(&server.reception) => {
                server.reception = None;
                server.unwanted = true;
                continue;
            }
        };
        match message {
            Some(Incoming::Binary(bytes)) => server.binary(bytes).await,
            Some(Incoming::Text(text)) => server.text(&text).await,
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

impl Server {
    async fn binary(&mut self, bytes: Bytes) {
        if bytes.as_ref() == KEEP_ALIVE {
            tracing::info!(link = %self.link, "keep-alive received");
            return;
        }
        match &mut self.reception {
            Some(reception) => {
                if reception.take(bytes).await.is_err() {
                    self.reception = None;
                    self.unwanted = true;
                }
            }
            None if self.unwanted => {}
            None => {
                tracing::warn!(link = %self.link, bytes = bytes.len(), "bytes came before any file was announced");
                self.unwanted = true;
            }
        }
    }

    async fn text(&mut self, text: &str) {
        match ChannelText::parse(text) {
            Ok(message) => self.message(message).await,
            Err(error) => {
                tracing::warn!(link = %self.link, %error, "a message on the channel was refused");
                self.refuse(&error.to_string()).await;
            }
        }
    }

    async fn message(&mut self, message: ChannelText) {
        match message {
            ChannelText::PackageType(kind) => self.kind = Some(kind),
            ChannelText::OutputDir(dir) => self.output_dir = Some(dir),
            ChannelText::FileMeta { name, size, .. } => self.announced(name, size).await,
            ChannelText::EndOfFile => {
                self.unwanted = false;
                if let Some(reception) = self.reception.take() {
                    reception.finish().await;
                }
            }
            ChannelText::InputFile(name) => {
                self.say(ChannelText::FileNotFound {
                    name,
                    reason: NO_PATHS.to_owned(),
                })
                .await;
            }
            ChannelText::SharedInputPath(_) | ChannelText::SharedOutputPath(_) => {
                self.say(ChannelText::PathError(NO_PATHS.to_owned())).await;
            }
            ChannelText::JobId(id) => {
                tracing::debug!(link = %self.link, %id, "a job id for worker-side paths")
            }
            other => {
                tracing::warn!(link = %self.link, message = ?other, "not for a worker, or not served by this one")
            }
        }
    }

    async fn announced(&mut self, name: String, size: u64) {
        if let Some(begun) = self.reception.take() {
            tracing::warn!(link = %self.link, "a file was announced before the end of the last one");
            begun
                .give_up("another file was announced before its end")
                .await;
        }
        if let Some(PackageKind::Other(kind)) = &self.kind {
            let reason = format!("this worker does not run packages of type `{kind}`");
            return self.refuse(&reason).await;
        }
        let (reply, answer) = oneshot::channel();
        let announcement = Announcement {
            name: name.clone(),
            size,
            kind: self.kind.clone(),
            output_dir: self.output_dir.clone(),
        };
        self.worker.do_send(Announced {
            link: self.link,
            channel: self.channel.clone(),
            announcement,
            reply,
        });
        match answer.await {
            Ok(Ok(admission)) => {
                let options = SinkOptions {
                    limit: admission.limit,
                    overwrite: false,
                };
                match FileSink::create_with(&admission.dir, &name, size, options) {
                    Ok(sink) => self.reception = Some(Reception::new(sink, admission.milestones)),
                    Err(error) => {
                        admission.milestones.broke(error).await;
                        self.unwanted = true;
                    }
                }
            }
            Ok(Err(reason)) => self.refuse(&reason).await,
            Err(_) => self.refuse("the worker is shutting down").await,
        }
    }

    /// Turns a file away; its bytes are not kept.
    async fn refuse(&mut self, reason: &str) {
        self.reception = None;
        self.unwanted = true;
        self.say(ChannelText::JobFailed {
            job_id: "none".to_owned(),
            message: reason.to_owned(),
        })
        .await;
    }

    async fn say(&self, text: ChannelText) {
        if let Err(error) = self.channel.send_text(&text.to_text()).await {
            tracing::debug!(link = %self.link, %error, "the client was not told");
        }
    }
}
