//! Tunnels: connections of clients to other programs of this machine, as far as the policy allows. They need no reservation,
//! have nothing to do with who may use the worker, and live as long as they are used.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::Worker;
use super::tubes::Serves;
use super::visits::Visits;
use crate::actors::peer::LinkId;
use crate::charts::PeerId;
use crate::tunnel::forward::{IDLE, Reset, serve};
use crate::tunnel::tube::Tube;
use crate::worker::jobs::names::shown;
use crate::worker::policy::Asker;

/// Tunnels at a time.
const MAX_TUNNELS: usize = 8;
/// Tunnels of one user at a time.
const MAX_OF_USER: usize = 4;
/// What is said to one more.
const FULL: &str = "there are as many tunnels as it takes, in all or of yours; end another one, or try again later";

/// Connections that are granted for a new tunnel, or have one.
pub(super) fn places() -> Visits {
    Visits::up_to(MAX_TUNNELS, MAX_OF_USER, FULL)
}

/// Whether there is room for one more tunnel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Free,
    /// If this one ends.
    InsteadOf(String),
    /// There is none.
    None,
}

/// A tunnel is over.
#[derive(Message)]
#[rtype(result = "()")]
struct TunnelOver {
    tube: String,
    why: Reset,
}

impl Worker {
    /// A client wants a tunnel.
    pub(super) fn tunnel(&mut self, from: PeerId) {
        let (user, told) = (self.user_of(&from), self.told_user(&from));
        if self.room_for_tunnel(told.as_deref()) == Room::None {
            return self.answer_visit(&from, Some(FULL));
        }
        self.visits.withdraw(&from);
        self.tubes.coming.withdraw(&from);
        let refused = self.tunnels.grant(from.clone(), user).err();
        self.answer_visit(&from, refused);
    }

    /// Whether a user may have one more tunnel. One of the user's own that has no connection makes room for it; where the hub
    /// tells no users, nobody knows whose they are.
    pub(super) fn room_for_tunnel(&self, user: Option<&str>) -> Room {
        let of_user = || self.tubes.tunnels(Some(user));
        let few = user.is_none() || of_user().count() < MAX_OF_USER;
        if self.tubes.tunnels(None).count() < MAX_TUNNELS && few {
            return Room::Free;
        }
        let waits = of_user().find(|(_, carried)| user.is_some() && !carried);
        waits.map_or(Room::None, |(tube, _)| Room::InsteadOf(tube.to_owned()))
    }

    /// Serves the tunnel on a new tube, as far as the policy allows its client.
    pub(super) fn serve_tunnel(
        &self,
        id: LinkId,
        name: &str,
        tube: Tube,
        ctx: &mut Context<Self>,
    ) -> Serves {
        let link = self.links.get(&id);
        let asker = Asker {
            room: self.room.clone(),
            user: link.map(|link| link.user.clone()).unwrap_or_default(),
        };
        let allowed = self.settings.policy.tunnels(&asker);
        let (ending, end) = oneshot::channel();
        let (back, name) = (ctx.address(), name.to_owned());
        self.plane.spawn(async move {
            let why = serve(tube, allowed, IDLE, end).await;
            back.do_send(TunnelOver { tube: name, why });
        });
        Serves::Tunnel(Some(ending))
    }
}

impl Handler<TunnelOver> for Worker {
    type Result = ();

    fn handle(&mut self, over: TunnelOver, _: &mut Self::Context) {
        let reason = over.why.reason.as_str();
        let why = shown(&over.why.to_string());
        tracing::info!(tube = over.tube, reason, why, "a tunnel is over");
        if let Some(link) = self.tubes.tunnel_over(&over.tube) {
            self.tunnels.leaves(link);
        }
    }
}
