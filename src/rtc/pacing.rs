//! Packets to relays, a little at a time.
//!
//! The stack sends a whole congestion window at once. Between hosts with large buffers that is how it is fast; coturn
//! takes 64 KiB at a time and drops the rest, and to a burst of losses the stack answers with stalls of a minute. So what
//! goes to a relay leaves in small bursts; and when nothing comes back meanwhile, which is what a relay looks like that
//! has no time just now, it leaves slowly.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::shared::lock;

/// Bytes a second while answers come.
const FAST: f64 = 40e6;

/// Bytes a second while none do.
const SLOW: f64 = 4e6;

/// Bytes at once.
const BURST: f64 = 12e3;

/// Bytes that are sent fast without an answer: half of what coturn takes, for the kernel counts a packet for about twice
/// its bytes. The peer acknowledges every other packet.
const UNANSWERED: usize = 30_000;

/// Bytes that wait, at most; packets past it are lost, as in any queue. A congestion window is 4 MiB.
const MAX_WAITING: usize = 8 << 20;

/// The most relays that are known of at a time: our servers', and those that a peer names.
const MAX_RELAYS: usize = 128;

/// The relays of a connection: our TURN servers, and the relayed addresses of the peer.
#[derive(Debug, Default)]
pub(super) struct Relays(RwLock<Addresses>);

/// Those of our servers, then the peer's.
#[derive(Debug, Default)]
struct Addresses {
    all: Vec<SocketAddr>,
    ours: usize,
}

impl Relays {
    /// Of a connection that uses these TURN servers.
    pub(super) fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        let all: Vec<_> = servers.into_iter().collect();
        let ours = all.len();
        Relays(RwLock::new(Addresses { all, ours }))
    }

    /// Adds one that the peer names.
    pub(super) fn add(&self, relay: SocketAddr) {
        let mut addresses = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if addresses.all.len() < MAX_RELAYS && !addresses.all.contains(&relay) {
            addresses.all.push(relay);
        }
    }

    /// The peer has none of those that it named: it is about to name others.
    pub(super) fn forget_the_peers(&self) {
        let mut addresses = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let ours = addresses.ours;
        addresses.all.truncate(ours);
    }

    fn contains(&self, addr: &SocketAddr) -> bool {
        let addresses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        addresses.all.contains(addr)
    }
}

/// What may be sent now: a token bucket whose rate depends on the answers.
#[derive(Debug)]
struct Allowance {
    bytes: f64,
    at: Instant,
    /// Bytes that were sent since a relay sent something.
    unanswered: usize,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Allowance {
            bytes: BURST,
            at: now,
            unanswered: 0,
        }
    }

    /// How long to wait until the next packet may go; zero for now.
    fn wait(&mut self, now: Instant) -> Duration {
        let rate = if self.unanswered < UNANSWERED {
            FAST
        } else {
            SLOW
        };
        let passed = now.saturating_duration_since(self.at);
        self.bytes = (self.bytes + passed.as_secs_f64() * rate).min(BURST);
        self.at = now;
        if self.bytes > 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64((1.0 - self.bytes) / rate)
        }
    }

    fn take(&mut self, bytes: usize) {
        self.bytes -= bytes as f64;
        self.unanswered = self.unanswered.saturating_add(bytes);
    }
}

/// What a socket and the task behind it know in common.
#[derive(Debug)]
struct Pace {
    allowance: Mutex<Allowance>,
    answered: Notify,
    /// Bytes that wait.
    waiting: AtomicUsize,
}

impl Pace {
    /// Takes a packet's bytes if it may go now; otherwise how long it has to wait.
    fn claim(&self, bytes: usize) -> Duration {
        let mut allowance = lock(&self.allowance);
        let wait = allowance.wait(Instant::now());
        if wait.is_zero() {
            allowance.take(bytes);
        }
        wait
    }

    fn answer(&self) {
        lock(&self.allowance).unanswered = 0;
        self.answered.notify_one();
    }
}

/// A packet that waits.
struct Waiting {
    to: SocketAddr,
    packet: Box<[u8]>,
}

/// A UDP socket that sends to relays at their pace, and to everybody else at once.
pub(super) struct PacedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    relays: Arc<Relays>,
    pace: Arc<Pace>,
    queue: mpsc::UnboundedSender<Waiting>,
}

