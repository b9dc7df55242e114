//! Makes the stack look again for messages that it left behind.
//!
//! Of a burst of more than 256 messages the stack leaves the rest in SCTP's queue, and fetches them when the next
//! packet comes in. When none does, that takes up to 200 ms; and when the peer closes meanwhile, they are lost.
//! Nothing in its interface makes it look, except a packet. So a nudge is a packet, made up at our own socket.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// A STUN binding indication, which asks for nothing.
const PACKET: [u8; 20] = [
    0x00, 0x11, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Where it claims to come from: an address that no peer has, so that it counts as nobody's sign of life.
const SENDER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// A request to look again; several at once are one.
#[derive(Debug, Default)]
pub(super) struct Nudge {
    pending: AtomicBool,
    /// Who waits for packets: at one of the sockets, which is enough.
    reader: Mutex<Option<Waker>>,
}

impl Nudge {
    pub(super) fn nudge(&self) {
        self.pending.store(true, Ordering::Release);
        let reader = self.reader().take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn reader(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> bool {
        self.pending.swap(false, Ordering::AcqRel)
    }
}

/// A UDP socket that also receives the nudges.
#[derive(Debug)]
pub(super) struct NudgedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    nudge: Arc<Nudge>,
}

impl NudgedSocket {
    pub(super) fn new(socket: Arc<dyn AsyncUdpSocket>, nudge: Arc<Nudge>) -> Self {
        NudgedSocket { socket, nudge }
    }
}

impl AsyncUdpSocket for NudgedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = self.socket.poll_recv(cx, bufs, meta) {
            return Poll::Ready(result);
        }
        // Registered before looking, so that no nudge falls in between.
        *self.nudge.reader() = Some(cx.waker().clone());
        if !self.nudge.take() {
            return Poll::Pending;
        }
        let (Some(buffer), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Pending;
        };
        let Some(buffer) = buffer.get_mut(..PACKET.len()) else {
            return Poll::Pending;
        };
        buffer.copy_from_slice(&PACKET);
        *meta = RecvMeta::default();
        meta.len = PACKET.len();
        meta.stride = PACKET.len();
        meta.addr = SENDER;
        Poll::Ready(Ok(1))
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}
