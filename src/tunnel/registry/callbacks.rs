//! Whom the manager of a tube tells.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{ConnectionState, NetworkChangeType, lock};
use crate::tunnel::message::Message;
use crate::tunnel::signal::Signal;

/// A callback, to be removed with [`super::Manager::remove_callback`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallbackId(u64);

/// What is called with the id of a tube and something about it.
type OfTube<T> = Arc<dyn Fn(&str, T) + Send + Sync>;

#[derive(Clone)]
pub(super) enum Callback {
    State(OfTube<ConnectionState>),
    Network(OfTube<NetworkChangeType>),
    Signal(Arc<dyn Fn(&Signal) + Send + Sync>),
    Message(Arc<dyn Fn(&Message) + Send + Sync>),
}

/// Something to be told.
#[derive(Debug, Clone)]
pub(super) enum Tell {
    State(ConnectionState),
    Network(NetworkChangeType),
    Signal(Signal),
    Message(Message),
}

/// The callbacks of one manager.
#[derive(Default)]
pub(super) struct Callbacks {
    next: AtomicU64,
    /// Nothing once it is over.
    list: Mutex<Option<Vec<(CallbackId, Callback)>>>,
}

impl Callbacks {
    pub(super) fn new() -> Self {
        Callbacks {
            next: AtomicU64::new(1),
            list: Mutex::new(Some(Vec::new())),
        }
    }

    pub(super) fn add(&self, callback: Callback) -> CallbackId {
        let id = CallbackId(self.next.fetch_add(1, Ordering::Relaxed));
        if let Some(list) = &mut *lock(&self.list) {
            list.push((id, callback));
        }
        id
    }

    pub(super) fn remove(&self, id: CallbackId) -> bool {
        // Dropped without the lock: what it holds may have something to do as it goes.
        let removed = lock(&self.list).as_mut().and_then(|list| {
            let at = list.iter().position(|(known, _)| *known == id)?;
            Some(list.remove(at))
        });
        removed.is_some()
    }

    /// Nobody is told any more.
    pub(super) fn clear(&self) {
        let all = lock(&self.list).take();
        drop(all);
    }

    /// Tells everybody, in the order in which they came. One that panics does not stop the others.
    pub(super) fn tell(&self, tube: &str, what: &Tell) {
        let all = lock(&self.list).clone().unwrap_or_default();
        for (id, callback) in all {
            let told = catch_unwind(AssertUnwindSafe(|| callback.call(tube, what)));
            if told.is_err() {
                tracing::error!(tube, callback = id.0, "a callback has panicked");
            }
        }
    }
}

impl Callback {
    fn call(&self, tube: &str, what: &Tell) {
        match (self, what) {
            (Callback::State(call), Tell::State(state)) => call(tube, *state),
            (Callback::Network(call), Tell::Network(change)) => call(tube, *change),
            (Callback::Signal(call), Tell::Signal(signal)) => call(signal),
            (Callback::Message(call), Tell::Message(message)) => call(message),
            _ => {}
        }
    }
}
