//! Tubes: what the jobs, questions and tunnels of Loaner clients ride on. A connection that is lost is replaced by another one,
//! which the client makes with the token that it was given; what is served goes on, and does not notice.
//!
//! What is served on a tube goes by the name of its first connection, for as long as the tube lives.

mod news;
mod responder;

use std::collections::HashMap;
use std::time::Duration;

use actix::fut::{ActorFutureExt as _, wrap_future};
use actix::prelude::*;
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::responder::{Arrival, Came, Responder};
use super::tunnels::Room;
use super::visits::Visits;
use super::{Purpose, Worker};
use crate::actors::Feed;
use crate::actors::peer::LinkId;
use crate::actors::tunnel::{Of, TunnelActor, tunnel};
use crate::charts::PeerId;
use crate::charts::peer::Input as PeerInput;
use crate::charts::tunnel::{Input, JOB_PATIENCE, PATIENCE, Role, Settings};
use crate::rtc::Channel;
use crate::tunnel::forward::Reset;
use crate::tunnel::manage::{report, watch};
use crate::tunnel::tube::{Line, Tube, Word, first_word};
use crate::worker::serve::serve;

/// Connections at a time that go on with a tube, and such of one user.
const MAX_COMING: usize = 16;
const MAX_OF_USER: usize = 8;
/// What is said to one more.
const FULL: &str = "too many clients come back just now; try again in a minute";
/// How long a connection may take to say which tube it is for.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// The tubes of a worker.
pub(super) struct Tubes {
    /// Connections that go on with one.
    pub(super) coming: Visits,
    /// By their ids.
    tubes: HashMap<String, Entry>,
    /// The tube on each connection; none yet where it did not say which.
    on: HashMap<LinkId, Option<String>>,
}

/// One tube.
struct Entry {
    token: String,
    /// Whose it is, if the hub tells.
    user: Option<String>,
    /// Its first connection, by whose name goes what is served on it.
    link: LinkId,
    /// The generation of its newest connection.
    generation: u64,
    tube: Tube,
    manager: Addr<TunnelActor<Responder>>,
    arrival: Arrival,
    serves: Serves,
    /// Its connection is lost, and did not come back yet.
    interrupted: bool,
}

/// What is served on a tube.
pub(super) enum Serves {
    /// A job, or questions about jobs.
    Jobs,
    /// A tunnel, and how to end it; nothing where it was told to.
    Tunnel(Option<oneshot::Sender<Reset>>),
    /// Nothing any more: a tunnel that is over.
    Nothing,
}

impl Default for Tubes {
    fn default() -> Self {
        Tubes {
            coming: Visits::up_to(MAX_COMING, MAX_OF_USER, FULL),
            tubes: HashMap::new(),
            on: HashMap::new(),
        }
    }
}

impl Tubes {
    /// Whether this connection carries a tube.
    pub(super) fn carries(&self, link: LinkId) -> bool {
        self.on.get(&link).is_some_and(Option::is_some)
    }

    /// The connection is over; the tube on it, if there is one, waits for another.
    pub(super) fn leaves(&mut self, link: LinkId) -> Option<String> {
        self.coming.leaves(link);
        self.on.remove(&link).flatten()
    }

    /// The connections of a tube.
    fn links(&self, tube: &str) -> Vec<LinkId> {
        let of =
            |(link, on): (&LinkId, &Option<String>)| (on.as_deref() == Some(tube)).then_some(*link);
        self.on.iter().filter_map(of).collect()
    }

    /// The tube that began on a connection, while it lives.
    fn begun_on(&self, link: LinkId) -> Option<(&String, &Entry)> {
        self.tubes.iter().find(|(_, entry)| entry.link == link)
    }

    /// Whether a tube lives that began on this connection.
    pub(super) fn outlives(&self, link: LinkId) -> bool {
        self.begun_on(link).is_some()
    }

    /// The connection that is now there for what goes by the name of another.
    pub(super) fn current(&self, link: LinkId) -> LinkId {
        let tube = self.begun_on(link);
        let newest = tube.and_then(|(tube, _)| self.links(tube).into_iter().max());
        newest.unwrap_or(link)
    }

