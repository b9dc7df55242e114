//! The tube that a job rides on, where the worker is a Loaner.

use actix::prelude::*;

use super::{Client, Link};
use crate::actors::Feed;
use crate::actors::tunnel::{News, Told};
use crate::charts::peer::Input as PeerInput;
use crate::charts::tunnel::{JOB_PATIENCE, Public};
use crate::client::Progress;
use crate::client::visit::VisitConfig;
use crate::client::way::{Begin, First, Managed};
use crate::rtc::Channel;
use crate::tunnel::tube::Line;

impl Client {
    /// A channel to a Loaner is open: a tube begins on it, and what is said and sent goes over that.
    pub(super) fn begin_tube(&mut self, channel: Channel, ctx: &mut Context<Self>) {
        let Some(link) = &mut self.link else {
            return;
        };
        let begin = Begin {
            name: link.id.to_string(),
            config: VisitConfig {
                hub: self.hub.clone(),
                room: self.room.clone(),
                worker: self
                    .worker
                    .as_ref()
                    .map(|worker| worker.peer_id.clone())
                    .unwrap_or_default(),
                rtc: self.rtc.clone(),
                plane: self.plane.clone(),
            },
            first: First::Open(channel, link.addr.clone()),
            patience: JOB_PATIENCE,
            listener: ctx.address().recipient(),
            supervisor: Some(ctx.address().recipient()),
        };
        let way = Managed::begin(begin, &self.network);
        let line = Line::Tube(way.tube.clone());
        link.way = Some(way);
        self.listen(line, ctx);
    }
}

impl Handler<Told> for Client {
    type Result = ();

    fn handle(&mut self, told: Told, _: &mut Self::Context) {
        let Some(link) = &mut self.link else {
            return;
        };
        let Some(way) = link
            .way
            .as_ref()
            .filter(|_| link.id.to_string() == told.tube)
        else {
            return;
        };
        let was_away = link.away;
        if let News::State(state) = told.news {
            link.away = state == Public::Reconnecting;
        }
        match told.news {
            News::State(Public::Connected) if !link.open => self.connected(),
            News::State(Public::Connected) if was_away => self.ui.progress(Progress::Recovered),
            News::State(Public::Reconnecting) => self.ui.progress(Progress::Suspect),
            News::GivenUp(reason) => {
                tracing::info!(%reason, "the connection to the worker is given up");
                if let Some(error) = way.why() {
                    self.detail.get_or_insert(error.to_string());
                }
                way.give_up();
                let never_opened = !link.open;
                self.lost(never_opened);
            }
            News::Closed(_) => {
                let never_opened = !link.open;
                self.lost(never_opened);
            }
            _ => {}
        }
    }
}

impl Link {
    /// Closes it, or what rides on it, and waits for that.
    pub(super) async fn end(self) {
        match self.way {
            Some(mut way) => way.end().await,
            None => self.addr.do_send(Feed(PeerInput::Close)),
        }
    }
}
