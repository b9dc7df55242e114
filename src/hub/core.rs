//! What everything in a hub shares: the table, the engine, and the bounds per address.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::HubConfig;
use super::auth::Verifier;
use super::connections::{Entry, Full};
use super::engine::{ConnId, Engine};
use super::limits::PerAddress;
use super::prometheus::{Limit, Metrics};
use super::table::{Now, Table};

/// The heart of a hub. What changes is behind locks that are held for microseconds, and never over an await.
pub(super) struct Core {
    pub(super) config: Arc<HubConfig>,
    pub(super) verifier: Verifier,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) metrics: Arc<Metrics>,
    table: Mutex<Table>,
    signins: Mutex<PerAddress>,
    handshakes: Mutex<PerAddress>,
    draining: AtomicBool,
    /// Woken when the last socket is gone.
    emptied: Notify,
}

/// Takes a lock over from a thread that panicked: every table here is whole between two statements, and a defect in one
/// connection must not end the others.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// A hub without connections.
    pub(super) fn new(config: Arc<HubConfig>, verifier: Verifier, engine: Arc<dyn Engine>) -> Self {
        let limits = &config.limits;
        let metrics = Arc::new(Metrics::default());
        let table = Table::new(
            Arc::clone(&config),
            Arc::clone(&metrics),
            Arc::clone(&engine),
        );
        Core {
            table: Mutex::new(table),
            signins: Mutex::new(PerAddress::new(limits.signins_per_minute)),
            handshakes: Mutex::new(PerAddress::new(limits.handshakes_per_minute)),
            draining: AtomicBool::new(false),
            emptied: Notify::new(),
            verifier,
            engine,
            metrics,
            config,
        }
    }

    /// Connections, rooms and peers.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Counts a sign-in or a new room against the address that it comes from; the error is how long to stay away.
    pub(super) fn admit_signin(&self, from: IpAddr) -> Result<(), Duration> {
        let admitted = lock(&self.signins).admit(from, Instant::now());
        if admitted.is_err() {
            self.metrics.refused(Limit::SigninsPerAddress);
        }
        admitted
    }

    /// Counts a WebSocket handshake against the address that it comes from; the error is how long to stay away.
    pub(super) fn admit_handshake(&self, from: IpAddr) -> Result<(), Duration> {
        let admitted = lock(&self.handshakes).admit(from, Instant::now());
        if admitted.is_err() {
            self.metrics.refused(Limit::HandshakesPerAddress);
        }
        admitted
    }

    /// Adds a connection to the table. `attach` is called with it before anything else happens to the table, so that of two
    /// connections of one device the same one is the newer everywhere.
    pub(super) fn open(&self, entry: Entry, attach: impl FnOnce(ConnId)) -> Result<ConnId, Full> {
        let mut table = self.table();
        // Looked at under the lock: a drain that comes later finds the connection.
        if self.is_draining() {
            return Err(Full::Hard);
        }
        let opened = table.connections.open(entry, &self.config.limits);
        match opened {
            Ok(conn) => attach(conn),
            Err(Full::Hard) => self.metrics.refused(Limit::Sockets),
            Err(Full::Soft) => self.metrics.refused(Limit::SocketsSoft),
        }
        opened
    }

    /// A connection's socket is gone, and the connection can be resumed.
    pub(super) fn park(&self, conn: ConnId) {
        let mut table = self.table();
        table.connections.park(conn);
        self.tell_if_empty(&table);
    }

    /// A connection is over for good.
    pub(super) fn gone(&self, conn: ConnId) {
        let mut table = self.table();
        table.gone(conn, Now::read());
        self.tell_if_empty(&table);
    }

    fn tell_if_empty(&self, table: &Table) {
        if self.is_draining() && table.connections.live() == 0 {
            self.emptied.notify_waiters();
        }
    }

    /// Whether the hub stops: nobody comes in any more.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Ends every connection, and waits until all are gone or `within` is over.
    pub(super) async fn drain(&self, within: Duration) {
        let emptied = self.emptied.notified();
        tokio::pin!(emptied);
        emptied.as_mut().enable();
        {
            let mut table = self.table();
            self.draining.store(true, Ordering::Release);
            table.drain(Now::read());
            if table.connections.live() == 0 {
                return;
            }
        }
        // Peers that do not answer in time are dropped with the server.
        let _ = tokio::time::timeout(within, emptied).await;
    }
}
