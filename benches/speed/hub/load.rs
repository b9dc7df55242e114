//! What all loads have in common: one thread, many sockets.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::server::{Kind, Server};
use super::socket::{self, Reader, Route, Writer, find};
use super::tokens::Issuer;

/// Sockets that are being opened at a time.
const OPENING: usize = 64;
/// How long a server may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a load comes from, how large it is, and where files may lie.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    pub issuer: &'a Issuer,
    pub dir: &'a Path,
    pub size: Size,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Seconds of load.
    pub seconds: f64,
    /// How often each load is measured.
    pub rounds: usize,
    /// Sockets that wait.
    pub idle: usize,
    /// For how long.
    pub idle_seconds: f64,
    /// Clients that come back.
    pub clients: usize,
}

impl Size {
    /// What the figures ask for.
    pub const WHOLE: Size = Size {
        seconds: 10.0,
        rounds: 3,
        idle: 10_000,
        idle_seconds: 60.0,
        clients: 5000,
    };
    /// Enough to see whether something works.
    pub const SHORT: Size = Size {
        seconds: 2.0,
        rounds: 1,
        idle: 1000,
        idle_seconds: 4.0,
        clients: 500,
    };
}

impl Bench<'_> {
    /// A server with a directory of its own, which is to be kept as long as the server.
    pub async fn server(&self, kind: Kind) -> Result<(Server, tempfile::TempDir)> {
        let dir = tempfile::tempdir_in(self.dir)?;
        let server = Server::start(kind, dir.path(), self.issuer, None).await?;
        Ok((server, dir))
    }
}

/// Runs a load on one thread, beside everything else.
pub async fn on_one_thread<T, F>(load: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    crate::blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, load())
    })
    .await
}

/// The route of the `number`th connection: each address has some thousands of ports to give, and after a connection a port
/// rests for a minute.
pub fn route(server: SocketAddr, number: usize) -> Route {
    let low = u8::try_from(number % 32).unwrap_or_default();
    Route {
        server,
        source: Some(Ipv4Addr::new(127, 0, 1, 1 + low)),
    }
}

/// Opens a socket, and waits until the server has said that it is open.
pub async fn open(route: Route, token: &str, query: &str) -> Result<(Reader, Writer)> {
    let opening = async {
        let (mut reader, mut writer) = socket::connect(route, token, query).await?;
        let first = reader.text(&mut writer).await?;
        let first = reader.bytes(&first);
        ensure!(
            find(first, b"\"connected\"").is_some(),
            "the first message is {}",
            String::from_utf8_lossy(first)
        );
        Ok((reader, writer))
    };
    timeout(PATIENCE, opening)
        .await
        .context("a socket does not open")?
}

/// Opens a socket for each token.
pub async fn open_all(server: SocketAddr, tokens: &[String]) -> Result<Vec<(Reader, Writer)>> {
    futures_util::stream::iter(tokens.iter().enumerate())
        .map(|(number, token)| open(route(server, number), token, ""))
        .buffered(OPENING)
        .try_collect()
        .await
}
