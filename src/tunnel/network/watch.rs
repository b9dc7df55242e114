//! The task that watches for everybody.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::burst::Burst;
use super::change::NetworkChange;
use super::sleep::Clocks;
use super::state::Network;

/// How often the clocks are compared.
const TICK: Duration = Duration::from_secs(2);

/// How many states wait for a listener.
const WAITING: usize = 16;

/// What is watched: this machine, or a test's.
pub(super) trait System: Send + 'static {
    /// The network now; `wakes` is not its business.
    fn read(&mut self) -> io::Result<Network>;

    /// The clocks now.
    fn clocks(&mut self) -> Clocks;

    /// Waits until something may have changed. May be dropped and called again: nothing is lost.
    fn message(&mut self) -> impl Future<Output = ()> + Send;
}

/// A running task and what it tells. The task ends with it.
#[derive(Debug)]
pub(super) struct Watch {
    board: Arc<Mutex<Arc<Network>>>,
    /// New listeners begin where this one would go on. It keeps no sender, so they hear of the end of the task.
    states: broadcast::Receiver<Arc<Network>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Reads the network for the first time, and starts the task.
    pub(super) fn start(runtime: &Handle, mut system: impl System) -> Self {
        let read = system.read();
        let failed = read.is_err();
        let network = Arc::new(read.unwrap_or_else(|error| {
            cannot_read(&error);
            Network::default()
        }));
        let board = Arc::new(Mutex::new(network.clone()));
        let (sender, states) = broadcast::channel(WAITING);
        let watching = Watching {
            clocks: system.clocks(),
            system,
            network,
            failed,
            board: board.clone(),
            sender,
        };
        Watch {
            board,
            states,
            task: runtime.spawn(watching.run()),
        }
    }

    /// The states from now on, and the one now.
    pub(super) fn subscribe(&self) -> (broadcast::Receiver<Arc<Network>>, Arc<Network>) {
        let now = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        (self.states.resubscribe(), now.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task.
struct Watching<S> {
    system: S,
    clocks: Clocks,
    network: Arc<Network>,
    /// Whether the last reading failed.
    failed: bool,
    board: Arc<Mutex<Arc<Network>>>,
    sender: broadcast::Sender<Arc<Network>>,
}

impl<S: System> Watching<S> {
    async fn run(mut self) {
        let mut burst = Burst::default();
        let mut tick = interval_at(Instant::now() + TICK, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = burst.due();
            // In this order: messages that never end keep nothing from being read.
            let changed = tokio::select! {
                biased;
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => true,
                _ = tick.tick() => false,
                () = self.system.message() => {
                    burst.message(Instant::now());
                    continue;
                }
            };
            let woke = self.woke();
            if changed || woke || self.failed {
                burst.over();
                self.read(woke);
            }
        }
    }

    /// Whether the machine slept since the clocks were compared last.
    fn woke(&mut self) -> bool {
        let now = self.system.clocks();
        let before = std::mem::replace(&mut self.clocks, now);
        Clocks::slept(before, now)
    }

    /// Reads the network, and tells if it is another one. What cannot be read stays as it was until the next tick.
    fn read(&mut self, woke: bool) {
        let read = self.system.read();
        if let Err(error) = &read
            && !self.failed
        {
            cannot_read(error);
        }
        self.failed = read.is_err();
        let mut network = read.unwrap_or_else(|_| Network::clone(&self.network));
        network.wakes = self.network.wakes + u64::from(woke);
        let network = Arc::new(network);
        let before = std::mem::replace(&mut self.network, network.clone());
        if let Some(change) = NetworkChange::between(before, network.clone()) {
            tracing::debug!(kind = change.kind.as_ref(), "the network changed: {change}");
            let mut now = self.board.lock().unwrap_or_else(PoisonError::into_inner);
            *now = network.clone();
            // Nobody may be listening just now.
            let _ = self.sender.send(network);
        }
    }
}

fn cannot_read(error: &io::Error) {
    tracing::warn!(%error, "the network cannot be read; it is tried again every 2 s");
}
