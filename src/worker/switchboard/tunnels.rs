//! Tunnels: connections of clients to other programs of this machine, as far as the policy allows. They need no reservation,
//! have nothing to do with who may use the worker, and live as long as they are used.

use std::collections::HashMap;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Worker;
use super::visits::Visits;
use crate::actors::Feed;
use crate::actors::peer::LinkId;
use crate::charts::PeerId;
use crate::charts::peer::Input as PeerInput;
use crate::rtc::Channel;
use crate::tunnel::forward::{IDLE, Reason, Reset, serve};
use crate::worker::jobs::names::shown;
use crate::worker::policy::Asker;

/// Tunnels at a time.
const MAX_TUNNELS: usize = 8;
/// Tunnels of one user at a time.
const MAX_OF_USER: usize = 4;

/// The tunnels of a worker.
pub(super) struct Tunnels {
    visits: Visits,
    /// What ends each that is served; nothing where it was told to.
    serving: HashMap<LinkId, Option<oneshot::Sender<Reset>>>,
}

impl Default for Tunnels {
    fn default() -> Self {
        let full = "there are as many tunnels as it takes, in all or of yours; end another one, or try again later";
        Tunnels {
            visits: Visits::up_to(MAX_TUNNELS, MAX_OF_USER, full),
            serving: HashMap::new(),
        }
    }
}

impl Tunnels {
    /// Whether an offer of this peer is the tunnel that it was granted.
    pub(super) fn comes(&mut self, peer: &PeerId) -> bool {
        self.visits.comes(peer)
    }

    /// It is here, by this connection.
    pub(super) fn begins(&mut self, link: LinkId, user: String) {
        self.visits.begins(link, user);
    }

    /// It is over.
    pub(super) fn leaves(&mut self, link: LinkId) {
        self.visits.leaves(link);
        self.serving.remove(&link);
    }

    /// Has a tunnel end; whether there is one on this connection, which tells when it has.
    pub(super) fn end(&mut self, link: LinkId) -> bool {
        let Some(serving) = self.serving.get_mut(&link) else {
            return false;
        };
        if let Some(ending) = serving.take() {
            let reset = Reset::new(Reason::ShutDown, "the worker is shutting down");
            // One that has just ended says so.
            let _ = ending.send(reset);
        }
        true
    }
}

/// A tunnel is over.
#[derive(Message)]
#[rtype(result = "()")]
struct TunnelOver {
    link: LinkId,
    why: Reset,
}

impl Worker {
    /// A client wants a tunnel.
    pub(super) fn tunnel(&mut self, from: PeerId) {
        let user = self.user_of(&from);
        let refused = match self.stopping {
            true => Some("the worker is shutting down"),
            false => self.tunnels.visits.grant(from.clone(), user).err(),
        };
        self.answer_visit(&from, refused);
    }

    /// A client's tunnel has its channel: one on each connection.
    pub(super) fn tunnel_channel(&mut self, id: LinkId, channel: Channel, ctx: &Context<Self>) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        if self.tunnels.serving.contains_key(&id) {
            self.plane.spawn(async move { channel.close().await });
            return;
        }
        let asker = Asker {
            room: self.room.clone(),
            user: link.user.clone(),
        };
        tracing::info!(link = %id, user = link.user, "a tunnel begins");
        let allowed = self.settings.policy.tunnels(&asker);
        let (ending, end) = oneshot::channel();
        self.tunnels.serving.insert(id, Some(ending));
        let back = ctx.address();
        self.plane.spawn(async move {
            let why = serve(channel, allowed, IDLE, end).await;
            back.do_send(TunnelOver { link: id, why });
        });
    }
}

impl Handler<TunnelOver> for Worker {
    type Result = ();

    fn handle(&mut self, over: TunnelOver, _: &mut Self::Context) {
        let reason = over.why.reason.as_str();
        let why = shown(&over.why.to_string());
        tracing::info!(link = %over.link, reason, why, "a tunnel is over");
        self.tunnels.leaves(over.link);
        if let Some(link) = self.links.get(&over.link) {
            link.addr.do_send(Feed(PeerInput::Close));
        }
    }
}
