//! The actor of `session`: HTTP and WebSocket to the hub (sign-in, room, registration, goodbye).

mod access;
mod doubt;
mod error;
mod http;
mod sign_in;
pub(crate) mod socket;
mod told;

use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::mpsc;

pub use self::access::{CaError, HubAccess, Trust};
pub(crate) use self::doubt::doubt;
pub use self::error::SessionError;
pub use self::http::{HubUrl, HubUrlError};
pub use self::sign_in::sign_in;
pub(crate) use self::sign_in::sign_in_as;
use self::socket::{Outgoing, SocketEvent};
use super::chart_actor::{ChartActor, Feed, Left, Perform};
use crate::charts::Chart as _;
use crate::charts::session::{Act, Input, Session};
use crate::status::Facts;
use crate::wire::{FromHub, Register, RegisteredAuth, RoomCredentials, SignIn, ToHub};

/// An identity token lives for an hour at least; older than this, it is renewed at the next reconnect.
const TOKEN_FRESH: Duration = Duration::from_secs(50 * 60);
/// Frames that may wait for the socket. More than this means that the hub does not read.
const OUTBOX: usize = 256;

/// What the session has to say.
#[derive(Message)]
#[rtype(result = "()")]
pub enum SessionNews {
    /// Registered; again after a reconnect, or when asked to.
    Registered(Box<RegisteredAuth>),
    /// A frame for whoever uses the session.
    Frame(Box<FromHub>),
    /// The hub is out of reach; the session is trying again.
    Down,
    /// It ended as asked.
    Closed,
    /// It never began.
    Failed(SessionError),
}

/// A frame for the hub. Without a registration it is logged and dropped (worker-state.md, Status update failure).
#[derive(Message)]
#[rtype(result = "()")]
pub struct Send(pub ToHub);

/// What the registration says of this peer; the identity and the room are filled in by the session. The peer goes by the
/// name of its user, or by `peer_id` where there is one and the hub tells users from peers.
pub type Describe = Box<dyn Fn() -> Register>;

/// Performs the effects of `session`.
pub struct SessionPerformer {
    hub: HubAccess,
    owner: Recipient<SessionNews>,
    describe: Describe,
    http: awc::Client,
    identity: Option<SignIn>,
    signed_in: Instant,
    room: Option<RoomCredentials>,
    peer_id: Option<String>,
    outbox: Option<mpsc::Sender<Outgoing>>,
    /// The number of the current socket: what an older one still says is not heard.
    socket: u64,
    registrations: u64,
    /// How often it was down since it was up.
    downs: u32,
    error: Option<SessionError>,
}

/// The actor of `session`.
pub type SessionActor = ChartActor<SessionPerformer>;

/// Starts a session. With `room`, it joins that one; without, it makes its own.
pub fn session(
    hub: HubAccess,
    room: Option<RoomCredentials>,
    describe: Describe,
    owner: Recipient<SessionNews>,
    instance: &str,
    supervisor: Option<Recipient<super::Died>>,
) -> Addr<SessionActor> {
    let chart = Session::new(room.is_none());
    let performer = SessionPerformer {
        http: hub.client(Some(http::REQUEST)),
        hub,
        owner,
        describe,
        identity: None,
        signed_in: Instant::now(),
        room,
        peer_id: None,
        outbox: None,
        socket: 0,
        registrations: 0,
        downs: 0,
        error: None,
    };
    let addr = super::start(chart, performer, instance, supervisor);
    addr.do_send(Feed(Input::Start));
    addr
}

/// What a socket says.
#[derive(Message)]
#[rtype(result = "()")]
struct SocketNews {
    socket: u64,
    what: SocketEvent,
}

/// The result of an HTTP step.
#[derive(Message)]
#[rtype(result = "()")]
enum Answer {
    SignedIn(Result<SignIn, SessionError>),
    Room(Result<RoomCredentials, SessionError>),
}

impl SessionPerformer {
    fn stale(&self) -> bool {
        self.signed_in.elapsed() > TOKEN_FRESH
    }

    fn sign_in(&self, ctx: &mut Context<SessionActor>) {
        let (http, hub, back) = (self.http.clone(), self.hub.clone(), ctx.address());
        actix_rt::spawn(async move {
            back.do_send(Answer::SignedIn(sign_in(&http, &hub).await));
        });
    }

