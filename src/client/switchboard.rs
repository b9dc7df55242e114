//! The switchboard of a client: it passes events between session, connection, transfers and submission. It decides
//! nothing: what an event means is for the charts to say.

mod connection;
pub(super) mod describe;
mod find;
mod hear;
mod named;
mod outcome;
mod tube;

pub(super) use self::connection::free_name;
use actix::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::inbox::introduce;
use super::passage::takes_tubes;
use super::reader::ResultsComing;
use super::way::Managed;
use super::{Choice, ClientConfig, ClientError, Progress, Report, Ui, Work};
use crate::actors::peer::{LinkId, PeerActor};
use crate::actors::session::{HubAccess, Send, SessionActor, SessionNews, session};
use crate::actors::submission::{SubmissionActor, SubmissionPerformer, Wanted};
use crate::actors::transfer::TransferActor;
use crate::actors::{Died, Feed, start};
use crate::charts::submission::{Act, Input, Submission};
use crate::rtc::{DataPlane, RtcConfig};
use crate::tunnel::network::NetworkWatcher;
use crate::tunnel::tube::Line;
use crate::wire::own::{OwnText, PROPERTY, SPEAKS_OF_JOBS, Versions};
use crate::wire::{PeerInfo, PeerMessage, RegisteredAuth, RoomCredentials, ToHub};
use crate::worker::ice_servers;

/// The user wants to stop.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Interrupt;

/// The user, or a rule, chose; or nobody was chosen.
#[derive(Message)]
#[rtype(result = "()")]
struct Chosen(Option<PeerInfo>);

struct Link {
    id: LinkId,
    addr: Addr<PeerActor>,
    /// Between two Loaners, the tube that it carries at first.
    way: Option<Managed>,
    /// What goes over it.
    line: Option<Line>,
    /// What a Loaner worker answers on it.
    heard: Option<mpsc::Receiver<OwnText>>,
    open: bool,
    /// The way is lost, and is being brought back.
    away: bool,
    answered: bool,
}

/// The switchboard of a client.
pub struct Client {
    plane: DataPlane,
    rtc: RtcConfig,
    ui: Arc<dyn Ui>,
    choice: Choice,
    room: RoomCredentials,
    network: NetworkWatcher,
    work: Work,
    output_dir: PathBuf,
    min_gpu_memory_mb: u64,
    secret: Option<[u8; 32]>,
    hub: HubAccess,
    session: Addr<SessionActor>,
    submission: Addr<SubmissionActor>,
    end: Option<oneshot::Sender<Result<Report, ClientError>>>,
    outcome: Option<Result<Report, ClientError>>,
    peer_id: String,
    job: String,
    present: RegisteredAuth,
    candidates: Vec<PeerInfo>,
    worker: Option<PeerInfo>,
    link: Option<Link>,
    next_link: u64,
    readers: Vec<JoinHandle<()>>,
    upload: Option<Addr<TransferActor>>,
    download: Option<Addr<TransferActor>>,
    coming: Option<ResultsComing>,
    results: Option<PathBuf>,
    /// Where results stay at the worker, in its words.
    at_worker: Option<String>,
    command_failed: bool,
    /// What went wrong, in the words of whoever saw it.
    detail: Option<String>,
    /// Why there is no relay, where there is a server for it.
    no_relay: Option<String>,
}

impl Client {
    pub(super) fn start(
        config: ClientConfig,
        end: oneshot::Sender<Result<Report, ClientError>>,
    ) -> Addr<Self> {
        Client::create(move |ctx| {
            let supervisor = Some(ctx.address().recipient::<Died>());
            let performer = SubmissionPerformer {
                client: ctx.address().recipient(),
            };
            let chart = match &config.work {
                Work::Package(_) => Submission::new(),
                Work::Named(_) => Submission::named(),
            };
            let submission = start(chart, performer, "run", supervisor.clone());
            let owner = ctx.address().recipient();
            let session = session(
                config.hub.clone(),
                Some(config.room.clone()),
                describe::describe(),
                owner,
                "client",
                supervisor,
            );
            Client {
                network: NetworkWatcher::new(config.plane.clone()),
                plane: config.plane,
                rtc: config.rtc,
                ui: config.ui,
                choice: config.choice,
                room: config.room,
                work: config.work,
                output_dir: config.output_dir,
                min_gpu_memory_mb: config.min_gpu_memory_mb,
                secret: config.secret,
                hub: config.hub,
                session,
                submission,
                end: Some(end),
                outcome: None,
                peer_id: String::new(),
                job: uuid::Uuid::new_v4().to_string(),
                present: RegisteredAuth::default(),
                candidates: Vec::new(),
                worker: None,
                link: None,
                next_link: 1,
                readers: Vec::new(),
                upload: None,
                download: None,
                coming: None,
                results: None,
                at_worker: None,
                command_failed: false,
                detail: None,
                no_relay: None,
            }
        })
    }

