//! The ways from state to state, which several of them have in common.

use statig::prelude::*;

use super::{Act, Input, Out, Rules, State, Status};
use crate::charts::machine::any;
use crate::charts::{JobId, PeerId};

/// Nobody comes after whom the worker has; for the rest it is as before.
pub(super) fn draining(out: &mut Out, event: &Input) -> Outcome<State> {
    match event {
        Input::Drain => out.ignore("it drains already"),
        any![
            JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
            Shutdown, Fired
        ] => Super,
    }
}

impl Rules {
    pub(super) fn reserve(
        &self,
        out: &mut Out,
        holder: &PeerId,
        job: Option<&JobId>,
    ) -> Outcome<State> {
        let status = Status::Reserved;
        self.publish(out, status, job);
        Transition(State::reserved(holder.clone(), status, job.cloned()))
    }

    pub(super) fn engage(&self, out: &mut Out, holder: &PeerId, job: &JobId) -> Outcome<State> {
        let status = Status::Busy;
        self.publish(out, status, Some(job));
        let (holder, job) = (holder.clone(), job.clone());
        Transition(if self.draining {
            State::draining_busy(holder, status, job)
        } else {
            State::busy(holder, status, job)
        })
    }

    pub(super) fn free(&mut self, out: &mut Out) -> Outcome<State> {
        if self.draining {
            return self.leave(out);
        }
        self.publish(out, Status::Available, None);
        Transition(State::available())
    }

    pub(super) fn drain(&mut self, out: &mut Out, status: Status, job: Option<&JobId>) {
        self.draining = true;
        self.publish(out, status, job);
    }

    pub(super) fn leave(&mut self, out: &mut Out) -> Outcome<State> {
        self.draining = true;
        out.act(Act::Leave);
        Transition(State::shutting_down())
    }

    pub(super) fn publish(&self, out: &mut Out, status: Status, job: Option<&JobId>) {
        out.act(Act::Publish {
            status,
            job: job.cloned(),
            draining: self.draining,
        });
    }

    /// What others are told: that a reservation may end tells nobody to come back here.
    pub(super) fn told(&self, status: Status) -> Status {
        if self.draining { Status::Busy } else { status }
    }
}
