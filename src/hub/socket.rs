//! One WebSocket: its frames go to the directory one at a time, and come back through its outbox.

use std::any::Any;
use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use actix_web::dev::{Extensions, Payload};
use actix_web::rt::net::TcpStream;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError};
use futures_util::StreamExt;
use serde_json::json;
use socket2::{SockRef, Socket};
use tokio::sync::oneshot;
use tokio::time::{sleep, sleep_until};

use super::Service;
use super::directory::{Gone, Incoming, Leave, Open};
use super::frames::Frame;
use super::guard::FrameGuard;
use super::http;
use super::limits::Bucket;
use super::outbox::{Outbox, outbox};
use super::table::{ConnId, Outlet};

/// How long a peer may take to answer a close frame.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// What a frame counts for beside its bytes, against [`super::HubLimits::socket_bytes_per_second`].
const FRAME_COST: usize = 1024;

/// A second handle on a connection's TCP socket. Ending the response is no way to get rid of a peer that does not read:
/// the server would wait for it to take the rest.
struct Line(Socket);

/// Called for each accepted TCP connection: keeps what [`open`] needs to end it.
pub(super) fn remember(io: &dyn Any, data: &mut Extensions) {
    if let Some(Ok(socket)) = io
        .downcast_ref::<TcpStream>()
        .map(|io| SockRef::from(io).try_clone())
    {
        data.insert(Line(socket));
    }
}

/// Answers an upgrade request: the handshake, and a task that serves the connection until its end.
pub(super) async fn open(
    request: &HttpRequest,
    payload: Payload,
    hub: &web::Data<Service>,
) -> HttpResponse {
    let line = request
        .conn_data::<Line>()
        .and_then(|line| line.0.try_clone().ok());
    // No handle can be had when the process is out of file descriptors.
    let Some(line) = line else {
        return http::come_back_later(Duration::from_secs(5));
    };
    let limits = &hub.config.limits;
    let (outbox, feed) = outbox(limits.outbox_bytes);
    let guard = FrameGuard::new(payload, limits.message_bytes, outbox.clone());
    let mut guarded: Payload = Payload::Stream {
        payload: Box::pin(guard),
    };
    let (response, session, messages) =
        match web::Payload::from_request(request, &mut guarded).await {
            Ok(payload) => match actix_ws::handle(request, payload) {
                Ok(parts) => parts,
                Err(error) => return error.error_response(),
            },
            Err(error) => return error.error_response(),
        };
    let response = response
        .map_body(|_, body| feed.body(body))
        .map_into_boxed_body();
    let messages = messages
        .max_frame_size(limits.message_bytes)
        .aggregate_continuations()
        .max_continuation_size(limits.message_bytes);
    let hub = hub.clone();
    let (opened, is_open) = oneshot::channel();
    // The task owns the connection's entry from its first moment, since this handler may be dropped at any await.
    actix_rt::spawn(async move {
        if let Ok(Some(conn)) = hub.directory.send(Open(outbox.clone())).await {
            // Nobody listens when the peer has already gone, which the task sees by itself.
            let _ = opened.send(());
            let feeding = actix_rt::spawn(feed.run(session));
            let mut serving = Serving::new(&hub, conn, outbox, messages);
            serving.run().await;
            serving.outbox.release();
            // Fails only when the connection has ended by itself.
            let _ = line.shutdown(Shutdown::Both);
            feeding.abort();
            hub.directory.do_send(Gone(conn));
        }
    });
    match is_open.await {
        Ok(()) => response,
        Err(_) => http::come_back_later(Duration::from_secs(5)),
    }
}

struct Serving<'a> {
    hub: &'a Service,
    conn: ConnId,
    outbox: Outbox,
    messages: AggregatedMessageStream,
    pace: Bucket,
    heard: Instant,
    /// The peer sends nothing any more, or nothing that can be read.
    peer_done: bool,
}

