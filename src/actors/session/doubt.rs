//! A socket that is in doubt: one whose address is gone tells nothing of it.

use actix::prelude::*;

use super::SessionActor;
use super::socket::Outgoing;
use crate::tunnel::manage::is_major;
use crate::tunnel::network::{NetworkSubscription, Reach};

/// The network of this machine has changed: is the hub still there? If it says nothing for 10 s, it is lost.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Doubt;

impl Handler<Doubt> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Doubt, _: &mut Self::Context) {
        if let Some(outbox) = &self.performer().outbox {
            // One that has no room has not been read for long, and is noticed by that.
            let _ = outbox.try_send(Outgoing::Ask);
        }
    }
}

/// Has a session doubt its socket whenever the network is another one, until one of them is gone.
pub(crate) async fn doubt(mut network: NetworkSubscription, session: Recipient<Doubt>) {
    while let Some(change) = network.next().await {
        let (before, after) = (change.before().reach(), change.after().reach());
        let doubtful = is_major(&change) || change.woke() || before == Reach::Nowhere;
        // Without a network it is too early to ask.
        if doubtful && after > Reach::Nowhere && session.send(Doubt).await.is_err() {
            return;
        }
    }
}
