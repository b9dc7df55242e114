//! The switchboard of a worker: it passes events between session, availability, connections and job. It decides
//! nothing: what an event means is for the charts to say.

mod describe;
mod drain;
mod gpus;
mod hub;
pub(crate) mod ice;
mod ledger;
mod links;
mod mail;
mod tubes;
mod tunnels;
mod visits;
mod wishes;

use actix::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::capabilities::Capabilities;
use super::history::History;
use super::jobs::scratch::ScratchRoot;
use super::jobs::work::JobSettings;
use super::paths::IoPaths;
use super::serve::{Announced, MayUse};
use super::{Notice, WorkerConfig, WorkerError};
use crate::actors::availability::{AvailabilityActor, AvailabilityPerformer, Published};
use crate::actors::job::{Hurry, JobActor, JobEvent, JobNews};
use crate::actors::peer::{LinkId, PeerActor};
use crate::actors::session::{Send, SessionActor, doubt, session};
use crate::actors::{Died, Feed, start};
use crate::charts::availability::{Availability, Input as AvailabilityInput};
use crate::charts::job::{Input as JobInput, Outcome};
use crate::charts::peer::Input as PeerInput;
use crate::charts::session::Input as SessionInput;
use crate::charts::{JobId, PeerId};
use crate::rtc::{DataPlane, RtcConfig};
use crate::tunnel::network::NetworkWatcher;
use crate::wire::{JobChange, JobRequest, PeerMessage, SessionString, ToHub};

/// Connections that may be open at a time: the holder's, 12 visits, 8 tunnels, 16 that come back, and some that linger or are
/// being closed.
const MAX_LINKS: usize = 48;

/// Candidates that are kept with an offer. Real peers have a few per interface.
const MAX_CANDIDATES: usize = 64;

/// Peers whose users are remembered at a time.
const MAX_USERS: usize = 1024;

/// The worker is to end; sent again, it hurries.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// The worker is to take no new job, and to end when the one that it has is over.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

struct Link {
    peer: PeerId,
    addr: Addr<PeerActor>,
    /// Whose it is.
    user: String,
    /// The same, where the hub tells it.
    told: Option<String>,
    purpose: Purpose,
    /// The turn that it is of.
    turn: u64,
    /// The connection is no more, and a tube that began on it lives.
    closed: bool,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Its client may have a job here.
    Work,
    /// Its client asks about jobs, and has none here by this connection.
    Questions,
    /// Its client connects to programs of this machine.
    Tunnel,
    /// Its client goes on with what it began on another connection.
    Resumption,
}

/// An offer that waits for the availability's word.
struct Offer {
    sdp: String,
    /// What came behind it.
    candidates: Vec<serde_json::Value>,
}

struct CurrentJob {
    id: JobId,
    holder: PeerId,
    /// Whose it is.
    user: String,
    link: Option<LinkId>,
    addr: Addr<JobActor>,
}

/// The switchboard of a worker.
pub struct Worker {
    capabilities: Capabilities,
    settings: Rc<JobSettings>,
    scratch: Rc<ScratchRoot>,
    network: NetworkWatcher,
    plane: DataPlane,
    paths: Option<Arc<IoPaths>>,
    rtc: RtcConfig,
    session: Addr<SessionActor>,
    availability: Addr<AvailabilityActor>,
    published: watch::Receiver<Published>,
    /// What the last registration said of the status.
    described: Rc<RefCell<Published>>,
    notices: mpsc::UnboundedSender<Notice>,
    end: Option<oneshot::Sender<Result<(), WorkerError>>>,
    peer_id: String,
    room: String,
    /// Which users the peers are that said something; none where the hub does not tell.
    users: HashMap<PeerId, Option<String>>,
    told: Option<SessionString>,
    links: HashMap<LinkId, Link>,
    visits: visits::Visits,
    /// Connections for new tunnels.
    tunnels: visits::Visits,
    tubes: tubes::Tubes,
    next_link: u64,
    /// How often the worker became free: what is left of an earlier turn says nothing about who holds the worker now.
    turn: u64,
    job: Option<CurrentJob>,
    /// Requests that wait for the availability's word, and what they are about.
    requests: HashMap<(PeerId, JobId), JobRequest>,
    offers: HashMap<PeerId, Offer>,
    announced: HashMap<PeerId, Announced>,
    /// Clients that ask whether they may look at files.
    looking: HashMap<PeerId, oneshot::Sender<Result<(), String>>>,
    /// The timer of the next registration, which renews the credentials for TURN servers.
    renewal: Option<SpawnHandle>,
    stopping: bool,
    drain: drain::State,
    /// The hub confirmed the registration, and was not lost since.
    online: bool,
    gpus: gpus::Gpus,
    ledger: ledger::Ledger,
    post: mail::Post,
    reserved: Option<mail::Reservation>,
    /// Reservations and jobs so far, and what tells this life of the worker from others: ids of mail are made of both.
    count: u64,
    life: u64,
    /// Only the last letters keep the worker from leaving the hub.
    leaving: bool,
}

