//! The actor of `ice_watchdog`: it looks at a connection's ICE state and tells the connection's actor what to do.

use actix::prelude::*;

use super::chart_actor::{ChartActor, Feed, Left, Perform};
use crate::charts::ice_watchdog::{Act, IceWatchdog, Input};
use crate::rtc::IceState;
use crate::status::Facts;

/// What the watchdog says of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Verdict {
    /// The path is gone for now.
    Suspect,
    /// The path is back.
    Recovered,
    /// The connection is to be reset.
    Reset,
}

/// Performs the effects of `ice_watchdog`.
pub struct WatchdogPerformer {
    /// Reads the connection's ICE state.
    pub look: Box<dyn Fn() -> IceState>,
    /// Who acts on the verdicts.
    pub peer: Recipient<Verdict>,
}

/// The actor of `ice_watchdog`.
pub type WatchdogActor = ChartActor<WatchdogPerformer>;

/// What an ICE state means to the watchdog; `None` while a connection is still coming up.
pub fn event_of(state: IceState) -> Option<Input> {
    match state {
        IceState::New | IceState::Checking => None,
        IceState::Connected | IceState::Completed => Some(Input::Connected),
        IceState::Disconnected => Some(Input::Disconnected),
        IceState::Failed => Some(Input::Failed),
        IceState::Closed => Some(Input::Closed),
    }
}

impl Perform for WatchdogPerformer {
    type Chart = IceWatchdog;

    const ANNOUNCED: bool = true;

    fn perform(&mut self, act: Act, ctx: &mut Context<ChartActor<Self>>) {
        match act {
            Act::LookAtIce => {
                if let Some(event) = event_of((self.look)()) {
                    ctx.notify(Feed(event));
                }
            }
            Act::ReportSuspect => self.peer.do_send(Verdict::Suspect),
            Act::ReportRecovered => self.peer.do_send(Verdict::Recovered),
            Act::ResetConnection => self.peer.do_send(Verdict::Reset),
        }
    }

    /// A healthy connection speaks for itself.
    fn tell_of(
        &self,
        chart: &IceWatchdog,
        _: &Left<'_, IceWatchdog>,
        facts: Facts,
    ) -> Option<Facts> {
        chart.is_suspicious().then_some(facts)
    }
}
