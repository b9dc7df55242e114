//! Why there is no session.

use crate::charts::session::Why;
use crate::wire::HubError;

/// Why a session never began, or what failed last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The hub cannot be reached.
    #[error(
        "the hub at {hub} cannot be reached: {detail}; is it running, and is the address right?"
    )]
    Unreachable {
        /// Its address.
        hub: String,
        /// What the network says.
        detail: String,
    },
    /// The hub's certificate is not believed.
    #[error(
        "the certificate of the hub at {hub} is not trusted: {detail}; if an authority of your own issued it, give that one's certificate with --hub-ca FILE"
    )]
    Untrusted {
        /// Its address.
        hub: String,
        /// What is wrong with the certificate.
        detail: String,
    },
    /// Sign-in was refused.
    #[error("the hub at {hub} refused the sign-in: {detail}")]
    SignIn {
        /// Its address.
        hub: String,
        /// What it said.
        detail: String,
    },
    /// Room creation was refused.
    #[error("the hub at {hub} made no room: {detail}")]
    Room {
        /// Its address.
        hub: String,
        /// What it said.
        detail: String,
    },
    /// The registration was refused.
    #[error(
        "the hub refused the registration: {0}; check the room id and its token, or the session string"
    )]
    Refused(String),
    /// A step took too long.
    #[error("the hub at {0} did not answer in time")]
    Timeout(String),
}

/// Why the hub refused a registration.
pub(super) fn why(error: &HubError) -> Why {
    match error.reason.as_deref() {
        Some("Invalid token") => Why::Identity,
        Some("Room not found" | "Room expired") => Why::Room,
        _ => Why::Other,
    }
}
