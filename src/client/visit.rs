//! A visit at a worker: a connection to ask about jobs. It needs no reservation, and can be made while the worker is busy.

mod passage;
mod reader;
mod visitor;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use self::passage::Passage;
use self::reader::Landing;
pub use self::visitor::takes_tunnels;
use self::visitor::{Leave, Purpose, Ready, Visitor};
use crate::actors::session::{HubAccess, SessionError};
use crate::rtc::{Channel, DataPlane, RtcConfig};
use crate::wire::own::{OwnText, SPEAKS_OF_JOBS, VERSIONS};
use crate::wire::{ChannelText, RoomCredentials};

/// How long each step to the worker may take: hub, worker's answer, connection, greeting.
const STEP: Duration = Duration::from_secs(30);
/// How long the goodbye may take: the connection closes within 5 s, and then the hub is left.
const GOODBYE: Duration = Duration::from_secs(8);
/// Steps that are told: there are three, and one end.
const STEPS: usize = 4;
/// News that wait to be heard; a worker that says more is read no further until they were.
const WAITING: usize = 64;

/// Where a visit goes.
#[derive(Clone)]
pub struct VisitConfig {
    /// The hub.
    pub hub: HubAccess,
    /// The worker's room.
    pub room: RoomCredentials,
    /// The worker.
    pub worker: String,
    /// How the connection is made; the hub's ICE servers are added.
    pub rtc: RtcConfig,
    /// Where it is handled.
    pub plane: DataPlane,
}

/// Why a visit came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The hub is not to be had.
    #[error(transparent)]
    Hub(#[from] SessionError),
    /// The worker is not there.
    #[error("the worker {0} is not in the room now; is it running?")]
    Absent(String),
    /// It has no words for what is asked.
    #[error("the worker {0} cannot be asked about jobs: it is not a Loaner, or an older one")]
    Foreign(String),
    /// It has no words for tunnels.
    #[error("the worker {0} takes no tunnels: it is not a Loaner, or an older one")]
    NoTunnels(String),
    /// It does not let this client in.
    #[error("the worker lets nobody in now: {0}")]
    Refused(String),
    /// It did not answer, or the connection did not come up.
    #[error("no connection to the worker came up ({0})")]
    NotConnected(&'static str),
    /// The connection broke.
    #[error("the connection to the worker was lost")]
    Lost,
    /// What was asked for cannot be done.
    #[error("{0}")]
    Denied(String),
    /// Results did not arrive.
    #[error("the results did not arrive whole: {0}")]
    NotReceived(String),
}

/// What the worker has to say.
#[derive(Debug)]
pub enum VisitNews {
    /// One of Loaner's own words.
    Said(OwnText),
    /// A file is on its way here.
    Receiving {
        /// Under which name.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// How much of it was here already.
        have: u64,
    },
    /// So much of it is here.
    Received {
        /// Bytes so far.
        bytes: u64,
    },
    /// It is here, whole, or it is not.
    Fetched(Result<PathBuf, String>),
}

/// A connection to a worker that answers questions about jobs.
pub struct Visit {
    there: There,
    channel: Channel,
    news: mpsc::Receiver<VisitNews>,
    /// Results were asked for, and did not come yet.
    wanted: Arc<AtomicBool>,
}

impl Visit {
    /// Connects, in the current actix system. Results that are [fetched](Self::fetch) go to `output_dir`; without one, none are
    /// taken.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn begin(config: VisitConfig, output_dir: Option<&Path>) -> Result<Self, VisitError> {
        let (tell, news) = mpsc::channel(WAITING);
        let wanted = Arc::new(AtomicBool::new(false));
        let landing = output_dir.map(|dir| Landing::new(dir, wanted.clone()));
        let (there, channel) = There::reach(config, Purpose::Jobs { landing, tell }).await?;
        let mut visit = Visit {
            there,
            channel,
            news,
            wanted,
        };
        match visit.greet().await {
            Ok(()) => Ok(visit),
            Err(error) => {
                visit.end().await;
                Err(error)
            }
        }
    }

    async fn greet(&mut self) -> Result<(), VisitError> {
        self.say(OwnText::Hello(VERSIONS)).await?;
        let welcome = timeout(STEP, self.hear()).await;
        match welcome.map_err(|_| VisitError::NotConnected("no greeting"))?? {
            VisitNews::Said(OwnText::Welcome { version }) if version >= SPEAKS_OF_JOBS => Ok(()),
            _ => Err(VisitError::Denied(
                "the worker speaks another version of Loaner".to_owned(),
            )),
        }
    }

    /// Says something to the worker.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say(&self, text: OwnText) -> Result<(), VisitError> {
        let text = ChannelText::Own(text).to_text();
        self.channel
            .send_text(&text)
            .await
            .map_err(|_| VisitError::Lost)
    }

    /// Asks for the results of a job: one file is taken.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn fetch(&self, job: String) -> Result<(), VisitError> {
        self.wanted.store(true, Ordering::Relaxed);
        self.say(OwnText::FetchResults { job }).await
    }

    /// The answer to a question, which the worker owes at once.
    ///
    /// # Errors
    /// As [`hear`](Self::hear), and when it does not come.
    pub async fn answer(&mut self) -> Result<VisitNews, VisitError> {
        let answer = timeout(STEP, self.hear()).await;
        answer.unwrap_or(Err(VisitError::NotConnected("the worker does not answer")))
    }

    /// The next that the worker says.
    ///
    /// # Errors
    /// When the connection is gone, or it denied what was asked.
    pub async fn hear(&mut self) -> Result<VisitNews, VisitError> {
        match self.news.recv().await {
            Some(VisitNews::Said(OwnText::Denied { message })) => Err(VisitError::Denied(message)),
            Some(news) => Ok(news),
            None => Err(VisitError::Lost),
        }
    }

    /// Says goodbye.
    pub async fn end(mut self) {
        self.there.leave().await;
    }
}

/// A connection that was made for a visit. Dropped, it is left without waiting for it.
struct There {
    addr: Addr<Visitor>,
    ended: oneshot::Receiver<()>,
}

impl Drop for There {
    fn drop(&mut self) {
        self.addr.do_send(Leave);
    }
}

impl There {
    /// Connects, until the channel is open.
    async fn reach(config: VisitConfig, purpose: Purpose) -> Result<(Self, Channel), VisitError> {
        let (ready, mut is_ready) = mpsc::channel(STEPS);
        let (end, ended) = oneshot::channel();
        let addr = Visitor::start_for(config, purpose, ready, end);
        let mut there = There { addr, ended };
        let opened = async {
            loop {
                // Every step has its time; a step that is made is told.
                match timeout(STEP, is_ready.recv()).await {
                    Ok(Some(Ready::Step)) => {}
                    Ok(Some(Ready::Channel(channel))) => return Ok(channel),
                    Ok(Some(Ready::Failed(error))) => return Err(error),
                    Ok(None) => return Err(VisitError::Lost),
                    Err(_) => return Err(VisitError::NotConnected("no answer in time")),
                }
            }
        };
        match opened.await {
            Ok(channel) => Ok((there, channel)),
            Err(error) => {
                there.leave().await;
                Err(error)
            }
        }
    }

    /// Closes it, and leaves the hub.
    async fn leave(&mut self) {
        self.addr.do_send(Leave);
        // A goodbye that nobody hears is none that anybody waits for.
        let _ = timeout(GOODBYE, &mut self.ended).await;
    }
}
