//! The hub: the signalling server, assembled.
//!
//! It introduces workers and clients to one another (signalling-server.md, sections 1a and 2a to 2d) and then steps
//! aside. WebSocket and HTTP share one port, and any number of further listeners.
//!
//! * `server` listens (`tls`), `handshake` decides who may come in (`auth`), `http` answers the requests of section 1a and
//!   those of an operator (`operator`, `state`, `metrics`, `prometheus`, `access`).
//! * `connection` is the actor of one socket, driven by the chart `hub_connection`; `line` is the socket as a stream, and
//!   `outbox` the bounded way out of it. `device` is the device dialect, `frames` the signalling dialect.
//! * `table` is the one structure of connections (`connections`), rooms and peers: no socket, no clock. `register`, `mesh`,
//!   `notices`, `post` and `deletion` say what is done to it, `filter` and `metadata` what is found and what is kept,
//!   `keeping` what outlives a restart. `core` holds it, behind one lock; `upkeep` does what time asks for.
//! * `engine` is the seam behind which messages between devices are routed (`mail`) and kept (`store`).

mod access;
pub mod auth;
mod connection;
mod connections;
mod core;
mod deletion;
mod device;
pub mod engine;
mod filter;
mod frames;
mod guesses;
mod handshake;
mod http;
pub mod ice;
mod keeping;
mod limits;
mod line;
pub mod mail;
mod mesh;
mod metadata;
mod metrics;
mod notices;
mod operator;
mod outbox;
mod post;
mod prometheus;
mod register;
mod room;
mod server;
mod state;
pub mod store;
mod table;
mod tls;
mod tokens;
mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use actix_server::ServerHandle;
use tokio::sync::oneshot;

pub use limits::HubLimits;
pub use tls::{TlsError, TlsFiles};

use self::core::Core;
use auth::{AuthConfig, AuthConfigError, Secret, Verifier};
use mail::{Mail, MailLimits};
use store::{Done, Examined, OpenError, Place, SqliteStore, Store};
use table::Now;
use tls::Certificate;

/// How long a draining hub waits for the peers to answer the close frames, before it drops them.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// How long the store may take for its first entry.
const START_TIME: Duration = Duration::from_secs(30);
/// How long a stopping hub may take to write down what is in memory.
const FLUSH_TIME: Duration = Duration::from_secs(10);

/// How a hub is set up. [`HubConfig::default`] is a hub on `127.0.0.1:8080` with the times of the original server.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The addresses to listen on, each serving WebSocket and HTTP alike. Port 0 picks a free one.
    pub listen: Vec<SocketAddr>,
    /// How long an empty room can be entered, from its creation or from the last departure (2 h).
    /// A room does not expire while peers are in it.
    pub room_lifetime: Duration,
    /// Whose tokens are accepted, and how long the hub's own are good (1 h).
    pub auth: AuthConfig,
    /// How long a peer may say nothing before it is pinged (25 s, of which up to a tenth is left to chance).
    pub ping_interval: Duration,
    /// How long it may take to answer (10 s): a peer that is gone is closed after both together.
    pub pong_timeout: Duration,
    /// Whether the JSON frame `{"type":"ping"}` is sent as well, each `ping_interval`. The peers of 2026 hang up
    /// without it; those of 2025 only log it. Off by default.
    pub json_ping: bool,
    /// The STUN and TURN servers of `registered_auth`. None by default.
    pub ice: ice::IceConfig,
    /// The `mesh_ice_servers` of `registered_auth`, as the peers' WebRTC stack reads them: objects with no keys other
    /// than `urls`, `username`, `credential` and `credentialType`. Empty by default.
    pub mesh_ice_servers: Vec<serde_json::Value>,
    /// The hub's name among others, which its ids carry: letters, digits and dashes (`hub`).
    pub node: String,
    /// Where rooms, mailboxes and the hub's secret are kept (in memory, and gone when the hub stops).
    pub store: Place,
    /// Bounds on mailboxes.
    pub mail: MailLimits,
    /// TLS for every listener.
    pub tls: Option<TlsFiles>,
    /// The origins whose pages may open a WebSocket, as browsers name them (`https://lab.example`). Empty: any. Programs other
    /// than browsers name none, and are not asked for one.
    pub origins: Vec<String>,
    /// The token of the administrator, for `/connections`, `/rooms` and `/limits`. None: they do not exist.
    pub admin_token: Option<Secret>,
    /// Whether room tokens have the classic short form, of 24 bits, which can be guessed. Off by default: 128 bits.
    pub classic_room_tokens: bool,
    /// Whether each request and the end of each socket gets a line in the log (`loaner::access`).
    pub access_log: bool,
    /// Bounds on what peers may send, hold and ask for.
    pub limits: HubLimits,
}

