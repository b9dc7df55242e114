//! A message of a tube, as it goes over a channel: binary ones as they are, and texts behind a sign that tells them from the
//! tube's own words.

use bytes::Bytes;

use crate::rtc::{Channel, Incoming, RtcError};
use crate::wire::KEEP_ALIVE;

/// In front of a text. Words begin with a brace.
const TEXT: char = '\u{1}';
/// In front of a binary message that would be taken for a keep-alive of the channel.
const LIKE_KEEP_ALIVE: char = '\u{2}';

/// A message that is sent. Clones share their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Binary(Bytes),
    /// With its sign.
    Text(Bytes),
}

impl Message {
    pub(super) fn text(text: &str) -> Self {
        signed(TEXT, text.as_bytes())
    }

    pub(super) fn binary(data: Bytes) -> Self {
        match data.as_ref() == KEEP_ALIVE {
            true => signed(LIKE_KEEP_ALIVE, &data),
            false => Message::Binary(data),
        }
    }

    /// Its bytes on the way.
    pub(super) fn len(&self) -> usize {
        match self {
            Message::Binary(bytes) | Message::Text(bytes) => bytes.len(),
        }
    }

    /// Gives it to a channel.
    pub(super) async fn send(self, channel: Channel) -> Result<(), RtcError> {
        match self {
            Message::Binary(bytes) => channel.send_binary(bytes).await,
            // It was made of a text.
            Message::Text(bytes) => channel.send_text(&String::from_utf8_lossy(&bytes)).await,
        }
    }

    /// What came as a text, unless it is a word.
    pub(super) fn parse(text: &str) -> Option<Incoming> {
        if let Some(text) = text.strip_prefix(TEXT) {
            return Some(Incoming::Text(text.to_owned()));
        }
        let data = text.strip_prefix(LIKE_KEEP_ALIVE)?;
        Some(Incoming::Binary(Bytes::copy_from_slice(data.as_bytes())))
    }
}

fn signed(sign: char, rest: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(sign.len_utf8() + rest.len());
    bytes.push(sign as u8);
    bytes.extend(rest);
    Message::Text(bytes.into())
}