impl Worker {
    pub(super) fn start(
        config: WorkerConfig,
        scratch: Rc<ScratchRoot>,
        notices: mpsc::UnboundedSender<Notice>,
        end: oneshot::Sender<Result<(), WorkerError>>,
    ) -> Addr<Self> {
        Worker::create(move |ctx| {
            let supervisor = ctx.address().recipient::<Died>();
            let (published_by, published) = watch::channel(Published::free());
            let availability = start(
                Availability::new(),
                AvailabilityPerformer {
                    worker: ctx.address().recipient(),
                    published: published_by,
                },
                "worker",
                Some(supervisor.clone()),
            );
            let capabilities = config.capabilities;
            let gpus = gpus::Gpus::start(&capabilities, config.refresh, &config.plane, ctx);
            let ledger = ledger::Ledger::new(History::open(config.hub.keeper.history()));
            let described = Rc::new(RefCell::new(Published::free()));
            let describe = {
                let (capabilities, published) = (capabilities.clone(), published.clone());
                let (described, told) = (described.clone(), gpus.told());
                let paths = config.paths.clone();
                Box::new(move || {
                    described.replace(published.borrow().clone());
                    told.describe(&capabilities);
                    describe::register(&capabilities, paths.as_deref(), &published.borrow())
                })
            };
            let drain = drain::State::begin(
                config.hub.url.to_string(),
                scratch.clone(),
                config.plane.clone(),
            );
            let owner = ctx.address().recipient();
            let session = session(
                config.hub,
                config.room,
                describe,
                owner,
                "worker",
                Some(supervisor),
            );
            let network = NetworkWatcher::new(config.plane.clone());
            // On another network, the hub may have lost this worker before the socket shows it.
            let doubting = doubt(network.subscribe(), session.clone().recipient());
            config.plane.spawn(doubting);
            Worker {
                capabilities,
                settings: Rc::new(config.jobs),
                scratch,
                network,
                plane: config.plane,
                paths: config.paths,
                rtc: config.rtc,
                session,
                availability,
                published,
                described,
                notices,
                end: Some(end),
                peer_id: String::new(),
                room: String::new(),
                users: HashMap::new(),
                told: None,
                links: HashMap::new(),
                visits: visits::Visits::default(),
                tunnels: tunnels::places(),
                tubes: tubes::Tubes::default(),
                next_link: 1,
                turn: 0,
                job: None,
                requests: HashMap::new(),
                offers: HashMap::new(),
                announced: HashMap::new(),
                looking: HashMap::new(),
                renewal: None,
                stopping: false,
                drain,
                online: false,
                gpus,
                ledger,
                post: mail::Post::default(),
                reserved: None,
                count: 0,
                life: rand::random(),
                leaving: false,
            }
        })
    }

    fn notice(&self, notice: Notice) {
        // Nobody may be listening; the log has it anyway.
        let _ = self.notices.send(notice);
    }

    fn send(&self, frame: ToHub) {
        self.session.do_send(Send(frame));
    }

    fn tell(&self, to: &PeerId, message: PeerMessage) {
        self.send(ToHub::PeerMessage {
            from_peer_id: self.peer_id.clone(),
            to_peer_id: to.to_string(),
            payload: message.to_value(),
        });
    }

