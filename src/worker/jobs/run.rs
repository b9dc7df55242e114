//! The commands of a job, run one after the other: their output goes to the job's log, and from there to the client. At a
//! limit they end, and when they are asked to.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::curves::{Controls, Curves};
use super::log::{Log, LogWriter};
use super::manifest::Terms;
use super::plan::{PlanKind, Step};
use super::process::{LineReader, LogLine, RunningStep};
use super::progress::{Meter, Progress};
use super::view::View;
use super::watch::Watch;
use super::work::{Failure, Halt, Prepared};
use crate::tunnel::tube::Line;
use crate::wire::own::OwnText;
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

/// Where a run tells of itself.
pub struct Audience {
    /// The channel of the client.
    pub channel: Line,
    /// The client is a Loaner that speaks Loaner's own words.
    pub own: bool,
    /// The job's log, and the same to be read.
    pub log: (LogWriter, Log),
    /// How long the commands may be held up in all by a client that does not keep up with their output.
    pub patience: Duration,
    /// What the client tells a training.
    pub controls: Controls,
}

/// Runs the commands one after the other; their output goes to the log line by line, as it comes, and the client follows; it gets
/// the reports of a training, too. A training that fails does not keep the next from running, an inference that fails does (protocol page, 4.3 and 4.7); a
/// command that cannot be started ends the run, and so does a limit that is reached, or a command that was asked to stop.
pub async fn run(
    prepared: &Prepared,
    keeper: &Path,
    audience: Audience,
    halt: watch::Receiver<Halt>,
    tell: impl Fn(StepNews),
) -> RunEnd {
    let words = Words {
        infers: prepared.plan.kind == PlanKind::Inference,
        own: audience.own,
    };
    let (writer, log) = audience.log;
    let channel = audience.channel;
    writer.make().await;
    let view = View::start(
        &log,
        channel.clone(),
        words,
        halt.clone(),
        audience.patience,
    );
    let mut client = Client {
        channel: &channel,
        halt: &halt,
        tell: &tell,
        log: writer,
        view,
        deaf: false,
    };
    let mut failure = None;
    let grant = &prepared.grant;
    let watch = Watch::new(grant.time_limit, &prepared.dirs(), grant.disk);
    let mut limit = Box::pin(watch.reached());
    if words.infers && !words.own && *halt.borrow() == Halt::Go {
        client.say(ChannelText::InferenceStart).await;
    }
    for step in &prepared.plan.steps {
        if *halt.borrow() != Halt::Go {
            break;
        }
        client.say(words.started(&step.name)).await;
        tell(StepNews::Started(step.name.clone()));
        let curves = Curves::open(step, &channel, &audience.controls).await;
        let end = client.run(curves.step(), prepared, keeper, limit.as_mut());
        let end = end.await;
        let asked = *halt.borrow() == Halt::Stop;
        let ok = end.as_ref().is_ok_and(|end| {
            let stopped = asked && prepared.plan.terms.stop.signal.ended_with(end.code);
            (end.code == 0 || stopped) && end.limit.is_none()
        });
        // It has ended now, however long the client takes to hear of it.
        tell(StepNews::Ended { ok });
        let wanted = *halt.borrow() <= Halt::Stop;
        curves.close(wanted).await;
        let StepEnd { code, limit } = match end {
            Ok(end) => end,
            Err(message) => {
                client.log.say(&message).await;
                failure.get_or_insert(Failure::new("EXECUTION_ERROR", message));
                client.say(words.failed(&step.name, 127)).await;
                break;
            }
        };
        let over = limit.is_some();
        if ok {
            client.say(words.ended(&step.name)).await;
        } else {
            failure = limit
                .or(failure)
                .or_else(|| Some(words.failure(&step.name, code)));
            client.say(words.failed(&step.name, code)).await;
        }
        if over || (words.infers && !ok) {
            break;
        }
    }
    // An inference is done when its result has been sent, and says so then.
    if *halt.borrow() <= Halt::Stop && !words.infers {
        client.say(words.done()).await;
    }
    client.log.flush().await;
    RunEnd { failure }
}

/// How a run speaks: training and inference have words of their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    pub infers: bool,
    /// To a Loaner client, in Loaner's own words.
    pub own: bool,
}

impl Words {
    fn started(self, name: &str) -> ChannelText {
        let name = name.to_owned();
        if self.own {
            return ChannelText::Own(OwnText::StepStarted { name });
        }
        if self.infers {
            ChannelText::InferenceJobStart(name)
        } else {
            ChannelText::TrainJobStart(name)
        }
    }

    fn ended(self, name: &str) -> ChannelText {
        let name = name.to_owned();
        if self.own {
            return ChannelText::Own(OwnText::StepEnded { name, code: 0 });
        }
        if self.infers {
            ChannelText::InferenceJobEnd(name)
        } else {
            ChannelText::TrainJobEnd(name)
        }
    }

    fn failed(self, name: &str, code: i32) -> ChannelText {
        let name = name.to_owned();
        if self.own {
            return ChannelText::Own(OwnText::StepEnded { name, code });
        }
        if self.infers {
            ChannelText::InferenceJobError { name, code }
        } else {
            ChannelText::TrainJobError { name, code }
        }
    }

