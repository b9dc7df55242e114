//! Mail for the submitter of a job: how its reservation changed, and how it ended. It waits at the hub for every device
//! of that user, so that a result is known also where nobody was connected when it came.
//!
//! Each change is mailed once, under an id of its own, and sent again until the hub has taken it: one at a time, the
//! oldest first. A hub that knows no mail is not asked again.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix::prelude::*;
use serde_json::Value;

use super::Worker;
use crate::actors::Feed;
use crate::charts::session::Input as SessionInput;
use crate::charts::{JobId, PeerId};
use crate::wire::{HubError, JobChange, JobNotice, PeerMessage, ToHub};

/// Letters that wait for the hub, at most; then the oldest is given up.
const MAX_WAITING: usize = 256;
/// When a letter is tried again that the hub could not take.
const RETRY: Duration = Duration::from_secs(15);
/// How long a worker that stops waits for the hub to take its last letters.
const FAREWELL: Duration = Duration::from_secs(2);

/// A letter on its way to the hub.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Letter {
    pub(super) to: PeerId,
    pub(super) id: String,
    pub(super) payload: Value,
}

/// The letters that the hub has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Post {
    waiting: VecDeque<Letter>,
    /// The first one was sent over the present registration, and is not answered.
    sent: bool,
    /// The hub knows no mail.
    unknown: bool,
}

/// What the hub's answer asks of the worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// Send what is next.
    Send,
    /// Send the same after a while.
    Later,
}

impl Post {
    /// Puts a letter behind the others.
    pub(super) fn push(&mut self, letter: Letter) {
        if self.unknown {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            tracing::warn!("too much mail waits for the hub; the oldest is given up");
            // The first may be on its way, and its answer is still to come.
            self.waiting.remove(usize::from(self.sent));
        }
        self.waiting.push_back(letter);
    }

    /// The letter to send now.
    pub(super) fn take(&mut self) -> Option<Letter> {
        let letter = self.waiting.front().filter(|_| !self.sent).cloned();
        self.sent |= letter.is_some();
        letter
    }

    /// The registration is new: what was sent over the old one may be lost.
    pub(super) fn begin_again(&mut self) {
        self.sent = false;
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn is_first(&self, id: &str) -> bool {
        self.sent && self.waiting.front().is_some_and(|letter| letter.id == id)
    }

    fn done(&mut self) -> Next {
        self.waiting.pop_front();
        self.sent = false;
        Next::Send
    }

    /// The hub took a letter.
    pub(super) fn accepted(&mut self, id: &str) -> Next {
        if self.is_first(id) {
            self.done()
        } else {
            Next::Nothing
        }
    }

    /// The hub did not take a letter.
    pub(super) fn refused(&mut self, id: &str, code: &str, retryable: bool) -> Next {
        if !self.is_first(id) {
            return Next::Nothing;
        }
        if retryable {
            tracing::warn!(code, "the hub cannot take mail now; it is tried again");
            self.sent = false;
            return Next::Later;
        }
        tracing::warn!(code, "the hub does not take this mail; it is given up");
        self.done()
    }

    /// The hub reports an error, which may be about the letter that was sent.
    pub(super) fn error(&mut self, error: &HubError) -> Next {
        match (error.code.as_deref(), error.client_message_id.as_deref()) {
            _ if error.is_unknown_type() && self.sent => {
                tracing::debug!("the hub knows no mail");
                *self = Post {
                    unknown: true,
                    ..Post::default()
                };
                Next::Nothing
            }
            (code, Some(id)) => self.refused(id, code.unwrap_or_default(), false),
            _ => Next::Nothing,
        }
    }
}

/// The job that the worker is reserved for, or has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reservation {
    pub(super) holder: PeerId,
    pub(super) job: JobId,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

impl Worker {
    /// The reservation changed.
    pub(super) fn mail_reserved(&mut self, holder: &PeerId, job: JobId) {
        self.count += 1;
        self.reserved = Some(Reservation {
            holder: holder.clone(),
            job: job.clone(),
        });
        self.mail(holder.clone(), &job, JobChange::Reserved);
    }

    /// The reservation, if there is one, is over.
    pub(super) fn mail_unreserved(&mut self, change: JobChange) {
        if let Some(Reservation { holder, job }) = self.reserved.take() {
            self.mail(holder, &job, change);
        }
    }

    /// The job said how it ended; other messages of it are not mailed.
    pub(super) fn mail_terminal(&mut self, holder: PeerId, job: &JobId, message: &PeerMessage) {
        let change = match message {
            PeerMessage::JobComplete(complete) => {
                let result = &complete.result;
                let minutes = result["training_duration_minutes"].as_f64();
                JobChange::Completed {
                    began: minutes.map(|minutes| now_ms().saturating_sub((minutes * 60e3) as u64)),
                    results_file: result["results_file"].as_str().map(str::to_owned),
                    results_bytes: result["results_size_bytes"].as_u64(),
                }
            }
            PeerMessage::JobFailed { error, .. } => JobChange::Failed {
                code: error.code.clone(),
                message: error.message.clone(),
                recoverable: error.recoverable,
            },
            PeerMessage::JobCancelled { .. } => JobChange::Cancelled,
            _ => return,
        };
        self.mail(holder, job, change);
    }

