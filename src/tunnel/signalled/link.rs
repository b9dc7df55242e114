//! One connection of a tube, and what it tells.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::Signalled;
use super::negotiate::LABEL;
use crate::actors::tunnel::CarrierError;
use crate::charts::tunnel::Input;
use crate::rtc::{Channel, Connection, IceState, RtcEvent};
use crate::tunnel::signal::SignalKind;

/// A connection. It ends with this.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// The generation that it was made for, and the one that it was restarted for last.
    made: u64,
    latest: Rc<Cell<u64>>,
    telling: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.telling.abort();
    }
}

impl Link {
    /// Closes it, and waits for that.
    pub(super) async fn close(self) {
        self.telling.abort();
        self.connection.close().await;
    }
}

impl Signalled {
    /// Has this connection and no other from now on. Returns where the other side's channel will be.
    pub(super) fn has(
        &self,
        generation: u64,
        connection: &Connection,
        events: mpsc::Receiver<RtcEvent>,
    ) -> watch::Receiver<Option<Channel>> {
        let latest = Rc::new(Cell::new(generation));
        let (found, channel) = watch::channel(None);
        let telling = self.clone().tell(events, latest.clone(), found);
        let link = Link {
            connection: connection.clone(),
            made: generation,
            latest,
            telling: actix::spawn(telling),
        };
        let old = self.inner.present.borrow_mut().link.replace(link);
        drop(old);
        self.early(generation, connection);
        channel
    }

    /// Has no connection.
    pub(super) fn lets_go(&self) {
        let old = self.inner.present.borrow_mut().link.take();
        drop(old);
    }

    /// The present connection is restarted for this generation.
    pub(super) fn becomes(&self, generation: u64) {
        if let Some(link) = &self.inner.present.borrow().link {
            link.latest.set(generation);
        }
    }

    /// The present connection, if it is of this generation.
    pub(super) fn present(&self, generation: u64) -> Result<Connection, CarrierError> {
        let present = self.inner.present.borrow();
        let of = |link: &&Link| link.latest.get() == generation;
        let link = present.link.as_ref().filter(of);
        let connection = link.map(|link| link.connection.clone());
        connection.ok_or_else(|| CarrierError("that connection is gone".to_owned()))
    }

    /// Whether the present connection was made for this generation.
    pub(super) fn is_being_made(&self, generation: u64) -> bool {
        let present = self.inner.present.borrow();
        present
            .link
            .as_ref()
            .is_some_and(|link| link.made == generation)
    }

    /// The generation of the connection that was made for this one.
    pub(super) fn latest(&self, made: u64) -> u64 {
        let present = self.inner.present.borrow();
        let link = present.link.as_ref().filter(|link| link.made == made);
        link.map_or(made, |link| link.latest.get())
    }

    /// Takes a candidate to its connection, or keeps it for one that may come.
    pub(super) fn candidate(&self, generation: u64, line: String) {
        let mut present = self.inner.present.borrow_mut();
        let latest = present.link.as_ref().map(|link| link.latest.get());
        if let Some(link) = &present.link
            && latest == Some(generation)
        {
            let connection = link.connection.clone();
            let plane = &self.inner.parts.plane;
            plane.spawn(async move { add(&connection, &line).await });
            return;
        }
        if latest.is_some_and(|latest| generation < latest) {
            return;
        }
        let early = &mut present.early;
        if early.generation < generation {
            early.generation = generation;
            early.candidates.clear();
        }
        if early.generation == generation && early.candidates.len() < super::MAX_EARLY {
            early.candidates.push(line);
        }
    }

    /// Gives a connection the candidates that came before it.
    pub(super) fn early(&self, generation: u64, connection: &Connection) {
        let early = {
            let mut present = self.inner.present.borrow_mut();
            if present.early.generation != generation {
                return;
            }
            std::mem::take(&mut present.early.candidates)
        };
        let connection = connection.clone();
        self.inner.parts.plane.spawn(async move {
            for line in early {
                add(&connection, &line).await;
            }
        });
    }

    /// Tells what a connection tells, until it ends.
    async fn tell(
        self,
        mut events: mpsc::Receiver<RtcEvent>,
        latest: Rc<Cell<u64>>,
        found: watch::Sender<Option<Channel>>,
    ) {
        while let Some(event) = events.recv().await {
            let told = match event {
                RtcEvent::Ice(IceState::Connected | IceState::Completed) => Input::IceConnected,
                RtcEvent::Ice(IceState::Disconnected) => Input::IceDisconnected,
                RtcEvent::Ice(IceState::Failed) => Input::IceFailed,
                RtcEvent::Ice(_) => continue,
                RtcEvent::Channel(channel) => {
                    // One carries the tube; any other goes as it came.
                    if channel.label() == LABEL && found.borrow().is_none() {
                        found.send_replace(Some(channel));
                    }
                    continue;
                }
                RtcEvent::Candidate(line) => {
                    self.signal(SignalKind::IceCandidate, latest.get(), line);
                    continue;
                }
                RtcEvent::Ended => Input::Gone,
            };
            self.report(latest.get(), told);
        }
    }
}

async fn add(connection: &Connection, line: &str) {
    if let Err(error) = connection.add_candidate(line, None, Some(0)).await {
        tracing::debug!(%error, "a candidate cannot be used");
    }
}
