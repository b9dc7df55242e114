//! Why a frame was not understood.

use std::sync::Arc;

use crate::wire::MAX_DEPTH;

/// Why a frame was not understood, in the terms of an `error` frame. Nothing of the frame's content is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct FrameError {
    /// `PARSE_ERROR` (no frame at all), `TOO_LONG`, `TOO_DEEP`, `UNKNOWN_TYPE`, `INVALID_PAYLOAD` (a field is missing or not
    /// acceptable) or `CONTENT_NOT_CONVERTIBLE` (the content has no form in the other format).
    pub code: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// The id that the sender gave the message, where the frame could be read that far.
    pub client_message_id: Option<Arc<str>>,
}

impl FrameError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        FrameError {
            code,
            message: message.into(),
            client_message_id: None,
        }
    }

    pub(super) fn missing(field: &str) -> Self {
        Self::new("INVALID_PAYLOAD", format!("the field `{field}` is missing"))
    }

    pub(super) fn field(field: &str, why: &str) -> Self {
        let message = format!("the field `{field}` is not acceptable: {why}");
        Self::new("INVALID_PAYLOAD", message)
    }

    pub(super) fn unknown_type(kind: &str) -> Self {
        let kind = crate::wire::excerpt(kind);
        Self::new("UNKNOWN_TYPE", format!("unknown message type {kind:?}"))
    }

    pub(super) fn too_long(what: &str, max: usize) -> Self {
        let message = format!("{what} is too long: at most {max} bytes are accepted");
        Self::new("TOO_LONG", message)
    }
}

/// What a reader of JSON or MessagePack stumbled over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes do not follow the format's grammar; what was wrong.
    Syntax(&'static str),
    /// Arrays and maps nest deeper than [`MAX_DEPTH`].
    TooDeep,
    /// The content has no form in the other format; why.
    NotConvertible(&'static str),
    /// The content takes more bytes in its new form than it may.
    TooLong(usize),
}

impl From<Fault> for FrameError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax(why) => Self::new("PARSE_ERROR", why),
            Fault::TooDeep => {
                let message = format!("nested too deeply: at most {MAX_DEPTH} levels are accepted");
                Self::new("TOO_DEEP", message)
            }
            Fault::NotConvertible(why) => Self::new("CONTENT_NOT_CONVERTIBLE", why),
            Fault::TooLong(max) => Self::too_long("the content as JSON", max),
        }
    }
}
