//! A token taken apart: header, claims, signature. Nothing in here is believed until the signature is checked.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};

use super::{Algorithm, TokenError};

/// The most bytes of a token.
pub const MAX_TOKEN: usize = 16 * 1024;

/// The most bytes of a user, a user's name, a device.
pub const MAX_NAME: usize = 256;

/// The longest that a token is said to last; what lasts longer is asked again after it.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "there")]
    crit: bool,
    #[serde(default, deserialize_with = "there")]
    b64: bool,
}

/// Whether a key is there, whatever its value, even null.
fn there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(value).map(|_| true)
}

/// What the header of a token says, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// How it claims to be signed.
    pub algorithm: Algorithm,
    /// With which key.
    pub kid: Option<String>,
}

/// What a token claims to be, without a look at its signature.
pub fn inspect(token: &str) -> Result<Inspected, TokenError> {
    Parts::of(token).map(|parts| parts.header)
}

/// A token in its three parts.
pub(super) struct Parts<'a> {
    pub(super) header: Inspected,
    /// Header and claims as they were signed.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
    claims: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a str) -> Result<Self, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid("it is longer than 16 KiB"));
        }
        let shape = TokenError::Invalid("it is no JWT");
        let (signed, signature) = token.rsplit_once('.').ok_or(shape)?;
        let (header, claims) = signed.split_once('.').ok_or(shape)?;
        if claims.contains('.') {
            return Err(shape);
        }
        let header: Header =
            json(header).ok_or(TokenError::Invalid("its header cannot be read"))?;
        // An extension that must be understood: none is. `b64` would change what is signed.
        if header.crit || header.b64 {
            return Err(TokenError::Invalid(
                "it asks for an extension (`crit`) that is not known here",
            ));
        }
        let algorithm = Algorithm::of_header(&header.alg)
            .ok_or(TokenError::Invalid("its algorithm is not accepted"))?;
        Ok(Parts {
            header: Inspected {
                algorithm,
                kid: header.kid,
            },
            signed,
            signature,
            claims,
        })
    }

    /// The claims. To be called when the signature was found right.
    pub(super) fn claims(&self) -> Result<Claims, TokenError> {
        json(self.claims).ok_or(TokenError::Invalid("its claims cannot be read"))
    }
}

fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The claims that matter. A known claim that stands there twice, or has the wrong type, spoils them all.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<Id>,
    user_id: Option<Id>,
    device_id: Option<Id>,
    #[serde(rename = "cognito:username")]
    username: Option<String>,
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
}

/// A name as a string or an integer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Natural(u64),
    Integer(i64),
}

impl Id {
    fn name(self) -> Result<String, TokenError> {
        let name = match self {
            Id::Text(text) => text,
            Id::Natural(number) => number.to_string(),
            Id::Integer(number) => number.to_string(),
        };
        if !is_name(&name) {
            return Err(TokenError::Invalid(
                "its user or device is not 1 to 256 bytes without control characters",
            ));
        }
        Ok(name)
    }
}

/// Whether a text can be a user or a device.
pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What the claims are measured by.
pub(super) struct Rules<'a> {
    pub(super) issuers: &'a [String],
    pub(super) audiences: &'a [String],
    pub(super) require_nbf: bool,
    pub(super) leeway: Duration,
    /// Seconds since 1970.
    pub(super) now: f64,
}

/// Who the claims say it is.
pub(super) struct Subject {
    pub(super) user: String,
    pub(super) device: Option<String>,
    pub(super) username: String,
    pub(super) expires_in: Duration,
}

impl Claims {
    /// Measures them. The times come last, so that only a token that is right otherwise counts as expired.
    pub(super) fn check(self, rules: &Rules<'_>) -> Result<Subject, TokenError> {
        let issuer = self.iss.ok_or(TokenError::Invalid("it has no `iss`"))?;
        if !rules.issuers.contains(&issuer) {
            return Err(TokenError::Invalid("its issuer (`iss`) is not accepted"));
        }
        let heard = |audience: &String| rules.audiences.contains(audience);
        let for_us = match self.aud {
            None => return Err(TokenError::Invalid("it has no `aud`")),
            Some(Audience::One(audience)) => heard(&audience),
            Some(Audience::Many(audiences)) => audiences.iter().any(heard),
        };
        if !for_us {
            return Err(TokenError::Invalid("it is meant for others (`aud`)"));
        }
        let user = self
            .sub
            .or(self.user_id)
            .ok_or(TokenError::Invalid("it has no `sub`"))?
            .name()?;
        let device = self.device_id.map(Id::name).transpose()?;
        let username = match self.username {
            Some(username) => Id::Text(username).name()?,
            None => user.clone(),
        };

        let leeway = rules.leeway.as_secs_f64();
        let exp = self.exp.ok_or(TokenError::Invalid("it has no `exp`"))?;
        if rules.require_nbf && self.nbf.is_none() {
            return Err(TokenError::Invalid("it has no `nbf`"));
        }
        let left = exp + leeway - rules.now;
        if left <= 0.0 {
            return Err(TokenError::Expired);
        }
        if self.nbf.is_some_and(|nbf| nbf > rules.now + leeway) {
            return Err(TokenError::NotYet);
        }
        Ok(Subject {
            user,
            device,
            username,
            expires_in: Duration::try_from_secs_f64(left).map_or(LONGEST, |left| left.min(LONGEST)),
        })
    }
}
