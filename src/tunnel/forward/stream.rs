//! One stream: what came and waits, what may be sent, and how it ends.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, watch};

use super::flow::{Breach, Common, Receiving, Sending};
use super::frame::{MAX_DATA, StreamId};
use super::reason::Reset;

/// Smaller pieces are put together while they wait, so that what they cost beside their bytes is bounded too.
const SMALL: usize = 4096;

/// A rule of streams that the other side broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misuse {
    #[error(transparent)]
    Flow(#[from] Breach),
    #[error("something came behind the end of a stream")]
    AfterFinish,
    #[error("a stream was answered that was not asked for, or twice")]
    Answer,
}

/// What a stream's tasks and the reader of frames know in common.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    state: Mutex<State>,
    /// There is credit.
    sendable: Notify,
    /// Something came, or the end.
    takeable: Notify,
    answered: Notify,
    over: watch::Sender<Option<Reset>>,
}

#[derive(Debug, Default)]
struct State {
    /// Opened, or allowed.
    answered: bool,
    sending: Sending,
    receiving: Receiving,
    waiting: VecDeque<Bytes>,
    /// Small pieces, behind what is waiting.
    tail: BytesMut,
    /// The other side sends no more.
    finished: bool,
}

impl Stream {
    pub(super) fn new(id: StreamId) -> Self {
        Stream {
            id,
            state: Mutex::default(),
            sendable: Notify::new(),
            takeable: Notify::new(),
            answered: Notify::new(),
            over: watch::Sender::new(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other side opened it, or allowed what was asked.
    pub(super) fn answer(&self, credit: u32) -> Result<(), Misuse> {
        let mut state = self.state();
        if std::mem::replace(&mut state.answered, true) {
            return Err(Misuse::Answer);
        }
        state.sending.grant(credit)?;
        drop(state);
        self.answered.notify_one();
        self.sendable.notify_one();
        Ok(())
    }

    /// Waits for the answer.
    pub(super) async fn is_answered(&self) {
        while !self.state().answered {
            self.answered.notified().await;
        }
    }

    /// The other side opened it and may be sent to: there is nothing to wait for.
    pub(super) fn begin(&self, credit: u32) -> Result<(), Misuse> {
        let mut state = self.state();
        state.answered = true;
        Ok(state.sending.grant(credit)?)
    }

    pub(super) fn credit(&self, bytes: u32) -> Result<(), Misuse> {
        self.state().sending.grant(bytes)?;
        self.sendable.notify_one();
        Ok(())
    }

    pub(super) fn data(&self, bytes: Bytes) -> Result<(), Misuse> {
        let mut state = self.state();
        if state.finished {
            return Err(Misuse::AfterFinish);
        }
        state.receiving.came(bytes.len())?;
        if bytes.len() < SMALL {
            state.tail.extend_from_slice(&bytes);
        } else {
            state.settle_tail();
            state.waiting.push_back(bytes);
        }
        if state.tail.len() >= MAX_DATA {
            state.settle_tail();
        }
        drop(state);
        self.takeable.notify_one();
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), Misuse> {
        if std::mem::replace(&mut self.state().finished, true) {
            return Err(Misuse::AfterFinish);
        }
        self.takeable.notify_one();
        Ok(())
    }

    /// The next bytes that came; `None` behind the last.
    pub(super) async fn take(&self) -> Option<Bytes> {
        loop {
            {
                let mut state = self.state();
                if let Some(bytes) = state.waiting.pop_front() {
                    return Some(bytes);
                }
                if !state.tail.is_empty() {
                    return Some(state.tail.split().freeze());
                }
                if state.finished {
                    return None;
                }
            }
            self.takeable.notified().await;
        }
    }

    /// So many bytes were taken, and have gone where they go; what is to be granted.
    pub(super) fn took(&self, bytes: usize, common: &mut Common) -> Option<u32> {
        self.state().receiving.took(bytes, common)
    }

    /// Waits until something may be sent; how many bytes.
    pub(super) async fn room(&self) -> usize {
        loop {
            let room = self.state().sending.room();
            if room > 0 {
                return room;
            }
            self.sendable.notified().await;
        }
    }

    pub(super) fn spend(&self, bytes: usize) {
        self.state().sending.spend(bytes);
    }

    /// It is over before its time; only the first reason counts.
    pub(super) fn reset(&self, reset: Reset) {
        self.over.send_if_modified(|over| {
            let first = over.is_none();
            if first {
                *over = Some(reset);
            }
            first
        });
    }

    /// Waits until it is over before its time.
    pub(super) async fn was_reset(&self) -> Reset {
        let mut over = self.over.subscribe();
        let reset = over.wait_for(Option::is_some).await;
        let reset = reset.ok().and_then(|reset| reset.clone());
        match reset {
            Some(reset) => reset,
            // Its sender is the stream's own.
            None => std::future::pending().await,
        }
    }

    /// Nothing of it is wanted any more.
    pub(super) fn forget(&self, common: &mut Common) {
        let mut state = self.state();
        state.receiving.over(common);
        state.waiting = VecDeque::new();
        state.tail = BytesMut::new();
    }
}

impl State {
    fn settle_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = self.tail.split().freeze();
            self.waiting.push_back(tail);
        }
    }
}
