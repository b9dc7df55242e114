//! One data channel: ordered, reliable, with back-pressure both ways.

mod pump;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, watch};
use webrtc::data_channel::DataChannel;

use self::pump::Pump;
use super::RtcError;
use super::flight::Flight;
use super::shared::{Known, Shared, lock};

/// The size of the pieces that files are sent in, bytes. Every known peer takes messages of this size.
pub const CHUNK_BYTES: usize = 65536;

/// The largest message that is sent or taken, bytes. A larger one from the peer is refused by the stack.
pub const MAX_MESSAGE_BYTES: usize = 262_144;

/// The size of the pieces for peers with little room, bytes. aiortc looks through all parts of a message as each arrives.
const SMALL_PIECE_BYTES: usize = 16_384;

/// How often it is looked whether a peer that has little room has enough of it.
const ROOM_CHECK: Duration = Duration::from_millis(1);

/// How often the send buffer is looked at by those who wait for it to be empty.
const DRAIN_CHECK: Duration = Duration::from_millis(5);

/// How long a peer has to read what it has acknowledged, before the close follows.
const CLOSE_LINGER: Duration = Duration::from_millis(50);

/// How long [`Channel::close`] lets the peer acknowledge what was sent.
const CLOSE_DRAIN: Duration = Duration::from_secs(5);

/// A message from the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
}

/// Where a channel is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    Open,
    Closed {
        /// Whether it had ever opened.
        opened: bool,
    },
}

/// A data channel: ordered and reliable. Clones are the same channel; it is closed when the last one is dropped.
///
/// It does not keep its [`Connection`](super::Connection) alive: when that closes, so does the channel.
#[derive(Clone)]
pub struct Channel {
    inner: Arc<Inner>,
}

/// A message that waits for its consumer, with its share of [`AHEAD_BYTES`].
type Held = (Incoming, OwnedSemaphorePermit);

struct Inner {
    label: String,
    stack: Arc<dyn DataChannel>,
    created: Instant,
    phase: Arc<watch::Sender<Phase>>,
    /// Kept only for a peer that has little room.
    flight: std::sync::Mutex<Flight>,
    incoming: Mutex<mpsc::UnboundedReceiver<Held>>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("label", &self.inner.label)
            .field("id", &self.id())
            .field("phase", &*self.inner.phase.borrow())
            .finish()
    }
}

impl Channel {
    /// Takes charge of a channel of the stack: its events are read from now on.
    pub(super) fn new(label: String, stack: Arc<dyn DataChannel>, shared: Arc<Shared>) -> Channel {
        let phase = Arc::new(watch::Sender::new(Phase::Opening));
        shared.add_channel(Known {
            stack: Arc::downgrade(&stack),
            phase: phase.subscribe(),
        });
        // Bounded by the bytes ahead. What does not fit stays with the stack, which then closes the window.
        let (incoming_in, incoming) = mpsc::unbounded_channel();
        let pump = Pump {
            label: label.clone(),
            stack: stack.clone(),
            phase: phase.clone(),
            incoming: incoming_in,
            shared: shared.clone(),
            state: pump::State::default(),
        };
        shared.handle().spawn(pump.run());
        Channel {
            inner: Arc::new(Inner {
                label,
                stack,
                created: Instant::now(),
                phase,
                flight: std::sync::Mutex::default(),
                incoming: Mutex::new(incoming),
                shared,
            }),
        }
    }

    /// The label that its creator gave it.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    /// Its number, unique within the connection on this side.
    pub fn id(&self) -> usize {
        self.inner.stack.id()
    }

    /// Waits until the channel is open; at once if it was open before.
    ///
    /// # Errors
    /// [`RtcError::Closed`] when it closed instead of opening, [`RtcError::Setup`] when it took too long.
    pub async fn opened(&self) -> Result<(), RtcError> {
        let mut phase = self.inner.phase.subscribe();
        let settled = async {
            match phase
                .wait_for(|phase| *phase != Phase::Opening)
                .await
                .as_deref()
            {
                Ok(Phase::Open | Phase::Closed { opened: true }) => Ok(()),
                _ => Err(RtcError::Closed),
            }
        };
        tokio::select! {
            biased;
            settled = settled => settled,
            () = self.inner.shared.ended() => Err(RtcError::Closed),
            setup = self.inner.shared.setup_expired(self.inner.created) => Err(RtcError::Setup(setup)),
        }
    }

    /// Sends a text message. Waits until the channel is open, and while the send buffer is full.
    ///
    /// # Errors
    /// [`RtcError::Closed`], [`RtcError::TooLarge`], or as [`Channel::opened`].
    pub async fn send_text(&self, text: &str) -> Result<(), RtcError> {
        self.sendable(text.len()).await?;
        self.unless_closed(self.inner.stack.send_text(text)).await?;
        self.sent(text.len());
        Ok(())
    }

    /// Sends a binary message. Waits until the channel is open, and while the send buffer is full.
    ///
    /// # Errors
    /// [`RtcError::Closed`], [`RtcError::TooLarge`], or as [`Channel::opened`].
    pub async fn send_binary(&self, data: Bytes) -> Result<(), RtcError> {
        let length = data.len();
        self.sendable(length).await?;
        self.unless_closed(self.inner.stack.send(BytesMut::from(data)))
            .await?;
        self.sent(length);
        Ok(())
    }

