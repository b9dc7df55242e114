//! Addresses of STUN and TURN servers (RFC 7064, RFC 7065).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bytes of an address, at most. A DNS name has at most 253.
const MAX_BYTES: usize = 300;

/// What a server is asked for, and whether over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceScheme {
    /// `stun:`, which tells a peer its own address.
    Stun,
    /// `stuns:`, the same over TLS.
    Stuns,
    /// `turn:`, which relays.
    Turn,
    /// `turns:`, the same over TLS.
    Turns,
}

/// How a TURN server is reached. What it relays is UDP in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceTransport {
    /// Datagrams; DTLS with [`IceScheme::Turns`].
    Udp,
    /// A stream; TLS with [`IceScheme::Turns`].
    Tcp,
}

/// The address of a STUN or TURN server: `stun:HOST[:PORT]` or `turn:HOST[:PORT][?transport=udp|tcp]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceUrl {
    /// The kind of server.
    pub scheme: IceScheme,
    /// A DNS name, or an IP address without brackets.
    pub host: String,
    /// The port; where none is given, 3478, or 5349 over TLS.
    pub port: u16,
    /// The transport; where none is given, UDP, or TCP over TLS.
    pub transport: IceTransport,
}

/// Why a text is no address of a STUN or TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IceUrlError {
    /// It begins with none of the four schemes.
    #[error(
        "a STUN or TURN server is written stun:HOST:PORT or turn:HOST:PORT, without slashes, such as turn:turn.example:3478"
    )]
    Scheme,
    /// The host is missing or is neither a name nor an address.
    #[error("HOST must be a DNS name or an IP address (IPv6 in brackets: turn:[2001:db8::1]:3478)")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("PORT must be a number from 1 to 65535, or left out")]
    Port,
    /// What follows the `?` is not a transport, or the scheme takes none.
    #[error("after the port, only a TURN server may have ?transport=udp or ?transport=tcp")]
    Query,
    /// It is longer than any real one.
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
}

impl IceUrl {
    /// Whether it is a TURN server, which wants credentials.
    pub fn is_turn(&self) -> bool {
        matches!(self.scheme, IceScheme::Turn | IceScheme::Turns)
    }

    /// Whether it is reached over TLS or DTLS.
    pub fn is_secure(&self) -> bool {
        matches!(self.scheme, IceScheme::Stuns | IceScheme::Turns)
    }
}

impl FromStr for IceUrl {
    type Err = IceUrlError;

    fn from_str(text: &str) -> Result<Self, IceUrlError> {
        if text.len() > MAX_BYTES {
            return Err(IceUrlError::TooLong);
        }
        let (scheme, rest) = text.split_once(':').ok_or(IceUrlError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "stun" => IceScheme::Stun,
            "stuns" => IceScheme::Stuns,
            "turn" => IceScheme::Turn,
            "turns" => IceScheme::Turns,
            _ => return Err(IceUrlError::Scheme),
        };
        if rest.starts_with('/') {
            return Err(IceUrlError::Scheme);
        }
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let (host, port) = place_of(place)?;
        let secure = matches!(scheme, IceScheme::Stuns | IceScheme::Turns);
        let turn = matches!(scheme, IceScheme::Turn | IceScheme::Turns);
        let transport = match query {
            None if secure => IceTransport::Tcp,
            None => IceTransport::Udp,
            Some("transport=udp") if turn => IceTransport::Udp,
            Some("transport=tcp") if turn => IceTransport::Tcp,
            Some(_) => return Err(IceUrlError::Query),
        };
        Ok(IceUrl {
            scheme,
            host: host.to_owned(),
            port: port.unwrap_or(if secure { 5349 } else { 3478 }),
            transport,
        })
    }
}

/// Host, without brackets, and port of `HOST[:PORT]`.
fn place_of(place: &str) -> Result<(&str, Option<u16>), IceUrlError> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(IceUrlError::Host)?;
        host.parse::<Ipv6Addr>().map_err(|_| IceUrlError::Host)?;
        match rest {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':').ok_or(IceUrlError::Port)?)),
        }
    } else {
        let (host, port) = match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        };
        if !is_name(host) {
            return Err(IceUrlError::Host);
        }
        (host, port)
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => return Err(IceUrlError::Port),
            Ok(port) => Some(port),
        },
        Some(_) => return Err(IceUrlError::Port),
    };
    Ok((host, port))
}

/// Whether it is an IPv4 address or could be a DNS name. A name of digits and dots alone is a mistyped address.
fn is_name(host: &str) -> bool {
    if host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            IceScheme::Stun => "stun",
            IceScheme::Stuns => "stuns",
            IceScheme::Turn => "turn",
            IceScheme::Turns => "turns",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}:[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{scheme}:{}:{}", self.host, self.port)?;
        }
        match self.transport {
            _ if !self.is_turn() => Ok(()),
            IceTransport::Udp => f.write_str("?transport=udp"),
            IceTransport::Tcp => f.write_str("?transport=tcp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_with_their_defaults() {
        for (text, expected) in [
            ("stun:stun.example", "stun:stun.example:3478"),
            ("STUN:192.0.2.1:19302", "stun:192.0.2.1:19302"),
            ("stuns:stun.example", "stuns:stun.example:5349"),
            ("turn:h", "turn:h:3478?transport=udp"),
            ("turn:h:80?transport=tcp", "turn:h:80?transport=tcp"),
            ("turns:h", "turns:h:5349?transport=tcp"),
            ("turns:h?transport=udp", "turns:h:5349?transport=udp"),
            ("turn:[2001:db8::1]:7", "turn:[2001:db8::1]:7?transport=udp"),
            ("turn:[::1]", "turn:[::1]:3478?transport=udp"),
        ] {
            let url = text.parse::<IceUrl>().map(|url| url.to_string());
            assert_eq!(url.as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_its_part() {
        use IceUrlError::*;
        let long = format!("turn:{}", "a.".repeat(200));
        for (text, expected) in [
            ("", Scheme),
            ("turn.example:3478", Scheme),
            ("http://turn.example", Scheme),
            ("turn://turn.example", Scheme),
            ("turn:", Host),
            ("turn::3478", Host),
            ("turn:user@turn.example", Host),
            ("turn:1.2.3", Host),
            ("turn:a..b", Host),
            ("turn:[1.2.3.4]", Host),
            ("turn:[::1", Host),
            ("turn:h:", Port),
            ("turn:h:0", Port),
            ("turn:h:65536", Port),
            ("turn:h:+7", Port),
            ("turn:[::1]7", Port),
            ("turn:h?transport=sctp", Query),
            ("turn:h?", Query),
            ("stun:h?transport=udp", Query),
            (&long, TooLong),
        ] {
            assert_eq!(text.parse::<IceUrl>(), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_read_again(text in "(stun|turn)s?:\\[?[a-z0-9.:\\]?=-]{0,20}|\\PC{0,40}") {
            if let Ok(url) = text.parse::<IceUrl>() {
                prop_assert_eq!(url.to_string().parse::<IceUrl>(), Ok(url));
            }
        }
    }
}
