//! How a connection goes, for those who are asked about it at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use actix::WeakAddr;
use actix::prelude::*;

use super::PeerActor;
use crate::rtc;
use crate::status::Path;

/// Asks a connection which way it takes; nothing while it has none.
#[derive(Message)]
#[rtype(result = "Option<rtc::Path>")]
pub struct AskPath;

impl Handler<AskPath> for PeerActor {
    type Result = ResponseFuture<Option<rtc::Path>>;

    fn handle(&mut self, _: AskPath, _: &mut Self::Context) -> Self::Result {
        let connection = self.performer().connection.clone();
        Box::pin(async move { connection?.path().await })
    }
}

/// What was seen of a connection when it was last looked at. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    link: Rc<RefCell<Option<WeakAddr<PeerActor>>>>,
    /// Of how many connections it was the last, and what was seen of that one.
    seen: Rc<Cell<(u64, Option<Path>)>>,
}

impl Sight {
    /// From now on this connection is looked at.
    pub fn turn_to(&self, link: &Addr<PeerActor>) {
        self.link.replace(Some(link.downgrade()));
        self.seen.set((self.seen.get().0 + 1, None));
        self.look();
    }

    /// What was seen last; it is looked again, for the next who asks.
    pub fn path(&self) -> Option<Path> {
        self.look();
        self.seen.get().1
    }

    fn look(&self) {
        let link = self.link.borrow().as_ref().and_then(WeakAddr::upgrade);
        let number = self.seen.get().0;
        let Some(link) = link else {
            return self.seen.set((number, None));
        };
        let seen = self.seen.clone();
        actix::spawn(async move {
            // One that is gone takes no way.
            let path = link.send(AskPath).await.ok().flatten();
            let path = path.map(|path| match path.is_relayed() {
                true => Path::Relayed,
                false => Path::Direct,
            });
            // There may be another one since.
            if seen.get().0 == number {
                seen.set((number, path));
            }
        });
    }
}
