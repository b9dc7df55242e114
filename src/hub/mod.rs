//! The hub: the signalling server, assembled.
//!
//! It introduces workers and clients to one another (signalling-server.md, sections 1a and 2a to 2d) and then steps
//! aside. WebSocket and HTTP share one port, and any number of further listeners.
//!
//! * `table` is the one structure of rooms, peers and connections: no socket, no clock, no lock. `frames`,
//!   `register` and `mesh` say what a frame does to it, `filter` and `metadata` what is found and what is kept.
//! * `directory` is the one actor that owns the table; everything that changes it is a message to it.
//! * `socket` moves frames between a WebSocket and the directory, with a bounded queue (`outbox`) on the way out
//!   and a bounded reader (`guard`) on the way in.
//! * `http` answers the requests of section 1a.

mod directory;
mod filter;
mod frames;
mod guard;
mod http;
mod limits;
mod mesh;
mod metadata;
mod metrics;
mod outbox;
mod register;
mod room;
mod socket;
mod table;
mod tokens;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use actix_web::dev::{Extensions, ServerHandle};
use actix_web::{App, HttpServer, web};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

pub use limits::HubLimits;

use directory::{Directory, Drain};
use table::Table;
use tokens::Tokens;

/// How long a draining hub waits for the peers to answer the close frames, before it drops them.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// Connections that the system holds for a listener until they are accepted.
const BACKLOG: i32 = 1024;

/// How a hub is set up. [`HubConfig::default`] is a hub on `127.0.0.1:8080` with the times of the original server.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The addresses to listen on, each serving WebSocket and HTTP alike. Port 0 picks a free one.
    pub listen: Vec<SocketAddr>,
    /// How long an empty room can be entered, from its creation or from the last departure (2 h).
    /// A room does not expire while peers are in it.
    pub room_lifetime: Duration,
    /// How long an id token from `/anonymous-signin` is good (1 h).
    pub id_token_lifetime: Duration,
    /// Time between two WebSocket pings to a peer (20 s).
    pub ping_interval: Duration,
    /// How long past a ping a silent peer is kept (20 s): it is closed when nothing was heard for
    /// `ping_interval + pong_timeout`.
    pub pong_timeout: Duration,
    /// Whether the JSON frame `{"type":"ping"}` is sent as well, each `ping_interval`. The peers of 2026 hang up
    /// without it; those of 2025 only log it. Off by default.
    pub json_ping: bool,
    /// The `ice_servers` of `registered_auth`, as the peers' WebRTC stack reads them: objects with no keys other than
    /// `urls`, `username`, `credential` and `credentialType`. Empty by default.
    pub ice_servers: Vec<serde_json::Value>,
    /// The `mesh_ice_servers` of `registered_auth`; the same form. Empty by default.
    pub mesh_ice_servers: Vec<serde_json::Value>,
    /// Bounds on what peers may send, hold and ask for.
    pub limits: HubLimits,
}

impl Default for HubConfig {
    fn default() -> Self {
        HubConfig {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            room_lifetime: Duration::from_secs(2 * 60 * 60),
            id_token_lifetime: Duration::from_secs(60 * 60),
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(20),
            json_ping: false,
            ice_servers: Vec::new(),
            mesh_ice_servers: Vec::new(),
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

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A hub that is restarted gets its port back although old connections linger.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The hub, not yet running.
#[derive(Debug)]
pub struct Hub;

impl Hub {
    /// Binds every address of `config` and starts to serve. It must be called within a running `actix_rt::System`,
    /// whose arbiter then holds the directory. The hub serves until [`RunningHub::stop`] or the end of the system.
    pub fn start(config: HubConfig) -> Result<RunningHub, HubError> {
        if config.listen.is_empty() {
            return Err(HubError::NoListener);
        }
        // Bound before anything is started, so that there is nothing to undo.
        let listeners = config
            .listen
            .iter()
            .map(|&addr| bind(addr).map_err(|source| HubError::Bind { addr, source }))
            .collect::<Result<Vec<_>, _>>()?;
        let config = Arc::new(config);
        let tokens = Arc::new(Tokens::new(config.id_token_lifetime));
        let table = Table::new(Arc::clone(&config), Arc::clone(&tokens));
        let service = web::Data::new(Service {
            directory: Directory::new(table).start(),
            tokens,
            config: Arc::clone(&config),
        });

        let directory = service.directory.clone();
        let mut server = HttpServer::new(move || {
            App::new()
                .app_data(service.clone())
                .default_service(web::to(http::entry))
        })
        .workers(config.limits.threads)
        .max_connections(config.limits.connections_per_thread)
        .tcp_nodelay(true)
        .client_request_timeout(config.limits.request_time)
        .on_connect(|io, data: &mut Extensions| socket::remember(io, data))
        .disable_signals();
        for (listener, &addr) in listeners.into_iter().zip(&config.listen) {
            server = server
                .listen(listener)
                .map_err(|source| HubError::Bind { addr, source })?;
        }
        let addrs = server.addrs();

        let server = server.run();
        let handle = server.handle();
        let (ended_tx, ended) = oneshot::channel();
        actix_rt::spawn(async move {
            // Nobody waits for the end any more when the receiver is gone, so there is nobody to tell.
            let _ = ended_tx.send(server.await);
        });
        tracing::info!(?addrs, "hub listening");
        Ok(RunningHub {
            addrs,
            directory,
            handle,
            ended: Some(ended),
        })
    }
}

/// A hub that serves. Dropping it does not stop the hub; [`RunningHub::stop`] does.
#[derive(Debug)]
pub struct RunningHub {
    /// The bound addresses, in the order of [`HubConfig::listen`], with port 0 replaced by the one that was picked.
    pub addrs: Vec<SocketAddr>,
    directory: Addr<Directory>,
    handle: ServerHandle,
    /// None once the end has been told.
    ended: Option<oneshot::Receiver<io::Result<()>>>,
}

impl RunningHub {
    /// Stops gracefully: no new connections, every socket closed with 1001 and given 3 s to answer, then the listeners
    /// close.
    pub async fn stop(self) {
        self.handle.pause().await;
        if let Ok(drained) = self.directory.send(Drain).await {
            // Peers that do not answer in time are dropped with the server.
            let _ = tokio::time::timeout(DRAIN_TIME, drained).await;
        }
        self.handle.stop(false).await;
        if let Some(ended) = self.ended {
            let _ = ended.await;
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

/// What every request handler needs.
struct Service {
    directory: Addr<Directory>,
    tokens: Arc<Tokens>,
    config: Arc<HubConfig>,
}