    /// A user's tube; where the hub tells no users, the token alone decides.
    fn find(&self, tube: &str, user: Option<&str>) -> Option<&Entry> {
        let of_user = |entry: &&Entry| entry.user.as_deref() == user;
        self.tubes.get(tube).filter(of_user)
    }

    /// The tunnels, or those of this user: whether something carries them now.
    pub(super) fn tunnels<'a>(
        &'a self,
        user: Option<Option<&'a str>>,
    ) -> impl Iterator<Item = (&'a str, bool)> {
        let tunnels = self.tubes.iter().filter(move |(_, entry)| {
            matches!(entry.serves, Serves::Tunnel(_))
                && user.is_none_or(|user| entry.user.as_deref() == user)
        });
        tunnels.map(|(tube, _)| (tube.as_str(), !self.links(tube).is_empty()))
    }

    /// The tunnel on a tube is over: a goodbye is said. Returns the connection on which it began.
    pub(super) fn tunnel_over(&mut self, tube: &str) -> Option<LinkId> {
        let entry = self.tubes.get_mut(tube)?;
        entry.serves = Serves::Nothing;
        entry.manager.do_send(Feed(Input::Close));
        Some(entry.link)
    }

    /// Says goodbye on a tube.
    pub(super) fn close(&self, tube: &str) {
        if let Some(entry) = self.tubes.get(tube) {
            entry.manager.do_send(Feed(Input::Close));
        }
    }

    /// Has what is served on a connection, or began on it, end with a goodbye; whether it rides on a tube.
    pub(super) fn end(&mut self, link: LinkId, why: &Reset) -> bool {
        let tube = self.on.get(&link).cloned().flatten();
        let tube = tube.or_else(|| self.begun_on(link).map(|(tube, _)| tube.clone()));
        let Some(entry) = tube.and_then(|tube| self.tubes.get_mut(&tube)) else {
            return false;
        };
        match &mut entry.serves {
            Serves::Tunnel(ending) => {
                if let Some(ending) = ending.take() {
                    // One that has just ended says so.
                    let _ = ending.send(why.clone());
                }
            }
            Serves::Jobs | Serves::Nothing => entry.manager.do_send(Feed(Input::Close)),
        }
        true
    }
}

impl Worker {
    /// A client wants to go on with a tube, over another connection.
    pub(super) fn comes_back(&mut self, from: PeerId, tube: &str) {
        let (user, told) = (self.user_of(&from), self.told_user(&from));
        if self.tubes.find(tube, told.as_deref()).is_some() {
            // Its connection is lost, or will be closed for the other.
            for link in self.tubes.links(tube) {
                self.tubes.coming.leaves(link);
            }
        }
        self.visits.withdraw(&from);
        self.tunnels.withdraw(&from);
        let refused = self.tubes.coming.grant(from.clone(), user).err();
        self.answer_visit(&from, refused);
    }

    /// A client's connection has a channel for a tube: one on each.
    pub(super) fn tube_channel(&mut self, id: LinkId, channel: Channel, ctx: &mut Context<Self>) {
        if self.tubes.on.contains_key(&id) {
            self.plane.spawn(async move { channel.close().await });
            return;
        }
        self.tubes.on.insert(id, None);
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
        let (purpose, user) = (link.purpose, link.told.clone());
        let refused = match word {
            Some(Word::Begin) if self.may_begin(purpose, user.as_deref()) => {
                return self.new_tube(id, channel, user, ctx);
            }
            Some(Word::Resume {
                id: tube,
                token,
                generation,
                have,
            }) if purpose == Purpose::Resumption
                && self.is_token_of(&tube, user.as_deref(), &token) =>
            {
                return self.resume_tube(id, channel, &tube, generation, have);
            }
            Some(Word::Begin | Word::Resume { .. }) => true,
            _ => false,
        };
        tracing::info!(link = %id, user, "no tube begins on this connection");
        let addr = link.addr.clone();
        ctx.spawn(wrap_future(async move {
            if refused {
                // Who is gone need not know.
                let _ = channel.send_text(&Word::Refused.to_text()).await;
            }
            addr.do_send(Feed(PeerInput::Close));
        }));
    }

