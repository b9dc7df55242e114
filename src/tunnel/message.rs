//! What a program's own signalling brings for a tube: messages, one JSON object each, or an array of them
//! (websocket-integration-guide.md, "WebSocket Message Handling").
//!
//! A message is `{"tube_id": .., "kind": .., "data": .., "conversation_id": .., "generation": ..}`; the last two, the data and
//! anything else may be missing. Its kind says whether it is a manager's own ([`SignalKind::is_for_peer`]). The data of any
//! other is not looked into: it goes to the program as it came.

use std::str::FromStr;

use serde::Deserialize;
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
/// The longest that is told of what is wrong with a message, characters.
const MAX_ERROR: usize = 200;

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

/// A message as it comes. Members that are not named here are passed over.
#[derive(Deserialize)]
struct Given<'a> {
    tube_id: String,
    kind: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    conversation_id: Option<String>,
    generation: Option<u64>,
}

/// Takes the messages of a text to their managers. One result for each, in order.
pub(super) fn deliver(
    text: &str,
    find: impl Fn(&str) -> Option<Manager>,
) -> Vec<Result<Delivery, MessageError>> {
    match split(text) {
        Ok(messages) => messages
            .into_iter()
            .map(|message| deliver_one(message.get(), &find))
            .collect(),
        Err(error) => vec![Err(error)],
    }
}

/// The messages of a text, unread.
fn split(text: &str) -> Result<Vec<&RawValue>, MessageError> {
    let bytes = text.len();
    if bytes > MAX_TEXT_BYTES {
        return Err(MessageError::TooLarge { bytes });
    }
    let not_json = |error: serde_json::Error| MessageError::NotJson(error.to_string());
    if !text.trim_start().starts_with('[') {
        return Ok(vec![serde_json::from_str(text).map_err(not_json)?]);
    }
    let messages: Vec<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
    if messages.len() > MAX_MESSAGES {
        return Err(MessageError::TooMany);
    }
    Ok(messages)
}

fn deliver_one(
    text: &str,
    find: impl Fn(&str) -> Option<Manager>,
) -> Result<Delivery, MessageError> {
    let malformed = |why: &str| MessageError::Malformed(why.to_owned());
    if depth(text) > MAX_DEPTH {
        return Err(MessageError::TooDeep);
    }
    if !text.starts_with('{') {
        return Err(malformed("it is an object with tube_id, kind and data"));
    }
    let given: Given<'_> = serde_json::from_str(text).map_err(|error| {
        // It quotes what it does not like.
        let why: String = error.to_string().chars().take(MAX_ERROR).collect();
        MessageError::Malformed(why)
    })?;
    let too_long = |text: &str| text.len() > MAX_ID_BYTES;
    if too_long(&given.tube_id)
        || too_long(&given.kind)
        || given.conversation_id.as_deref().is_some_and(too_long)
    {
        return Err(malformed("an id or a kind is too long"));
    }
    let Some(manager) = find(&given.tube_id) else {
        return Err(MessageError::UnknownTube(given.tube_id));
    };
    manager.update_activity();
    let own = SignalKind::from_str(&given.kind).ok();
    if let Some(kind) = own.filter(|kind| kind.is_for_peer()) {
        let generation = given.generation.filter(|generation| *generation > 0);
        let generation = generation.ok_or(MessageError::Generation(kind))?;
        let data = given.data.and_then(|data| own_data(data.get()));
        let data = data.ok_or(MessageError::Data(kind))?;
        manager.take(kind, generation, data)?;
        return Ok(Delivery::Manager);
    }
    manager.pass(Message {
        tube_id: given.tube_id,
        kind: given.kind,
        data: given.data.map_or_else(Default::default, ToOwned::to_owned),
        conversation_id: given.conversation_id,
    });
    Ok(Delivery::Program)
}

/// The data of a message of a manager's own.
fn own_data(json: &str) -> Option<String> {
    let data: String = serde_json::from_str(json).ok()?;
    (data.len() <= MAX_DATA_BYTES).then_some(data)
}

/// How deep objects and arrays are within each other, in a text that is JSON.
fn depth(json: &str) -> usize {
    let (mut now, mut most, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}
