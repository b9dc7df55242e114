//! Id tokens, room ids and room tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// The `iss` and `aud` of our own id tokens.
const ISSUER: &str = "loaner";

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    /// Where the original's peers, and anything else that reads Cognito tokens, look for the user's name.
    #[serde(rename = "cognito:username")]
    username: String,
    iat: u64,
    exp: u64,
    iss: String,
    aud: String,
}

/// Issues and checks id tokens: JWT, HS256, under a secret that is drawn when the hub starts and never leaves it. So a
/// restarted hub knows none of the tokens (nor rooms) of its predecessor, and peers sign in afresh.
pub(super) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    lifetime: Duration,
}

impl Tokens {
    /// A fresh secret; tokens are good for `lifetime`.
    pub(super) fn new(lifetime: Duration) -> Self {
        let secret: [u8; 32] = rand::random();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Tokens {
            encoding: EncodingKey::from_secret(&secret),
            decoding: DecodingKey::from_secret(&secret),
            validation,
            lifetime,
        }
    }

    /// A token for `username`.
    pub(super) fn issue(&self, username: &str) -> Result<String, jsonwebtoken::errors::Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let claims = Claims {
            sub: username.to_owned(),
            username: username.to_owned(),
            iat: now.as_secs(),
            exp: now.saturating_add(self.lifetime).as_secs(),
            iss: ISSUER.to_owned(),
            aud: ISSUER.to_owned(),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    /// The user of a token that is ours and not expired.
    pub(super) fn verify(&self, token: &str) -> Result<String, jsonwebtoken::errors::Error> {
        decode::<Claims>(token, &self.decoding, &self.validation).map(|data| data.claims.username)
    }
}

/// A room id in the original's shape: 8 hexadecimal digits. It is a name, not a secret.
pub(super) fn room_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}

/// A room token: 128 random bits in hexadecimal. The original's 24 bits can be guessed online.
pub(super) fn room_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub(super) fn same_secret(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// The token of an `Authorization` header: `Bearer X` (in any case) or, as the original accepts, a bare `X`.
pub(super) fn bearer(header: &str) -> &str {
    match header.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => token.trim(),
        _ => header.trim(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    #[test]
    fn a_token_names_its_user() {
        let tokens = Tokens::new(Duration::from_secs(60));
        let token = tokens.issue("u1").unwrap();
        assert_eq!(tokens.verify(&token).unwrap(), "u1");
    }

    #[test]
    fn a_token_of_another_hub_is_refused() {
        let token = Tokens::new(Duration::from_secs(60)).issue("u1").unwrap();
        assert!(Tokens::new(Duration::from_secs(60)).verify(&token).is_err());
    }

    #[test]
    fn an_expired_token_is_refused() {
        let tokens = Tokens::new(Duration::from_secs(60));
        let claims = |exp| Claims {
            sub: "u".into(),
            username: "u".into(),
            iat: 0,
            exp,
            iss: ISSUER.into(),
            aud: ISSUER.into(),
        };
        let signed = |exp| {
            encode(
                &Header::new(Algorithm::HS256),
                &claims(exp),
                &tokens.encoding,
            )
            .unwrap()
        };
        assert!(tokens.verify(&signed(u64::from(u32::MAX))).is_ok());
        assert!(tokens.verify(&signed(1_000_000)).is_err());
    }

    #[test]
    fn a_changed_or_unsigned_token_is_refused() {
        let tokens = Tokens::new(Duration::from_secs(60));
        let token = tokens.issue("u1").unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let body = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let forged = URL_SAFE_NO_PAD.encode(body.replace("u1", "u2"));
        assert!(
            tokens
                .verify(&format!("{}.{forged}.{}", parts[0], parts[2]))
                .is_err()
        );
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        assert!(tokens.verify(&format!("{none}.{}.", parts[1])).is_err());
        for junk in ["", "a", "a.b", "a.b.c", "....", "\u{0}"] {
            assert!(tokens.verify(junk).is_err(), "{junk:?}");
        }
    }

    #[test]
    fn rooms_have_the_classic_shape() {
        let hex = |s: &str| {
            s.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let (id, token) = (room_id(), room_token());
        assert!(id.len() == 8 && hex(&id), "{id}");
        assert!(token.len() == 32 && hex(&token));
        assert_ne!(token, room_token());
    }

    #[test]
    fn bearer_is_a_prefix_and_optional() {
        assert_eq!(bearer("Bearer abc"), "abc");
        assert_eq!(bearer("bearer abc"), "abc");
        assert_eq!(bearer("abc"), "abc");
        assert_eq!(bearer("Bearer "), "");
        assert_eq!(
            bearer("aBearer bc"),
            "aBearer bc",
            "not merely deleted wherever it stands"
        );
        assert_eq!(bearer("été très"), "été très");
    }
}
