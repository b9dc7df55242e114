//! What the manager of a tube is told.

use std::net::IpAddr;

use actix::Recipient;
use tokio::sync::mpsc;

use super::network::{Network, NetworkChange, NetworkChangeKind, NetworkSubscription, Reach};
use super::tube::{Sign, Tube};
use crate::actors::Feed;
use crate::actors::tunnel::Of;
use crate::charts::tunnel::{Change, Input};

/// Tells a manager what its tube notices, until one of them is gone.
pub async fn report(mut signs: mpsc::Receiver<Sign>, manager: Recipient<Of>) {
    while let Some(sign) = signs.recv().await {
        let (generation, event) = match sign {
            Sign::Heard(generation) => (generation, Input::Heard),
            Sign::Pong(generation) => (generation, Input::Pong),
            Sign::PeerPing(generation) => (generation, Input::PeerPing),
            Sign::Gone(generation) => (generation, Input::Gone),
            Sign::PeerClosed(generation) => (generation, Input::PeerClosed),
        };
        // Waits until it is handled: what floods the tube does not flood the manager.
        if manager.send(Of { generation, event }).await.is_err() {
            return;
        }
    }
}

/// Whether a change may be the end of a connection. Which address it uses is not known: most likely that of the way out, and
/// any where there is none. To doubt for nothing costs a ping.
pub fn is_major(change: &NetworkChange) -> bool {
    let before = change.before();
    let routes = [&before.ipv4_route, &before.ipv6_route];
    let mut sources = routes
        .into_iter()
        .flatten()
        .map(|way| way.source)
        .peekable();
    if sources.peek().is_none() {
        return addresses(before).any(|address| change.touches(address));
    }
    sources.any(|source| change.touches(source))
}

/// Tells the manager of a tube what becomes of the network, until the tube is closed.
pub async fn watch(mut network: NetworkSubscription, tube: Tube, manager: Recipient<Feed<Input>>) {
    loop {
        let change = tokio::select! {
            change = network.next() => change,
            () = tube.closed() => None,
        };
        let Some(change) = change else {
            return;
        };
        let after = change.after();
        let out = |reach: Reach| reach > Reach::Nowhere;
        let mut events = Vec::new();
        if change.woke() {
            events.push(Input::Woke);
        }
        if !out(after.reach()) {
            events.push(Input::NetworkDown);
        } else {
            let major = is_major(&change);
            let change = match change.kind {
                NetworkChangeKind::InterfaceChange => Change::InterfaceChange,
                NetworkChangeKind::IpChange => Change::IpChange,
            };
            events.push(Input::NetworkChanged { change, major });
        }
        if change.restored() {
            events.push(Input::NetworkUp);
        }
        for event in events {
            if manager.send(Feed(event)).await.is_err() {
                return;
            }
        }
    }
}

/// The addresses of a network by which others are reached.
fn addresses(network: &Network) -> impl Iterator<Item = IpAddr> {
    let all = network.interfaces.values().flat_map(|of| &of.addresses);
    all.copied().filter(|address| !address.is_loopback())
}
