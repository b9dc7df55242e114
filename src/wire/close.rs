//! Why a socket is closed: every code that the hub sends, and whether the peer is to come back.
//!
//! The codes from 4000 to 4999 are for private use (RFC 6455, section 7.4.2). Those of Loaner keep the pattern of HTTP's
//! status codes; whether to reconnect is a property of each, and the text beside it says what to do first.

use std::time::Duration;

use strum::EnumMessage as _;

/// What a peer should do after a close.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, strum::EnumIter, strum::AsRefStr, strum::EnumMessage,
)]
#[strum(serialize_all = "snake_case")]
pub enum Return {
    /// Nothing went wrong; come back whenever there is a reason to.
    AsYouLike,
    /// Come back at once, or after a short random pause.
    Soon,
    /// Come back after a pause that grows from attempt to attempt.
    Later,
    /// Come back with a new token, not with the old one.
    WithNewToken,
    /// Do not come back: the same would happen again.
    Never,
}

impl Return {
    /// What it means, in a sentence.
    pub fn about(self) -> &'static str {
        self.get_documentation().unwrap_or_default()
    }
}

/// Why the hub closes a socket. The text of a close frame is [`CloseCode::reason`].
///
/// Some numbers stand for several reasons: the signalling dialect keeps the codes that its peers have always seen. A peer
/// decides by the number, so all reasons of one number ask the same of it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::EnumIter,
    strum::AsRefStr,
    strum::EnumMessage,
)]
#[strum(serialize_all = "snake_case")]
pub enum CloseCode {
    /// 1000: The peer said goodbye.
    Normal,
    /// 1000: Nobody registered on the socket in time (signalling dialect), or the device was not attached in time.
    NotRegistered,
    /// 1001: The hub stops (signalling dialect).
    HubStops,
    /// 1002: What came was not WebSocket.
    ProtocolError,
    /// 1007: A text message was not UTF-8.
    NotText,
    /// 1008: The peer went on sending what makes no sense.
    Rubbish,
    /// 1009: A message was larger than the limit.
    MessageTooLarge,
    /// 1011: The hub failed; the peer did nothing wrong.
    InternalError,
    /// 1011: The peer did not answer the ping (signalling dialect).
    PingTimeoutClassic,
    /// 1011: The peer does not read what it is sent (signalling dialect).
    SlowReaderClassic,
    /// 4000: The hub drains, for an update say.
    GoingAway,
    /// 4401: The token is not valid (only where a refused handshake was asked to be told this way).
    TokenInvalid,
    /// 4402: The token has expired.
    TokenExpired,
    /// 4403: The peer may not do this.
    Forbidden,
    /// 4408: The peer did not answer the ping.
    PingTimeout,
    /// 4409: A newer connection of the same device, or peer, has taken its place.
    Replaced,
    /// 4413: The peer does not read what it is sent.
    SlowReader,
    /// 4428: The user has more connections than one may have, and this was the oldest.
    ConnectionLimit,
    /// 4429: The peer sends faster than it may, and did not slow down when told.
    RateLimited,
}

impl CloseCode {
    /// The number on the wire.
    pub const fn code(self) -> u16 {
        match self {
            CloseCode::Normal | CloseCode::NotRegistered => 1000,
            CloseCode::HubStops => 1001,
            CloseCode::ProtocolError => 1002,
            CloseCode::NotText => 1007,
            CloseCode::Rubbish => 1008,
            CloseCode::MessageTooLarge => 1009,
            CloseCode::InternalError
            | CloseCode::PingTimeoutClassic
            | CloseCode::SlowReaderClassic => 1011,
            CloseCode::GoingAway => 4000,
            CloseCode::TokenInvalid => 4401,
            CloseCode::TokenExpired => 4402,
            CloseCode::Forbidden => 4403,
            CloseCode::PingTimeout => 4408,
            CloseCode::Replaced => 4409,
            CloseCode::SlowReader => 4413,
            CloseCode::ConnectionLimit => 4428,
            CloseCode::RateLimited => 4429,
        }
    }

