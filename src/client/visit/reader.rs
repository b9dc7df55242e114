//! Reading the channel of a visit: words to whoever asked, bytes to the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use tokio::sync::mpsc;

use super::VisitNews;
use super::visitor::{FileComes, Visitor};
use crate::client::reader::partials;
use crate::client::switchboard::free_name;
use crate::files::{Flow, OwnSink, Reception};
use crate::rtc::{Channel, Incoming};
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

/// Reads the channel.
pub(super) struct Reader {
    channel: Channel,
    tell: mpsc::Sender<VisitNews>,
    visitor: Addr<Visitor>,
    landing: Option<Landing>,
    reception: Option<Reception>,
}

impl Reader {
    /// Tells `tell` what comes on `channel`; files go to `landing`, and `visitor` sees to it that they are followed.
    pub fn new(
        channel: Channel,
        tell: mpsc::Sender<VisitNews>,
        visitor: Addr<Visitor>,
        landing: Option<Landing>,
    ) -> Self {
        Reader {
            channel,
            tell,
            visitor,
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
        let milestones = self.visitor.send(FileComes).await.ok()?;
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