    fn done(self) -> ChannelText {
        if self.own {
            ChannelText::Own(OwnText::CommandsDone)
        } else {
            ChannelText::TrainingJobsDone
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
    pub fn line(self, line: &str, overwrite: bool) -> String {
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
    channel: &'a Line,
    halt: &'a watch::Receiver<Halt>,
    tell: &'a T,
    log: LogWriter,
    view: View,
    /// It takes nothing any more.
    deaf: bool,
}

impl<T: Fn(StepNews)> Client<'_, T> {
    async fn run(
        &mut self,
        step: &Step,
        prepared: &Prepared,
        keeper: &Path,
        mut limit: Pin<&mut impl Future<Output = Failure>>,
    ) -> Result<StepEnd, String> {
        let halt = self.halt;
        let terms = &prepared.plan.terms;
        let mut running =
            RunningStep::spawn(step, &prepared.root, keeper).map_err(|error| error.to_string())?;
        let mut lines = running.lines();
        let mut meter = Meter::new(terms.progress);
        let (mut reached, mut asked) = (None, false);
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(line) => tokio::select! {
                        // A line that was read is never dropped.
                        biased;
                        () = self.pass_on(&line, &mut meter) => {}
                        failure = limit.as_mut() => {
                            reached = Some(failure);
                            break;
                        }
                    },
                    None => break,
                },
                () = self.log.due() => self.log.flush().await,
                progress = meter.due() => (self.tell)(StepNews::Progress(progress)),
                failure = limit.as_mut() => {
                    reached = Some(failure);
                    break;
                }
                () = halted(halt, Halt::Stop), if !asked => {
                    asked = true;
                    // What ends it at once is no request to stop.
                    if *halt.borrow() == Halt::Stop {
                        running.ask_to_stop(terms.stop.signal);
                    }
                }
                () = halted(halt, Halt::Terminate) => break,
            }
        }
        if let Some(failure) = &reached {
            self.log.say(&failure.message).await;
            self.stop(&running, &mut lines, &mut meter, terms).await;
        }
        if *halt.borrow() >= Halt::Terminate {
            self.terminate(&running, &mut lines).await;
        }
        if let Some(progress) = meter.last() {
            (self.tell)(StepNews::Progress(progress));
        }
        let code = loop {
            tokio::select! {
                exit = running.wait() => break exit.code,
                failure = limit.as_mut(), if reached.is_none() => {
                    // Its output has ended, and it has not.
                    reached = Some(failure);
                    self.stop(&running, &mut lines, &mut meter, terms).await;
                }
                () = halted(halt, Halt::Stop), if !asked => {
                    asked = true;
                    // What ends it at once is no request to stop.
                    if *halt.borrow() == Halt::Stop {
                        running.ask_to_stop(terms.stop.signal);
                    }
                }
                () = halted(halt, Halt::Terminate) => self.terminate(&running, &mut lines).await,
            }
        };
        Ok(StepEnd {
            code,
            limit: reached,
        })
    }

    /// Output goes to the log, and the client follows; progress waits until it is due.
    async fn pass_on(&mut self, line: &LogLine, meter: &mut Meter) {
        if meter.heard(&line.text) {
            return;
        }
        self.log.line(line).await;
        let written = self.log.written();
        tokio::select! {
            () = self.view.keep_up(written) => {}
            // Its time to stop is its own.
            () = halted(self.halt, Halt::Stop) => {}
        }
    }

    /// Stops a command as it wants to be stopped: its signal, its deadline, SIGKILL. Its last words are passed on.
    async fn stop(
        &mut self,
        running: &RunningStep,
        lines: &mut LineReader,
        meter: &mut Meter,
        terms: &Terms,
    ) {
        running.ask_to_stop(terms.stop.signal);
        let halt = self.halt;
        let last_words = async {
            loop {
                tokio::select! {
                    line = lines.next() => match line {
                        Some(line) => self.pass_on(&line, meter).await,
                        None => break,
                    },
                    () = self.log.due() => self.log.flush().await,
                }
            }
            running.gone().await;
        };
        let stopped = tokio::select! {
            stopped = timeout(terms.stop.deadline, last_words) => stopped.is_ok(),
            () = halted(halt, Halt::Kill) => false,
        };
        if !stopped {
            running.kill();
            running.gone().await;
        }
    }

    /// Ends a command: SIGTERM now, SIGKILL when it is time. Its last words are logged, so that it is not held up at them;
    /// nobody waits for them.
    async fn terminate(&mut self, running: &RunningStep, lines: &mut LineReader) {
        if *self.halt.borrow() < Halt::Kill {
            running.terminate();
        }
        let log = &mut self.log;
        let last_words = async {
            loop {
                tokio::select! {
                    line = lines.next() => match line {
                        Some(line) => log.line(&line).await,
                        None => break,
                    },
                    () = log.due() => log.flush().await,
                }
            }
            running.gone().await;
        };
        tokio::select! {
            () = last_words => {}
            () = halted(self.halt, Halt::Kill) => {
                running.kill();
                running.gone().await;
            }
        }
    }

    /// Says something in its place: behind all of the output that came before.
    async fn say(&mut self, text: ChannelText) {
        if self.deaf {
            return;
        }
        self.log.flush().await;
        let written = self.log.written();
        tokio::select! {
            () = self.view.catch_up(written) => {}
            () = halted(self.halt, Halt::Terminate) => return,
        }
        let text = text.to_text();
        tokio::select! {
            sent = self.channel.send_text(&text) => {
                if let Err(error) = sent {
                    tracing::debug!(%error, "a text for the client was not sent");
                }
            }
            () = halted(self.halt, Halt::Terminate) => {}
            () = sleep(DEAF) => {
                tracing::warn!("the client takes nothing any more; the job goes on without it");
                self.deaf = true;
            }
        }
    }
}

/// Waits until a job is to end as urgently as this.
pub(super) async fn halted(halt: &watch::Receiver<Halt>, level: Halt) {
    // A sender that is gone means that the job's actor is gone: nothing must go on without it.
    let _ = halt.clone().wait_for(|now| *now >= level).await;
}
