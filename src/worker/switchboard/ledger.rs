//! What the job that is under way will have taken, for the history.

use std::time::Instant;

use crate::wire::{JobRequest, PeerMessage};
use crate::worker::history::{History, PastJob};

/// The history, and the job that comes next in it.
pub(super) struct Ledger {
    history: History,
    next: PastJob,
    began: Option<Instant>,
    completed: bool,
}

impl Ledger {
    pub(super) fn new(history: History) -> Self {
        Ledger {
            history,
            next: PastJob::undescribed(),
            began: None,
            completed: false,
        }
    }

    /// A job was asked for, and is taken; how long it is going to take, in minutes.
    pub(super) fn asked(&mut self, request: &JobRequest) -> u64 {
        self.next = PastJob::of(request);
        self.history.estimate(request)
    }

    /// Its package has so many bytes, whatever the request said.
    pub(super) fn package(&mut self, bytes: u64) {
        self.next.package_bytes = bytes;
    }

    /// Its package begins to come.
    pub(super) fn begun(&mut self) {
        self.began = Some(Instant::now());
    }

    /// It says something.
    pub(super) fn told(&mut self, message: &PeerMessage) {
        if let PeerMessage::JobComplete(complete) = message {
            self.completed = true;
            self.next.models = complete.result["total_jobs"].as_u64();
        }
    }

    /// Whoever asked is gone; the next job may come from somebody who asks for nothing.
    pub(super) fn nothing_comes(&mut self) {
        self.next = PastJob::undescribed();
    }

    /// It is over. Only what was done to its end says how long such jobs take.
    pub(super) fn ended(&mut self) {
        let mut job = std::mem::replace(&mut self.next, PastJob::undescribed());
        let began = self.began.take();
        if let (true, Some(began)) = (std::mem::take(&mut self.completed), began) {
            job.seconds = began.elapsed().as_secs();
            self.history.add(job);
        }
    }
}
