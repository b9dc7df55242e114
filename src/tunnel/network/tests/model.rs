//! Networks made up at random, and a model of changes that knows no more than sets of plain facts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::collection::{btree_map, btree_set};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::{DefaultRoute, Interface, Network, NetworkChange};
use super::ip;

const NAMES: [&str; 4] = ["lo", "e0", "e1", "veth0"];
const ADDRESSES: [&str; 6] = [
    "127.0.0.1", "10.0.0.2", "10.0.0.3", "172.17.0.1", "2001:db8::2", "fe80::1",
];

pub fn any_address() -> impl Strategy<Value = IpAddr> {
    select(&ADDRESSES[..]).prop_map(ip)
}

fn any_interface() -> impl Strategy<Value = Interface> {
    let addresses = btree_set(any_address(), 0..3);
    (1..3_u32, any::<bool>(), addresses).prop_map(|(index, up, addresses)| Interface {
        index,
        up,
        loopback: false,
        addresses,
    })
}

fn any_route() -> impl Strategy<Value = Option<DefaultRoute>> {
    let route = (select(&NAMES[1..3]), any_address());
    option::of(route.prop_map(|(interface, source)| DefaultRoute {
        interface: interface.to_owned(),
        source,
    }))
}

pub fn any_network() -> impl Strategy<Value = Network> {
    let interfaces = btree_map(
        select(&NAMES[..]).prop_map(str::to_owned),
        any_interface(),
        0..4,
    );
    (interfaces, any_route(), any_route(), 0..2_u64).prop_map(
        |(mut interfaces, ipv4_route, ipv6_route, wakes)| {
            for (name, interface) in &mut interfaces {
                interface.loopback = name == "lo";
            }
            Network {
                interfaces,
                ipv4_route,
                ipv6_route,
                wakes,
            }
        },
    )
}

/// What somebody could say about interfaces: one line for each, by name and number, and whether it is up.
pub fn interfaces(network: &Network) -> BTreeMap<String, bool> {
    let line = |(name, one): (&String, &Interface)| (name.clone(), one.up);
    network.interfaces.iter().map(line).collect()
}

/// One line for each address of each interface.
pub fn addresses(network: &Network) -> BTreeSet<String> {
    let lines = |(name, one): (&String, &Interface)| {
        let lines = one
            .addresses
            .iter()
            .map(|address| format!("{name} {address}"));
        lines.collect::<Vec<_>>()
    };
    network.interfaces.iter().flat_map(lines).collect()
}

fn numbered(network: &Network) -> BTreeSet<String> {
    let line = |(name, one): (&String, &Interface)| format!("{name} {} {}", one.index, one.up);
    network.interfaces.iter().map(line).collect()
}

/// Everything that can be said.
pub fn facts(network: &Network) -> BTreeSet<String> {
    let mut facts = numbered(network);
    facts.extend(
        addresses(network)
            .into_iter()
            .map(|line| format!("address {line}")),
    );
    facts.insert(format!("IPv4 {:?}", network.ipv4_route));
    facts.insert(format!("IPv6 {:?}", network.ipv6_route));
    facts.insert(format!("woke {}", network.wakes));
    facts
}

/// Any difference in the lines of interfaces is one of interfaces.
pub fn kind(before: &Network, after: &Network) -> &'static str {
    match numbered(before) == numbered(after) && before.wakes == after.wakes {
        true => "ip_change",
        false => "interface_change",
    }
}

/// Whether an address could be sent from.
fn works(network: &Network, local: IpAddr) -> bool {
    let mut lines = addresses(network).into_iter();
    let up = interfaces(network);
    lines.any(|line| {
        let (name, address) = line.split_once(' ').unwrap();
        up[name] && address == local.to_string()
    })
}

/// The three ways to be touched.
pub fn touched(before: &Network, after: &Network, local: IpAddr) -> bool {
    let route = |network: &Network| match local.to_string().as_str() {
        "127.0.0.1" => String::new(),
        text if text.contains(':') => format!("{:?}", network.ipv6_route),
        _ => format!("{:?}", network.ipv4_route),
    };
    let gone = works(before, local) && !works(after, local);
    gone || route(before) != route(after)
        || before.wakes < after.wakes
        || before.wakes > after.wakes
}

/// What the interfaces should be after a change, by what it lists. Whether one that appeared is up, it does not list.
pub fn interfaces_after(before: &Network, change: &NetworkChange) -> BTreeMap<String, bool> {
    let mut now = interfaces(before);
    for name in &change.disappeared {
        assert!(now.remove(name).is_some(), "{name} was not there");
    }
    for name in &change.appeared {
        let up = change.after().interfaces[name].up;
        assert!(now.insert(name.clone(), up).is_none(), "{name} was there");
    }
    for (names, up) in [(&change.went_up, true), (&change.went_down, false)] {
        for name in names {
            assert_eq!(now.insert(name.clone(), up), Some(!up), "{name}");
        }
    }
    now
}

/// What the addresses should be after a change, by what it lists.
pub fn addresses_after(before: &Network, change: &NetworkChange) -> BTreeSet<String> {
    let mut now = addresses(before);
    for (name, address) in &change.removed {
        assert!(now.remove(&format!("{name} {address}")), "it was not there");
    }
    for (name, address) in &change.added {
        assert!(now.insert(format!("{name} {address}")), "it was there");
    }
    now
}
