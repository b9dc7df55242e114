//! Tokens: who somebody is, by a JWT of the hub's own or of an issuer that it was told to trust.
//!
//! * [`AuthConfig`] says whose tokens are accepted, [`Verifier`] checks them and issues the hub's own.
//! * `token` takes a token apart and measures its claims, `keys` checks signatures, `jwks` fetches published keys.
//! * `request` finds the token of a request, and writes requests down without it.

mod config;
mod error;
mod jwks;
mod keys;
mod request;
mod token;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

pub use config::{Algorithm, AuthConfig, AuthConfigError, Jwks, KeySource, Secret};
pub use error::{IssueError, TokenError};
pub use request::{token_of, without_secrets};
pub use token::{Inspected, MAX_NAME, MAX_TOKEN, inspect};

use jwks::Remote;
use keys::Key;
use token::{Parts, Rules, Subject};

/// The key id, the issuer and the audience of the hub's own id tokens.
const OWN_NAME: &str = "loaner";

/// The audience of refresh tokens. It is another, so that neither kind passes for the other.
const REFRESH_AUDIENCE: &str = "loaner-refresh";

/// How long a refresh token is good.
const REFRESH_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How many keys are tried for a token that does not say which one.
const MAX_TRIES: usize = 8;

/// Who somebody is, by a token that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user: `sub`, else `user_id`; 1 to 256 bytes without control characters.
    pub user: String,
    /// The device, bounded likewise: `device_id`, an integer in decimal digits. See [`Identity::require_device`].
    pub device: Option<String>,
    /// What the user is called: `cognito:username`, else the user; bounded likewise.
    pub username: String,
    /// How long the token will still be accepted, leeway included; more than 0, at most a year.
    pub expires_in: Duration,
    /// Whether it is one of the hub's own.
    pub own: bool,
}

impl Identity {
    /// The device, or the error for those who have to have one.
    pub fn require_device(&self) -> Result<&str, TokenError> {
        self.device.as_deref().ok_or(TokenError::NoDevice)
    }
}

/// Checks tokens, and issues the hub's own. To be shared in an `Arc`.
///
/// The hub's own are always accepted: HS256 under the hub's secret, with the key id `loaner`. A token of others needs an
/// allowed algorithm, a signature by a key for that algorithm, an accepted `iss` and `aud`, and an `exp` to come. A
/// `kid` that is known decides the key; otherwise those without an id, or for a token without a `kid` all, are tried,
/// 8 at most.
pub struct Verifier {
    config: AuthConfig,
    own: Key,
    signing: EncodingKey,
    keys: Vec<Key>,
    remote: Option<Arc<Remote>>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Why a token was not accepted.
enum Refusal {
    /// For good.
    Final(TokenError),
    /// No key at hand made it; one that is fetched may have.
    Unknown,
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Refusal::Final(error)
    }
}

impl Verifier {
    /// Reads the keys of `config`; `secret` is that of the hub's own tokens.
    pub fn new(mut config: AuthConfig, secret: &[u8; 32]) -> Result<Self, AuthConfigError> {
        config.check()?;
        let mut taken = HashSet::from([OWN_NAME.to_owned()]);
        let mut keys = Vec::new();
        for (index, source) in std::mem::take(&mut config.keys).iter().enumerate() {
            let number = index + 1;
            let key = Key::configured(source)
                .map_err(|reason| AuthConfigError::Key { number, reason })?;
            if !config.algorithms.contains(&key.algorithm) {
                let reason = "its algorithm is not among those that are allowed; allow it";
                return Err(AuthConfigError::Key { number, reason });
            }
            if let Some(kid) = &key.kid
                && !taken.insert(kid.clone())
            {
                return Err(AuthConfigError::SameKid(kid.clone()));
            }
            keys.push(key);
        }
        let own = Key::own(secret, OWN_NAME);
        let remote = config
            .jwks
            .clone()
            .map(|jwks| Arc::new(Remote::new(jwks, taken)));
        Ok(Verifier {
            config,
            own,
            signing: EncodingKey::from_secret(secret),
            keys,
            remote,
        })
    }

