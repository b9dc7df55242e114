//! Back to the sender: a post is settled when every device has acknowledged it, or when the store has it or failed.

use std::sync::Arc;

use super::super::engine::{PostRefused, Receipt, Sink, Status};
use super::super::store::StoreFailed;
use super::Index;
use super::core::{Core, Now};
use super::device::Answer;
use super::posting::Post;

impl Core {
    /// The store has a post, or failed.
    pub(super) fn appended(&mut self, id: u64, answer: Result<(), StoreFailed>, now: Now) {
        let Some(post) = self.posts.remove(&id) else {
            return;
        };
        let (bytes, count) = (post.letter.bytes() as u64, post.targets.len() as u64);
        self.writing -= bytes;
        self.figures.store_failing = answer.is_err();
        if answer.is_ok() {
            self.figures.stored += count;
        } else {
            self.failures += 1;
            self.waiting.take(count, bytes * count);
            self.senders.credit(&post.letter.from.user, bytes * count);
        }
        for target in &post.targets {
            if let Some(device) = self.device(*target) {
                device.appends -= 1;
                if answer.is_err() {
                    device.load.take(1, bytes);
                }
            }
        }
        for target in &post.targets {
            self.pump(*target);
        }
        let outcome = answer.map(|()| Status::Stored);
        self.settle(
            post,
            outcome.map_err(|_| PostRefused::StoreUnavailable),
            now,
        );
    }

    /// A device has acknowledged a letter of its window.
    pub(super) fn received(&mut self, target: Index, id: u64, now: Now) {
        let Some(post) = self.posts.get_mut(&id).filter(|post| !post.storing) else {
            // It is in the store, which is told.
            return;
        };
        let bytes = post.letter.bytes() as u64;
        post.targets.retain(|other| *other != target);
        let last = post.targets.is_empty();
        self.senders.credit(&post.letter.from.user, bytes);
        self.live.take(1, if last { bytes } else { 0 });
        self.figures.acknowledged += 1;
        if let Some(device) = self.device(target) {
            device.load.take(1, bytes);
        }
        if last && let Some(post) = self.posts.remove(&id) {
            self.settle(post, Ok(Status::Delivered), now);
        }
    }

    /// Answers a post, and its repetitions.
    fn settle(&mut self, post: Post, outcome: Result<Status, PostRefused>, now: Now) {
        let Post {
            letter,
            sender,
            answer_to,
            again,
            mark,
            devices,
            ..
        } = post;
        if outcome.is_err() {
            self.figures.refused += 1 + again.len() as u64;
        }
        let mut forgotten = false;
        if let Some(out) = self.device(sender).and_then(|device| device.out.as_mut()) {
            out.unconfirmed -= 1 + again.len();
            match (&mark, &outcome) {
                (Some(mark), Ok(status)) => out.repeats.settle(mark, *status),
                (Some(mark), Err(_)) => forgotten = out.repeats.forget(mark),
                (None, _) => {}
            }
        }
        self.remembered -= usize::from(forgotten);
        let answer = |duplicate| match &outcome {
            Ok(status) => Answer::Receipt(Receipt {
                message_id: letter.id,
                client_message_id: letter.client_message_id.clone(),
                status: *status,
                devices: devices as usize,
                duplicate,
            }),
            Err(why) => Answer::Refused(letter.client_message_id.clone(), why.clone()),
        };
        self.answer(sender, answer_to.as_ref(), answer(false), now);
        for answer_to in again {
            self.answer(sender, answer_to.as_ref(), answer(true), now);
        }
    }

    /// Gives an answer to the connection that the sender has now, or keeps it for the session.
    pub(super) fn answer(
        &mut self,
        sender: Index,
        to: Option<&Arc<dyn Sink>>,
        answer: Answer,
        now: Now,
    ) {
        if let Some(sink) = to {
            return answer.give(&**sink);
        }
        let most = self.limits.unconfirmed;
        let Some(device) = self.device(sender) else {
            return;
        };
        match &device.link {
            Some(link) if !link.blocked => return answer.give(&*link.sink),
            // Its socket is about to be closed, and may be resumed.
            Some(_) => {}
            None if device.resume_until.is_some_and(|until| until > now.at) => {}
            None => return,
        }
        let out = device.outgoing();
        if out.kept.len() < most {
            out.kept.push_back(answer);
        } else {
            out.dropped = true;
        }
    }
}