impl Default for HubConfig {
    fn default() -> Self {
        HubConfig {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            room_lifetime: Duration::from_secs(2 * 60 * 60),
            auth: AuthConfig::default(),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            json_ping: false,
            ice: ice::IceConfig::default(),
            mesh_ice_servers: Vec::new(),
            node: "hub".to_owned(),
            store: Place::Memory,
            mail: MailLimits::default(),
            tls: None,
            origins: Vec::new(),
            admin_token: None,
            classic_room_tokens: false,
            access_log: true,
            limits: HubLimits::default(),
        }
    }
}

/// Why a hub could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// [`HubConfig::listen`] is empty.
    #[error("the hub has no address to listen on; give it one, such as 127.0.0.1:8080")]
    NoListener,
    /// An address could not be bound.
    #[error("the hub cannot listen on {addr}: {source}; {}", advice(.source))]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The name of the node cannot be a part of an id.
    #[error("`{0}` cannot be the name of a hub: use 1 to 32 letters, digits and dashes")]
    Node(String),
    /// The tokens that are to be accepted are not set up right.
    #[error("tokens: {0}")]
    Auth(#[from] AuthConfigError),
    /// A STUN or TURN server cannot be used.
    #[error("ICE servers: {0}")]
    Ice(#[from] ice::IceConfigError),
    /// The certificate cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The store cannot be opened.
    #[error("store: {0}")]
    Store(#[from] OpenError),
    /// The store cannot be written.
    #[error("store: {0}; is the disk full?")]
    NotWritten(String),
    /// The server's accept loop failed while it ran.
    #[error("the hub's server ended: {0}")]
    Server(io::Error),
}

/// What a person can do about a bind error.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has that port: stop it, or choose another port (0 picks a free one)"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges: choose a higher one",
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address: use 127.0.0.1 or 0.0.0.0"
        }
        _ => "choose another address",
    }
}

/// The hub, not yet running.
#[derive(Debug)]
pub struct Hub;

impl Hub {
    /// Looks whether a hub could start with this, apart from its listeners: nothing is bound, made or changed. What is found
    /// where the store is to be; that a hub uses it is no error, since that hub may be the one to be restarted.
    pub fn check(config: &HubConfig) -> Result<Examined, HubError> {
        settings(config)?;
        Ok(SqliteStore::examine(&config.store)?)
    }

