//! The switchboard of a worker: it passes events between session, availability, connections and job. It decides
//! nothing: what an event means is for the charts to say.

use std::collections::HashMap;
use std::rc::Rc;

use actix::prelude::*;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use super::capabilities::Capabilities;
use super::jobs::scratch::ScratchRoot;
use super::jobs::work::JobSettings;
use super::serve::{Announced, serve};
use super::{Notice, WorkerConfig, WorkerError};
use crate::actors::availability::{Asked, AvailabilityActor, AvailabilityPerformer, Published};
use crate::actors::job::{Admit, Hurry, JobActor, JobEvent, JobNews, job};
use crate::actors::peer::{Dial, LinkEvent, LinkId, LinkNews, PeerActor, RemoteCandidate, connect};
use crate::actors::session::{Send, SessionActor, SessionNews, session};
use crate::actors::{Died, Feed, start};
use crate::charts::availability::{Act, Availability, Input as AvailabilityInput, Status};
use crate::charts::job::{Input as JobInput, Outcome};
use crate::charts::peer::{Input as PeerInput, Lost};
use crate::charts::session::Input as SessionInput;
use crate::charts::{JobId, PeerId};
use crate::rtc::{DataPlane, IceServer, RtcConfig};
use crate::wire::{
    FromHub, JobRequest, JobResponse, Metadata, PeerMessage, Refusal, Register, RegisteredAuth,
    SessionString, ToHub, WorkerInfo, estimate_minutes,
};

/// Connections that may be open at a time: the holder's, and some that linger or are being closed.
const MAX_LINKS: usize = 16;

/// The worker is to end; sent again, it hurries.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

struct Link {
    peer: PeerId,
    addr: Addr<PeerActor>,
}

struct CurrentJob {
    id: JobId,
    holder: PeerId,
    link: Option<LinkId>,
    addr: Addr<JobActor>,
}

