//! What the connections of a worker say.

use super::ice::candidate_value;
use super::{Link, Purpose, Worker};
use crate::actors::Feed;
use crate::actors::peer::{LinkEvent, LinkId, LinkNews, PeerActor};
use crate::charts::PeerId;
use crate::charts::availability::Input as AvailabilityInput;
use crate::charts::job::Input as JobInput;
use crate::charts::peer::{Input as PeerInput, Lost};
use crate::charts::session::Input as SessionInput;
use crate::rtc::Channel;
use crate::tunnel::forward::{Reason, Reset};
use crate::tunnel::tube::{self, Line};
use crate::wire::ToHub;
use crate::worker::serve::{Desk, Jobs, serve};
use actix::prelude::*;

impl Handler<LinkNews> for Worker {
    type Result = ();

    fn handle(&mut self, news: LinkNews, ctx: &mut Self::Context) {
        match news.what {
            LinkEvent::Description(sdp) => self.described(news.link, sdp),
            LinkEvent::Candidate(candidate) => self.trickle(news.link, &candidate),
            LinkEvent::NoRelay(why) => {
                tracing::warn!(link = %news.link, why, "only direct paths to the client are tried")
            }
            LinkEvent::Channel(channel) => self.channel_came(news.link, channel, ctx),
            LinkEvent::Open => tracing::debug!(link = %news.link, "the client is connected"),
            // What rides on a tube has a manager, which says more.
            LinkEvent::Suspect | LinkEvent::Recovered if self.tubes.carries(news.link) => {}
            LinkEvent::Suspect => {
                tracing::warn!(link = %news.link, "the path to the client is gone for now; waiting up to 90 s")
            }
            LinkEvent::Recovered => {
                tracing::info!(link = %news.link, "the path to the client is back")
            }
            LinkEvent::Lost(_) if self.tubes.carries(news.link) => {
                tracing::info!(link = %news.link, "the connection of a tube is lost; the tube waits for another");
                self.tubes.leaves(news.link);
                // Tunnels are counted by their tubes.
                self.tunnels.leaves(news.link);
            }
            LinkEvent::Lost(why) => self.lost(news.link, why),
            LinkEvent::Closed => self.link_closed(news.link, ctx),
        }
    }
}

impl Worker {
    fn channel_came(&mut self, id: LinkId, channel: Channel, ctx: &mut Context<Self>) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let for_tube = match link.purpose {
            Purpose::Work | Purpose::Questions => channel.label() == tube::CHANNEL_LABEL,
            Purpose::Tunnel | Purpose::Resumption => true,
        };
        if for_tube {
            return self.tube_channel(id, channel, ctx);
        }
        if let Some(desk) = self.desk(id, ctx) {
            self.plane.spawn(serve(id, Line::Channel(channel), desk));
        }
    }

    /// Whom the client of a connection asks.
    pub(super) fn desk(&self, id: LinkId, ctx: &mut Context<Self>) -> Option<Desk> {
        let link = self.links.get(&id)?;
        let jobs = Jobs {
            user: link.user.clone(),
            records: self.settings.records.clone(),
            order: ctx.address().recipient(),
            fetch: ctx.address().recipient(),
        };
        Some(Desk {
            visits: link.purpose == Purpose::Questions,
            jobs,
            announced: ctx.address().recipient(),
            may_use: ctx.address().recipient(),
            paths: self.paths.clone(),
        })
    }

    /// Nothing is left of a connection. What began on it goes by its name for as long as its tube lives.
    fn link_closed(&mut self, id: LinkId, ctx: &mut Context<Self>) {
        // Not lost before, it was closed from here: for having been idle.
        if let Some(tube) = self.tubes.leaves(id) {
            self.tubes.close(&tube);
        }
        match self.links.get_mut(&id) {
            Some(link) if self.tubes.outlives(id) => {
                link.closed = true;
                self.tunnels.leaves(id);
            }
            _ => self.forget_link(id, ctx),
        }
    }

    pub(super) fn forget_link(&mut self, id: LinkId, ctx: &mut Context<Self>) {
        self.links.remove(&id);
        self.visits.leaves(id);
        self.tunnels.leaves(id);
        self.count_links();
        self.advance_stop(ctx);
    }

    /// The connection that is now there for a link, with or without a tube.
    pub(super) fn connection(&self, id: LinkId) -> Option<&Addr<PeerActor>> {
        let link = self.links.get(&self.tubes.current(id));
        link.map(|link| &link.addr)
    }

    pub(super) fn described(&self, link: LinkId, sdp: String) {
        if let Some(link) = self.links.get(&link) {
            self.send(ToHub::Answer {
                sender: self.peer_id.clone(),
                target: link.peer.to_string(),
                sdp,
            });
        }
    }

    fn trickle(&self, link: LinkId, candidate: &str) {
        if let Some(link) = self.links.get(&link) {
            self.send(ToHub::Candidate {
                sender: self.peer_id.clone(),
                target: link.peer.to_string(),
                candidate: candidate_value(candidate),
            });
        }
    }

    /// By this connection, a client wants to be the next, or goes on as the one who holds the worker; it comes back.
    pub(super) fn asks_for_a_turn(&mut self, link: LinkId) -> Option<PeerId> {
        let link = self.links.get_mut(&link)?;
        link.turn = self.turn;
        Some(link.peer.clone())
    }

    /// Whether a peer is connected in this turn, by another connection than this one, or about to be.
    pub(super) fn connects(&self, peer: &PeerId, but: Option<LinkId>) -> bool {
        let of_turn = |(id, link): (&LinkId, &Link)| {
            Some(*id) != but
                && link.peer == *peer
                && link.purpose == Purpose::Work
                && link.turn == self.turn
        };
        self.offers.contains_key(peer) || self.links.iter().any(of_turn)
    }

    /// Closes what is connected.
    pub(super) fn hang_up(&mut self) {
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            self.say_goodbye(id);
        }
    }

    /// Closes a connection, or what rides on it.
    pub(super) fn say_goodbye(&mut self, id: LinkId) {
        let why = Reset::new(Reason::ShutDown, "the worker is shutting down");
        // What rides on a tube says goodbye, and is closed after that.
        if !self.tubes.end(id, &why)
            && let Some(link) = self.links.get(&id)
        {
            link.addr.do_send(Feed(PeerInput::Close));
        }
    }

    /// A connection is lost for good (worker-connection.md, ICE Connection State Management).
    pub(super) fn lost(&mut self, id: LinkId, why: Lost) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let peer = link.peer.clone();
        tracing::info!(link = %id, %peer, ?why, "the connection is lost");
        if link.purpose != Purpose::Work {
            // It is over, though the connection takes a while to close.
            self.visits.leaves(id);
            self.tunnels.leaves(id);
            self.tubes.leaves(id);
            return;
        }
        let ours = link.turn == self.turn;
        if let Some(job) = &self.job
            && job.link == Some(id)
        {
            job.addr.do_send(Feed(JobInput::LinkLost));
        }
        if ours && !self.connects(&peer, Some(id)) {
            self.availability
                .do_send(Feed(AvailabilityInput::PeerLost { from: peer }));
        }
        if !self.stopping {
            self.session.do_send(Feed(SessionInput::Reregister));
        }
    }
}
