//! What a program's own signalling brings for a tube: messages, one JSON object each, or an array of them
//! (websocket-integration-guide.md, "WebSocket Message Handling").
//!
//! A message is `{"tube_id": .., "kind": .., "data": .., "conversation_id": .., "generation": ..}`; the last two, the data and
//! anything else may be missing. Its kind says whether it is a manager's own ([`SignalKind::is_for_peer`]). The data of any
//! other is not looked into: it goes to the program as it came.

use serde_json::value::RawValue;
use thiserror::Error;

use super::registry::Manager;
use super::signal::SignalKind;

/// The longest text, bytes.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Messages in one text.
pub const MAX_MESSAGES: usize = 1024;
/// How deep objects and arrays may be within each other in one message.
pub const MAX_DEPTH: usize = 64;
/// The longest id of a tube or a conversation, bytes.
pub const MAX_ID_BYTES: usize = 256;
/// The longest data of a message of a manager's own, bytes.
pub const MAX_DATA_BYTES: usize = 64 << 10;

/// A message that is not a manager's own: the program's.
#[derive(Debug, Clone)]
pub struct Message {
    /// Which tube.
    pub tube_id: String,
    /// What it is, in the words of the program.
    pub kind: String,
    /// What it brings, unread: the JSON text as it came; `null` where there is none.
    pub data: Box<RawValue>,
    /// The conversation, if it names one.
    pub conversation_id: Option<String>,
}

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It was a manager's own.
    Manager,
    /// To the program's message callbacks of that tube.
    Program,
}

/// Why a message went nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// The text is longer than [`MAX_TEXT_BYTES`].
    #[error(
        "{bytes} bytes are more than the {MAX_TEXT_BYTES} of a text of messages; send them in several"
    )]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// The array has more than [`MAX_MESSAGES`].
    #[error("an array may hold {MAX_MESSAGES} messages; send the others in another one")]
    TooMany,
    /// The text is no JSON.
    #[error("neither a JSON object nor an array of them: {0}")]
    NotJson(String),
    /// It is deeper than [`MAX_DEPTH`].
    #[error(
        "objects and arrays may be {MAX_DEPTH} deep within each other; send such data as a text"
    )]
    TooDeep,
    /// Not an object, or one whose members are missing, doubled or of the wrong type.
    #[error("no message: {0}")]
    Malformed(String),
    /// No manager of this tube is registered.
    #[error("no manager of the tube {0:?} is registered; register one first")]
    UnknownTube(String),
    /// A message of a manager's own has no data that it could use.
    #[error("a message of kind {0} needs a text of at most {MAX_DATA_BYTES} bytes as its data")]
    Data(SignalKind),
    /// A message of a manager's own does not say which generation it belongs to.
    #[error(
        "a message of kind {0} needs its generation, a number from 1, as it came in the signal"
    )]
    Generation(SignalKind),
    /// The manager has not handled what came before.
    #[error("the manager of the tube {0:?} is behind; send it again later")]
    Busy(String),
    /// The manager has ended.
    #[error("the tube {0:?} is closed")]
    Closed(String),
}

/// Takes the messages of a text to their managers.
pub(super) fn deliver(
    text: &str,
    find: impl Fn(&str) -> Option<Manager>,
) -> Vec<Result<Delivery, MessageError>> {
    let _ = (find, text);
    Vec::new()
}
