//! Where managers live: threads of their own.

use std::future::Future;
use std::io;
use std::sync::Arc;

use actix::{Arbiter, System};
use actix_rt::ArbiterHandle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::OptionsError;
use super::host::Home;
use super::telling::Telling;
use crate::rtc::DataPlane;
use crate::tunnel::network::{NetworkSubscription, NetworkWatcher};

/// How a runtime is to be.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Whether its managers are told what the operating system tells of its network. True by default; a program that
    /// knows better tells them itself.
    pub watch_network: bool,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        RuntimeOptions {
            watch_network: true,
        }
    }
}

/// The threads on which managers live and their bytes are carried. Clones are the same one; when the last one is gone, and
/// the last manager, it ends.
#[derive(Debug, Clone)]
pub struct TubeRuntime {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    plane: DataPlane,
    network: Option<NetworkWatcher>,
    telling: Telling,
    system: System,
    arbiter: ArbiterHandle,
    tubes: watch::Sender<usize>,
    ending: watch::Sender<bool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.system.stop();
    }
}

/// The place of one manager in its runtime.
#[derive(Debug)]
pub(super) struct Place(TubeRuntime);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.shared.tubes.send_modify(|tubes| *tubes -= 1);
    }
}

impl TubeRuntime {
    /// Starts one as it usually is.
    ///
    /// # Errors
    /// When the operating system has no thread for it.
    pub fn start() -> io::Result<Self> {
        Self::with(RuntimeOptions::default())
    }

    /// Starts one.
    ///
    /// # Errors
    /// As [`TubeRuntime::start`].
    pub fn with(options: RuntimeOptions) -> io::Result<Self> {
        let plane = DataPlane::start()?;
        let network = options
            .watch_network
            .then(|| NetworkWatcher::new(plane.clone()));
        let (system, arbiter) = start_system()?;
        let shared = Shared {
            plane,
            network,
            telling: Telling::start()?,
            system,
            arbiter,
            tubes: watch::Sender::default(),
            ending: watch::Sender::default(),
        };
        Ok(TubeRuntime {
            shared: Arc::new(shared),
        })
    }

    /// Waits on this thread for a future, which may use timers and sockets. Not to be called from within a future or from a
    /// callback.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.shared.plane.handle().block_on(future)
    }

    /// Runs a task beside the managers.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.plane.spawn(future)
    }

    /// How many managers live here.
    pub fn tubes(&self) -> usize {
        *self.shared.tubes.borrow()
    }

    /// How many tasks run for the connections of its managers, and for the network.
    pub fn tasks(&self) -> usize {
        self.shared.plane.handle().metrics().num_alive_tasks()
    }

    /// Closes every manager, waits until that is done (a few seconds at most), and takes no new ones.
    pub async fn shutdown(&self) {
        self.shared.ending.send_replace(true);
        let mut tubes = self.shared.tubes.subscribe();
        // The sender lives as long as this.
        let _ = tubes.wait_for(|tubes| *tubes == 0).await;
    }

    pub(super) fn plane(&self) -> &DataPlane {
        &self.shared.plane
    }

    /// The network from now on, if it is watched.
    pub(super) fn network(&self) -> Option<NetworkSubscription> {
        self.shared.network.as_ref().map(NetworkWatcher::subscribe)
    }

    /// A home for one more manager.
    pub(super) fn home(&self) -> Result<Home, OptionsError> {
        self.shared.tubes.send_modify(|tubes| *tubes += 1);
        let place = Place(self.clone());
        let ending = self.shared.ending.subscribe();
        if *ending.borrow() {
            return Err(OptionsError::Ended);
        }
        Ok(Home {
            telling: self.shared.telling.clone(),
            ending,
            place: Some(place),
        })
    }

    /// Begins a task on the thread of the managers.
    pub(super) fn begin<F: Future<Output = ()>>(&self, task: impl FnOnce() -> F + Send + 'static)
    where
        F: 'static,
    {
        // The thread is there as long as this.
        self.shared.arbiter.spawn_fn(|| {
            actix::spawn(task());
        });
    }
}

/// Starts the thread of the managers.
fn start_system() -> io::Result<(System, ArbiterHandle)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::Builder::new()
        .name("tubes".to_owned())
        .spawn(move || {
            let system = System::with_tokio_rt(|| runtime);
            let here = (System::current(), Arbiter::current());
            if tell.send(here).is_ok()
                && let Err(error) = system.run()
            {
                tracing::error!(%error, "the thread of the tubes has failed");
            }
        })?;
    told.recv().map_err(io::Error::other)
}
