//! The connections that are accepted here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::TunnelNews;
use crate::tunnel::forward::{Listener, Passed, Reason, Reset, Tunnel, refuse, too_many};
use crate::tunnel::tube::Tube;

/// How long a connection that was accepted here waits for the worker.
const WAIT: Duration = Duration::from_secs(30);

fn not_connected() -> Reset {
    Reset::new(Reason::Lost, "the worker is not connected just now")
}

/// Accepts the connections of one tunnel.
pub(super) struct Acceptor {
    pub(super) listener: Arc<Listener>,
    pub(super) current: watch::Receiver<Option<Tunnel<Tube>>>,
    pub(super) waiting: Arc<watch::Sender<usize>>,
    pub(super) free: Arc<Semaphore>,
    pub(super) numbers: Arc<AtomicU64>,
    pub(super) tell: mpsc::Sender<TunnelNews>,
}

impl Acceptor {
    pub(super) async fn run(self) {
        let mut carrying = JoinSet::new();
        let acceptor = Arc::new(self);
        loop {
            let tcp = acceptor.listener.accept().await;
            while carrying.try_join_next().is_some() {}
            let number = 1 + acceptor.numbers.fetch_add(1, Ordering::Relaxed);
            match acceptor.free.clone().try_acquire_owned() {
                Ok(place) => {
                    let acceptor = acceptor.clone();
                    carrying.spawn(async move {
                        let _place = place;
                        let passed = acceptor.carry(number, tcp).await;
                        acceptor.closed(number, passed);
                    });
                }
                Err(_) => acceptor.closed(number, refuse(tcp, too_many())),
            }
        }
    }

    /// Carries a connection. One that the tunnel ends before the worker has connected it waits for the next tunnel, once.
    async fn carry(&self, number: u64, tcp: TcpStream) -> Passed {
        let forward = &self.listener.forward;
        let opened = || {
            let forward = forward.clone();
            let _ = self.tell.try_send(TunnelNews::Opened { number, forward });
        };
        let Some(tunnel) = self.tunnel().await else {
            return refuse(tcp, not_connected());
        };
        let tcp = match tunnel.carry(tcp, forward, opened).await {
            Ok(passed) => return passed,
            Err((tcp, _)) => tcp,
        };
        let Some(tunnel) = self.tunnel().await else {
            return refuse(tcp, not_connected());
        };
        let carried = tunnel.carry(tcp, forward, opened).await;
        carried.unwrap_or_else(|(tcp, reset)| refuse(tcp, reset))
    }

    /// The tunnel, as soon as there is one that is not over.
    async fn tunnel(&self) -> Option<Tunnel<Tube>> {
        let _waits = Waits::one_more(&self.waiting);
        let mut current = self.current.clone();
        let is_there = |tunnel: &Option<Tunnel<Tube>>| {
            let there = tunnel.as_ref();
            there.is_some_and(|tunnel| !tunnel.is_over())
        };
        let tunnel = timeout(WAIT, current.wait_for(is_there)).await;
        tunnel.ok()?.ok()?.clone()
    }

    fn closed(&self, number: u64, passed: Passed) {
        // A listener that does not keep up misses some; the counts have all.
        let _ = self.tell.try_send(TunnelNews::Closed {
            number,
            forward: self.listener.forward.clone(),
            passed,
        });
    }
}

/// Somebody waits for the worker, for as long as it lives.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn one_more(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}
