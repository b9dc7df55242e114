//! Whether datagrams get through, and what a NAT on the way does to them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::{DEADLINE, Finding, limited};
use crate::rtc::{IceServer, StunServer, mapped_addresses, stun_servers};

/// What to do where the hub names no server.
const OFFER: &str =
    "for peers behind NAT, have the hub name one: loaner hub --ice-server stun:HOST:PORT";
/// What to do where datagrams do not get through.
const FIREWALL: &str =
    "look at the firewall of this machine and of its network, and at what its container may do";

/// What a server said.
struct Seen {
    url: String,
    address: Option<SocketAddr>,
}

/// Asks the hub's servers; `None` when the hub is not reached. Two findings: `udp` and `nat`.
pub(super) async fn paths(servers: Option<Vec<IceServer>>) -> Vec<Finding> {
    let why = match servers {
        None => "the hub is not reached",
        Some(_) => "the hub offers no STUN server",
    };
    let servers = servers.unwrap_or_default();
    let mut urls = servers.iter().flat_map(|server| &server.urls);
    let relay = urls.any(|url| url.starts_with("turn"));
    let looking = async {
        let servers = stun_servers(servers).await;
        if servers.is_empty() {
            let nat = Finding::warn("nat", format!("unknown: {why}"), OFFER);
            return vec![at_home(why).await, nat];
        }
        match ask(servers).await {
            Ok((local, seen)) => vec![reach(&seen), nat(local, &seen, relay)],
            Err(error) => vec![broken(&error)],
        }
    };
    limited("udp", looking).await
}

/// Datagrams from this machine to itself, where there is nobody else to ask.
async fn at_home(why: &str) -> Finding {
    let there_and_back = async {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.send_to(b"?", socket.local_addr()?).await?;
        socket.recv_from(&mut [0; 16]).await
    };
    match tokio::time::timeout(DEADLINE / 2, there_and_back).await {
        Ok(Ok(_)) => Finding::ok(
            "udp",
            format!("works within this machine; the way out is not checked: {why}"),
        ),
        Ok(Err(error)) => broken(&error),
        Err(_) => broken(&io::ErrorKind::TimedOut.into()),
    }
}

fn broken(error: &io::Error) -> Finding {
    Finding::fail(
        "udp",
        format!("no datagrams can be sent: {error}"),
        FIREWALL,
    )
}

/// Asks all servers from one socket, whose own address comes back too.
async fn ask(servers: Vec<StunServer>) -> io::Result<(SocketAddr, Vec<Seen>)> {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    // The system says from which of its addresses it would send there; nothing is sent.
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    probe.connect(addresses.as_slice()).await?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let local = SocketAddr::new(probe.local_addr()?.ip(), socket.local_addr()?.port());
    let mapped = mapped_addresses(&socket, &addresses).await?;
    let seen = servers.into_iter().zip(mapped);
    let seen = seen.map(|(server, address)| Seen {
        url: server.url,
        address,
    });
    Ok((local, seen.collect()))
}

fn reach(seen: &[Seen]) -> Finding {
    let of = |answered| {
        let urls = seen
            .iter()
            .filter(move |seen| seen.address.is_some() == answered);
        urls.map(|seen| seen.url.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (there, silent) = (of(true), of(false));
    match (there.is_empty(), silent.is_empty()) {
        (false, true) => Finding::ok("udp", format!("{there} answered")),
        (false, false) => Finding::warn(
            "udp",
            format!("{there} answered, but not {silent}"),
            "have the hub's owner look at the silent ones: each delays connections",
        ),
        (true, _) => Finding::fail("udp", format!("no answer came from {silent}"), FIREWALL),
    }
}

/// What becomes of the addresses of this machine's sockets on the way out. `relay`: the hub offers a TURN server.
fn nat(local: SocketAddr, seen: &[Seen], relay: bool) -> Finding {
    let mapped: Vec<_> = seen.iter().filter_map(|seen| seen.address).collect();
    match mapped.as_slice() {
        [] => Finding::warn("nat", "unknown: no STUN server answered", "see udp"),
        [one] if *one == local => Finding::ok("nat", format!("none: seen as {one}")),
        [one] => Finding::ok(
            "nat",
            format!("seen as {one}; of which kind is unknown, as only one STUN server answered"),
        ),
        [one, others @ ..] if others.iter().all(|other| other == one) => match *one == local {
            true => Finding::ok("nat", format!("none: seen as {one} by all")),
            false => Finding::ok(
                "nat",
                format!(
                    "the same mapping for all: seen as {one}; direct connections work with most peers"
                ),
            ),
        },
        [one, ..] => {
            let other = mapped.iter().find(|other| *other != one).unwrap_or(one);
            let found =
                format!("another mapping for each (symmetric): seen as {one} and as {other}");
            match relay {
                true => Finding::ok("nat", format!("{found}; the hub offers a relay for this")),
                false => Finding::warn(
                    "nat",
                    format!("{found}; no direct connection to peers behind such a NAT"),
                    "have the hub offer a relay: loaner hub --turn-server turn:HOST:PORT --turn-secret-file FILE",
                ),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn seen(addresses: &[&str]) -> Vec<Seen> {
        let addresses = addresses.iter().map(|text| text.parse().ok());
        let seen = addresses.map(|address| Seen {
            url: "stun:h".to_owned(),
            address,
        });
        seen.collect()
    }

    /// What servers see is put into words, and into what to do.
    #[test]
    fn the_kind_of_nat_is_told_by_what_servers_see() {
        let local = "10.0.0.2:5000".parse().unwrap();
        let (a, b) = ("192.0.2.1:5000", "192.0.2.1:5001");
        for (addresses, relay, verdict, said) in [
            (
                &["-", "-"][..],
                true,
                Verdict::Warn,
                "unknown: no STUN server answered",
            ),
            (&["10.0.0.2:5000", "-"], false, Verdict::Ok, "none: "),
            (&[a, "-"], false, Verdict::Ok, "kind is unknown"),
            (
                &["10.0.0.2:5000", "10.0.0.2:5000"],
                false,
                Verdict::Ok,
                "none: ",
            ),
            (&[a, a, "-"], false, Verdict::Ok, "the same mapping"),
            (&[a, b], false, Verdict::Warn, "(symmetric)"),
            (&[a, a, b], true, Verdict::Ok, "a relay for this"),
        ] {
            let finding = nat(local, &seen(addresses), relay);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.found.contains(said), "{finding:?}");
        }
    }

    /// Servers that do not answer are named.
    #[test]
    fn silence_is_told() {
        assert_eq!(reach(&seen(&["192.0.2.1:1", "-"])).verdict, Verdict::Warn);
        let finding = reach(&seen(&["-"]));
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.found.contains("stun:h"), "{finding:?}");
    }
}
