//! What a trainer has reported and the client has not been told yet: a few reports, the latest ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Reports that wait for the client, at most. Where more come, the oldest are left out.
const WAITING: usize = 64;

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<String>,
    left_out: u64,
    /// Connections of the trainer.
    open: usize,
    /// The trainer has ended.
    closing: bool,
}

/// The reports of one training.
#[derive(Debug, Default)]
pub(super) struct Reports {
    state: Mutex<State>,
    changed: Notify,
}

impl Reports {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, report: String) {
        let mut state = self.state();
        if state.waiting.len() == WAITING {
            state.waiting.pop_front();
            state.left_out += 1;
        }
        state.waiting.push_back(report);
        drop(state);
        self.changed.notify_one();
    }

    /// One that cannot be passed on.
    pub(super) fn leave_out(&self) {
        self.state().left_out += 1;
    }

    /// The next report; `None` once the trainer has ended and all that it reported is here. For one reader.
    pub(super) async fn next(&self) -> Option<String> {
        loop {
            {
                let mut state = self.state();
                if let Some(report) = state.waiting.pop_front() {
                    return Some(report);
                }
                if state.closing && state.open == 0 {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// The trainer has ended: what is on its way is the last of it.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.changed.notify_one();
    }

    /// How many reports were left out; those that still wait are, once nobody takes them any more.
    pub(super) fn left_out(&self) -> u64 {
        let state = self.state();
        state.left_out + state.waiting.len() as u64
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.state().open
    }
}

/// A connection over which reports come.
pub(super) struct Connection(pub(super) Arc<Reports>);

impl Connection {
    pub(super) fn new(reports: &Arc<Reports>) -> Self {
        reports.state().open += 1;
        Connection(reports.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// However many come, a few wait, the latest ones, and what is missing is counted.
    #[tokio::test]
    async fn the_oldest_make_room_and_are_counted() {
        let reports = Arc::new(Reports::default());
        let connection = Connection::new(&reports);
        for number in 0..100_000 {
            connection.0.push(number.to_string());
        }
        reports.leave_out();
        reports.close();
        drop(connection);
        let mut got = Vec::new();
        while let Some(report) = reports.next().await {
            got.push(report.parse::<usize>().unwrap());
        }
        assert_eq!(got, (100_000 - WAITING..100_000).collect::<Vec<_>>());
        assert_eq!(reports.left_out(), (100_000 - WAITING + 1) as u64);
    }
}
