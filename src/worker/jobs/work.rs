//! The work of each stage of a job, off the actors: prepare, run, pack.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::archive::{ArchiveError, UnpackLimits, unpack};
use super::changed::Snapshot;
use super::disk::{free_space, human};
use super::manifest::Terms;
use super::pack::pack_outputs;
use super::plan::{Plan, PlanError, Step};
use super::process::{LineReader, LogLine, RunningStep};
use super::progress::{Meter, Progress};
use super::watch::Watch;
use crate::charts::job::Why;
use crate::rtc::Channel;
use crate::wire::{ChannelText, log_text};
use crate::worker::policy::{Asker, Grant, Policy};

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
    /// How long it may take, and how much room.
    pub grant: Grant,
    /// The directory for temporary files, beside its own.
    tmp: PathBuf,
    /// What was there before, where that is needed to tell what the command made.
    before: Option<Arc<Snapshot>>,
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
    let mut plan = Plan::for_package(&unpacked.root, output_dir)
        .map_err(|error| Failure::new(code_of(&error), error.to_string()))?;
    let mut grant = settings
        .policy
        .check(&plan, &settings.asker)
        .map_err(|denied| Failure::new("COMMANDS_NOT_ALLOWED", denied.to_string()))?;
    grant.time_limit = grant.time_limit.into_iter().chain(settings.max_time).min();
    has_room(&plan.terms, into)?;
    let tmp = into.with_file_name("tmp");
    std::fs::create_dir(&tmp)
        .map_err(|error| failed(format!("the job's directory cannot be made: {error}")))?;
    for step in &mut plan.steps {
        step.env.splice(0..0, given_env(&grant, &tmp));
    }
    let before = match plan.terms.return_changed {
        true => Some(Snapshot::take(&unpacked.root).map_err(|error| failed(error.to_string()))?),
        false => None,
    };
    tracing::info!(
        files = unpacked.files,
        bytes = unpacked.bytes,
        steps = plan.steps.len(),
        "package unpacked"
    );
    Ok(Prepared {
        root: unpacked.root,
        plan,
        grant,
        tmp,
        before: before.map(Arc::new),
    })
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
#[derive(Debug, Clone, PartialEq)]
pub enum StepNews {
    /// It starts; this is its name.
    Started(String),
    /// How far it is.
    Progress(Progress),
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
/// fails does not keep the next from running (protocol page, 4.3); one that cannot be started ends the run, and so does
/// a limit that is reached.
pub async fn run(
    prepared: &Prepared,
    keeper: &Path,
    channel: &Channel,
    halt: watch::Receiver<Halt>,
    tell: impl Fn(StepNews),
) -> RunEnd {
    let mut failure = None;
    let dirs = [prepared.root.as_path(), prepared.tmp.as_path()];
    let watch = Watch::new(prepared.grant.time_limit, &dirs, prepared.grant.disk);
    let mut limit = Box::pin(watch.reached());
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
        let client = Client {
            channel,
            halt: &halt,
            tell: &tell,
        };
        let end = match client.run(step, prepared, keeper, limit.as_mut()).await {
            Ok(end) => end,
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
        let StepEnd { code, limit } = end;
        let over = limit.is_some();
        let text = if code == 0 && !over {
            ChannelText::TrainJobEnd(step.name.clone())
        } else {
            let message = format!("Training job {} failed with exit code {code}", step.name);
            let failed = || Failure::new("TRAINING_FAILED", message);
            failure = limit.or(failure).or_else(|| Some(failed()));
            ChannelText::TrainJobError {
                name: step.name.clone(),
                code,
            }
        };
        say(channel, &halt, text).await;
        tell(StepNews::Ended {
            ok: code == 0 && !over,
        });
        if over {
            break;
        }
    }
    if *halt.borrow() == Halt::Go {
        say(channel, &halt, ChannelText::TrainingJobsDone).await;
    }
    RunEnd { failure }
}

/// How one command ended.
struct StepEnd {
    code: i32,
    /// The limit at which it was stopped.
    limit: Option<Failure>,
}

/// Who hears of a run.
struct Client<'a, T> {
    channel: &'a Channel,
    halt: &'a watch::Receiver<Halt>,
    tell: &'a T,
}

impl<T: Fn(StepNews)> Client<'_, T> {
    async fn run(
        &self,
        step: &Step,
        prepared: &Prepared,
        keeper: &Path,
        mut limit: Pin<&mut impl Future<Output = Failure>>,
    ) -> Result<StepEnd, String> {
        let halt = self.halt;
        let mut running =
            RunningStep::spawn(step, &prepared.root, keeper).map_err(|error| error.to_string())?;
        let mut lines = running.lines();
        let mut meter = Meter::new(prepared.plan.terms.progress);
        let mut reached = None;
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(line) => tokio::select! {
                        () = self.pass_on(&line, &mut meter) => {}
                        failure = limit.as_mut() => {
                            reached = Some(failure);
                            break;
                        }
                    },
                    None => break,
                },
                progress = meter.due() => (self.tell)(StepNews::Progress(progress)),
                failure = limit.as_mut() => {
                    reached = Some(failure);
                    break;
                }
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
        if let Some(failure) = &reached {
            send(
                self.channel,
                halt,
                &format!("{}\n", log_text(&failure.message)),
            )
            .await;
            self.stop(&running, &mut lines, &mut meter, &prepared.plan.terms)
                .await;
        }
        if let Some(progress) = meter.last() {
            (self.tell)(StepNews::Progress(progress));
        }
        let code = tokio::select! {
            exit = running.wait() => exit.code,
            failure = limit.as_mut(), if reached.is_none() => {
                // Its output has ended, and it has not.
                reached = Some(failure);
                self.stop(&running, &mut lines, &mut meter, &prepared.plan.terms).await;
                running.wait().await.code
            }
            () = halted(halt, Halt::Stop) => {
                running.terminate();
                tokio::select! {
                    exit = running.wait() => exit.code,
                    () = halted(halt, Halt::Kill) => {
                        running.kill();
                        running.wait().await.code
                    }
                }
            }
        };
        Ok(StepEnd {
            code,
            limit: reached,
        })
    }

    /// Output goes to the client; progress waits until it is due.
    async fn pass_on(&self, line: &LogLine, meter: &mut Meter) {
        if !meter.heard(&line.text) {
            send(self.channel, self.halt, &text_of(line)).await;
        }
    }

    /// Stops a command as it wants to be stopped: its signal, its deadline, SIGKILL. Its last words are passed on.
    async fn stop(
        &self,
        running: &RunningStep,
        lines: &mut LineReader,
        meter: &mut Meter,
        terms: &Terms,
    ) {
        running.ask_to_stop(terms.stop.signal);
        let last_words = async {
            while let Some(line) = lines.next().await {
                self.pass_on(&line, meter).await;
            }
            running.gone().await;
        };
        let stopped = tokio::select! {
            stopped = timeout(terms.stop.deadline, last_words) => stopped.is_ok(),
            () = halted(self.halt, Halt::Kill) => false,
        };
        if !stopped {
            running.kill();
            running.gone().await;
        }
    }
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
    let outputs = match &prepared.before {
        Some(before) => before
            .changed(&prepared.root)
            .map_err(|error| failed(error.to_string()))?,
        None => prepared.plan.outputs.clone(),
    };
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
