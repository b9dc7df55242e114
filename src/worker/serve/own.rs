//! The words of a Loaner client: a version in common, and files that are verified and can be continued (`wire::own`).

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::Server;
use crate::actors::job::{Admission, Announcement};
use crate::files::{Flow, OwnSink, Reception};
use crate::wire::own::{FileOffer, OwnText, VERSIONS, Versions};
use crate::wire::{ChannelText, PackageKind};
use crate::worker::jobs::receive::TransferError;

/// What a Loaner peer says of the files that it is sent.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The version that is spoken.
    pub version: u32,
    /// Its answers.
    pub answers: Arc<Mutex<mpsc::Receiver<OwnText>>>,
}

/// Answers of a client that wait to be heard; it has no reason to give more.
const ANSWERS: usize = 8;

/// Where the answers of a client go that has greeted.
pub(super) struct Greeted {
    answers: mpsc::Sender<OwnText>,
    pub(super) heard: Heard,
}

impl Server {
    pub(super) async fn own(&mut self, text: OwnText) {
        match text {
            OwnText::Hello(theirs) => self.greet(theirs).await,
            _ if self.greeted.is_none() => {
                if self.said.once("spoke before it greeted") {
                    tracing::warn!(link = %self.link, "a client spoke before it greeted");
                }
            }
            OwnText::Package { kind, output_dir } => {
                self.kind = Some(PackageKind::from(kind.as_str()));
                self.output_dir = Some(output_dir);
            }
            OwnText::Offer(offer) => self.offered(offer).await,
            text @ (OwnText::Begin { .. } | OwnText::Check { .. }) => {
                if let Some(reception) = &mut self.reception
                    && reception.hear(&text).await == Flow::Over
                {
                    self.reception = None;
                    self.unwanted = true;
                }
            }
            text @ (OwnText::Accept { .. } | OwnText::Verified | OwnText::Rejected { .. }) => {
                if let Some(greeted) = &self.greeted
                    && greeted.answers.try_send(text).is_err()
                    && self.said.once("answered what nobody asked")
                {
                    tracing::warn!(link = %self.link, "a client answered what nobody asked");
                }
            }
            text @ (OwnText::ListJobs
            | OwnText::ReadLog { .. }
            | OwnText::WatchJob { .. }
            | OwnText::StopJob { .. }
            | OwnText::CancelJob { .. }
            | OwnText::FetchResults { .. }) => self.asked(text).await,
            OwnText::Welcome { .. }
            | OwnText::NoVersion { .. }
            | OwnText::LogPart { .. }
            | OwnText::LogGap { .. }
            | OwnText::LogEnd { .. }
            | OwnText::StepStarted { .. }
            | OwnText::StepEnded { .. }
            | OwnText::CommandsDone
            | OwnText::Job(_)
            | OwnText::JobList { .. }
            | OwnText::Denied { .. }
            | OwnText::Unknown => {
                tracing::debug!(link = %self.link, "not for a worker, or not known to this one");
            }
        }
    }

    async fn greet(&mut self, theirs: Versions) {
        let Some(version) = VERSIONS.common(theirs) else {
            if self.said.once("other versions") {
                tracing::info!(link = %self.link, %theirs, "a client of other versions; the inherited words are spoken");
            }
            return self.answer(OwnText::NoVersion { versions: VERSIONS }).await;
        };
        if self.greeted.is_none() {
            let (answers, heard) = mpsc::channel(ANSWERS);
            let heard = Heard {
                version,
                answers: Arc::new(Mutex::new(heard)),
            };
            self.greeted = Some(Greeted { answers, heard });
        }
        self.answer(OwnText::Welcome { version }).await;
    }

    async fn offered(&mut self, offer: FileOffer) {
        let announcement = Announcement {
            name: offer.name.clone(),
            size: offer.size,
            kind: self.kind.clone(),
            output_dir: self.output_dir.clone(),
            place: None,
        };
        let admission = match self.admitted(announcement).await {
            Ok(admission) => admission,
            Err(message) => {
                self.unwanted = true;
                return self.answer(OwnText::Rejected { message }).await;
            }
        };
        match self.receive(&offer, &admission).await {
            Ok(reception) => {
                self.unwanted = false;
                self.reception = Some(reception);
            }
            // The job says so.
            Err(error) => {
                admission.milestones.broke(error).await;
                self.unwanted = true;
            }
        }
    }

    async fn receive(
        &self,
        offer: &FileOffer,
        admission: &Admission,
    ) -> Result<Reception, TransferError> {
        let (dir, limit) = (&admission.dir, admission.limit);
        let sink = OwnSink::create(dir, offer, limit, Some(&admission.partials)).await?;
        let (channel, milestones) = (self.channel.clone(), admission.milestones.clone());
        Ok(Reception::own(sink, channel, milestones, true).await)
    }

    async fn answer(&self, text: OwnText) {
        self.say(ChannelText::Own(text)).await;
    }
}
