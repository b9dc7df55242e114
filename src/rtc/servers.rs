//! Which STUN and TURN servers the stack is given, out of those that the hub names.
//!
//! The stack takes UDP without TLS only, and one address that it cannot read makes it refuse all of them. A name that
//! takes long to resolve would stop its driver meanwhile, so it is given numbers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use webrtc::peer_connection::RTCIceServer;

use super::IceServer;
use super::shared::lock;
use crate::wire::{IceTransport, IceUrl};

/// The most addresses that are asked, of all servers together. Each is asked from each interface.
const MAX_URLS: usize = 8;

/// The longest user name and password, bytes. STUN allows 513 for the former.
const MAX_CREDENTIAL_BYTES: usize = 512;

/// How long names may take to resolve. All are asked at once; those that take longer are left out.
const RESOLVE: Duration = Duration::from_millis(500);

/// How many addresses that were left out are remembered, so that each is said once.
const MAX_SAID: usize = 64;

/// Says once in the life of the process that an address is not used. A hub that sends ever others is not followed.
fn say_once(url: &str, why: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let url: String = url.chars().take(100).collect();
    let mut said = lock(&SAID);
    if said.len() < MAX_SAID && said.insert(url.clone()) {
        tracing::info!(url, "a STUN or TURN server is not used: {why}");
    }
}

/// The servers that connections can use: `stun:` and `turn:` over UDP, the latter with credentials; 8 addresses at
/// most. What is left out is named in the log, once.
pub fn usable_servers(servers: Vec<IceServer>) -> Vec<IceServer> {
    let mut room = MAX_URLS;
    let mut usable = Vec::new();
    for mut server in servers {
        let bare = server.username.is_empty() || server.credential.is_empty();
        let long = server.username.len().max(server.credential.len()) > MAX_CREDENTIAL_BYTES;
        server.urls.retain(|url| {
            let why = match url.parse::<IceUrl>() {
                _ if room == 0 => "there are too many",
                Err(_) => "it is no address of a STUN or TURN server",
                Ok(url) if url.is_secure() => "TLS is not supported, only stun: and turn: by UDP",
                Ok(url) if url.transport == IceTransport::Tcp => {
                    "TCP is not supported, only stun: and turn: by UDP"
                }
                Ok(url) if url.is_turn() && bare => "it came without credentials",
                Ok(url) if url.is_turn() && long => "its credentials are too long",
                Ok(_) => {
                    room -= 1;
                    return true;
                }
            };
            say_once(url, why);
            false
        });
        if !server.urls.is_empty() {
            usable.push(server);
        }
    }
    usable
}

/// The TURN addresses among usable servers, for a person to read.
pub(super) fn turn_urls(servers: &[IceServer]) -> String {
    let urls = servers.iter().flat_map(|server| &server.urls);
    let turn = urls.filter(|url| url.parse::<IceUrl>().is_ok_and(|url| url.is_turn()));
    turn.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A server at a known address.
pub(super) struct Resolved {
    /// As the stack takes it.
    pub(super) stack: RTCIceServer,
    /// Where it relays, if it does.
    pub(super) relay: Option<SocketAddr>,
}

/// Usable servers as the stack takes them, by number.
pub(super) async fn resolved(servers: &[IceServer]) -> Vec<Resolved> {
    let urls = servers.iter().flat_map(|server| {
        let read = server.urls.iter().filter_map(|url| url.parse().ok());
        read.map(move |url: IceUrl| (server, url))
    });
    let asked = urls.map(|(server, url)| async move {
        let ip = resolve(&url).await?;
        let relay = url.is_turn().then(|| SocketAddr::from((ip, url.port)));
        let host = ip.to_string();
        let stack = RTCIceServer {
            urls: vec![IceUrl { host, ..url }.to_string()],
            username: server.username.clone(),
            credential: server.credential.clone(),
        };
        Some(Resolved { stack, relay })
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The first IPv4 address of a server: connections have sockets of that family only.
pub(super) async fn resolve(url: &IceUrl) -> Option<Ipv4Addr> {
    if let Ok(ip) = url.host.parse::<IpAddr>() {
        return ipv4(ip);
    }
    let looked_up = tokio::net::lookup_host((url.host.as_str(), url.port));
    match tokio::time::timeout(RESOLVE, looked_up).await {
        Ok(Ok(mut found)) => found.find_map(|addr: SocketAddr| ipv4(addr.ip())),
        Ok(Err(error)) => {
            tracing::warn!(%url, %error, "a STUN or TURN server was not found");
            None
        }
        Err(_) => {
            tracing::warn!(%url, "the name of a STUN or TURN server takes too long to resolve");
            None
        }
    }
}

fn ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(urls: &[&str], credential: &str) -> IceServer {
        IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            username: "7:me".to_owned(),
            credential: credential.to_owned(),
        }
    }

    fn urls(servers: &[IceServer]) -> Vec<&str> {
        let urls = servers.iter().flat_map(|server| &server.urls);
        urls.map(String::as_str).collect()
    }

    #[test]
    fn only_udp_without_tls_and_turn_with_credentials_is_used() {
        let servers = usable_servers(vec![
            server(
                &[
                    "stun:h", "stuns:h", "turn:h", "turn:h?transport=tcp", "turns:h?transport=udp",
                    "nonsense", "turn://h",
                ],
                "hush",
            ),
            server(&["turns:h"], "hush"),
            server(&["stun:bare", "turn:bare"], ""),
            server(&["turn:long"], &"x".repeat(MAX_CREDENTIAL_BYTES + 1)),
        ]);
        assert_eq!(urls(&servers), ["stun:h", "turn:h", "stun:bare"]);
        assert_eq!(turn_urls(&servers), "turn:h");
    }

    #[test]
    fn a_hub_cannot_have_peers_ask_everybody() {
        let many = vec![server(&["turn:h"; 100], "hush"); 100];
        assert_eq!(urls(&usable_servers(many)).len(), MAX_URLS);
    }

    #[tokio::test]
    async fn the_stack_gets_numbers() {
        let servers = [
            server(&["turn:localhost:7", "stun:192.0.2.1"], "hush"),
            server(&["turn:[::1]:7", "turn:host.invalid"], "hush"),
        ];
        let given = resolved(&servers).await;
        let urls: Vec<_> = given.iter().flat_map(|server| &server.stack.urls).collect();
        assert_eq!(
            urls,
            ["turn:127.0.0.1:7?transport=udp", "stun:192.0.2.1:3478"]
        );
        let relays: Vec<_> = given.iter().map(|server| server.relay).collect();
        assert_eq!(relays, [Some(([127, 0, 0, 1], 7).into()), None]);
        assert!(given.iter().all(|server| server.stack.urls().is_ok()));
    }
}
