//! The bounded way out to one socket.
//!
//! A frame is counted from the moment that it is queued until its bytes are handed to the connection, whatever stage
//! holds it in between: our queue, the WebSocket session's, its encoder. So the bound is on real memory, and a peer
//! that stops reading is found out by it instead of holding up those who send to it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;
use actix_ws::{CloseCode, CloseReason, Session};
use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, mpsc};

use super::table::Outlet;

/// What one queued frame costs beside its bytes, so that many small ones are bounded as well.
const FRAME_COST: usize = 64;

enum Out {
    Text(String),
    Ping,
    Pong(Bytes),
    Close(CloseReason),
}

/// What the queue, the socket's loop and the response body know of one another.
struct State {
    limit: usize,
    waiting: AtomicUsize,
    closing: AtomicBool,
    /// The close frame has left for the connection.
    flushed: AtomicBool,
    /// The response may end, and with it the connection.
    released: AtomicBool,
    body: AtomicWaker,
    changed: Notify,
}

/// The sending end. Clones send to the same socket.
#[derive(Clone)]
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Out>,
    state: Arc<State>,
}

/// The receiving end, to be run by [`Feed::run`].
pub(super) struct Feed {
    queue: mpsc::UnboundedReceiver<Out>,
    state: Arc<State>,
}

/// An empty outbox that holds at most `limit` bytes.
pub(super) fn outbox(limit: usize) -> (Outbox, Feed) {
    // The channel itself has no bound: `waiting` bounds what goes into it.
    let (sender, receiver) = mpsc::unbounded_channel();
    let state = Arc::new(State {
        limit,
        waiting: AtomicUsize::new(0),
        closing: AtomicBool::new(false),
        flushed: AtomicBool::new(false),
        released: AtomicBool::new(false),
        body: AtomicWaker::new(),
        changed: Notify::new(),
    });
    (
        Outbox {
            queue: sender,
            state: Arc::clone(&state),
        },
        Feed {
            queue: receiver,
            state,
        },
    )
}

/// Bytes of an unmasked frame with a payload of `payload` bytes.
fn frame_bytes(payload: usize) -> usize {
    payload
        + match payload {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        }
}

impl Out {
    fn bytes(&self) -> usize {
        frame_bytes(match self {
            Out::Text(text) => text.len(),
            Out::Pong(payload) => payload.len(),
            Out::Ping => 0,
            Out::Close(reason) => 2 + reason.description.as_ref().map_or(0, String::len),
        })
    }
}

impl Outbox {
    fn push(&self, out: Out) -> bool {
        let cost = out.bytes() + FRAME_COST;
        if self.is_closing() || self.state.waiting.load(Ordering::Relaxed) + cost > self.state.limit
        {
            return false;
        }
        self.state.waiting.fetch_add(cost, Ordering::Relaxed);
        self.queue.send(out).is_ok()
    }

    /// Queues a ping. False as with [`Outlet::send`].
    pub(super) fn ping(&self) -> bool {
        self.push(Out::Ping)
    }

    /// Queues the answer to a ping. False as with [`Outlet::send`].
    pub(super) fn pong(&self, payload: Bytes) -> bool {
        self.push(Out::Pong(payload))
    }

    /// Queues a close frame of any code. Only the first counts.
    pub(super) fn close_with(&self, reason: CloseReason) {
        if !self.state.closing.swap(true, Ordering::AcqRel) {
            let out = Out::Close(reason);
            self.state
                .waiting
                .fetch_add(out.bytes() + FRAME_COST, Ordering::Relaxed);
            // A receiver that is gone needs no close frame.
            let _ = self.queue.send(out);
            self.state.changed.notify_one();
        }
    }

    /// Whether a close frame was queued.
    pub(super) fn is_closing(&self) -> bool {
        self.state.closing.load(Ordering::Acquire)
    }

    /// Whether the close frame, and so everything before it, has left for the connection.
    pub(super) fn is_flushed(&self) -> bool {
        self.state.flushed.load(Ordering::Acquire)
    }

    /// Waits until [`Outbox::is_closing`] or [`Outbox::is_flushed`] has changed since the last call.
    pub(super) async fn changed(&self) {
        self.state.changed.notified().await;
    }

    /// Lets the response end.
    pub(super) fn release(&self) {
        self.state.released.store(true, Ordering::Release);
        self.state.body.wake();
    }
}

impl Outlet for Outbox {
    fn send(&self, text: String) -> bool {
        self.push(Out::Text(text))
    }

    fn close(&self, code: u16, reason: &'static str) {
        self.close_with(CloseReason {
            code: CloseCode::from(code),
            description: Some(reason.to_owned()),
        });
    }
}

impl Feed {
    /// Moves frames into the session until a close frame, or until either end is gone.
    pub(super) async fn run(mut self, mut session: Session) {
        while let Some(out) = self.queue.recv().await {
            self.state.waiting.fetch_sub(FRAME_COST, Ordering::Relaxed);
            let sent = match out {
                Out::Text(text) => session.text(text).await,
                Out::Ping => session.ping(b"").await,
                Out::Pong(payload) => session.pong(&payload).await,
                Out::Close(reason) => {
                    // The session ends here either way.
                    let _ = session.close(Some(reason)).await;
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }

    /// The response body that counts what leaves, and that does not end before [`Outbox::release`].
    pub(super) fn body(&self, inner: BoxBody) -> CountedBody {
        CountedBody {
            inner,
            state: Arc::clone(&self.state),
        }
    }
}

/// The bytes of a WebSocket on their way to the connection.
pub(super) struct CountedBody {
    inner: BoxBody,
    state: Arc<State>,
}

impl MessageBody for CountedBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.inner.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if !self.state.flushed.load(Ordering::Acquire) {
            match Pin::new(&mut self.inner).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) => {
                    self.state.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    self.state.flushed.store(true, Ordering::Release);
                    self.state.changed.notify_one();
                }
            }
        }
        self.state.body.register(cx.waker());
        if self.state.released.load(Ordering::Acquire) {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_counts_bytes_and_frames() {
        let (outbox, _feed) = outbox(1000);
        assert!(outbox.send("x".repeat(800)));
        assert!(!outbox.send("x".repeat(200)), "too much together");
        assert!(outbox.send("x".repeat(10)));
        let (outbox, _feed) = super::outbox(1000);
        let small = (0..1000).take_while(|_| outbox.send(String::new())).count();
        assert!((10..=16).contains(&small), "small frames cost too: {small}");
    }

    #[test]
    fn nothing_is_taken_after_a_close_and_a_close_always_fits() {
        let (outbox, mut feed) = outbox(100);
        assert!(outbox.send("a".to_owned()));
        outbox.close(4409, "replaced");
        outbox.close(1001, "hub stops");
        assert!(!outbox.send("b".to_owned()));
        assert!(matches!(feed.queue.try_recv(), Ok(Out::Text(text)) if text == "a"));
        let Ok(Out::Close(reason)) = feed.queue.try_recv() else {
            panic!("no close frame")
        };
        assert_eq!(u16::from(reason.code), 4409);
        assert!(feed.queue.try_recv().is_err());
    }
}
