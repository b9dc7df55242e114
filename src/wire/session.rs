//! The session string: what a client needs to reach one worker, in one word that can be pasted.
//!
//! `sleap-session:` and the URL-safe base64 of `{"r": room, "t": token, "p": peer}` (protocol page, section 6). It is
//! written exactly as the original writes it, byte for byte, and read leniently.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
use serde_json::{Map, Value};

use super::{Hidden, MAX_ID_BYTES, json};

const PREFIX: &str = "sleap-session:";
/// The longest session string that is read, in bytes.
pub const MAX_SESSION_BYTES: usize = 8 * 1024;

/// Leads a client straight to one worker. `Display` writes the string, `FromStr` reads it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionString {
    /// The room.
    pub room_id: String,
    /// The room's token. Secret.
    pub token: String,
    /// The worker.
    pub peer_id: String,
}

/// Why a session string was not understood, and what to do about it. The string itself is secret and is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionStringError {
    /// The prefix is missing.
    #[error(
        "this is not a session string: it begins with `{PREFIX}`; copy the whole line that the worker printed"
    )]
    NoPrefix,
    /// It is longer than any session string is.
    #[error("this is not a session string: it is longer than {MAX_SESSION_BYTES} bytes")]
    TooLong,
    /// What follows the prefix is not base64.
    #[error(
        "the session string is damaged: it is not base64 after `{PREFIX}`; copy it again from the worker, whole and in one line"
    )]
    NotBase64,
    /// What the base64 holds is not a JSON object.
    #[error(
        "the session string is damaged or cut short: it does not hold a JSON object; copy it again from the worker, whole and in one line"
    )]
    NotAnObject,
    /// A part is missing, empty, too long, or has control characters in it.
    #[error("the session string has no usable {0}; ask the worker for a new one")]
    Unusable(&'static str),
}

impl fmt::Display for SessionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut json = String::new();
        for (opening, text) in [
            ("{\"r\": ", &self.room_id),
            (", \"t\": ", &self.token),
            (", \"p\": ", &self.peer_id),
        ] {
            json.push_str(opening);
            push_quoted(&mut json, text);
        }
        json.push('}');
        write!(f, "{PREFIX}{}", URL_SAFE.encode(json))
    }
}

/// Appends `text` as a JSON string in the way of Python's default encoder: ASCII only.
fn push_quoted(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            ' '..='~' => json.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    json.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    json.push('"');
}

impl FromStr for SessionString {
    type Err = SessionStringError;

    /// Reads a session string, padded or not, in the standard alphabet or the URL-safe one, with any spacing and
    /// further keys in the JSON, and blanks around it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > MAX_SESSION_BYTES {
            return Err(SessionStringError::TooLong);
        }
        let body = text
            .strip_prefix(PREFIX)
            .ok_or(SessionStringError::NoPrefix)?;
        let body = body
            .trim()
            .trim_end_matches('=')
            .replace('-', "+")
            .replace('_', "/");
        let bytes = STANDARD_NO_PAD
            .decode(body)
            .map_err(|_| SessionStringError::NotBase64)?;
        let json = std::str::from_utf8(&bytes).map_err(|_| SessionStringError::NotAnObject)?;
        let map = json::object(json).map_err(|_| SessionStringError::NotAnObject)?;
        Ok(Self {
            room_id: part(&map, "r", "room id")?,
            token: part(&map, "t", "room token")?,
            peer_id: part(&map, "p", "worker id")?,
        })
    }
}

fn part(
    map: &Map<String, Value>,
    key: &str,
    name: &'static str,
) -> Result<String, SessionStringError> {
    map.get(key)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty() && text.len() <= MAX_ID_BYTES)
        .filter(|text| !text.chars().any(char::is_control))
        .map(str::to_owned)
        .ok_or(SessionStringError::Unusable(name))
}

