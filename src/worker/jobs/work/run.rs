//! The commands of a job, run one after the other: output and progress on their way, and an end at a limit.

use std::path::Path;
use std::pin::Pin;

use tokio::sync::watch;
use tokio::time::timeout;

use super::super::manifest::Terms;
use super::super::plan::Step;
use super::super::process::{LineReader, LogLine, RunningStep};
use super::super::progress::{Meter, Progress};
use super::super::watch::Watch;
use super::{Failure, Halt, Prepared};
use crate::rtc::Channel;
use crate::wire::{ChannelText, log_text};

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
