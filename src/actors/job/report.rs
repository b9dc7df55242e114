//! What a job says: its status on the way, and its one terminal message, on the channel and by peer message alike.

use std::time::Duration;

use serde_json::{Value, json};

use super::{JobEvent, JobNews, JobPerformer};
use crate::charts::job::{Act, GRACE, Outcome, Why};
use crate::tunnel::tube::Line;
use crate::wire::own::OwnText;
use crate::wire::{ChannelText, JobComplete, JobError, JobStatus, PeerMessage};
use crate::worker::jobs::plan::PlanKind;
use crate::worker::jobs::work::{self, Results};

/// How long the terminal message may take to leave on a channel that still works.
const FAREWELL: Duration = Duration::from_secs(2);

impl JobPerformer {
    fn infers(&self) -> bool {
        let prepared = self.prepared.as_ref();
        prepared.is_some_and(|prepared| prepared.plan.kind == PlanKind::Inference)
    }

    /// The directory of results where the client named none.
    pub(super) fn output_dir(&self) -> &'static str {
        if self.infers() { "." } else { "models" }
    }

    pub(super) fn report_starting(&self) {
        let message = if self.infers() {
            "Initializing inference".to_owned()
        } else {
            format!("Initializing training: {}", self.step)
        };
        self.status("starting", 0.0, message);
    }

    /// Of an inference, the end of a command is no news: there is one result, and `job_complete` tells of it.
    pub(super) fn report_step_done(&self) {
        if !self.infers() {
            self.status("running", 1.0, format!("Training completed: {}", self.step));
        }
    }

    pub(super) fn report_progress(&self, fraction: f64, message: String) {
        if let Some(record) = &self.record {
            record.is_at(fraction, &message);
        }
        self.status("running", fraction, message);
    }

    /// Notes in the record where the job is now; that it is being stopped, its client and the worker are told too.
    pub(super) fn note(&self, act: &Act) {
        let (state, at_most) = match act {
            Act::Prepare => ("preparing", None),
            Act::Run => ("running", None),
            Act::AskToStop => ("stopping", Some(self.stop_deadline())),
            Act::TerminateWork => ("terminating", Some(GRACE)),
            Act::Pack => ("packing", None),
            Act::ReturnResults => ("returning", None),
            Act::RemoveScratch => ("cleaning", None),
            Act::ReportBegun
            | Act::SendStarting
            | Act::SendStepDone
            | Act::KillWork
            | Act::SendTerminal(_)
            | Act::ReportEnded => return,
        };
        if let Some(record) = &self.record {
            record.is_in(state, at_most);
        }
        let Some(at_most) = at_most else {
            return;
        };
        let seconds = at_most.as_secs();
        let message = match act {
            Act::AskToStop => format!("asked to stop; it has {seconds} s to save what it has"),
            _ => format!("being ended; killed in {seconds} s at the latest"),
        };
        let record = self.record.as_ref();
        let progress = record.and_then(|record| record.story().progress);
        self.tell(JobEvent::Tell(PeerMessage::JobStatus(JobStatus {
            job_id: self.id.to_string(),
            status: state.to_owned(),
            progress: progress.unwrap_or_default(),
            message: Some(message),
            details: Some(json!({ "seconds_left": seconds })),
        })));
        self.tell(JobEvent::Ending { state, at_most });
        // A Loaner hears it on the channel, where it cannot be later than what comes of it.
        if let (Some(record), Some(channel), true) = (record, &self.channel, self.speaks_of_jobs())
        {
            let text = ChannelText::Own(OwnText::Job(record.summary())).to_text();
            let channel = channel.clone();
            self.plane.spawn(async move {
                // A channel that is gone is reported on its own.
                let _ = channel.send_text(&text).await;
            });
        }
    }

    pub(super) fn status(&self, status: &str, progress: f64, message: String) {
        self.tell(JobEvent::Tell(PeerMessage::JobStatus(JobStatus {
            job_id: self.id.to_string(),
            status: status.to_owned(),
            progress,
            message: Some(message),
            details: None,
        })));
    }

    /// What a training came to (protocol page, 3.7).
    fn trained(&self) -> Value {
        let mut result = json!({
            "training_duration_minutes": self.began.elapsed().as_secs_f64() / 60.0,
            "total_jobs": self.steps_done,
        });
        if let Some(results) = &self.results {
            result["results_file"] = json!(results.name());
            result["results_size_bytes"] = json!(results.size);
        }
        result
    }

    /// What an inference came to (protocol page, 3.7).
    fn predicted(&self) -> Value {
        let seconds = self.began.elapsed().as_secs();
        match &self.results {
            Some(results) => json!({
                "predictions_size_mb": results.size as f64 / f64::from(1 << 20),
                "inference_duration_seconds": seconds,
                "predictions_file": results.name(),
            }),
            None => json!({
                "inference_duration_seconds": seconds,
                "warning": "No predictions file generated",
            }),
        }
    }

    /// What peers of an inference wait for, who know no terminal message: the last word of the protocol page (4.7).
    fn last_word(&self, outcome: Outcome) -> Option<ChannelText> {
        let code = self.failure.as_ref().map(|failure| failure.code);
        match outcome {
            Outcome::Completed if self.infers() => Some(ChannelText::InferenceJobsDone),
            Outcome::Failed(Why::NotPrepared) if code == Some(work::NO_TRACK_SCRIPT) => Some(
                ChannelText::InferenceError("No track script found".to_owned()),
            ),
            _ => None,
        }
    }

    /// The terminal message, as it is on the channel and as a peer message.
    fn terminal(&self, outcome: Outcome) -> (ChannelText, PeerMessage) {
        let job_id = self.id.to_string();
        // On the channel, the job is called what its client calls it.
        let channel_id = self
            .claim
            .as_ref()
            .map_or_else(|| job_id.clone(), |claim| claim.job_id.clone());
        match outcome {
            Outcome::Completed => {
                let results = self.results.as_ref();
                let mut result = if self.infers() && self.claim.is_none() {
                    self.predicted()
                } else {
                    self.trained()
                };
                if self.asked {
                    result["stopped"] = json!(true);
                }
                if let Some(claim) = &self.claim {
                    result["output_path"] = json!(claim.output);
                }
                let text = match &self.claim {
                    Some(claim) => claim.complete(),
                    None => ChannelText::JobComplete {
                        job_id: channel_id,
                        detail: results.map(Results::name).unwrap_or_default(),
                    },
                };
                let complete = JobComplete::new(job_id, result, results.is_some());
                (text, PeerMessage::JobComplete(complete))
            }
            Outcome::Failed(why) => {
                // What stopped the job from outside is the reason then, whatever went wrong inside before.
                let told = match why {
                    Why::LinkLost | Why::Shutdown | Why::NoPackage | Why::NotStopped => None,
                    Why::NotReceived
                    | Why::NotPrepared
                    | Why::CommandFailed
                    | Why::NotPacked
                    | Why::NotReturned => self.failure.clone(),
                };
                let failure = told.unwrap_or_else(|| work::failure_of(why));
                let error = JobError {
                    code: failure.code.to_owned(),
                    message: failure.message.clone(),
                    recoverable: failure.recoverable,
                };
                let text = ChannelText::JobFailed {
                    job_id: channel_id,
                    message: failure.message,
                };
                (text, PeerMessage::failed(job_id, error))
            }
            Outcome::Cancelled => (
                ChannelText::JobCancelled { job_id: channel_id },
                PeerMessage::cancelled(job_id),
            ),
        }
    }

    /// Sends the terminal message both ways, and reports the end when it has left.
    pub(super) fn send_terminal(&mut self, outcome: Outcome) {
        let (mut text, message) = self.terminal(outcome);
        let mut last_word = self.last_word(outcome);
        let mut settled = None;
        if let Some(record) = &self.record {
            let (state, told) = match (outcome, &message) {
                (Outcome::Failed(_), PeerMessage::JobFailed { error, .. }) => {
                    ("failed", error.message.as_str())
                }
                (Outcome::Failed(_), _) => ("failed", ""),
                (Outcome::Completed, _) if self.asked => {
                    ("completed", "it was asked to stop, and did")
                }
                (Outcome::Completed, _) => ("completed", ""),
                (Outcome::Cancelled, _) => ("cancelled", ""),
            };
            record.ended(state, told);
            let settling = record.clone();
            settled = Some(self.plane.spawn_blocking(move || settling.settle()));
            if self.speaks_of_jobs() {
                text = ChannelText::Own(OwnText::Job(record.summary()));
                last_word = None;
            }
        }
        let records = self.settings.records.clone();
        self.plane.spawn_blocking(move || records.sweep());
        tracing::info!(job = %self.id, holder = %self.holder, ?outcome, message = %text.to_text(), "the job is over");
        self.tell(JobEvent::Tell(message));
        let (channel, owner, job) = (self.channel.clone(), self.owner.clone(), self.id.clone());
        self.plane.spawn(async move {
            // What is told is written down by then, unless the disk hangs.
            if let Some(settled) = settled
                && tokio::time::timeout(FAREWELL, settled).await.is_err()
            {
                tracing::warn!(%job, "the record of a job is not written in time");
            }
            if let Some(channel) = channel.filter(Line::is_open) {
                let sent = async {
                    if let Some(word) = last_word {
                        channel.send_text(&word.to_text()).await?;
                    }
                    channel.leave_text(&text.to_text()).await?;
                    channel.drained().await
                };
                match tokio::time::timeout(FAREWELL, sent).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%job, %error, "the terminal message did not leave on the channel"),
                    Err(_) => tracing::debug!(%job, "the terminal message did not leave on the channel in time"),
                }
            }
            owner.do_send(JobNews { job, what: JobEvent::Ended(outcome) });
        });
    }
}