    /// Binds every address of `config` and starts to serve. It must be called within a running `actix_rt::System`. The hub
    /// serves until [`RunningHub::stop`] or the end of the system.
    pub fn start(mut config: HubConfig) -> Result<RunningHub, HubError> {
        let parts = Parts::open(&config)?;
        config.limits.fit(open_files());
        config.limits.fit_mail(&mut config.mail);
        // Bound before anything is started, so that there is nothing to undo.
        let listeners = config
            .listen
            .iter()
            .map(|&addr| server::bind(addr).map_err(|source| HubError::Bind { addr, source }))
            .collect::<Result<Vec<_>, _>>()?;
        let config = Arc::new(config);
        let mut recovered = parts.recovered;
        let (rooms, peers) = (
            std::mem::take(&mut recovered.rooms),
            std::mem::take(&mut recovered.peers),
        );
        let store = Arc::new(parts.store);
        let kept = Arc::clone(&store) as Arc<dyn Store>;
        let engine = Mail::new(kept, recovered, &config.node, config.mail.clone());
        // Whoever comes first finds ids reserved. Sessions that are taken up are not found again: after a kill they would be
        // resumed as they were at the last planned stop.
        written(|done| store.save_sessions(Vec::new(), done))?;
        let core = Arc::new(Core::new(Arc::clone(&config), parts.verifier, engine));
        core.table().restore(rooms, peers, Now::read());
        let addrs = listeners
            .iter()
            .zip(&config.listen)
            .map(|(listener, &addr)| {
                listener
                    .local_addr()
                    .map_err(|source| HubError::Bind { addr, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let tls = match &parts.certificate {
            None => None,
            Some(certificate) => Some(
                certificate
                    .server()
                    .map_err(io::Error::other)
                    .map_err(HubError::Server)?,
            ),
        };
        let server = server::serve(&core, listeners, tls).map_err(HubError::Server)?;
        let handle = server.handle();
        let (ended_tx, ended) = oneshot::channel();
        actix_rt::spawn(async move {
            // Nobody waits for the end any more when the receiver is gone, so there is nobody to tell.
            let _ = ended_tx.send(server.await);
        });
        let ticking = actix_rt::spawn(upkeep::all(Arc::clone(&core), parts.certificate));
        tracing::info!(?addrs, "hub listening");
        Ok(RunningHub {
            addrs,
            core,
            store,
            handle,
            ticking,
            ended: Some(ended),
        })
    }
}

/// What a hub is made of, before it listens.
struct Parts {
    verifier: Verifier,
    certificate: Option<Arc<Certificate>>,
    store: SqliteStore,
    recovered: store::Recovered,
}

impl Parts {
    fn open(config: &HubConfig) -> Result<Self, HubError> {
        // Looked at before the store is made, so that a mistake leaves nothing behind.
        let certificate = settings(config)?;
        let (store, recovered) = SqliteStore::open(&config.store)?;
        let verifier = Verifier::new(config.auth.clone(), &recovered.secret)?;
        Ok(Parts {
            verifier,
            certificate,
            store,
            recovered,
        })
    }
}

/// Looks at all that a hub needs beside its listeners and its store; the certificate comes back.
fn settings(config: &HubConfig) -> Result<Option<Arc<Certificate>>, HubError> {
    if config.listen.is_empty() {
        return Err(HubError::NoListener);
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !(1..=32).contains(&config.node.len()) || !config.node.chars().all(fits) {
        return Err(HubError::Node(config.node.clone()));
    }
    config.ice.check()?;
    Verifier::new(config.auth.clone(), &[0; 32])?;
    Ok(config.tls.clone().map(Certificate::load).transpose()?)
}

/// Waits until the store has carried out this order, and all before it.
fn written(order: impl FnOnce(Done<()>)) -> Result<(), HubError> {
    let (done, written) = std::sync::mpsc::channel();
    order(Box::new(move |answer| {
        // Whoever waited may have given up.
        let _ = done.send(answer);
    }));
    match written.recv_timeout(START_TIME) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failed)) => Err(HubError::NotWritten(failed.to_string())),
        Err(_) => Err(HubError::NotWritten(
            "it takes too long to write".to_owned(),
        )),
    }
}

/// How many files the process may have open.
fn open_files() -> u64 {
    nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map_or(1024, |(soft, _)| soft)
}

impl fmt::Debug for RunningHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningHub")
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

/// A hub that serves. Dropping it does not stop the hub; [`RunningHub::stop`] does.
pub struct RunningHub {
    /// The bound addresses, in the order of [`HubConfig::listen`], with port 0 replaced by the one that was picked.
    pub addrs: Vec<SocketAddr>,
    core: Arc<Core>,
    store: Arc<SqliteStore>,
    handle: ServerHandle,
    ticking: actix_rt::task::JoinHandle<()>,
    /// None once the end has been told.
    ended: Option<oneshot::Receiver<io::Result<()>>>,
}

impl RunningHub {
    /// Whether it speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.core.config.tls.is_some()
    }

    /// Stops gracefully: no new connections, every socket told to come back (1001, or 4000 in the device dialect) and given
    /// 3 s to answer, what is in memory written down, and the sessions that devices may come back to; then the listeners
    /// close.
    pub async fn stop(self) {
        self.handle.pause().await;
        // Senders hear of what they sent while they are still there.
        self.core.engine.flush(FLUSH_TIME).await;
        self.core.drain(DRAIN_TIME).await;
        self.ticking.abort();
        if !self.core.engine.close(FLUSH_TIME).await {
            tracing::error!(
                "not everything could be written down; senders without a receipt will send again"
            );
        }
        self.handle.stop(false).await;
        if let Some(ended) = self.ended {
            let _ = ended.await;
        }
        if let Err(error) = self.store.close() {
            tracing::error!(%error, "the store was not closed well");
        }
        tracing::info!("hub stopped");
    }

    /// Waits until the hub ends by itself: an error of its accept loop, or the end of the actix system. It can be
    /// dropped and called again, so it fits a `select!` beside a signal.
    pub async fn ended(&mut self) -> Result<(), HubError> {
        let Some(ended) = &mut self.ended else {
            return Ok(());
        };
        let outcome = ended.await;
        self.ended = None;
        match outcome {
            Ok(Err(error)) => Err(HubError::Server(error)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}