    /// The text of the close frame: a few words, at most 123 bytes.
    pub const fn reason(self) -> &'static str {
        match self {
            CloseCode::Normal => "",
            CloseCode::NotRegistered => "not registered",
            CloseCode::HubStops => "hub stops",
            CloseCode::ProtocolError => "protocol error",
            CloseCode::NotText => "text is not UTF-8",
            CloseCode::Rubbish => "too many messages that make no sense",
            CloseCode::MessageTooLarge => "message too large",
            CloseCode::InternalError => "the hub failed",
            CloseCode::PingTimeoutClassic => "keepalive ping timeout",
            CloseCode::SlowReaderClassic => "reads too slowly",
            CloseCode::GoingAway => "hub stops; come back",
            CloseCode::TokenInvalid => "token invalid",
            CloseCode::TokenExpired => "token expired",
            CloseCode::Forbidden => "forbidden",
            CloseCode::PingTimeout => "ping timeout",
            CloseCode::Replaced => "replaced",
            CloseCode::SlowReader => "reads too slowly",
            CloseCode::ConnectionLimit => "connection limit",
            CloseCode::RateLimited => "sends too fast",
        }
    }

    /// What it means, in a sentence.
    pub fn about(self) -> &'static str {
        let text = self.get_documentation().unwrap_or_default();
        text.split_once(": ").map_or(text, |(_, meaning)| meaning)
    }

    /// Whether, and how, the peer should come back: the same for all reasons of one number.
    pub const fn comeback(self) -> Return {
        match self {
            CloseCode::Normal | CloseCode::NotRegistered => Return::AsYouLike,
            CloseCode::HubStops | CloseCode::GoingAway | CloseCode::PingTimeout => Return::Soon,
            // A hub that fails would only fail again, and sooner, if all came back at once.
            CloseCode::InternalError
            | CloseCode::PingTimeoutClassic
            | CloseCode::SlowReaderClassic
            | CloseCode::SlowReader
            | CloseCode::ConnectionLimit
            | CloseCode::RateLimited => Return::Later,
            CloseCode::TokenExpired => Return::WithNewToken,
            CloseCode::ProtocolError
            | CloseCode::NotText
            | CloseCode::Rubbish
            | CloseCode::MessageTooLarge
            | CloseCode::TokenInvalid
            | CloseCode::Forbidden
            | CloseCode::Replaced => Return::Never,
        }
    }

    /// Whether the hub keeps what belongs to a device's connection for [`RESUME_TIME`], so that it can be resumed:
    /// unless the device is told to stay away.
    pub const fn is_resumable(self) -> bool {
        !matches!(self.comeback(), Return::Never)
    }
}

/// How long a connection that ended can be resumed: its receipts are kept, and its device keeps its place.
pub const RESUME_TIME: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{HashMap, HashSet};

    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        for code in CloseCode::iter() {
            // A control frame has 125 bytes, of which two are the number (RFC 6455, section 5.5).
            assert!(code.reason().len() <= 123, "{code:?}");
            assert!(!code.reason().chars().any(char::is_control), "{code:?}");
        }
    }

    #[test]
    fn every_number_may_be_sent() {
        for code in CloseCode::iter() {
            // RFC 6455, section 7.4: 1004 to 1006 and 1015 are never in a frame; 4000 to 4999 are ours to give away.
            let sent = matches!(code.code(), 1000..=1003 | 1007..=1014 | 4000..=4999);
            assert!(sent, "{code:?}");
        }
    }

    #[test]
    fn the_same_number_never_asks_for_two_different_things() {
        let mut asked = HashMap::new();
        for code in CloseCode::iter() {
            let known = asked.entry(code.code()).or_insert(code.comeback());
            assert_eq!(*known, code.comeback(), "{code:?}");
        }
    }

    #[test]
    fn a_number_of_our_own_and_its_name_stand_for_one_reason() {
        let (mut numbers, mut names) = (HashSet::new(), HashSet::new());
        for code in CloseCode::iter() {
            assert!(
                code.code() < 4000 || numbers.insert(code.code()),
                "{code:?}"
            );
            assert!(names.insert(code.as_ref().to_owned()), "{code:?}");
        }
    }

    #[test]
    fn every_code_and_every_return_says_what_it_means() {
        for code in CloseCode::iter() {
            let text = code.get_documentation().unwrap();
            let number = format!("{}: ", code.code());
            assert_eq!(text.strip_prefix(&number), Some(code.about()));
            assert!(code.about().ends_with('.'), "{code:?}");
        }
        assert!(Return::iter().all(|comeback| comeback.about().ends_with('.')));
    }

    #[test]
    fn nothing_is_kept_for_a_device_that_is_told_to_stay_away() {
        let kept = |code: CloseCode| code.is_resumable();
        assert!(
            [
                CloseCode::Normal,
                CloseCode::SlowReader,
                CloseCode::TokenExpired
            ]
            .map(kept)
                == [true; 3]
        );
        assert!(
            [
                CloseCode::Replaced,
                CloseCode::Forbidden,
                CloseCode::Rubbish
            ]
            .map(kept)
                == [false; 3]
        );
    }
}
