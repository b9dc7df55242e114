//! What the worker says: through the hub, and on the channel.

use super::Client;
use crate::actors::peer::{RemoteAnswer, RemoteCandidate};
use crate::charts::submission::Input;
use crate::client::Progress;
use crate::client::reader::Said;
use crate::wire::{ChannelText, FromHub, HubError, PeerMessage};
use crate::worker::jobs::work::SHUTDOWN;
use actix::prelude::*;

impl Client {
    pub(super) fn hear(&mut self, frame: FromHub, ctx: &mut Context<Self>) {
        match frame {
            FromHub::PeerList { peers } => self.discovered(peers, ctx),
            FromHub::Answer { sender, sdp } if sender == self.worker_id() => {
                if let Some(link) = &mut self.link {
                    link.answered = true;
                    link.addr.do_send(RemoteAnswer(sdp));
                }
            }
            FromHub::Candidate { sender, candidate } if sender == self.worker_id() => {
                if let Some(link) = &self.link {
                    link.addr.do_send(RemoteCandidate(candidate));
                }
            }
            FromHub::PeerMessage {
                from_peer_id,
                payload,
                ..
            } if from_peer_id == self.worker_id() => match PeerMessage::parse(&payload) {
                Ok(message) => self.hear_worker(message),
                Err(error) => tracing::warn!(%error, "a message of the worker was not understood"),
            },
            FromHub::Error(error) => self.hear_error(&error),
            // Once it has answered, the connection needs no hub any more.
            FromHub::PeerLeft { peer_id }
                if peer_id == self.worker_id()
                    && self.link.as_ref().is_none_or(|link| !link.answered) =>
            {
                self.worker_gone();
            }
            other => tracing::debug!(frame = ?other, "not for a client"),
        }
    }

    pub(super) fn hear_error(&mut self, error: &HubError) {
        tracing::warn!(%error, "the hub reports an error");
        if error.is_worker_busy() {
            let status = error.current_status.as_deref().unwrap_or("busy");
            self.detail = Some(format!(
                "the worker is {status} for somebody else; try again later, or another worker"
            ));
            self.feed(Input::WorkerBusy);
        } else if matches!(
            error.code.as_deref(),
            Some("PEER_NOT_FOUND" | "PEER_NOT_IN_ROOM")
        ) {
            self.worker_gone();
        }
    }

    fn worker_gone(&mut self) {
        self.detail = Some(
            "the worker has left the room; run it again when it is back, or on another worker"
                .to_owned(),
        );
        self.feed(Input::WorkerLeft);
    }

    pub(super) fn hear_worker(&mut self, message: PeerMessage) {
        let connected = self.link.as_ref().is_some_and(|link| link.open);
        let away = self.link.as_ref().is_some_and(|link| link.away);
        match message {
            PeerMessage::JobResponse(response) if response.job_id == self.job => {
                if response.accepted {
                    self.ui.progress(Progress::Reserved {
                        job: self.job.clone(),
                    });
                    self.feed(Input::JobAccepted);
                } else {
                    let reason = response
                        .reason
                        .unwrap_or_else(|| "no reason given".to_owned());
                    self.detail = Some(match response.message {
                        Some(message) => {
                            format!("the worker does not take the job: {reason} ({message})")
                        }
                        None => format!("the worker does not take the job: {reason}"),
                    });
                    self.feed(Input::JobRejected);
                }
            }
            PeerMessage::JobCancelled { job_id, .. } if job_id == self.job => self.cancelled(),
            PeerMessage::JobStatus(status)
                if status.job_id == self.job && status.status == "running" =>
            {
                self.ui.progress(Progress::Job {
                    fraction: status.progress,
                    message: status.message.unwrap_or_default(),
                });
            }
            PeerMessage::JobStatus(status)
                if status.job_id == self.job
                    && !self.hears_of_jobs()
                    && ["stopping", "terminating"].contains(&status.status.as_str()) =>
            {
                let seconds = status.details.as_ref();
                let seconds = seconds.and_then(|details| details.get("seconds_left")?.as_u64());
                self.ui.progress(Progress::Ending {
                    state: status.status,
                    seconds: seconds.unwrap_or_default().min(24 * 3600),
                });
            }
            // While the channel is open, the verdict comes on it, in its place behind the results; from a worker that has shut
            // down while the way to it was lost, nothing comes any more.
            PeerMessage::JobFailed { job_id, error, .. }
                if job_id == self.job && (!connected || away && error.code == SHUTDOWN) =>
            {
                self.detail = Some(error.message);
                self.feed(Input::JobOver { ok: false });
            }
            other => tracing::debug!(message = ?other, "the worker reports"),
        }
    }

    /// The job was cancelled; how its command ended is no reason then.
    fn cancelled(&mut self) {
        self.detail = Some("it was cancelled".to_owned());
        self.feed(Input::JobCancelled);
    }

    fn command_failed(&mut self, name: String, code: i32) {
        self.command_failed = true;
        self.detail = Some(format!("{name} failed with exit code {code}"));
        self.ui.progress(Progress::Ended { name, code });
    }

    /// The end of an inference, behind its result: a foreign worker says nothing more. One of ours has a verdict for us,
    /// and is not left before it has given it; so has any for a package that it had.
    fn last_word(&self, ok: bool) {
        self.feed(if self.worker_is_ours() || self.named().is_some() {
            Input::CommandsDone { ok }
        } else {
            Input::JobOver { ok }
        });
    }

    pub(super) fn heard_on_channel(&mut self, text: ChannelText) {
        let Some(text) = self.heard_of_files(text) else {
            return;
        };
        match text {
            ChannelText::TrainJobStart(name) | ChannelText::InferenceJobStart(name) => {
                self.ui.progress(Progress::Started { name });
            }
            ChannelText::TrainJobEnd(name) | ChannelText::InferenceJobEnd(name) => {
                self.ui.progress(Progress::Ended { name, code: 0 });
            }
            ChannelText::TrainJobError { name, code } => self.command_failed(name, code),
            ChannelText::InferenceJobError { name, code } => {
                self.command_failed(name, code);
                self.last_word(false);
            }
            ChannelText::InferenceError(text) => {
                self.detail = Some(text);
                self.last_word(false);
            }
            ChannelText::InferenceJobsDone => self.last_word(!self.command_failed),
            ChannelText::TrainingJobsDone => self.feed(Input::CommandsDone {
                ok: !self.command_failed,
            }),
            ChannelText::JobComplete { .. } => self.feed(Input::JobOver { ok: true }),
            ChannelText::JobFailed { message, .. } => {
                self.detail = Some(message);
                self.feed(Input::JobOver { ok: false });
            }
            ChannelText::JobCancelled { .. } => self.cancelled(),
            other => tracing::debug!(message = ?other, "not for this client"),
        }
    }
}

impl Handler<Said> for Client {
    type Result = ();

    fn handle(&mut self, said: Said, _: &mut Self::Context) {
        if self.link.as_ref().is_some_and(|link| link.id == said.link) {
            match said.text {
                Ok(text) => self.heard_on_channel(text),
                Err(error) => {
                    self.detail = Some(error.to_string());
                    self.feed(Input::ResultsAnnounced);
                    self.feed(Input::ReceiveFailed);
                }
            }
        }
    }
}
