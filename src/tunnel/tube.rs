//! A tube: a stream of messages, both ways, that outlives the connections that carry it (websocket-integration-guide.md;
//! reading.md, 26 and 27).
//!
//! What was sent is kept until the other side has said that it has it. On a new connection each side says how much it has, and
//! the other goes on behind that: nothing is lost, and nothing comes twice. Who may go on with a tube knows its resume
//! token, which the responder gave out over the first connection, and is the same user.
//!
//! A [`Tube`] is the stream; when there is another connection is decided by the chart `tunnel`.

mod carry;
mod count;
mod line;
mod message;
mod pen;
mod words;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::rtc::{Channel, DataPlane, Incoming, RtcError};
use crate::tunnel::forward::Carrier;
use crate::wire::KEEP_ALIVE;

pub use count::Impossible;
pub use line::Line;
pub use words::Word;

use count::{Received, Sent};
use message::Message;
use pen::Pen;

/// The label of a channel that carries a tube.
pub const CHANNEL_LABEL: &str = "loaner-tube";

/// Bytes that are kept until the other side has them; then whoever sends waits. As much as may be on its way on a channel.
const KEPT_BYTES: usize = 4 << 20;

/// Bytes that wait here for whoever receives; then the channel is read no further.
const AHEAD_BYTES: usize = 1 << 20;

/// What a message counts for beside its bytes.
const OVERHEAD: usize = 64;

/// Words that wait to be sent, and signs to be heard. What the other side asks for beyond that is passed over.
const QUEUE: usize = 64;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a tube tells its manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Something came after a ping of this generation.
    Heard(u64),
    /// A ping of this generation was answered.
    Pong(u64),
    /// The other side's ping came, on the connection of this generation.
    PeerPing(u64),
    /// The channel of this generation is closed.
    Gone(u64),
    /// The other side does not need it any more; it said so on the connection of this generation.
    PeerClosed(u64),
}

/// A message that waits, with its share of the room.
type Held = (Incoming, OwnedSemaphorePermit);

/// A stream of messages that outlives its connections. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Tube {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    plane: DataPlane,
    sent: Mutex<Sent>,
    /// There is something to send, or it may be sent.
    pending: Notify,
    pen: Mutex<Pen>,
    room: Arc<Semaphore>,
    received: watch::Sender<Received>,
    incoming_in: mpsc::UnboundedSender<Held>,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Held>>,
    ahead: Arc<Semaphore>,
    /// The other side has said that it has more.
    acknowledged: watch::Sender<()>,
    /// When something last came.
    heard: watch::Sender<Instant>,
    held: watch::Sender<bool>,
    closed: watch::Sender<bool>,
    signs: mpsc::Sender<Sign>,
    /// What works on the present connection, and what it has to say.
    carried: tokio::sync::Mutex<JoinSet<()>>,
    words: Mutex<Option<mpsc::Sender<Word>>>,
}

