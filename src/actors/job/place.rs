//! A job whose package and results are on the worker's side.

use crate::wire::ChannelText;
use crate::worker::jobs::output::OutputDir;

/// How the client spoke of its files, and so how it is told of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// By a bare name (`INPUT_FILE`).
    Named,
    /// By paths relative to a root that is shared (`SHARED_INPUT_PATH`).
    Shared,
}

/// What the client of such a job was told of it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The id that it gave.
    pub job_id: String,
    /// How it spoke.
    pub dialect: Dialect,
    /// Where the results go, relative to the output directory.
    pub output: String,
}

/// Where the results of such a job stay.
#[derive(Debug)]
pub struct Place {
    /// What the client was told.
    pub claim: Claim,
    /// The place itself.
    pub output: OutputDir,
}

impl Claim {
    /// What says on the channel that the job is done.
    pub fn complete(&self) -> ChannelText {
        match self.dialect {
            Dialect::Named => ChannelText::TrainingComplete,
            Dialect::Shared => ChannelText::JobComplete {
                job_id: self.job_id.clone(),
                detail: self.output.clone(),
            },
        }
    }
}
