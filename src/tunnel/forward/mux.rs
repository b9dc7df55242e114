//! Many streams over one carrier.
//!
//! Whoever has a frame to send waits for its turn, and turns are given in order: so streams that all have something to
//! send alternate frame by frame. The reader of frames waits for no stream: what comes for one waits there, and is never
//! more than was granted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::carrier::Carrier;
use super::flow::Common;
use super::frame::{Frame, StreamId};
use super::reason::{Reason, Reset};
use super::stream::{Misuse, Stream};
use crate::rtc::Incoming;
use crate::wire::KEEP_ALIVE;

/// Streams of a tunnel at a time.
pub const MAX_STREAMS: usize = 256;

/// How long a goodbye may take, and then the other side to hang up.
const GOODBYE: Duration = Duration::from_secs(2);

/// Which side this is. Only the client opens streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Worker,
}

/// What has gone through, of all streams so far.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) opened: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Counts {
    /// Streams so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Bytes that were sent to the other side.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes that came from the other side.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// What a frame asks for.
pub(super) enum Heard {
    Nothing,
    /// The client wants a connection.
    Open {
        stream: Arc<Stream>,
        host: String,
        port: u16,
    },
    /// The client wants to know whether it might have one.
    Ask {
        stream: Arc<Stream>,
        host: String,
        port: u16,
    },
    /// The client wants one more than there may be.
    TooMany(StreamId),
    /// The other side ends everything.
    Goodbye(Reset),
}

/// The streams of one tunnel.
#[derive(Debug)]
pub(super) struct Mux<C> {
    pub(super) carrier: C,
    side: Side,
    /// Held while a frame is sent. It is given to those who wait in their order.
    turn: tokio::sync::Mutex<()>,
    table: Mutex<Table>,
    common: Mutex<Common>,
    pub(super) counts: Arc<Counts>,
}

#[derive(Debug)]
struct Table {
    live: HashMap<StreamId, Arc<Stream>>,
    /// The highest number so far.
    highest: StreamId,
    /// Since when there has been no stream.
    unused: Instant,
    over: Option<Reset>,
}

