//! The worker's end of a tube: it takes the connections that its client makes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt as _;

use crate::actors::peer::{PeerActor, Sight};
use crate::actors::tunnel::{Carrier, CarrierError, Deed, Of};
use crate::charts::tunnel::{Input, Reason};
use crate::rtc::Channel;
use crate::status::Path;
use crate::tunnel::tube::{Tube, Word};

/// A connection that has come for a tube, until its manager has taken it.
#[derive(Clone, Default)]
pub(super) struct Arrival(Rc<RefCell<Option<Came>>>);

/// A connection that has come, with its channel.
pub(super) struct Came {
    pub generation: u64,
    pub channel: Channel,
    pub link: Addr<PeerActor>,
    /// What is answered; how much is here is filled in.
    pub answer: Word,
    /// Messages that the client has.
    pub have: u64,
}

impl Arrival {
    /// It has come. One that came before and was not taken is dropped.
    pub(super) fn comes(&self, came: Came) {
        self.0.replace(Some(came));
    }

    fn take(&self, generation: u64) -> Option<Came> {
        self.0
            .borrow_mut()
            .take_if(|came| came.generation == generation)
    }
}

/// The worker's end of a tube.
#[derive(Clone)]
pub(super) struct Responder {
    tube: Tube,
    arrival: Arrival,
    reports: Recipient<Of>,
    /// Whose it is.
    user: String,
    /// Of the present connection.
    sight: Sight,
}

impl Responder {
    pub(super) fn new(tube: Tube, arrival: Arrival, reports: Recipient<Of>, user: String) -> Self {
        Responder {
            tube,
            arrival,
            reports,
            user,
            sight: Sight::default(),
        }
    }

    async fn take(self, generation: u64) -> Result<(), CarrierError> {
        let Some(came) = self.arrival.take(generation) else {
            return Err(CarrierError("another connection has come since".to_owned()));
        };
        let here = self.tube.detach().await;
        let answer = match came.answer {
            Word::Resumed { .. } => Word::Resumed { have: here },
            answer => answer,
        };
        let lost = |_| CarrierError("the connection was lost".to_owned());
        let told = came.channel.send_text(&answer.to_text()).await;
        told.map_err(lost)?;
        let carried = self.tube.carry(came.channel, generation, came.have).await;
        carried.map_err(|error| CarrierError(error.to_string()))?;
        self.sight.turn_to(&came.link);
        self.reports.do_send(Of {
            generation,
            event: Input::Up,
        });
        Ok(())
    }
}

impl Carrier for Responder {
    fn open(&mut self, generation: u64) -> Deed {
        self.clone().take(generation).boxed_local()
    }

    fn offer(&mut self, _: u64) -> Deed {
        nothing()
    }

    fn rebuild(&mut self, _: u64) -> Deed {
        nothing()
    }

    fn answer(&mut self, generation: u64, _: bool) -> Deed {
        self.clone().take(generation).boxed_local()
    }

    fn take_answer(&mut self, _: u64) -> Deed {
        nothing()
    }

    /// A client that hears nothing comes by itself, and cannot be told where the way to it is lost.
    fn ask(&mut self, _: u64, _: bool) {}

    fn ping(&mut self, generation: u64) {
        self.tube.ping(generation);
    }

    fn quiet(&self) -> (Duration, bool) {
        self.tube.quiet()
    }

    fn hold(&mut self, held: bool) {
        self.tube.hold(held);
    }

    fn path(&self) -> Option<Path> {
        self.sight.path()
    }

    fn peer(&self) -> Option<String> {
        Some(self.user.clone()).filter(|user| !user.is_empty())
    }

    fn close(&mut self, reason: Reason) {
        let tube = self.tube.clone();
        actix::spawn(async move { tube.end(reason == Reason::Normal).await });
    }
}

/// Only the client makes connections.
fn nothing() -> Deed {
    let cannot = CarrierError("only a client makes connections".to_owned());
    std::future::ready(Err(cannot)).boxed_local()
}
