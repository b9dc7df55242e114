//! Serving one data channel of a client: every message is parsed and handed to whom it concerns (worker-connection.md,
//! Route datachannel messages). File bytes go straight to the disk.

mod local;
mod own;
mod said;
mod visit;

use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::actors::job::{Admission, Announcement};
use crate::actors::peer::LinkId;
use crate::files::{Flow, Reception};
use crate::rtc::Incoming;
use crate::tunnel::tube::Line;
use crate::wire::{ChannelText, KEEP_ALIVE, PackageKind};
use crate::worker::jobs::curves::Controls;
use crate::worker::jobs::names::shown;
use crate::worker::jobs::receive::{FileSink, SinkOptions};
use crate::worker::paths::IoPaths;

pub use own::Heard;
pub use visit::{Fetch, JobOrder, Jobs, Order};

/// What a channel asks of the worker: to let a package in.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Announced {
    /// On which connection.
    pub link: LinkId,
    /// On which channel of it.
    pub channel: Line,
    /// What was announced.
    pub announcement: Announcement,
    /// What the client says of the files that it is sent, where it is a Loaner and has greeted.
    pub heard: Option<Heard>,
    /// The answer: where it goes, or why not.
    pub reply: oneshot::Sender<Result<Admission, String>>,
}

/// What a channel asks before it looks at the worker's own files: whether its client could announce a package now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct MayUse {
    /// On which connection.
    pub link: LinkId,
    /// The answer, or why not.
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// Whom a channel asks.
pub struct Desk {
    /// Lets packages in.
    pub announced: Recipient<Announced>,
    /// Lets a client look at files.
    pub may_use: Recipient<MayUse>,
    /// The worker's own files, if it has any for its clients.
    pub paths: Option<Arc<IoPaths>>,
    /// Its client asks about jobs only, and can give none here.
    pub visits: bool,
    /// What clients may ask about their jobs.
    pub jobs: Jobs,
}

/// Why something was not answered.
const GONE: &str =
    "the worker is shutting down, or the job before was just ending; send the package again";

/// What is known of the next package on a channel.
struct Server {
    link: LinkId,
    channel: Line,
    desk: Desk,
    local: local::Local,
    kind: Option<PackageKind>,
    output_dir: Option<String>,
    /// Lead to the trainings of the last package that came here.
    controls: Controls,
    /// The client is a Loaner.
    greeted: Option<own::Greeted>,
    following: visit::Following,
    reception: Option<Reception>,
    /// Bytes of a file that was turned away, until its end marker.
    unwanted: bool,
    said: said::Said,
}

/// Serves a channel until it closes.
pub async fn serve(link: LinkId, channel: Line, desk: Desk) {
    let mut server = Server {
        link,
        channel: channel.clone(),
        desk,
        local: local::Local::default(),
        controls: Controls::default(),
        greeted: None,
        following: visit::Following::default(),
        kind: None,
        output_dir: None,
        reception: None,
        unwanted: false,
        said: said::Said::default(),
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

/// Where the package goes; if it cannot, that has been reported.
async fn sink(admission: &Admission, name: &str, size: u64) -> Option<FileSink> {
    let options = SinkOptions {
        limit: admission.limit,
        overwrite: false,
    };
    match FileSink::create_with(&admission.dir, name, size, options) {
        Ok(sink) => Some(sink),
        Err(error) => {
            admission.milestones.broke(error).await;
            None
        }
    }
}

impl Server {
    async fn binary(&mut self, bytes: Bytes) {
        if bytes.as_ref() == KEEP_ALIVE {
            if self.said.at_its_pace() {
                tracing::info!(link = %self.link, "keep-alive received");
            }
            return;
        }
        self.header().await;
        match &mut self.reception {
            Some(reception) => {
                if reception.take(bytes).await == Flow::Over {
                    self.reception = None;
                    self.unwanted = true;
                }
            }
            None if self.unwanted => {}
            None => {
                if self.said.anew("stray bytes") {
                    tracing::warn!(link = %self.link, bytes = bytes.len(), "bytes came before any file was announced");
                }
                self.unwanted = true;
            }
        }
    }

    async fn text(&mut self, text: &str) {
        match ChannelText::parse(text) {
            Ok(message) => self.message(message).await,
            Err(error) => {
                if self.said.anew("refused") {
                    tracing::warn!(link = %self.link, %error, "a message on the channel was refused");
                }
                self.local = local::Local::default();
                self.refuse(&error.to_string()).await;
            }
        }
    }

    async fn message(&mut self, message: ChannelText) {
        let message = match self.local(message).await {
            Some(message) => message,
            None => return,
        };
        match message {
            ChannelText::PackageType(kind) => self.kind = Some(kind),
            ChannelText::OutputDir(dir) => self.output_dir = Some(dir),
            ChannelText::FileMeta { name, size, .. } => self.announced(name, size).await,
            ChannelText::Own(text) => self.own(text).await,
            ChannelText::ZmqCtrl(command) => {
                if let Err(error) = self.controls.send(command)
                    && self.said.anew("command for a trainer")
                {
                    tracing::warn!(link = %self.link, %error, "a command for a trainer changes nothing");
                }
            }
            ChannelText::EndOfFile => {
                self.unwanted = false;
                if let Some(reception) = &mut self.reception
                    && reception.finish().await == Flow::Over
                {
                    self.reception = None;
                }
            }
            other => {
                if self.said.anew("not for a worker") {
                    let message = shown(&other.to_text());
                    tracing::warn!(link = %self.link, message, "not for a worker, or not served by this one")
                }
            }
        }
    }

    async fn announced(&mut self, name: String, size: u64) {
        let announcement = Announcement {
            name: name.clone(),
            size,
            kind: self.kind.clone(),
            output_dir: self.output_dir.clone(),
            place: None,
        };
        match self.admitted(announcement).await {
            Ok(admission) => match sink(&admission, &name, size).await {
                Some(sink) => self.reception = Some(Reception::new(sink, admission.milestones)),
                None => self.unwanted = true,
            },
            Err(reason) => self.refuse(&reason).await,
        }
    }

    /// Lets a package in that is about to be sent.
    async fn admitted(&mut self, announcement: Announcement) -> Result<Admission, String> {
        if let Some(begun) = self.reception.take() {
            if self.said.anew("announced before the end") {
                tracing::warn!(link = %self.link, "a file was announced before the end of the last one");
            }
            begun
                .give_up("another file was announced before its end")
                .await;
        }
        match &self.kind {
            Some(PackageKind::Other(kind)) => Err(format!(
                "this worker does not run packages of type `{kind}`"
            )),
            _ => self.announce(announcement).await,
        }
    }

    /// Whether jobs can be given on this connection.
    fn may_submit(&self) -> Result<(), String> {
        match self.desk.visits {
            true => Err(
                "this connection is for questions about jobs; a job needs one of its own"
                    .to_owned(),
            ),
            false => Ok(()),
        }
    }

    /// Asks for a package to be let in, from wherever it comes.
    async fn announce(&mut self, announcement: Announcement) -> Result<Admission, String> {
        self.may_submit()?;
        let (reply, answer) = oneshot::channel();
        self.desk.announced.do_send(Announced {
            link: self.link,
            channel: self.channel.clone(),
            announcement,
            heard: self.greeted.as_ref().map(|greeted| greeted.heard.clone()),
            reply,
        });
        let admission = answer.await.unwrap_or_else(|_| Err(GONE.to_owned()))?;
        self.controls = admission.controls.clone();
        Ok(admission)
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
