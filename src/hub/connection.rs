//! The actor of one socket: `hub_connection` decides, this acts.
//!
//! Messages come to it as a stream, not through its mailbox; the mailbox is for what others have to say of the
//! connection: that it was replaced, or that the hub stops.

mod guest;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use serde_json::json;

use super::access;
use super::auth::TokenError;
use super::connections::Meter;
use super::core::Core;
use super::device::{DeviceSpeech, Verdict};
use super::engine::ConnId;
use super::frames::Frame;
use super::limits::Bucket;
use super::line::{FromPeer, Line, Pause};
use super::outbox::Outbox;
use super::prometheus::Limit;
use super::state;
use super::table::Now;
use crate::actors::{ChartActor, Feed, Perform};
use crate::charts::hub_connection::{Act, Dialect, HubConnection, Input};
use crate::wire::close::CloseCode;
use crate::wire::device::FromHub;

pub(super) use guest::Guest;

/// What a frame counts for beside its bytes, against [`super::HubLimits::socket_bytes_per_second`].
const FRAME_COST: usize = 1024;

/// The actor of one socket.
type ConnectionActor = ChartActor<Connection>;

/// How a connection's messages are understood.
pub(super) enum Speech {
    /// The signalling dialect.
    Signalling,
    /// The device dialect.
    Device(Box<DeviceSpeech>),
    /// Not at all: it was let in to be told why it may not come in.
    TurnedAway(CloseCode),
}

impl Speech {
    fn dialect(&self) -> Dialect {
        match self {
            Speech::Signalling => Dialect::Signalling,
            Speech::Device(_) | Speech::TurnedAway(_) => Dialect::Device,
        }
    }
}

/// Performs the effects of `hub_connection`.
pub(super) struct Connection {
    core: Arc<Core>,
    conn: ConnId,
    speech: Speech,
    pace: Bucket,
    outbox: Outbox,
    meter: Arc<Meter>,
    /// Until when nothing is read.
    pause: Pause,
    /// The line, until the actor runs.
    line: Option<Line>,
    /// The line, as a part of the actor.
    reading: Option<SpawnHandle>,
    opened: Instant,
    heard: Instant,
    /// The chart waits for a sign of life.
    suspect: bool,
    seated: bool,
    /// Our close frame has left.
    flushed: bool,
    /// The peer's close frame has come, or nothing that it sends can be read.
    peer_done: bool,
    detached: bool,
    /// Why the hub closed it.
    why: Option<CloseCode>,
}

/// What came of a message.
enum Then {
    Nothing,
    Tell(Input),
    /// A registration whose token needs keys that have to be fetched.
    Identify(Frame, String),
    /// A new token for a device.
    Refresh(String),
}

impl Connection {
    /// Takes the connection out of routing and rooms, once.
    fn detach(&mut self, resumable: bool) {
        if std::mem::replace(&mut self.detached, true) {
            return;
        }
        match &self.speech {
            Speech::Signalling => self.core.table().leave(self.conn, Now::read()),
            Speech::Device(speech) => {
                let key = &speech.settled.key;
                self.core.engine.detach(key, self.conn, resumable);
            }
            Speech::TurnedAway(_) => {}
        }
    }

    /// The messages that are pings to those who cannot see the protocol's own.
    fn ping_in_words(&self) {
        match &self.speech {
            Speech::Signalling if self.core.config.json_ping => {
                self.outbox
                    .text(json!({"type": "ping"}).to_string().as_bytes());
            }
            Speech::Device(speech) if speech.settled.json_ping => {
                speech.sink.say(&FromHub::Ping);
            }
            _ => {}
        }
    }

    fn look(&self, ctx: &mut Context<ConnectionActor>) {
        self.ping_in_words();
        let ago = self.heard.elapsed();
        ctx.notify(Feed(Input::Heard { ago }));
    }

    /// Counts a frame against the pace of the connection; one that is ahead of it is not read for a while.
    fn charge(&mut self, bytes: usize, now: Instant) {
        let wait = self.pace.take((bytes + FRAME_COST) as f64, now);
        if !wait.is_zero() {
            self.core.metrics.refused(Limit::ByteRate);
            self.pause.set(Some(now + wait));
        }
    }

    /// Handles a message.
    fn message(&mut self, text: bool, bytes: &[u8]) -> Then {
        self.meter.count(bytes.len());
        self.core.metrics.received();
        let now = Now::read();
        self.charge(bytes.len(), now.at);
        match &mut self.speech {
            Speech::TurnedAway(_) => Then::Nothing,
            Speech::Signalling => {
                let frame = Frame::parse(bytes);
                let Some(token) = frame.id_token() else {
                    return self.frame(frame, None, now);
                };
                match self.core.verifier.verify(token) {
                    Ok(identity) => self.frame(frame, Some(&identity.user), now),
                    Err(TokenError::KeysUnavailable) => {
                        let token = token.to_owned();
                        Then::Identify(frame, token)
                    }
                    Err(_) => self.frame(frame, None, now),
                }
            }
            Speech::Device(speech) => match speech.message(text, bytes, now.at) {
                Verdict::Done => Then::Nothing,
                Verdict::Rubbish => Then::Tell(Input::Rubbish),
                Verdict::TooFast => {
                    self.core.metrics.refused(Limit::MessageRate);
                    Then::Tell(Input::TooFast)
                }
                Verdict::Refused => {
                    self.core.metrics.refused(Limit::Mailbox);
                    Then::Nothing
                }
                Verdict::Refresh(token) => Then::Refresh(token),
                Verdict::State => {
                    let table = self.core.table();
                    if let Some(entry) = table.connections.get(self.conn) {
                        let node = &self.core.config.node;
                        let known = state::connection(node, self.conn, entry, now);
                        speech.sink.say(&FromHub::State(known));
                    }
                    Then::Nothing
                }
            },
        }
    }