/// The switchboard of a worker.
pub struct Worker {
    capabilities: Rc<Capabilities>,
    settings: Rc<JobSettings>,
    scratch: Rc<ScratchRoot>,
    plane: DataPlane,
    rtc: RtcConfig,
    session: Addr<SessionActor>,
    availability: Addr<AvailabilityActor>,
    published: watch::Receiver<Published>,
    notices: mpsc::UnboundedSender<Notice>,
    end: Option<oneshot::Sender<Result<(), WorkerError>>>,
    peer_id: String,
    told: Option<SessionString>,
    links: HashMap<LinkId, Link>,
    next_link: u64,
    job: Option<CurrentJob>,
    /// Requests that wait for the availability's word, and what they are about.
    requests: HashMap<(PeerId, JobId), JobRequest>,
    offers: HashMap<PeerId, String>,
    announced: HashMap<PeerId, Announced>,
    stopping: bool,
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
            let capabilities = Rc::new(config.capabilities);
            let describe = {
                let (capabilities, published) = (capabilities.clone(), published.clone());
                Box::new(move || register(&capabilities, &published.borrow()))
            };
            let owner = ctx.address().recipient();
            let session = session(
                config.hub,
                config.room,
                describe,
                owner,
                "worker",
                Some(supervisor),
            );
            Worker {
                capabilities,
                settings: Rc::new(config.jobs),
                scratch,
                plane: config.plane,
                rtc: config.rtc,
                session,
                availability,
                published,
                notices,
                end: Some(end),
                peer_id: String::new(),
                told: None,
                links: HashMap::new(),
                next_link: 1,
                job: None,
                requests: HashMap::new(),
                offers: HashMap::new(),
                announced: HashMap::new(),
                stopping: false,
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

    // --- what the hub says -------------------------------------------------------------------------------------

    fn registered(&mut self, registered: RegisteredAuth) {
        self.peer_id.clone_from(&registered.peer_id);
        self.rtc.ice_servers = registered.ice_servers.into_iter().map(ice_server).collect();
        let Some(token) = registered.token else {
            return;
        };
        let session = SessionString {
            room_id: registered.room_id,
            token,
            peer_id: registered.peer_id,
        };
        if self.told.as_ref() != Some(&session) {
            self.told = Some(session.clone());
            self.notice(Notice::Registered { session });
        }
    }

    fn hear(&mut self, frame: FromHub) {
        match frame {
            FromHub::Offer { sender, sdp } => {
                let from = PeerId::from(sender);
                self.offers.insert(from.clone(), sdp);
                self.availability
                    .do_send(Feed(AvailabilityInput::Offer { from }));
            }
            FromHub::Candidate { sender, candidate } => {
                let newest = self
                    .links
                    .iter()
                    .filter(|(_, link)| link.peer.as_str() == sender)
                    .max_by_key(|(id, _)| **id);
                if let Some((_, link)) = newest {
                    link.addr.do_send(RemoteCandidate(candidate));
                }
            }
            FromHub::PeerMessage {
                from_peer_id,
                payload,
            } => self.hear_peer(PeerId::from(from_peer_id), &payload),
            FromHub::Error(error) => tracing::warn!(%error, "the hub reports an error"),
            FromHub::MetadataUpdated { metadata, .. } => {
                let status = metadata
                    .properties
                    .get("status")
                    .and_then(|status| status.as_str())
                    .unwrap_or("unknown");
                tracing::debug!(status, "the hub took the status");
            }
            FromHub::AdminConflict { current_admin, .. } => {
                tracing::debug!(current_admin, "another worker leads the mesh")
            }
            other => tracing::debug!(frame = ?other, "not for a worker"),
        }
    }

    fn hear_peer(&mut self, from: PeerId, payload: &serde_json::Value) {
        let message = match PeerMessage::parse(payload) {
            Ok(message) => message,
            Err(error) => return tracing::warn!(%from, %error, "a peer message was not understood"),
        };
        match message {
            PeerMessage::JobRequest(request) => self.requested(from, request),
            PeerMessage::JobAssignment { job_id, .. } => {
                self.availability
                    .do_send(Feed(AvailabilityInput::JobAssigned {
                        from,
                        job: JobId::from(job_id),
                    }));
            }
            PeerMessage::JobCancel { job_id, reason } => match &self.job {
                Some(job) if job.id.as_str() == job_id && job.holder == from => {
                    tracing::info!(%from, job_id, reason, "the holder cancels the job");
                    job.addr.do_send(Feed(JobInput::CancelRequested));
                }
                _ => {
                    tracing::warn!(%from, job_id, "a cancel for a job that is not the sender's current one")
                }
            },
            PeerMessage::Unknown { kind } => {
                tracing::warn!(%from, kind, "a peer message of an unknown type")
            }
            other => {
                tracing::warn!(%from, message = ?other, "a peer message that is not for a worker")
            }
        }
    }

    fn requested(&mut self, from: PeerId, request: JobRequest) {
        let unfit = match request.min_gpu_memory_mb() {
            Ok(memory) => {
                self.capabilities
                    .unfit(memory, request.model_type(), request.job_type.as_deref())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = &unfit {
            tracing::info!(%from, job = request.job_id, reason, "the job is incompatible with this machine");
        }
        let job = JobId::from(request.job_id.as_str());
        self.requests.insert((from.clone(), job.clone()), request);
        self.availability
            .do_send(Feed(AvailabilityInput::JobRequested {
                from,
                job,
                fits: unfit.is_none(),
            }));
    }

    // --- what the availability wants ---------------------------------------------------------------------------

    fn accept_job(&mut self, to: &PeerId, job: JobId) {
        let Some(request) = self.requests.remove(&(to.clone(), job)) else {
            return;
        };
        let info = WorkerInfo {
            gpu_utilization: self.capabilities.gpu_utilization,
            available_memory_mb: self.capabilities.available_memory_mb,
        };
        let minutes = estimate_minutes(&request);
        self.tell(
            to,
            PeerMessage::JobResponse(JobResponse::accepted(request.job_id, minutes, info)),
        );
    }

    fn reject_job(&mut self, to: &PeerId, job: JobId, reason: &'static str) {
        let Some(request) = self.requests.remove(&(to.clone(), job)) else {
            return;
        };
        let message = (reason == JobResponse::INCOMPATIBLE).then(|| {
            let memory = request.min_gpu_memory_mb().unwrap_or(u64::MAX);
            self.capabilities
                .unfit(memory, request.model_type(), request.job_type.as_deref())
                .unwrap_or_else(|| "the requirements make no sense".to_owned())
        });
        self.tell(
            to,
            PeerMessage::JobResponse(JobResponse::rejected(request.job_id, reason, message)),
        );
    }

    fn accept_offer(&mut self, from: PeerId, ctx: &mut Context<Self>) {
        let Some(offer) = self.offers.remove(&from) else {
            return;
        };
        if self.links.len() >= MAX_LINKS {
            return tracing::warn!(%from, "too many connections are open or closing; the offer is dropped");
        }
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let addr = connect(Dial {
            link: id,
            peer: from.clone(),
            offer: Some(offer),
            config: self.rtc.clone(),
            plane: self.plane.clone(),
            owner: ctx.address().recipient(),
            supervisor: Some(ctx.address().recipient()),
        });
        self.links.insert(id, Link { peer: from, addr });
    }

    fn refuse_offer(&mut self, to: PeerId, status: Status) {
        self.offers.remove(&to);
        tracing::info!(%to, status = status.as_str(), "an offer was refused: worker_busy");
        self.send(ToHub::Error(Refusal::worker_busy(
            to.to_string(),
            status.as_str(),
        )));
    }

    fn admit_package(&mut self, from: PeerId, ctx: &mut Context<Self>) {
        let Some(announced) = self.announced.remove(&from) else {
            return;
        };
        if self.job.is_none() {
            let id = JobId::from(format!("job_{:08x}", rand::random::<u32>()));
            self.expect_job(from, id, ctx);
        }
        match &mut self.job {
            Some(job) => {
                job.link = Some(announced.link);
                let Announced {
                    channel,
                    announcement,
                    reply,
                    ..
                } = announced;
                job.addr.do_send(Admit {
                    announcement,
                    channel,
                    reply,
                });
            }
            None => {
                let _ = announced.reply.send(Err(
                    "the worker has no room for a job on its disk".to_owned()
                ));
            }
        }
    }

    fn expect_job(&mut self, holder: PeerId, id: JobId, ctx: &mut Context<Self>) {
        let scratch = match self.scratch.job(id.as_str()) {
            Ok(scratch) => scratch,
            Err(error) => return tracing::error!(%error, "no directory for the job"),
        };
        let addr = job(
            id.clone(),
            holder.clone(),
            scratch,
            self.settings.clone(),
            self.plane.clone(),
            ctx.address().recipient(),
            Some(ctx.address().recipient()),
        );
        self.job = Some(CurrentJob {
            id,
            holder,
            link: None,
            addr,
        });
    }

    fn publish(&self, status: Status, job: Option<&JobId>) {
        let mut metadata = Metadata::default();
        metadata.properties = status_properties(status, job);
        self.send(ToHub::UpdateMetadata {
            peer_id: self.peer_id.clone(),
            metadata,
        });
        self.notice(Notice::Status {
            status,
            job: job.map(JobId::to_string),
        });
    }

    fn release(&self, holder: &PeerId) {
        for link in self.links.values().filter(|link| link.peer == *holder) {
            link.addr.do_send(Feed(PeerInput::Close));
        }
    }

    // --- what a connection says --------------------------------------------------------------------------------

    fn described(&self, link: LinkId, sdp: String) {
        if let Some(link) = self.links.get(&link) {
            self.send(ToHub::Answer {
                sender: self.peer_id.clone(),
                target: link.peer.to_string(),
                sdp,
            });
        }
    }

    /// A connection is lost for good (worker-connection.md, ICE Connection State Management).
    fn lost(&mut self, id: LinkId, why: Lost) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let peer = link.peer.clone();
        tracing::info!(link = %id, %peer, ?why, "the connection is lost");
        let others = self
            .links
            .iter()
            .any(|(other, link)| *other != id && link.peer == peer);
        if let Some(job) = &self.job
            && job.link == Some(id)
        {
            job.addr.do_send(Feed(JobInput::LinkLost));
        }
        if !others {
            self.availability
                .do_send(Feed(AvailabilityInput::PeerLost { from: peer }));
        }
        if !self.stopping {
            self.session.do_send(Feed(SessionInput::Reregister));
        }
    }

    // --- the end -----------------------------------------------------------------------------------------------

    /// Job first, then connections, then the hub: each step waits for the one before.
    fn advance_stop(&mut self) {
        if !self.stopping || self.job.is_some() {
            return;
        }
        if self.links.is_empty() {
            self.session.do_send(Feed(SessionInput::Shutdown));
        } else {
            for link in self.links.values() {
                link.addr.do_send(Feed(PeerInput::Close));
            }
        }
    }
}

/// What the registration says of a worker (protocol page, 1.1); identity and room are the session's.
fn register(capabilities: &Capabilities, published: &Published) -> Register {
    let mut properties = capabilities.properties();
    properties.extend(status_properties(published.status, published.job.as_ref()));
    Register {
        peer_id: String::new(),
        room_id: String::new(),
        token: String::new(),
        id_token: String::new(),
        role: Some("worker".to_owned()),
        is_admin: None,
        metadata: Some(Metadata {
            tags: vec!["sleap-rtc".to_owned(), "training-worker".to_owned()],
            properties,
        }),
    }
}

/// The status as properties. A key that no longer holds is an explicit null: an update never removes one.
fn status_properties(status: Status, job: Option<&JobId>) -> crate::wire::Properties {
    let job = job.map(JobId::as_str);
    let (pending, current) = match status {
        Status::Available => (None, None),
        Status::Reserved => (job, None),
        Status::Busy => (None, job),
    };
    let mut properties = crate::wire::Properties::new();
    properties.insert("status".to_owned(), json!(status.as_str()));
    properties.insert("pending_job_id".to_owned(), json!(pending));
    properties.insert("current_job_id".to_owned(), json!(current));
    properties
}

/// An ICE server as the hub gives it, for the connection.
pub(crate) fn ice_server(server: crate::wire::IceServer) -> IceServer {
    IceServer {
        urls: server.urls,
        username: server.username.unwrap_or_default(),
        credential: server.credential.unwrap_or_default(),
    }
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<SessionNews> for Worker {
    type Result = ();

    fn handle(&mut self, news: SessionNews, _: &mut Self::Context) {
        match news {
            SessionNews::Registered(registered) => self.registered(*registered),
            SessionNews::Frame(frame) => self.hear(*frame),
            SessionNews::Down => self.notice(Notice::HubLost),
            SessionNews::Closed => self.finish(Ok(())),
            SessionNews::Failed(error) => self.finish(Err(error.into())),
        }
    }
}

impl Handler<Asked> for Worker {
    type Result = ();

    fn handle(&mut self, asked: Asked, ctx: &mut Self::Context) {
        match asked.0 {
            Act::AcceptJob { to, job } => self.accept_job(&to, job),
            Act::RejectJob { to, job, reason } => self.reject_job(&to, job, reason),
            Act::AcceptOffer { from } => self.accept_offer(from, ctx),
            Act::RefuseOffer { to, status } => self.refuse_offer(to, status),
            Act::AdmitPackage { from } => self.admit_package(from, ctx),
            Act::RefusePackage { from } => {
                if let Some(announced) = self.announced.remove(&from) {
                    let status = self.published.borrow().status;
                    let reason = format!("the worker is {} for somebody else", status.as_str());
                    let _ = announced.reply.send(Err(reason));
                }
            }
            Act::ExpectJob { from, job } => {
                tracing::info!(%from, %job, "Job assigned and ready for WebRTC connection");
                self.expect_job(from, job, ctx);
            }
            Act::Publish { status, job } => self.publish(status, job.as_ref()),
            Act::ReleaseHolder { holder } => self.release(&holder),
        }
    }
}

impl Handler<LinkNews> for Worker {
    type Result = ();

    fn handle(&mut self, news: LinkNews, ctx: &mut Self::Context) {
        match news.what {
            LinkEvent::Description(sdp) => self.described(news.link, sdp),
            LinkEvent::Channel(channel) => {
                self.plane
                    .spawn(serve(news.link, channel, ctx.address().recipient()));
            }
            LinkEvent::Open => tracing::debug!(link = %news.link, "the client is connected"),
            LinkEvent::Suspect => {
                tracing::warn!(link = %news.link, "the path to the client is gone for now; waiting up to 90 s")
            }
            LinkEvent::Recovered => {
                tracing::info!(link = %news.link, "the path to the client is back")
            }
            LinkEvent::Lost(why) => self.lost(news.link, why),
            LinkEvent::Closed => {
                self.links.remove(&news.link);
                self.advance_stop();
            }
        }
    }
}

impl Handler<Announced> for Worker {
    type Result = ();

    fn handle(&mut self, announced: Announced, _: &mut Self::Context) {
        let Some(link) = self.links.get(&announced.link) else {
            return;
        };
        let from = link.peer.clone();
        self.announced.insert(from.clone(), announced);
        self.availability
            .do_send(Feed(AvailabilityInput::PackageAnnounced { from }));
    }
}

impl Handler<JobNews> for Worker {
    type Result = ();

    fn handle(&mut self, news: JobNews, _: &mut Self::Context) {
        let Some(job) = self.job.as_ref().filter(|job| job.id == news.job) else {
            return;
        };
        let link = job.link.and_then(|link| self.links.get(&link));
        match news.what {
            JobEvent::Begun => {
                if let Some(link) = link {
                    link.addr.do_send(Feed(PeerInput::JobBegan));
                }
                let (from, job) = (job.holder.clone(), job.id.clone());
                self.availability
                    .do_send(Feed(AvailabilityInput::JobBegun { from, job }));
            }
            JobEvent::Tell(message) => self.tell(&job.holder, message),
            JobEvent::Ended(outcome) => {
                if let Some(link) = link {
                    link.addr.do_send(Feed(PeerInput::JobEnded));
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
                self.availability
                    .do_send(Feed(AvailabilityInput::JobEnded { job: news.job }));
                self.advance_stop();
            }
        }
    }
}

impl Handler<Stop> for Worker {
    type Result = ();

    fn handle(&mut self, _: Stop, _: &mut Self::Context) {
        let again = std::mem::replace(&mut self.stopping, true);
        if !again {
            self.availability.do_send(Feed(AvailabilityInput::Shutdown));
        }
        match &self.job {
            Some(job) if again => job.addr.do_send(Hurry),
            Some(job) => job.addr.do_send(Feed(JobInput::Shutdown)),
            None => self.advance_stop(),
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
