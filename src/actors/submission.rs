//! The actor of `submission`: it hands the chart's wishes to the client.

use actix::prelude::*;

use super::chart_actor::{ChartActor, Perform};
use crate::charts::submission::{Act, Submission};

/// What the client is asked to do.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Wanted(pub Act);

/// Performs the effects of `submission`.
pub struct SubmissionPerformer {
    /// The client.
    pub client: Recipient<Wanted>,
}

/// The actor of `submission`.
pub type SubmissionActor = ChartActor<SubmissionPerformer>;

impl Perform for SubmissionPerformer {
    type Chart = Submission;

    const ANNOUNCED: bool = true;

    fn perform(&mut self, act: Act, _: &mut Context<ChartActor<Self>>) {
        self.client.do_send(Wanted(act));
    }
}
