//! What a change is called, and whom it touches.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Network, NetworkChange, NetworkChangeKind};
use super::model::{self, any_address, any_network};
use super::{ip, network, out_by};

fn between(before: &Network, after: &Network) -> NetworkChange {
    NetworkChange::between(Arc::new(before.clone()), Arc::new(after.clone())).unwrap()
}

/// A laptop that leaves its cable for its radio: the pair on the cable is touched, and so is the one on the radio, as the
/// default route is another.
#[test]
fn another_way_out_touches_every_pair() {
    let both: [(&str, &[&str]); 2] = [("e0", &["10.0.0.2"]), ("w0", &["10.1.0.2"])];
    let before = out_by(network(&both), "e0", "10.0.0.2");
    let mut after = out_by(network(&both), "w0", "10.1.0.2");
    after.interfaces.get_mut("e0").unwrap().up = false;
    let change = between(&before, &after);
    assert_eq!(change.kind, NetworkChangeKind::InterfaceChange);
    assert_eq!(change.kind.to_string(), "interface_change");
    assert_eq!(change.went_down, ["e0"]);
    assert!(change.touches(ip("10.0.0.2")) && change.touches(ip("10.1.0.2")));
    assert!(!change.touches(ip("127.0.0.1")), "loopback needs no route");
    assert!(!change.touches(ip("2001:db8::2")), "another family");
    assert_eq!(
        change.to_string(),
        "e0 went down, IPv4 goes by w0 from 10.1.0.2"
    );
}

/// A container that comes and goes touches nobody but who uses its interface.
#[test]
fn an_unused_interface_is_noise() {
    let quiet = out_by(network(&[("e0", &["10.0.0.2"])]), "e0", "10.0.0.2");
    let mut noisy = network(&[("e0", &["10.0.0.2"]), ("veth7", &["172.17.0.1", "fe80::7"])]);
    noisy.ipv4_route = quiet.ipv4_route.clone();
    let came = between(&quiet, &noisy);
    assert_eq!(
        (came.kind, &came.appeared[..]),
        (
            NetworkChangeKind::InterfaceChange,
            &["veth7".to_owned()][..]
        )
    );
    assert!(!came.touches(ip("10.0.0.2")) && !came.restored());
    let left = between(&noisy, &quiet);
    assert!(!left.touches(ip("10.0.0.2")));
    assert!(left.touches(ip("172.17.0.1")));
    assert!(
        left.touches(ip("::ffff:172.17.0.1")),
        "however it is written"
    );
}

/// A new lease of an address: no interface changed, and who used the old address is touched.
#[test]
fn a_replaced_address_is_an_ip_change() {
    let change = between(
        &network(&[("e0", &["10.0.0.2"])]),
        &network(&[("e0", &["10.0.0.3"])]),
    );
    assert_eq!(change.kind, NetworkChangeKind::IpChange);
    assert_eq!(change.kind.as_ref(), "ip_change");
    assert_eq!(change.added, [("e0".to_owned(), ip("10.0.0.3"))]);
    assert_eq!(change.removed, [("e0".to_owned(), ip("10.0.0.2"))]);
    assert!(change.touches(ip("10.0.0.2")) && !change.touches(ip("10.0.0.3")));
    assert!(
        !change.touches(ip("203.0.113.5")),
        "never was an address of this machine"
    );
}

/// The way out is restored when there is an address again, and when there is a default route again.
#[test]
fn the_way_back_is_told() {
    let nothing = network(&[]);
    let near = network(&[("e0", &["10.0.0.2"])]);
    let out = out_by(near.clone(), "e0", "10.0.0.2");
    for (worse, better) in [(&nothing, &near), (&near, &out), (&nothing, &out)] {
        assert!(between(worse, better).restored());
        assert!(!between(better, worse).restored());
    }
}

/// Sleep touches every pair, loopback as well, and is an interface change: they were all off.
#[test]
fn sleep_touches_everybody() {
    let before = network(&[("lo", &["127.0.0.1"])]);
    let after = Network {
        wakes: 1,
        ..before.clone()
    };
    let change = between(&before, &after);
    assert_eq!(change.kind, NetworkChangeKind::InterfaceChange);
    assert!(change.woke() && change.touches(ip("127.0.0.1")) && change.touches(ip("10.0.0.2")));
    assert_eq!(change.to_string(), "the machine slept");
}

proptest! {
    /// Between any two moments, a change says what the model says, and what it lists leads from the one to the other.
    #[test]
    fn a_change_is_what_the_model_says(before in any_network(), after in any_network(), local in any_address()) {
        let change = NetworkChange::between(Arc::new(before.clone()), Arc::new(after.clone()));
        prop_assert_eq!(change.is_none(), model::facts(&before) == model::facts(&after));
        if let Some(change) = change {
            prop_assert_eq!(change.kind.as_ref(), model::kind(&before, &after));
            prop_assert_eq!(change.touches(local), model::touched(&before, &after, local));
            prop_assert_eq!(model::interfaces_after(&before, &change), model::interfaces(&after));
            prop_assert_eq!(model::addresses_after(&before, &change), model::addresses(&after));
        }
    }
}
