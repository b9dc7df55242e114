//! The runtime that carries bytes.

use std::future::Future;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// The data-plane runtime: one multi-thread tokio runtime (two worker threads) for WebRTC and byte streams.
///
/// Actors live elsewhere, on an actix arbiter, so an actor that blocks never freezes a connection. The runtime
/// shuts down, without waiting, when the last clone is dropped; that may happen inside any async context.
#[derive(Clone, Debug)]
pub struct DataPlane {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A plain drop of a runtime blocks, and panics inside an async context.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl DataPlane {
    /// Starts the runtime.
    ///
    /// # Errors
    /// When the threads or the poller cannot be had from the operating system.
    pub fn start() -> std::io::Result<DataPlane> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("data-plane")
            .enable_all()
            .build()?;
        Ok(DataPlane {
            owner: Arc::new(Owner {
                handle: runtime.handle().clone(),
                runtime: Some(runtime),
            }),
        })
    }

    /// Runs a task on the data plane.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.owner.handle.spawn(future)
    }

    /// Runs blocking work (disk, hashing) on a thread of the data plane where blocking is allowed.
    pub fn spawn_blocking<F, T>(&self, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.owner.handle.spawn_blocking(work)
    }

    /// The runtime's handle.
    pub fn handle(&self) -> &Handle {
        &self.owner.handle
    }
}
