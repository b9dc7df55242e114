//! A small model of who may use a worker, written from reading.md 1 to 5 alone.

use std::time::Duration;

use loaner::charts::availability::{Act, Input, Status, Timer};
use loaner::charts::{JobId, PeerId};

const LEASE: Duration = Duration::from_secs(60);

/// The worker as reading.md 1 to 5 tell of it.
#[derive(Debug)]
pub enum Model {
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
    Down,
}

impl Model {
    /// What the hub is to be told of it.
    pub fn published(&self) -> (Status, Option<JobId>) {
        match self {
            Model::Free => (Status::Available, None),
            Model::Reserved { job, .. } => (Status::Reserved, job.clone()),
            Model::Busy { job, .. } => (Status::Busy, Some(job.clone())),
            Model::Down => (Status::Busy, None),
        }
    }

    /// What the worker is to do, in any order.
    pub fn hears(&mut self, at: Duration, event: &Input) -> Vec<Act> {
        let mut acts = Vec::new();
        let reserve = |holder: &PeerId, job: Option<&JobId>| Model::Reserved {
            holder: holder.clone(),
            job: job.cloned(),
            since: at,
        };
        let next = match (&*self, event) {
            (Model::Down, _) => None,
            (_, Input::Shutdown) => {
                *self = Model::Down;
                return acts;
            }
            (Model::Free, Input::JobRequested { from, job, fits }) => {
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
            (Model::Free, Input::Offer { from }) => {
                acts.push(Act::AcceptOffer { from: from.clone() });
                Some(reserve(from, None))
            }
            (Model::Free, Input::PackageAnnounced { from }) => {
                acts.push(Act::AdmitPackage { from: from.clone() });
                Some(reserve(from, None))
            }
            (
                Model::Reserved { holder, .. } | Model::Busy { holder, .. },
                Input::Offer { from },
            ) => {
                let from = from.clone();
                let (status, _) = self.published();
                acts.push(if *holder == from {
                    Act::AcceptOffer { from }
                } else {
                    Act::RefuseOffer { to: from, status }
                });
                None
            }
            (
                Model::Reserved { holder, .. } | Model::Busy { holder, .. },
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
                Model::Reserved {
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
                    Model::Busy { holder, job }
                })
            }
            (Model::Reserved { holder, .. }, Input::JobBegun { from, job }) if holder == from => {
                Some(Model::Busy {
                    holder: holder.clone(),
                    job: job.clone(),
                })
            }
            (Model::Reserved { holder, .. }, Input::PeerLost { from }) if holder == from => {
                Some(Model::Free)
            }
            (Model::Reserved { holder, since, .. }, Input::Fired(Timer::Lease)) => {
                assert_eq!(at, *since + LEASE, "the lease");
                acts.push(Act::ReleaseHolder {
                    holder: holder.clone(),
                });
                Some(Model::Free)
            }
            (Model::Busy { job: current, .. }, Input::JobEnded { job }) if current == job => {
                Some(Model::Free)
            }
            (_, Input::Fired(Timer::Lease)) => panic!("a lease ended that nobody had"),
            _ => None,
        };
        if let Some(next) = next {
            *self = next;
            let (status, job) = self.published();
            acts.push(Act::Publish { status, job });
        }
        acts
    }
}