    /// Checks an id token with the keys at hand. Where keys are fetched, use [`Verifier::verify_fetching`].
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.verify_at(token, now())
    }

    fn verify_at(&self, token: &str, now: Duration) -> Result<Identity, TokenError> {
        let token = Parts::of(token)?;
        self.judge(&token, now)
            .map_err(|refusal| self.last_word(refusal))
    }

    /// Checks an id token, and fetches the published keys first if they are old, or if none at hand made the token.
    /// It takes no longer than [`Jwks::timeout`] twice. It must run in an actix system: the fetch is a task of its
    /// arbiter.
    pub async fn verify_fetching(&self, token: &str) -> Result<Identity, TokenError> {
        let token = Parts::of(token)?;
        // Neither the hub's own tokens nor what is never accepted are worth a request to others.
        if let Some(remote) = &self.remote
            && !self.is_own(&token)
            && self.allows(&token)
        {
            remote.freshen().await;
            if matches!(self.judge(&token, now()), Err(Refusal::Unknown)) {
                remote.fetch().await;
            }
        }
        self.judge(&token, now())
            .map_err(|refusal| self.last_word(refusal))
    }

    /// Fetches the published keys if they are old, so that the first who comes need not wait. Whether there are any
    /// now, or are none to be fetched. It must run in an actix system.
    pub async fn prefetch(&self) -> bool {
        if let Some(remote) = &self.remote {
            remote.freshen().await;
        }
        self.has_keys()
    }

    /// Whether the published keys were fetched once, or are none to be fetched.
    pub fn has_keys(&self) -> bool {
        self.remote.as_ref().is_none_or(|remote| remote.loaded())
    }

    fn last_word(&self, refusal: Refusal) -> TokenError {
        match refusal {
            Refusal::Final(error) => error,
            Refusal::Unknown if !self.has_keys() => TokenError::KeysUnavailable,
            Refusal::Unknown => TokenError::Invalid("it is not signed with a key that is known"),
        }
    }

    fn is_own(&self, token: &Parts<'_>) -> bool {
        token.header.kid.as_deref() == Some(OWN_NAME)
    }

    fn allows(&self, token: &Parts<'_>) -> bool {
        self.config.algorithms.contains(&token.header.algorithm)
    }

    /// The one place where an id token is found good or not.
    fn judge(&self, token: &Parts<'_>, now: Duration) -> Result<Identity, Refusal> {
        let own = self.is_own(token);
        let subject = if own {
            self.own_subject(token, OWN_NAME, now)?
        } else {
            self.check_signature(token)?;
            token.claims()?.check(&Rules {
                issuers: &self.config.issuers,
                audiences: &self.config.audiences,
                require_nbf: self.config.require_nbf,
                leeway: self.config.leeway,
                now: now.as_secs_f64(),
            })?
        };
        let derived = || self.config.device_from_user.then(|| subject.user.clone());
        Ok(Identity {
            device: subject.device.clone().or_else(derived),
            user: subject.user,
            username: subject.username,
            expires_in: subject.expires_in,
            own,
        })
    }

    fn own_subject(
        &self,
        token: &Parts<'_>,
        audience: &str,
        now: Duration,
    ) -> Result<Subject, TokenError> {
        if !self.is_own(token) || !self.own.signed(token) {
            return Err(TokenError::Invalid("it is not signed by this hub"));
        }
        token.claims()?.check(&Rules {
            issuers: &[OWN_NAME.to_owned()],
            audiences: &[audience.to_owned()],
            require_nbf: false,
            leeway: self.config.leeway,
            now: now.as_secs_f64(),
        })
    }

    /// Whether a key of others signed the token.
    fn check_signature(&self, token: &Parts<'_>) -> Result<(), Refusal> {
        if !self.allows(token) {
            return Err(TokenError::Invalid("its algorithm is not accepted").into());
        }
        let published = self.remote.as_ref().map(|remote| remote.keys());
        let all = || {
            self.keys
                .iter()
                .chain(published.iter().flat_map(|keys| keys.iter()))
        };
        let kid = token.header.kid.as_ref();
        if kid.is_some()
            && let Some(key) = all().find(|key| key.kid.as_ref() == kid)
        {
            return if key.signed(token) {
                Ok(())
            } else {
                Err(TokenError::Invalid("its signature is wrong").into())
            };
        }
        all()
            .filter(|key| key.algorithm == token.header.algorithm)
            .filter(|key| kid.is_none() || key.kid.is_none())
            .take(MAX_TRIES)
            .any(|key| key.signed(token))
            .then_some(())
            .ok_or(Refusal::Unknown)
    }

    /// An id token of the hub's own, good for [`AuthConfig::own_lifetime`]. Each of the names is 1 to 256 bytes
    /// without control characters.
    pub fn issue(
        &self,
        user: &str,
        username: &str,
        device: Option<&str>,
    ) -> Result<String, IssueError> {
        if !token::is_name(username) || !device.is_none_or(token::is_name) {
            return Err(IssueError::Name);
        }
        let lifetime = self.config.own_lifetime;
        self.sign(user, Some(username), device, OWN_NAME, lifetime)
    }

    /// A token with which `user` gets further id tokens, good for 365 days; it is no id token itself.
    pub fn issue_refresh(&self, user: &str) -> Result<String, IssueError> {
        self.sign(user, None, None, REFRESH_AUDIENCE, REFRESH_LIFETIME)
    }

    /// The user of a refresh token. An id token is none.
    pub fn verify_refresh(&self, token: &str) -> Result<String, TokenError> {
        let token = Parts::of(token)?;
        self.own_subject(&token, REFRESH_AUDIENCE, now())
            .map(|subject| subject.user)
    }

    fn sign(
        &self,
        user: &str,
        username: Option<&str>,
        device: Option<&str>,
        audience: &str,
        lifetime: Duration,
    ) -> Result<String, IssueError> {
        if !token::is_name(user) {
            return Err(IssueError::Name);
        }
        let mut header = Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some(OWN_NAME.to_owned());
        let claims = OwnClaims {
            sub: user,
            username,
            device_id: device,
            iat: now().as_secs(),
            exp: now().saturating_add(lifetime).as_secs(),
            iss: OWN_NAME,
            aud: audience,
        };
        encode(&header, &claims, &self.signing).map_err(|_| IssueError::Signing)
    }
}

#[derive(Serialize)]
struct OwnClaims<'a> {
    sub: &'a str,
    /// Where the original's peers, and anything else that reads Cognito tokens, look for the user's name.
    #[serde(rename = "cognito:username", skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    iat: u64,
    exp: u64,
    iss: &'a str,
    aud: &'a str,
}

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod claim_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod test_issuer;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
