//! **Speak**: types and codecs of every frame and message, and the session string.
//!
//! * [`signal`]: what a worker or a client says to the hub and hears from it, over WebSocket and HTTP.
//! * [`peer`]: what peers tell each other through the hub, inside a `peer_message`: the negotiation of a job.
//! * [`channel`]: the text messages of the data channel, file names, and log text made harmless.
//! * [`session`]: the session string, which leads a client straight to one worker.
//!
//! Whatever comes from outside is hostile until proven otherwise. Every parser here is bounded in size and depth,
//! matches its tokens exactly, never panics, and says in a [`WireError`] what is wrong. Unknown fields are ignored,
//! unknown message types are reported as such. Secrets (tokens, credentials) do not show in `Debug` output.

#[cfg(test)]
mod arbitrary;
pub mod channel;
pub mod close;
pub mod device;
pub mod ice_url;
mod job_notice;
mod json;
pub mod own;
pub mod peer;
pub mod session;
pub mod signal;

pub(crate) use channel::is_device;
pub use channel::{ChannelText, KEEP_ALIVE, PackageKind, fits_header, log_text, safe_name};
pub use ice_url::{IceScheme, IceTransport, IceUrl, IceUrlError};
pub use job_notice::{JobChange, JobNotice};
pub use peer::{
    JobComplete, JobError, JobRequest, JobResponse, JobStatus, MAX_ESTIMATE_MINUTES, PeerMessage,
    WorkerInfo, estimate_minutes,
};
pub use session::{SessionString, SessionStringError};
pub use signal::{
    DRAINING, DeletePeer, Filters, FromHub, HubError, IceServer, Metadata, PeerInfo, Properties,
    Refusal, Register, RegisteredAuth, RoomCredentials, SignIn, SignInAgain, ToHub,
};

/// The largest signalling frame or HTTP body that is read, in bytes: 1 MiB, the limit of the original hub.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
/// How deep arrays and objects may nest in a frame.
pub const MAX_DEPTH: usize = 64;
/// The largest text message of a data channel that is read, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// The longest file name or model name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;
/// The longest peer, room or job id, or room token, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 256;
/// The longest identity token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The longest session description (SDP), in bytes. Real ones, with all candidates inside, take a few KiB.
pub const MAX_SDP_BYTES: usize = 64 * 1024;
/// The longest path in a message of the data channel, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// Why a frame or a message was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The text, or a field of it, is longer than it may be.
    #[error("too long: {len} bytes, where at most {max} are accepted")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("nested too deeply: at most {MAX_DEPTH} levels are accepted")]
    TooDeep,
    /// The text is not JSON; what the JSON parser said.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object.
    #[error("a JSON object was expected")]
    NotAnObject,
    /// A field that the message cannot do without is absent or null.
    #[error("the field `{0}` is missing")]
    MissingField(&'static str),
    /// A field has the wrong type, or a value that is not accepted.
    #[error("the field `{field}` is not acceptable: {why}")]
    BadField {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A message type that does not exist in this direction.
    #[error("unknown message type {0:?}")]
    UnknownToken(String),
}

impl WireError {
    fn bad(field: &'static str, why: impl Into<String>) -> Self {
        Self::BadField {
            field,
            why: why.into(),
        }
    }
}

/// A short, printable excerpt of text from outside: for error messages and logs.
fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 160;
    let mut short: String = text
        .chars()
        .take(MAX_CHARS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        short.push('…');
    }
    short
}

/// Stands in `Debug` output where a secret would be.
struct Hidden;

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}