    fn may_begin(&self, purpose: Purpose, user: Option<&str>) -> bool {
        match purpose {
            Purpose::Work | Purpose::Questions => true,
            Purpose::Tunnel => match self.room_for_tunnel(user) {
                Room::Free => true,
                Room::InsteadOf(tube) => {
                    tracing::info!(
                        tube,
                        user,
                        "a tunnel whose client is away makes room for another"
                    );
                    self.tubes.close(&tube);
                    true
                }
                Room::None => false,
            },
            Purpose::Resumption => false,
        }
    }

    fn is_token_of(&self, tube: &str, user: Option<&str>, token: &str) -> bool {
        let entry = self.tubes.find(tube, user);
        entry.is_some_and(|entry| entry.token.as_bytes().ct_eq(token.as_bytes()).into())
    }

    fn new_tube(
        &mut self,
        id: LinkId,
        channel: Channel,
        user: Option<String>,
        ctx: &mut Context<Self>,
    ) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let name = uuid::Uuid::new_v4().to_string();
        let token: String = rand::random::<[u8; 32]>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        tracing::info!(link = %id, user = link.user, tube = name, "a tube begins");
        let (purpose, whose) = (link.purpose, link.user.clone());
        let (tube, signs) = Tube::new(&self.plane);
        let arrival = Arrival::default();
        let begun = Word::Begun {
            id: name.clone(),
            token: token.clone(),
        };
        arrival.comes(Came {
            generation: 1,
            channel,
            link: link.addr.clone(),
            answer: begun,
            have: 0,
        });
        let settings = Settings {
            role: Role::Responder,
            patience: match purpose {
                Purpose::Tunnel => PATIENCE,
                _ => JOB_PATIENCE,
            },
        };
        let listener = ctx.address().recipient();
        let supervisor = Some(ctx.address().recipient());
        let manager = tunnel(settings, &name, vec![listener], supervisor, |reports| {
            self.plane.spawn(report(signs, reports.clone()));
            Responder::new(tube.clone(), arrival.clone(), reports, whose)
        });
        let network = self.network.subscribe();
        self.plane
            .spawn(watch(network, tube.clone(), manager.clone().recipient()));
        manager.do_send(Feed(Input::Start));
        let serves = match purpose {
            Purpose::Tunnel => self.serve_tunnel(id, &name, tube.clone(), ctx),
            _ => {
                if let Some(desk) = self.desk(id, ctx) {
                    self.plane.spawn(serve(id, Line::Tube(tube.clone()), desk));
                }
                Serves::Jobs
            }
        };
        self.tubes.on.insert(id, Some(name.clone()));
        let entry = Entry {
            token,
            user,
            link: id,
            generation: 1,
            tube,
            manager,
            arrival,
            serves,
            interrupted: false,
        };
        self.tubes.tubes.insert(name, entry);
    }

    fn resume_tube(
        &mut self,
        id: LinkId,
        channel: Channel,
        tube: &str,
        generation: u64,
        have: u64,
    ) {
        tracing::info!(link = %id, tube, generation, "a tube goes on over another connection");
        let olds = self.tubes.links(tube);
        let link = self.links.get(&id).map(|link| link.addr.clone());
        let (Some(entry), Some(link)) = (self.tubes.tubes.get_mut(tube), link) else {
            return;
        };
        if generation <= entry.generation {
            // It was overtaken by another one.
            return self.close_link(id);
        }
        entry.generation = generation;
        entry.arrival.comes(Came {
            generation,
            channel,
            link,
            answer: Word::Resumed { have: 0 },
            have,
        });
        entry.manager.do_send(Of {
            generation,
            event: Input::Offered {
                generation,
                rebuild: true,
            },
        });
        self.tubes.on.insert(id, Some(tube.to_owned()));
        // It is here, and makes room for others that come back.
        self.tubes.coming.leaves(id);
        for old in olds {
            self.tubes.leaves(old);
            self.close_link(old);
        }
    }

    fn close_link(&self, id: LinkId) {
        if let Some(link) = self.links.get(&id) {
            link.addr.do_send(Feed(PeerInput::Close));
        }
    }
}
