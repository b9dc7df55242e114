//! A visit at a worker: a connection to ask about jobs. It needs no reservation, and can be made while the worker is busy.

mod reader;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::reader::{Files, Landing, Reader};
use super::passage::Errand;
use super::way::Way;
use crate::actors::session::{HubAccess, SessionError};
use crate::actors::tunnel::News;
use crate::charts::tunnel::{JOB_PATIENCE, Public};
use crate::rtc::{DataPlane, RtcConfig};
use crate::tunnel::network::NetworkWatcher;
use crate::tunnel::tube::Line;
use crate::wire::own::{OwnText, SPEAKS_OF_JOBS, VERSIONS};
use crate::wire::{ChannelText, RoomCredentials};

/// How long an answer of the worker may take, while the way to it is there.
const ANSWER: Duration = Duration::from_secs(30);
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
    #[error("the worker does not let this client in: {0}")]
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
    /// The connection is lost, and is being replaced; what the worker says waits.
    Interrupted,
    /// There is another one.
    Back,
}

/// A way to a worker that answers questions about jobs. It outlives its connections.
pub struct Visit {
    way: Way,
    /// It is lost, and did not come back yet.
    away: bool,
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
        let network = NetworkWatcher::new(config.plane.clone());
        let plane = config.plane.clone();
        let mut way = Way::new(config, Errand::Questions, JOB_PATIENCE, &network);
        if let Err(error) = way.connected().await {
            way.end().await;
            return Err(error);
        }
        let files = Files::new(tell.clone()).start();
        let reader = Reader::new(Line::Tube(way.tube().clone()), tell.clone(), files, landing);
        plane.spawn(reader.read());
        let mut visit = Visit {
            way,
            away: false,
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
        match self.answer().await? {
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
        let sent = self.way.tube().send_text(&text).await;
        sent.map_err(|_| VisitError::Lost)
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
        loop {
            let heard = match self.away {
                // It comes when the way is back, or the way is given up.
                true => self.hear().await?,
                false => {
                    let late = || VisitError::NotConnected("the worker does not answer");
                    let heard = timeout(ANSWER, self.hear()).await;
                    heard.map_err(|_| late())??
                }
            };
            match heard {
                VisitNews::Interrupted | VisitNews::Back => {}
                news => return Ok(news),
            }
        }
    }

    /// The next that the worker says, or that happens to the way to it.
    ///
    /// # Errors
    /// When the connection is gone for good, or the worker denied what was asked.
    pub async fn hear(&mut self) -> Result<VisitNews, VisitError> {
        loop {
            let way = tokio::select! {
                biased;
                news = self.news.recv() => return match news {
                    Some(VisitNews::Said(OwnText::Denied { message })) => Err(VisitError::Denied(message)),
                    Some(news) => Ok(news),
                    None => Err(self.way.why().unwrap_or(VisitError::Lost)),
                },
                way = self.way.news() => way,
            };
            match way {
                Some(News::State(Public::Reconnecting)) => {
                    self.away = true;
                    return Ok(VisitNews::Interrupted);
                }
                Some(News::State(Public::Connected)) if std::mem::take(&mut self.away) => {
                    return Ok(VisitNews::Back);
                }
                // What has come may still be heard.
                None => return self.last().await,
                Some(_) => {}
            }
        }
    }

    async fn last(&mut self) -> Result<VisitNews, VisitError> {
        match self.news.recv().await {
            Some(news) => Ok(news),
            None => Err(self.way.why().unwrap_or(VisitError::Lost)),
        }
    }

    /// Says goodbye.
    pub async fn end(mut self) {
        self.way.end().await;
    }
}
