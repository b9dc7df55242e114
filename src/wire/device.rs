//! The device dialect (websocket-connection.md): what a user's device and the hub say to each other at `/ws`.
//!
//! A frame is `{"type": T, "payload": {...}}`, as JSON in a text message or as MessagePack in a binary one, with the same
//! fields in both ([`Format`]). `payload` may be absent where nothing in it is required; unknown fields are ignored; a
//! field that is null counts as absent (`content` alone may be null); a field that is given twice is an error, since two
//! readers might disagree about it. Lengths and depth are checked before anything is allocated.
//!
//! * [`ToHub`]: what a device says.
//! * [`FromHub`]: what it hears.
//! * [`Content`]: what a message carries, which passes through unread.

use std::sync::Arc;

use bytes::Bytes;

mod encode;
mod envelope;
mod error;
mod from_hub;
mod json;
mod msgpack;
mod to_hub;
mod transcode;

#[cfg(test)]
mod abuse_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
mod timing_tests;

pub use error::FrameError;
pub use from_hub::{Accepted, Connected, Delivery, ErrorReport, FromHub, Incoming};
pub use to_hub::{Outgoing, ToHub};

/// The largest number that names a message, and the largest that `up_to` may say: 2^53, which every JSON reader keeps
/// exactly.
pub const MAX_MESSAGE_ID: u64 = 1 << 53;
/// The longest text that `t` of a ping may be, in bytes.
pub const MAX_ECHO_BYTES: usize = 128;

/// How frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON, in text messages.
    Json,
    /// MessagePack, in binary messages.
    MessagePack,
}

impl Format {
    /// The subprotocols by which a client asks for a format, in the hub's order of preference.
    pub const PROTOCOLS: [&'static str; 2] = ["loaner.v1.json", "loaner.v1.msgpack"];

    /// The subprotocol of this format.
    pub fn protocol(self) -> &'static str {
        let [json, msgpack] = Self::PROTOCOLS;
        match self {
            Format::Json => json,
            Format::MessagePack => msgpack,
        }
    }

    /// The format that a subprotocol means; none for one that is not ours. Case counts, as RFC 6455 has it.
    pub fn of_protocol(protocol: &str) -> Option<Format> {
        [Format::Json, Format::MessagePack]
            .into_iter()
            .find(|format| format.protocol() == protocol)
    }
}

/// What a message says: any JSON value, or bytes.
///
/// In JSON, bytes are base64 text with `"encoding": "base64"` beside it; in MessagePack they are `bin`. A value that
/// one device sends in the one form reaches another in the other form.
///
/// A JSON value keeps the order of its keys, repeated keys, the digits of its numbers and the escapes of its strings;
/// whitespace between its tokens is dropped. Written as MessagePack, integers that fit 64 bits stay integers and all other
/// numbers become `float 64`. What has no such form (a lone surrogate, a number beyond `float 64`) is refused when it comes
/// in, so that every content can be written in both formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A JSON value, as its text: compact, valid, no deeper than [`super::MAX_DEPTH`]. See [`Content::json`].
    Json(Arc<str>),
    /// Bytes.
    Binary(Bytes),
}

impl Content {
    /// A JSON value from its text.
    ///
    /// # Errors
    /// `PARSE_ERROR` for what is no JSON, `TOO_DEEP`, or `CONTENT_NOT_CONVERTIBLE`.
    pub fn json(text: &str) -> Result<Content, FrameError> {
        transcode::checked(text)
    }

    /// Bytes in memory and in the store.
    pub fn len(&self) -> usize {
        match self {
            Content::Json(text) => text.len(),
            Content::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it (never for JSON, of which the least is one digit).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A small value that is sent back as it came: the `t` of a ping. Numbers keep their value, not their spelling.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// True or false.
    Flag(bool),
    /// A whole number from 0 on.
    Uint(u64),
    /// A whole number below 0.
    Int(i64),
    /// Any other number; finite.
    Float(f64),
    /// Text of at most [`MAX_ECHO_BYTES`].
    Text(Box<str>),
}
