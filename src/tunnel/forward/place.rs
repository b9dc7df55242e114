//! Places that a tunnel leads to, and patterns of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::frame::MAX_HOST;

/// The name of the machine itself.
pub(super) const LOCALHOST: &str = "localhost";

/// A host, as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// The loopback addresses, 127.0.0.1 and ::1.
    Localhost,
    /// An address.
    Ip(IpAddr),
    /// A name, in small letters.
    Name(String),
}

impl Host {
    /// Reads a name or an address; an address of version 6 may stand in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Some(Host::Ip(ip.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let odd = |c: char| c.is_control() || c.is_whitespace() || "[]:/\\*\"'`,;@".contains(c);
        if name.is_empty() || name.len() > MAX_HOST || name.contains(odd) {
            return None;
        }
        Some(match name == LOCALHOST {
            true => Host::Localhost,
            false => Host::Name(name),
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Localhost => f.write_str(LOCALHOST),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// Whether an address is one that `localhost` stands for.
fn is_localhost(ip: IpAddr) -> bool {
    ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST
}

/// Places that are allowed: `127.0.0.1:8888`, `localhost:6006-6010`, `db.example:*`, `[::1]:22`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    host: Host,
    ports: RangeInclusive<u16>,
}

/// Splits at the last colon that is not of an address.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    // An address of version 6 without brackets has no port that could be told from it.
    (!host.contains(':') || host.ends_with(']')).then_some((host, port))
}

/// Reads a port, which is not 0.
fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| text.parse().ok()).flatten();
    port.filter(|port| *port != 0)
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "{text:?} {what}; a place is written as \"127.0.0.1:8888\", \"localhost:6006-6010\", \"db.example:*\" or \"[::1]:22\""
            )
        };
        let (host, ports) = split(&text).ok_or_else(|| wrong("has no host and port"))?;
        if host.contains('*') {
            return Err(wrong("would be any host: name each"));
        }
        let host = Host::parse(host).ok_or_else(|| wrong("has no host that can be"))?;
        let ports = match ports.split_once('-') {
            _ if ports == "*" => Some(1..=u16::MAX),
            None => port(ports).map(|port| port..=port),
            Some((first, last)) => port(first)
                .zip(port(last))
                .filter(|(first, last)| first <= last)
                .map(|(first, last)| first..=last),
        };
        let ports = ports.ok_or_else(|| wrong("has no port that can be (1 to 65535)"))?;
        Ok(Pattern { host, ports })
    }
}

impl Pattern {
    /// Whether it allows this address and port.
    pub(super) fn allows(&self, ip: IpAddr, port: u16) -> bool {
        let ip = ip.to_canonical();
        self.covers(port)
            && match &self.host {
                Host::Localhost => is_localhost(ip),
                Host::Ip(allowed) => *allowed == ip,
                Host::Name(_) => false,
            }
    }

    /// Whether it allows this name and port, wherever that is.
    pub(super) fn allows_name(&self, name: &str, port: u16) -> bool {
        self.covers(port) && matches!(&self.host, Host::Name(allowed) if allowed == name)
    }

    /// Whether it allows some address with this port.
    pub(super) fn allows_some_address(&self, port: u16) -> bool {
        self.covers(port) && !matches!(self.host, Host::Name(_))
    }

    fn covers(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }
}

/// One tunnel, as a user writes it: `8888`, `9000:8888`, `9000:HOST:8888`, or with 0 in the first place for any free port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The port here; 0 for any that is free.
    pub local: u16,
    /// The name or address at the worker, without brackets.
    pub host: String,
    /// The port there.
    pub port: u16,
}

/// What is not a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no tunnel; write PORT (as 8888), LOCAL:PORT (as 9000:8888) or LOCAL:HOST:PORT (as 9000:localhost:8888); \
     0 for LOCAL takes any free port"
)]
pub struct NoForward(String);

