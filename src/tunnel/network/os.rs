//! The network as the operating system shows it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use tokio::time::{Interval, MissedTickBehavior};

use super::sleep::Clocks;
use super::state::{DefaultRoute, Interface, Network};
use super::watch::System;

/// How often the network is read where the system tells of nothing.
const POLL: Duration = Duration::from_secs(5);

/// Addresses (of a.root-servers.net) that only a default route leads to. Nothing is sent there.
const FAR: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
];

/// This machine.
#[derive(Debug)]
pub(super) struct Os(Events);

/// Who says that something may have changed.
#[derive(Debug)]
enum Events {
    #[cfg(target_os = "linux")]
    Netlink(super::netlink::Netlink),
    Poll(Interval),
}

impl Events {
    fn poll() -> Self {
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.reset();
        Events::Poll(poll)
    }
}

impl Os {
    /// To be called in a tokio runtime.
    #[cfg(target_os = "linux")]
    pub(super) fn new() -> Self {
        Os::listening(super::netlink::Netlink::open())
    }

    /// To be called in a tokio runtime.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn new() -> Self {
        Os::polling()
    }

    /// To be called in a tokio runtime.
    pub(super) fn polling() -> Self {
        Os(Events::poll())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn listening(socket: io::Result<super::netlink::Netlink>) -> Self {
        Os(socket.map_or_else(refused, Events::Netlink))
    }
}

#[cfg(target_os = "linux")]
fn refused(error: io::Error) -> Events {
    tracing::warn!(
        %error,
        "the system tells of no changes of the network (netlink is refused), so it is looked at every 5 s"
    );
    Events::poll()
}

impl System for Os {
    fn read(&mut self) -> io::Result<Network> {
        let listed = match getifaddrs() {
            Ok(entries) => Some(interfaces(entries)),
            // A sandbox without netlink; asking for routes still works there.
            Err(Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT | Errno::EPERM | Errno::EACCES) => {
                None
            }
            Err(error) => return Err(error.into()),
        };
        let [ipv4, ipv6] = FAR;
        Ok(assemble(listed, source(ipv4)?, source(ipv6)?))
    }

    fn clocks(&mut self) -> Clocks {
        Clocks::read()
    }

    async fn message(&mut self) {
        match &mut self.0 {
            Events::Poll(poll) => {
                poll.tick().await;
            }
            #[cfg(target_os = "linux")]
            Events::Netlink(netlink) => {
                if let Err(error) = netlink.message().await {
                    self.0 = refused(error);
                }
            }
        }
    }
}

/// The address from which the system would send to this one now, and `None` where there is no route to it. Nothing is sent.
pub fn source_to(peer: IpAddr) -> Option<IpAddr> {
    source(peer).ok().flatten()
}

/// # Errors
/// When the system has no means to tell, which says nothing of routes.
fn source(peer: IpAddr) -> io::Result<Option<IpAddr>> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let asked = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(SocketAddr::from((peer, 9)))?;
        socket.local_addr()
    });
    match asked {
        Ok(local) => Ok(Some(local.ip()).filter(|ip| !ip.is_unspecified())),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS) => Err(error),
            _ => Ok(None),
        },
    }
}

/// The interfaces of a listing that has an entry for each interface and one for each address.
fn interfaces(entries: impl Iterator<Item = InterfaceAddress>) -> BTreeMap<String, Interface> {
    let mut interfaces = BTreeMap::<String, Interface>::new();
    for entry in entries {
        // An address may have a label instead of the interface's name: "eth0:1".
        let name = entry.interface_name.split(':').next().unwrap_or_default();
        let interface = interfaces.entry(name.to_owned()).or_default();
        let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        interface.up = entry.flags.contains(up);
        interface.loopback = entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = entry.address else {
            continue;
        };
        if let Some(link) = address.as_link_addr() {
            interface.index = u32::try_from(link.ifindex()).unwrap_or_default();
        } else if let Some(ipv4) = address.as_sockaddr_in() {
            interface.addresses.insert(ipv4.ip().into());
        } else if let Some(ipv6) = address.as_sockaddr_in6() {
            interface.addresses.insert(ipv6.ip().into());
        }
    }
    interfaces
}

/// A network from what could be had: the interfaces, and the addresses from which the system would send far away. Without
/// the interfaces, one of unknown name has these addresses.
pub(super) fn assemble(
    listed: Option<BTreeMap<String, Interface>>,
    ipv4: Option<IpAddr>,
    ipv6: Option<IpAddr>,
) -> Network {
    let unknown = || {
        let addresses = ipv4.into_iter().chain(ipv6).collect();
        let interface = Interface {
            up: true,
            addresses,
            ..Interface::default()
        };
        BTreeMap::from([("unknown".to_owned(), interface)])
    };
    let mut network = Network {
        interfaces: listed.unwrap_or_else(unknown),
        ..Network::default()
    };
    // The route over a link that has lost its carrier is still there, and leads nowhere.
    let route = |source: IpAddr| {
        let interface = network.interface_with(source)?.to_owned();
        Some(DefaultRoute { interface, source })
    };
    let (ipv4_route, ipv6_route) = (ipv4.and_then(route), ipv6.and_then(route));
    network.ipv4_route = ipv4_route;
    network.ipv6_route = ipv6_route;
    network
}
