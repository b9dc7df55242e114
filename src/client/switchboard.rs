//! The switchboard of a client: it passes events between session, connection, transfers and submission. It decides
//! nothing: what an event means is for the charts to say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::prelude::*;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::reader::{Place, ResultsComing, Said, read};
use super::{Choice, ClientConfig, ClientError, Package, Progress, Report, Ui};
use crate::actors::peer::{Dial, LinkEvent, LinkId, LinkNews, PeerActor, RemoteAnswer, connect};
use crate::actors::session::{Send, SessionActor, SessionNews, session};
use crate::actors::submission::{SubmissionActor, SubmissionPerformer, Wanted};
use crate::actors::transfer::{Direction, Milestones, TransferActor, TransferEnded, transfer};
use crate::actors::{Died, Feed, start};
use crate::charts::peer::{Input as PeerInput, Lost};
use crate::charts::session::Input as SessionInput;
use crate::charts::submission::{Act, Input, Submission, Why};
use crate::charts::{PeerId, transfer::Input as TransferInput};
use crate::files::send_file;
use crate::rtc::{Channel, DataPlane, RtcConfig};
use crate::wire::{
    ChannelText, Filters, FromHub, HubError, JobRequest, Metadata, PackageKind, PeerInfo,
    PeerMessage, Properties, Register, RegisteredAuth, ToHub,
};
use crate::worker::ice_server;

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
    channel: Option<Channel>,
    open: bool,
}

