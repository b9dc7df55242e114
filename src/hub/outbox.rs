//! The bounded way out to one socket.
//!
//! Frames are written into one buffer by whoever sends, and leave it when the socket takes them. The bound is on the bytes
//! that wait, wherever they are; so a peer that stops reading is found out by it, and never holds up those who send to
//! it. An idle socket has no buffer at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use actix_http::ws::{CloseCode as WireCode, CloseReason, OpCode, Parser};
use bytes::BytesMut;

use crate::wire::close::CloseCode;

/// Bytes of a frame's header, at most.
const HEADER: usize = 10;

/// The sending end. Clones send to the same socket.
#[derive(Clone)]
pub(super) struct Outbox(Arc<Shared>);

struct Shared {
    limit: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    frames: BytesMut,
    /// Bytes that the line has taken and not yet written.
    taken: usize,
    /// A close frame was queued; nothing comes after it.
    closed: bool,
    /// Something did not fit.
    overflown: bool,
    waker: Option<Waker>,
}

/// What the line finds when it comes for more.
pub(super) enum Batch {
    /// Frames to be written.
    Frames(BytesMut),
    /// Nothing, for now.
    Empty,
    /// Nothing any more: everything is written, the close frame too.
    Closed,
}

impl Outbox {
    /// An empty outbox that holds at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Outbox(Arc::new(Shared {
            limit,
            queue: Mutex::default(),
        }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change below leaves the queue whole, so a panic elsewhere is no reason to give up the socket.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, code: OpCode, payload: &[u8]) -> bool {
        let mut queue = self.queue();
        if queue.closed {
            return false;
        }
        let idle = queue.frames.is_empty() && queue.taken == 0;
        let waiting = queue.frames.len() + queue.taken;
        let fits = waiting + payload.len() + HEADER <= self.0.limit;
        if fits {
            Parser::write_message(&mut queue.frames, payload, code, true, false);
        } else {
            queue.overflown = true;
        }
        // A line that is busy writing looks for more by itself.
        let waker = (idle || !fits).then(|| queue.waker.take()).flatten();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        fits
    }

    /// Queues a text message. False when it does not fit, or the socket is closing.
    pub(super) fn text(&self, text: &[u8]) -> bool {
        self.push(OpCode::Text, text)
    }

    /// Queues a binary message. False as with [`Outbox::text`].
    pub(super) fn binary(&self, bytes: &[u8]) -> bool {
        self.push(OpCode::Binary, bytes)
    }

    /// Queues a ping. False as with [`Outbox::text`].
    pub(super) fn ping(&self) -> bool {
        self.push(OpCode::Ping, b"")
    }

    /// Queues the answer to a ping. False as with [`Outbox::text`].
    pub(super) fn pong(&self, payload: &[u8]) -> bool {
        self.push(OpCode::Pong, payload)
    }

    /// Queues a close frame, which always fits. Only the first counts.
    pub(super) fn close(&self, code: CloseCode) {
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        queue.closed = true;
        let reason = CloseReason {
            code: WireCode::from(code.code()),
            description: Some(code.reason().to_owned()).filter(|reason| !reason.is_empty()),
        };
        Parser::write_close(&mut queue.frames, Some(reason), false);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// For the line: what is to be written now. `waker` is woken when there is something new.
    pub(super) fn take(&self, waker: &Waker) -> Batch {
        let mut queue = self.queue();
        if queue.frames.is_empty() {
            queue.taken = 0;
            if queue.closed {
                return Batch::Closed;
            }
            self.wait(&mut queue, waker);
            return Batch::Empty;
        }
        queue.taken = queue.frames.len();
        // A line that is stuck is still told when too much waits.
        self.wait(&mut queue, waker);
        Batch::Frames(std::mem::take(&mut queue.frames))
    }

    fn wait(&self, queue: &mut Queue, waker: &Waker) {
        if !queue.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            queue.waker = Some(waker.clone());
        }
    }

    /// For the line: some bytes of a batch are still to be written.
    pub(super) fn still_writing(&self, bytes: usize) {
        self.queue().taken = bytes;
    }

    /// Whether something did not fit since the last call.
    pub(super) fn has_overflown(&self) -> bool {
        std::mem::take(&mut self.queue().overflown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;

    fn taken(outbox: &Outbox) -> Vec<u8> {
        match outbox.take(noop_waker_ref()) {
            Batch::Frames(frames) => frames.to_vec(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_bound_is_on_what_waits_wherever_it_is() {
        let outbox = Outbox::new(1000);
        assert!(outbox.text(&[b'x'; 800]));
        assert!(!outbox.text(&[b'x'; 200]), "too much together");
        assert!(outbox.has_overflown());
        assert!(!outbox.has_overflown(), "told once");
        let batch = taken(&outbox);
        assert!(!outbox.text(&[b'x'; 200]), "the line still has it");
        outbox.still_writing(batch.len() / 2);
        assert!(outbox.text(&[b'x'; 200]), "half of it has left");
    }

    #[test]
    fn nothing_is_taken_after_a_close_and_a_close_always_fits() {
        let outbox = Outbox::new(20);
        assert!(outbox.text(b"aaaaaaaa"));
        outbox.close(CloseCode::Replaced);
        outbox.close(CloseCode::HubStops);
        assert!(!outbox.text(b"b"));
        let mut wire = vec![0x81, 8];
        wire.extend(b"aaaaaaaa");
        wire.extend([0x88, 10, 0x11, 0x39]);
        wire.extend(b"replaced");
        assert_eq!(taken(&outbox), wire);
        assert!(matches!(outbox.take(noop_waker_ref()), Batch::Closed));
    }
}
