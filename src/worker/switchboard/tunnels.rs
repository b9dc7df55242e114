//! Tunnels: connections of clients to other programs of this machine, as far as the policy allows. They need no reservation,
//! have nothing to do with who may use the worker, and live as long as they are used.
//!
//! A tunnel is carried by a tube: its client may go on with it over another connection, with the token that it was given.

mod responder;

use std::collections::HashMap;
use std::time::Duration;

use actix::fut::{ActorFutureExt as _, wrap_future};
use actix::prelude::*;
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::responder::{Arrival, Responder};
use super::Worker;
use super::visits::Visits;
use crate::actors::Feed;
use crate::actors::peer::LinkId;
use crate::actors::tunnel::{News, Of, Told, TunnelActor, tunnel};
use crate::charts::PeerId;
use crate::charts::peer::Input as PeerInput;
use crate::charts::tunnel::{Input, PATIENCE, Role, Settings};
use crate::rtc::Channel;
use crate::tunnel::forward::{IDLE, Reason, Reset, serve};
use crate::tunnel::manage::{report, watch};
use crate::tunnel::tube::{Tube, Word, first_word};
use crate::worker::jobs::names::shown;
use crate::worker::policy::Asker;

/// Tunnels at a time.
const MAX_TUNNELS: usize = 8;
/// Tunnels of one user at a time.
const MAX_OF_USER: usize = 4;
/// What is said to one more.
const FULL: &str = "there are as many tunnels as it takes, in all or of yours; end another one, or try again later";
/// How long a connection may take to say which tube it is for.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// The tunnels of a worker.
pub(super) struct Tunnels {
    visits: Visits,
    /// By the id of its tube.
    tubes: HashMap<String, Entry>,
    /// The tube on each connection; none yet where it did not say which.
    on: HashMap<LinkId, Option<String>>,
}

/// One tunnel.
struct Entry {
    token: String,
    /// Whose it is, if the hub tells.
    user: Option<String>,
    /// The generation of its newest connection.
    generation: u64,
    tube: Tube,
    manager: Addr<TunnelActor<Responder>>,
    arrival: Arrival,
    /// Ends it; nothing where it was told to.
    ending: Option<oneshot::Sender<Reset>>,
}

impl Default for Tunnels {
    fn default() -> Self {
        Tunnels {
            visits: Visits::up_to(MAX_TUNNELS, MAX_OF_USER, FULL),
            tubes: HashMap::new(),
            on: HashMap::new(),
        }
    }
}

impl Tunnels {
    /// Whether an offer of this peer is the tunnel that it was granted.
    pub(super) fn comes(&mut self, peer: &PeerId) -> bool {
        self.visits.comes(peer)
    }

    /// Whatever it was granted, its next offer is for something else.
    pub(super) fn withdraw(&mut self, peer: &PeerId) {
        self.visits.withdraw(peer);
    }

    /// Nobody else comes.
    pub(super) fn admit_no_more(&mut self) {
        self.visits.end();
    }

    /// It is here, by this connection.
    pub(super) fn begins(&mut self, link: LinkId, user: String) {
        self.visits.begins(link, user);
    }

    /// The connection is over; its tube waits for another.
    pub(super) fn leaves(&mut self, link: LinkId) {
        self.visits.leaves(link);
        self.on.remove(&link);
    }

    /// Has the tunnel on this connection end; whether there is one, which tells when it has.
    pub(super) fn end(&mut self, link: LinkId) -> bool {
        let tube = self.on.get(&link).cloned().flatten();
        let Some(entry) = tube.and_then(|tube| self.tubes.get_mut(&tube)) else {
            return false;
        };
        if let Some(ending) = entry.ending.take() {
            let reset = Reset::new(Reason::ShutDown, "the worker is shutting down");
            // One that has just ended says so.
            let _ = ending.send(reset);
        }
        true
    }

    /// The connections of a tube.
    fn links(&self, tube: &str) -> Vec<LinkId> {
        let of =
            |(link, on): (&LinkId, &Option<String>)| (on.as_deref() == Some(tube)).then_some(*link);
        self.on.iter().filter_map(of).collect()
    }