impl fmt::Debug for SessionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionString")
            .field("room_id", &self.room_id)
            .field("token", &Hidden)
            .field("peer_id", &self.peer_id)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    const VECTOR: &str =
        "sleap-session:eyJyIjogIjRmYWQ0ZTM5IiwgInQiOiAiZDNjYzQ2IiwgInAiOiAidy0xIn0=";

    fn session(room_id: &str, token: &str, peer_id: &str) -> SessionString {
        SessionString {
            room_id: room_id.into(),
            token: token.into(),
            peer_id: peer_id.into(),
        }
    }

    fn read(json: &str) -> Result<SessionString, SessionStringError> {
        format!("{PREFIX}{}", URL_SAFE.encode(json)).parse()
    }

    /// STATE-13, Generate session string: the string that the original writes, to the byte.
    #[test]
    fn the_vector_is_written_exactly() {
        assert_eq!(session("4fad4e39", "d3cc46", "w-1").to_string(), VECTOR);
    }

    /// STATE-13: what is not ASCII is escaped as Python escapes it. The expected text is the output of Python's
    /// `json.dumps` and `base64.urlsafe_b64encode`.
    #[test]
    fn text_beyond_ascii_is_escaped() {
        let odd = session("å☃", "\u{7f}\"\\\n😀", "w-1");
        let python = "eyJyIjogIlx1MDBlNVx1MjYwMyIsICJ0IjogIlx1MDA3ZlwiXFxcblx1ZDgzZFx1ZGUwMCIsICJwIjogInctMSJ9";
        assert_eq!(odd.to_string(), format!("{PREFIX}{python}"));
    }

    /// STATE-14, Use session string for client connection: the client finds the three parts again.
    #[test]
    fn the_vector_is_read() {
        let parts = session("4fad4e39", "d3cc46", "w-1");
        assert_eq!(VECTOR.parse(), Ok(parts.clone()));
        assert_eq!(VECTOR.trim_end_matches('=').parse(), Ok(parts.clone()));
        assert_eq!(format!("\t {VECTOR}\r\n").parse(), Ok(parts));
    }

    /// STATE-14: other writers of the same string are understood.
    #[test]
    fn other_spacing_alphabet_and_keys_are_read() {
        let expected = session("r?>", "t~~", "ü");
        for json in [
            r#"{"r":"r?>","t":"t~~","p":"ü"}"#,
            r#" { "p" : "\u00fc", "t": "t~~" , "x": [1], "r" : "r?>" } "#,
        ] {
            assert_eq!(read(json), Ok(expected.clone()), "{json}");
            for body in [STANDARD.encode(json), URL_SAFE_NO_PAD.encode(json)] {
                assert_eq!(format!("{PREFIX}{body}").parse(), Ok(expected.clone()));
            }
        }
        assert!(
            STANDARD
                .encode(r#"{"r":"r?>","t":"t~~"}"#)
                .contains(['+', '/'])
        );
    }

    /// STATE-14: a string that cannot be used says why.
    #[test]
    fn bad_strings_are_refused_with_a_reason() {
        use SessionStringError::*;
        let parse = |text: &str| text.parse::<SessionString>().unwrap_err();
        for text in [
            "",
            "hello",
            "session:eyJyIjog",
            "SLEAP-SESSION:eyJ9",
            &VECTOR[1..],
        ] {
            assert_eq!(parse(text), NoPrefix, "{text}");
        }
        assert!(
            NoPrefix
                .to_string()
                .starts_with("this is not a session string: it begins with `sleap-session:`")
        );
        assert_eq!(
            parse(&format!("{PREFIX}{}", "A".repeat(MAX_SESSION_BYTES))),
            TooLong
        );
        for body in ["???", "A", "eyJy IjogIjRm", "ey\nJy", "é", "eyJy=IjogIjRm"] {
            assert_eq!(parse(&format!("{PREFIX}{body}")), NotBase64, "{body}");
        }
        for body in ["", "====", "AAAA", "____", "eyJyIjogIjRmYWQ0ZTM5"] {
            assert_eq!(parse(&format!("{PREFIX}{body}")), NotAnObject, "{body}");
        }
        for json in ["[]", "null", "\"x\"", &"[".repeat(4000)] {
            assert_eq!(read(json), Err(NotAnObject), "{json}");
        }
        assert_eq!(read(r#"{"t":"t","p":"p"}"#), Err(Unusable("room id")));
        assert_eq!(
            read(r#"{"r":"r","t":null,"p":"p"}"#),
            Err(Unusable("room token"))
        );
        assert_eq!(
            read(r#"{"r":"r","t":"t","p":""}"#),
            Err(Unusable("worker id"))
        );
        assert_eq!(
            read(r#"{"r":"r","t":"t","p":7}"#),
            Err(Unusable("worker id"))
        );
        assert_eq!(
            read(r#"{"r":"r\u0000","t":"t","p":"p"}"#),
            Err(Unusable("room id"))
        );
        let long = format!(
            r#"{{"r":"r","t":"t","p":"{}"}}"#,
            "p".repeat(MAX_ID_BYTES + 1)
        );
        assert_eq!(read(&long), Err(Unusable("worker id")));
    }

    #[test]
    fn the_token_does_not_show_in_debug_output() {
        assert!(!format!("{:?}", session("r", "s3cret", "p")).contains("s3cret"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            room in "[^\\p{Cc}]{1,20}", token in "[^\\p{Cc}]{1,20}", peer in "[^\\p{Cc}]{1,20}",
        ) {
            let session = session(&room, &token, &peer);
            let text = session.to_string();
            prop_assert!(text.is_ascii());
            prop_assert_eq!(text.len() % 4, PREFIX.len() % 4);
            prop_assert_eq!(text.parse(), Ok(session));
        }

        /// The longest parts that may be written still fit what is read.
        #[test]
        fn long_parts_are_read(c in any::<char>()) {
            prop_assume!(!c.is_control());
            let part = c.to_string().repeat(MAX_ID_BYTES / c.len_utf8());
            let session = session(&part, &part, &part);
            prop_assert_eq!(session.to_string().parse(), Ok(session));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let _ = text.parse::<SessionString>();
            let _ = format!("{PREFIX}{text}").parse::<SessionString>();
            let _ = format!("{PREFIX}{}", URL_SAFE.encode(bytes)).parse::<SessionString>();
        }
    }
}
