//! Which tokens of others a hub accepts, and what is wrong with such a configuration.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use strum::{Display, EnumIter, EnumString, IntoStaticStr};
use url::Url;

/// A signature algorithm that can be allowed. Everything else, `none` above all, is refused whatever the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter, IntoStaticStr)]
#[strum(ascii_case_insensitive)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever can check a token can make one.
    HS256,
    /// RSA PKCS#1 v1.5 with SHA-256, keys of 2048 to 4096 bits.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// The algorithm that a token's header names. Unlike `FromStr`, which serves people, it asks for the exact
    /// letters.
    pub(super) fn of_header(name: &str) -> Option<Self> {
        let algorithm: Self = name.parse().ok()?;
        (<&str>::from(algorithm) == name).then_some(algorithm)
    }

    /// The same in the words of the library.
    pub(super) fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// Bytes that must not be seen: `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Wraps the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Secret(bytes.into())
    }

    /// The bytes, for the one who computes with them.
    pub(in crate::hub) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A key that is given in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A secret that is shared with the issuer, for HS256. At least 32 bytes.
    Secret {
        /// The secret itself.
        secret: Secret,
        /// Which tokens it is for; without one, any that name no other key.
        kid: Option<String>,
    },
    /// A public key as PEM text (`-----BEGIN PUBLIC KEY-----`).
    Pem {
        /// The text.
        pem: String,
        /// The one algorithm it is for; not HS256.
        algorithm: Algorithm,
        /// Which tokens it is for; without one, any that name no other key.
        kid: Option<String>,
    },
}

/// Where an issuer publishes its public keys as a JSON Web Key Set, and how often to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    /// The address, `http` or `https`, without a user or password. Redirects are not followed.
    pub url: Url,
    /// How old the keys may become before they are fetched again (10 min).
    pub refresh: Duration,
    /// Least time between two fetches, however many unknown keys are asked for (10 s).
    pub pause: Duration,
    /// How long one fetch may take, all in all (5 s). More than 0, at most 60 s.
    pub timeout: Duration,
}

impl Jwks {
    /// The longest [`Jwks::timeout`].
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

    /// A set at `url`, with the usual times.
    pub fn new(url: &str) -> Result<Self, AuthConfigError> {
        let url = Url::parse(url).map_err(|error| AuthConfigError::JwksUrl(error.to_string()))?;
        let jwks = Jwks {
            url,
            refresh: Duration::from_secs(10 * 60),
            pause: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
        };
        jwks.check()?;
        Ok(jwks)
    }

    fn check(&self) -> Result<(), AuthConfigError> {
        let wrong = |what: &str| Err(AuthConfigError::JwksUrl(what.to_owned()));
        if !matches!(self.url.scheme(), "http" | "https") || self.url.host().is_none() {
            return wrong("it is no http or https address");
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return wrong("it has a user or password in it");
        }
        if self.timeout.is_zero() || self.timeout > Self::MAX_TIMEOUT {
            return Err(AuthConfigError::JwksTimeout(self.timeout));
        }
        Ok(())
    }
}

/// Which tokens are accepted beside the hub's own, and how long its own are good.
/// [`AuthConfig::default`] accepts the hub's own and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// The algorithms that tokens of others may use.
    pub algorithms: Vec<Algorithm>,
    /// The keys of others that are known from the start, at most [`AuthConfig::MAX_KEYS`].
    pub keys: Vec<KeySource>,
    /// Where further keys are published.
    pub jwks: Option<Jwks>,
    /// Whose tokens are accepted: the claim `iss` must be one of these.
    pub issuers: Vec<String>,
    /// What the hub is called by them: the claim `aud` must be, or hold, one of these.
    pub audiences: Vec<String>,
    /// Whether tokens of others must have the claim `nbf`. Where it is there it is heeded in any case.
    pub require_nbf: bool,
    /// By how much the clocks may differ, for `exp` and `nbf`: 0 to 30 s (0).
    pub leeway: Duration,
    /// Whether a token without `device_id` counts as one of the device that is named like the user. Off: it has none,
    /// and is refused where a device is needed.
    pub device_from_user: bool,
    /// How long the hub's own id tokens are good: 1 s to 365 days (1 h).
    pub own_lifetime: Duration,
}

