//! What the two ends of a tube say to each other beside its messages: texts on the channel that carries them.

use serde::{Deserialize, Serialize};

/// The longest word, bytes.
const MAX_WORD: usize = 1024;

/// A word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tube", rename_all = "snake_case")]
pub enum Word {
    /// Initiator: a new tube, please.
    Begin,
    /// Responder: it is this one, and who knows the token may go on with it.
    Begun {
        /// Its id.
        id: String,
        /// The resume token.
        token: String,
    },
    /// Initiator: go on with a tube, on this connection from now on.
    Resume {
        /// Its id.
        id: String,
        /// The resume token.
        token: String,
        /// The generation of this connection.
        generation: u64,
        /// Messages of the responder's that are here.
        have: u64,
    },
    /// Responder: so be it.
    Resumed {
        /// Messages of the initiator's that are here.
        have: u64,
    },
    /// Responder: it is not known here, or not to be had with that token.
    Refused,
    /// Messages of the other side's that are here.
    Have {
        /// Of them.
        messages: u64,
    },
    /// Are you there?
    Ping {
        /// The generation of the connection.
        generation: u64,
    },
    /// Yes.
    Pong {
        /// The generation of the ping.
        generation: u64,
    },
    /// It is no longer needed.
    Close,
}

impl Word {
    /// As it is sent.
    pub fn to_text(&self) -> String {
        // Plain data: there is nothing in it that JSON does not have.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a text of the other side's; nothing for one that is no word, of a later version perhaps.
    pub fn parse(text: &str) -> Option<Word> {
        if text.len() > MAX_WORD {
            return None;
        }
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every word is read as it was written; texts that are none, or too long, are passed over.
    #[test]
    fn words_come_back_as_they_were_and_nothing_else_is_one() {
        let (id, token) = ("t".to_owned(), "0f".repeat(32));
        for word in [
            Word::Begin,
            Word::Begun {
                id: id.clone(),
                token: token.clone(),
            },
            Word::Resume {
                id,
                token,
                generation: 7,
                have: u64::MAX,
            },
            Word::Resumed { have: 0 },
            Word::Refused,
            Word::Have { messages: 9 },
            Word::Ping { generation: 1 },
            Word::Pong { generation: 1 },
            Word::Close,
        ] {
            assert_eq!(Word::parse(&word.to_text()), Some(word));
        }
        let long = format!(r#"{{"tube":"begin","x":"{}"}}"#, "x".repeat(MAX_WORD));
        for other in [
            "", "begin", "{}", r#"{"tube":"dance"}"#, r#"{"tube":"have","messages":-1}"#, &long,
        ] {
            assert_eq!(Word::parse(other), None, "{other}");
        }
    }
}
