//! Two ends over a line in memory, and ends that are spoken to by hand.
#![allow(clippy::unwrap_used)]

mod fair;
mod frames;
mod hostile;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::flow::FIRST_WINDOW;
use super::*;
use crate::rtc::{Incoming, RtcError};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One end of a line in memory that carries messages.
pub(super) struct Line {
    send: mpsc::Sender<Incoming>,
    recv: Mutex<mpsc::Receiver<Incoming>>,
}

/// Both ends; so many messages may be under way.
pub(super) fn line(most: usize) -> (Line, Line) {
    let (there, here) = (mpsc::channel(most), mpsc::channel(most));
    let end = |send, recv| Line {
        send,
        recv: Mutex::new(recv),
    };
    (end(there.0, here.1), end(here.0, there.1))
}

impl Carrier for Line {
    async fn send(&self, message: Bytes) -> Result<(), RtcError> {
        let sent = self.send.send(Incoming::Binary(message)).await;
        sent.map_err(|_| RtcError::Closed)
    }

    async fn recv(&self) -> Option<Incoming> {
        self.recv.lock().await.recv().await
    }

    async fn closed(&self) {
        self.send.closed().await;
    }
}

impl Line {
    /// Says a frame by hand.
    async fn say(&self, frame: Frame) {
        self.send(frame.encode()).await.unwrap();
    }

    /// The next frame.
    async fn hear(&self) -> Frame {
        match timeout(PATIENCE, self.recv()).await.unwrap().unwrap() {
            Incoming::Binary(message) => Frame::decode(message).unwrap(),
            Incoming::Text(text) => panic!("a text: {text}"),
        }
    }

    /// The next frame for which something holds.
    async fn hear_where(&self, holds: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.hear().await;
            if holds(&frame) {
                return frame;
            }
        }
    }
}

/// All ports of this machine.
fn everything_here() -> AllowList {
    let all = Pattern::try_from("localhost:*".to_owned()).unwrap();
    AllowList::new(vec![all], "not allowed are tunnels to")
}

/// The worker's end of a line; dropping the sender ends it as lost.
fn worker(line: Line, allowed: AllowList) -> (JoinHandle<Reset>, oneshot::Sender<Reset>) {
    let (ending, end) = oneshot::channel();
    let served = tokio::spawn(serve(line, allowed, IDLE, end));
    (served, ending)
}

/// A client with a worker that allows everything here.
struct Pair {
    tunnel: Tunnel<Line>,
    counts: Arc<Counts>,
    heard: JoinHandle<Reset>,
    served: JoinHandle<Reset>,
    ending: oneshot::Sender<Reset>,
}

impl Pair {
    fn new(allowed: AllowList) -> Pair {
        let (here, there) = line(16);
        let (served, ending) = worker(there, allowed);
        let counts = Arc::new(Counts::default());
        let tunnel = Tunnel::new(here, counts.clone());
        let listening = tunnel.clone();
        let heard = tokio::spawn(async move { listening.listen().await });
        Pair {
            tunnel,
            counts,
            heard,
            served,
            ending,
        }
    }

    /// A connection through the tunnel to this port, as a program here has it, and what becomes of it.
    async fn connect(&self, port: u16) -> (TcpStream, JoinHandle<Passed>) {
        self.connect_to(&format!("1:localhost:{port}")).await
    }

    async fn connect_to(&self, forward: &str) -> (TcpStream, JoinHandle<Passed>) {
        let (program, accepted) = sockets().await;
        let (tunnel, forward) = (self.tunnel.clone(), forward.parse::<Forward>().unwrap());
        let carried = tokio::spawn(async move {
            let carried = tunnel.carry(accepted, &forward, || {}).await;
            carried.unwrap_or_else(|(tcp, reset)| refuse(tcp, reset))
        });
        (program, carried)
    }
}

/// Both ends of a TCP connection.
async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (program, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (program.unwrap(), accepted.unwrap().0)
}

/// A listener on a free port.
async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}
