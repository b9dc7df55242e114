//! The actor of `availability`: it publishes the status, and hands the rest to the worker.

use actix::prelude::*;
use tokio::sync::watch;

use super::chart_actor::{ChartActor, Left, Perform};
use crate::charts::JobId;
use crate::charts::availability::{Act, Availability, Status};
use crate::status::Facts;

/// The status as others may read it. Only the actor writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The status.
    pub status: Status,
    /// The pending or current job.
    pub job: Option<JobId>,
    /// Whether it is the last one.
    pub draining: bool,
}

impl Published {
    /// What a worker shows before anybody came.
    pub fn free() -> Self {
        Published {
            status: Status::Available,
            job: None,
            draining: false,
        }
    }
}

/// What the worker is asked to do.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Asked(pub Act);

/// Performs the effects of `availability`.
pub struct AvailabilityPerformer {
    /// The worker.
    pub worker: Recipient<Asked>,
    /// Where the status is to be read.
    pub published: watch::Sender<Published>,
}

/// The actor of `availability`.
pub type AvailabilityActor = ChartActor<AvailabilityPerformer>;

impl Perform for AvailabilityPerformer {
    type Chart = Availability;

    const ANNOUNCED: bool = true;

    fn perform(&mut self, act: Act, _: &mut Context<ChartActor<Self>>) {
        if let Act::Publish {
            status,
            job,
            draining,
        } = &act
        {
            self.published.send_replace(Published {
                status: *status,
                job: job.clone(),
                draining: *draining,
            });
        }
        self.worker.do_send(Asked(act));
    }

    fn tell_of(
        &self,
        _: &Availability,
        _: &Left<'_, Availability>,
        mut facts: Facts,
    ) -> Option<Facts> {
        if let Some(job) = &self.published.borrow().job {
            facts.details.insert("job".to_owned(), job.to_string());
        }
        Some(facts)
    }
}
