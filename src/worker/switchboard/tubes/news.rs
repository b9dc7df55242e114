//! What the managers of a worker's tubes say.

use actix::prelude::*;

use super::super::Worker;
use super::Serves;
use crate::actors::Feed;
use crate::actors::tunnel::{News, Told};
use crate::charts::peer::Lost;
use crate::charts::tunnel::{Input, Public, Reason};

impl Worker {
    /// A tube is over, and with it what was served on it.
    fn tube_over(&mut self, tube: &str, reason: Reason, ctx: &mut Context<Self>) {
        for link in self.tubes.links(tube) {
            self.tubes.leaves(link);
            self.close_link(link);
        }
        let Some(entry) = self.tubes.tubes.remove(tube) else {
            return;
        };
        match entry.serves {
            Serves::Jobs => {
                let why = match reason {
                    Reason::Normal => Lost::ClosedByPeer,
                    _ => Lost::PathLost,
                };
                self.lost(entry.link, why);
            }
            Serves::Tunnel(_) | Serves::Nothing => self.tunnels.leaves(entry.link),
        }
        if self.links.get(&entry.link).is_some_and(|link| link.closed) {
            self.forget_link(entry.link, ctx);
        }
    }
}

impl Handler<Told> for Worker {
    type Result = ();

    fn handle(&mut self, told: Told, ctx: &mut Self::Context) {
        let tube = told.tube;
        let entry = self.tubes.tubes.get_mut(&tube);
        match told.news {
            News::State(state) => {
                let Some(entry) = entry else {
                    return;
                };
                match state {
                    Public::Reconnecting => {
                        entry.interrupted = true;
                        tracing::warn!(link = %entry.link, tube, "the path to the client is gone for now");
                    }
                    Public::Connected if std::mem::take(&mut entry.interrupted) => {
                        tracing::info!(link = %entry.link, tube, "the path to the client is back");
                    }
                    state => tracing::debug!(tube, %state, "a tube"),
                }
            }
            News::GivenUp(reason) => {
                tracing::info!(tube, %reason, "a tube is given up");
                if let Some(entry) = entry {
                    entry.tube.close();
                    entry.manager.do_send(Feed(Input::Close));
                }
            }
            News::Closed(reason) => self.tube_over(&tube, reason, ctx),
            News::Change(_) | News::Attempt { .. } => {}
        }
    }
}
