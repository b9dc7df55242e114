//! The commands of a job, run one after the other, and what the client hears of them.

use std::path::Path;

use tokio::sync::watch;

use super::plan::{PlanKind, Step};
use super::process::RunningStep;
use super::work::{Failure, Halt, Prepared};
use crate::rtc::Channel;
use crate::wire::{ChannelText, log_text};

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

/// Runs the commands one after the other; their output goes to the channel, line by line, as it comes. A training that
/// fails does not keep the next from running, an inference that fails does (protocol page, 4.3 and 4.7); a command that
/// cannot be started ends the run.
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
    let mut failure = None;
    if words.infers && *halt.borrow() == Halt::Go {
        say(channel, &halt, ChannelText::InferenceStart).await;
    }
    for step in &prepared.plan.steps {
        if *halt.borrow() != Halt::Go {
            break;
        }
        say(channel, &halt, words.started(&step.name)).await;
        tell(StepNews::Started(step.name.clone()));
        let code = match run_step(step, words, &prepared.root, keeper, channel, &halt).await {
            Ok(code) => code,
            Err(message) => {
                send(channel, &halt, &words.text(&message, false)).await;
                failure.get_or_insert(Failure::new("EXECUTION_ERROR", message));
                say(channel, &halt, words.ended(&step.name, 127)).await;
                tell(StepNews::Ended { ok: false });
                break;
            }
        };
        if code != 0 {
            failure.get_or_insert(words.failure(&step.name, code));
        }
        say(channel, &halt, words.ended(&step.name, code)).await;
        tell(StepNews::Ended { ok: code == 0 });
        if code != 0 && words.infers {
            break;
        }
    }
    // An inference is done when its result has been sent, and says so then.
    if *halt.borrow() == Halt::Go && !words.infers {
        say(channel, &halt, ChannelText::TrainingJobsDone).await;
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

    fn ended(self, name: &str, code: i32) -> ChannelText {
        let name = name.to_owned();
        match (self.infers, code) {
            (false, 0) => ChannelText::TrainJobEnd(name),
            (false, code) => ChannelText::TrainJobError { name, code },
            (true, 0) => ChannelText::InferenceJobEnd(name),
            (true, code) => ChannelText::InferenceJobError { name, code },
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

async fn run_step(
    step: &Step,
    words: Words,
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
                Some(line) => send(channel, halt, &words.text(&line.text, line.overwrite)).await,
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
