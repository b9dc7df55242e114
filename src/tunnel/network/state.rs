//! The network of a machine at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Interfaces, addresses and default routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The interfaces by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// The way out for IPv4.
    pub ipv4_route: Option<DefaultRoute>,
    /// The way out for IPv6.
    pub ipv6_route: Option<DefaultRoute>,
    /// How often the machine woke from sleep since it is watched.
    pub wakes: u64,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The system's number: another one under the same name is another interface.
    pub index: u32,
    /// Whether it is switched on and has a carrier.
    pub up: bool,
    /// Whether it leads nowhere but to this machine.
    pub loopback: bool,
    /// Its addresses. Those of an interface that is down are of no use.
    pub addresses: BTreeSet<IpAddr>,
}

/// Where packets to the rest of the world go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The interface that they leave by.
    pub interface: String,
    /// The address that they come from.
    pub source: IpAddr,
}

/// How far one gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Not out of this machine.
    Nowhere,
    /// To neighbours, and by routes to particular networks if there are any: there is an address, but no default route.
    /// Whether a given peer is within reach, [`super::source_to`] tells.
    Near,
    /// By a default route.
    Everywhere,
}

impl Network {
    /// Whether this is an address of an interface that is up.
    pub fn has(&self, address: IpAddr) -> bool {
        self.interface_with(address).is_some()
    }

    /// How far one gets.
    pub fn reach(&self) -> Reach {
        let mut up = self.interfaces.values().filter(|interface| interface.up);
        if self.ipv4_route.is_some() || self.ipv6_route.is_some() {
            Reach::Everywhere
        } else if up.any(Interface::leads_out) {
            Reach::Near
        } else {
            Reach::Nowhere
        }
    }

    /// The default route for packets from such an address: none for loopback, which needs none.
    pub(super) fn route_for(&self, local: IpAddr) -> Option<&DefaultRoute> {
        match local.to_canonical() {
            local if local.is_loopback() => None,
            IpAddr::V4(_) => self.ipv4_route.as_ref(),
            IpAddr::V6(_) => self.ipv6_route.as_ref(),
        }
    }

    /// The interface that is up and has this address.
    pub(super) fn interface_with(&self, address: IpAddr) -> Option<&str> {
        let address = address.to_canonical();
        self.interfaces
            .iter()
            .find(|(_, interface)| interface.up && interface.addresses.contains(&address))
            .map(|(name, _)| name.as_str())
    }
}

impl Interface {
    /// Whether another machine can be reached from one of its addresses, by what they are.
    fn leads_out(&self) -> bool {
        let useful = |address: &IpAddr| match address {
            _ if address.is_loopback() || address.is_unspecified() => false,
            IpAddr::V4(address) => !address.is_link_local(),
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        };
        !self.loopback && self.addresses.iter().any(useful)
    }
}