impl AuthConfig {
    /// How many keys can be configured, and how many a key set may hold.
    pub const MAX_KEYS: usize = 64;
    /// The greatest [`AuthConfig::leeway`].
    pub const MAX_LEEWAY: Duration = Duration::from_secs(30);
    /// The bounds of [`AuthConfig::own_lifetime`].
    pub const OWN_LIFETIMES: RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 60 * 60);
    /// The fewest bytes of a shared secret.
    pub const MIN_SECRET: usize = 32;

    /// Whether tokens of others are accepted at all.
    pub fn accepts_others(&self) -> bool {
        !self.keys.is_empty() || self.jwks.is_some()
    }

    /// What can be said without looking into the keys.
    pub(super) fn check(&self) -> Result<(), AuthConfigError> {
        if self.leeway > Self::MAX_LEEWAY {
            return Err(AuthConfigError::Leeway(self.leeway));
        }
        if !Self::OWN_LIFETIMES.contains(&self.own_lifetime) {
            return Err(AuthConfigError::Lifetime(self.own_lifetime));
        }
        if self.keys.len() > Self::MAX_KEYS {
            return Err(AuthConfigError::TooManyKeys(self.keys.len()));
        }
        if let Some(jwks) = &self.jwks {
            jwks.check()?;
        }
        if !self.accepts_others() {
            return Ok(());
        }
        if self.algorithms.is_empty() {
            return Err(AuthConfigError::NoAlgorithm);
        }
        if self.issuers.is_empty() || self.issuers.iter().any(String::is_empty) {
            return Err(AuthConfigError::NoIssuer);
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(AuthConfigError::NoAudience);
        }
        if self.issuers.iter().any(|issuer| issuer == super::OWN_NAME) {
            return Err(AuthConfigError::OwnIssuer);
        }
        Ok(())
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        AuthConfig {
            algorithms: Vec::new(),
            keys: Vec::new(),
            jwks: None,
            issuers: Vec::new(),
            audiences: Vec::new(),
            require_nbf: false,
            leeway: Duration::ZERO,
            device_from_user: false,
            own_lifetime: Duration::from_secs(60 * 60),
        }
    }
}

/// What is wrong with an [`AuthConfig`], and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthConfigError {
    /// Keys but no algorithm.
    #[error(
        "keys are given but no algorithm is allowed; allow those that the issuer uses: HS256, RS256, ES256 or EdDSA"
    )]
    NoAlgorithm,
    /// Keys but no issuer.
    #[error("keys are given but no issuer; name what the tokens have as `iss`, usually an address")]
    NoIssuer,
    /// Keys but no audience.
    #[error(
        "keys are given but no audience; name what the tokens have as `aud`, usually the client id at the issuer"
    )]
    NoAudience,
    /// An issuer with the name of the hub itself.
    #[error(
        "the issuer `loaner` is the hub itself; leave it out, its own tokens are always accepted"
    )]
    OwnIssuer,
    /// Too much leeway.
    #[error(
        "a leeway of {0:?} is too much; 30 s is the most, and clocks that differ by more want setting"
    )]
    Leeway(Duration),
    /// A lifetime out of bounds.
    #[error("the hub's own tokens cannot last {0:?}; give them 1 s to 365 days, such as an hour")]
    Lifetime(Duration),
    /// Too many keys.
    #[error(
        "{0} keys are too many; 64 is the most, and an issuer with more has a key set (JWKS) to point at"
    )]
    TooManyKeys(usize),
    /// An address that a key set cannot have; why.
    #[error(
        "this is no address for a key set (JWKS): {0}; it looks like https://issuer.example/.well-known/jwks.json"
    )]
    JwksUrl(String),
    /// A time-out that makes no sense.
    #[error(
        "a key set (JWKS) cannot be fetched in {0:?}; give it more than 0 and at most 60 s, such as 5 s"
    )]
    JwksTimeout(Duration),
    /// A key that cannot be used; which (counted from 1), and why.
    #[error("key {number} cannot be used: {reason}")]
    Key {
        /// Which one, counted from 1.
        number: usize,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// Two keys with one id, or one with the id of the hub's own.
    #[error(
        "the key id (kid) {0:?} is there twice, or is the hub's own; give each key an id of its own"
    )]
    SameKid(String),
}
