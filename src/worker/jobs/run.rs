//! The commands of a job, run one after the other, and what the client hears of them: output and progress on their way.
//! At a limit they end.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::manifest::Terms;
use super::plan::{PlanKind, Step};
use super::process::{LineReader, LogLine, RunningStep};
use super::progress::{Meter, Progress};
use super::watch::Watch;
use super::work::{Failure, Halt, Prepared};
use crate::rtc::Channel;
use crate::wire::{ChannelText, log_text};

/// How long a client may take nothing of what it is told. Then the job goes on without it; how it ended is told through the
/// hub. Longer than a path that is gone is waited for: a client that is there no more is noticed before.
const DEAF: Duration = Duration::from_secs(100);

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

/// Runs the commands one after the other; their output goes to the channel, line by line, as it comes. A training that
/// fails does not keep the next from running, an inference that fails does (protocol page, 4.3 and 4.7); a command that
/// cannot be started ends the run, and so does a limit that is reached.
pub async fn run(
    prepared: &Prepared,
    keeper: &Path,
    channel: &Channel,
    halt: watch::Receiver<Halt>,
    tell: impl Fn(StepNews),
) -> RunEnd {
    let words = Words {
        infers: prepared.plan.kind == PlanKind::Inference,
    };
    let client = Client {
        channel,
        halt: &halt,
        tell: &tell,
        words,
        deaf: AtomicBool::new(false),
    };
    let mut failure = None;
    let grant = &prepared.grant;
    let watch = Watch::new(grant.time_limit, &prepared.dirs(), grant.disk);
    let mut limit = Box::pin(watch.reached());
    if words.infers && *halt.borrow() == Halt::Go {
        client.say(ChannelText::InferenceStart).await;
    }
    for step in &prepared.plan.steps {
        if *halt.borrow() != Halt::Go {
            break;
        }
        client.say(words.started(&step.name)).await;
        tell(StepNews::Started(step.name.clone()));
        let end = match client.run(step, prepared, keeper, limit.as_mut()).await {
            Ok(end) => end,
            Err(message) => {
                client.send(&words.text(&message, false)).await;
                failure.get_or_insert(Failure::new("EXECUTION_ERROR", message));
                client.say(words.failed(&step.name, 127)).await;
                tell(StepNews::Ended { ok: false });
                break;
            }
        };
        let StepEnd { code, limit } = end;
        let over = limit.is_some();
        let ok = code == 0 && !over;
        if ok {
            client.say(words.ended(&step.name)).await;
        } else {
            failure = limit
                .or(failure)
                .or_else(|| Some(words.failure(&step.name, code)));
            client.say(words.failed(&step.name, code)).await;
        }
        tell(StepNews::Ended { ok });
        if over || (words.infers && !ok) {
            break;
        }
    }
    // An inference is done when its result has been sent, and says so then.
    if *halt.borrow() == Halt::Go && !words.infers {
        client.say(ChannelText::TrainingJobsDone).await;
    }
    RunEnd { failure }
}

/// How a run speaks: training and inference have words of their own.
#[derive(Debug, Clone, Copy)]
struct Words {
    infers: bool,
}

impl Words {
    fn started(self, name: &str) -> ChannelText {
        let name = name.to_owned();
        if self.infers {
            ChannelText::InferenceJobStart(name)
        } else {
            ChannelText::TrainJobStart(name)
        }
    }

    fn ended(self, name: &str) -> ChannelText {
        let name = name.to_owned();
        if self.infers {
            ChannelText::InferenceJobEnd(name)
        } else {
            ChannelText::TrainJobEnd(name)
        }
    }

    fn failed(self, name: &str, code: i32) -> ChannelText {
        let name = name.to_owned();
        if self.infers {
            ChannelText::InferenceJobError { name, code }
        } else {
            ChannelText::TrainJobError { name, code }
        }
    }

    fn failure(self, name: &str, code: i32) -> Failure {
        if self.infers {
            let message = format!("Inference failed with exit code {code}");
            Failure::new("INFERENCE_FAILED", message)
        } else {
            let message = format!("Training job {name} failed with exit code {code}");
            Failure::new("TRAINING_FAILED", message)
        }
    }

    /// A line as it goes to the client: `text\n`, or `\rtext` where it overwrites the one before. A line of an inference
    /// stands behind a word of its own, without its end.
    fn text(self, line: &str, overwrite: bool) -> String {
        match (self.infers, overwrite) {
            (false, false) => format!("{}\n", log_text(line)),
            (false, true) => format!("\r{}", log_text(line)),
            (true, false) => ChannelText::TrackLog(line.to_owned()).to_text(),
            (true, true) => ChannelText::TrackLog(format!("\r{line}")).to_text(),
        }
    }
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
    words: Words,
    /// It takes nothing any more.
    deaf: AtomicBool,
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
            self.send(&self.words.text(&failure.message, false)).await;
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
            self.send(&self.words.text(&line.text, line.overwrite))
                .await;
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

    async fn say(&self, text: ChannelText) {
        self.send(&text.to_text()).await;
    }

    /// Sends one text, and waits for room in the channel's buffer, but not past the end of the job, nor for ever.
    async fn send(&self, text: &str) {
        if self.deaf.load(Ordering::Relaxed) {
            return;
        }
        tokio::select! {
            sent = self.channel.send_text(text) => {
                if let Err(error) = sent {
                    tracing::debug!(%error, "a text for the client was not sent");
                }
            }
            () = halted(self.halt, Halt::Stop) => {}
            () = sleep(DEAF) => {
                tracing::warn!("the client takes nothing any more; the job goes on without it");
                self.deaf.store(true, Ordering::Relaxed);
            }
        }
    }
}

async fn halted(halt: &watch::Receiver<Halt>, level: Halt) {
    // A sender that is gone means that the job's actor is gone: nothing must go on without it.
    let _ = halt.clone().wait_for(|now| *now >= level).await;
}