    fn create_room(&self, ctx: &mut Context<SessionActor>) {
        let token = self
            .identity
            .as_ref()
            .map(|identity| identity.id_token.clone())
            .unwrap_or_default();
        let (http, url) = (self.http.clone(), self.hub.url.clone());
        // A room that a former life of this peer could not say goodbye to is in nobody's way any more.
        let former = self.identity.as_ref().filter(|_| self.hub.former_life());
        let former = former.map(|identity| identity.username.clone());
        let back = ctx.address();
        actix_rt::spawn(async move {
            if let Some(peer) = former
                && let Err(error) =
                    http::delete_peer(http.clone(), url.clone(), token.clone(), peer).await
            {
                tracing::debug!(%error, "nothing is left of a former life");
            }
            back.do_send(Answer::Room(http::create_room(http, url, token).await));
        });
    }

    fn open_socket(&mut self, ctx: &mut Context<SessionActor>) {
        self.socket += 1;
        let (outbox, messages) = mpsc::channel(OUTBOX);
        self.outbox = Some(outbox);
        let (socket, back) = (self.socket, ctx.address());
        let request = self.hub.client(None).ws(self.hub.url.socket());
        actix_rt::spawn(socket::run(request, messages, async move |what| {
            back.do_send(SocketNews { socket, what });
        }));
    }

    fn register(&mut self) {
        let (Some(identity), Some(room)) = (&self.identity, &self.room) else {
            return;
        };
        let mut register = (self.describe)();
        register.peer_id = match &self.peer_id {
            Some(known) => known.clone(),
            // Hubs of old forget a peer by the name of its user.
            None if register.peer_id.is_empty() || identity.refresh_token.is_none() => {
                identity.username.clone()
            }
            None => register.peer_id,
        };
        register.room_id = room.room_id.clone();
        register.token = room.token.clone();
        register.id_token = identity.id_token.clone();
        self.send(&ToHub::Register(register));
    }

    fn send(&mut self, frame: &ToHub) {
        let sent = self
            .outbox
            .as_ref()
            .map(|outbox| outbox.try_send(Outgoing::Text(frame.to_text())));
        match sent {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "a frame for the hub was not sent"),
            None => {
                tracing::error!("a frame for the hub was not sent: there is no connection to it")
            }
        }
    }

    fn say_goodbye(&mut self, ctx: &mut Context<SessionActor>) {
        // The socket closes first, so that the hub finds nobody in the way of the deletion.
        let outbox = self.outbox.take();
        let forget = match (&self.identity, &self.peer_id) {
            (Some(identity), peer_id) => {
                let peer_id = peer_id.clone().unwrap_or_else(|| identity.username.clone());
                Some(http::delete_peer(
                    self.http.clone(),
                    self.hub.url.clone(),
                    identity.id_token.clone(),
                    peer_id,
                ))
            }
            (None, _) => None,
        };
        let back = ctx.address();
        actix_rt::spawn(async move {
            if let Some(outbox) = outbox {
                socket::hang_up(outbox).await;
            }
            if let Some(forget) = forget
                && let Err(error) = forget.await
            {
                tracing::error!(%error, "the hub was not told that this peer leaves; it forgets it by itself");
            }
            back.do_send(Feed(Input::CleanedUp));
        });
    }
}

impl Perform for SessionPerformer {
    type Chart = Session;

    const ANNOUNCED: bool = true;

    fn perform(&mut self, act: Act, ctx: &mut Context<ChartActor<Self>>) {
        match act {
            Act::SignIn => self.sign_in(ctx),
            Act::CreateRoom => self.create_room(ctx),
            Act::OpenSocket => self.open_socket(ctx),
            Act::SendRegister => self.register(),
            Act::ReportUp => (self.error, self.downs) = (None, 0),
            Act::ReportDown => {
                self.downs = self.downs.saturating_add(1);
                self.owner.do_send(SessionNews::Down);
            }
            Act::DropSocket => {
                self.socket += 1;
                self.outbox = None;
            }
            Act::SayGoodbye => self.say_goodbye(ctx),
            Act::ReportClosed => self.owner.do_send(SessionNews::Closed),
            Act::ReportFailed => {
                let error = self
                    .error
                    .take()
                    .unwrap_or_else(|| SessionError::Timeout(self.hub.url.to_string()));
                self.owner.do_send(SessionNews::Failed(error));
            }
        }
    }

