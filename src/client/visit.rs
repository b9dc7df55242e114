//! A visit at a worker: a connection to ask about jobs. It needs no reservation, and can be made while the worker is busy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::reader::partials;
use super::switchboard::describe::describe;
use super::switchboard::free_name;
use crate::actors::peer::{
    Dial, LinkEvent, LinkId, LinkNews, PeerActor, RemoteAnswer, RemoteCandidate, connect,
};
use crate::actors::session::{HubAccess, Send, SessionActor, SessionError, SessionNews, session};
use crate::actors::transfer::{Direction, Milestones, TransferEnded, transfer};
use crate::actors::{Died, Feed};
use crate::charts::PeerId;
use crate::charts::peer::Input as PeerInput;
use crate::charts::session::Input as SessionInput;
use crate::files::{Flow, OwnSink, Reception};
use crate::rtc::{Channel, DataPlane, Incoming, RtcConfig};
use crate::wire::own::{FileOffer, OwnText, PROPERTY, SPEAKS_OF_JOBS, VERSIONS, Versions};
use crate::wire::{ChannelText, FromHub, KEEP_ALIVE, PeerMessage, RoomCredentials, ToHub};
use crate::worker::{candidate_value, ice_servers};

/// How long each step to the worker may take: hub, worker's answer, connection, greeting.
const STEP: Duration = Duration::from_secs(30);
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);
/// News that wait to be heard; a worker that says more is read no further until they were.
const WAITING: usize = 64;

/// Where a visit goes.
#[derive(Clone)]
pub struct VisitConfig {
    /// The hub.
    pub hub: HubAccess,
    /// The worker's room.
    pub room: RoomCredentials,
    /// The worker.
    pub worker: String,
    /// How the connection is made; the hub's ICE servers are added.
    pub rtc: RtcConfig,
    /// Where it is handled.
    pub plane: DataPlane,
}

/// Why a visit came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The hub is not to be had.
    #[error(transparent)]
    Hub(#[from] SessionError),
    /// The worker is not there.
    #[error("the worker {0} is not in the room now; is it running?")]
    Absent(String),
    /// It has no words for what is asked.
    #[error("the worker {0} cannot be asked about jobs: it is not a Loaner, or an older one")]
    Foreign(String),
    /// It does not let this client in.
    #[error("the worker cannot be asked now: {0}")]
    Refused(String),
    /// It did not answer, or the connection did not come up.
    #[error("no connection to the worker came up ({0})")]
    NotConnected(&'static str),
    /// The connection broke.
    #[error("the connection to the worker was lost")]
    Lost,
    /// What was asked for cannot be done.
    #[error("{0}")]
    Denied(String),
    /// Results did not arrive.
    #[error("the results did not arrive whole: {0}")]
    NotReceived(String),
}

/// What the worker has to say.
#[derive(Debug)]
pub enum VisitNews {
    /// One of Loaner's own words.
    Said(OwnText),
    /// A file is on its way here.
    Receiving {
        /// Under which name.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// How much of it was here already.
        have: u64,
    },
    /// So much of it is here.
    Received {
        /// Bytes so far.
        bytes: u64,
    },
    /// It is here, whole, or it is not.
    Fetched(Result<PathBuf, String>),
}

/// A connection to a worker that answers questions about jobs.
pub struct Visit {
    addr: Addr<Visitor>,
    channel: Channel,
    news: mpsc::Receiver<VisitNews>,
    ended: oneshot::Receiver<()>,
}

impl Visit {
    /// Connects, in the current actix system. Files go to `output_dir`.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn begin(config: VisitConfig, output_dir: &Path) -> Result<Self, VisitError> {
        let (tell, news) = mpsc::channel(WAITING);
        let (ready, mut is_ready) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        let addr = Visitor::start_for(config, output_dir, tell, ready, end);
        let opened = async {
            loop {
                // Every step has its time; a step that is made is told.
                match timeout(STEP, is_ready.recv()).await {
                    Ok(Some(Ready::Step)) => {}
                    Ok(Some(Ready::Channel(channel))) => return Ok(channel),
                    Ok(Some(Ready::Failed(error))) => return Err(error),
                    Ok(None) => return Err(VisitError::Lost),
                    Err(_) => return Err(VisitError::NotConnected("no answer in time")),
                }
            }
        };
        let channel = match opened.await {
            Ok(channel) => channel,
            Err(error) => {
                addr.do_send(Leave);
                let _ = timeout(GOODBYE, ended).await;
                return Err(error);
            }
        };
        let mut visit = Visit {
            addr,
            channel,
            news,
            ended,
        };
        match visit.greet().await {
            Ok(()) => Ok(visit),
            Err(error) => {
                visit.end().await;
                Err(error)
            }
        }
    }

    async fn greet(&mut self) -> Result<(), VisitError> {
        self.say(OwnText::Hello(VERSIONS)).await?;
        let welcome = timeout(STEP, self.hear()).await;
        match welcome.map_err(|_| VisitError::NotConnected("no greeting"))?? {
            VisitNews::Said(OwnText::Welcome { version }) if version >= SPEAKS_OF_JOBS => Ok(()),
            _ => Err(VisitError::Denied(
                "the worker speaks another version of Loaner".to_owned(),
            )),
        }
    }

    /// Says something to the worker.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say(&self, text: OwnText) -> Result<(), VisitError> {
        let text = ChannelText::Own(text).to_text();
        self.channel
            .send_text(&text)
            .await
            .map_err(|_| VisitError::Lost)
    }

    /// The next that the worker says.
    ///
    /// # Errors
    /// When the connection is gone, or it denied what was asked.
    pub async fn hear(&mut self) -> Result<VisitNews, VisitError> {
        match self.news.recv().await {
            Some(VisitNews::Said(OwnText::Denied { message })) => Err(VisitError::Denied(message)),
            Some(news) => Ok(news),
            None => Err(VisitError::Lost),
        }
    }

    /// Says goodbye.
    pub async fn end(self) {
        self.addr.do_send(Leave);
        // A goodbye that nobody hears is none that anybody waits for.
        let _ = timeout(GOODBYE, self.ended).await;
    }
}

