//! Bounds on what comes from outside.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::mail::MailLimits;

/// Bounds on what peers may send, hold and ask for. The defaults leave real peers far from every bound.
#[derive(Debug, Clone)]
pub struct HubLimits {
    /// Bytes of one WebSocket message, in either direction (1 MiB, as the peers' own limit). A larger one from a peer
    /// closes its socket with 1009.
    pub message_bytes: usize,
    /// Bytes that may wait for one socket (4 MiB), at least four times `message_bytes`. A reader that is further behind is
    /// closed with 1011, or 4413 in the device dialect.
    pub outbox_bytes: usize,
    /// Bytes a second that one socket may send for long (16 MiB, twice that in a burst). Beyond it the hub reads more
    /// slowly; nothing is lost.
    pub socket_bytes_per_second: u32,
    /// Bytes of an HTTP request body (16 KiB).
    pub body_bytes: usize,
    /// Time for a request's head, and again for its body (10 s).
    pub request_time: Duration,
    /// WebSocket connections at a time, of both dialects (16 384, or fewer where the system's limit on open files is
    /// lower). Beyond it the handshake is refused with 503.
    pub sockets: usize,
    /// Past so many connections (nine tenths of `sockets`) a device is let in only when its user is connected, or was lately,
    /// and nobody to be told by a close code why it is not let in. Peers of the signalling dialect say who they are once they
    /// are in, so they are let in up to `sockets`, and have `unregistered_time` to register.
    pub sockets_soft: usize,
    /// Connections of one user in the device dialect (10). For one more, the oldest is closed with 4428.
    pub connections_per_user: usize,
    /// WebSocket handshakes from one address in a minute (6000, all of which may come at once). Beyond it they are
    /// refused with 429.
    pub handshakes_per_minute: u32,
    /// Messages a second that one socket of the device dialect may send for long (2000, twice that in a burst). Beyond
    /// it a message is refused with `RATE_LIMITED`; a sender that goes on is closed with 4429.
    pub socket_messages_per_second: u32,
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
    /// Wrong tokens that one address may try at one room in a minute (10). Beyond it the address is refused there, with any
    /// token.
    pub guesses_per_minute: u32,
    /// Sign-ins and new rooms from one address in a minute (600).
    pub signins_per_minute: u32,
}

/// How many times a message, or a window of unacknowledged ones, fits into what may wait for a socket: frames are longer
/// than what they carry, the more so in the other format.
const OUTBOX_SHARE: usize = 4;
/// Open files that are left for what is not a socket: listeners, the store, the log.
const OTHER_FILES: u64 = 64;

/// The limits that are plain numbers, by name.
macro_rules! named {
    ($($name:ident: $kind:ty),+ $(,)?) => {
        impl HubLimits {
            /// The names of the limits that can be read and changed by name; times are in seconds.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+, "unregistered_time", "request_time"];

            /// A limit by its name.
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => u64::try_from(self.$name).ok(),)+
                    "unregistered_time" => Some(self.unregistered_time.as_secs()),
                    "request_time" => Some(self.request_time.as_secs()),
                    _ => None,
                }
            }

            /// Changes a limit by its name; numbers that do not fit become the largest that does. False when there is no
            /// such limit.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($name) => self.$name = <$kind>::try_from(value).unwrap_or(<$kind>::MAX),)+
                    "unregistered_time" => self.unregistered_time = Duration::from_secs(value),
                    "request_time" => self.request_time = Duration::from_secs(value),
                    _ => return false,
                }
                true
            }
        }
    };
}

named! {
    message_bytes: usize,
    outbox_bytes: usize,
    socket_bytes_per_second: u32,
    socket_messages_per_second: u32,
    body_bytes: usize,
    sockets: usize,
    sockets_soft: usize,
    connections_per_user: usize,
    connections_per_thread: usize,
    threads: usize,
    rooms: usize,
    rooms_per_user: usize,
    peers_per_room: usize,
    metadata_bytes: usize,
    query_bytes: usize,
    handshakes_per_minute: u32,
    signins_per_minute: u32,
    guesses_per_minute: u32,
}

impl HubLimits {
    /// Holds no more sockets than the process may have open files.
    pub(super) fn fit(&mut self, open_files: u64) {
        let room = usize::try_from(open_files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
        if room < self.sockets {
            tracing::warn!(
                sockets = room,
                wanted = self.sockets,
                "the limit on open files bounds the sockets"
            );
            self.sockets = room;
        }
        // One message, in the larger of the two formats, has to fit; else its reader would be cut off for it each time.
        let least = self.message_bytes.saturating_mul(OUTBOX_SHARE);
        if self.outbox_bytes < least {
            tracing::warn!(
                outbox_bytes = least,
                wanted = self.outbox_bytes,
                "what waits for a socket has to hold four messages"
            );
            self.outbox_bytes = least;
        }
        self.sockets_soft = self.sockets_soft.min(self.sockets - self.sockets / 10);
    }
}

impl HubLimits {
    /// Gives no device more at a time than may wait for its socket: one that reads must not be cut off for its backlog.
    pub(super) fn fit_mail(&self, mail: &mut MailLimits) {
        let most = (self.outbox_bytes / OUTBOX_SHARE).max(1);
        mail.window_bytes = mail.window_bytes.min(most);
        mail.page_bytes = mail.page_bytes.min(most);
    }
}

impl Default for HubLimits {
    fn default() -> Self {
        HubLimits {
            message_bytes: 1 << 20,
            outbox_bytes: 4 << 20,
            socket_bytes_per_second: 16 << 20,
            body_bytes: 16 << 10,
            request_time: Duration::from_secs(10),
            sockets: 16_384,
            sockets_soft: 16_384 / 10 * 9,
            connections_per_user: 10,
            handshakes_per_minute: 6000,
            socket_messages_per_second: 2000,
            connections_per_thread: 8192,
            threads: 2,
            unregistered_time: Duration::from_secs(60),
            rooms: 10_000,
            rooms_per_user: 64,
            peers_per_room: 256,
            metadata_bytes: 16 << 10,
            query_bytes: 16 << 10,
            guesses_per_minute: 10,
            signins_per_minute: 600,
        }
    }
}

/// The longest that anybody is told to wait, also where a limit of 0 lets nothing pass at all.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The time in which `amount` comes in at `rate` a second.
fn time_for(amount: f64, rate: f64) -> Duration {
    let time = Duration::try_from_secs_f64(amount / rate).unwrap_or(LONGEST_WAIT);
    time.min(LONGEST_WAIT)
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
        time_for(-self.level.min(0.0), self.rate)
    }

    /// Takes one unit if there is one; else says when there will be.
    pub(super) fn try_take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        Err(time_for(1.0 - self.level, self.rate))
    }
}

impl Bucket {
    /// Whether a unit could be taken.
    pub(super) fn has_one(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.level >= 1.0
    }

    /// Whether nothing was taken for so long that it does not matter any more.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.level >= self.burst
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
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
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
pub(super) fn network(addr: IpAddr) -> IpAddr {
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
    fn nobody_is_told_to_wait_for_ever() {
        let start = Instant::now();
        for rate in [0.0, 1e-300, f64::MIN_POSITIVE] {
            let mut bucket = Bucket::new(rate, 0.0, start);
            assert_eq!(bucket.try_take(start), Err(LONGEST_WAIT));
            assert_eq!(bucket.take(1e300, start), LONGEST_WAIT);
        }
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
