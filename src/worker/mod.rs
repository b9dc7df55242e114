//! A worker, assembled: a session with the hub, one availability, peer connections, at most one job.

mod beneath;
pub mod capabilities;
mod history;
pub mod jobs;
pub mod mistake;
pub mod paths;
pub mod policy;
pub mod quantity;
pub mod records;
pub mod running;
pub(crate) mod serve;
mod switchboard;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

pub use self::capabilities::{Capabilities, Refresh};
pub use self::jobs::work::JobSettings;
pub use self::paths::{IoPaths, PathsError};
pub(crate) use self::switchboard::ice::{candidate_value, ice_servers};
pub use self::switchboard::{Drain, Stop, Worker};
use crate::actors::session::{HubAccess, SessionError};
use crate::charts::availability::Status;
use crate::rtc::{DataPlane, RtcConfig};
use crate::wire::{RoomCredentials, SessionString};
use crate::worker::jobs::scratch::{ScratchError, ScratchRoot};

/// What a worker is made of.
pub struct WorkerConfig {
    /// The hub.
    pub hub: HubAccess,
    /// The room to join; without one, the worker makes its own.
    pub room: Option<RoomCredentials>,
    /// What the machine can do.
    pub capabilities: Capabilities,
    /// How often its GPUs are read, and the hub told of them.
    pub refresh: Refresh,
    /// Below this directory every job gets a fresh one.
    pub work_dir: PathBuf,
    /// What every job has in common.
    pub jobs: JobSettings,
    /// Directories of this machine that jobs may read from and leave results in, if any.
    pub paths: Option<Arc<IoPaths>>,
    /// How connections are made; the hub's ICE servers are added.
    pub rtc: RtcConfig,
    /// Where connections, files and processes are handled.
    pub plane: DataPlane,
}

/// What a worker has to say to whoever runs it.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// It is registered, and can be found by session string or room.
    Registered {
        /// One string with everything that a client needs.
        session: SessionString,
    },
    /// The hub is out of reach; it is tried again.
    HubLost,
    /// Its status changed.
    Status {
        /// The new status.
        status: Status,
        /// The job that it is about.
        job: Option<String>,
        /// Whether the worker takes no other job, and leaves after this one.
        draining: bool,
    },
    /// A job's command is being stopped or ended.
    JobEnding {
        /// Which.
        job: String,
        /// `stopping` (it may save what it has) or `terminating`.
        state: &'static str,
        /// How long it may take.
        at_most: Duration,
    },
    /// It drained: nothing is left to wait for, and it ends.
    Drained,
    /// A job ended.
    JobEnded {
        /// Which.
        job: String,
        /// `completed`, `failed` or `cancelled`.
        outcome: &'static str,
    },
}

/// Why a worker ended otherwise than as asked.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It never got to the hub.
    #[error(transparent)]
    Hub(#[from] SessionError),
    /// There is no place for jobs.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A part of it died: a defect. Nothing is pretended after that.
    #[error(
        "the {chart} of {instance} died in state {state}: this is a defect of Loaner, and the log has its panic"
    )]
    Died {
        /// Which chart.
        chart: &'static str,
        /// Which instance.
        instance: String,
        /// In which state.
        state: &'static str,
    },
}

/// A worker that runs.
pub struct RunningWorker {
    /// Its switchboard.
    pub addr: Addr<Worker>,
    ended: oneshot::Receiver<Result<(), WorkerError>>,
}

impl RunningWorker {
    /// Starts a worker in the current actix system. What it has to say goes to `notices`.
    ///
    /// # Errors
    /// When there is no place for jobs.
    pub fn start(
        config: WorkerConfig,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Result<Self, WorkerError> {
        let scratch = Rc::new(ScratchRoot::open(&config.work_dir)?);
        config.jobs.partials.tidy();
        let (end, ended) = oneshot::channel();
        let addr = Worker::start(config, scratch, notices, end);
        Ok(RunningWorker { addr, ended })
    }

    /// Has it take no new job, and end when the one that it has is over. Called again, it changes nothing.
    pub fn drain(&self) {
        self.addr.do_send(Drain);
    }

    /// Begins an orderly end; called again, it hurries: processes are killed at once.
    pub fn stop(&self) {
        self.addr.do_send(Stop);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why it ended otherwise than as asked.
    pub async fn ended(&mut self) -> Result<(), WorkerError> {
        (&mut self.ended).await.unwrap_or_else(|_| {
            Err(WorkerError::Died {
                chart: "worker",
                instance: "switchboard".to_owned(),
                state: "unknown",
            })
        })
    }
}
