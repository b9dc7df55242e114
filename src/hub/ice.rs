//! The STUN and TURN servers that peers are told of, and the credentials that they get for the latter.
//!
//! A TURN credential is made for one peer and one stretch of time: the user name is `<expiry>:<peer>`, in seconds since
//! 1970, the password `base64(HMAC-SHA1(secret, user name))`. Hub and TURN server share the secret, and nothing else
//! (coturn: `use-auth-secret` and `static-auth-secret`). Peers never see it.
//!
//! The server looks at the expiry when a relay is allocated. coturn keeps the key that it has found for as long as the
//! allocation lives, so that a job may outlast the credential that its connection was made with; only a new connection
//! needs a new one. Workers therefore register anew when half of the time is over.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::wire::{IceUrl, IceUrlError};

/// Characters of a peer's id that go into its TURN user name. Real ones are UUIDs.
const PEER_CHARS: usize = 64;

/// A text that must not be seen, such as a password. It has no `Display`, and its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How peers show a TURN server that they may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnAuth {
    /// By credentials that the hub makes for each peer.
    Shared {
        /// What the hub and the TURN server share.
        secret: Secret,
        /// How long a relay can be allocated with a credential. An allocation may last longer.
        lifetime: Duration,
    },
    /// By the same user name and password for all.
    Fixed {
        /// The user name.
        username: String,
        /// The password.
        credential: Secret,
    },
}

/// A TURN server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnServer {
    /// Its addresses: `turn:HOST:PORT`, or the same with `?transport=tcp`, or `turns:`.
    pub urls: Vec<String>,
    /// How it is used.
    pub auth: TurnAuth,
}

impl TurnServer {
    /// The default of [`TurnAuth::Shared`]'s `lifetime`: a working day's worth, so that a worker whose hub is away for
    /// a night can still be reached.
    pub const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
}

/// The STUN and TURN servers that peers are told of. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceConfig {
    /// Addresses of STUN servers, `stun:HOST:PORT`.
    pub stun: Vec<String>,
    /// The TURN servers.
    pub turn: Vec<TurnServer>,
}

/// What is wrong with an [`IceConfig`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IceConfigError {
    /// An address cannot be read.
    #[error("{url:?} is no address of a STUN or TURN server: {source}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        source: IceUrlError,
    },
    /// A TURN server among the STUN servers.
    #[error(
        "{0:?} is a TURN server, which takes credentials: give it as a TURN server (--turn-server)"
    )]
    TurnAsStun(String),
    /// A STUN server among the TURN servers.
    #[error(
        "{0:?} is a STUN server, which takes no credentials: give it as a STUN server (--ice-server)"
    )]
    StunAsTurn(String),
    /// A TURN server with an empty secret, user name or password.
    #[error("the secret of the TURN server is empty")]
    EmptySecret,
}

impl IceConfig {
    /// Whether peers can make use of it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), IceConfigError> {
        for url in &self.stun {
            if parse(url)?.is_turn() {
                return Err(IceConfigError::TurnAsStun(url.clone()));
            }
        }
        for server in &self.turn {
            for url in &server.urls {
                if !parse(url)?.is_turn() {
                    return Err(IceConfigError::StunAsTurn(url.clone()));
                }
            }
            let empty = match &server.auth {
                TurnAuth::Shared { secret, .. } => secret.0.is_empty(),
                TurnAuth::Fixed {
                    username,
                    credential,
                } => username.is_empty() || credential.0.is_empty(),
            };
            if empty {
                return Err(IceConfigError::EmptySecret);
            }
        }
        Ok(())
    }

    /// The `ice_servers` of a peer's `registered_auth`: objects with `urls` and, for a TURN server, `username` and
    /// `credential`. `now_epoch` is in seconds since 1970.
    pub fn for_peer(&self, peer_id: &str, now_epoch: u64) -> Vec<Value> {
        let stun = self.stun.iter().map(|url| json!({ "urls": [url] }));
        let turn = self.turn.iter().map(|server| {
            let (username, credential) = match &server.auth {
                TurnAuth::Shared { secret, lifetime } => {
                    let username = username(peer_id, now_epoch.saturating_add(lifetime.as_secs()));
                    let credential = credential(secret, &username);
                    (username, credential)
                }
                TurnAuth::Fixed {
                    username,
                    credential,
                } => (username.clone(), credential.0.clone()),
            };
            json!({ "urls": server.urls, "username": username, "credential": credential })
        });
        stun.chain(turn).collect()
    }
}

fn parse(url: &str) -> Result<IceUrl, IceConfigError> {
    url.parse().map_err(|source| IceConfigError::Url {
        url: url.to_owned(),
        source,
    })
}

/// The peer's part is for the TURN server's log: whatever a peer calls itself, it stays one word without separators.
fn username(peer_id: &str, expiry: u64) -> String {
    let peer: String = peer_id
        .chars()
        .take(PEER_CHARS)
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
            _ => '_',
        })
        .collect();
    format!("{expiry}:{peer}")
}

fn credential(secret: &Secret, username: &str) -> String {
    // HMAC takes keys of any length; the empty text stands for a failure that cannot be.
    Hmac::<Sha1>::new_from_slice(secret.0.as_bytes())
        .map(|mut mac| {
            mac.update(username.as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        })
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "ice_tests.rs"]
mod tests;
