//! Listening here for connections that go through the tunnel: on the loopback addresses, and on no other.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::place::Forward;
use super::pump::breaks;

/// How often a port is tried that is free by IPv4 and taken by IPv6, where any would do.
const TRIES: usize = 16;
/// How long nothing is accepted when the system has no means to.
const PAUSE: Duration = Duration::from_millis(200);

/// A port of this machine that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("port {port} of this machine cannot be listened on ({source}): {}", remedy(*.port, .place, .source))]
pub struct Taken {
    /// The port.
    pub port: u16,
    /// Where it was to lead.
    place: String,
    /// What the system says.
    source: io::Error,
}

fn remedy(port: u16, place: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 are not for everybody; give another, as in {}:{place}",
            u32::from(port) + 8000
        ),
        _ => format!(
            "another program has it, which may be another tunnel; give another port, as in {}:{place}, or any free one by \
             0:{place}",
            port.checked_add(1).unwrap_or(8888)
        ),
    }
}

/// Listens for one tunnel, on 127.0.0.1 and, where there is one, ::1.
#[derive(Debug)]
pub struct Listener {
    /// Where the connections go.
    pub forward: Forward,
    port: u16,
    four: TcpListener,
    six: Option<TcpListener>,
}

impl Listener {
    /// Begins to listen. To be awaited on the runtime that the connections are handled by.
    ///
    /// # Errors
    /// When the port is taken by either address. What was closed a moment ago does not count as taken: on Linux, the
    /// option for that (`SO_REUSEADDR`) takes no port from another program that listens.
    pub async fn bind(forward: Forward) -> Result<Self, Taken> {
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match bind(forward.local).await {
                Ok((port, four, six)) => {
                    return Ok(Listener {
                        forward,
                        port,
                        four,
                        six,
                    });
                }
                Err(_) if forward.local == 0 && tries > 0 => {}
                Err(source) => {
                    return Err(Taken {
                        port: forward.local,
                        place: forward.place(),
                        source,
                    });
                }
            }
        }
    }

    /// The port here.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address that a user connects to.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The next connection, which ends as broken if it is dropped. Dropping the future loses none.
    pub async fn accept(&self) -> TcpStream {
        loop {
            let accepted = match &self.six {
                None => self.four.accept().await,
                Some(six) => tokio::select! {
                    accepted = self.four.accept() => accepted,
                    accepted = six.accept() => accepted,
                },
            };
            match accepted {
                Ok((tcp, _)) => {
                    breaks(&tcp);
                    return tcp;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn bind(port: u16) -> io::Result<(u16, TcpListener, Option<TcpListener>)> {
    let four = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = four.local_addr()?.port();
    let six = match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(six) => Some(six),
        // Another program there would get connections that were meant for the tunnel.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        Err(_) => None,
    };
    Ok((port, four, six))
}
