//! The one who makes the connection of a visit: by the hub, with the worker's leave.

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

use super::reader::{Landing, Reader};
use super::{VisitConfig, VisitError, VisitNews};
use crate::actors::peer::{
    CHANNEL_LABEL, Dial, LinkEvent, LinkId, LinkNews, PeerActor, RemoteAnswer, RemoteCandidate,
    connect,
};
use crate::actors::session::{Send, SessionActor, SessionNews, session};
use crate::actors::transfer::{Direction, Milestones, TransferEnded, transfer};
use crate::actors::{Died, Feed};
use crate::charts::PeerId;
use crate::charts::peer::Input as PeerInput;
use crate::charts::session::Input as SessionInput;
use crate::client::switchboard::describe::describe;
use crate::rtc::{Channel, RtcConfig};
use crate::tunnel::forward;
use crate::wire::own::{PROPERTY, SPEAKS_OF_JOBS, TUNNELS, Versions};
use crate::wire::{FromHub, Metadata, PeerMessage, ToHub};
use crate::worker::{candidate_value, ice_servers};

/// It is enough.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Leave;

/// A file comes, and needs somebody who follows it.
#[derive(Message)]
#[rtype(result = "Milestones")]
pub(super) struct FileComes;

/// How far the way to the worker is.
pub(super) enum Ready {
    Step,
    Channel(Channel),
    Failed(VisitError),
}

/// What a visit is for.
pub(super) enum Purpose {
    /// Questions about jobs: the answers go there, and results to the landing.
    Jobs {
        landing: Option<Landing>,
        tell: mpsc::Sender<VisitNews>,
    },
    /// A tunnel, on a tube that is there already or on a new one: what its channel carries is nothing to the visitor.
    Tunnel { tube: Option<String> },
}

/// Makes the connection.
pub(super) struct Visitor {
    config: VisitConfig,
    /// It is for a tunnel.
    tunnel: bool,
    tube: Option<String>,
    landing: Option<Landing>,
    session: Addr<SessionActor>,
    peer_id: String,
    tell: Option<mpsc::Sender<VisitNews>>,
    /// For what comes of files; given up with the connection.
    fetched: Option<mpsc::Sender<VisitNews>>,
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
        purpose: Purpose,
        ready: mpsc::Sender<Ready>,
        end: oneshot::Sender<()>,
    ) -> Addr<Self> {
        let (landing, tell, tunnel, tube) = match purpose {
            Purpose::Jobs { landing, tell } => (landing, Some(tell), false, None),
            Purpose::Tunnel { tube } => (None, None, true, tube),
        };
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
                tunnel,
                tube,
                landing,
                session,
                peer_id: String::new(),
                fetched: tell.clone(),
                tell,
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
            label: match self.tunnel {
                true => forward::CHANNEL_LABEL,
                false => CHANNEL_LABEL,
            },
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

/// Whether a worker can be asked about jobs.
fn speaks_of_jobs(metadata: &Metadata) -> bool {
    Versions::of_property(metadata.properties.get(PROPERTY))
        .is_some_and(|versions| versions.highest >= SPEAKS_OF_JOBS)
}

/// Whether a worker knows the frames of tunnels. A later version still speaks this one.
pub fn takes_tunnels(metadata: &Metadata) -> bool {
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
                let message = match self.tunnel {
                    true if !metadata.is_some_and(takes_tunnels) => {
                        return self.is_ready(Ready::Failed(VisitError::NoTunnels(worker)));
                    }
                    true => PeerMessage::Tunnel {
                        tube: self.tube.clone(),
                    },
                    false if !metadata.is_some_and(speaks_of_jobs) => {
                        return self.is_ready(Ready::Failed(VisitError::Foreign(worker)));
                    }
                    false => PeerMessage::Visit {},
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

    fn handle(&mut self, news: LinkNews, ctx: &mut Self::Context) {
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
                self.channel = Some(channel.clone());
                if let Some(tell) = self.tell.take() {
                    let reader = Reader::new(channel, tell, ctx.address(), self.landing.take());
                    self.config.plane.spawn(reader.read());
                }
            }
            LinkEvent::Open => {
                if let Some(channel) = self.channel.clone() {
                    self.is_ready(Ready::Channel(channel));
                }
            }
            LinkEvent::Lost(_) => self.is_ready(Ready::Failed(VisitError::NotConnected(
                "client and worker need a path by UDP, or a TURN server to relay",
            ))),
            LinkEvent::Closed => {
                self.fetched = None;
                self.closed = true;
                if self.leaving {
                    self.session.do_send(Feed(SessionInput::Shutdown));
                }
            }
            LinkEvent::Suspect | LinkEvent::Recovered => {}
        }
    }
}

impl Handler<FileComes> for Visitor {
    type Result = MessageResult<FileComes>;

    fn handle(&mut self, _: FileComes, ctx: &mut Self::Context) -> Self::Result {
        let (_, milestones) = transfer(
            ctx.address().recipient(),
            Direction::In,
            "results",
            Some(ctx.address().recipient()),
        );
        MessageResult(milestones)
    }
}

impl Handler<TransferEnded> for Visitor {
    type Result = ();

    fn handle(&mut self, ended: TransferEnded, ctx: &mut Self::Context) {
        let Some(tell) = self.fetched.clone() else {
            return;
        };
        ctx.spawn(actix::fut::wrap_future(async move {
            // Whoever does not listen any more does not want it.
            let _ = tell.send(VisitNews::Fetched(ended.result)).await;
        }));
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
