//! Reading the channel of a visit: words to whoever asked, bytes to the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use tokio::sync::mpsc;

use super::VisitNews;
use crate::actors::transfer::{Direction, Milestones, TransferEnded, transfer};
use crate::client::reader::partials;
use crate::client::switchboard::free_name;
use crate::files::{Flow, OwnSink, Reception};
use crate::rtc::Incoming;
use crate::tunnel::tube::Line;
use crate::wire::own::{FileOffer, OwnText};
use crate::wire::{ChannelText, KEEP_ALIVE};

/// Where a file may go that was asked for.
pub(super) struct Landing {
    dir: PathBuf,
    wanted: Arc<AtomicBool>,
}

impl Landing {
    /// In this directory, whenever one is `wanted`.
    pub fn new(dir: &Path, wanted: Arc<AtomicBool>) -> Self {
        Landing {
            dir: dir.to_owned(),
            wanted,
        }
    }
}

/// A file comes, and needs somebody who follows it.
#[derive(Message)]
#[rtype(result = "Milestones")]
struct FileComes;

/// Follows the files that come.
pub(super) struct Files(mpsc::Sender<VisitNews>);

impl Files {
    /// What becomes of them is told there.
    pub fn new(tell: mpsc::Sender<VisitNews>) -> Self {
        Files(tell)
    }
}

impl Actor for Files {
    type Context = Context<Self>;
}

impl Handler<FileComes> for Files {
    type Result = MessageResult<FileComes>;

    fn handle(&mut self, _: FileComes, ctx: &mut Self::Context) -> Self::Result {
        let owner = ctx.address().recipient();
        let (_, milestones) = transfer(owner, Direction::In, "results", None);
        MessageResult(milestones)
    }
}

impl Handler<TransferEnded> for Files {
    type Result = ();

    fn handle(&mut self, ended: TransferEnded, ctx: &mut Self::Context) {
        let tell = self.0.clone();
        ctx.spawn(actix::fut::wrap_future(async move {
            // Whoever does not listen any more does not want it.
            let _ = tell.send(VisitNews::Fetched(ended.result)).await;
        }));
    }
}

/// Reads the channel.
pub(super) struct Reader {
    channel: Line,
    tell: mpsc::Sender<VisitNews>,
    files: Addr<Files>,
    landing: Option<Landing>,
    reception: Option<Reception>,
}

impl Reader {
    /// Tells `tell` what comes on `channel`; files go to `landing`, and `files` sees to it that they are followed.
    pub fn new(
        channel: Line,
        tell: mpsc::Sender<VisitNews>,
        files: Addr<Files>,
        landing: Option<Landing>,
    ) -> Self {
        Reader {
            channel,
            tell,
            files,
            landing,
            reception: None,
        }
    }

    /// Reads until the channel closes, or nobody listens any more.
    pub async fn read(mut self) {
        while let Some(message) = self.channel.recv().await {
            let heard = match message {
                Incoming::Binary(bytes) if bytes.as_ref() == KEEP_ALIVE => Some(()),
                Incoming::Binary(bytes) => match &mut self.reception {
                    Some(reception) => {
                        let over = reception.take(bytes).await == Flow::Over;
                        let bytes = reception.received();
                        if over {
                            self.reception = None;
                        }
                        self.say(VisitNews::Received { bytes }).await
                    }
                    None => Some(()),
                },
                Incoming::Text(text) => match ChannelText::parse(&text) {
                    Ok(ChannelText::Own(text)) => self.heard(text).await,
                    Ok(_) => Some(()),
                    Err(error) => {
                        tracing::warn!(%error, "a message of the worker was refused");
                        Some(())
                    }
                },
            };
            if heard.is_none() {
                return;
            }
        }
    }

    /// Nothing, once nobody listens.
    async fn say(&self, news: VisitNews) -> Option<()> {
        self.tell.send(news).await.ok()
    }

    async fn heard(&mut self, text: OwnText) -> Option<()> {
        match text {
            OwnText::Offer(offer) => self.comes(offer).await,
            OwnText::Begin { .. } | OwnText::Check { .. } => {
                if let Some(reception) = &mut self.reception
                    && reception.hear(&text).await == Flow::Over
                {
                    self.reception = None;
                }
                Some(())
            }
            text => self.say(VisitNews::Said(text)).await,
        }
    }

    async fn comes(&mut self, offer: FileOffer) -> Option<()> {
        let landing = self.landing.as_ref();
        let Some(landing) = landing.filter(|landing| landing.wanted.swap(false, Ordering::Relaxed))
        else {
            tracing::warn!("the worker offers a file that nobody asked for");
            return self.reject("nobody asked for a file".to_owned()).await;
        };
        let dir = landing.dir.clone();
        let milestones = self.files.send(FileComes).await.ok()?;
        let offer = FileOffer {
            name: free_name(&dir, &offer.name),
            ..offer
        };
        match OwnSink::create(&dir, &offer, u64::MAX, Some(&partials(&dir))).await {
            Ok(sink) => {
                let (have, _) = sink.have();
                let channel = self.channel.clone();
                self.reception = Some(Reception::own(sink, channel, milestones, false).await);
                let (name, size) = (offer.name, offer.size);
                self.say(VisitNews::Receiving { name, size, have }).await
            }
            Err(error) => {
                self.reject(error.to_string()).await;
                milestones.broke(error).await;
                Some(())
            }
        }
    }

    async fn reject(&self, message: String) -> Option<()> {
        let text = ChannelText::Own(OwnText::Rejected { message });
        // A channel that is gone is seen at the next message.
        let _ = self.channel.send_text(&text.to_text()).await;
        Some(())
    }
}
