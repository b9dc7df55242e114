//! The ways from state to state, which several of them have in common.

use statig::prelude::*;

use super::{Act, Input, Out, State, Status, Timer};
use crate::charts::machine::any;
use crate::charts::{JobId, PeerId};

/// What comes after a lease.
pub(super) enum Then<'a> {
    /// The work that it was for.
    Work(&'a JobId),
    /// Nothing.
    Nothing,
}

/// What comes after the lease, if this event ends it.
pub(super) fn lease_ends<'a>(
    out: &mut Out,
    event: &'a Input,
    holder: &PeerId,
    pending: Option<&JobId>,
) -> Option<Then<'a>> {
    match event {
        Input::JobAssigned { from, job }
            if from == holder && pending.is_none_or(|pending| pending == job) =>
        {
            out.act(Act::ExpectJob {
                from: from.clone(),
                job: job.clone(),
            });
            Some(Then::Work(job))
        }
        Input::JobBegun { from, job } if from == holder => Some(Then::Work(job)),
        Input::PeerLost { from } if from == holder => Some(Then::Nothing),
        Input::Fired(Timer::Lease) => {
            out.act(Act::ReleaseHolder {
                holder: holder.clone(),
            });
            Some(Then::Nothing)
        }
        any![
            JobRequested, JobAssigned, Offer, PackageAnnounced, JobBegun, JobEnded, PeerLost,
            ConnectionsGone, Drain, Shutdown, Fired
        ] => None,
    }
}

/// Tells who comes that it is not their turn. `shown` says whether to come back here.
pub(super) fn refuse(out: &mut Out, event: &Input, shown: Status) -> Outcome<State> {
    match event {
        Input::JobRequested { from, job, .. } => out.act(Act::RejectJob {
            to: from.clone(),
            job: job.clone(),
            reason: "busy",
        }),
        Input::Offer { from } => out.act(Act::RefuseOffer {
            to: from.clone(),
            status: shown,
        }),
        Input::PackageAnnounced { from } => out.act(Act::RefusePackage { from: from.clone() }),
        any![
            JobAssigned, JobBegun, JobEnded, PeerLost, ConnectionsGone, Drain, Shutdown, Fired
        ] => return out.undecided(),
    }
    Handled
}

pub(super) fn reserve(out: &mut Out, holder: &PeerId, job: Option<&JobId>) -> Outcome<State> {
    publish(out, Status::Reserved, job, false);
    Transition(State::reserved(holder.clone(), job.cloned()))
}

pub(super) fn free(out: &mut Out) -> Outcome<State> {
    publish(out, Status::Available, None, false);
    Transition(State::available())
}

/// A worker that leaves is not free: it is to be chosen by nobody.
pub(super) fn leave(out: &mut Out) -> Outcome<State> {
    publish(out, Status::Busy, None, true);
    out.act(Act::Drained);
    Transition(State::leaving())
}

pub(super) fn publish(out: &mut Out, status: Status, job: Option<&JobId>, draining: bool) {
    out.act(Act::Publish {
        status,
        job: job.cloned(),
        draining,
    });
}
