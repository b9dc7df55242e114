//! A connection to a worker, by the hub and with the worker's leave: it carries a tube.

mod visitor;

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use self::visitor::takes_tubes;
use self::visitor::{Leave, Ready, Visitor};
use super::visit::{VisitConfig, VisitError};
use crate::actors::peer::PeerActor;
use crate::rtc::Channel;

/// How long each step to the worker may take: hub, worker's answer, connection.
const STEP: Duration = Duration::from_secs(30);
/// How long the goodbye may take: the connection closes within 5 s, and then the hub is left.
const GOODBYE: Duration = Duration::from_secs(8);
/// Steps that are told: there are three, and one end.
const STEPS: usize = 4;

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Errand {
    /// Questions about jobs.
    Questions,
    /// A new tunnel.
    Tunnel,
    /// To go on with the tube of this id.
    Resumption(String),
}

/// A connection to a worker. Dropped, it is left without waiting for it.
pub(super) struct Passage {
    addr: Addr<Visitor>,
    /// The connection, once it is there.
    link: Option<Addr<PeerActor>>,
    ended: oneshot::Receiver<()>,
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.addr.do_send(Leave);
    }
}

impl Passage {
    /// Connects, in the current actix system, until the channel is open.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn begin(config: VisitConfig, errand: Errand) -> Result<(Self, Channel), VisitError> {
        let (ready, mut is_ready) = mpsc::channel(STEPS);
        let (end, ended) = oneshot::channel();
        let addr = Visitor::start_for(config, errand, ready, end);
        let mut passage = Passage {
            addr,
            link: None,
            ended,
        };
        let opened = async {
            loop {
                // Every step has its time; a step that is made is told.
                match timeout(STEP, is_ready.recv()).await {
                    Ok(Some(Ready::Step)) => {}
                    Ok(Some(Ready::Channel(channel, link))) => return Ok((channel, link)),
                    Ok(Some(Ready::Failed(error))) => return Err(error),
                    Ok(None) => return Err(VisitError::Lost),
                    Err(_) => return Err(VisitError::NotConnected("no answer in time")),
                }
            }
        };
        match opened.await {
            Ok((channel, link)) => {
                passage.link = Some(link);
                Ok((passage, channel))
            }
            Err(error) => {
                passage.end().await;
                Err(error)
            }
        }
    }

    /// The connection.
    pub fn link(&self) -> Option<&Addr<PeerActor>> {
        self.link.as_ref()
    }

    /// Closes it, and leaves the hub.
    pub async fn end(mut self) {
        self.addr.do_send(Leave);
        // A goodbye that nobody hears is none that anybody waits for.
        let _ = timeout(GOODBYE, &mut self.ended).await;
    }
}