    /// A user's tube; where the hub tells no users, the token alone decides.
    fn find(&self, tube: &str, user: Option<&str>) -> Option<&Entry> {
        let of_user = |entry: &&Entry| entry.user.as_deref() == user;
        self.tubes.get(tube).filter(of_user)
    }

    /// Whether a user may have one more. One of the user's own that has no connection makes room for it.
    fn has_room(&self, user: Option<&str>) -> bool {
        let of_user = || {
            let theirs = self.tubes.iter();
            theirs.filter(|(_, entry)| entry.user.as_deref() == user)
        };
        let few = user.is_none() || of_user().count() < MAX_OF_USER;
        if self.tubes.len() < MAX_TUNNELS && few {
            return true;
        }
        let waits = of_user().find(|(tube, _)| self.links(tube).is_empty());
        if let Some((tube, entry)) = waits {
            tracing::info!(
                tube,
                user,
                "a tunnel whose client is away makes room for another"
            );
            entry.manager.do_send(Feed(Input::Close));
        }
        waits.is_some()
    }
}

/// A tunnel is over.
#[derive(Message)]
#[rtype(result = "()")]
struct TunnelOver {
    tube: String,
    why: Reset,
}

impl Worker {
    /// A client wants a tunnel, or another connection for one that it has.
    pub(super) fn tunnel(&mut self, from: PeerId, tube: Option<String>) {
        let (user, told) = (self.user_of(&from), self.told_user(&from));
        match tube {
            Some(tube) if self.tunnels.find(&tube, told.as_deref()).is_some() => {
                // Its connection is lost, or will be closed for the other.
                for link in self.tunnels.links(&tube) {
                    self.tunnels.visits.leaves(link);
                }
            }
            None if !self.tunnels.has_room(told.as_deref()) => {
                return self.answer_visit(&from, Some(FULL));
            }
            _ => {}
        }
        self.visits.withdraw(&from);
        let refused = self.tunnels.visits.grant(from.clone(), user).err();
        self.answer_visit(&from, refused);
    }

    /// A client's connection has its channel: one on each.
    pub(super) fn tunnel_channel(&mut self, id: LinkId, channel: Channel, ctx: &mut Context<Self>) {
        if self.tunnels.on.contains_key(&id) {
            self.plane.spawn(async move { channel.close().await });
            return;
        }
        self.tunnels.on.insert(id, None);
        let first = {
            let channel = channel.clone();
            self.plane
                .spawn(async move { timeout(FIRST_WORD, first_word(&channel)).await })
        };
        ctx.spawn(
            wrap_future::<_, Self>(first).map(move |first, worker, ctx| {
                let word = first.ok().and_then(Result::ok).flatten();
                worker.tube_comes(id, channel, word, ctx);
            }),
        );
    }

