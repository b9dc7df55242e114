//! The manager of one tube, as a program has it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::callbacks::{Callback, Tell};
use super::host::{Heard, Inbox, Wish, host};
use super::shared::Shared;
use super::{
    CallbackId, ConnectionState, Managers, Metrics, NetworkChangeType, OptionsError, Refusal,
    Report, Role, TubeOptions, TubeRuntime,
};
use crate::charts::tunnel::Input;
use crate::rtc::{Incoming, RtcError};
use crate::tunnel::message::{Message, MessageError};
use crate::tunnel::signal::{Signal, SignalKind};
use crate::tunnel::tube::Tube;

/// Messages of the other side's that wait for the manager.
const WAITING: usize = 64;

/// Why a tube is not restarted by hand.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestartError {
    /// Not now.
    #[error("there is no restart now: {0:?}")]
    Refused(Refusal),
    /// It is over.
    #[error("the tube is closed")]
    Closed,
}

/// The manager of one tube. Clones are the same one; when the last one is gone, it is closed. A registry has one.
#[derive(Clone)]
pub struct Manager {
    handle: Arc<Handle>,
}

/// What the program has of a manager: when it is gone, so are the wishes.
struct Handle {
    shared: Arc<Shared>,
    wishes: mpsc::UnboundedSender<Wish>,
    heard: mpsc::Sender<Heard>,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("tube_id", &self.tube_id())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Manager {
    /// A manager of a tube that has nothing yet. A responder begins with the first offer that comes for it, an initiator when it
    /// is [started](Manager::start). It has to be [registered](super::Registry::register) for messages to find it.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn new(runtime: &TubeRuntime, options: TubeOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let home = runtime.home()?;
        let plane = runtime.plane();
        let (tube, signs) = Tube::new(plane);
        let shared = Arc::new(Shared::new(options, plane.clone(), tube));
        let (wishes, wished) = mpsc::unbounded_channel();
        let (heard, hears) = mpsc::channel(WAITING);
        let inbox = Inbox {
            wishes: wished,
            heard: hears,
            signs,
            network: runtime.network(),
        };
        let hosted = shared.clone();
        runtime.begin(move || host(hosted.clone(), inbox, home, hosted.carrier()));
        let handle = Handle {
            shared,
            wishes,
            heard,
        };
        Ok(Manager {
            handle: Arc::new(handle),
        })
    }

    /// The id of its tube.
    pub fn tube_id(&self) -> &str {
        &self.handle.shared.options.tube_id
    }

    /// The conversation that its signals name.
    pub fn conversation_id(&self) -> &str {
        &self.handle.shared.options.conversation_id
    }

    /// Which side it is.
    pub fn role(&self) -> Role {
        self.handle.shared.options.role
    }

    /// Begins: an initiator makes its first offer. For a responder, and for one that has begun, this is nothing.
    pub fn start(&self) {
        self.wish(Wish::Start);
    }

    /// Its state.
    pub fn state(&self) -> ConnectionState {
        *self.handle.shared.state.borrow()
    }

    /// Waits until this is its state; `false` where it ends before.
    pub async fn reaches(&self, wanted: ConnectionState) -> bool {
        let mut states = self.handle.shared.state.subscribe();
        let end = |state: &ConnectionState| *state == ConnectionState::Terminated;
        // The sender lives as long as this.
        let reached = states
            .wait_for(|state| *state == wanted || end(state))
            .await;
        reached.is_ok_and(|state| *state == wanted)
    }

    /// What it does at the moment and what comes next; `None` where it is over.
    pub async fn report(&self) -> Option<Report> {
        let (reply, report) = oneshot::channel();
        self.wish(Wish::Report(reply));
        report.await.ok()
    }

    /// Its figures.
    pub fn metrics(&self) -> Metrics {
        self.handle.shared.metrics()
    }

    /// There was a sign of activity, on the program's signalling perhaps: the next keepalive is that much later.
    pub fn update_activity(&self) {
        self.handle.shared.activity.touch();
    }

    /// When it was last active.
    pub fn last_activity(&self) -> SystemTime {
        let activity = &self.handle.shared.activity;
        activity.time_of(activity.last())
    }

    /// Calls this for every change of the state, once, with the tube's id.
    ///
    /// Callbacks are called one after the other, in the order in which they were added, on a thread that is theirs. One that
    /// panics does not stop the others. They may call anything here but [`TubeRuntime::block_on`]. When the manager has ended they
    /// are dropped. One that keeps a manager or a registry keeps it open until then.
    pub fn on_state(
        &self,
        call: impl Fn(&str, ConnectionState) + Send + Sync + 'static,
    ) -> CallbackId {
        self.handle
            .shared
            .callbacks
            .add(Callback::State(Arc::new(call)))
    }

    /// Calls this for every change of the network or the path that is noticed.
    pub fn on_network_change(
        &self,
        call: impl Fn(&str, NetworkChangeType) + Send + Sync + 'static,
    ) -> CallbackId {
        self.handle
            .shared
            .callbacks
            .add(Callback::Network(Arc::new(call)))
    }

