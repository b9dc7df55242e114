//! Where a worker lets its clients connect to, and connecting there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::place::{Host, Pattern};
use super::reason::{Reason, Reset};

/// How long it may take until a place is connected to.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// Names that are looked up at a time: each lookup holds a thread.
const LOOKUPS: usize = 8;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// The places that one client may connect to.
#[derive(Debug, Clone)]
pub struct AllowList {
    patterns: Vec<Pattern>,
    /// What is said of a place that is not among them, with the rule behind it that would allow it.
    refusal: String,
    lookups: Arc<Semaphore>,
}

impl AllowList {
    /// These places. What is refused is told with `refusal`, and the rule for it behind.
    pub fn new(patterns: Vec<Pattern>, refusal: &str) -> Self {
        AllowList {
            patterns,
            refusal: refusal.to_owned(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }

    fn denied(&self, place: &str) -> Reset {
        let rule = toml::Value::String(place.to_owned());
        Reset::new(
            Reason::Denied,
            format!(
                "{} {place}; ask its owner to add to its policy (--policy FILE): [[tunnel]] to = [{rule}]",
                self.refusal
            ),
        )
    }

    /// The addresses of a place that may be connected to, at least one.
    ///
    /// A name that is allowed as such may be anywhere. Of another, those addresses count that are allowed; and whoever may
    /// not connect to it does not learn whether it exists.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Reset> {
        let Some(host) = Host::parse(host) else {
            return Err(Reset::new(
                Reason::NotFound,
                "this can be no name of a host",
            ));
        };
        let place = format!("{host}:{port}");
        let allowed = |ip: &IpAddr| {
            self.patterns
                .iter()
                .any(|pattern| pattern.allows(*ip, port))
        };
        let found = match &host {
            Host::Ip(ip) => vec![*ip],
            Host::Localhost => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Host::Name(name) => {
                let mut patterns = self.patterns.iter();
                if patterns.any(|pattern| pattern.allows_name(name, port)) {
                    let found = self.lookup(name, port).await;
                    let found = found.map_err(|error| {
                        let words = format!("the worker finds no host named {name} ({error})");
                        Reset::new(Reason::NotFound, words)
                    })?;
                    return Ok(found);
                }
                let mut patterns = self.patterns.iter();
                match patterns.any(|pattern| pattern.allows_some_address(port)) {
                    true => {
                        let found = self.lookup(name, port).await.unwrap_or_default();
                        found.into_iter().map(|address| address.ip()).collect()
                    }
                    false => Vec::new(),
                }
            }
        };
        let found: Vec<_> = found
            .into_iter()
            .filter(allowed)
            .map(|ip| SocketAddr::new(ip, port))
            .collect();
        match found.is_empty() {
            true => Err(self.denied(&place)),
            false => Ok(found),
        }
    }

    /// The addresses of a name, at least one.
    async fn lookup(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let _turn = self.lookups.acquire().await.map_err(io::Error::other)?;
        let found: Vec<_> = lookup_host((name, port))
            .await?
            .take(MAX_ADDRESSES)
            .collect();
        match found.is_empty() {
            true => Err(io::Error::other("it has no address")),
            false => Ok(found),
        }
    }

    /// Connects to a place, within [`CONNECT`].
    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Reset> {
        let by = Instant::now() + CONNECT;
        let late = || {
            let seconds = CONNECT.as_secs();
            let words = format!("{host}:{port} did not answer the worker within {seconds} s");
            Reset::new(Reason::TimedOut, words)
        };
        let addresses = timeout_at(by, self.addresses(host, port)).await;
        let addresses = addresses.map_err(|_| late())??;
        let mut left = addresses.len() as u32;
        let mut failed = late();
        for address in addresses {
            // One that swallows everything leaves the others their time.
            let now = Instant::now();
            let share = by.saturating_duration_since(now) / left.max(1);
            left -= 1;
            match timeout_at(now + share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => failed = why(&error, host, port),
                Err(_) => failed = late(),
            }
        }
        Err(failed)
    }
}

/// Why a place could not be connected to.
fn why(error: &io::Error, host: &str, port: u16) -> Reset {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reset::new(
            Reason::Refused,
            format!("connection refused: nothing listens on {host}:{port} at the worker"),
        ),
        io::ErrorKind::TimedOut => Reset::new(
            Reason::TimedOut,
            format!("{host}:{port} did not answer the worker"),
        ),
        _ => Reset::new(
            Reason::Failed,
            format!("the worker cannot connect to {host}:{port}: {error}"),
        ),
    }
}
