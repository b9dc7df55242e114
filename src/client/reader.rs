//! Reading the data channel at the client: job output goes straight to the user, file bytes straight to the disk, and
//! only milestones to the client's switchboard.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::lines::Lines;
use super::{Progress, TrainerReport, Ui};
use crate::actors::peer::LinkId;
use crate::actors::transfer::Milestones;
use crate::files::{Flow, OwnSink, Partials, RESULTS_DIR, Reception};
use crate::rtc::Incoming;
use crate::tunnel::tube::Line;
use crate::wire::own::{Digest, FileOffer, JobSummary, OwnText};
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
    channel: Line,
    /// What a Loaner worker answers.
    answers: mpsc::Sender<OwnText>,
    reception: Option<Reception>,
    lines: Lines,
}

/// Reads a channel until it closes.
pub(super) async fn read(
    link: LinkId,
    channel: Line,
    said: Recipient<Said>,
    coming: Recipient<ResultsComing>,
    answers: mpsc::Sender<OwnText>,
    ui: Arc<dyn Ui>,
) {
    let mut reader = Reader {
        link,
        said,
        coming,
        ui,
        channel: channel.clone(),
        answers,
        reception: None,
        lines: Lines::default(),
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
        if reception.take(bytes).await == Flow::Over {
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
            Ok(ChannelText::ProgressReport(json)) => {
                self.ui
                    .progress(Progress::Reported(TrainerReport::read(&json)));
            }
            Ok(ChannelText::FileMeta { name, size, .. }) => {
                self.announced(name, size, None).await;
            }
            Ok(ChannelText::EndOfFile) => {
                if let Some(reception) = &mut self.reception
                    && reception.finish().await == Flow::Over
                {
                    self.reception = None;
                }
            }
            Ok(ChannelText::Own(text)) => self.own(text).await,
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

    /// The words of a Loaner worker.
    async fn own(&mut self, text: OwnText) {
        match text {
            OwnText::Offer(offer) => {
                self.announced(offer.name, offer.size, Some(offer.key))
                    .await
            }
            text @ (OwnText::Begin { .. } | OwnText::Check { .. }) => {
                if let Some(reception) = &mut self.reception
                    && reception.hear(&text).await == Flow::Over
                {
                    self.reception = None;
                }
            }
            text @ (OwnText::Welcome { .. }
            | OwnText::NoVersion { .. }
            | OwnText::Accept { .. }
            | OwnText::Verified
            | OwnText::Rejected { .. }) => {
                if self.answers.try_send(text).is_err() {
                    tracing::warn!(link = %self.link, "the worker answered what nobody asked");
                }
            }
            OwnText::LogPart { text, .. } => {
                let ui = &self.ui;
                self.lines.take(&text, |line| ui.output(line));
            }
            OwnText::LogGap { from, to } => self.ui.progress(Progress::LeftOut { from, to }),
            OwnText::StepStarted { name } => self.say(Ok(ChannelText::TrainJobStart(name))),
            OwnText::StepEnded { name, code: 0 } => self.say(Ok(ChannelText::TrainJobEnd(name))),
            OwnText::StepEnded { name, code } => {
                self.say(Ok(ChannelText::TrainJobError { name, code }));
            }
            OwnText::CommandsDone => self.say(Ok(ChannelText::TrainingJobsDone)),
            OwnText::Job(job) => self.verdict(job),
            OwnText::Hello(_)
            | OwnText::Package { .. }
            | OwnText::LogEnd { .. }
            | OwnText::ListJobs
            | OwnText::JobList { .. }
            | OwnText::ReadLog { .. }
            | OwnText::WatchJob { .. }
            | OwnText::StopJob { .. }
            | OwnText::CancelJob { .. }
            | OwnText::FetchResults { .. }
            | OwnText::Denied { .. }
            | OwnText::Unknown => {
                tracing::debug!(link = %self.link, "not for a client, or not known to this one");
            }
        }
    }

    /// How the job ended, in the words that foreign workers have for it.
    fn verdict(&self, job: JobSummary) {
        let job_id = job.id;
        let text = match job.state.as_str() {
            "completed" => ChannelText::JobComplete {
                job_id,
                detail: String::new(),
            },
            "failed" => ChannelText::JobFailed {
                job_id,
                message: job.message,
            },
            "cancelled" => ChannelText::JobCancelled { job_id },
            _ => {
                if let Some(seconds) = job.seconds_left {
                    let state = job.state;
                    self.ui.progress(Progress::Ending { state, seconds });
                }
                return;
            }
        };
        self.say(Ok(text));
    }

    /// A file comes; with a key, if at all, from a Loaner.
    async fn announced(&mut self, name: String, size: u64, own: Option<Option<Digest>>) {
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
        let (milestones, channel) = (place.milestones.clone(), self.channel.clone());
        let reception = if let Some(key) = own {
            let offer = FileOffer {
                name: place.name,
                size,
                key,
                hint: String::new(),
            };
            let partials = partials(&place.dir);
            match OwnSink::create(&place.dir, &offer, u64::MAX, Some(&partials)).await {
                Ok(sink) => Ok(Reception::own(sink, channel, milestones, false).await),
                Err(error) => Err(error),
            }
        } else {
            FileSink::create(&place.dir, &place.name, size)
                .map(|sink| Reception::new(sink, milestones))
        };
        match reception {
            Ok(reception) => self.reception = Some(reception),
            Err(error) => {
                if own.is_some() {
                    let message = error.to_string();
                    let text = ChannelText::Own(OwnText::Rejected { message });
                    // A channel that is gone is reported on its own.
                    let _ = self.channel.send_text(&text.to_text()).await;
                }
                place.milestones.broke(error).await;
            }
        }
    }
}

/// Where results are kept that did not arrive whole, so that `loaner fetch` can go on with them.
pub(super) fn partials(output_dir: &Path) -> Partials {
    Partials::new(output_dir.join(RESULTS_DIR), u64::MAX)
}
