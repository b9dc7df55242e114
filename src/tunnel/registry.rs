//! The integration guide's connection managers, for programs that bring their own signalling: a WebSocket of theirs, or
//! anything else that carries texts (websocket-integration-guide.md).
//!
//! A [`TubeRuntime`] hosts [`Manager`]s on threads of its own. What their signal callbacks are given for the peer, the program
//! brings to the peer's [`Registry::receive`]. From there on everything is done here: the first connection, its loss, the
//! next one, and the end. The program sends and receives messages over the tube as if nothing had happened.
//!
//! Nothing here blocks, and everything may be called from any thread. Futures may be awaited anywhere; a thread that has
//! no executor uses [`TubeRuntime::block_on`].

mod activity;
mod callbacks;
mod host;
mod manager;
mod metrics;
mod options;
mod runtime;
mod shared;
mod telling;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use thiserror::Error;

pub use crate::actors::tunnel::Report;
pub use crate::charts::tunnel::{
    Change as NetworkChangeType, Public as ConnectionState, Reason, Refusal, Role,
};
pub use callbacks::CallbackId;
pub use manager::{Manager, RestartError};
pub use metrics::Metrics;
pub use options::{KEEPALIVE, OptionsError, TubeOptions};
pub use runtime::{RuntimeOptions, TubeRuntime};

use super::message::{Delivery, MessageError};

/// How many managers a registry takes, unless it is told otherwise.
pub const MAX_TUBES: usize = 10_000;

/// The managers of a program, by the id of their tube. Clones are the same registry.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Managers>,
}

/// What a registry has.
#[derive(Debug)]
struct Managers {
    limit: usize,
    by_id: Mutex<HashMap<String, Manager>>,
}

impl Managers {
    /// A manager is over. Another one of its id may have taken its place.
    fn leaves(&self, manager: &Arc<shared::Shared>) {
        let mut by_id = lock(&self.by_id);
        if let Entry::Occupied(known) = by_id.entry(manager.options.tube_id.clone())
            && known.get().is_of(manager)
        {
            known.remove();
        }
    }
}

/// Why a manager is not registered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// There is one of this tube.
    #[error("there is a manager of the tube {0:?} already; unregister it first")]
    Known(String),
    /// There are as many as it takes.
    #[error("there are {0} managers, as many as this registry takes; unregister another one first")]
    Full(usize),
    /// It was shut down.
    #[error("the tube {0:?} is closed; make a new manager")]
    Closed(String),
}

impl Default for Registry {
    fn default() -> Self {
        Registry::new(MAX_TUBES)
    }
}

impl Registry {
    /// One that takes so many managers.
    pub fn new(limit: usize) -> Self {
        let shared = Managers {
            limit,
            by_id: Mutex::default(),
        };
        Registry {
            shared: Arc::new(shared),
        }
    }

    /// Takes a manager in. One that ends, by itself or as it was told to, leaves.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn register(&self, manager: &Manager) -> Result<(), RegistryError> {
        let id = manager.tube_id().to_owned();
        let mut managers = self.managers();
        let count = managers.len();
        match managers.entry(id) {
            Entry::Occupied(known) => Err(RegistryError::Known(known.key().clone())),
            Entry::Vacant(_) if count >= self.shared.limit => {
                Err(RegistryError::Full(self.shared.limit))
            }
            // One that is over would never leave.
            Entry::Vacant(free) if !manager.is_in(&self.shared) => {
                Err(RegistryError::Closed(free.into_key()))
            }
            Entry::Vacant(free) => {
                free.insert(manager.clone());
                Ok(())
            }
        }
    }

    /// The manager of this tube.
    pub fn find(&self, tube_id: &str) -> Option<Manager> {
        self.managers().get(tube_id).cloned()
    }

    /// Takes a manager out, and shuts it down; [`Manager::closed`] tells when that is done. `None` where there is none.
    pub fn unregister(&self, tube_id: &str) -> Option<Manager> {
        let manager = self.managers().remove(tube_id)?;
        manager.close();
        Some(manager)
    }

    /// The ids of all tubes, in order.
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.managers().keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// How many managers there are.
    pub fn len(&self) -> usize {
        self.managers().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.managers().is_empty()
    }

    /// Takes the messages of a text, one object or an array of them, each to the manager of its tube. One result for each, in
    /// order: what is wrong with one does not stop the others. A text that cannot be read at all has one result. Message
    /// callbacks are called before this returns, on this thread.
    pub fn receive(&self, text: &str) -> Vec<Result<Delivery, MessageError>> {
        super::message::deliver(text, |id| self.find(id))
    }

    /// As [`Registry::receive`], of a JSON value.
    pub fn receive_value(&self, value: &Value) -> Vec<Result<Delivery, MessageError>> {
        self.receive(&value.to_string())
    }

    fn managers(&self) -> MutexGuard<'_, HashMap<String, Manager>> {
        lock(&self.shared.by_id)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
