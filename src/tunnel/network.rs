//! What the operating system tells of this machine's network.
//!
//! A [`NetworkWatcher`] is handed around in a process; while somebody listens to it, one task watches for all of them. The
//! system only wakes it (a netlink message says *that* something changed): when a burst of messages is over, interfaces,
//! addresses and default routes are read anew and compared with what was before, so a message that is lost or not
//! understood does no harm. Where the system tells of nothing, they are read every 5 s.
//!
//! Each [`NetworkSubscription`] tells [`NetworkChange`]s, and whoever has a connection asks [`NetworkChange::touches`]
//! whether it is concerned.

mod burst;
mod change;
mod os;
mod sleep;
mod state;
#[cfg(test)]
mod tests;
mod watch;

#[cfg(target_os = "linux")]
mod netlink;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::broadcast::{self, error::RecvError};

pub use change::{NetworkChange, NetworkChangeKind};
pub use os::source_to;
pub use state::{DefaultRoute, Interface, Network, Reach};

use crate::rtc::DataPlane;
use os::Os;
use watch::Watch;

/// Watches the network of this machine for everybody in the process.
///
/// The first subscription starts it and the end of the last one stops it: without any there is no task, no socket and no
/// work. Clones are the same watcher.
#[derive(Clone, Debug)]
pub struct NetworkWatcher {
    plane: DataPlane,
    poll: bool,
    running: Arc<Mutex<Weak<Watch>>>,
}

impl NetworkWatcher {
    /// A watcher that is woken by the system's own messages, and polls where it gets none. Its task runs on the data
    /// plane.
    pub fn new(plane: DataPlane) -> Self {
        NetworkWatcher {
            plane,
            poll: false,
            running: Arc::default(),
        }
    }

    /// A watcher that reads the network every 5 s, as [`NetworkWatcher::new`] does where the system tells of nothing.
    pub fn polling(plane: DataPlane) -> Self {
        NetworkWatcher {
            poll: true,
            ..NetworkWatcher::new(plane)
        }
    }

    /// Everything that changes from now on, and how it is now.
    pub fn subscribe(&self) -> NetworkSubscription {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = running.upgrade().unwrap_or_else(|| {
            // Timers and sockets belong to the runtime that they are made in.
            let _in_plane = self.plane.handle().enter();
            let system = match self.poll {
                true => Os::polling(),
                false => Os::new(),
            };
            let watch = Arc::new(Watch::start(self.plane.handle(), system));
            *running = Arc::downgrade(&watch);
            watch
        });
        NetworkSubscription::to(watch)
    }
}

/// One listener of a [`NetworkWatcher`].
#[derive(Debug)]
pub struct NetworkSubscription {
    states: broadcast::Receiver<Arc<Network>>,
    seen: Arc<Network>,
    /// Keeps the task.
    _watch: Arc<Watch>,
}

impl NetworkSubscription {
    fn to(watch: Arc<Watch>) -> Self {
        let (states, seen) = watch.subscribe();
        NetworkSubscription {
            states,
            seen,
            _watch: watch,
        }
    }

    /// The network after the last change that was told here; before the first one, at the time of the subscription.
    pub fn network(&self) -> &Arc<Network> {
        &self.seen
    }

    /// The next change. Up to 16 wait for a listener; for one that is further behind, the oldest are one with the change
    /// that follows them, so what it hears is still true from end to end. May be dropped and called again: nothing is lost.
    /// `None` when the data plane has ended.
    pub async fn next(&mut self) -> Option<NetworkChange> {
        loop {
            match self.states.recv().await {
                Ok(state) => {
                    let before = std::mem::replace(&mut self.seen, state);
                    if let Some(change) = NetworkChange::between(before, self.seen.clone()) {
                        return Some(change);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
