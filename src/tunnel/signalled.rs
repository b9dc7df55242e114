//! A tube's connections, negotiated over a program's own signalling: the carrier of the registry's managers.
//!
//! A generation has one offer and one answer. The channel that an offer brings says in its first word which tube it is for, so
//! the tube goes on over any connection of whoever knows its token, which only ever went over a connection itself.

mod link;
mod negotiate;
mod restart;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};

use self::link::Link;
use super::signal::SignalKind;
use super::tube::{Sign, Tube};
use crate::actors::tunnel::{Carrier, Deed, Of};
use crate::charts::tunnel::{Input, Reason, Role};
use crate::rtc::{DataPlane, RtcConfig};

/// Candidates that wait for their description.
const MAX_EARLY: usize = 64;
/// What a request for a restart says that would help.
const RESTART: &str = "ice_restart";
/// The same where an ICE restart would not.
const NEW: &str = "new_connection";

/// What a carrier has to say, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// To the other side.
    Signal {
        /// What it is.
        kind: SignalKind,
        /// Of which generation.
        generation: u64,
        /// SDP, a candidate, or a wish.
        data: String,
    },
    /// An ICE restart has begun.
    Restart,
    /// A ping and its answer took so long.
    RoundTrip(Duration),
    /// Everything is released.
    Gone,
}

/// With what a carrier is made.
pub struct Parts {
    /// The id of the tube, on both sides.
    pub id: String,
    /// Which side this is.
    pub role: Role,
    /// What it carries.
    pub tube: Tube,
    /// Where connections are handled.
    pub plane: DataPlane,
    /// How they are made.
    pub rtc: RtcConfig,
    /// The manager.
    pub reports: Recipient<Of>,
    /// To whom it says what it has to say.
    pub said: mpsc::UnboundedSender<Said>,
}

/// Carries a tube over connections that are negotiated by signals. Clones are the same carrier.
#[derive(Clone)]
pub struct Signalled {
    inner: Rc<Inner>,
}

struct Inner {
    parts: Parts,
    /// The newest offer, and the newest answer, that came.
    offer: watch::Sender<Option<Came>>,
    answer: watch::Sender<Option<Came>>,
    present: RefCell<Present>,
}

/// A description of the other side's.
#[derive(Debug, Clone)]
struct Came {
    generation: u64,
    sdp: String,
}

#[derive(Default)]
struct Present {
    link: Option<Link>,
    early: Early,
    /// The tube's resume token, once both sides may have it.
    token: Option<String>,
    /// The ping that is on its way.
    pinged: Option<(u64, Instant)>,
}

/// Candidates of a description that did not come yet.
#[derive(Default)]
struct Early {
    generation: u64,
    candidates: Vec<String>,
}

impl Signalled {
    /// One without a connection.
    pub fn new(parts: Parts) -> Self {
        Signalled {
            inner: Rc::new(Inner {
                parts,
                offer: watch::Sender::default(),
                answer: watch::Sender::default(),
                present: RefCell::default(),
            }),
        }
    }

    /// Takes what the other side has to say. What its manager is to be told of it is returned.
    pub fn hear(&self, kind: SignalKind, generation: u64, data: String) -> Option<Of> {
        let is_initiator = self.inner.parts.role == Role::Initiator;
        let event = match kind {
            SignalKind::Offer | SignalKind::IceRestartOffer if !is_initiator => {
                let came = Came {
                    generation,
                    sdp: data,
                };
                newer(&self.inner.offer, came);
                Input::Offered {
                    generation,
                    rebuild: kind == SignalKind::Offer,
                }
            }
            SignalKind::Answer if is_initiator => {
                let is_new = self.is_being_made(generation);
                let came = Came {
                    generation,
                    sdp: data,
                };
                newer(&self.inner.answer, came);
                // Whoever makes a connection waits for it.
                if is_new {
                    return None;
                }
                Input::Answered
            }
            SignalKind::IceRestartRequest if is_initiator => Input::Asked {
                rebuild: data == NEW,
            },
            SignalKind::IceCandidate => {
                self.candidate(generation, data);
                return None;
            }
            other => {
                tracing::debug!(tube = self.id(), kind = %other, "not for this side");
                return None;
            }
        };
        Some(Of { generation, event })
    }

