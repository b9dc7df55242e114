#![allow(clippy::unwrap_used)]

mod bursts;
mod changes;
mod model;
#[cfg(target_os = "linux")]
mod refused;
mod watching;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::os::assemble;
use super::state::{Interface, Network, Reach};

/// A network of interfaces that are up and have these addresses each; the first way out is by the first IPv4 address.
fn network(interfaces: &[(&str, &[&str])]) -> Network {
    let mut listed = BTreeMap::new();
    for (index, (name, addresses)) in (1..).zip(interfaces) {
        let interface = Interface {
            index,
            up: true,
            loopback: *name == "lo",
            addresses: addresses.iter().map(|address| ip(address)).collect(),
        };
        listed.insert((*name).to_owned(), interface);
    }
    assemble(Some(listed), None, None)
}

/// The same with a default route for IPv4.
fn out_by(mut network: Network, interface: &str, source: &str) -> Network {
    network.ipv4_route = Some(super::DefaultRoute {
        interface: interface.to_owned(),
        source: ip(source),
    });
    network
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How far one gets: not by loopback or link-local addresses, nor by an interface that is down; to neighbours by any other
/// address; everywhere by a default route.
#[test]
fn addresses_and_routes_say_how_far_one_gets() {
    let lo: (&str, &[&str]) = ("lo", &["127.0.0.1", "::1", "10.9.9.9"]);
    fn of(interfaces: &[(&str, &[&str])]) -> Reach {
        network(interfaces).reach()
    }
    assert_eq!(of(&[]), Reach::Nowhere);
    assert_eq!(of(&[lo]), Reach::Nowhere);
    assert_eq!(
        of(&[lo, ("e0", &["169.254.3.4", "fe80::1"])]),
        Reach::Nowhere
    );
    assert_eq!(of(&[lo, ("e0", &["10.0.0.2"])]), Reach::Near);
    assert_eq!(of(&[lo, ("e0", &["2001:db8::2"])]), Reach::Near);

    let mut down = network(&[lo, ("e0", &["10.0.0.2"])]);
    assert!(down.has(ip("10.0.0.2")) && down.has(ip("::ffff:10.0.0.2")));
    down.interfaces.get_mut("e0").unwrap().up = false;
    assert_eq!(down.reach(), Reach::Nowhere);
    assert!(down.reach() == Reach::Nowhere && !down.has(ip("10.0.0.2")));

    let out = out_by(network(&[("e0", &["10.0.0.2"])]), "e0", "10.0.0.2");
    assert_eq!(out.reach(), Reach::Everywhere);
}

/// A default route belongs to the interface that is up and has its source; the route over a dead link counts for nothing.
/// Where interfaces cannot be listed at all, the sources alone show a network.
#[test]
fn a_network_is_put_together_from_what_can_be_had() {
    let source = Some(ip("10.0.0.2"));
    let mut listed = network(&[("e0", &["10.0.0.2"])]).interfaces;
    let route = assemble(Some(listed.clone()), source, None)
        .ipv4_route
        .unwrap();
    assert_eq!(
        (route.interface.as_str(), route.source),
        ("e0", ip("10.0.0.2"))
    );

    listed.get_mut("e0").unwrap().up = false;
    let dead = assemble(Some(listed), source, None);
    assert_eq!(
        (dead.ipv4_route.clone(), dead.reach()),
        (None, Reach::Nowhere)
    );

    let blind = assemble(None, source, Some(ip("2001:db8::2")));
    assert!(blind.has(ip("10.0.0.2")) && blind.has(ip("2001:db8::2")));
    assert_eq!(blind.reach(), Reach::Everywhere);
    assert_eq!(assemble(None, None, None).reach(), Reach::Nowhere);
}
