//! What the connections of a worker say.

use super::ice::candidate_value;
use super::{Link, Purpose, Worker};
use crate::actors::Feed;
use crate::actors::peer::{LinkEvent, LinkId, LinkNews};
use crate::charts::PeerId;
use crate::charts::availability::Input as AvailabilityInput;
use crate::charts::job::Input as JobInput;
use crate::charts::peer::{Input as PeerInput, Lost};
use crate::charts::session::Input as SessionInput;
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
            LinkEvent::Channel(channel) => {
                let Some(link) = self.links.get(&news.link) else {
                    return;
                };
                if link.purpose == Purpose::Tunnel {
                    return self.tunnel_channel(news.link, channel, ctx);
                }
                let jobs = Jobs {
                    user: link.user.clone(),
                    records: self.settings.records.clone(),
                    order: ctx.address().recipient(),
                    fetch: ctx.address().recipient(),
                };
                let desk = Desk {
                    visits: link.purpose == Purpose::Questions,
                    jobs,
                    announced: ctx.address().recipient(),
                    may_use: ctx.address().recipient(),
                    paths: self.paths.clone(),
                };
                self.plane.spawn(serve(news.link, channel, desk));
            }
            LinkEvent::Open => tracing::debug!(link = %news.link, "the client is connected"),
            LinkEvent::Suspect => {
                tracing::warn!(link = %news.link, "the path to the client is gone for now; waiting up to 90 s")
            }
            LinkEvent::Recovered => {
                tracing::info!(link = %news.link, "the path to the client is back")
            }
            LinkEvent::Lost(why) => self.lost(news.link, why),
            LinkEvent::Closed => {
                self.links.remove(&news.link);
                self.visits.leaves(news.link);
                self.tunnels.leaves(news.link);
                self.count_links();
                self.advance_stop(ctx);
            }
        }
    }
}

impl Worker {
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
        for (id, link) in &self.links {
            // A tunnel says goodbye, and is closed after that.
            if !self.tunnels.end(*id) {
                link.addr.do_send(Feed(PeerInput::Close));
            }
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
