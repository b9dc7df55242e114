//! One data channel: ordered, reliable, with back-pressure both ways.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, watch};
use webrtc::data_channel::{
    DataChannel, DataChannelEvent, RTCDataChannelMessage, RTCDataChannelState,
};

use super::RtcError;
use super::connection::Shared;

/// The size of the pieces that files are sent in, bytes. Every known peer takes messages of this size.
pub const CHUNK_BYTES: usize = 65536;

/// The largest message that is sent or taken, bytes. A larger one from the peer is refused by the stack.
pub const MAX_MESSAGE_BYTES: usize = 262_144;

/// How often a channel whose consumer does not read is asked whether it still lives.
const STALLED_CHECK: Duration = Duration::from_millis(100);

/// How often [`Channel::drained`] looks.
const DRAIN_CHECK: Duration = Duration::from_millis(5);

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
enum Phase {
    Opening,
    Open,
    /// Closed, and whether it had ever opened.
    Closed {
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

struct Inner {
    label: String,
    stack: Arc<dyn DataChannel>,
    phase: watch::Receiver<Phase>,
    incoming: Mutex<mpsc::Receiver<Incoming>>,
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
    pub(super) fn new(
        handle: &Handle,
        label: String,
        stack: Arc<dyn DataChannel>,
        shared: Arc<Shared>,
    ) -> Channel {
        let (phase_in, phase) = watch::channel(Phase::Opening);
        // One message: what the consumer does not take stays with the stack, which then closes the window.
        let (incoming_in, incoming) = mpsc::channel(1);
        let pump = Pump {
            label: label.clone(),
            stack: stack.clone(),
            phase: phase_in,
            incoming: incoming_in,
            shared: shared.clone(),
            warned: false,
        };
        handle.spawn(pump.run());
        Channel {
            inner: Arc::new(Inner {
                label,
                stack,
                phase,
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
        let mut phase = self.inner.phase.clone();
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
            setup = self.inner.shared.setup_expired() => Err(RtcError::Setup(setup)),
        }
    }

    /// Sends a text message. Waits until the channel is open, and while the send buffer is full.
    ///
    /// # Errors
    /// [`RtcError::Closed`], [`RtcError::TooLarge`], or as [`Channel::opened`].
    pub async fn send_text(&self, text: &str) -> Result<(), RtcError> {
        self.sendable(text.len()).await?;
        self.unless_closed(self.inner.stack.send_text(text)).await
    }

    /// Sends a binary message. Waits until the channel is open, and while the send buffer is full.
    ///
    /// # Errors
    /// [`RtcError::Closed`], [`RtcError::TooLarge`], or as [`Channel::opened`].
    pub async fn send_binary(&self, data: Bytes) -> Result<(), RtcError> {
        self.sendable(data.len()).await?;
        self.unless_closed(self.inner.stack.send(BytesMut::from(data)))
            .await
    }

    async fn sendable(&self, length: usize) -> Result<(), RtcError> {
        if length > MAX_MESSAGE_BYTES {
            return Err(RtcError::TooLarge(length));
        }
        let phase = *self.inner.phase.borrow();
        match phase {
            Phase::Open => Ok(()),
            Phase::Opening => self.opened().await,
            Phase::Closed { .. } => Err(RtcError::Closed),
        }
    }

    /// The stack does not wake a sender whose channel the peer closes, so that is watched beside it.
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
        self.inner.incoming.lock().await.recv().await
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
                () = tokio::time::sleep(DRAIN_CHECK) => {}
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
        let mut phase = self.inner.phase.clone();
        let closed = phase.wait_for(|phase| matches!(phase, Phase::Closed { .. }));
        tokio::select! {
            _ = closed => {}
            () = self.inner.shared.ended() => {}
        }
    }

    /// Closes the channel. What was sent before still goes out. Closing twice is nothing.
    pub async fn close(&self) {
        if let Err(error) = self.inner.stack.close().await {
            tracing::trace!(label = self.label(), %error, "the channel was closed already");
        }
    }
}

/// Reads a channel's events from the stack: its life into `phase`, its messages into `incoming`.
struct Pump {
    label: String,
    stack: Arc<dyn DataChannel>,
    phase: watch::Sender<Phase>,
    incoming: mpsc::Sender<Incoming>,
    shared: Arc<Shared>,
    warned: bool,
}

impl Pump {
    async fn run(mut self) {
        loop {
            let event = tokio::select! {
                biased;
                event = self.stack.poll() => event,
                () = self.shared.ended() => None,
                // Nobody holds the channel any more.
                () = self.incoming.closed() => {
                    let _ = self.stack.close().await;
                    None
                }
            };
            match event {
                Some(DataChannelEvent::OnOpen) => {
                    self.shared.opened();
                    self.phase.send_replace(Phase::Open);
                }
                Some(DataChannelEvent::OnMessage(message)) => {
                    if let Some(message) = self.decode(message) {
                        self.deliver(message).await;
                    }
                }
                Some(DataChannelEvent::OnClose) | None => break,
                Some(_) => {}
            }
        }
        self.mark_closed();
    }

    /// A text that is not UTF-8 is left out; said once, so that a peer cannot flood the log.
    fn decode(&mut self, message: RTCDataChannelMessage) -> Option<Incoming> {
        if !message.is_string {
            return Some(Incoming::Binary(message.data.freeze()));
        }
        match String::from_utf8(message.data.into()) {
            Ok(text) => Some(Incoming::Text(text)),
            Err(_) => {
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(
                        label = self.label,
                        "a text message that is not UTF-8 was dropped"
                    );
                }
                None
            }
        }
    }

    /// Waits for the consumer. Meanwhile the events behind this message are out of sight, so the stack is asked.
    async fn deliver(&mut self, message: Incoming) {
        loop {
            tokio::select! {
                permit = self.incoming.reserve() => {
                    if let Ok(permit) = permit {
                        permit.send(message);
                    }
                    return;
                }
                () = tokio::time::sleep(STALLED_CHECK) => {
                    if !matches!(self.stack.ready_state().await, Ok(RTCDataChannelState::Open)) {
                        self.mark_closed();
                    }
                }
            }
        }
    }

    fn mark_closed(&self) {
        self.phase.send_if_modified(|phase| {
            let closed = Phase::Closed {
                opened: *phase != Phase::Opening && *phase != (Phase::Closed { opened: false }),
            };
            std::mem::replace(phase, closed) != closed
        });
    }
}
