//! The one who makes the connection.

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::{Errand, VisitConfig, VisitError};
use crate::actors::peer::{
    Dial, LinkEvent, LinkId, LinkNews, PeerActor, RemoteAnswer, RemoteCandidate, connect,
};
use crate::actors::session::{Send, SessionActor, SessionNews, session};
use crate::actors::{Died, Feed};
use crate::charts::PeerId;
use crate::charts::peer::Input as PeerInput;
use crate::charts::session::Input as SessionInput;
use crate::client::switchboard::describe::describe;
use crate::rtc::{Channel, RtcConfig};
use crate::tunnel::tube;
use crate::wire::own::TUNNELS;
use crate::wire::{FromHub, Metadata, PeerMessage, ToHub};
use crate::worker::{candidate_value, ice_servers};

/// It is enough.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Leave;

/// How far the way to the worker is.
pub(super) enum Ready {
    Step,
    Channel(Channel, Addr<PeerActor>),
    Failed(VisitError),
}

/// Makes the connection.
pub(super) struct Visitor {
    config: VisitConfig,
    errand: Errand,
    session: Addr<SessionActor>,
    peer_id: String,
    ready: mpsc::Sender<Ready>,
    end: Option<oneshot::Sender<()>>,
    link: Option<Addr<PeerActor>>,
    channel: Option<Channel>,
    /// It was enough.
    leaving: bool,
    /// The connection is no more.
    closed: bool,
}

impl Visitor {
    pub fn start_for(
        config: VisitConfig,
        errand: Errand,
        ready: mpsc::Sender<Ready>,
        end: oneshot::Sender<()>,
    ) -> Addr<Self> {
        Visitor::create(move |ctx| {
            let session = session(
                config.hub.clone(),
                Some(config.room.clone()),
                describe(),
                ctx.address().recipient(),
                "visit",
                Some(ctx.address().recipient()),
            );
            Visitor {
                config,
                errand,
                session,
                peer_id: String::new(),
                ready,
                end: Some(end),
                link: None,
                channel: None,
                leaving: false,
                closed: false,
            }
        })
    }

    fn is_ready(&self, ready: Ready) {
        // There is room for each step and for the end; what comes after that is not waited for.
        let _ = self.ready.try_send(ready);
    }

    fn worker(&self) -> String {
        self.config.worker.clone()
    }

    fn dial(&mut self, ctx: &mut Context<Self>) {
        self.link = Some(connect(Dial {
            link: LinkId(1),
            peer: PeerId::from(self.worker()),
            offer: None,
            label: tube::CHANNEL_LABEL,
            config: RtcConfig {
                trickle: true,
                ..self.config.rtc.clone()
            },
            plane: self.config.plane.clone(),
            owner: ctx.address().recipient(),
            supervisor: Some(ctx.address().recipient()),
        }));
    }

    fn hear(&mut self, frame: FromHub, ctx: &mut Context<Self>) {
        match frame {
            FromHub::PeerMessage {
                from_peer_id,
                payload,
                ..
            } if from_peer_id == self.worker() => match PeerMessage::parse(&payload) {
                Ok(PeerMessage::VisitResponse { accepted: true, .. }) if self.link.is_none() => {
                    self.is_ready(Ready::Step);
                    self.dial(ctx);
                }
                Ok(PeerMessage::VisitResponse { reason, .. }) => {
                    let reason = reason.unwrap_or_else(|| "it does not say why".to_owned());
                    self.is_ready(Ready::Failed(VisitError::Refused(reason)));
                }
                other => tracing::debug!(?other, "not for a visit"),
            },
            FromHub::Answer { sender, sdp } if sender == self.worker() => {
                if let Some(link) = &self.link {
                    link.do_send(RemoteAnswer(sdp));
                }
            }
            FromHub::Candidate { sender, candidate } if sender == self.worker() => {
                if let Some(link) = &self.link {
                    link.do_send(RemoteCandidate(candidate));
                }
            }
            FromHub::Error(error) => {
                self.is_ready(Ready::Failed(VisitError::Refused(error.to_string())));
            }
            other => tracing::debug!(frame = ?other, "not for a visit"),
        }
    }
}

