//! The GPUs of a worker: read again and again while the hub is there, and told of when something changed.

use std::cell::RefCell;
use std::rc::Rc;

use actix::prelude::*;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Worker;
use super::describe::gpu_metadata;
use crate::rtc::DataPlane;
use crate::wire::ToHub;
use crate::worker::Refresh;
use crate::worker::capabilities::{Capabilities, Reading, Told, follow};

/// The GPUs were read.
#[derive(Message)]
#[rtype(result = "()")]
struct Read {
    reading: Reading,
    at: Instant,
}

/// What the hub knows of the GPUs.
#[derive(Clone)]
pub(super) struct Known(Rc<RefCell<Told>>);

impl Known {
    /// A registration says what was read last.
    pub(super) fn describe(&self, capabilities: &Capabilities) {
        self.0
            .replace(Told::new(capabilities.reading(), Instant::now()));
    }
}

/// The GPUs of a worker.
pub(super) struct Gpus {
    refresh: Refresh,
    known: Known,
    watched: watch::Sender<bool>,
}

impl Gpus {
    /// Begins to read them, as soon as somebody may look. Ends with the worker.
    pub(super) fn start(
        capabilities: &Capabilities,
        refresh: Refresh,
        plane: &DataPlane,
        ctx: &Context<Worker>,
    ) -> Self {
        let known = Told::new(capabilities.reading(), Instant::now());
        let (watched, watching) = watch::channel(false);
        let (capabilities, plane, worker) = (
            capabilities.clone(),
            plane.clone(),
            ctx.address().downgrade(),
        );
        let read = move || {
            let capabilities = capabilities.clone();
            let reading = plane.spawn_blocking(move || capabilities.refresh());
            async move { reading.await.ok() }
        };
        actix_rt::spawn(follow(refresh.every, watching, read, move |reading, at| {
            if let Some(worker) = worker.upgrade() {
                worker.do_send(Read { reading, at });
            }
        }));
        Gpus {
            refresh,
            known: Known(Rc::new(RefCell::new(known))),
            watched,
        }
    }

    /// What the hub knows of them, which a registration changes.
    pub(super) fn told(&self) -> Known {
        self.known.clone()
    }

    /// Whether somebody may look: the hub is there.
    pub(super) fn look(&self, watched: bool) {
        self.watched.send_replace(watched);
    }
}

impl Handler<Read> for Worker {
    type Result = ();

    fn handle(&mut self, read: Read, _: &mut Self::Context) {
        let (known, every) = (&self.gpus.known.0, self.gpus.refresh.tell_every);
        if self.online && known.borrow_mut().tell(&read.reading, read.at, every) {
            tracing::debug!("the hub is told of the GPUs");
            self.send(ToHub::UpdateMetadata {
                peer_id: self.peer_id.clone(),
                metadata: gpu_metadata(&self.capabilities, &read.reading),
            });
        }
    }
}