/// The switchboard of a client.
pub struct Client {
    plane: DataPlane,
    rtc: RtcConfig,
    ui: Arc<dyn Ui>,
    choice: Choice,
    room_id: String,
    package: Package,
    output_dir: PathBuf,
    min_gpu_memory_mb: u64,
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
    command_failed: bool,
    /// What went wrong, in the words of whoever saw it.
    detail: Option<String>,
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
            let submission = start(Submission::new(), performer, "run", supervisor.clone());
            let (owner, room_id) = (ctx.address().recipient(), config.room.room_id.clone());
            let session = session(
                config.hub,
                Some(config.room),
                Box::new(describe),
                owner,
                "client",
                supervisor,
            );
            Client {
                plane: config.plane,
                rtc: config.rtc,
                ui: config.ui,
                choice: config.choice,
                room_id,
                package: config.package,
                output_dir: config.output_dir,
                min_gpu_memory_mb: config.min_gpu_memory_mb,
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
                command_failed: false,
                detail: None,
            }
        })
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

    fn tell_worker(&self, message: &PeerMessage) {
        self.send(ToHub::PeerMessage {
            from_peer_id: self.peer_id.clone(),
            to_peer_id: self.worker_id(),
            payload: message.to_value(),
        });
    }

    // --- finding a worker --------------------------------------------------------------------------------------

    fn discover(&mut self, ctx: &mut Context<Self>) {
        let Choice::Worker(id) = &self.choice else {
            let filters = worker_filter(&self.room_id, self.min_gpu_memory_mb);
            return self.send(ToHub::DiscoverPeers {
                from_peer_id: self.peer_id.clone(),
                filters,
            });
        };
        // The registration has told who is there: no need to ask.
        if self.present.peer_list.contains(id) {
            let metadata = self
                .present
                .peer_metadata
                .get(id)
                .cloned()
                .unwrap_or_default();
            ctx.notify(Chosen(Some(PeerInfo {
                peer_id: id.clone(),
                role: "worker".to_owned(),
                metadata,
                connected_at: 0.0,
            })));
        } else {
            self.detail = Some(format!(
                "the worker {id} is not in the room now; is it running?"
            ));
            self.feed(Input::NoWorker);
        }
    }

    fn discovered(&mut self, peers: Vec<PeerInfo>, ctx: &mut Context<Self>) {
        let all = peers.len();
        let mut free: Vec<_> = peers
            .into_iter()
            .filter(|peer| peer.text("status") == Some("available"))
            .collect();
        free.sort_by_key(|peer| std::cmp::Reverse(peer.number("gpu_memory_mb").unwrap_or(0)));
        match (free.len(), &self.choice) {
            (0, _) => {
                let memory = self.min_gpu_memory_mb;
                self.detail = Some(match (all, memory) {
                    (0, 0) => "no worker is in the room; start one with `loaner worker`".to_owned(),
                    (0, _) => format!(
                        "no worker of the room has {memory} MB of GPU memory; `loaner workers` lists them"
                    ),
                    _ => format!(
                        "all {all} fitting workers of the room are busy or reserved; try again later"
                    ),
                });
                self.feed(Input::NoWorker);
            }
            (1, _) | (_, Choice::Auto | Choice::Worker(_)) => {
                let best = free.into_iter().next();
                ctx.notify(Chosen(best));
            }
            (_, Choice::Ask) => {
                self.candidates = free;
                self.feed(Input::WorkersFound);
            }
        }
    }

    fn choose(&mut self, ctx: &mut Context<Self>) {
        let (ui, workers, back) = (
            self.ui.clone(),
            std::mem::take(&mut self.candidates),
            ctx.address(),
        );
        self.plane.spawn_blocking(move || {
            let chosen = ui
                .choose(&workers)
                .and_then(|index| workers.into_iter().nth(index));
            back.do_send(Chosen(chosen));
        });
    }

    fn request(&mut self) {
        let size = self.package.size as f64 / 1e6;
        self.tell_worker(&PeerMessage::JobRequest(JobRequest {
            job_id: self.job.clone(),
            job_type: Some("training".to_owned()),
            dataset_info: Some(
                json!({ "format": "zip", "path": self.package.name, "estimated_size_mb": size }),
            ),
            config: None,
            requirements: Some(json!({ "min_gpu_memory_mb": self.min_gpu_memory_mb })),
        }));
    }

    // --- the connection ----------------------------------------------------------------------------------------

    fn dial(&mut self, ctx: &mut Context<Self>) {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let addr = connect(Dial {
            link: id,
            peer: PeerId::from(self.worker_id()),
            offer: None,
            config: self.rtc.clone(),
            plane: self.plane.clone(),
            owner: ctx.address().recipient(),
            supervisor: Some(ctx.address().recipient()),
        });
        self.link = Some(Link {
            id,
            addr,
            channel: None,
            open: false,
        });
    }

    fn drop_connection(&mut self) {
        if let Some(link) = self.link.take() {
            link.addr.do_send(Feed(PeerInput::Close));
        }
    }

    fn begin_transfer(
        &self,
        direction: Direction,
        ctx: &mut Context<Self>,
    ) -> (Addr<TransferActor>, Milestones) {
        let name = if direction == Direction::Out {
            "package"
        } else {
            "results"
        };
        transfer(
            ctx.address().recipient(),
            direction,
            name,
            Some(ctx.address().recipient()),
        )
    }

    fn send_package(&mut self, ctx: &mut Context<Self>) {
        let Some(channel) = self.link.as_ref().and_then(|link| link.channel.clone()) else {
            return;
        };
        let (addr, milestones) = self.begin_transfer(Direction::Out, ctx);
        self.upload = Some(addr);
        let (path, name, size, ui) = (
            self.package.path.clone(),
            self.package.name.clone(),
            self.package.size,
            self.ui.clone(),
        );
        ui.progress(Progress::Uploading { bytes: size });
        self.plane.spawn(async move {
            for text in [
                ChannelText::PackageType(PackageKind::Train),
                ChannelText::OutputDir("models".to_owned()),
            ] {
                if let Err(error) = channel.send_text(&text.to_text()).await {
                    return milestones.broke(error);
                }
            }
            send_file(
                channel,
                path,
                name,
                "False".to_owned(),
                milestones,
                |bytes| {
                    ui.progress(Progress::Uploaded { bytes });
                },
            )
            .await;
        });
    }

    fn receive_results(&mut self, ctx: &mut Context<Self>) {
        let Some(coming) = self.coming.take() else {
            return;
        };
        let (addr, milestones) = self.begin_transfer(Direction::In, ctx);
        self.download = Some(addr);
        let name = free_name(&self.output_dir, &coming.name);
        self.ui.progress(Progress::Downloading {
            name: name.clone(),
            bytes: coming.size,
        });
        // A reader that is gone has lost its channel, which is reported on its own.
        let _ = coming.reply.send(Place {
            dir: self.output_dir.clone(),
            name,
            milestones,
        });
    }

    fn stop_streams(&mut self) {
        for transfer in [self.upload.take(), self.download.take()]
            .into_iter()
            .flatten()
        {
            transfer.do_send(Feed(TransferInput::Abort));
        }
    }

    // --- what the worker says ----------------------------------------------------------------------------------

    fn hear(&mut self, frame: FromHub, ctx: &mut Context<Self>) {
        match frame {
            FromHub::PeerList { peers } => self.discovered(peers, ctx),
            FromHub::Answer { sender, sdp } if sender == self.worker_id() => {
                if let Some(link) = &self.link {
                    link.addr.do_send(RemoteAnswer(sdp));
                }
            }
            FromHub::PeerMessage {
                from_peer_id,
                payload,
            } if from_peer_id == self.worker_id() => match PeerMessage::parse(&payload) {
                Ok(message) => self.hear_worker(message),
                Err(error) => tracing::warn!(%error, "a message of the worker was not understood"),
            },
            FromHub::Error(error) => self.hear_error(&error),
            other => tracing::debug!(frame = ?other, "not for a client"),
        }
    }

    fn hear_error(&mut self, error: &HubError) {
        tracing::warn!(%error, "the hub reports an error");
        if error.is_worker_busy() {
            let status = error.current_status.as_deref().unwrap_or("busy");
            self.detail = Some(format!(
                "the worker is {status} for somebody else; try again later, or another worker"
            ));
            self.feed(Input::WorkerBusy);
        } else if matches!(
            error.code.as_deref(),
            Some("PEER_NOT_FOUND" | "PEER_NOT_IN_ROOM")
        ) {
            self.detail = Some("the worker has left the room".to_owned());
            self.feed(Input::JobRejected);
            self.feed(Input::DialFailed);
        }
    }

    fn hear_worker(&mut self, message: PeerMessage) {
        let connected = self.link.as_ref().is_some_and(|link| link.open);
        match message {
            PeerMessage::JobResponse(response) if response.job_id == self.job => {
                if response.accepted {
                    self.ui.progress(Progress::Reserved {
                        job: self.job.clone(),
                    });
                    self.feed(Input::JobAccepted);
                } else {
                    let reason = response
                        .reason
                        .unwrap_or_else(|| "no reason given".to_owned());
                    self.detail = Some(match response.message {
                        Some(message) => {
                            format!("the worker does not take the job: {reason} ({message})")
                        }
                        None => format!("the worker does not take the job: {reason}"),
                    });
                    self.feed(Input::JobRejected);
                }
            }
            PeerMessage::JobCancelled { job_id, .. } if job_id == self.job => {
                self.feed(Input::JobCancelled)
            }
            // While the channel is open, the verdict comes on it, in its place behind the results.
            PeerMessage::JobFailed { job_id, error, .. } if job_id == self.job && !connected => {
                self.detail = Some(error.message);
                self.feed(Input::JobOver { ok: false });
            }
            other => tracing::debug!(message = ?other, "the worker reports"),
        }
    }

    fn heard_on_channel(&mut self, text: ChannelText) {
        match text {
            ChannelText::TrainJobStart(name) => self.ui.progress(Progress::Started { name }),
            ChannelText::TrainJobEnd(name) => self.ui.progress(Progress::Ended { name, code: 0 }),
            ChannelText::TrainJobError { name, code } => {
                self.command_failed = true;
                self.detail = Some(format!("{name} failed with exit code {code}"));
                self.ui.progress(Progress::Ended { name, code });
            }
            ChannelText::TrainingJobsDone => self.feed(Input::CommandsDone {
                ok: !self.command_failed,
            }),
            ChannelText::JobComplete { .. } => self.feed(Input::JobOver { ok: true }),
            ChannelText::JobFailed { message, .. } => {
                self.detail = Some(message);
                self.feed(Input::JobOver { ok: false });
            }
            ChannelText::JobCancelled { .. } => self.feed(Input::JobCancelled),
            other => tracing::debug!(message = ?other, "not for this client"),
        }
    }

    // --- the end -----------------------------------------------------------------------------------------------

    fn settle(&mut self, outcome: Result<Report, ClientError>, ctx: &mut Context<Self>) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = Some(outcome);
        self.stop_streams();
        let readers = std::mem::take(&mut self.readers);
        let (link, session) = (self.link.take(), self.session.clone());
        if let Some(link) = &link {
            link.addr.do_send(Feed(PeerInput::Close));
        }
        // The readers end with the channel; until then a file that is given up may not have left the disk.
        let done = async move {
            for reader in readers {
                let _ = reader.await;
            }
        };
        let limited =
            async move { tokio::time::timeout(std::time::Duration::from_secs(6), done).await };
        ctx.spawn(
            actix::fut::wrap_future(limited).map(move |_, _: &mut Self, _| {
                session.do_send(Feed(SessionInput::Shutdown));
            }),
        );
    }

    fn report(&self) -> Report {
        Report {
            job: self.job.clone(),
            worker: self.worker_id(),
            results: self.results.clone(),
        }
    }

    fn failure(&mut self, why: Why) -> ClientError {
        let detail = self.detail.take();
        let message = match why {
            Why::NoWorker => detail.unwrap_or_else(|| "no worker was chosen".to_owned()),
            Why::Rejected => {
                detail.unwrap_or_else(|| "the worker does not take the job".to_owned())
            }
            Why::NoAnswer => "no answer came in time; is the worker still running?".to_owned(),
            Why::NotConnected => format!(
                "no connection to the worker came up ({}); `loaner hub` needs no more than to be reached, but client and worker need a path by UDP",
                detail.as_deref().unwrap_or("ICE found no path")
            ),
            Why::NotSent => format!(
                "the package could not be sent: {}",
                detail.as_deref().unwrap_or("the connection broke")
            ),
            Why::LinkLost => {
                "the connection to the worker is lost; run the same command again".to_owned()
            }
            Why::JobFailed => format!(
                "the job failed: {}",
                detail.as_deref().unwrap_or("the worker gave no reason")
            ),
            Why::NotReceived => {
                format!(
                    "the results did not arrive whole: {}",
                    detail.as_deref().unwrap_or("none were sent")
                )
            }
            Why::Interrupted => "stopped by the user".to_owned(),
        };
        ClientError::Failed {
            why,
            message,
            results: self.results.clone(),
        }
    }
}