/// Whether a worker knows tubes, and the frames of tunnels. A later version still speaks this one.
pub fn takes_tubes(metadata: &Metadata) -> bool {
    let version = metadata.properties.get(TUNNELS);
    version.is_some_and(|version| version.as_u64().is_some_and(|version| version > 0))
}

impl Actor for Visitor {
    type Context = Context<Self>;
}

impl Handler<SessionNews> for Visitor {
    type Result = ();

    fn handle(&mut self, news: SessionNews, ctx: &mut Self::Context) {
        match news {
            SessionNews::Registered(registered) if self.link.is_none() => {
                self.peer_id.clone_from(&registered.peer_id);
                self.config.rtc.ice_servers = ice_servers(&registered.ice_servers);
                let worker = self.worker();
                if !registered.peer_list.contains(&worker) {
                    return self.is_ready(Ready::Failed(VisitError::Absent(worker)));
                }
                let metadata = registered.peer_metadata.get(&worker);
                if !metadata.is_some_and(takes_tubes) {
                    let error = match self.errand {
                        Errand::Questions => VisitError::Foreign(worker),
                        Errand::Tunnel | Errand::Resumption(_) => VisitError::NoTunnels(worker),
                    };
                    return self.is_ready(Ready::Failed(error));
                }
                let message = match &self.errand {
                    Errand::Questions => PeerMessage::Visit {},
                    Errand::Tunnel => PeerMessage::Tunnel { tube: None },
                    Errand::Resumption(tube) => PeerMessage::Tunnel {
                        tube: Some(tube.clone()),
                    },
                };
                self.is_ready(Ready::Step);
                self.session.do_send(Send(ToHub::PeerMessage {
                    from_peer_id: self.peer_id.clone(),
                    to_peer_id: worker,
                    payload: message.to_value(),
                }));
            }
            SessionNews::Registered(_) | SessionNews::Down => {}
            SessionNews::Frame(frame) => self.hear(*frame, ctx),
            SessionNews::Closed => {
                if let Some(end) = self.end.take() {
                    let _ = end.send(());
                }
                ctx.stop();
            }
            SessionNews::Failed(error) => {
                self.is_ready(Ready::Failed(error.into()));
                ctx.stop();
            }
        }
    }
}

impl Handler<LinkNews> for Visitor {
    type Result = ();

    fn handle(&mut self, news: LinkNews, _: &mut Self::Context) {
        let (sender, target) = (self.peer_id.clone(), self.worker());
        match news.what {
            LinkEvent::Description(sdp) => self.session.do_send(Send(ToHub::Offer {
                sender,
                target,
                sdp,
            })),
            LinkEvent::Candidate(candidate) => self.session.do_send(Send(ToHub::Candidate {
                sender,
                target,
                candidate: candidate_value(&candidate),
            })),
            LinkEvent::NoRelay(why) => {
                tracing::warn!(why, "only direct paths to the worker are tried");
            }
            LinkEvent::Channel(channel) => {
                self.channel = Some(channel);
            }
            LinkEvent::Open => {
                if let (Some(channel), Some(link)) = (&self.channel, &self.link) {
                    self.is_ready(Ready::Channel(channel.clone(), link.clone()));
                }
            }
            LinkEvent::Lost(_) => self.is_ready(Ready::Failed(VisitError::NotConnected(
                "client and worker need a path by UDP, or a TURN server to relay",
            ))),
            LinkEvent::Closed => {
                self.closed = true;
                if self.leaving {
                    self.session.do_send(Feed(SessionInput::Shutdown));
                }
            }
            LinkEvent::Suspect | LinkEvent::Recovered => {}
        }
    }
}

impl Handler<Leave> for Visitor {
    type Result = ();

    fn handle(&mut self, _: Leave, _: &mut Self::Context) {
        self.leaving = true;
        match &self.link {
            // The hub is left when the worker knows that the visit is over.
            Some(link) if !self.closed => link.do_send(Feed(PeerInput::Close)),
            _ => self.session.do_send(Feed(SessionInput::Shutdown)),
        }
    }
}

impl Handler<Died> for Visitor {
    type Result = ();

    fn handle(&mut self, died: Died, ctx: &mut Self::Context) {
        tracing::error!(chart = died.chart, "a part of the visit died");
        self.is_ready(Ready::Failed(VisitError::Lost));
        ctx.stop();
    }
}
