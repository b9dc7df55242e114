//! What is different between two moments of a network, and whom it concerns.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::state::Network;

/// The words of the integration guide for what happens to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::AsRefStr, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum NetworkChangeKind {
    /// An interface appeared, disappeared, went up or down; or all of them did, as the machine slept.
    InterfaceChange,
    /// An address or a default route changed, and no interface did.
    IpChange,
}

/// A burst of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkChange {
    /// What the guide calls it.
    pub kind: NetworkChangeKind,
    /// Interfaces that were not there before. One that was replaced under its name appeared and disappeared.
    pub appeared: Vec<String>,
    /// Interfaces that are gone.
    pub disappeared: Vec<String>,
    /// Interfaces, there before and now, that are up now.
    pub went_up: Vec<String>,
    /// Interfaces, there before and now, that are down now.
    pub went_down: Vec<String>,
    /// Addresses that an interface of this name did not have before.
    pub added: Vec<(String, IpAddr)>,
    /// Addresses that an interface of this name has no more.
    pub removed: Vec<(String, IpAddr)>,
    before: Arc<Network>,
    after: Arc<Network>,
}

impl NetworkChange {
    /// What happened between two moments; `None` when nothing did.
    pub fn between(before: Arc<Network>, after: Arc<Network>) -> Option<Self> {
        if before == after {
            return None;
        }
        let appeared = missing(&after, &before);
        let disappeared = missing(&before, &after);
        let went_up = switched(&before, &after, true);
        let went_down = switched(&before, &after, false);
        let interfaces = [&appeared, &disappeared, &went_up, &went_down];
        let kind =
            match before.wakes != after.wakes || interfaces.iter().any(|names| !names.is_empty()) {
                true => NetworkChangeKind::InterfaceChange,
                false => NetworkChangeKind::IpChange,
            };
        Some(NetworkChange {
            kind,
            appeared,
            disappeared,
            went_up,
            went_down,
            added: new_addresses(&before, &after),
            removed: new_addresses(&after, &before),
            before,
            after,
        })
    }

    /// The network as it was.
    pub fn before(&self) -> &Arc<Network> {
        &self.before
    }

    /// The network as it is.
    pub fn after(&self) -> &Arc<Network> {
        &self.after
    }

    /// Whether this is major for a connection whose selected pair has this local address (of a host candidate, or of the
    /// base of another): the address is gone, or the default route of its family goes by another interface or from
    /// another address, or the machine slept. Anything else is minor: the noise of interfaces that it does not use.
    pub fn touches(&self, local: IpAddr) -> bool {
        let gone = self.before.has(local) && !self.after.has(local);
        gone || self.before.route_for(local) != self.after.route_for(local) || self.woke()
    }

    /// Whether the machine slept.
    pub fn woke(&self) -> bool {
        self.before.wakes != self.after.wakes
    }

    /// Whether one gets further now than before: what waits for the network tries again.
    pub fn restored(&self) -> bool {
        self.after.reach() > self.before.reach()
    }
}

/// What happened, in words, for a log.
impl fmt::Display for NetworkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = false;
        let mut say = |text: fmt::Arguments<'_>| {
            let comma = if std::mem::replace(&mut said, true) {
                ", "
            } else {
                ""
            };
            write!(f, "{comma}{text}")
        };
        if self.woke() {
            say(format_args!("the machine slept"))?;
        }
        let interfaces = [
            (&self.appeared, "appeared"),
            (&self.disappeared, "disappeared"),
            (&self.went_up, "went up"),
            (&self.went_down, "went down"),
        ];
        for (names, what) in interfaces {
            for name in names {
                say(format_args!("{name} {what}"))?;
            }
        }
        for (addresses, what) in [(&self.added, "has"), (&self.removed, "lost")] {
            for (name, address) in addresses {
                say(format_args!("{name} {what} {address}"))?;
            }
        }
        let routes = [
            ("IPv4", &self.before.ipv4_route, &self.after.ipv4_route),
            ("IPv6", &self.before.ipv6_route, &self.after.ipv6_route),
        ];
        for (family, before, after) in routes {
            match after {
                _ if before == after => {}
                Some(route) => say(format_args!(
                    "{family} goes by {} from {}",
                    route.interface, route.source
                ))?,
                None => say(format_args!("{family} has no default route"))?,
            }
        }
        Ok(())
    }
}

/// The interfaces of one moment that are not there in another.
fn missing(of: &Network, from: &Network) -> Vec<String> {
    let there = |name: &String| from.interfaces.get(name);
    of.interfaces
        .iter()
        .filter(|(name, one)| there(name).is_none_or(|other| other.index != one.index))
        .map(|(name, _)| name.clone())
        .collect()
}

/// The interfaces that were there before, and are `up` only now.
fn switched(before: &Network, after: &Network, up: bool) -> Vec<String> {
    let was = |name: &String| before.interfaces.get(name);
    after
        .interfaces
        .iter()
        .filter(|(name, now)| {
            now.up == up && was(name).is_some_and(|was| was.index == now.index && was.up != up)
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// The addresses that an interface did not have before.
fn new_addresses(before: &Network, after: &Network) -> Vec<(String, IpAddr)> {
    let mut new = Vec::new();
    for (name, interface) in &after.interfaces {
        let had = before.interfaces.get(name).map(|was| &was.addresses);
        let added = interface
            .addresses
            .iter()
            .filter(|address| had.is_none_or(|had| !had.contains(address)));
        new.extend(added.map(|address| (name.clone(), *address)));
    }
    new
}