    fn finish(&mut self, result: Result<(), WorkerError>) {
        if let Some(end) = self.end.take() {
            if result.is_ok() {
                tracing::info!("Client shutdown complete");
            }
            // The receiver is gone only when the process is ending anyway.
            let _ = end.send(result);
        }
    }

    /// Job first, then connections, then the hub: each step waits for the one before.
    fn advance_stop(&mut self, ctx: &mut Context<Self>) {
        if !self.stopping || self.job.is_some() {
            return;
        }
        if self.links.is_empty() {
            self.leave_hub(ctx);
        } else {
            self.hang_up();
        }
    }
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<Announced> for Worker {
    type Result = ();

    fn handle(&mut self, announced: Announced, _: &mut Self::Context) {
        let Some(from) = self.asks_for_a_turn(announced.link) else {
            return;
        };
        self.announced.insert(from.clone(), announced);
        self.availability
            .do_send(Feed(AvailabilityInput::PackageAnnounced { from }));
    }
}

impl Handler<MayUse> for Worker {
    type Result = ();

    fn handle(&mut self, asked: MayUse, _: &mut Self::Context) {
        let Some(from) = self.asks_for_a_turn(asked.link) else {
            return;
        };
        // Whoever may announce a package may name one that is here.
        self.looking.insert(from.clone(), asked.reply);
        self.availability
            .do_send(Feed(AvailabilityInput::PackageAnnounced { from }));
    }
}

impl Handler<JobNews> for Worker {
    type Result = ();

    fn handle(&mut self, news: JobNews, ctx: &mut Self::Context) {
        let Some(job) = self.job.as_ref().filter(|job| job.id == news.job) else {
            return;
        };
        let connection = job.link.and_then(|link| self.connection(link)).cloned();
        match news.what {
            JobEvent::Begun => {
                self.ledger.begun();
                if let Some(connection) = connection {
                    connection.do_send(Feed(PeerInput::JobBegan));
                }
                let (from, job) = (job.holder.clone(), job.id.clone());
                self.availability
                    .do_send(Feed(AvailabilityInput::JobBegun { from, job }));
            }
            JobEvent::Tell(message) => {
                let holder = job.holder.clone();
                self.ledger.told(&message);
                self.drain.hear(&message);
                self.mail_terminal(holder.clone(), &news.job, &message);
                self.tell(&holder, message);
            }
            JobEvent::Ending { state, at_most } => {
                self.notice(Notice::JobEnding {
                    job: news.job.to_string(),
                    state,
                    at_most,
                });
            }
            JobEvent::Ended(outcome) => {
                if let Some(connection) = connection {
                    connection.do_send(Feed(PeerInput::JobEnded));
                }
                let outcome = match outcome {
                    Outcome::Completed => "completed",
                    Outcome::Failed(_) => "failed",
                    Outcome::Cancelled => "cancelled",
                };
                self.notice(Notice::JobEnded {
                    job: news.job.to_string(),
                    outcome,
                });
                self.job = None;
                self.ledger.ended();
                self.availability
                    .do_send(Feed(AvailabilityInput::JobEnded { job: news.job }));
                self.advance_stop(ctx);
            }
        }
    }
}

impl Handler<Stop> for Worker {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        let again = std::mem::replace(&mut self.stopping, true);
        if !again {
            self.visits.end();
            self.tunnels.end();
            self.tubes.coming.end();
            self.mail_unreserved(JobChange::Withdrawn);
            self.availability.do_send(Feed(AvailabilityInput::Shutdown));
        }
        match &self.job {
            Some(job) if again => job.addr.do_send(Hurry),
            Some(job) => job.addr.do_send(Feed(JobInput::Shutdown)),
            // Who asks twice does not want to wait for the hub either.
            None if again && self.links.is_empty() => {
                self.session.do_send(Feed(SessionInput::Shutdown));
            }
            None => self.advance_stop(ctx),
        }
    }
}

impl Handler<Died> for Worker {
    type Result = ();

    fn handle(&mut self, died: Died, _: &mut Self::Context) {
        self.finish(Err(WorkerError::Died {
            chart: died.chart,
            instance: died.instance,
            state: died.state,
        }));
    }
}