impl<C: Carrier> Mux<C> {
    pub(super) fn new(carrier: C, side: Side, counts: Arc<Counts>) -> Self {
        Mux {
            carrier,
            side,
            turn: tokio::sync::Mutex::default(),
            table: Mutex::new(Table {
                live: HashMap::new(),
                highest: 0,
                unused: Instant::now(),
                over: None,
            }),
            common: Mutex::default(),
            counts,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn common(&self) -> MutexGuard<'_, Common> {
        self.common.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a frame, in its turn.
    pub(super) async fn send(&self, frame: Bytes) -> Result<(), Reset> {
        let _turn = self.turn.lock().await;
        let sent = self.carrier.send(frame).await;
        sent.map_err(|_| Reset::lost())
    }

    /// The next frame that asks for something.
    ///
    /// # Errors
    /// The end of everything: the other side broke the rules, or nothing is carried any more.
    pub(super) async fn next(&self) -> Result<Heard, Reset> {
        match self.carrier.recv().await {
            None => Err(Reset::lost()),
            Some(Incoming::Text(_)) => Err(fault("a text came where frames are spoken")),
            Some(Incoming::Binary(bytes)) if bytes.as_ref() == KEEP_ALIVE => Ok(Heard::Nothing),
            Some(Incoming::Binary(bytes)) => {
                let frame = Frame::decode(bytes).map_err(fault)?;
                self.hear(frame)
            }
        }
    }

    fn hear(&self, frame: Frame) -> Result<Heard, Reset> {
        let misused = |misuse: Misuse| fault(misuse);
        match frame {
            Frame::Open {
                stream,
                credit,
                host,
                port,
            } => {
                return match self.accept(stream)? {
                    Some(stream) => {
                        stream.begin(credit).map_err(misused)?;
                        Ok(Heard::Open { stream, host, port })
                    }
                    None => Ok(Heard::TooMany(stream)),
                };
            }
            Frame::Ask { stream, host, port } => {
                return Ok(match self.accept(stream)? {
                    Some(stream) => Heard::Ask { stream, host, port },
                    None => Heard::TooMany(stream),
                });
            }
            Frame::Goodbye(reset) => return Ok(Heard::Goodbye(reset)),
            Frame::Opened { stream, credit } => self.answered(stream, credit)?,
            Frame::Allowed { stream } => self.answered(stream, 0)?,
            Frame::Data { stream, bytes } => {
                if let Some(stream) = self.known(stream)? {
                    stream.data(bytes).map_err(misused)?;
                }
            }
            Frame::Credit { stream, bytes } => {
                if let Some(stream) = self.known(stream)? {
                    stream.credit(bytes).map_err(misused)?;
                }
            }
            Frame::Finish { stream } => {
                if let Some(stream) = self.known(stream)? {
                    stream.finish().map_err(misused)?;
                }
            }
            Frame::Reset { stream, reset } => {
                if let Some(stream) = self.known(stream)? {
                    stream.reset(reset);
                }
            }
        }
        Ok(Heard::Nothing)
    }

    /// A stream of the other side's; `None` where there are too many.
    fn accept(&self, id: StreamId) -> Result<Option<Arc<Stream>>, Reset> {
        if self.side == Side::Client {
            return Err(fault("only a client opens streams"));
        }
        let mut table = self.table();
        if id <= table.highest {
            return Err(fault("the number of a stream was used twice"));
        }
        table.highest = id;
        if table.live.len() >= MAX_STREAMS {
            return Ok(None);
        }
        Ok(Some(table.add(id)))
    }

    fn answered(&self, id: StreamId, credit: u32) -> Result<(), Reset> {
        if self.side == Side::Worker {
            return Err(fault("a client answers nothing"));
        }
        match self.known(id)? {
            Some(stream) => stream.answer(credit).map_err(fault),
            None => Ok(()),
        }
    }

    /// The stream of this number; `None` where it is over, and something was still on its way.
    fn known(&self, id: StreamId) -> Result<Option<Arc<Stream>>, Reset> {
        let table = self.table();
        match table.live.get(&id) {
            None if id > table.highest => Err(fault("a frame is for a stream that never was")),
            found => Ok(found.cloned()),
        }
    }

    /// A new stream of this side's.
    pub(super) fn begin(self: &Arc<Self>) -> Result<Live<C>, Reset> {
        let mut table = self.table();
        if let Some(over) = &table.over {
            return Err(over.clone());
        }
        let next = table.highest.checked_add(1);
        let Some(id) = next.filter(|_| table.live.len() < MAX_STREAMS) else {
            return Err(too_many());
        };
        table.highest = id;
        let stream = table.add(id);
        drop(table);
        Ok(self.hold(stream))
    }

    /// Sees to it that a stream is forgotten when nobody works on it any more.
    pub(super) fn hold(self: &Arc<Self>, stream: Arc<Stream>) -> Live<C> {
        Live {
            mux: self.clone(),
            stream,
        }
    }

    /// How many streams there are.
    pub(super) fn live(&self) -> usize {
        self.table().live.len()
    }

    /// Since when there has been no stream; `None` while there is one.
    pub(super) fn unused_since(&self) -> Option<Instant> {
        let table = self.table();
        table.live.is_empty().then_some(table.unused)
    }

    /// Whether everything is over.
    pub(super) fn is_over(&self) -> bool {
        self.table().over.is_some()
    }

    /// Everything is over: all streams are reset, and no further one begins.
    pub(super) fn over(&self, reset: &Reset) {
        let mut table = self.table();
        table.over.get_or_insert_with(|| reset.clone());
        for stream in table.live.values() {
            stream.reset(reset.clone());
        }
    }

    /// Tells the other side that everything is over, and waits until it has hung up, within bounds.
    pub(super) async fn goodbye(&self, reset: Reset) {
        let told = self.send(Frame::Goodbye(reset).encode());
        // Whoever does not listen is left without a word.
        if let Ok(Ok(())) = timeout(GOODBYE, told).await {
            let _ = timeout(GOODBYE, self.carrier.closed()).await;
        }
    }
}

impl<C> Mux<C> {
    fn forget(&self, stream: &Stream) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.live.remove(&stream.id).is_some() {
            table.unused = Instant::now();
            let mut common = self.common.lock().unwrap_or_else(PoisonError::into_inner);
            stream.forget(&mut common);
        }
    }
}

impl Table {
    fn add(&mut self, id: StreamId) -> Arc<Stream> {
        let stream = Arc::new(Stream::new(id));
        self.live.insert(id, stream.clone());
        stream
    }
}

/// A stream that somebody works on. It is forgotten when this is dropped.
pub(super) struct Live<C> {
    pub(super) mux: Arc<Mux<C>>,
    pub(super) stream: Arc<Stream>,
}

impl<C> Drop for Live<C> {
    fn drop(&mut self) {
        self.mux.forget(&self.stream);
    }
}

/// The other side broke the rules.
fn fault(what: impl ToString) -> Reset {
    Reset::new(
        Reason::Protocol,
        format!("the rules of tunnels were broken: {}", what.to_string()),
    )
}

/// There are as many streams as there may be.
pub fn too_many() -> Reset {
    Reset::new(
        Reason::Busy,
        format!("there are {MAX_STREAMS} connections through this tunnel already; close some"),
    )
}
