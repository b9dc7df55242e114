//! What a manager's task, its callbacks and the program have in common.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use actix::Recipient;
use tokio::sync::{mpsc, watch};

use super::activity::Activity;
use super::callbacks::Callbacks;
use super::metrics::{Figures, Metrics};
use super::runtime::Place;
use super::{ConnectionState, Managers, TubeOptions, lock};
use crate::actors::tunnel::Of;
use crate::rtc::DataPlane;
use crate::tunnel::signalled::{Parts, Said, Signalled};
use crate::tunnel::tube::Tube;

/// What belongs to one manager.
pub(super) struct Shared {
    pub(super) options: TubeOptions,
    pub(super) plane: DataPlane,
    pub(super) tube: Tube,
    pub(super) activity: Activity,
    pub(super) callbacks: Callbacks,
    pub(super) state: watch::Sender<ConnectionState>,
    pub(super) figures: Mutex<Figures>,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    /// Where it is registered; nothing once it is over.
    registries: Mutex<Option<Vec<Weak<Managers>>>>,
    /// Everything that it had is released.
    pub(super) gone: watch::Sender<bool>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.options.tube_id)
    }
}

impl Shared {
    pub(super) fn new(options: TubeOptions, plane: DataPlane, tube: Tube) -> Self {
        Shared {
            options,
            plane,
            tube,
            activity: Activity::new(),
            callbacks: Callbacks::new(),
            state: watch::Sender::new(ConnectionState::Initializing),
            figures: Mutex::default(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            registries: Mutex::new(Some(Vec::new())),
            gone: watch::Sender::new(false),
        }
    }

    pub(super) fn figures(&self) -> MutexGuard<'_, Figures> {
        lock(&self.figures)
    }

    /// Its task has ended: whoever waits for it hears so when nothing is left.
    pub(super) fn release(self: Arc<Self>, place: Option<Place>) {
        self.callbacks.clear();
        let registries = lock(&self.registries).take().unwrap_or_default();
        for registry in registries.iter().filter_map(Weak::upgrade) {
            registry.leaves(&self);
        }
        drop(place);
        self.gone.send_replace(true);
    }

    /// Is in this registry too; `false` where it is over.
    pub(super) fn enters(&self, registry: &Arc<Managers>) -> bool {
        let mut registries = lock(&self.registries);
        let Some(registries) = registries.as_mut() else {
            return false;
        };
        registries.push(Arc::downgrade(registry));
        true
    }

    pub(super) fn metrics(&self) -> Metrics {
        let time_of = |moment| self.activity.time_of(moment);
        let figures = self.figures();
        Metrics {
            last_activity: time_of(self.activity.last()),
            reconnection_attempts: figures.attempts,
            ice_restart_attempts: figures.restarts,
            last_restart: figures.last_attempt.map(time_of),
            established: figures.established.map(time_of),
            connections: figures.connections,
            bytes_sent: self.sent.load(Ordering::Relaxed),
            bytes_received: self.received.load(Ordering::Relaxed),
            round_trip: figures.round_trip,
        }
    }

    /// What makes the carrier of its tube.
    pub(super) fn carrier(
        self: Arc<Self>,
    ) -> impl FnOnce(Recipient<Of>, mpsc::UnboundedSender<Said>) -> Signalled + Send {
        move |reports, said| {
            let options = &self.options;
            Signalled::new(Parts {
                id: options.tube_id.clone(),
                role: options.role,
                tube: self.tube.clone(),
                plane: self.plane.clone(),
                rtc: options.rtc.clone(),
                reports,
                said,
            })
        }
    }
}