impl PacedSocket {
    /// The task that sends what had to wait runs on `runtime`, until the socket is dropped and the queue is empty.
    pub(super) fn new(
        socket: Arc<dyn AsyncUdpSocket>,
        relays: Arc<Relays>,
        runtime: &Handle,
    ) -> Self {
        let pace = Arc::new(Pace {
            allowance: Mutex::new(Allowance::new(Instant::now())),
            answered: Notify::new(),
            waiting: AtomicUsize::new(0),
        });
        let (queue, waiting) = mpsc::unbounded_channel();
        runtime.spawn(send(socket.clone(), pace.clone(), waiting));
        PacedSocket {
            socket,
            relays,
            pace,
            queue,
        }
    }
}

/// Sends what waits, in order.
async fn send(
    socket: Arc<dyn AsyncUdpSocket>,
    pace: Arc<Pace>,
    mut waiting: mpsc::UnboundedReceiver<Waiting>,
) {
    while let Some(Waiting { to, packet }) = waiting.recv().await {
        loop {
            let wait = pace.claim(packet.len());
            if wait.is_zero() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = pace.answered.notified() => {}
            }
        }
        if let Err(error) = socket.send_to(&packet, to).await {
            tracing::trace!(%to, %error, "a packet to a relay was lost");
        }
        pace.waiting.fetch_sub(packet.len(), Ordering::Relaxed);
    }
}

impl fmt::Debug for PacedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PacedSocket").field(&self.socket).finish()
    }
}

impl AsyncUdpSocket for PacedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        if !self.relays.contains(&transmit.destination) {
            return self.socket.poll_send(cx, transmit);
        }
        let bytes = transmit.contents.len();
        let size = transmit.segment_size.unwrap_or(bytes).max(1);
        let waiting = self.pace.waiting.load(Ordering::Relaxed);
        // What need not wait is sent from here, where a failure tells the stack that there is no way to a server.
        if waiting == 0 && bytes <= size && self.pace.claim(bytes).is_zero() {
            return self.socket.poll_send(cx, transmit);
        }
        if waiting + bytes <= MAX_WAITING {
            self.pace.waiting.fetch_add(bytes, Ordering::Relaxed);
            for packet in transmit.contents.chunks(size) {
                // Fails when the runtime is shutting down, and the connection with it.
                let _ = self.queue.send(Waiting {
                    to: transmit.destination,
                    packet: packet.into(),
                });
            }
        }
        Poll::Ready(Ok(bytes))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received
            && meta
                .iter()
                .take(count)
                .any(|meta| self.relays.contains(&meta.addr))
        {
            self.pace.answer();
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: usize = 1200;

    /// Sends for a time, with answers or without; the rate, and the most that left at once.
    fn rate(answers: bool, time: Duration) -> (f64, usize) {
        let begun = Instant::now();
        let mut now = begun;
        let mut allowance = Allowance::new(now);
        let (mut sent, mut at_once, mut most) = (0, 0, 0);
        while now - begun < time {
            let wait = allowance.wait(now);
            if wait.is_zero() {
                allowance.take(PACKET);
                sent += PACKET;
                at_once += PACKET;
                most = most.max(at_once);
            } else {
                now += wait;
                at_once = 0;
                if answers {
                    allowance.unanswered = 0;
                }
            }
        }
        (sent as f64 / (now - begun).as_secs_f64(), most)
    }

    #[test]
    fn bursts_are_small_and_the_rate_depends_on_answers() {
        let time = Duration::from_secs(10);
        for (answers, expected) in [(true, FAST), (false, SLOW)] {
            let (rate, most) = rate(answers, time);
            assert!((rate / expected - 1.0).abs() < 0.05, "{answers} {rate}");
            assert!(most as f64 <= BURST + PACKET as f64, "{answers} {most}");
        }
    }

    #[test]
    fn silence_buys_no_larger_burst() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        allowance.take(100_000);
        assert!(allowance.wait(now) > Duration::from_millis(10));
        assert!(allowance.wait(now + Duration::from_secs(3600)).is_zero());
        assert!(allowance.bytes <= BURST);
    }

    #[test]
    fn a_peer_cannot_name_ever_more_relays() {
        let relays = Relays::default();
        for port in 1..1000 {
            relays.add(([192, 0, 2, 1], port).into());
        }
        assert!(relays.contains(&([192, 0, 2, 1], 1).into()));
        assert!(!relays.contains(&([192, 0, 2, 1], 999).into()));
    }

    #[test]
    fn a_peer_that_names_others_makes_room_for_them() {
        let server = ([198, 51, 100, 1], 3478).into();
        let relays = Relays::new([server]);
        for port in 1..1000 {
            relays.forget_the_peers();
            relays.add(([192, 0, 2, 1], port).into());
        }
        assert!(relays.contains(&([192, 0, 2, 1], 999).into()));
        assert!(!relays.contains(&([192, 0, 2, 1], 1).into()));
        assert!(relays.contains(&server));
    }
}
