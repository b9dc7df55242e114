//! The work of each stage of a job, off the actors: prepare, run, pack.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::archive::{ArchiveError, UnpackLimits, io_at, unpack};
use super::changed::Snapshot;
use super::disk::{free_space, human};
use super::manifest::Terms;
use super::pack::{pack_outputs, plain_file};
use super::plan::{Plan, PlanError, PlanKind};
use crate::charts::job::Why;
use crate::files::Partials;
use crate::wire::PackageKind;
use crate::worker::policy::{Asker, Grant, Policy};
use crate::worker::records::Records;

pub use super::run::{Audience, RunEnd, StepNews, run};

/// The code of an inference package without its script (protocol page, 3.8).
pub const NO_TRACK_SCRIPT: &str = "TRACK_SCRIPT_NOT_FOUND";
/// The code of a job that ended with its worker.
pub const SHUTDOWN: &str = "WORKER_SHUTDOWN";

/// What every job of a worker has in common, and for whom this one is.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// What is run, and for whom.
    pub policy: Policy,
    /// For whom the job is; filled in for each.
    pub asker: Asker,
    /// The longest that the commands of any job may run.
    pub max_time: Option<Duration>,
    /// The program that keeps processes: this one.
    pub keeper: PathBuf,
    /// Limits on what a package may unpack to.
    pub limits: UnpackLimits,
    /// The largest package that is received, in bytes.
    pub max_package: u64,
    /// Where packages are kept that did not arrive whole, on the file system of the jobs' directories.
    pub partials: Partials,
    /// What is kept of jobs.
    pub records: Records,
    /// How long the commands of a job may be held up in all by a client that does not keep up with their output.
    pub patience: Duration,
}

/// Why a job failed, for the one who sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A code of the protocol page (3.8), or one like it.
    pub code: &'static str,
    /// What happened and, where there is something, what to do.
    pub message: String,
    /// Whether the same job may succeed when it is given again.
    pub recoverable: bool,
}

impl Failure {
    /// A failure that would happen again.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Failure {
            code,
            message: message.into(),
            recoverable: false,
        }
    }

    fn passing(code: &'static str, message: &str) -> Self {
        Failure {
            code,
            message: message.to_owned(),
            recoverable: true,
        }
    }
}

/// The failure that a chart's reason stands for, where no stage said more.
pub fn failure_of(why: Why) -> Failure {
    match why {
        Why::NoPackage => Failure::passing(
            "NO_PACKAGE",
            "no package came within 60 s of the assignment",
        ),
        Why::NotReceived => Failure::passing("TRANSFER_FAILED", "the package did not arrive"),
        Why::NotPrepared => Failure::new("EXECUTION_ERROR", "the package cannot be run"),
        Why::CommandFailed => Failure::new("TRAINING_FAILED", "a command failed"),
        Why::NotPacked => Failure::new("EXECUTION_ERROR", "the results could not be packed"),
        Why::NotReturned => Failure::passing("TRANSFER_FAILED", "the results could not be sent"),
        Why::LinkLost => {
            Failure::passing("CONNECTION_LOST", "the connection to the client was lost")
        }
        Why::NotStopped => Failure::new(
            "NOT_STOPPED",
            "it did not end in the time that it had for that, and was killed; what it had written is returned",
        ),
        Why::Shutdown => Failure::passing(SHUTDOWN, "the worker is shutting down"),
    }
}

/// How urgently running processes are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halt {
    /// Not at all.
    Go,
    /// They are asked to, by their own signal, and may take the time that they were given.
    Stop,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// A package that is ready to run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its directory.
    pub root: PathBuf,
    /// What is to be done.
    pub plan: Plan,
    /// How long it may take, and how much room.
    pub grant: Grant,
    /// The directory for temporary files, beside its own.
    tmp: PathBuf,
    /// What was there before, where that is needed to tell what the command made.
    before: Option<Arc<Snapshot>>,
}

impl Prepared {
    /// The one way to something that is run: `plan` for the package at `root`, on the terms of the policy. `dir` is the
    /// directory that the package was brought to. Blocks.
    ///
    /// # Errors
    /// What the policy does not allow, and what there is no room for.
    pub(super) fn allowed(
        root: PathBuf,
        mut plan: Plan,
        dir: &Path,
        settings: &JobSettings,
    ) -> Result<Self, Failure> {
        let failed = |message: String| Failure::new("EXECUTION_ERROR", message);
        let mut grant = settings
            .policy
            .check(&plan, &settings.asker)
            .map_err(|denied| Failure::new("COMMANDS_NOT_ALLOWED", denied.to_string()))?;
        grant.time_limit = grant.time_limit.into_iter().chain(settings.max_time).min();
        has_room(&plan.terms, dir)?;
        let tmp = dir.with_file_name("tmp");
        std::fs::create_dir(&tmp)
            .map_err(|error| failed(format!("the job's directory cannot be made: {error}")))?;
        for step in &mut plan.steps {
            step.env.splice(0..0, given_env(&grant, &tmp));
        }
        let before = match plan.terms.return_changed {
            true => Some(Snapshot::take(&root).map_err(|error| failed(error.to_string()))?),
            false => None,
        };
        Ok(Prepared {
            root,
            plan,
            grant,
            tmp,
            before: before.map(Arc::new),
        })
    }