impl Tube {
    /// A tube that nothing carries yet, and what it tells its manager.
    pub fn new(plane: &DataPlane) -> (Self, mpsc::Receiver<Sign>) {
        let (incoming_in, incoming) = mpsc::unbounded_channel();
        let (signs, told) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            plane: plane.clone(),
            sent: Mutex::default(),
            pending: Notify::new(),
            pen: Mutex::default(),
            room: Arc::new(Semaphore::new(KEPT_BYTES)),
            received: watch::Sender::default(),
            incoming_in,
            incoming: tokio::sync::Mutex::new(incoming),
            ahead: Arc::new(Semaphore::new(AHEAD_BYTES)),
            acknowledged: watch::Sender::default(),
            heard: watch::Sender::new(Instant::now()),
            held: watch::Sender::new(false),
            closed: watch::Sender::new(false),
            signs,
            carried: tokio::sync::Mutex::default(),
            words: Mutex::default(),
        });
        (Tube { shared }, told)
    }

    /// Sends a text message, now or when something carries it. Waits while too much is kept, and while senders are held.
    ///
    /// # Errors
    /// [`RtcError::Closed`], [`RtcError::TooLarge`].
    pub async fn send_text(&self, text: &str) -> Result<(), RtcError> {
        self.send(Message::text(text)).await
    }

    /// Sends a binary message, as [`send_text`](Self::send_text).
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text).
    pub async fn send_binary(&self, data: Bytes) -> Result<(), RtcError> {
        self.send(Message::binary(data)).await
    }

    /// Leaves a text message for when something carries it, also while senders are held. Waits while too much is kept.
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text).
    pub async fn leave_text(&self, text: &str) -> Result<(), RtcError> {
        let message = Message::text(text);
        let room = self.room(&message).await?;
        self.push(message, room);
        Ok(())
    }

    async fn send(&self, message: Message) -> Result<(), RtcError> {
        let room = self.room(&message).await?;
        tokio::select! {
            biased;
            () = self.closed() => return Err(RtcError::Closed),
            () = self.held(false) => {}
        }
        self.push(message, room);
        Ok(())
    }

    /// Waits for the room that a message takes.
    async fn room(&self, message: &Message) -> Result<OwnedSemaphorePermit, RtcError> {
        if message.len() > crate::rtc::MAX_MESSAGE_BYTES {
            return Err(RtcError::TooLarge(message.len()));
        }
        let room = self.shared.room.clone();
        tokio::select! {
            biased;
            () = self.closed() => Err(RtcError::Closed),
            room = room.acquire_many_owned(share(message.len())) => room.map_err(|_| RtcError::Closed),
        }
    }

    fn push(&self, message: Message, room: OwnedSemaphorePermit) {
        self.shared.sent().push(message, room);
        if !self.shared.write_now() {
            self.shared.pending.notify_one();
        }
    }

    /// Waits until the other side has everything that was sent.
    ///
    /// # Errors
    /// [`RtcError::Closed`] when it was closed first.
    pub async fn drained(&self) -> Result<(), RtcError> {
        let mut acknowledged = self.shared.acknowledged.subscribe();
        while self.shared.sent().is_pending() {
            tokio::select! {
                biased;
                () = self.closed() => return Err(RtcError::Closed),
                // The sender lives as long as this.
                _ = acknowledged.changed() => {}
            }
        }
        Ok(())
    }

    /// The next message; `None` once it is closed and everything was taken that came before. For one consumer. Dropping the
    /// future loses nothing.
    pub async fn recv(&self) -> Option<Incoming> {
        let mut incoming = self.shared.incoming.lock().await;
        let message = tokio::select! {
            biased;
            message = incoming.recv() => message,
            () = self.closed() => incoming.try_recv().ok(),
        };
        message.map(|(message, _share)| message)
    }

    /// Lets messages wait, what is kept and whoever sends, or go: while it is not clear whether a connection carries, words
    /// alone are sent over it.
    pub fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
        self.shared.pending.notify_one();
    }

    /// Waits until senders are held, or are not.
    pub async fn held(&self, held: bool) {
        let mut now = self.shared.held.subscribe();
        // The sender lives as long as this.
        let _ = now.wait_for(|now| *now == held).await;
    }

    /// How long ago something last came, and whether something was sent that the other side does not have yet.
    pub fn quiet(&self) -> (Duration, bool) {
        let heard = *self.shared.heard.borrow();
        (heard.elapsed(), self.shared.sent().is_pending())
    }

    /// Sends a ping over the connection of this generation, if there is one; the next that comes is told as
    /// [`Sign::Heard`].
    pub fn ping(&self, generation: u64) {
        self.say(Word::Ping { generation });
        let mut heard = self.shared.heard.subscribe();
        let signs = self.shared.signs.clone();
        self.shared.plane.spawn(async move {
            tokio::select! {
                changed = heard.changed() => if changed.is_ok() {
                    // One of many is enough, and without a manager there is nobody to be told.
                    let _ = signs.try_send(Sign::Heard(generation));
                },
                () = signs.closed() => {}
            }
        });
    }

    fn say(&self, word: Word) {
        if let Some(words) = &*lock(&self.shared.words) {
            // A connection that takes no more words is one that is about to be lost.
            let _ = words.try_send(word);
        }
    }

    /// Leaves its connection, if it has one. Nothing comes any more until it is [carried](Self::carry) again. Returns how
    /// many messages have come.
    pub async fn detach(&self) -> u64 {
        *lock(&self.shared.words) = None;
        *lock(&self.shared.pen) = Pen::default();
        self.shared.carried.lock().await.shutdown().await;
        *lock(&self.shared.pen) = Pen::default();
        let mut have = 0;
        let tell = |received: &mut Received| have = received.tell();
        self.shared.received.send_modify(tell);
        have
    }

    /// Goes on over this channel, the connection of this generation. The other side has so many messages; what it lacks is
    /// sent again.
    ///
    /// # Errors
    /// When the other side cannot have so many.
    pub async fn carry(
        &self,
        channel: Channel,
        generation: u64,
        have: u64,
    ) -> Result<(), Impossible> {
        let mut carried = self.shared.carried.lock().await;
        carried.shutdown().await;
        *lock(&self.shared.pen) = Pen::default();
        self.shared.sent().restart(have)?;
        self.shared.acknowledged.send_replace(());
        let (say, words) = mpsc::channel(QUEUE);
        *lock(&self.shared.words) = Some(say.clone());
        self.shared.heard.send_replace(Instant::now());
        let on = self.shared.plane.handle();
        let shared = || self.shared.clone();
        carried.spawn_on(
            carry::read(shared(), channel.clone(), generation, say.clone()),
            on,
        );
        carried.spawn_on(carry::write(shared(), channel, words), on);
        carried.spawn_on(carry::tell(shared(), say), on);
        Ok(())
    }

    /// Ends it here: nothing is sent any more, and what has come may still be taken.
    pub fn close(&self) {
        self.shared.closed.send_replace(true);
    }

    /// Closes it, and leaves its connection; with a goodbye, what there is to send is sent before, within 2 s.
    pub async fn end(&self, goodbye: bool) {
        let words = lock(&self.shared.words).take();
        if let Some(words) = words.filter(|_| goodbye)
            && words.try_send(Word::Close).is_ok()
        {
            // Whoever writes ends with that word.
            let _ = tokio::time::timeout(GOODBYE, words.closed()).await;
        }
        self.close();
        self.detach().await;
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// Waits until it is closed.
    pub async fn closed(&self) {
        let mut closed = self.shared.closed.subscribe();
        // The sender lives as long as this.
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

impl Shared {
    fn sent(&self) -> MutexGuard<'_, Sent> {
        lock(&self.sent)
    }

    /// The next message for the present channel, unless messages are held.
    fn next(&self) -> Option<Message> {
        if *self.held.borrow() {
            return None;
        }
        self.sent().next()
    }

    fn has_next(&self) -> bool {
        !*self.held.borrow() && self.sent().has_next()
    }
}

impl Carrier for Tube {
    async fn send(&self, message: Bytes) -> Result<(), RtcError> {
        self.send_binary(message).await
    }

    async fn recv(&self) -> Option<Incoming> {
        Tube::recv(self).await
    }

    async fn closed(&self) {
        Tube::closed(self).await;
    }
}

/// The first word on a channel, by which a tube begins or goes on; nothing where it is closed, or something else comes.
pub async fn first_word(channel: &Channel) -> Option<Word> {
    loop {
        match channel.recv().await? {
            Incoming::Binary(bytes) if bytes.as_ref() == KEEP_ALIVE => {}
            Incoming::Binary(_) => return None,
            Incoming::Text(text) => return Word::parse(&text),
        }
    }
}

/// The share of the room that a message of so many bytes takes.
fn share(bytes: usize) -> u32 {
    // No message is as large as four gigabytes.
    u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