impl Forward {
    /// Whether a word could be meant for a tunnel, right or wrong: it begins with a port.
    pub fn is_meant(word: &str) -> bool {
        let first = word.split(':').next().unwrap_or_default();
        !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// The place at the worker.
    pub fn place(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Forward {
    type Err = NoForward;

    fn from_str(text: &str) -> Result<Self, NoForward> {
        let local = |text: &str| match text {
            "0" => Some(0),
            text => port(text),
        };
        let parsed = match text.split_once(':') {
            None => port(text).map(|port| (port, LOCALHOST.to_owned(), port)),
            Some((here, there)) => {
                let (host, remote) = match split(there) {
                    Some((host, remote)) => (Host::parse(host), remote),
                    None => (Some(Host::Localhost), there),
                };
                let host = host.map(|host| host.to_string());
                local(here)
                    .zip(host)
                    .zip(port(remote))
                    .map(|((local, host), port)| (local, host, port))
            }
        };
        let (local, host, port) = parsed.ok_or_else(|| NoForward(text.to_owned()))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Forward { local, host, port })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Result<Pattern, String> {
        Pattern::try_from(text.to_owned())
    }

    /// An address is compared as an address, however it is written; `localhost` is 127.0.0.1 and ::1, and a name is a name.
    #[test]
    fn what_a_pattern_allows() {
        for (text, address, port, allowed) in [
            ("127.0.0.1:8888", "127.0.0.1", 8888, true),
            ("127.0.0.1:8888", "::ffff:127.0.0.1", 8888, true),
            ("127.0.0.1:8888", "127.0.0.1", 8889, false),
            ("127.0.0.1:8888", "127.0.0.2", 8888, false),
            ("127.0.0.1:8888", "::1", 8888, false),
            ("127.0.0.1:8888", "0.0.0.0", 8888, false),
            ("localhost:6006-6010", "127.0.0.1", 6006, true),
            ("LocalHost.:6006-6010", "::1", 6010, true),
            ("localhost:6006-6010", "127.0.0.1", 6011, false),
            ("localhost:6006", "127.0.0.53", 6006, false),
            ("[::1]:22", "::1", 22, true),
            ("[0:0::1]:22", "::1", 22, true),
            ("10.0.0.5:*", "10.0.0.5", 1, true),
            ("db.example:*", "10.0.0.5", 1, false),
        ] {
            let allows = pattern(text)
                .unwrap()
                .allows(address.parse().unwrap(), port);
            assert_eq!(allows, allowed, "{text} {address} {port}");
        }
        let named = pattern("DB.example:5432").unwrap();
        assert!(named.allows_name("db.example", 5432));
        assert!(!named.allows_name("db.example", 5433) && !named.allows_name("example", 5432));
        assert!(!pattern("localhost:1").unwrap().allows_name("localhost", 1));
    }

    /// What is no pattern is refused, and the error shows how one is written.
    #[test]
    fn what_is_no_pattern() {
        for text in [
            "", "8888", "localhost", ":8888", "localhost:", "localhost:0", "localhost:65536",
            "localhost:2-1", "localhost:1-2-3", "localhost:+1", "*:22", "*.example:22", "::1:22",
            "[::1]", "a b:1", "[a]:1", "http://a:1", "localhost: 1",
        ] {
            let error = pattern(text).unwrap_err();
            assert!(error.contains("\"localhost:6006-6010\""), "{text}: {error}");
        }
    }

    /// Tunnels as people write them.
    #[test]
    fn tunnels_as_they_are_written() {
        let forward = |text: &str| text.parse::<Forward>();
        for (text, local, host, port, place) in [
            ("8888", 8888, "localhost", 8888, "localhost:8888"),
            ("9000:8888", 9000, "localhost", 8888, "localhost:8888"),
            ("0:8888", 0, "localhost", 8888, "localhost:8888"),
            ("2222:127.0.0.1:22", 2222, "127.0.0.1", 22, "127.0.0.1:22"),
            (
                "0:DB.example:5432", 0, "db.example", 5432, "db.example:5432",
            ),
            ("1:[::1]:22", 1, "::1", 22, "[::1]:22"),
        ] {
            let read = forward(text).unwrap();
            assert_eq!(
                (read.local, read.host.as_str(), read.port),
                (local, host, port),
                "{text}"
            );
            assert_eq!(read.place(), place);
        }
        for text in [
            "", "0", "a", "1:", ":1", "1:2:", "1::2", "70000", "1:70000", "0:0", "1:::1:22", "-1",
            "1:a b:2",
        ] {
            assert!(forward(text).is_err(), "{text}");
        }
        assert!(
            Forward::is_meant("70000") && Forward::is_meant("1:") && Forward::is_meant("0:a:b")
        );
        assert!(
            !Forward::is_meant("worker-1")
                && !Forward::is_meant("sleap-session:eyJ")
                && !Forward::is_meant("1a664962-6be3")
        );
    }

    proptest! {
        /// No text makes the readers panic.
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}", almost in "[0-9:*.\\[\\]a-]{0,20}") {
            for text in [text, almost] {
                let _ = pattern(&text);
                if let Ok(forward) = text.parse::<Forward>() {
                    prop_assert!(forward.port != 0 && Host::parse(&forward.host).is_some());
                }
            }
        }
    }
}
