//! Bounds on what comes from outside.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Bounds on what peers may send, hold and ask for. The defaults leave real peers far from every bound.
#[derive(Debug, Clone)]
pub struct HubLimits {
    /// Bytes of one WebSocket message, in either direction (1 MiB, as the peers' own limit). A larger one from a peer
    /// closes its socket with 1009.
    pub message_bytes: usize,
    /// Bytes that may wait for one socket (4 MiB). A reader that is further behind is closed with 1011.
    pub outbox_bytes: usize,
    /// Bytes a second that one socket may send for long (16 MiB, twice that in a burst). Beyond it the hub reads more
    /// slowly; nothing is lost.
    pub socket_bytes_per_second: u32,
    /// Bytes of an HTTP request body (16 KiB).
    pub body_bytes: usize,
    /// Time for a request's head, and again for its body (10 s).
    pub request_time: Duration,
    /// WebSocket connections at a time (4096). Beyond it the handshake is refused with 503.
    pub sockets: usize,
    /// TCP connections of one server thread (8192). Beyond it they wait in the listener's backlog.
    pub connections_per_thread: usize,
    /// Server threads (2).
    pub threads: usize,
    /// How long a socket may be without a registration (60 s).
    pub unregistered_time: Duration,
    /// Rooms at a time (10 000).
    pub rooms: usize,
    /// Rooms of one user (64).
    pub rooms_per_user: usize,
    /// Peers in one room (256).
    pub peers_per_room: usize,
    /// Bytes of one peer's metadata as JSON (16 KiB).
    pub metadata_bytes: usize,
    /// Bytes of a `discover_peers` frame (16 KiB).
    pub query_bytes: usize,
    /// Sign-ins and new rooms from one address in a minute (600).
    pub signins_per_minute: u32,
}

impl Default for HubLimits {
    fn default() -> Self {
        HubLimits {
            message_bytes: 1 << 20,
            outbox_bytes: 4 << 20,
            socket_bytes_per_second: 16 << 20,
            body_bytes: 16 << 10,
            request_time: Duration::from_secs(10),
            sockets: 4096,
            connections_per_thread: 8192,
            threads: 2,
            unregistered_time: Duration::from_secs(60),
            rooms: 10_000,
            rooms_per_user: 64,
            peers_per_room: 256,
            metadata_bytes: 16 << 10,
            query_bytes: 16 << 10,
            signins_per_minute: 600,
        }
    }
}

/// A token bucket: `rate` units a second, at most `burst` saved up.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    rate: f64,
    burst: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Bucket {
            rate: rate.max(f64::MIN_POSITIVE),
            burst,
            level: burst,
            at: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.burst);
        self.at = now;
    }

    /// Takes `amount`, into debt if need be, and says how long to wait until the debt is paid.
    pub(super) fn take(&mut self, amount: f64, now: Instant) -> Duration {
        self.refill(now);
        self.level -= amount;
        Duration::try_from_secs_f64(-self.level.min(0.0) / self.rate).unwrap_or(Duration::MAX)
    }

    /// Takes one unit if there is one; else says when there will be.
    fn try_take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64((1.0 - self.level) / self.rate).unwrap_or(Duration::MAX))
    }
}

/// One bucket per address, so that one machine cannot use up what is free for all.
#[derive(Debug)]
pub(super) struct PerAddress {
    per_minute: u32,
    buckets: HashMap<IpAddr, Bucket>,
}

impl PerAddress {
    /// Addresses remembered at a time. Past it those that have been quiet are forgotten, then all.
    const ADDRESSES: usize = 16 << 10;

    /// A limit of `per_minute` for each address, all of which may be used at once.
    pub(super) fn new(per_minute: u32) -> Self {
        PerAddress {
            per_minute,
            buckets: HashMap::new(),
        }
    }

    /// Counts one request from `from`, or says how long to stay away.
    pub(super) fn admit(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        if self.buckets.len() >= Self::ADDRESSES {
            self.buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.level < bucket.burst
            });
            if self.buckets.len() >= Self::ADDRESSES {
                self.buckets.clear();
            }
        }
        let per_minute = f64::from(self.per_minute);
        self.buckets
            .entry(network(from))
            .or_insert_with(|| Bucket::new(per_minute / 60.0, per_minute, now))
            .try_take(now)
    }
}

/// An IPv6 customer has a /64, so that is what counts as one address.
fn network(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_refused_past_its_share_and_admitted_again_later() {
        let start = Instant::now();
        let mut limit = PerAddress::new(60);
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..60 {
            assert_eq!(limit.admit(a, start), Ok(()));
        }
        let wait = limit.admit(a, start).unwrap_err();
        assert!(
            wait <= Duration::from_secs(1) && wait > Duration::from_millis(900),
            "{wait:?}"
        );
        assert_eq!(
            limit.admit("192.0.2.2".parse().unwrap(), start),
            Ok(()),
            "another address has its own share"
        );
        assert_eq!(limit.admit(a, start + Duration::from_secs(2)), Ok(()));
    }

    #[test]
    fn one_ipv6_network_counts_as_one_address() {
        let start = Instant::now();
        let mut limit = PerAddress::new(1);
        assert_eq!(limit.admit("2001:db8::1".parse().unwrap(), start), Ok(()));
        assert!(limit.admit("2001:db8::2".parse().unwrap(), start).is_err());
        assert_eq!(
            limit.admit("2001:db8:0:1::2".parse().unwrap(), start),
            Ok(())
        );
    }

    #[test]
    fn the_memory_of_addresses_is_bounded() {
        let start = Instant::now();
        let mut limit = PerAddress::new(60);
        for n in 0..40_000u32 {
            assert_eq!(limit.admit(IpAddr::V4(n.into()), start), Ok(()));
        }
        assert!(limit.buckets.len() <= PerAddress::ADDRESSES);
    }

    #[test]
    fn a_bucket_in_debt_names_the_time_to_wait() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100.0, 200.0, start);
        assert_eq!(bucket.take(200.0, start), Duration::ZERO);
        assert_eq!(bucket.take(50.0, start), Duration::from_millis(500));
        assert_eq!(
            bucket.take(0.0, start + Duration::from_secs(1)),
            Duration::ZERO
        );
    }
}
