//! What a connection is made with.

use std::fmt;
use std::time::Duration;

/// A STUN or TURN server.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceServer {
    /// Such as `stun:host:3478` or `turn:host:3478`; see [`usable_servers`](super::usable_servers).
    pub urls: Vec<String>,
    /// The TURN user name; empty for STUN.
    pub username: String,
    /// The TURN password; empty for STUN.
    pub credential: String,
}

impl IceServer {
    /// Whether it relays, and does not only say how we are seen.
    pub(super) fn relays(&self) -> bool {
        self.urls.iter().any(|url| url.starts_with("turn"))
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credential must not end up in a log.
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// How connections are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcConfig {
    /// The servers to ask for further candidates. Empty (the default) means host candidates only.
    pub ice_servers: Vec<IceServer>,
    /// Whether the peer takes candidates after an offer. The offer then leaves as soon as it has our own addresses, and
    /// what the servers add follows as [`RtcEvent::Candidate`](super::RtcEvent::Candidate). An answer does so when the
    /// offer says that its sender takes them (`a=ice-options:trickle`). False by default: everything is in the
    /// description, which servers that do not answer can delay by 3 s.
    pub trickle: bool,
    /// Whether loopback addresses are candidates too (the default), so that peers on one host with no other
    /// interface can connect.
    pub include_loopback: bool,
    /// How long a channel may take to open once both descriptions are known.
    /// At 2-3 % loss about one connection in fifty never opens: give up then, and try again with a new one.
    pub setup: Duration,
}

impl Default for RtcConfig {
    fn default() -> Self {
        RtcConfig {
            ice_servers: Vec::new(),
            trickle: false,
            include_loopback: true,
            setup: Duration::from_secs(15),
        }
    }
}
