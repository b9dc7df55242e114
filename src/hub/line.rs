//! One WebSocket connection as a stream: what the peer says comes out of it, and what is queued for the peer leaves
//! while it is polled.
//!
//! A message is judged by what its header announces, before any of its bytes are kept; so a peer that announces 2^62
//! bytes costs nothing. Between two messages a line has no buffers.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use actix_http::ws::{OpCode, Parser, ProtocolError};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::outbox::{Batch, Outbox};
use crate::wire::close::CloseCode;

/// Fragments of one message, at most; each one costs memory beside its bytes.
const FRAGMENTS: usize = 1024;
/// Bytes read from a socket at a time.
const CHUNK: usize = 64 << 10;
/// Messages that one connection may bring in a row before others have their turn.
const TURN: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// A connected socket: TCP, or TLS over it.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Until when nothing more is read: TCP slows the peer down then. Shared with whoever finds it too fast.
pub(super) type Pause = Rc<Cell<Option<Instant>>>;

/// What comes from a peer.
#[derive(Debug, PartialEq)]
pub(super) enum FromPeer {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping, which has been answered, or a pong.
    Alive,
    /// A close frame. Nothing comes after it but the end.
    Close,
    /// The peer broke the rules in a way that ends the connection.
    Fault(CloseCode),
    /// The peer does not read what it is sent.
    Overflow,
    /// Everything was written, our close frame too.
    Flushed,
    /// The connection is gone.
    Lost,
}

/// The stream of a connection.
pub(super) struct Line {
    io: Box<dyn Io>,
    outbox: Outbox,
    /// Bytes of one message, at most.
    limit: usize,
    read: BytesMut,
    writing: BytesMut,
    message: Option<Message>,
    /// Bytes still to be dropped of a frame that is too large.
    skip: u64,
    hearing: Hearing,
    pause: Pause,
    sleeping: Option<Pin<Box<Sleep>>>,
    flushed: bool,
    /// [`FromPeer::Flushed`] was told.
    said_so: bool,
    lost: bool,
    in_a_row: usize,
}

/// A message in parts.
struct Message {
    text: bool,
    bytes: BytesMut,
    parts: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Hearing {
    All,
    /// Only a close frame matters.
    Close,
    /// What comes is no WebSocket any more.
    Nothing,
}

impl Line {
    /// The connection over `io`, of which `read` has been read already. Messages have at most `limit` bytes.
    pub(super) fn new(
        io: Box<dyn Io>,
        read: BytesMut,
        outbox: Outbox,
        limit: usize,
        pause: Pause,
    ) -> Self {
        Line {
            io,
            outbox,
            limit,
            read,
            writing: BytesMut::new(),
            message: None,
            skip: 0,
            hearing: Hearing::All,
            pause,
            sleeping: None,
            flushed: false,
            said_so: false,
            lost: false,
            in_a_row: 0,
        }
    }

