//! The WebSocket of a session: one task that reads, writes, answers pings, and notices silence.

use std::time::Duration;

use actix_ws::Item;
use awc::error::WsClientError;
use awc::ws::{Frame, Message as WsMessage, WebsocketsRequest};
use bytes::{Bytes, BytesMut};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use crate::wire::MAX_FRAME_BYTES;

/// How often this side pings.
const PING: Duration = Duration::from_secs(20);
/// A hub that says nothing for so long, not even a pong, is lost.
const SILENCE: Duration = Duration::from_secs(45);
/// How long it has for a sign of life once it is asked for one.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the closing handshake may take.
const HANG_UP: Duration = Duration::from_secs(1);

/// What the session has for the socket.
pub enum Outgoing {
    /// A frame.
    Text(String),
    /// It is in doubt whether the hub can still hear it: ask.
    Ask,
    /// Close it in order.
    HangUp,
}

/// One thing that happened to a socket.
pub enum SocketEvent {
    /// It is open.
    Open,
    /// A text frame, complete.
    Text(String),
    /// It never opened: the hub answered with this HTTP status.
    Refused(u16),
    /// It is gone, and why.
    Lost(String),
}

/// Runs one socket from connect to close, and tells what happens to it. It ends when told to hang up, when the other end
/// of `outgoing` is gone, or when it is lost.
pub async fn run(
    request: WebsocketsRequest,
    mut outgoing: mpsc::Receiver<Outgoing>,
    tell: impl AsyncFn(SocketEvent),
) {
    let connected = request
        .max_frame_size(MAX_FRAME_BYTES + 1024)
        .connect()
        .await;
    let mut framed = match connected {
        Ok((_, framed)) => framed,
        Err(WsClientError::InvalidResponseStatus(status)) => {
            return tell(SocketEvent::Refused(status.as_u16())).await;
        }
        Err(error) => return tell(SocketEvent::Lost(error.to_string())).await,
    };
    tell(SocketEvent::Open).await;
    let mut assembly = Assembly::default();
    let mut pings = interval_at(Instant::now() + PING, PING);
    let mut heard = Instant::now();
    let mut deadline = None;
    let why = loop {
        tokio::select! {
            frame = framed.next() => match frame {
                Some(Ok(frame)) => {
                    heard = Instant::now();
                    deadline = None;
                    match frame {
                        Frame::Ping(payload) => {
                            if let Err(error) = framed.send(WsMessage::Pong(payload)).await {
                                break error.to_string();
                            }
                        }
                        Frame::Pong(_) => {}
                        Frame::Close(reason) => {
                            let why = reason.map_or_else(|| "it closed the connection".to_owned(), |reason| {
                                format!("it closed the connection ({} {})", u16::from(reason.code), reason.description.unwrap_or_default())
                            });
                            // The closing handshake wants an answer; whether it still arrives does not matter.
                            let _ = framed.close().await;
                            break why;
                        }
                        Frame::Text(part) | Frame::Binary(part) => tell(SocketEvent::Text(text(&part))).await,
                        Frame::Continuation(item) => match assembly.add(item) {
                            Ok(Some(whole)) => tell(SocketEvent::Text(text(&whole))).await,
                            Ok(None) => {}
                            Err(why) => break why.to_owned(),
                        },
                    }
                }
                Some(Err(error)) => break error.to_string(),
                None => break "the connection ended".to_owned(),
            },
            message = outgoing.recv() => match message {
                Some(Outgoing::Text(text)) => {
                    if let Err(error) = framed.send(WsMessage::Text(text.into())).await {
                        break error.to_string();
                    }
                }
                Some(Outgoing::Ask) => {
                    deadline.get_or_insert_with(|| Instant::now() + ANSWER);
                    if let Err(error) = framed.send(WsMessage::Ping(Bytes::new())).await {
                        break error.to_string();
                    }
                }
                Some(Outgoing::HangUp) | None => {
                    let _ = timeout(HANG_UP, close(&mut framed)).await;
                    return;
                }
            },
            () = until(deadline) => {
                break format!("nothing was heard for {} s after the network changed", ANSWER.as_secs());
            }
            _ = pings.tick() => {
                if heard.elapsed() > SILENCE {
                    break format!("nothing was heard for {} s", SILENCE.as_secs());
                }
                if let Err(error) = framed.send(WsMessage::Ping(Bytes::new())).await {
                    break error.to_string();
                }
            }
        }
    };
    tell(SocketEvent::Lost(why)).await;
}

/// Waits until then; without end for nothing.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Hangs up, and waits until the socket is gone or the time is up.
pub async fn hang_up(outbox: mpsc::Sender<Outgoing>) {
    if outbox.send(Outgoing::HangUp).await.is_ok() {
        // The receiver goes with the task that runs the socket.
        let _ = timeout(HANG_UP * 2, outbox.closed()).await;
    }
}

async fn close<S, E>(framed: &mut S)
where
    S: Sink<WsMessage> + Stream<Item = Result<Frame, E>> + Unpin,
{
    if framed.send(WsMessage::Close(None)).await.is_ok() {
        while let Some(Ok(frame)) = framed.next().await {
            if matches!(frame, Frame::Close(_)) {
                return;
            }
        }
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Puts a message together that came in several frames.
#[derive(Default)]
struct Assembly(BytesMut);

impl Assembly {
    /// The whole message, once its last part has come.
    fn add(&mut self, item: Item) -> Result<Option<Bytes>, &'static str> {
        let (part, last) = match item {
            Item::FirstText(part) | Item::FirstBinary(part) => {
                self.0.clear();
                (part, false)
            }
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        if self.0.len() + part.len() > MAX_FRAME_BYTES {
            return Err("the hub sent a message that is too large");
        }
        self.0.extend_from_slice(&part);
        Ok(last.then(|| self.0.split().freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_parts_is_put_together_and_bounded() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.add(Item::FirstText("a".into())), Ok(None));
        assert_eq!(assembly.add(Item::Continue("b".into())), Ok(None));
        assert_eq!(assembly.add(Item::Last("c".into())), Ok(Some("abc".into())));
        assert_eq!(
            assembly.add(Item::FirstText(vec![b'x'; MAX_FRAME_BYTES].into())),
            Ok(None)
        );
        assert!(assembly.add(Item::Last("y".into())).is_err());
    }
}