    fn mail(&mut self, to: PeerId, job: &JobId, change: JobChange) {
        // Clients choose the ids of their jobs, and may use one again: the number tells such jobs apart.
        let id = format!("{:016x}-{}-{}", self.life, self.count, change.token());
        let worker = self.capabilities.hostname().to_owned();
        let notice = JobNotice::new(
            job.to_string(),
            self.peer_id.clone(),
            Some(worker),
            now_ms(),
            change,
        );
        self.post.push(Letter {
            to,
            id,
            payload: notice.to_value(),
        });
        self.send_mail();
    }

    /// Sends the next letter, if the hub is there.
    pub(super) fn send_mail(&mut self) {
        if !self.online {
            return;
        }
        if let Some(letter) = self.post.take() {
            self.send(ToHub::Mail {
                from_peer_id: self.peer_id.clone(),
                to_peer_id: letter.to.to_string(),
                client_message_id: letter.id,
                payload: letter.payload,
            });
        }
    }

    /// Goes on after an answer of the hub.
    pub(super) fn go_on_with_mail(&mut self, next: Next, ctx: &mut Context<Self>) {
        match next {
            Next::Nothing => {}
            Next::Send => self.send_mail(),
            Next::Later => {
                ctx.run_later(RETRY, |worker, _| worker.send_mail());
            }
        }
        // A worker that stops has waited for this.
        self.advance_stop(ctx);
    }

    /// Says goodbye to the hub, once it has taken the last letters or had its time.
    pub(super) fn leave_hub(&mut self, ctx: &mut Context<Self>) {
        if self.post.is_empty() || !self.online {
            self.session.do_send(Feed(SessionInput::Shutdown));
        } else if !std::mem::replace(&mut self.leaving, true) {
            ctx.run_later(FAREWELL, |worker, _| {
                worker.session.do_send(Feed(SessionInput::Shutdown));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: &str) -> Letter {
        Letter {
            to: PeerId::from("client"),
            id: id.to_owned(),
            payload: Value::Null,
        }
    }

    fn post(ids: &[&str]) -> Post {
        let mut post = Post::default();
        ids.iter().for_each(|id| post.push(letter(id)));
        post
    }

    fn taken(post: &mut Post) -> Option<String> {
        post.take().map(|letter| letter.id)
    }

    fn error(code: &str, id: Option<&str>) -> HubError {
        HubError {
            code: Some(code.to_owned()),
            client_message_id: id.map(str::to_owned),
            ..HubError::default()
        }
    }

    #[test]
    fn one_letter_at_a_time_the_oldest_first_and_again_after_a_reconnect() {
        let mut post = post(&["a", "b"]);
        assert_eq!(taken(&mut post).as_deref(), Some("a"));
        assert_eq!(taken(&mut post), None, "the first is not answered yet");
        post.begin_again();
        assert_eq!(taken(&mut post).as_deref(), Some("a"));
        assert_eq!(post.accepted("b"), Next::Nothing, "it was not sent");
        assert_eq!(post.accepted("a"), Next::Send);
        assert_eq!(post.accepted("a"), Next::Nothing, "an answer counts once");
        assert_eq!(taken(&mut post).as_deref(), Some("b"));
        assert_eq!(post.accepted("b"), Next::Send);
        assert!(post.is_empty());
    }

    #[test]
    fn what_the_hub_refuses_is_given_up_or_tried_again() {
        let mut post = post(&["a", "b", "c"]);
        taken(&mut post);
        assert_eq!(post.refused("a", "MAILBOX_FULL", true), Next::Later);
        assert_eq!(taken(&mut post).as_deref(), Some("a"));
        assert_eq!(post.refused("a", "TOO_LARGE", false), Next::Send);
        assert_eq!(taken(&mut post).as_deref(), Some("b"));
        assert_eq!(post.error(&error("PEER_NOT_FOUND", None)), Next::Nothing);
        assert_eq!(post.error(&error("PEER_NOT_FOUND", Some("b"))), Next::Send);
        assert_eq!(taken(&mut post).as_deref(), Some("c"));
    }

    #[test]
    fn a_hub_that_knows_no_mail_is_not_asked_again() {
        let mut post = post(&["a"]);
        assert_eq!(
            post.error(&error("UNKNOWN_MESSAGE_TYPE", None)),
            Next::Nothing
        );
        taken(&mut post);
        post.error(&error("UNKNOWN_MESSAGE_TYPE", None));
        post.push(letter("b"));
        assert!(post.is_empty() && taken(&mut post).is_none());
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_on_its_way_stays() {
        let mut post = post(&["first"]);
        taken(&mut post);
        (0..MAX_WAITING).for_each(|number| post.push(letter(&number.to_string())));
        assert_eq!(post.waiting.len(), MAX_WAITING);
        assert_eq!(post.accepted("first"), Next::Send);
        assert_eq!(
            taken(&mut post).as_deref(),
            Some("1"),
            "the oldest was given up"
        );
    }
}
