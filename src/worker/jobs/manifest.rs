//! `loaner.toml`: a package that says itself what is to be run.
//!
//! ```toml
//! [job]
//! name = "fit"                      # optional
//! command = ["sh", "train.sh"]      # or one string, run by `sh -c`
//! inputs = ["*.py", "data"]         # optional; what `loaner run` packs, everything unless given
//! outputs = ["models/**", "*.csv"]  # optional; files, directories and patterns
//! env = { EPOCHS = "100" }          # optional
//!
//! [job.resources]                   # optional, each of them
//! gpu_memory = "8 GB"
//! time_limit = "2h"
//! disk = "10 GB"
//!
//! [job.stop]                        # how the command wants to be told to stop
//! signal = "TERM"                   # or "INT", which is the default
//! deadline = "60s"                  # how long it then has; 60 s unless given
//!
//! [job.progress]
//! format = "json"                   # or "lines", which is the default
//! ```

mod pattern;
mod raw;

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::worker::mistake::{self, Mistake};

pub use pattern::{Patterns, is_pattern};

/// The manifest's name inside a package.
pub const MANIFEST: &str = "loaner.toml";
/// Largest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 64 * 1024;
/// How long a command has between the signal and SIGKILL, unless its manifest says otherwise.
pub const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// A manifest that cannot be used, with the place of the mistake.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{MANIFEST}, {0}")]
pub struct ManifestError(pub Mistake);

/// What a package wants to have run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The job's name, `"job"` unless given: up to 64 letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Files, directories and patterns relative to the package root, that are packed; `None` if not given.
    pub inputs: Option<Vec<PathBuf>>,
    /// Outputs relative to the package root, patterns among them; `None` if not given.
    pub outputs: Option<Vec<PathBuf>>,
    /// Additions to the environment, ordered by name.
    pub env: Vec<(String, String)>,
    /// How it is to be run.
    pub terms: Terms,
}

/// How a command is to be run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// What it needs, and how much it may use.
    pub resources: Resources,
    /// How it is told to stop.
    pub stop: Stop,
    /// How it tells its progress.
    pub progress: ProgressFormat,
    /// Whether every file that the command makes or changes is an output.
    pub return_changed: bool,
}

/// What a job needs, and how much it may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// GPU memory in bytes.
    pub gpu_memory: Option<u64>,
    /// How long its commands may run, all together.
    pub time_limit: Option<Duration>,
    /// How much its directory may hold, in bytes.
    pub disk: Option<u64>,
}

/// How a command is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// By which signal.
    pub signal: StopSignal,
    /// How long it then has before it is killed.
    pub deadline: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Stop {
            signal: StopSignal::Int,
            deadline: STOP_DEADLINE,
        }
    }
}

/// A signal that a command can handle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT, which is `KeyboardInterrupt` in Python.
    #[default]
    Int,
    /// SIGTERM.
    Term,
}

impl StopSignal {
    /// Whether an exit code (negative for a signal) is how a command ends that follows this signal and nothing else.
    pub fn ended_with(self, code: i32) -> bool {
        let number = match self {
            StopSignal::Int => 2,
            StopSignal::Term => 15,
        };
        code == -number || code == 128 + number
    }
}

/// How a command tells its progress, see [`progress`](super::progress).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProgressFormat {
    /// `::loaner progress 3/10 loss=0.25`
    #[default]
    Lines,
    /// `{"loaner": {"progress": 0.3, "message": "loss=0.25"}}`
    Json,
}

impl Manifest {
    /// Reads a manifest. Unknown keys, escaping paths and outsized values are errors.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let raw: raw::Manifest = mistake::read(text).map_err(ManifestError)?;
        raw.complete(text, None).map_err(ManifestError)
    }

    /// Reads a manifest in which another command than its own is to be run; it may have none.
    pub fn parse_with(text: &str, argv: Vec<String>) -> Result<Self, ManifestError> {
        let raw: raw::Manifest = mistake::read(text).map_err(ManifestError)?;
        raw.complete(text, Some(argv)).map_err(ManifestError)
    }
}

#[cfg(test)]
mod tests;