    /// The directories that the job writes in.
    pub(super) fn dirs(&self) -> [&Path; 2] {
        [&self.root, &self.tmp]
    }

    /// What is to be returned: files, directories and patterns below the root. Blocks.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(super) fn wanted(&self) -> Result<Vec<PathBuf>, ArchiveError> {
        match &self.before {
            Some(before) => before
                .changed(&self.root)
                .map_err(|error| io_at(&self.root, error)),
            None => Ok(self.plan.outputs.clone()),
        }
    }
}

/// What is returned: an archive of results, or the one file of an inference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Results {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

impl Results {
    /// Its file name.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}

/// `trained_<stem>.zip`: how the results of a package are called.
pub fn results_name(package: &str) -> String {
    let stem = Path::new(package)
        .file_stem()
        .map_or(package.into(), |stem| stem.to_string_lossy());
    // The prefix must not make a name too long that was not.
    let stem: String = stem.chars().take(60).collect();
    format!("trained_{stem}.zip")
}

/// Unpacks a package into a fresh directory and makes a plan of it; `kind` is what it was announced as. Blocks.
pub fn prepare(
    package: &Path,
    into: &Path,
    kind: Option<&PackageKind>,
    output_dir: Option<&str>,
    settings: &JobSettings,
    cancelled: &AtomicBool,
) -> Result<Prepared, Failure> {
    let failed = |message: String| Failure::new("EXECUTION_ERROR", message);
    std::fs::create_dir(into)
        .map_err(|error| failed(format!("the job's directory cannot be made: {error}")))?;
    let unpacked = unpack(package, into, &settings.limits, cancelled)
        .map_err(|error| failed(error.to_string()))?;
    let plan = Plan::for_package(&unpacked.root, kind, output_dir)
        .map_err(|error| Failure::new(code_of(&error), error.to_string()))?;
    tracing::info!(
        files = unpacked.files,
        bytes = unpacked.bytes,
        steps = plan.steps.len(),
        "package unpacked"
    );
    Prepared::allowed(unpacked.root, plan, into, settings)
}

/// What a job gets beside the plain environment: its own place for temporary files, and what the policy passes on. What
/// the job itself sets comes after, and wins.
fn given_env(grant: &Grant, tmp: &Path) -> Vec<(String, String)> {
    let mut env = vec![("TMPDIR".to_owned(), tmp.to_string_lossy().into_owned())];
    for name in &grant.pass_env {
        if let Ok(value) = std::env::var(name) {
            env.push((name.clone(), value));
        }
    }
    env
}

/// Whether the disk has the room that a job asks for.
fn has_room(terms: &Terms, dir: &Path) -> Result<(), Failure> {
    let (Some(wanted), Ok(free)) = (terms.resources.disk, free_space(dir)) else {
        return Ok(());
    };
    if wanted <= free {
        return Ok(());
    }
    let (wanted, free) = (human(wanted), human(free));
    let message = format!("the job asks for {wanted} of disk, and this worker has {free} free");
    Err(Failure::passing("NO_ROOM", &message))
}

fn code_of(error: &PlanError) -> &'static str {
    match error {
        PlanError::NoTrackScript => NO_TRACK_SCRIPT,
        PlanError::NoScript
        | PlanError::NoCommands
        | PlanError::Script(_)
        | PlanError::Track(_)
        | PlanError::Result { .. }
        | PlanError::Manifest(_)
        | PlanError::OutputDir { .. }
        | PlanError::TooLarge { .. }
        | PlanError::Io { .. } => "EXECUTION_ERROR",
    }
}

/// Packs what the plan wants returned; `None` where there is nothing. The result of an inference is no archive and stays
/// where it is; after a failure there is none. Blocks.
pub fn pack(
    prepared: &Prepared,
    into: &Path,
    failed: bool,
    cancelled: &AtomicBool,
) -> Result<Option<Results>, Failure> {
    if prepared.plan.kind == PlanKind::Inference {
        let result = prepared.plan.outputs.first().filter(|_| !failed);
        return Ok(result.and_then(|path| {
            let size = plain_file(&prepared.root, path)?;
            tracing::info!(size, "the inference has a result");
            Some(Results {
                path: path.clone(),
                size,
            })
        }));
    }
    let failed = |message: String| {
        Failure::new(
            "EXECUTION_ERROR",
            format!("the results could not be packed: {message}"),
        )
    };
    let outputs = prepared
        .wanted()
        .map_err(|error| failed(error.to_string()))?;
    match pack_outputs(&prepared.root, &outputs, into, cancelled) {
        Ok(packed) => {
            let size = std::fs::metadata(into)
                .map_err(|error| failed(error.to_string()))?
                .len();
            tracing::info!(
                files = packed.files,
                bytes = packed.bytes,
                size,
                "results packed"
            );
            Ok(Some(Results {
                path: into.to_owned(),
                size,
            }))
        }
        Err(ArchiveError::NoOutput { .. }) => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_named_after_the_package() {
        assert_eq!(results_name("labels.zip"), "trained_labels.zip");
        assert_eq!(results_name("labels.v1.zip"), "trained_labels.v1.zip");
        assert!(results_name(&"x".repeat(250)).len() < 80);
    }
}
