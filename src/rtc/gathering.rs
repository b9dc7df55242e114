//! How the search for our candidates goes, and when a description need wait no longer.
//!
//! The stack asks every server from every interface, and calls it complete when each has answered or was given up, which
//! takes it 8 s. A description does not wait for that.
//!
//! An ICE restart begins with other sockets, and with a search of its own. The stack numbers nothing; but it binds and tells
//! from the same task, so whatever it tells after the sockets were bound is of the new search.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::shared::{Shared, wait};
use super::{CandidateKind, IceServer, RtcError, servers};

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

/// Which search this is: how often the sockets were bound.
pub(super) type Pass = u32;

/// How far the latest search is.
#[derive(Debug)]
struct Progress {
    pass: Pass,
    found: Found,
    relayed: bool,
    /// When a description began to wait for it.
    begun: Option<Instant>,
    /// Whether the description has left and later candidates are sent by themselves.
    follow: bool,
}

/// How the search for our candidates goes.
pub(super) struct Gathering {
    progress: watch::Sender<Progress>,
    /// The TURN servers, for a person to read; empty when there is none.
    turn: String,
    /// Whether there is a server that could add something.
    servers: bool,
}

impl Gathering {
    pub(super) fn new(servers: &[IceServer]) -> Self {
        Gathering {
            progress: watch::Sender::new(Progress {
                pass: 0,
                found: Found::Nothing,
                relayed: false,
                begun: None,
                follow: false,
            }),
            turn: servers::turn_urls(servers),
            servers: !servers.is_empty(),
        }
    }

    /// Whether something may follow our own addresses.
    pub(super) fn has_servers(&self) -> bool {
        self.servers
    }

    /// The sockets are being bound: what was found before is void.
    pub(super) fn bound(&self) {
        self.progress.send_modify(|progress| {
            progress.pass += 1;
            progress.found = Found::Nothing;
            progress.relayed = false;
            progress.follow = false;
        });
    }

    /// A description begins to wait for the search with the sockets there are.
    pub(super) fn begin(&self) -> Pass {
        self.progress.send_modify(|progress| {
            progress.begun.get_or_insert_with(Instant::now);
        });
        self.progress.borrow().pass
    }

    /// A description begins to wait for the search with the sockets that are bound next.
    pub(super) fn begin_again(&self) -> Pass {
        self.progress
            .send_modify(|progress| progress.begun = Some(Instant::now()));
        self.progress.borrow().pass + 1
    }

    /// Notes a candidate, and whether it is to be sent by itself.
    pub(super) fn candidate(&self, kind: CandidateKind) -> bool {
        let most = match kind {
            CandidateKind::Host | CandidateKind::PeerReflexive => false,
            CandidateKind::ServerReflexive => self.turn.is_empty(),
            CandidateKind::Relay => true,
        };
        self.advance(
            if most { Found::Most } else { Found::Own },
            kind == CandidateKind::Relay,
        );
        self.progress.borrow().follow
    }

    /// There are no more.
    pub(super) fn complete(&self) {
        self.advance(Found::All, false);
    }

    fn advance(&self, to: Found, relayed: bool) {
        self.progress.send_if_modified(|progress| {
            progress.relayed |= relayed;
            let further = to > progress.found;
            if further {
                progress.found = to;
            }
            further
        });
    }

    /// Waits until the description need wait no longer; `trickle` says that other candidates may follow it.
    ///
    /// # Errors
    /// [`RtcError::Closed`].
    pub(super) async fn enough(
        &self,
        shared: &Shared,
        pass: Pass,
        trickle: bool,
    ) -> Result<(), RtcError> {
        let found = |least: Found| {
            let is_so = move |progress: &Progress| progress.pass >= pass && progress.found >= least;
            wait(&self.progress, is_so)
        };
        let enough = async {
            if trickle {
                found(Found::Own).await;
                // From here on each is told of. What came before is in the description, which is read after this.
                self.progress.send_modify(|progress| progress.follow = true);
                return;
            }
            let most = async {
                found(Found::Most).await;
                shared.sleep(OTHERS).await;
            };
            tokio::select! {
                () = found(Found::All) => {}
                () = most => {}
                () = shared.sleep(self.left()) => {
                    tracing::debug!("a STUN or TURN server does not answer; going on without");
                }
            }
            // Our own addresses are waited for in any case: without them there is nothing to describe.
            found(Found::Own).await;
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
            () = wait(&self.progress, |progress| progress.found == Found::All) => {
                "it refuses the credentials, or cannot be reached"
            }
            () = shared.sleep(self.left()) => "it does not answer",
            () = shared.ended() => return None,
        };
        let relayed = self.progress.borrow().relayed;
        (!relayed).then(|| format!("no relay by {}: {why}", self.turn))
    }

    fn left(&self) -> Duration {
        let begun = self.progress.borrow().begun;
        LIMIT.saturating_sub(begun.map(|begun| begun.elapsed()).unwrap_or_default())
    }
}
