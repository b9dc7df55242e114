//! Serving one data channel of a client: every message is parsed and handed to whom it concerns (worker-connection.md,
//! Route datachannel messages). File bytes go straight to the disk.

use actix::prelude::*;
use bytes::Bytes;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use crate::actors::job::{Admission, Announcement};
use crate::actors::peer::LinkId;
use crate::files::{Flow, OwnSink, Reception};
use crate::rtc::{Channel, Incoming};
use crate::wire::own::{FileOffer, OwnText, VERSIONS, Versions};
use crate::wire::{ChannelText, KEEP_ALIVE, PackageKind};
use crate::worker::jobs::receive::{FileSink, SinkOptions, TransferError};

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
    /// What the client says of the files that it is sent, where it is a Loaner and has greeted.
    pub heard: Option<Heard>,
    /// The answer: where it goes, or why not.
    pub reply: oneshot::Sender<Result<Admission, String>>,
}

/// What a Loaner peer says of the files that it is sent.
pub type Heard = Arc<Mutex<mpsc::Receiver<OwnText>>>;

/// Answers of a client that wait to be heard; it has no reason to give more.
const ANSWERS: usize = 8;

/// The reply to anything that needs worker-side paths: this worker has none.
const NO_PATHS: &str = "Worker I/O paths not configured";

/// What is known of the next package on a channel.
struct Server {
    link: LinkId,
    channel: Channel,
    worker: Recipient<Announced>,
    kind: PackageKind,
    output_dir: Option<String>,
    reception: Option<Reception>,
    /// Where the answers of a Loaner client go, once it has greeted.
    answers: Option<(mpsc::Sender<OwnText>, Heard)>,
    /// Bytes of a file that was turned away, until its end marker.
    unwanted: bool,
}

/// Serves a channel until it closes.
pub async fn serve(link: LinkId, channel: Channel, worker: Recipient<Announced>) {
    let mut server = Server {
        link,
        channel: channel.clone(),
        worker,
        kind: PackageKind::Train,
        output_dir: None,
        reception: None,
        answers: None,
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
                if reception.take(bytes).await == Flow::Over {
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
                self.refuse(&error.to_string(), false).await;
            }
        }
    }

    async fn message(&mut self, message: ChannelText) {
        match message {
            ChannelText::PackageType(kind) => self.kind = kind,
            ChannelText::OutputDir(dir) => self.output_dir = Some(dir),
            ChannelText::FileMeta { name, size, .. } => {
                let offer = FileOffer {
                    name,
                    size,
                    key: None,
                    hint: String::new(),
                };
                self.announced(offer, false).await;
            }
            ChannelText::Own(text) => self.own(text).await,
            ChannelText::EndOfFile => {
                self.unwanted = false;
                if let Some(reception) = &mut self.reception
                    && reception.finish().await == Flow::Over
                {
                    self.reception = None;
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

    /// The words of a Loaner client.
    async fn own(&mut self, text: OwnText) {
        match text {
            OwnText::Hello(theirs) => self.greeted(theirs).await,
            _ if self.answers.is_none() => {
                tracing::warn!(link = %self.link, "a client spoke before it greeted");
            }
            OwnText::Offer(offer) => self.announced(offer, true).await,
            text @ (OwnText::Begin { .. } | OwnText::Check { .. }) => {
                if let Some(reception) = &mut self.reception
                    && reception.hear(&text).await == Flow::Over
                {
                    self.reception = None;
                    self.unwanted = true;
                }
            }
            text @ (OwnText::Accept { .. } | OwnText::Verified | OwnText::Rejected { .. }) => {
                if let Some((answers, _)) = &self.answers
                    && answers.try_send(text).is_err()
                {
                    tracing::warn!(link = %self.link, "a client answered what nobody asked");
                }
            }
            OwnText::Welcome { .. } | OwnText::NoVersion { .. } | OwnText::Unknown => {
                tracing::debug!(link = %self.link, "not for a worker, or not known to this one");
            }
        }
    }

    async fn greeted(&mut self, theirs: Versions) {
        let Some(version) = VERSIONS.common(theirs) else {
            tracing::info!(link = %self.link, %theirs, "a client of other versions; the inherited words are spoken");
            let versions = VERSIONS;
            return self
                .say(ChannelText::Own(OwnText::NoVersion { versions }))
                .await;
        };
        let (answers, heard) = mpsc::channel(ANSWERS);
        self.answers
            .get_or_insert((answers, Arc::new(Mutex::new(heard))));
        self.say(ChannelText::Own(OwnText::Welcome { version }))
            .await;
    }

    async fn announced(&mut self, offer: FileOffer, own: bool) {
        if self.reception.take().is_some() {
            tracing::warn!(link = %self.link, "a file was announced before the end of the last one");
        }
        if self.kind != PackageKind::Train {
            let kind = &self.kind;
            let reason = format!("this worker does not run packages of type `{kind}`");
            return self.refuse(&reason, own).await;
        }
        let (reply, answer) = oneshot::channel();
        let announcement = Announcement {
            name: offer.name.clone(),
            size: offer.size,
            output_dir: self.output_dir.clone(),
        };
        self.worker.do_send(Announced {
            link: self.link,
            channel: self.channel.clone(),
            announcement,
            heard: self.answers.as_ref().map(|(_, heard)| heard.clone()),
            reply,
        });
        let admission = match answer.await {
            Ok(Ok(admission)) => admission,
            Ok(Err(reason)) => return self.refuse(&reason, own).await,
            Err(_) => return self.refuse("the worker is shutting down", own).await,
        };
        let reception = if own {
            self.receive_own(&offer, &admission).await
        } else {
            let options = SinkOptions {
                limit: admission.limit,
                overwrite: false,
            };
            FileSink::create_with(&admission.dir, &offer.name, offer.size, options)
                .map(|sink| Reception::new(sink, admission.milestones.clone()))
        };
        match reception {
            Ok(reception) => {
                self.unwanted = false;
                self.reception = Some(reception);
            }
            Err(error) => {
                if own {
                    self.reject(&error.to_string()).await;
                }
                admission.milestones.broke(error).await;
                self.unwanted = true;
            }
        }
    }

    async fn receive_own(
        &self,
        offer: &FileOffer,
        admission: &Admission,
    ) -> Result<Reception, TransferError> {
        let (dir, limit) = (&admission.dir, admission.limit);
        let sink = OwnSink::create(dir, offer, limit, Some(&admission.partials)).await?;
        let (channel, milestones) = (self.channel.clone(), admission.milestones.clone());
        Ok(Reception::own(sink, channel, milestones).await)
    }

    async fn reject(&self, reason: &str) {
        let message = reason.to_owned();
        self.say(ChannelText::Own(OwnText::Rejected { message }))
            .await;
    }

    /// Turns a file away; its bytes are not kept.
    async fn refuse(&mut self, reason: &str, own: bool) {
        self.reception = None;
        self.unwanted = true;
        if own {
            return self.reject(reason).await;
        }
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