    fn tell_of(&self, chart: &Session, _: &Left<'_, Session>, facts: Facts) -> Option<Facts> {
        Some(self.add_to(chart, facts))
    }
}

impl Handler<Answer> for SessionActor {
    type Result = ();

    fn handle(&mut self, answer: Answer, ctx: &mut Self::Context) {
        let jitter = rand::random();
        let performer = self.performer();
        let event = match answer {
            Answer::SignedIn(Ok(identity)) => {
                performer.identity = Some(identity);
                performer.signed_in = Instant::now();
                Input::SignedIn
            }
            Answer::SignedIn(Err(error)) => {
                performer.failed(error);
                Input::SignInFailed { jitter }
            }
            Answer::Room(Ok(room)) => {
                performer.room = Some(room);
                Input::RoomCreated
            }
            Answer::Room(Err(error)) => {
                performer.failed(error);
                Input::RoomFailed { jitter }
            }
        };
        self.feed(&event, ctx);
    }
}

impl SessionPerformer {
    fn failed(&mut self, error: SessionError) {
        if self.registrations == 0 {
            // The session ends with it, and whoever began it says so.
            tracing::debug!(%error, "the hub");
        } else {
            tracing::error!(%error, "the hub");
        }
        self.error = Some(error);
    }
}

impl Handler<SocketNews> for SessionActor {
    type Result = ();

    fn handle(&mut self, news: SocketNews, ctx: &mut Self::Context) {
        if news.socket != self.performer().socket {
            return;
        }
        match news.what {
            SocketEvent::Open => self.feed(&Input::SocketOpen, ctx),
            SocketEvent::Refused(status) => {
                self.lost(format!("it answered with HTTP status {status}"), ctx);
            }
            SocketEvent::Lost(detail) => self.lost(detail, ctx),
            SocketEvent::Text(text) => match FromHub::parse(&text) {
                Ok(frame) => self.hear(frame, ctx),
                Err(error) => tracing::warn!(%error, "a frame of the hub was not understood"),
            },
        }
    }
}

impl SessionActor {
    fn lost(&mut self, detail: String, ctx: &mut Context<Self>) {
        tracing::info!(detail, "the connection to the hub is lost");
        let performer = self.performer();
        performer.outbox = None;
        let hub = performer.hub.url.to_string();
        performer.error = Some(SessionError::Unreachable { hub, detail });
        let event = Input::SocketLost {
            jitter: rand::random(),
            stale: performer.stale(),
        };
        self.feed(&event, ctx);
    }

    fn hear(&mut self, frame: FromHub, ctx: &mut Context<Self>) {
        match frame {
            FromHub::RegisteredAuth(registered) => {
                let performer = self.performer();
                if let (Some(room), Some(token)) = (&mut performer.room, &registered.token) {
                    room.token.clone_from(token);
                }
                performer.peer_id = Some(registered.peer_id.clone());
                performer.registrations += 1;
                if performer.registrations > 1 {
                    tracing::info!(peer_id = %registered.peer_id, "Worker re-registered with signaling server");
                }
                performer
                    .owner
                    .do_send(SessionNews::Registered(Box::new(registered)));
                self.feed(&Input::Registered, ctx);
            }
            // Errors of a registration have a reason and no code; every other has a code, and concerns the user of the session.
            FromHub::Error(error)
                if error.code.is_none() && error.target.is_none() && !error.is_worker_busy() =>
            {
                let performer = self.performer();
                performer.failed(SessionError::Refused(error.to_string()));
                let why = error::why(&error);
                self.feed(
                    &Input::Refused {
                        why,
                        jitter: rand::random(),
                    },
                    ctx,
                );
            }
            other => self
                .performer()
                .owner
                .do_send(SessionNews::Frame(Box::new(other))),
        }
    }
}

impl Handler<Send> for SessionActor {
    type Result = ();

    fn handle(&mut self, frame: Send, _: &mut Self::Context) {
        if self.chart().state() == "registered" {
            self.performer().send(&frame.0);
        } else {
            tracing::error!(
                state = self.chart().state(),
                "a frame for the hub was not sent: not registered"
            );
        }
    }
}
