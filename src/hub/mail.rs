//! The embedded engine: messages between the devices of one hub, and a mailbox for each device.
//!
//! A message to a device that is connected and keeps up goes straight to its socket and stays in memory until the device
//! acknowledges it; then the sender has its receipt, and the store was never asked. Everything else goes to the store
//! first: for a device that is away or behind, after ten seconds without an acknowledgement, or when its connection ends.
//! What is in the store follows to the device in pages, as its window has room.
//!
//! * `core` is the one structure, without a clock or a lock; `posting` and `delivery` are its two directions,
//!   `settling` the way of the answers, and `sessions` what a planned restart keeps of devices that are away.
//! * `device` is what is known of one device: its window, its session, and what it sent (`repeats`).
//! * `quota` counts who holds how much, `ids` hands out letter ids, `orders` is the way to the store.

mod core;
mod delivery;
mod device;
mod ids;
mod limits;
mod orders;
mod posting;
mod quota;
mod repeats;
mod sessions;
mod settling;
#[cfg(test)]
mod tests;
mod wall;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

pub use limits::MailLimits;

use super::engine::{
    ConnId, DeviceKey, Engine, EngineFigures, PostRefused, Posting, RoomRecord, Sink,
};
use super::store::{Recovered, Store};
use core::{Core, Now, millis};
use orders::Orders;

/// Where a device stands among all.
type Index = u32;

type Clock = Box<dyn Fn() -> Now + Send + Sync>;

/// The embedded [`Engine`], over a [`Store`].
///
/// A sink may be called before [`Engine::attach`] has returned: receipts that were kept for a resumed session come within
/// the call, and messages may come from another thread as soon as the device is known to be there.
pub struct Mail {
    core: Mutex<Core>,
    store: Arc<dyn Store>,
    clock: Clock,
}

impl Mail {
    /// An engine over what was found in the store. `node` is the name of this hub, which goes into session ids.
    pub fn new(
        store: Arc<dyn Store>,
        recovered: Recovered,
        node: &str,
        limits: MailLimits,
    ) -> Arc<Mail> {
        let start = Instant::now();
        let clock = move || Now {
            at: millis(start.elapsed()),
            unix_ms: SystemTime::UNIX_EPOCH.elapsed().map_or(0, millis),
        };
        Mail::with_clock(store, recovered, node, limits, Box::new(clock))
    }

    fn with_clock(
        store: Arc<dyn Store>,
        recovered: Recovered,
        node: &str,
        limits: MailLimits,
        clock: Clock,
    ) -> Arc<Mail> {
        let now = clock();
        let mail = Arc::new_cyclic(|mail| {
            let orders = Orders::new(Arc::clone(&store), mail.clone());
            Mail {
                core: Mutex::new(Core::new(orders, recovered, node, limits, now)),
                store,
                clock,
            }
        });
        // Not before there is somebody to hear the answer.
        mail.with(|core, _| core.reserve());
        mail
    }

    fn with<T>(&self, what: impl FnOnce(&mut Core, Now) -> T) -> T {
        // The core is whole between any two of its steps, and a panic in one must not stop the mail of all.
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut core, (self.clock)())
    }
}

impl Engine for Mail {
    fn attach(
        &self,
        device: &DeviceKey,
        conn: ConnId,
        sink: Arc<dyn Sink>,
        resume: Option<&str>,
        last: Option<u64>,
    ) {
        self.with(|core, now| core.attach(device, (conn, sink), resume, last, now));
    }

    fn detach(&self, device: &DeviceKey, conn: ConnId, resumable: bool) {
        self.with(|core, now| core.detach(device, conn, resumable, now));
    }

    fn post(
        &self,
        from: &DeviceKey,
        posting: Posting,
        answer_to: Option<Arc<dyn Sink>>,
    ) -> Result<(), PostRefused> {
        self.with(|core, now| core.post(from, posting, answer_to, now))
    }

    fn acknowledge(&self, device: &DeviceKey, conn: ConnId, up_to: u64) {
        self.with(|core, now| core.acknowledge(device, conn, up_to, now));
    }

    fn tick(&self) {
        self.with(|core, now| core.tick(now));
    }

    fn save_room(&self, room: RoomRecord) {
        self.store.save_room(room);
    }

    fn forget_room(&self, id: &str) {
        self.store.forget_room(id);
    }

    fn save_peer(&self, room: &str, peer: &str, user: &str) {
        self.store.save_peer(room, peer, user);
    }

    fn figures(&self) -> EngineFigures {
        self.with(|core, _| core.figures())
    }

    fn flush(&self, within: Duration) -> BoxFuture<'static, bool> {
        let (flushed, all) = oneshot::channel();
        self.with(|core, _| {
            core.drain();
            core.orders.sync(core.failures, move |_, ok, _| {
                // Nobody waits any more when the time was over.
                let _ = flushed.send(ok);
            });
        });
        heard(all, within)
    }

    fn close(&self, within: Duration) -> BoxFuture<'static, bool> {
        let (closed, all) = oneshot::channel();
        self.with(|core, _| {
            core.drain();
            // Answers come in the order of the orders: by now every post has its receipt, which the session keeps.
            core.orders.sync(core.failures, move |core, stored, now| {
                core.save_sessions(now, move |saved| {
                    // Nobody waits any more when the time was over.
                    let _ = closed.send(stored && saved);
                });
            });
        });
        heard(all, within)
    }
}

/// Whether all is well, as far as it is known in time.
fn heard(all: oneshot::Receiver<bool>, within: Duration) -> BoxFuture<'static, bool> {
    async move { matches!(tokio::time::timeout(within, all).await, Ok(Ok(true))) }.boxed()
}