    /// Calls this for every signal, those for the peer among them.
    pub fn on_signal(&self, call: impl Fn(&Signal) + Send + Sync + 'static) -> CallbackId {
        self.handle
            .shared
            .callbacks
            .add(Callback::Signal(Arc::new(call)))
    }

    /// Calls this for every message of this tube that is not a manager's own, on the thread that brings it.
    pub fn on_message(&self, call: impl Fn(&Message) + Send + Sync + 'static) -> CallbackId {
        self.handle
            .shared
            .callbacks
            .add(Callback::Message(Arc::new(call)))
    }

    /// Whether there was such a callback; there is none any more.
    pub fn remove_callback(&self, id: CallbackId) -> bool {
        self.handle.shared.callbacks.remove(id)
    }

    /// Something has happened to the network, or to the path, as the program knows: what it does about a change of the operating
    /// system's, it does about this one.
    pub fn handle_network_change(&self, change: NetworkChangeType) {
        let changed = |change| Input::NetworkChanged {
            change,
            major: true,
        };
        self.wish(Wish::Feed(match change {
            NetworkChangeType::InterfaceChange | NetworkChangeType::IpChange => changed(change),
            NetworkChangeType::Timeout => Input::IceDisconnected,
            NetworkChangeType::IceFailure => Input::IceFailed,
            NetworkChangeType::QualityDegraded => Input::QualityLow,
        }));
    }

    /// Whether there is a way out of this machine, as the program knows. While there is none, nothing is tried.
    pub fn set_network(&self, up: bool) {
        let event = if up {
            Input::NetworkUp
        } else {
            Input::NetworkDown
        };
        self.wish(Wish::Feed(event));
    }

    /// Whether the program's signalling works. While it does not, nothing is offered; at first it is taken to work.
    pub fn set_signalling(&self, up: bool) {
        let event = if up {
            Input::SignallingUp
        } else {
            Input::SignallingDown
        };
        self.wish(Wish::Feed(event));
    }

    /// Restarts the connection now.
    ///
    /// # Errors
    /// [`RestartError`]: not before it is connected for the first time, and not before the backoff is over.
    pub async fn restart(&self) -> Result<(), RestartError> {
        let (reply, result) = oneshot::channel();
        self.wish(Wish::Restart(reply));
        let result = result.await.map_err(|_| RestartError::Closed)?;
        result.map_err(RestartError::Refused)
    }

    /// Sends a message over the tube: at most 262,144 bytes, now or when a connection carries it. Waits while too much is on its
    /// way, and while the connection is lost.
    ///
    /// # Errors
    /// [`RtcError::Closed`], [`RtcError::TooLarge`].
    pub async fn send(&self, message: Bytes) -> Result<(), RtcError> {
        let bytes = message.len() as u64;
        self.handle.shared.tube.send_binary(message).await?;
        self.handle.shared.sent.fetch_add(bytes, Ordering::Relaxed);
        self.handle.shared.activity.touch();
        Ok(())
    }

    /// The next message of the tube; `None` once it is closed and everything was taken that came before. For one consumer.
    /// Dropping the future loses nothing.
    pub async fn recv(&self) -> Option<Bytes> {
        let message = match self.handle.shared.tube.recv().await? {
            Incoming::Binary(message) => message,
            // Not of a manager like this one.
            Incoming::Text(text) => text.into(),
        };
        let bytes = message.len() as u64;
        self.handle
            .shared
            .received
            .fetch_add(bytes, Ordering::Relaxed);
        self.handle.shared.activity.touch();
        Some(message)
    }

    /// Shuts it down: says goodbye if it is connected, and releases everything. Doing it twice is nothing.
    pub fn close(&self) {
        self.wish(Wish::Close);
    }

    /// Whether everything is released.
    pub fn is_closed(&self) -> bool {
        *self.handle.shared.gone.borrow()
    }

    /// Waits until everything is released: every task, socket, timer and callback.
    pub async fn closed(&self) {
        let mut gone = self.handle.shared.gone.subscribe();
        // The sender lives as long as this.
        let _ = gone.wait_for(|gone| *gone).await;
    }

    /// Takes a message of a manager's own.
    pub(in crate::tunnel) fn take(
        &self,
        kind: SignalKind,
        generation: u64,
        data: String,
    ) -> Result<(), MessageError> {
        let id = || self.tube_id().to_owned();
        let heard = Heard {
            kind,
            generation,
            data,
        };
        self.handle
            .heard
            .try_send(heard)
            .map_err(|error| match error {
                TrySendError::Full(_) => MessageError::Busy(id()),
                TrySendError::Closed(_) => MessageError::Closed(id()),
            })
    }

    /// Takes any other message.
    pub(in crate::tunnel) fn pass(&self, message: Message) {
        let tell = Tell::Message(message);
        self.handle.shared.callbacks.tell(self.tube_id(), &tell);
    }

    /// Is in this registry too; `false` where it is over.
    pub(super) fn is_in(&self, registry: &Arc<Managers>) -> bool {
        self.handle.shared.enters(registry)
    }

    pub(super) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.handle.shared, shared)
    }

    fn wish(&self, wish: Wish) {
        // One that is over grants none.
        let _ = self.handle.wishes.send(wish);
    }
}