impl<'a> Serving<'a> {
    fn new(
        hub: &'a Service,
        conn: ConnId,
        outbox: Outbox,
        messages: AggregatedMessageStream,
    ) -> Self {
        let rate = f64::from(hub.config.limits.socket_bytes_per_second);
        let pace = Bucket::new(rate, 2.0 * rate, Instant::now());
        Serving {
            hub,
            conn,
            outbox,
            messages,
            pace,
            heard: Instant::now(),
            peer_done: false,
        }
    }

    /// Serves until the connection has ended or the close handshake is over.
    async fn run(&mut self) {
        let config = &self.hub.config;
        let mut ping = tokio::time::interval(config.ping_interval);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick comes at once, and a peer that has just connected needs no ping.
        ping.tick().await;
        let patience = config.ping_interval + config.pong_timeout;
        let mut end = None;
        loop {
            if self.outbox.is_closing() && end.is_none() {
                // Out of its room at once, whoever began to close; the handshake is a matter of manners.
                end = Some(Instant::now() + CLOSE_TIME);
                if self.hub.directory.send(Leave(self.conn)).await.is_err() {
                    return;
                }
            }
            if self.peer_done && self.outbox.is_flushed() {
                return;
            }
            let deadline = end.unwrap_or(self.heard + patience);
            tokio::select! {
                message = self.messages.next(), if !self.peer_done => match message {
                    None => return,
                    Some(message) => {
                        self.heard = Instant::now();
                        if !self.message(message).await {
                            return;
                        }
                    }
                },
                () = self.outbox.changed() => {}
                _ = ping.tick(), if end.is_none() => self.ping(),
                () = sleep_until(deadline.into()) => match end {
                    Some(_) => return,
                    None => self.outbox.close(1011, "keepalive ping timeout"),
                },
            }
        }
    }

    fn ping(&self) {
        // A full outbox means a peer that does not read: it is found by its silence, or by its next frame.
        self.outbox.ping();
        if self.hub.config.json_ping {
            self.outbox.send(json!({"type": "ping"}).to_string());
        }
    }

    /// Handles one message; false when the connection is of no more use.
    async fn message(&mut self, message: Result<AggregatedMessage, ProtocolError>) -> bool {
        match message {
            Ok(AggregatedMessage::Text(text)) => self.frame(text.as_bytes()).await,
            Ok(AggregatedMessage::Binary(bytes)) => self.frame(&bytes).await,
            Ok(AggregatedMessage::Pong(_)) => true,
            Ok(AggregatedMessage::Ping(payload)) => {
                if !self.outbox.pong(payload) {
                    self.outbox.close(1011, "reads too slowly");
                }
                true
            }
            Ok(AggregatedMessage::Close(reason)) => {
                self.peer_done = true;
                let code = reason.map_or(CloseCode::Normal, |reason| reason.code);
                self.outbox.close_with(CloseReason {
                    code,
                    description: None,
                });
                true
            }
            Err(ProtocolError::Overflow) => {
                self.outbox.close(1009, "message too large");
                true
            }
            Err(ProtocolError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => false,
            Err(error) => {
                let text = matches!(&error, ProtocolError::Io(error)
                    if error.get_ref().is_some_and(|cause| cause.is::<std::str::Utf8Error>()));
                let (code, reason) = if text {
                    (1007, "text is not UTF-8")
                } else {
                    (1002, "protocol error")
                };
                self.outbox.close(code, reason);
                // The parser may stay where it is and report this for ever.
                self.peer_done = true;
                true
            }
        }
    }

    async fn frame(&mut self, bytes: &[u8]) -> bool {
        if self.outbox.is_closing() {
            return true;
        }
        let wait = self
            .pace
            .take((bytes.len() + FRAME_COST) as f64, Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
        self.hub
            .directory
            .send(Incoming(self.conn, Frame::parse(bytes)))
            .await
            .is_ok()
    }
}
