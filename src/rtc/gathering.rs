//! How the search for our candidates goes, and when a description need wait no longer.
//!
//! The stack asks every server from every interface, and calls it complete when each has answered or was given up, which
//! takes it 8 s. A description does not wait for that.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::shared::{Shared, wait};
use super::{IceServer, RtcError, servers};

/// How long servers have to answer before a description leaves without what they would add.
const LIMIT: Duration = Duration::from_secs(3);

/// How long the others have once one server has done what it can for us. From some interfaces (bridges, tunnels) no
/// server is ever reached.
const OTHERS: Duration = Duration::from_millis(300);

/// What was found so far. Each includes those above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    /// Our own addresses, which come all at once.
    Own,
    /// The most that the servers at hand can give: a relay, or an address as others see it where no server relays.
    Most,
    /// Everything.
    All,
}

/// The kind of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of our own addresses.
    Host,
    /// An address as a STUN server sees it.
    Reflexive,
    /// An address of a TURN server.
    Relay,
}

/// How the search for our candidates goes.
pub(super) struct Gathering {
    found: watch::Sender<Found>,
    relayed: AtomicBool,
    begun: OnceLock<Instant>,
    /// Whether the description has left and later candidates are sent by themselves.
    follow: AtomicBool,
    /// The TURN servers, for a person to read; empty when there is none.
    turn: String,
    /// Whether there is a server that could add something.
    servers: bool,
}

impl Gathering {
    pub(super) fn new(servers: &[IceServer]) -> Self {
        Gathering {
            found: watch::Sender::new(Found::Nothing),
            relayed: AtomicBool::new(false),
            begun: OnceLock::new(),
            follow: AtomicBool::new(false),
            turn: servers::turn_urls(servers),
            servers: !servers.is_empty(),
        }
    }

    /// Whether something may follow our own addresses.
    pub(super) fn has_servers(&self) -> bool {
        self.servers
    }

    /// It begins now.
    pub(super) fn begin(&self) {
        self.begun.get_or_init(Instant::now);
    }

    /// Notes a candidate, and whether it is to be sent by itself.
    pub(super) fn candidate(&self, kind: Kind) -> bool {
        if kind == Kind::Relay {
            self.relayed.store(true, Ordering::Relaxed);
        }
        let most = match kind {
            Kind::Host => false,
            Kind::Reflexive => self.turn.is_empty(),
            Kind::Relay => true,
        };
        self.advance(if most { Found::Most } else { Found::Own });
        self.follow.load(Ordering::Relaxed)
    }

    /// There are no more.
    pub(super) fn complete(&self) {
        self.advance(Found::All);
    }

    fn advance(&self, to: Found) {
        self.found.send_if_modified(|found| {
            let further = to > *found;
            if further {
                *found = to;
            }
            further
        });
    }

    /// Waits until the description need wait no longer; `trickle` says that other candidates may follow it.
    ///
    /// # Errors
    /// [`RtcError::Closed`].
    pub(super) async fn enough(&self, shared: &Shared, trickle: bool) -> Result<(), RtcError> {
        let enough = async {
            if trickle {
                wait(&self.found, |found| *found >= Found::Own).await;
                // From here on each is told of. What came before is in the description, which is read after this.
                self.follow.store(true, Ordering::Relaxed);
                return;
            }
            let most = async {
                wait(&self.found, |found| *found >= Found::Most).await;
                shared.sleep(OTHERS).await;
            };
            tokio::select! {
                () = wait(&self.found, |found| *found == Found::All) => {}
                () = most => {}
                () = shared.sleep(self.left()) => {
                    tracing::debug!("a STUN or TURN server does not answer; going on without");
                }
            }
        };
        tokio::select! {
            () = enough => Ok(()),
            () = shared.ended() => Err(RtcError::Closed),
        }
    }

    /// Why no TURN server gave a relay, once that is clear; `None` when one did, or there is none.
    pub(super) async fn without_relay(&self, shared: &Shared) -> Option<String> {
        if self.turn.is_empty() {
            return None;
        }
        let why = tokio::select! {
            () = wait(&self.found, |found| *found == Found::All) => {
                "it refuses the credentials, or cannot be reached"
            }
            () = shared.sleep(self.left()) => "it does not answer",
            () = shared.ended() => return None,
        };
        let relayed = self.relayed.load(Ordering::Relaxed);
        (!relayed).then(|| format!("no relay by {}: {why}", self.turn))
    }

    fn left(&self) -> Duration {
        let begun = self.begun.get().map(Instant::elapsed).unwrap_or_default();
        LIMIT.saturating_sub(begun)
    }
}
