//! What the manager of a tube is told.

use actix::Recipient;
use tokio::sync::mpsc;

use super::network::{NetworkChange, NetworkChangeKind, NetworkSubscription, Reach};
use super::tube::Sign;
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

/// Whether a change may be the end of a connection. Which address one uses is not known: to doubt for nothing costs a ping.
pub fn is_major(change: &NetworkChange) -> bool {
    let interfaces = change.before().interfaces.values();
    let mut addresses = interfaces.flat_map(|of| &of.addresses);
    addresses.any(|address| !address.is_loopback() && change.touches(*address))
}

/// Tells a manager what becomes of the network, until one of them is gone.
pub async fn watch(mut network: NetworkSubscription, manager: Recipient<Feed<Input>>) {
    while let Some(change) = network.next().await {
        let (before, after) = (change.before(), change.after());
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
        if change.restored() || (out(after.reach()) && !out(before.reach())) {
            events.push(Input::NetworkUp);
        }
        for event in events {
            if manager.send(Feed(event)).await.is_err() {
                return;
            }
        }
    }
}
