//! A worker that drains: it takes no new job, and ends by its ordinary way when the one that it has is over.

use std::rc::Rc;

use actix::prelude::*;

use super::{Drain, Worker};
use crate::actors::Feed;
use crate::actors::availability::Published;
use crate::charts::JobId;
use crate::charts::availability::Input as AvailabilityInput;
use crate::rtc::DataPlane;
use crate::wire::{JobChange, PeerMessage};
use crate::worker::Notice;
use crate::worker::jobs::scratch::ScratchRoot;
use crate::worker::running::{Teller, Told};

/// What others on this machine are told.
pub(super) struct State {
    told: Told,
    teller: Teller,
    /// Not removed before nothing is told any more.
    _scratch: Rc<ScratchRoot>,
}

impl State {
    /// Tells others on this machine, in the worker's directory, of a worker at this hub.
    pub(super) fn begin(hub: String, scratch: Rc<ScratchRoot>, plane: DataPlane) -> Self {
        let told = Told {
            hub,
            ..Told::default()
        };
        let mut state = State {
            told,
            teller: Teller::new(scratch.path(), plane),
            _scratch: scratch,
        };
        state.publish(&Published::free());
        state
    }

    fn publish(&mut self, published: &Published) {
        self.told = Told {
            hub: std::mem::take(&mut self.told.hub),
            status: published.status.as_str().to_owned(),
            job: published.job.as_ref().map(JobId::to_string),
            draining: published.draining,
            ..Told::default()
        };
        self.teller.tell(self.told.clone());
    }

    /// A job says something. How far it is counts for who waits for it.
    pub(super) fn hear(&mut self, message: &PeerMessage) {
        if let PeerMessage::JobStatus(status) = message
            && self.told.draining
        {
            self.told.progress = Some(status.progress);
            self.told.message.clone_from(&status.message);
            self.teller.tell(self.told.clone());
        }
    }
}

impl Handler<Drain> for Worker {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.availability.do_send(Feed(AvailabilityInput::Drain));
    }
}

impl Worker {
    /// Others on this machine are told what counts now.
    pub(super) fn tell_here(&mut self, published: &Published) {
        self.drain.publish(published);
    }

    /// Nobody holds the worker any more. The last client may still be reading: it is left to hang up, as after any job.
    pub(super) fn drained(&mut self) {
        self.mail_unreserved(JobChange::Released);
        self.notice(Notice::Drained);
        self.visits.end();
        self.tunnels.end();
        self.count_links();
    }

    /// Says when there is no connection.
    pub(super) fn count_links(&self) {
        if self.links.is_empty() {
            let gone = AvailabilityInput::ConnectionsGone;
            self.availability.do_send(Feed(gone));
        }
    }

    /// The worker ends by its ordinary way: nobody is left to wait for.
    pub(super) fn leave(&mut self, ctx: &mut Context<Self>) {
        self.stopping = true;
        self.advance_stop(ctx);
    }
}