/// What the registration says of a client (protocol page, 1.1); identity and room are the session's.
pub(super) fn describe() -> Register {
    let mut properties = Properties::new();
    properties.insert("platform".to_owned(), json!(std::env::consts::OS));
    properties.insert("loaner".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    Register {
        peer_id: String::new(),
        room_id: String::new(),
        token: String::new(),
        id_token: String::new(),
        role: Some("client".to_owned()),
        is_admin: None,
        metadata: Some(Metadata {
            tags: vec!["sleap-rtc".to_owned(), "training-client".to_owned()],
            properties,
        }),
    }
}

/// Every worker of the room with enough memory, whatever its status: who finds all of them busy wants to be told so.
pub(super) fn worker_filter(room_id: &str, min_gpu_memory_mb: u64) -> Filters {
    let properties = (min_gpu_memory_mb > 0).then(|| {
        let mut properties = Properties::new();
        properties.insert(
            "gpu_memory_mb".to_owned(),
            json!({ "$gte": min_gpu_memory_mb }),
        );
        properties
    });
    Filters {
        role: Some("worker".to_owned()),
        room_id: Some(room_id.to_owned()),
        tags: None,
        properties,
    }
}

/// `name`, or `name-2` and so on: results never replace what is there.
fn free_name(dir: &Path, name: &str) -> String {
    let path = Path::new(name);
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let extension = path
        .extension()
        .map(|extension| format!(".{}", extension.to_string_lossy()))
        .unwrap_or_default();
    std::iter::once(name.to_owned())
        .chain((2..).map(|number| format!("{stem}-{number}{extension}")))
        .find(|candidate| !dir.join(candidate).exists())
        .unwrap_or_else(|| name.to_owned())
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
                self.rtc.ice_servers = registered
                    .ice_servers
                    .iter()
                    .cloned()
                    .map(ice_server)
                    .collect();
                self.present = *registered;
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
            Act::ReceiveResults => self.receive_results(ctx),
            Act::StopStreams => self.stop_streams(),
            Act::SendJobCancel => {
                self.ui.progress(Progress::Cancelling);
                let reason = Some("stopped by the user".to_owned());
                self.tell_worker(&PeerMessage::JobCancel {
                    job_id: self.job.clone(),
                    reason,
                });
            }
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

impl Handler<Chosen> for Client {
    type Result = ();

    fn handle(&mut self, chosen: Chosen, _: &mut Self::Context) {
        let Some(worker) = chosen.0 else {
            return self.feed(Input::NoWorker);
        };
        self.ui.progress(Progress::Chosen {
            worker: worker.peer_id.clone(),
        });
        let negotiates = worker.metadata.properties.contains_key("loaner");
        self.worker = Some(worker);
        self.feed(Input::WorkerChosen { negotiates });
    }
}

impl Handler<LinkNews> for Client {
    type Result = ();

    fn handle(&mut self, news: LinkNews, ctx: &mut Self::Context) {
        let (sender, target) = (self.peer_id.clone(), self.worker_id());
        let Some(link) = self.link.as_mut().filter(|link| link.id == news.link) else {
            return;
        };
        match news.what {
            LinkEvent::Description(sdp) => self.send(ToHub::Offer {
                sender,
                target,
                sdp,
            }),
            LinkEvent::Channel(channel) => {
                link.channel = Some(channel.clone());
                let (said, coming) = (ctx.address().recipient(), ctx.address().recipient());
                self.readers.push(self.plane.spawn(read(
                    news.link,
                    channel,
                    said,
                    coming,
                    self.ui.clone(),
                )));
            }
            LinkEvent::Open => {
                link.open = true;
                self.ui.progress(Progress::Connected);
                self.feed(Input::ChannelOpen);
            }
            LinkEvent::Suspect => self.ui.progress(Progress::Suspect),
            LinkEvent::Recovered => self.ui.progress(Progress::Recovered),
            LinkEvent::Lost(why) => {
                link.open = false;
                self.feed(if why == Lost::NeverOpened {
                    Input::DialFailed
                } else {
                    Input::LinkLost
                });
            }
            LinkEvent::Closed => {}
        }
    }
}

impl Handler<Said> for Client {
    type Result = ();

    fn handle(&mut self, said: Said, _: &mut Self::Context) {
        if self.link.as_ref().is_some_and(|link| link.id == said.link) {
            match said.text {
                Ok(text) => self.heard_on_channel(text),
                Err(error) => {
                    self.detail = Some(error.to_string());
                    self.feed(Input::ResultsAnnounced);
                    self.feed(Input::ReceiveFailed);
                }
            }
        }
    }
}

impl Handler<ResultsComing> for Client {
    type Result = ();

    fn handle(&mut self, coming: ResultsComing, _: &mut Self::Context) {
        if self
            .link
            .as_ref()
            .is_some_and(|link| link.id == coming.link)
        {
            self.coming = Some(coming);
            self.feed(Input::ResultsAnnounced);
        }
    }
}

impl Handler<TransferEnded> for Client {
    type Result = ();

    fn handle(&mut self, ended: TransferEnded, _: &mut Self::Context) {
        let event = match (ended.result, ended.direction) {
            (Ok(_), Direction::Out) => {
                self.ui.progress(Progress::Sent);
                Input::PackageSent
            }
            (Ok(path), Direction::In) => {
                self.ui.progress(Progress::Received { path: path.clone() });
                self.results = Some(path);
                Input::ResultsReceived
            }
            (Err(reason), direction) => {
                self.detail.get_or_insert(reason);
                if direction == Direction::Out {
                    Input::SendFailed
                } else {
                    Input::ReceiveFailed
                }
            }
        };
        self.feed(event);
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
