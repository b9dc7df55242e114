//! What a job is told, and what it has to say.

use std::path::PathBuf;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Place;
use crate::actors::transfer::Milestones;
use crate::charts::JobId;
use crate::charts::job::Outcome;
use crate::files::Partials;
use crate::tunnel::tube::Line;
use crate::wire::{PackageKind, PeerMessage};
use crate::worker::jobs::curves::Controls;
use crate::worker::serve::Heard;

/// A package that a client announced on a channel.
#[derive(Debug)]
pub struct Announcement {
    /// Its file name, known to be safe.
    pub name: String,
    /// Its size in bytes, as declared.
    pub size: u64,
    /// What it was said to be for.
    pub kind: Option<PackageKind>,
    /// What was said of the directory to return.
    pub output_dir: Option<String>,
    /// For a package that is on the worker's side: where its results stay.
    pub place: Option<Place>,
}

/// Where an announced package goes.
pub struct Admission {
    /// The directory, fresh and the job's own.
    pub dir: PathBuf,
    /// The largest size that is accepted, in bytes.
    pub limit: u64,
    /// Where packages are that did not arrive whole.
    pub partials: Partials,
    /// How the stream reports.
    pub milestones: Milestones,
    /// Where commands for the job's trainings go.
    pub controls: Controls,
}

/// Lets a package in: the job takes it over from here.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Admit {
    /// What was announced.
    pub announcement: Announcement,
    /// The channel that it comes on, and that everything goes back on.
    pub channel: Line,
    /// What the client says there of the files that it is sent, where it is a Loaner.
    pub heard: Option<Heard>,
    /// Where the channel's reader learns where to put it, or why not.
    pub reply: oneshot::Sender<Result<Admission, String>>,
}

/// Kills the processes without waiting for the grace to end.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Hurry;

/// Lets the job's command end in its own way, and save what it has.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopJob;

/// What a job has to say.
#[derive(Message)]
#[rtype(result = "()")]
pub struct JobNews {
    /// Which job.
    pub job: JobId,
    /// What happened.
    pub what: JobEvent,
}

/// One thing that happened to a job.
pub enum JobEvent {
    /// It began.
    Begun,
    /// Something for its holder, by peer message.
    Tell(PeerMessage),
    /// Its command is being stopped or ended.
    Ending {
        /// The state of its chart: `stopping` or `terminating`.
        state: &'static str,
        /// How long it may take.
        at_most: Duration,
    },
    /// It is over: the terminal message is out, processes and directory are gone.
    Ended(Outcome),
}
