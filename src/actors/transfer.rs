//! The actor of `transfer`: it hears milestones from a stream on the data plane, and stops that stream.

use std::path::PathBuf;

use actix::prelude::*;
use tokio::sync::watch;

use super::chart_actor::{ChartActor, Died, Feed, Perform, start};
use crate::charts::transfer::{Act, Input, Transfer};

/// Which way a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To this side.
    In,
    /// From this side.
    Out,
}

/// A transfer is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TransferEnded {
    /// Which way it went.
    pub direction: Direction,
    /// The file under its final name, or the reason in words.
    pub result: Result<PathBuf, String>,
}

/// The verified file, from the stream.
#[derive(Message)]
#[rtype(result = "()")]
struct Finished(Result<PathBuf, String>);

/// Performs the effects of `transfer`.
pub struct TransferPerformer {
    direction: Direction,
    owner: Recipient<TransferEnded>,
    stop: watch::Sender<bool>,
    result: Option<Result<PathBuf, String>>,
}

/// The actor of `transfer`.
pub type TransferActor = ChartActor<TransferPerformer>;

impl Perform for TransferPerformer {
    type Chart = Transfer;

    fn perform(&mut self, act: Act, _: &mut Context<ChartActor<Self>>) {
        match act {
            Act::StopStream => {
                self.stop.send_replace(true);
            }
            Act::ReportDone | Act::ReportFailed => {
                // A file that came out of turn is none: only the chart says that there is one.
                let done = act == Act::ReportDone;
                let result = self.result.take().filter(|result| result.is_ok() == done);
                let stopped = || Err("the transfer stalled or was stopped".to_owned());
                self.owner.do_send(TransferEnded {
                    direction: self.direction,
                    result: result.unwrap_or_else(stopped),
                });
            }
        }
    }
}

impl Handler<Finished> for TransferActor {
    type Result = ();

    fn handle(&mut self, finished: Finished, ctx: &mut Self::Context) {
        let event = if finished.0.is_ok() {
            Input::Verified
        } else {
            Input::Broke
        };
        self.performer().result = Some(finished.0);
        self.feed(&event, ctx);
    }
}

/// The stream's end of a transfer: it reports milestones and hears when it is to stop.
#[derive(Clone)]
pub struct Milestones {
    events: Recipient<Feed<Input>>,
    finished: Recipient<Finished>,
    stop: watch::Receiver<bool>,
}

impl Milestones {
    /// The first bytes moved.
    pub fn started(&self) {
        self.events.do_send(Feed(Input::Started));
    }

    /// More bytes moved; called at most once a second.
    pub fn progressed(&self) {
        self.events.do_send(Feed(Input::Progressed));
    }

    /// The end marker came, or was sent.
    pub fn ended(&self) {
        self.events.do_send(Feed(Input::Ended));
    }

    /// The file is complete under its final name. When this returns, the owner has been told: what the stream says
    /// next comes behind it.
    pub async fn verified(&self, path: PathBuf) {
        self.finish(Ok(path)).await;
    }

    /// There is no file, and why. When this returns, the owner has been told.
    pub async fn broke(&self, reason: impl ToString) {
        self.finish(Err(reason.to_string())).await;
    }

    async fn finish(&self, result: Result<PathBuf, String>) {
        // An actor that is gone has told its owner already.
        let _ = self.finished.send(Finished(result)).await;
    }

    /// Resolves when the stream is to stop, also because nobody is interested any more.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

/// Starts a transfer; its end is told to `owner`.
pub fn transfer(
    owner: Recipient<TransferEnded>,
    direction: Direction,
    instance: &str,
    supervisor: Option<Recipient<Died>>,
) -> (Addr<TransferActor>, Milestones) {
    let (stop, stopped) = watch::channel(false);
    let addr = start(
        Transfer::new(),
        TransferPerformer {
            direction,
            owner,
            stop,
            result: None,
        },
        instance,
        supervisor,
    );
    let milestones = Milestones {
        events: addr.clone().recipient(),
        finished: addr.clone().recipient(),
        stop: stopped,
    };
    (addr, milestones)
}