    /// What a sign of the tube means to the manager.
    pub fn notice(&self, sign: Sign) -> Of {
        let (generation, event) = match sign {
            Sign::Heard(generation) => (generation, Input::Heard),
            Sign::Pong(generation) => {
                self.time(generation);
                (generation, Input::Pong)
            }
            Sign::PeerPing(generation) => (self.latest(generation), Input::PeerPing),
            Sign::Gone(generation) => (self.latest(generation), Input::Gone),
            Sign::PeerClosed(generation) => (self.latest(generation), Input::PeerClosed),
        };
        Of { generation, event }
    }

    fn id(&self) -> &str {
        &self.inner.parts.id
    }

    fn time(&self, generation: u64) {
        let pinged = self
            .inner
            .present
            .borrow_mut()
            .pinged
            .take_if(|(of, _)| *of == generation);
        if let Some((_, at)) = pinged {
            self.say(Said::RoundTrip(at.elapsed()));
        }
    }

    fn say(&self, what: Said) {
        // Who does not listen any more has nobody to pass it on to.
        let _ = self.inner.parts.said.send(what);
    }

    fn signal(&self, kind: SignalKind, generation: u64, data: String) {
        self.say(Said::Signal {
            kind,
            generation,
            data,
        });
    }

    fn report(&self, generation: u64, event: Input) {
        self.inner.parts.reports.do_send(Of { generation, event });
    }

    async fn end(self, reason: Reason) {
        let tube = &self.inner.parts.tube;
        tube.end(reason == Reason::Normal).await;
        let link = self.inner.present.take().link;
        if let Some(link) = link {
            link.close().await;
        }
        self.say(Said::Gone);
    }
}

/// Keeps a description, unless a newer one is there.
fn newer(kept: &watch::Sender<Option<Came>>, came: Came) {
    kept.send_if_modified(|kept| {
        let is_newer = kept
            .as_ref()
            .is_none_or(|kept| kept.generation < came.generation);
        if is_newer {
            *kept = Some(came);
        }
        is_newer
    });
}

impl Carrier for Signalled {
    fn open(&mut self, generation: u64) -> Deed {
        match self.inner.parts.role {
            Role::Initiator => self.clone().initiate(generation).boxed_local(),
            Role::Responder => self.clone().respond(generation).boxed_local(),
        }
    }

    fn offer(&mut self, generation: u64) -> Deed {
        self.clone().offer_restart(generation).boxed_local()
    }

    fn rebuild(&mut self, generation: u64) -> Deed {
        self.clone().initiate(generation).boxed_local()
    }

    fn answer(&mut self, generation: u64, rebuild: bool) -> Deed {
        if rebuild {
            self.clone().respond(generation).boxed_local()
        } else {
            self.clone().answer_restart(generation).boxed_local()
        }
    }

    /// Of a restart: whoever makes a connection takes its answer.
    fn take_answer(&mut self, generation: u64) -> Deed {
        self.clone().take_restart(generation).boxed_local()
    }

    fn ask(&mut self, generation: u64, rebuild: bool) {
        let wish = if rebuild { NEW } else { RESTART };
        self.signal(SignalKind::IceRestartRequest, generation, wish.to_owned());
    }

    fn ping(&mut self, generation: u64) {
        self.inner.present.borrow_mut().pinged = Some((generation, Instant::now()));
        self.inner.parts.tube.ping(generation);
    }

    fn quiet(&self) -> (Duration, bool) {
        self.inner.parts.tube.quiet()
    }

    fn hold(&mut self, held: bool) {
        self.inner.parts.tube.hold(held);
    }

    fn close(&mut self, reason: Reason) {
        actix::spawn(self.clone().end(reason));
    }
}