    /// Gives a frame of the signalling dialect to the table.
    fn frame(&mut self, frame: Frame, user: Option<&str>, now: Now) -> Then {
        let (sense, seated) = {
            let mut table = self.core.table();
            let sense = table.frame(self.conn, frame, user, now);
            (sense, table.seat(self.conn).is_some())
        };
        let came_in = seated && !self.seated;
        self.seated = seated;
        if came_in {
            Then::Tell(Input::Admitted { token: None })
        } else if sense {
            Then::Nothing
        } else {
            Then::Tell(Input::Rubbish)
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The one place where a connection leaves the table, whatever ended it, a panic included.
        if std::thread::panicking() {
            self.core.metrics.panicked();
            tracing::error!(
                conn = self.conn,
                "a defect ended this connection; the others go on"
            );
        }
        self.detach(true);
        self.core.gone(self.conn);
    }
}

impl Perform for Connection {
    type Chart = HubConnection;

    fn started(&mut self, ctx: &mut Context<ConnectionActor>) {
        if let Some(line) = self.line.take() {
            self.reading = Some(ctx.add_stream(line));
        }
        match &self.speech {
            Speech::Signalling => {}
            Speech::TurnedAway(code) => ctx.notify(Feed(Input::End(*code))),
            Speech::Device(speech) => ctx.notify(Feed(Input::Admitted {
                token: Some(speech.settled.token),
            })),
        }
    }

    fn perform(&mut self, act: Act, ctx: &mut Context<ConnectionActor>) {
        match act {
            Act::Look => self.look(ctx),
            Act::Ping => {
                self.suspect = true;
                self.outbox.ping();
            }
            Act::WarnOfExpiry => {
                if let Speech::Device(speech) = &self.speech {
                    speech.warn_of_expiry();
                }
            }
            Act::SendClose(code) => {
                self.why = Some(code);
                self.core.metrics.closed(code);
                if let Some(limit) = Limit::of_close(code) {
                    self.core.metrics.refused(limit);
                }
                if let (Speech::Device(speech), CloseCode::GoingAway) = (&self.speech, code) {
                    speech.say_going_away();
                }
                self.outbox.close(code);
            }
            Act::Detach { resumable } => self.detach(resumable),
            Act::HangUp => {
                if let Some(line) = self.reading.take() {
                    ctx.cancel_future(line);
                }
                access::end(&self.core, self.conn, self.why, &self.meter, self.opened);
                self.core.park(self.conn);
            }
            // What a session leaves behind is the engine's, which forgets it by itself.
            Act::Forget => {}
        }
    }
}

impl StreamHandler<FromPeer> for ConnectionActor {
    fn handle(&mut self, heard: FromPeer, ctx: &mut Context<Self>) {
        let performer = self.performer();
        if !matches!(
            heard,
            FromPeer::Flushed | FromPeer::Overflow | FromPeer::Lost
        ) {
            performer.heard = Instant::now();
            if std::mem::take(&mut performer.suspect) {
                self.feed(
                    &Input::Heard {
                        ago: Duration::ZERO,
                    },
                    ctx,
                );
            }
        }
        let performer = self.performer();
        let then = match heard {
            FromPeer::Text(_) | FromPeer::Binary(_) if performer.detached => Then::Nothing,
            FromPeer::Text(bytes) => performer.message(true, &bytes),
            FromPeer::Binary(bytes) => performer.message(false, &bytes),
            FromPeer::Alive => {
                // Answered, and so not for nothing.
                let now = performer.heard;
                performer.charge(0, now);
                Then::Nothing
            }
            FromPeer::Close => {
                performer.peer_done = true;
                Then::Tell(Input::PeerClosed)
            }
            FromPeer::Fault(code) => {
                // Past a message that is too large the peer can still say goodbye.
                performer.peer_done = code != CloseCode::MessageTooLarge;
                Then::Tell(Input::End(code))
            }
            FromPeer::Overflow => Then::Tell(Input::Overflow),
            FromPeer::Flushed => {
                performer.flushed = true;
                Then::Nothing
            }
            FromPeer::Lost => Then::Tell(Input::Lost),
        };
        self.then(then, ctx);
        let performer = self.performer();
        if performer.flushed && performer.peer_done {
            self.feed(&Input::Flushed, ctx);
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // `Lost` has said so already, and the chart decides what follows.
    }
}

impl ConnectionActor {
    fn then(&mut self, then: Then, ctx: &mut Context<Self>) {
        match then {
            Then::Nothing => {}
            Then::Tell(input) => self.feed(&input, ctx),
            Then::Identify(frame, token) => {
                let core = Arc::clone(&self.performer().core);
                let fetching = async move { core.verifier.verify_fetching(&token).await };
                // Frames are handled one after the other, so the next one waits.
                ctx.wait(fetching.into_actor(self).map(|identity, actor, ctx| {
                    let performer = actor.performer();
                    if !performer.detached {
                        let user = identity.ok().map(|identity| identity.user);
                        let then = performer.frame(frame, user.as_deref(), Now::read());
                        actor.then(then, ctx);
                    }
                }));
            }
            Then::Refresh(token) => {
                let core = Arc::clone(&self.performer().core);
                let checking = async move { core.verifier.verify_fetching(&token).await };
                ctx.wait(checking.into_actor(self).map(|identity, actor, ctx| {
                    let Speech::Device(speech) = &actor.performer().speech else {
                        return;
                    };
                    match speech.refreshed(identity) {
                        Some(token) => actor.feed(&Input::Refreshed { token }, ctx),
                        None => actor.feed(&Input::Rubbish, ctx),
                    }
                }));
            }
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