    /// Writes what is queued. Ready when the connection failed.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if self.writing.is_empty() {
                match self.outbox.take(cx.waker()) {
                    Batch::Frames(frames) => self.writing = frames,
                    Batch::Empty => break,
                    Batch::Closed => {
                        self.flushed = true;
                        break;
                    }
                }
            }
            match Pin::new(&mut self.io).poll_write(cx, &self.writing) {
                Poll::Ready(Ok(0)) => return Poll::Ready(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    self.writing.advance(bytes);
                    if self.writing.is_empty() {
                        self.writing = BytesMut::new();
                    } else {
                        self.outbox.still_writing(self.writing.len());
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => return Poll::Pending,
            }
        }
        // TLS may hold back what it was given.
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            _ => Poll::Pending,
        }
    }

    /// Ready when the peer may be heard again.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(until) = self.pause.take() {
            self.sleeping = Some(Box::pin(sleep_until(until.into())));
        }
        if let Some(sleeping) = &mut self.sleeping {
            ready!(sleeping.as_mut().poll(cx));
            self.sleeping = None;
        }
        Poll::Ready(())
    }

    /// Reads a chunk. Ready with false at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut chunk = ReadBuf::new(scratch);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut chunk)) {
                Ok(()) if !chunk.filled().is_empty() => {
                    self.read.extend_from_slice(chunk.filled());
                    Poll::Ready(true)
                }
                _ => Poll::Ready(false),
            }
        })
    }

    /// The next message in what has been read.
    fn parse(&mut self) -> Option<FromPeer> {
        loop {
            if self.hearing == Hearing::Nothing {
                self.read.clear();
            }
            if self.skip > 0 {
                let here = usize::try_from(self.skip)
                    .unwrap_or(usize::MAX)
                    .min(self.read.len());
                self.read.advance(here);
                self.skip -= here as u64;
            }
            let Some((header, length)) = announced(&self.read) else {
                if self.read.is_empty() {
                    self.read = BytesMut::new();
                }
                return None;
            };
            let (opcode, last) = (self.read[0] & 0x0f, self.read[0] & 0x80 != 0);
            if opcode < 8 && self.hearing == Hearing::Close {
                self.skip = (header as u64).saturating_add(length);
                continue;
            }
            if let Some(fault) = self.judge(opcode, length) {
                self.message = None;
                if fault == CloseCode::MessageTooLarge {
                    self.hearing = Hearing::Close;
                    self.skip = (header as u64).saturating_add(length);
                } else {
                    self.hearing = Hearing::Nothing;
                }
                return Some(FromPeer::Fault(fault));
            }
            // Within the limit, so it fits.
            match Parser::parse(&mut self.read, true, self.limit.max(125)) {
                Ok(None) => return None,
                Ok(Some((_, opcode, payload))) => {
                    let payload = payload.unwrap_or_default();
                    if let Some(heard) = self.frame(opcode, last, payload) {
                        return Some(heard);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "not WebSocket");
                    self.hearing = Hearing::Nothing;
                    let code = match error {
                        ProtocolError::Overflow => CloseCode::MessageTooLarge,
                        _ => CloseCode::ProtocolError,
                    };
                    return Some(FromPeer::Fault(code));
                }
            }
        }
    }

    /// Whether a frame that announces `length` bytes may come.
    fn judge(&self, opcode: u8, length: u64) -> Option<CloseCode> {
        if opcode >= 8 {
            return (length > 125).then_some(CloseCode::ProtocolError);
        }
        let (bytes, parts) = self
            .message
            .as_ref()
            .map_or((0, 0), |message| (message.bytes.len(), message.parts));
        let too_large =
            length.saturating_add(bytes as u64) > self.limit as u64 || parts >= FRAGMENTS;
        too_large.then_some(CloseCode::MessageTooLarge)
    }

    fn fault(&mut self, code: CloseCode) -> Option<FromPeer> {
        self.hearing = Hearing::Nothing;
        Some(FromPeer::Fault(code))
    }

    fn frame(&mut self, opcode: OpCode, last: bool, payload: BytesMut) -> Option<FromPeer> {
        match opcode {
            OpCode::Ping if last => {
                self.outbox.pong(&payload);
                Some(FromPeer::Alive)
            }
            OpCode::Pong if last => Some(FromPeer::Alive),
            OpCode::Close if last => {
                self.hearing = Hearing::Nothing;
                match Parser::try_parse_close_payload(&payload) {
                    Ok(_) => Some(FromPeer::Close),
                    Err(_) => Some(FromPeer::Fault(CloseCode::ProtocolError)),
                }
            }
            OpCode::Text | OpCode::Binary if self.message.is_none() => {
                let text = opcode == OpCode::Text;
                if last {
                    return self.whole(text, payload);
                }
                self.message = Some(Message {
                    text,
                    bytes: payload,
                    parts: 1,
                });
                None
            }
            OpCode::Continue => match self.message.take() {
                Some(mut message) => {
                    message.bytes.extend_from_slice(&payload);
                    message.parts += 1;
                    if last {
                        return self.whole(message.text, message.bytes);
                    }
                    self.message = Some(message);
                    None
                }
                None => self.fault(CloseCode::ProtocolError),
            },
            _ => self.fault(CloseCode::ProtocolError),
        }
    }

    fn whole(&mut self, text: bool, bytes: BytesMut) -> Option<FromPeer> {
        if !text {
            return Some(FromPeer::Binary(bytes.freeze()));
        }
        if std::str::from_utf8(&bytes).is_err() {
            return self.fault(CloseCode::NotText);
        }
        Some(FromPeer::Text(bytes.freeze()))
    }

    fn lost(&mut self) -> FromPeer {
        self.lost = true;
        self.read = BytesMut::new();
        FromPeer::Lost
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Option<FromPeer>> {
        if self.lost {
            return Poll::Ready(None);
        }
        // What has been read is handled before anything is written: answers leave together then.
        if self.poll_pause(cx).is_ready()
            && let Some(heard) = self.parse()
        {
            return Poll::Ready(Some(heard));
        }
        if !self.flushed {
            if let Poll::Ready(error) = self.poll_write(cx) {
                tracing::debug!(%error, "a socket failed");
                return Poll::Ready(Some(self.lost()));
            }
            if self.outbox.has_overflown() {
                return Poll::Ready(Some(FromPeer::Overflow));
            }
        }
        if self.flushed && !std::mem::replace(&mut self.said_so, true) {
            return Poll::Ready(Some(FromPeer::Flushed));
        }
        ready!(self.poll_pause(cx));
        loop {
            if !ready!(self.poll_read(cx)) {
                return Poll::Ready(Some(self.lost()));
            }
            if let Some(heard) = self.parse() {
                return Poll::Ready(Some(heard));
            }
        }
    }
}

impl Stream for Line {
    type Item = FromPeer;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FromPeer>> {
        let line = self.get_mut();
        if line.in_a_row >= TURN {
            line.in_a_row = 0;
            // A failure shows again at the next turn.
            if !line.flushed && !line.lost {
                let _ = line.poll_write(cx);
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = line.poll_heard(cx);
        line.in_a_row = if next.is_ready() {
            line.in_a_row + 1
        } else {
            0
        };
        next
    }
}

/// The bytes of the next frame's header and payload, once its header is complete.
fn announced(bytes: &[u8]) -> Option<(usize, u64)> {
    let second = *bytes.get(1)?;
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let header = 2 + extended + if second & 0x80 != 0 { 4 } else { 0 };
    if bytes.len() < header {
        return None;
    }
    let length = match extended {
        0 => u64::from(second & 0x7f),
        _ => bytes[2..2 + extended]
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    Some((header, length))
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
