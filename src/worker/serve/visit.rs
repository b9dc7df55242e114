//! What a Loaner client asks about its jobs, on any connection: which there are, what they print, how they go on; and that they
//! stop.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Server;
use crate::tunnel::tube::Line;
use crate::wire::ChannelText;
use crate::wire::own::OwnText;
use crate::worker::jobs::log::Log;
use crate::worker::jobs::view::whole_lines;
use crate::worker::records::{Record, Records};

/// Bytes of a log in one message; as JSON, it may be six times as long.
const PART: usize = 16 * 1024;

/// What is to become of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is asked to stop.
    Stop,
    /// It is cancelled.
    Cancel,
}

/// A client wants its job to end.
#[derive(Message)]
#[rtype(result = "()")]
pub struct JobOrder {
    /// Whose job it has to be.
    pub user: String,
    /// Which.
    pub job: String,
    /// How it is to end.
    pub order: Order,
    /// The answer: it was told, or why not.
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// A client wants results that wait here.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Fetch {
    /// Where they go.
    pub channel: Line,
    /// What the client says of them: nobody else hears it meanwhile.
    pub heard: OwnedMutexGuard<mpsc::Receiver<OwnText>>,
    /// Whose they are.
    pub record: Arc<Record>,
}

/// What a client may ask of jobs, and whom it is asked.
pub struct Jobs {
    /// As whom.
    pub user: String,
    /// What is known of jobs.
    pub records: Records,
    /// Tells a running job.
    pub order: Recipient<JobOrder>,
    /// Sends results.
    pub fetch: Recipient<Fetch>,
}

/// What goes on for a client beside its questions: one log and one job are followed at a time.
#[derive(Default)]
pub(super) struct Following {
    log: Option<JoinHandle<()>>,
    job: Option<JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        for task in [&self.log, &self.job].into_iter().flatten() {
            task.abort();
        }
    }
}

fn replace(old: &mut Option<JoinHandle<()>>, new: JoinHandle<()>) {
    if let Some(task) = old.replace(new) {
        task.abort();
    }
}

impl Server {
    /// A question of a client that has greeted.
    pub(super) async fn asked(&mut self, text: OwnText) {
        if let Err(message) = self.answer_to(text).await {
            self.say(ChannelText::Own(OwnText::Denied { message }))
                .await;
        }
    }

    async fn answer_to(&mut self, text: OwnText) -> Result<(), String> {
        let jobs = &self.desk.jobs;
        let find = |job: &str| jobs.records.find(&jobs.user, job);
        match text {
            OwnText::ListJobs => {
                let list = jobs.records.list(&jobs.user);
                self.say(ChannelText::Own(OwnText::JobList { jobs: list }))
                    .await;
            }
            OwnText::ReadLog { job, from, follow } => {
                let log = find(&job)?.log().clone();
                let task = tokio::spawn(read_log(self.channel.clone(), log, from, follow));
                replace(&mut self.following.log, task);
            }
            OwnText::WatchJob { job } => {
                let record = find(&job)?;
                self.watch(record);
            }
            OwnText::StopJob { job } => {
                let record = find(&job)?;
                self.order(record, Order::Stop).await?;
            }
            OwnText::CancelJob { job } => {
                let record = find(&job)?;
                self.order(record, Order::Cancel).await?;
            }
            OwnText::FetchResults { job } => {
                let record = find(&job)?;
                if record.summary().results.is_none() {
                    return Err(format!("no results of job {} wait here", record.story().id));
                }
                let answers = self.greeted.as_ref().map(|greeted| &greeted.heard.answers);
                if let Some(answers) = answers {
                    // One file at a time, on one channel.
                    let heard = answers.clone().try_lock_owned();
                    let heard = heard.map_err(|_| "a file is on its way already".to_owned())?;
                    let channel = self.channel.clone();
                    jobs.fetch.do_send(Fetch {
                        channel,
                        heard,
                        record,
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn watch(&mut self, record: Arc<Record>) {
        let task = tokio::spawn(watch(self.channel.clone(), record));
        replace(&mut self.following.job, task);
    }

    async fn order(&mut self, record: Arc<Record>, order: Order) -> Result<(), String> {
        let summary = record.summary();
        if summary.is_over() {
            return Err(format!(
                "job {} is over: it is {}",
                summary.id, summary.state
            ));
        }
        let (reply, answer) = oneshot::channel();
        self.desk.jobs.order.do_send(JobOrder {
            user: self.desk.jobs.user.clone(),
            job: summary.id,
            order,
            reply,
        });
        answer
            .await
            .unwrap_or_else(|_| Err(super::GONE.to_owned()))?;
        self.watch(record);
        Ok(())
    }
}

/// Tells of a job now, and whenever something changes, until it is over.
async fn watch(channel: Line, record: Arc<Record>) {
    let mut watching = record.watch();
    loop {
        let summary = record.summary();
        let over = summary.is_over();
        let text = ChannelText::Own(OwnText::Job(summary));
        if channel.send_text(&text.to_text()).await.is_err() || over || !watching.changed().await {
            return;
        }
    }
}

/// Sends a log from an offset on, and what is added if it is to be followed.
async fn read_log(channel: Line, log: Log, from: u64, follow: bool) {
    let mut reader = match log.read(from).await {
        Ok(reader) => reader,
        Err(error) => {
            tracing::warn!(%error, "a job's log cannot be read");
            let message = "the log of this job is not there any more".to_owned();
            return say(&channel, OwnText::Denied { message }).await;
        }
    };
    loop {
        let at = reader.at();
        match reader.next(PART, follow).await {
            Ok(chunk) if chunk.is_empty() => return say(&channel, OwnText::LogEnd { at }).await,
            Ok(chunk) => {
                let whole = whole_lines(&chunk);
                reader.go_back((chunk.len() - whole) as u64);
                let text = String::from_utf8_lossy(&chunk[..whole]).into_owned();
                let part = ChannelText::Own(OwnText::LogPart { at, text });
                if channel.send_text(&part.to_text()).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a job's log could not be read");
                let message = "the log of this job cannot be read".to_owned();
                return say(&channel, OwnText::Denied { message }).await;
            }
        }
    }
}

async fn say(channel: &Line, text: OwnText) {
    // A channel that is gone needs no answer.
    let _ = channel.send_text(&ChannelText::Own(text).to_text()).await;
}