/// It is enough.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

/// A file comes, and needs somebody who follows it.
#[derive(Message)]
#[rtype(result = "Milestones")]
struct FileComes;

enum Ready {
    Step,
    Channel(Channel),
    Failed(VisitError),
}

struct Visitor {
    config: VisitConfig,
    output_dir: PathBuf,
    session: Addr<SessionActor>,
    peer_id: String,
    tell: Option<mpsc::Sender<VisitNews>>,
    /// For what comes of files; given up with the connection.
    fetched: Option<mpsc::Sender<VisitNews>>,
    ready: mpsc::Sender<Ready>,
    end: Option<oneshot::Sender<()>>,
    link: Option<Addr<PeerActor>>,
    channel: Option<Channel>,
}

impl Visitor {
    fn start_for(
        config: VisitConfig,
        output_dir: &Path,
        tell: mpsc::Sender<VisitNews>,
        ready: mpsc::Sender<Ready>,
        end: oneshot::Sender<()>,
    ) -> Addr<Self> {
        let output_dir = output_dir.to_owned();
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
                output_dir,
                session,
                peer_id: String::new(),
                fetched: Some(tell.clone()),
                tell: Some(tell),
                ready,
                end: Some(end),
                link: None,
                channel: None,
            }
        })
    }

    fn is_ready(&self, ready: Ready) {
        // More steps than are waited for were made: that is told by the next.
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
                let versions = metadata
                    .and_then(|metadata| Versions::of_property(metadata.properties.get(PROPERTY)));
                if versions.is_none_or(|versions| versions.highest < SPEAKS_OF_JOBS) {
                    return self.is_ready(Ready::Failed(VisitError::Foreign(worker)));
                }
                self.is_ready(Ready::Step);
                self.session.do_send(Send(ToHub::PeerMessage {
                    from_peer_id: self.peer_id.clone(),
                    to_peer_id: worker,
                    payload: PeerMessage::Visit {}.to_value(),
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
                    let reader = Reader {
                        channel,
                        tell,
                        visitor: ctx.address(),
                        output_dir: self.output_dir.clone(),
                        reception: None,
                    };
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
            LinkEvent::Closed => self.fetched = None,
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
        if let Some(link) = &self.link {
            link.do_send(Feed(PeerInput::Close));
        }
        self.session.do_send(Feed(SessionInput::Shutdown));
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

/// Reads the channel of a visit: words to whoever asked, bytes to the disk.
struct Reader {
    channel: Channel,
    tell: mpsc::Sender<VisitNews>,
    visitor: Addr<Visitor>,
    output_dir: PathBuf,
    reception: Option<Reception>,
}

impl Reader {
    async fn read(mut self) {
        while let Some(message) = self.channel.recv().await {
            let heard = match message {
                Incoming::Binary(bytes) if bytes.as_ref() == KEEP_ALIVE => Some(()),
                Incoming::Binary(bytes) => match &mut self.reception {
                    Some(reception) => {
                        let over = reception.take(bytes).await == Flow::Over;
                        let bytes = reception.received();
                        if over {
                            self.reception = None;
                        }
                        self.say(VisitNews::Received { bytes }).await
                    }
                    None => Some(()),
                },
                Incoming::Text(text) => match ChannelText::parse(&text) {
                    Ok(ChannelText::Own(text)) => self.heard(text).await,
                    Ok(_) => Some(()),
                    Err(error) => {
                        tracing::warn!(%error, "a message of the worker was refused");
                        Some(())
                    }
                },
            };
            if heard.is_none() {
                return;
            }
        }
    }

    /// Nothing, once nobody listens.
    async fn say(&self, news: VisitNews) -> Option<()> {
        self.tell.send(news).await.ok()
    }

    async fn heard(&mut self, text: OwnText) -> Option<()> {
        match text {
            OwnText::Offer(offer) => self.comes(offer).await,
            OwnText::Begin { .. } | OwnText::Check { .. } => {
                if let Some(reception) = &mut self.reception
                    && reception.hear(&text).await == Flow::Over
                {
                    self.reception = None;
                }
                Some(())
            }
            text => self.say(VisitNews::Said(text)).await,
        }
    }

    async fn comes(&mut self, offer: FileOffer) -> Option<()> {
        let milestones = self.visitor.send(FileComes).await.ok()?;
        let offer = FileOffer {
            name: free_name(&self.output_dir, &offer.name),
            ..offer
        };
        let partials = partials(&self.output_dir);
        match OwnSink::create(&self.output_dir, &offer, u64::MAX, Some(&partials)).await {
            Ok(sink) => {
                let (have, _) = sink.have();
                let channel = self.channel.clone();
                self.reception = Some(Reception::own(sink, channel, milestones, false).await);
                let (name, size) = (offer.name, offer.size);
                self.say(VisitNews::Receiving { name, size, have }).await
            }
            Err(error) => {
                let message = error.to_string();
                let text = ChannelText::Own(OwnText::Rejected { message });
                // A channel that is gone is seen at the next message.
                let _ = self.channel.send_text(&text.to_text()).await;
                milestones.broke(error).await;
                Some(())
            }
        }
    }
}
