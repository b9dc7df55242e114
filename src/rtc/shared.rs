//! What a connection, its handler and its channels know in common.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use webrtc::data_channel::DataChannel;

use super::IceState;
use super::channel::{Phase, drain};
use super::gathering::Gathering;
use super::nudge::Nudge;
use super::pacing::Relays;

/// What a connection, its handler and its channels know in common.
pub(super) struct Shared {
    ice: watch::Sender<IceState>,
    gathering: Gathering,
    ended: watch::Sender<bool>,
    /// When both descriptions became known.
    negotiated: watch::Sender<Option<Instant>>,
    /// Whether the stack's timers are kept short.
    pub(super) brisk: Arc<AtomicBool>,
    setup: Duration,
    pub(super) nudge: Arc<Nudge>,
    pub(super) relays: Arc<Relays>,
    /// Whether the peer has little room for what comes at once.
    pub(super) little_room: AtomicBool,
    handle: Handle,
    channels: Mutex<Vec<Known>>,
    /// When a channel was last closed.
    closed: Mutex<Option<Instant>>,
}

/// How long the number of a closed channel is not used again. The stack would do so at once, and a new channel may
/// then fall to the close of the old one, which both ends must confirm first.
const REUSE_WAIT: Duration = Duration::from_millis(500);

/// A channel, as its connection remembers it.
pub(super) struct Known {
    pub(super) stack: Weak<dyn DataChannel>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Known {
    fn is_live(&self) -> bool {
        self.stack.strong_count() > 0 && !matches!(*self.phase.borrow(), Phase::Closed { .. })
    }
}

impl Shared {
    pub(super) fn new(
        handle: Handle,
        setup: Duration,
        gathering: Gathering,
        relays: Relays,
    ) -> Self {
        Shared {
            ice: watch::Sender::new(IceState::New),
            gathering,
            ended: watch::Sender::new(false),
            negotiated: watch::Sender::new(None),
            brisk: Arc::default(),
            setup,
            nudge: Arc::default(),
            relays: Arc::new(relays),
            little_room: AtomicBool::new(false),
            handle,
            channels: Mutex::default(),
            closed: Mutex::default(),
        }
    }

    pub(super) fn ice_state(&self) -> IceState {
        *self.ice.borrow()
    }

    /// Notes the state of ICE, and whether that is news.
    pub(super) fn set_ice(&self, state: IceState) -> bool {
        self.ice.send_replace(state) != state
    }

    /// How the search for our candidates goes.
    pub(super) fn gathering(&self) -> &Gathering {
        &self.gathering
    }

    /// The stack's driver has ended.
    pub(super) fn set_ended(&self) {
        self.ice.send_replace(IceState::Closed);
        self.ended.send_replace(true);
    }

    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits until the stack's driver has ended.
    pub(super) async fn ended(&self) {
        wait(&self.ended, |ended| *ended).await;
    }

    /// Waits until the whole setup time, which it returns, has passed since both descriptions were known and what is
    /// being set up was begun.
    pub(super) async fn setup_expired(&self, begun: Instant) -> Duration {
        wait(&self.negotiated, Option::is_some).await;
        let negotiated = *self.negotiated.borrow();
        let since = negotiated.map_or(begun, |negotiated| negotiated.max(begun));
        self.sleep(self.setup.saturating_sub(since.elapsed())).await;
        self.setup
    }

    /// Sleeps by the clock of the data plane: the awaiting runtime may have stopped its own, or have none.
    pub(super) fn sleep(&self, duration: Duration) -> tokio::time::Sleep {
        let _context = self.handle.enter();
        tokio::time::sleep(duration)
    }

    /// The data plane's runtime.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Both descriptions are known, or will be in a moment: setup begins, with short timers for as long as it may
    /// take.
    pub(super) fn negotiated(self: &Arc<Self>) {
        self.brisk.store(true, Ordering::Relaxed);
        self.negotiated.send_replace(Some(Instant::now()));
        let shared = self.clone();
        self.handle.spawn(async move {
            tokio::select! {
                _ = shared.setup_expired(Instant::now()) => shared.setup_over(),
                () = shared.ended() => {}
            }
        });
    }

    /// It came to nothing: the description was refused.
    pub(super) fn not_negotiated(&self) {
        self.setup_over();
        self.negotiated.send_replace(None);
    }

    /// Setup is over: a channel is open, or no longer expected.
    pub(super) fn setup_over(&self) {
        self.brisk.store(false, Ordering::Relaxed);
    }

    /// Remembers a channel, to be counted, and drained before the connection is closed.
    pub(super) fn add_channel(&self, channel: Known) {
        let mut channels = lock(&self.channels);
        channels.retain(|known| known.stack.strong_count() > 0);
        channels.push(channel);
    }

    /// A channel was closed.
    pub(super) fn channel_closed(&self) {
        *lock(&self.closed) = Some(Instant::now());
    }

    /// Waits until another channel may be created.
    pub(super) async fn may_create(&self) {
        let closed = *lock(&self.closed);
        if let Some(closed) = closed {
            self.sleep(REUSE_WAIT.saturating_sub(closed.elapsed()))
                .await;
        }
    }

    /// How many channels are not closed.
    pub(super) fn live_channels(&self) -> usize {
        let channels = lock(&self.channels);
        channels.iter().filter(|known| known.is_live()).count()
    }

    /// Waits until the peer has acknowledged what was sent on all channels, while it is there to do so.
    pub(super) async fn drain(&self) {
        if !matches!(self.ice_state(), IceState::Connected | IceState::Completed) {
            return;
        }
        let channels: Vec<_> = lock(&self.channels)
            .iter()
            .filter_map(|known| known.stack.upgrade())
            .collect();
        for channel in channels {
            drain(&*channel).await;
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a condition. The sender outlives the wait, so it ends only with the condition.
pub(super) async fn wait<T>(sender: &watch::Sender<T>, condition: impl FnMut(&T) -> bool) {
    if sender.subscribe().wait_for(condition).await.is_err() {
        std::future::pending().await
    }
}
