//! The work of each stage of a job, off the actors: prepare, run, pack.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tokio::sync::watch;

use super::archive::{ArchiveError, UnpackLimits, unpack};
use super::pack::pack_outputs;
use super::plan::{Plan, PlanError, Step};
use super::process::{LogLine, RunningStep};
use crate::charts::job::Why;
use crate::files::Partials;
use crate::rtc::Channel;
use crate::wire::{ChannelText, log_text};

/// What every job of a worker has in common.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// Whether commands of a package's own manifest are run.
    pub allow_commands: bool,
    /// The program that keeps processes: this one.
    pub keeper: PathBuf,
    /// Limits on what a package may unpack to.
    pub limits: UnpackLimits,
    /// The largest package that is received, in bytes.
    pub max_package: u64,
    /// Where packages are kept that did not arrive whole, on the file system of the jobs' directories.
    pub partials: Partials,
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
        Why::Shutdown => Failure::passing("WORKER_SHUTDOWN", "the worker is shutting down"),
    }
}

/// How urgently running processes are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halt {
    /// Not at all.
    Go,
    /// SIGTERM.
    Stop,
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
}

/// An archive of results.
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

/// Unpacks a package into a fresh directory and makes a plan of it. Blocks.
pub fn prepare(
    package: &Path,
    into: &Path,
    output_dir: Option<&str>,
    settings: &JobSettings,
    cancelled: &AtomicBool,
) -> Result<Prepared, Failure> {
    let failed = |message: String| Failure::new("EXECUTION_ERROR", message);
    std::fs::create_dir(into)
        .map_err(|error| failed(format!("the job's directory cannot be made: {error}")))?;
    let unpacked = unpack(package, into, &settings.limits, cancelled)
        .map_err(|error| failed(error.to_string()))?;
    let plan = Plan::for_package(&unpacked.root, output_dir, settings.allow_commands)
        .map_err(|error| Failure::new(code_of(&error), error.to_string()))?;
    tracing::info!(
        files = unpacked.files,
        bytes = unpacked.bytes,
        steps = plan.steps.len(),
        "package unpacked"
    );
    Ok(Prepared {
        root: unpacked.root,
        plan,
    })
}

fn code_of(error: &PlanError) -> &'static str {
    match error {
        PlanError::CommandsNotAllowed => "COMMANDS_NOT_ALLOWED",
        PlanError::NoScript
        | PlanError::NoCommands
        | PlanError::Script(_)
        | PlanError::Manifest(_)
        | PlanError::OutputDir { .. }
        | PlanError::TooLarge { .. }
        | PlanError::Io { .. } => "EXECUTION_ERROR",
    }
}

/// Something about one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepNews {
    /// It starts; this is its name.
    Started(String),
    /// It ended.
    Ended {
        /// With exit code 0.
        ok: bool,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// The first failure, if any command failed.
    pub failure: Option<Failure>,
}

/// Runs the commands one after the other; their output goes to the channel, line by line, as it comes. A command that
/// fails does not keep the next from running (protocol page, 4.3); one that cannot be started ends the run.
pub async fn run(
    prepared: &Prepared,
    keeper: &Path,
    channel: &Channel,
    halt: watch::Receiver<Halt>,
    tell: impl Fn(StepNews),
) -> RunEnd {
    let mut failure = None;
    for step in &prepared.plan.steps {
        if *halt.borrow() != Halt::Go {
            break;
        }
        say(
            channel,
            &halt,
            ChannelText::TrainJobStart(step.name.clone()),
        )
        .await;
        tell(StepNews::Started(step.name.clone()));
        let code = match run_step(step, &prepared.root, keeper, channel, &halt).await {
            Ok(code) => code,
            Err(message) => {
                send(channel, &halt, &format!("{}\n", log_text(&message))).await;
                failure.get_or_insert(Failure::new("EXECUTION_ERROR", message));
                say(
                    channel,
                    &halt,
                    ChannelText::TrainJobError {
                        name: step.name.clone(),
                        code: 127,
                    },
                )
                .await;
                tell(StepNews::Ended { ok: false });
                break;
            }
        };
        let text = if code == 0 {
            ChannelText::TrainJobEnd(step.name.clone())
        } else {
            let message = format!("Training job {} failed with exit code {code}", step.name);
            failure.get_or_insert(Failure::new("TRAINING_FAILED", message));
            ChannelText::TrainJobError {
                name: step.name.clone(),
                code,
            }
        };
        say(channel, &halt, text).await;
        tell(StepNews::Ended { ok: code == 0 });
    }
    if *halt.borrow() == Halt::Go {
        say(channel, &halt, ChannelText::TrainingJobsDone).await;
    }
    RunEnd { failure }
}

async fn run_step(
    step: &Step,
    root: &Path,
    keeper: &Path,
    channel: &Channel,
    halt: &watch::Receiver<Halt>,
) -> Result<i32, String> {
    let mut running = RunningStep::spawn(step, root, keeper).map_err(|error| error.to_string())?;
    let mut lines = running.lines();
    loop {
        tokio::select! {
            line = lines.next() => match line {
                Some(line) => send(channel, halt, &text_of(&line)).await,
                None => break,
            },
            () = halted(halt, Halt::Stop) => {
                running.terminate();
                // Its last words are read, so that it is not held up at them; nobody waits for them.
                tokio::select! {
                    () = async { while lines.next().await.is_some() {} } => {}
                    () = halted(halt, Halt::Kill) => running.kill(),
                }
                break;
            }
        }
    }
    tokio::select! {
        exit = running.wait() => return Ok(exit.code),
        () = halted(halt, Halt::Stop) => running.terminate(),
    }
    tokio::select! {
        exit = running.wait() => return Ok(exit.code),
        () = halted(halt, Halt::Kill) => running.kill(),
    }
    Ok(running.wait().await.code)
}

async fn halted(halt: &watch::Receiver<Halt>, level: Halt) {
    // A sender that is gone means that the job's actor is gone: nothing must go on without it.
    let _ = halt.clone().wait_for(|now| *now >= level).await;
}

/// A line as it goes to the client: `text\n`, or `\rtext` where it overwrites the one before.
fn text_of(line: &LogLine) -> String {
    let text = log_text(&line.text);
    if line.overwrite {
        format!("\r{text}")
    } else {
        format!("{text}\n")
    }
}

async fn say(channel: &Channel, halt: &watch::Receiver<Halt>, text: ChannelText) {
    send(channel, halt, &text.to_text()).await;
}

/// Sends one text, and waits for room in the channel's buffer, but not past the end of the job.
async fn send(channel: &Channel, halt: &watch::Receiver<Halt>, text: &str) {
    tokio::select! {
        sent = channel.send_text(text) => {
            if let Err(error) = sent {
                tracing::debug!(%error, "a text for the client was not sent");
            }
        }
        () = halted(halt, Halt::Stop) => {}
    }
}

/// Packs what the plan wants returned; `None` where there is nothing. Blocks.
pub fn pack(
    prepared: &Prepared,
    into: &Path,
    cancelled: &AtomicBool,
) -> Result<Option<Results>, Failure> {
    let failed = |message: String| {
        Failure::new(
            "EXECUTION_ERROR",
            format!("the results could not be packed: {message}"),
        )
    };
    match pack_outputs(&prepared.root, &prepared.plan.outputs, into, cancelled) {
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
