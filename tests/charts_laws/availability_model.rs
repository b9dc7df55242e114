//! A small model of who may use a worker, written from reading.md 1 to 5 alone, and from what a drain is to its
//! owner: nobody else is taken, whoever is there is served, and then the worker leaves.

use std::time::Duration;

use loaner::charts::availability::{Act, Input, Status, Timer};
use loaner::charts::{JobId, PeerId};

const LEASE: Duration = Duration::from_secs(60);
const LINGER: Duration = Duration::from_secs(30);

/// The worker as reading.md 1 to 5 tell of it.
#[derive(Debug)]
pub enum Who {
    Free,
    Reserved {
        holder: PeerId,
        job: Option<JobId>,
        since: Duration,
    },
    Busy {
        holder: PeerId,
        job: JobId,
    },
    /// Done with its last holder; somebody may still be connected. Since when, or since it last hung up.
    Leaving {
        since: Duration,
    },
    Down,
}

impl Who {
    fn shown(&self) -> (Status, Option<JobId>) {
        match self {
            Who::Free => (Status::Available, None),
            Who::Reserved { job, .. } => (Status::Reserved, job.clone()),
            Who::Busy { job, .. } => (Status::Busy, Some(job.clone())),
            Who::Leaving { .. } | Who::Down => (Status::Busy, None),
        }
    }
}

/// A worker that its owner may tell to take nobody else.
#[derive(Debug)]
pub struct Model {
    pub who: Who,
    pub draining: bool,
}

impl Model {
    pub fn new() -> Self {
        let (who, draining) = (Who::Free, false);
        Model { who, draining }
    }

    /// What the hub is to be told of it.
    pub fn published(&self) -> (Status, Option<JobId>) {
        self.who.shown()
    }

    /// What the worker is to do, in any order.
    pub fn hears(&mut self, at: Duration, event: &Input) -> Vec<Act> {
        let mut acts = Vec::new();
        let reserve = |holder: &PeerId, job: Option<&JobId>| Who::Reserved {
            holder: holder.clone(),
            job: job.cloned(),
            since: at,
        };
        let next = match (&self.who, event) {
            (Who::Down, _) => None,
            (_, Input::Shutdown) => {
                self.draining = true;
                self.who = Who::Down;
                return acts;
            }
            (Who::Leaving { .. }, Input::ConnectionsGone) => {
                self.who = Who::Down;
                return vec![Act::Leave];
            }
            (Who::Leaving { since }, Input::Fired(Timer::HangUp)) => {
                assert_eq!(at, *since + LINGER, "the time to read");
                self.who = Who::Leaving { since: at };
                return vec![Act::HangUp];
            }
            (Who::Leaving { .. }, Input::Offer { from }) => {
                let (to, status) = (from.clone(), Status::Busy);
                return vec![Act::RefuseOffer { to, status }];
            }
            (Who::Leaving { .. }, Input::PackageAnnounced { from }) => {
                return vec![Act::RefusePackage { from: from.clone() }];
            }
            (Who::Free, Input::Drain) => {
                self.draining = true;
                Some(Who::Free)
            }
            (_, Input::Drain) if !self.draining => {
                self.draining = true;
                let (status, job) = self.published();
                acts.push(Act::Publish {
                    status,
                    job,
                    draining: true,
                });
                return acts;
            }
            (Who::Free, Input::JobRequested { from, job, fits }) => {
                let (to, job) = (from.clone(), job.clone());
                if *fits {
                    let next = reserve(&to, Some(&job));
                    acts.push(Act::AcceptJob { to, job });
                    Some(next)
                } else {
                    acts.push(Act::RejectJob {
                        to,
                        job,
                        reason: "incompatible",
                    });
                    None
                }
            }
            (_, Input::JobRequested { from, job, .. }) => {
                let (to, job) = (from.clone(), job.clone());
                acts.push(Act::RejectJob {
                    to,
                    job,
                    reason: "busy",
                });
                None
            }
            (Who::Free, Input::Offer { from }) => {
                acts.push(Act::AcceptOffer { from: from.clone() });
                Some(reserve(from, None))
            }
            (Who::Free, Input::PackageAnnounced { from }) => {
                acts.push(Act::AdmitPackage { from: from.clone() });
                Some(reserve(from, None))
            }
            (Who::Reserved { holder, .. } | Who::Busy { holder, .. }, Input::Offer { from }) => {
                let from = from.clone();
                // Nothing becomes free of a worker that drains.
                let (status, _) = self.published();
                let status = if self.draining { Status::Busy } else { status };
                acts.push(if *holder == from {
                    Act::AcceptOffer { from }
                } else {
                    Act::RefuseOffer { to: from, status }
                });
                None
            }
            (
                Who::Reserved { holder, .. } | Who::Busy { holder, .. },
                Input::PackageAnnounced { from },
            ) => {
                let from = from.clone();
                acts.push(if *holder == from {
                    Act::AdmitPackage { from }
                } else {
                    Act::RefusePackage { from }
                });
                None
            }
            (
                Who::Reserved {
                    holder,
                    job: pending,
                    ..
                },
                Input::JobAssigned { from, job },
            ) => {
                let counts = holder == from && (pending.is_none() || pending.as_ref() == Some(job));
                counts.then(|| {
                    let (holder, job) = (holder.clone(), job.clone());
                    acts.push(Act::ExpectJob {
                        from: holder.clone(),
                        job: job.clone(),
                    });
                    Who::Busy { holder, job }
                })
            }
            (Who::Reserved { holder, .. }, Input::JobBegun { from, job }) if holder == from => {
                Some(Who::Busy {
                    holder: holder.clone(),
                    job: job.clone(),
                })
            }
            (Who::Reserved { holder, .. }, Input::PeerLost { from }) if holder == from => {
                Some(Who::Free)
            }
            (Who::Reserved { holder, since, .. }, Input::Fired(Timer::Lease)) => {
                assert_eq!(at, *since + LEASE, "the lease");
                acts.push(Act::ReleaseHolder {
                    holder: holder.clone(),
                });
                Some(Who::Free)
            }
            (Who::Busy { job: current, .. }, Input::JobEnded { job }) if current == job => {
                Some(Who::Free)
            }
            (_, Input::Fired(Timer::Lease)) => panic!("a lease ended that nobody had"),
            (_, Input::Fired(Timer::HangUp)) => panic!("nobody was to hang up"),
            _ => None,
        };
        match next {
            None => {}
            Some(next) => {
                // Who drains is never free again.
                let last = matches!(next, Who::Free) && self.draining;
                self.who = if last {
                    Who::Leaving { since: at }
                } else {
                    next
                };
                let ((status, job), draining) = (self.published(), self.draining);
                acts.push(Act::Publish {
                    status,
                    job,
                    draining,
                });
                acts.extend(last.then_some(Act::Drained));
            }
        }
        acts
    }
}