    async fn sendable(&self, length: usize) -> Result<(), RtcError> {
        if length > MAX_MESSAGE_BYTES {
            return Err(RtcError::TooLarge(length));
        }
        if self.inner.shared.has_ended() {
            return Err(RtcError::Closed);
        }
        let phase = *self.inner.phase.borrow();
        match phase {
            Phase::Open => {}
            Phase::Opening => self.opened().await?,
            Phase::Closed { .. } => return Err(RtcError::Closed),
        }
        self.room().await
    }

    /// Waits until a peer that has little room has enough of it.
    async fn room(&self) -> Result<(), RtcError> {
        if !self.has_little_room() {
            return Ok(());
        }
        loop {
            let outstanding = self.inner.stack.outstanding_bytes();
            let outstanding = self.unless_closed(outstanding).await? as u64;
            if lock(&self.inner.flight).has_room(outstanding, Instant::now()) {
                return Ok(());
            }
            if !self.is_open() {
                return Err(RtcError::Closed);
            }
            self.inner.shared.sleep(ROOM_CHECK).await;
        }
    }

    fn sent(&self, bytes: usize) {
        if self.has_little_room() {
            lock(&self.inner.flight).sent(bytes, Instant::now());
        }
    }

    fn has_little_room(&self) -> bool {
        self.inner.shared.little_room.load(Ordering::Relaxed)
    }

    /// The size of the pieces in which a file is best sent to this peer, bytes: [`CHUNK_BYTES`] or a divisor of it.
    pub fn piece_bytes(&self) -> usize {
        if self.has_little_room() {
            SMALL_PIECE_BYTES
        } else {
            CHUNK_BYTES
        }
    }

    /// A sender that waits is released at once, also when the channel is closed from here or the stack is gone.
    async fn unless_closed<T>(
        &self,
        work: impl Future<Output = webrtc::error::Result<T>>,
    ) -> Result<T, RtcError> {
        tokio::select! {
            biased;
            result = work => Ok(result?),
            () = self.closed() => Err(RtcError::Closed),
        }
    }

    /// The next message; `None` once the channel is closed and everything that came before has been taken.
    ///
    /// For one consumer: two would each get some of the messages. Dropping the future loses nothing.
    pub async fn recv(&self) -> Option<Incoming> {
        let (message, _share) = self.inner.incoming.lock().await.recv().await?;
        Some(message)
    }

    /// The bytes given to send that the peer has not yet acknowledged; 0 when closed.
    pub async fn buffered_amount(&self) -> u64 {
        self.inner
            .stack
            .outstanding_bytes()
            .await
            .map_or(0, |bytes| bytes as u64)
    }

    /// Waits until the peer has acknowledged everything that was sent.
    ///
    /// # Errors
    /// [`RtcError::Closed`] when the channel closed first.
    pub async fn drained(&self) -> Result<(), RtcError> {
        loop {
            let outstanding = self.inner.stack.outstanding_bytes().await?;
            if !self.is_open() {
                return Err(RtcError::Closed);
            }
            if outstanding == 0 {
                return Ok(());
            }
            tokio::select! {
                () = self.inner.shared.sleep(DRAIN_CHECK) => {}
                () = self.closed() => return Err(RtcError::Closed),
            }
        }
    }

    /// Whether messages can be sent right now.
    pub fn is_open(&self) -> bool {
        *self.inner.phase.borrow() == Phase::Open && !self.inner.shared.has_ended()
    }

    /// Waits until the channel is closed, by either side or with its connection. Messages that came before may
    /// still be waiting in [`Channel::recv`].
    pub async fn closed(&self) {
        let mut phase = self.inner.phase.subscribe();
        let closed = phase.wait_for(|phase| matches!(phase, Phase::Closed { .. }));
        tokio::select! {
            _ = closed => {}
            () = self.inner.shared.ended() => {}
        }
    }

    /// Closes the channel, once the peer has acknowledged what was sent, or after 5 s. Nothing more can be sent from
    /// the moment of the call. Closing twice is nothing.
    ///
    /// Acknowledged is not read: what waits at the peer, because its consumer is slow, may be lost there when the
    /// close arrives. So let the side that receives last be the one that closes.
    pub async fn close(&self) {
        mark_closed(&self.inner.phase);
        let closing = shut(self.inner.stack.clone());
        if self.inner.shared.handle().spawn(closing).await.is_err() {
            tracing::trace!("the data plane went before the channel");
        }
    }
}

/// Closes a channel of the stack, once drained or after [`CLOSE_DRAIN`].
async fn shut(stack: Arc<dyn DataChannel>) {
    let _ = tokio::time::timeout(CLOSE_DRAIN, drain(&*stack)).await;
    if let Err(error) = stack.close().await {
        tracing::trace!(%error, "the channel was closed already");
    }
}

/// Waits until the peer has acknowledged everything, or the channel is gone; then a moment for the peer to read it.
///
/// The stack closes a channel without regard to what is still in its send buffer; and as a receiver it forgets what
/// it has acknowledged but not yet handed over when the close comes right behind.
pub(super) async fn drain(stack: &dyn DataChannel) {
    while let Ok(outstanding) = stack.outstanding_bytes().await {
        if outstanding == 0 {
            tokio::time::sleep(CLOSE_LINGER).await;
            break;
        }
        tokio::time::sleep(DRAIN_CHECK).await;
    }
}

fn mark_closed(phase: &watch::Sender<Phase>) {
    phase.send_if_modified(|phase| match *phase {
        Phase::Closed { .. } => false,
        before => {
            *phase = Phase::Closed {
                opened: before == Phase::Open,
            };
            true
        }
    });
}
