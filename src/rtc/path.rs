//! How large packets to a peer may be.
//!
//! Nothing in the stack finds that out, so its packets are as small as any path takes (1,280 bytes with all headers).
//! A peer on one of our own networks is another matter: no router lies between, and the interface's MTU is the path's. There,
//! packets are a fifth larger, and so much fewer.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use nix::sys::socket::{getsockopt, sockopt};
use rtc::shared::ifaces::{Interface, ifaces};

use super::sdp;

/// The MTU that is made use of, bytes. What claims more (loopback, jumbo frames that a switch may not know) is not relied on.
const ETHERNET: u32 = 1500;

/// What surrounds an SCTP packet, bytes: the headers of IPv4 and UDP, and a DTLS record with AES-GCM.
const AROUND: u32 = 20 + 8 + 37;

/// The smallest MTU for which the stack's own choice is not better, bytes: of IPv6.
const SMALLEST: u32 = 1280;

/// A network that this host is on.
#[derive(Debug, Clone, Copy)]
struct Network {
    address: Ipv4Addr,
    mask: Ipv4Addr,
}

impl Network {
    fn contains(&self, other: Ipv4Addr) -> bool {
        let mask = self.mask.to_bits();
        mask != 0 && other.to_bits() & mask == self.address.to_bits() & mask
    }
}

/// The largest SCTP packet for whoever made this offer, bytes; `None` to leave it to the stack, which is so unless no further
/// candidates follow, all are of hosts, and every one of their addresses is on a network of this host.
pub(super) fn packet_bytes(offer: &str) -> Option<u32> {
    largest(offer, &networks(), mtu_to)
}

fn largest(
    offer: &str,
    networks: &[Network],
    mtu_to: impl Fn(Ipv4Addr) -> Option<u32>,
) -> Option<u32> {
    // Of what a peer claims, so much is looked at as is used.
    let (offer, _) = sdp::tidy(offer).ok()?;
    if !sdp::is_complete(&offer) {
        return None;
    }
    let mut smallest = None;
    for address in sdp::addresses(&offer) {
        let IpAddr::V4(address) = address else {
            return None;
        };
        if !networks.iter().any(|network| network.contains(address)) {
            return None;
        }
        let mtu = mtu_to(address)?;
        smallest = Some(mtu.min(smallest.unwrap_or(ETHERNET)));
    }
    smallest
        .filter(|mtu| *mtu > SMALLEST)
        .map(|mtu| mtu - AROUND)
}

/// The networks of this host's interfaces.
fn networks() -> Vec<Network> {
    let interfaces = ifaces().unwrap_or_default().into_iter();
    let network = |interface: Interface| match (interface.addr?.ip(), interface.mask?.ip()) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => Some(Network { address, mask }),
        _ => None,
    };
    interfaces.filter_map(network).collect()
}

/// The MTU of the way to an address, as the system knows it.
fn mtu_to(address: Ipv4Addr) -> Option<u32> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Nothing is sent: the system only looks for the way. The port is that of `discard`.
    socket.connect((address, 9)).ok()?;
    u32::try_from(getsockopt(&socket, sockopt::IpMtu).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn network(address: [u8; 4], bits: u32) -> Network {
        Network {
            address: Ipv4Addr::from_octets(address),
            mask: Ipv4Addr::from_bits(!(u32::MAX >> bits)),
        }
    }

    fn offer(candidates: &[&str]) -> String {
        let lines = candidates.iter().enumerate().map(|(n, candidate)| {
            let (address, kind) = candidate.split_once(' ').unwrap_or((candidate, "host"));
            format!("a=candidate:{n} 1 udp 1 {address} 5000 typ {kind}\r\n")
        });
        format!(
            "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{}a=end-of-candidates\r\n",
            lines.collect::<String>()
        )
    }

    /// Packets are larger where every address of a complete offer is on a network of ours, as far as each way takes them.
    #[test]
    fn packets_are_larger_only_where_every_address_is_on_a_network_of_ours() {
        let ours = [
            network([10, 0, 0, 5], 24),
            network([127, 0, 0, 1], 8),
            network([100, 64, 0, 1], 10),
            network([10, 9, 0, 1], 31),
            network([0, 0, 0, 0], 0),
        ];
        let mtu_to = |address: Ipv4Addr| match address.octets() {
            [10, 0, ..] => Some(1500),
            [127, ..] => Some(65536),
            [100, ..] => Some(1280),
            [10, 9, ..] => Some(1420),
            _ => None,
        };
        for (candidates, expected) in [
            (&["10.0.0.9"][..], Some(1435)),
            (&["127.0.0.1", "10.0.0.9"], Some(1435)),
            (&["127.0.0.1"], Some(1435)),
            (&["10.0.0.9", "10.9.0.0"], Some(1355)),
            (&["10.0.0.9", "100.64.0.2"], None),
            (&["10.0.1.9"], None),
            (&["10.0.0.9", "203.0.113.4 srflx"], None),
            (&["10.0.0.9", "10.0.0.7 relay"], None),
            (&["10.0.0.9", "fd00::1"], None),
            (&[], None),
        ] {
            let offer = offer(candidates);
            assert_eq!(largest(&offer, &ours, mtu_to), expected, "{candidates:?}");
        }
        let lan = offer(&["10.0.0.9"]);
        assert_eq!(largest(&lan, &[], mtu_to), None);
        assert_eq!(largest(&lan, &ours, |_| None), None);
        assert_eq!(largest("a=candidate:1 1 udp 1 x", &ours, mtu_to), None);
        let more = lan.replace("a=end-of-candidates", "a=ice-options:trickle");
        assert_eq!(largest(&more, &ours, mtu_to), None);
    }

    /// Of an offer with more candidates than are taken, no more are looked at: each costs a socket.
    #[test]
    fn no_more_candidates_are_looked_at_than_are_taken() {
        let ours = [network([10, 0, 0, 5], 16)];
        let addresses: Vec<String> = (0..300).map(|n| format!("10.0.1.{}", n % 250)).collect();
        let candidates: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let looked = std::cell::Cell::new(0);
        let mtu_to = |_: Ipv4Addr| {
            looked.set(looked.get() + 1);
            Some(1500)
        };
        assert_eq!(largest(&offer(&candidates), &ours, mtu_to), Some(1435));
        assert_eq!(looked.get(), sdp::MAX_CANDIDATES);
    }

    /// The loopback address, with packets as large as on any network of ours.
    #[test]
    fn this_host_is_on_its_own_network() {
        let packet = packet_bytes(&offer(&["127.0.0.1"]));
        assert_eq!(packet, Some(ETHERNET - AROUND), "{:?}", networks());
    }
}
