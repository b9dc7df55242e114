//! What the stack does not do well by itself: socket buffers, timers during setup, bursts of messages, and bursts of
//! packets.
//!
//! The stack offers one hook for all, the runtime it asks for sockets and timers. Ours hands out sockets with a
//! large receive buffer (without it, a burst of a whole SCTP window overruns the socket, and each lost tail costs
//! a second) and short timers while a connection is being set up (the stack queues the first DTLS, SCTP and DCEP
//! packet of each layer until its next timer: three idle waits of up to 200 ms). For bursts see [`Nudge`] and [`PacedSocket`].

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::runtime::Handle;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

use super::nudge::{Nudge, NudgedSocket};
use super::pacing::{PacedSocket, Relays};

/// The receive buffer that each UDP socket asks for, bytes.
const SOCKET_BYTES: usize = 4 << 20;

/// The SCTP receive window of a connection, bytes. More collapses on long paths: there is no pacing, and a burst
/// of 8 MiB overruns the queues of the path.
const WINDOW_BYTES: u32 = 4 << 20;

/// The longest timer while a connection is being set up.
const BRISK: Duration = Duration::from_millis(5);

/// The receive buffer that the kernel really gives, as it counts them (twice what was asked for when granted).
fn granted_bytes() -> usize {
    static GRANTED: OnceLock<usize> = OnceLock::new();
    *GRANTED.get_or_init(|| {
        let probe = || -> io::Result<usize> {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            let socket = SockRef::from(&socket);
            socket.set_recv_buffer_size(SOCKET_BYTES)?;
            socket.recv_buffer_size()
        };
        probe().unwrap_or(0)
    })
}

/// The SCTP receive window to announce, bytes: no more than a socket of this host can take in one burst. The
/// kernel counts its own overhead against the buffer, hence the margin.
pub(super) fn window_bytes() -> u32 {
    window_for(granted_bytes())
}

fn window_for(granted: usize) -> u32 {
    let safe = u32::try_from(granted / 5 * 3).unwrap_or(u32::MAX);
    safe.clamp(128 << 10, WINDOW_BYTES)
}

/// A warning with its remedy when this host does not grant a UDP receive buffer of 4 MiB; `None` when all is well.
///
/// Without it connections work with a smaller window: as fast on a local network, slower on long paths. To be
/// given once, at startup.
pub fn check_socket_buffers() -> Option<String> {
    let granted = granted_bytes() / 2;
    (granted < SOCKET_BYTES).then(|| {
        format!(
            "UDP receive buffers are limited to {} KiB here, which slows transfers over long paths; \
             remedy (as root): sysctl -w net.core.rmem_max={SOCKET_BYTES}",
            granted / 1024
        )
    })
}

/// Calls back once, when dropped.
pub(super) struct OnDrop(Option<Box<dyn FnOnce() + Send>>);

impl OnDrop {
    pub(super) fn new(call: impl FnOnce() + Send + 'static) -> Self {
        OnDrop(Some(Box::new(call)))
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

/// The runtime that one connection is driven by: tokio's, on the data plane, with our changes.
pub(super) struct TunedRuntime {
    handle: Handle,
    brisk: Arc<AtomicBool>,
    nudge: Arc<Nudge>,
    relays: Arc<Relays>,
    driver_ended: Mutex<Option<OnDrop>>,
}

impl TunedRuntime {
    /// `brisk` caps the timers while it is true; `nudge` goes into every socket, for an ICE restart replaces them; what goes
    /// to `relays` is paced; `driver_ended` is dropped when the connection's driver has ended.
    pub(super) fn new(
        handle: Handle,
        brisk: Arc<AtomicBool>,
        nudge: Arc<Nudge>,
        relays: Arc<Relays>,
        driver_ended: OnDrop,
    ) -> Self {
        TunedRuntime {
            handle,
            brisk,
            nudge,
            relays,
            driver_ended: Mutex::new(Some(driver_ended)),
        }
    }
}

impl fmt::Debug for TunedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunedRuntime").finish_non_exhaustive()
    }
}

impl Runtime for TunedRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        // The driver is the first, and without ICE-TCP the only, task that the stack spawns.
        let mut slot = self
            .driver_ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ended = slot.take();
        drop(slot);
        let _context = self.handle.enter();
        TokioRuntime.spawn(Box::pin(async move {
            let _ended = ended;
            future.await;
        }))
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BYTES) {
            tracing::debug!(%error, "the UDP receive buffer stays as it is");
        }
        let _context = self.handle.enter();
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        let relays = self.relays.clone();
        let socket = Arc::new(PacedSocket::new(socket, relays, &self.handle));
        Ok(Arc::new(NudgedSocket::new(socket, self.nudge.clone())))
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote_addr: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(remote_addr)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let duration = if self.brisk.load(Ordering::Relaxed) {
            duration.min(BRISK)
        } else {
            duration
        };
        let _context = self.handle.enter();
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        let _context = self.handle.enter();
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        "data-plane"
    }
}

#[cfg(test)]
mod tests {
    use super::window_for;

    #[test]
    fn the_window_never_exceeds_what_a_socket_takes() {
        assert_eq!(window_for(8 << 20), 4 << 20, "4 MiB granted");
        assert_eq!(window_for(usize::MAX / 8), 4 << 20);
        assert_eq!(window_for(425_984), 255_588, "the usual default of Linux");
        assert_eq!(window_for(0), 128 << 10, "unknown");
    }
}