    fn tube_comes(
        &mut self,
        id: LinkId,
        channel: Channel,
        word: Option<Word>,
        ctx: &mut Context<Self>,
    ) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let user = self.told_user(&link.peer);
        let refused = match word {
            Some(Word::Begin) if self.tunnels.has_room(user.as_deref()) => {
                return self.new_tube(id, channel, user, ctx);
            }
            Some(Word::Resume {
                id: tube,
                token,
                generation,
                have,
            }) if self.is_token_of(&tube, user.as_deref(), &token) => {
                return self.resume_tube(id, channel, &tube, generation, have);
            }
            Some(Word::Begin | Word::Resume { .. }) => true,
            _ => false,
        };
        tracing::info!(link = %id, user, "no tunnel begins on this connection");
        let addr = link.addr.clone();
        ctx.spawn(wrap_future(async move {
            if refused {
                // Who is gone need not know.
                let _ = channel.send_text(&Word::Refused.to_text()).await;
            }
            addr.do_send(Feed(PeerInput::Close));
        }));
    }

    fn is_token_of(&self, tube: &str, user: Option<&str>, token: &str) -> bool {
        let entry = self.tunnels.find(tube, user);
        entry.is_some_and(|entry| entry.token.as_bytes().ct_eq(token.as_bytes()).into())
    }

    fn new_tube(
        &mut self,
        id: LinkId,
        channel: Channel,
        user: Option<String>,
        ctx: &mut Context<Self>,
    ) {
        let asker = Asker {
            room: self.room.clone(),
            user: self
                .links
                .get(&id)
                .map(|link| link.user.clone())
                .unwrap_or_default(),
        };
        let allowed = self.settings.policy.tunnels(&asker);
        let name = uuid::Uuid::new_v4().to_string();
        let token: String = rand::random::<[u8; 32]>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        tracing::info!(link = %id, user = asker.user, tube = name, "a tunnel begins");
        let (tube, signs) = Tube::new(&self.plane);
        let arrival = Arrival::default();
        let begun = Word::Begun {
            id: name.clone(),
            token: token.clone(),
        };
        arrival.comes(1, channel, begun, 0);
        let settings = Settings {
            role: Role::Responder,
            patience: PATIENCE,
        };
        let listener = ctx.address().recipient();
        let manager = tunnel(settings, &name, vec![listener], |reports| {
            self.plane.spawn(report(signs, reports.clone()));
            Responder::new(tube.clone(), arrival.clone(), reports, asker.user)
        });
        let network = self.network.subscribe();
        self.plane
            .spawn(watch(network, tube.clone(), manager.clone().recipient()));
        manager.do_send(Feed(Input::Start));
        let (ending, end) = oneshot::channel();
        let (back, served, over) = (ctx.address(), tube.clone(), name.clone());
        self.plane.spawn(async move {
            let why = serve(served, allowed, IDLE, end).await;
            back.do_send(TunnelOver { tube: over, why });
        });
        self.tunnels.on.insert(id, Some(name.clone()));
        let entry = Entry {
            token,
            user,
            generation: 1,
            tube,
            manager,
            arrival,
            ending: Some(ending),
        };
        self.tunnels.tubes.insert(name, entry);
    }

    fn resume_tube(
        &mut self,
        id: LinkId,
        channel: Channel,
        tube: &str,
        generation: u64,
        have: u64,
    ) {
        tracing::info!(link = %id, tube, generation, "a tunnel goes on over another connection");
        let olds = self.tunnels.links(tube);
        let Some(entry) = self.tunnels.tubes.get_mut(tube) else {
            return;
        };
        if generation <= entry.generation {
            // It was overtaken by another one.
            return self.close_link(id);
        }
        entry.generation = generation;
        entry
            .arrival
            .comes(generation, channel, Word::Resumed { have: 0 }, have);
        entry.manager.do_send(Of {
            generation,
            event: Input::Offered {
                generation,
                rebuild: true,
            },
        });
        self.tunnels.on.insert(id, Some(tube.to_owned()));
        for old in olds {
            self.tunnels.leaves(old);
            self.close_link(old);
        }
    }

    fn close_link(&self, id: LinkId) {
        if let Some(link) = self.links.get(&id) {
            link.addr.do_send(Feed(PeerInput::Close));
        }
    }
}

impl Handler<TunnelOver> for Worker {
    type Result = ();

    fn handle(&mut self, over: TunnelOver, _: &mut Self::Context) {
        let reason = over.why.reason.as_str();
        let why = shown(&over.why.to_string());
        tracing::info!(tube = over.tube, reason, why, "a tunnel is over");
        if let Some(entry) = self.tunnels.tubes.get(&over.tube) {
            entry.manager.do_send(Feed(Input::Close));
        }
    }
}

impl Handler<Told> for Worker {
    type Result = ();

    fn handle(&mut self, told: Told, _: &mut Self::Context) {
        let tube = told.tube;
        match told.news {
            News::State(state) => tracing::debug!(tube, %state, "a tunnel"),
            News::GivenUp(reason) => {
                tracing::info!(tube, %reason, "a tunnel is given up");
                if let Some(entry) = self.tunnels.tubes.get(&tube) {
                    entry.tube.close();
                }
            }
            News::Closed(_) => {
                for link in self.tunnels.links(&tube) {
                    self.tunnels.leaves(link);
                    self.close_link(link);
                }
                self.tunnels.tubes.remove(&tube);
            }
            News::Change(_) | News::Attempt { .. } => {}
        }
    }
}
