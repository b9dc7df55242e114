//! The client, assembled: find a worker, reserve it, send a package, watch it run, get the results.

mod inbox;
mod input;
mod lines;
mod list;
pub mod package;
mod passage;
mod reader;
mod report;
mod switchboard;
mod tunnel;
mod visit;
mod way;

use std::path::PathBuf;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

pub use self::inbox::{Inbox, InboxError, InboxMessage, InboxNews, ensure_identity, introduce};
pub use self::input::{InputError, WorkerInput};
pub use self::lines::Lines;
pub use self::list::{RoomNews, RoomWatch, list_workers};
pub use self::package::{Command, Package, PackageError};
pub use self::passage::takes_tubes;
pub use self::report::TrainerReport;
pub use self::switchboard::Client;
use self::switchboard::Interrupt;
pub(crate) use self::switchboard::describe::describe;
pub use self::tunnel::{TunnelError, TunnelNews, Tunnels};
pub use self::visit::{Visit, VisitConfig, VisitError, VisitNews};
use crate::actors::session::{HubAccess, SessionError};
use crate::charts::submission::Why;
use crate::rtc::{DataPlane, RtcConfig};
use crate::wire::{PeerInfo, RoomCredentials};

/// How the worker is chosen among those of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Worker(String),
    /// The one with the most GPU memory.
    Auto,
    /// Whoever runs the client is asked.
    Ask,
}

/// What is to be run.
#[derive(Debug)]
pub enum Work {
    /// A package that is sent.
    Package(Package),
    /// A package that is at the worker; its results stay there.
    Named(WorkerInput),
}

/// What a submission is made of.
pub struct ClientConfig {
    /// The hub.
    pub hub: HubAccess,
    /// The room to look in.
    pub room: RoomCredentials,
    /// Which worker of it.
    pub choice: Choice,
    /// What is to be run.
    pub work: Work,
    /// Where the results go, and nothing else.
    pub output_dir: PathBuf,
    /// The least GPU memory that will do, in MiB.
    pub min_gpu_memory_mb: u64,
    /// How the connection is made; the hub's ICE servers are added.
    pub rtc: RtcConfig,
    /// Where connection and files are handled.
    pub plane: DataPlane,
    /// What an upload that was interrupted is found by at the worker, by the same client only. Without it, it begins anew.
    pub secret: Option<[u8; 32]>,
    /// Who is told how it goes.
    pub ui: Arc<dyn Ui>,
}

/// One thing worth showing while a submission goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The hub knows this client.
    Registered,
    /// This worker was chosen.
    Chosen {
        /// Its id.
        worker: String,
    },
    /// The worker reserved itself for the job.
    Reserved {
        /// The job's id.
        job: String,
    },
    /// The data channel is open.
    Connected,
    /// The worker is asked for a file of its own.
    Naming {
        /// Its path in the worker's input directory.
        name: String,
    },
    /// It has the file, and runs it.
    Found {
        /// Its path in the worker's input directory.
        name: String,
    },
    /// The package is on its way.
    Uploading {
        /// Its size in bytes.
        bytes: u64,
    },
    /// The worker had so much of the package from an earlier attempt; only the rest is sent.
    Continued {
        /// Bytes that were there.
        bytes: u64,
    },
    /// So much of the package has left.
    Uploaded {
        /// Bytes so far.
        bytes: u64,
    },
    /// All of it has left.
    Sent,
    /// A command starts.
    Started {
        /// Its name.
        name: String,
    },
    /// The job says how far it is.
    Job {
        /// From 0 to 1.
        fraction: f64,
        /// What it says of it; may be empty.
        message: String,
    },
    /// The job is being stopped or ended, by whoever may.
    Ending {
        /// `stopping` (it may save what it has) or `terminating`.
        state: String,
        /// How many seconds it has for that.
        seconds: u64,
    },
    /// Output was left out, since it came faster than it could be passed on; the worker has it.
    LeftOut {
        /// From this offset of the job's log, in bytes.
        from: u64,
        /// Up to this one.
        to: u64,
    },
    /// The trainer reports of itself.
    Reported(TrainerReport),
    /// A command ended.
    Ended {
        /// Its name.
        name: String,
        /// Its exit code.
        code: i32,
    },
    /// The results are on their way.
    Downloading {
        /// Their file name.
        name: String,
        /// Their size in bytes.
        bytes: u64,
    },
    /// So much of the results has come.
    Downloaded {
        /// Bytes so far.
        bytes: u64,
    },
    /// The results are complete.
    Received {
        /// Where they are.
        path: PathBuf,
    },
    /// The path to the worker is gone for now.
    Suspect,
    /// It is back.
    Recovered,
    /// The hub is out of reach; what runs over the connection is not affected.
    HubLost,
    /// The worker was asked to cancel.
    Cancelling,
}

/// Whoever shows a submission to its user. Called from several threads.
pub trait Ui: Send + Sync + 'static {
    /// Something happened.
    fn progress(&self, progress: Progress);
    /// Output of the job: complete lines end in a newline; a line that begins with a carriage return replaces the one before.
    fn output(&self, text: &str);
    /// Which of these workers? May block. `None` chooses none.
    fn choose(&self, workers: &[PeerInfo]) -> Option<usize>;
}

/// A submission that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The job's id, where the worker gave or took one.
    pub job: String,
    /// The worker.
    pub worker: String,
    /// The archive of results, if the job returned anything.
    pub results: Option<PathBuf>,
    /// Where results are at the worker, if they stayed there.
    pub at_worker: Option<String>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The hub is not to be had.
    #[error(transparent)]
    Hub(#[from] SessionError),
    /// The submission failed.
    #[error("{message}")]
    Failed {
        /// At what.
        why: Why,
        /// What happened, and what to do.
        message: String,
        /// Results that came all the same.
        results: Option<PathBuf>,
    },
    /// A part of the client died: a defect.
    #[error(
        "a part of the client died ({0}): this is a defect of Loaner, and the log has its panic"
    )]
    Died(String),
}

/// A submission that is under way.
pub struct RunningClient {
    addr: Addr<Client>,
    ended: oneshot::Receiver<Result<Report, ClientError>>,
}

impl RunningClient {
    /// Starts a submission in the current actix system.
    pub fn start(config: ClientConfig) -> Self {
        let (end, ended) = oneshot::channel();
        RunningClient {
            addr: Client::start(config, end),
            ended,
        }
    }

    /// The user wants to stop: the job is cancelled; asked again, the client leaves at once.
    pub fn interrupt(&self) {
        self.addr.do_send(Interrupt);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn ended(&mut self) -> Result<Report, ClientError> {
        (&mut self.ended)
            .await
            .unwrap_or_else(|_| Err(ClientError::Died("switchboard".to_owned())))
    }
}
