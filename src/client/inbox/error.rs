//! Why a mailbox cannot be read.

use std::io;

use crate::actors::session::SessionError;
use crate::identity::IdentityError;

/// Why a mailbox cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// The identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is none.
    #[error(
        "nobody is known here at {0}: `loaner run` makes an identity there, and `loaner identity --adopt LINE` takes over that of another machine"
    )]
    NoIdentity(String),
    /// The hub cannot be reached, or refuses.
    #[error(transparent)]
    Hub(#[from] SessionError),
    /// The hub has forgotten the user.
    #[error(
        "the hub at {hub} does not know the user {user} any more, and what waited is gone; the next `loaner run` makes a new identity"
    )]
    Unknown {
        /// The hub's address.
        hub: String,
        /// The user.
        user: String,
    },
    /// The hub has no mailboxes.
    #[error("the hub at {0} keeps no mailboxes: it is older than they are, or of another make")]
    OldHub(String),
    /// The hub let the device in, and was lost.
    #[error("the connection to the hub is lost: {0}")]
    Lost(String),
    /// What came could not be shown; it stays in the mailbox.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
}

impl InboxError {
    /// Whether the same may succeed a little later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self,
            InboxError::Lost(_)
                | InboxError::Hub(SessionError::Unreachable { .. } | SessionError::Timeout(_))
        )
    }
}