    /// The hub keeps mail for devices that it has seen.
    fn introduce(&self) {
        let known = self.hub.keeper.load().ok().flatten();
        if known.is_none_or(|identity| identity.introduced) {
            return;
        }
        let hub = self.hub.clone();
        actix_rt::spawn(async move {
            if let Err(error) = introduce(&hub).await {
                tracing::debug!(%error, "the hub has not seen this device yet");
            }
        });
    }

    fn feed(&self, event: Input) {
        self.submission.do_send(Feed(event));
    }

    fn send(&self, frame: ToHub) {
        self.session.do_send(Send(frame));
    }

    fn worker_id(&self) -> String {
        self.worker
            .as_ref()
            .map(|worker| worker.peer_id.clone())
            .unwrap_or_default()
    }

    /// Whether the worker is a Loaner too.
    fn worker_is_ours(&self) -> bool {
        let worker = self.worker.as_ref();
        worker.is_some_and(|worker| worker.metadata.properties.contains_key("loaner"))
    }

    /// Whether a tube can go to the worker.
    fn worker_takes_tubes(&self) -> bool {
        let worker = self.worker.as_ref();
        worker.is_some_and(|worker| takes_tubes(&worker.metadata))
    }

    /// The words of Loaner's own that the worker speaks.
    fn worker_versions(&self) -> Option<Versions> {
        let properties = &self.worker.as_ref()?.metadata.properties;
        Versions::of_property(properties.get(PROPERTY))
    }

    /// Whether the worker speaks of jobs on the channel.
    fn hears_of_jobs(&self) -> bool {
        let versions = self.worker_versions();
        versions.is_some_and(|versions| versions.highest >= SPEAKS_OF_JOBS)
    }

    fn cancel(&self, reason: &str) {
        self.tell_worker(&PeerMessage::JobCancel {
            job_id: self.job.clone(),
            reason: Some(reason.to_owned()),
        });
    }

    fn tell_worker(&self, message: &PeerMessage) {
        self.send(ToHub::PeerMessage {
            from_peer_id: self.peer_id.clone(),
            to_peer_id: self.worker_id(),
            payload: message.to_value(),
        });
    }
}

impl Actor for Client {
    type Context = Context<Self>;
}

impl Handler<SessionNews> for Client {
    type Result = ();

    fn handle(&mut self, news: SessionNews, ctx: &mut Self::Context) {
        match news {
            SessionNews::Registered(registered) => {
                self.peer_id.clone_from(&registered.peer_id);
                self.rtc.ice_servers = ice_servers(&registered.ice_servers);
                self.present = *registered;
                self.introduce();
                self.ui.progress(Progress::Registered);
                self.feed(Input::Start);
            }
            SessionNews::Frame(frame) => self.hear(*frame, ctx),
            SessionNews::Down => self.ui.progress(Progress::HubLost),
            SessionNews::Closed => {
                let outcome = self
                    .outcome
                    .take()
                    .unwrap_or_else(|| Err(ClientError::Died("session".to_owned())));
                if let Some(end) = self.end.take() {
                    let _ = end.send(outcome);
                }
            }
            SessionNews::Failed(error) => {
                if let Some(end) = self.end.take() {
                    let _ = end.send(Err(error.into()));
                }
            }
        }
    }
}

impl Handler<Wanted> for Client {
    type Result = ();

    fn handle(&mut self, wanted: Wanted, ctx: &mut Self::Context) {
        match wanted.0 {
            Act::Discover => self.discover(ctx),
            Act::Choose => self.choose(ctx),
            Act::SendJobRequest => self.request(),
            Act::SendJobAssignment => {
                self.tell_worker(&PeerMessage::JobAssignment {
                    job_id: self.job.clone(),
                    initiate_connection: true,
                });
            }
            Act::Dial => self.dial(ctx),
            Act::DropConnection => self.drop_connection(),
            Act::SendPackage => self.send_package(ctx),
            Act::NameFile => self.name_file(),
            Act::ReceiveResults => self.receive_results(ctx),
            Act::StopStreams => self.stop_streams(),
            Act::SendJobCancel => {
                self.ui.progress(Progress::Cancelling);
                self.cancel("stopped by the user");
            }
            Act::ReleaseWorker => self.cancel("its file cannot be run"),
            Act::ReportDone => {
                let report = self.report();
                self.settle(Ok(report), ctx);
            }
            Act::ReportFailed(why) => {
                let failure = self.failure(why);
                self.settle(Err(failure), ctx);
            }
        }
    }
}

impl Handler<Interrupt> for Client {
    type Result = ();

    fn handle(&mut self, _: Interrupt, _: &mut Self::Context) {
        self.feed(Input::Interrupt);
    }
}

impl Handler<Died> for Client {
    type Result = ();

    fn handle(&mut self, died: Died, _: &mut Self::Context) {
        if let Some(end) = self.end.take() {
            let _ = end.send(Err(ClientError::Died(died.chart.to_owned())));
        }
    }
}
