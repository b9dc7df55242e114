//! An issuer whose tokens the hub takes.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use serde::Serialize;

/// Who issues the tokens, and for whom.
pub const ISSUER: &str = "speed";
pub const AUDIENCE: &str = "hub";

/// The keys.
pub struct Issuer {
    /// Shared with the server, for HS256. Text, so that it can lie in a file.
    pub secret: String,
    /// The public key for ES256.
    pub pem: String,
    hmac: EncodingKey,
    ecdsa: EncodingKey,
}

impl Issuer {
    /// Draws them.
    pub fn new() -> Result<Self> {
        let secret = format!(
            "{:032x}{:032x}",
            rand::random::<u128>(),
            rand::random::<u128>()
        );
        let drawn =
            std::iter::repeat_with(|| p256::SecretKey::from_slice(&rand::random::<[u8; 32]>()));
        let key = drawn.take(100).find_map(Result::ok).context("no key")?;
        let der = key.to_pkcs8_der()?;
        Ok(Issuer {
            hmac: EncodingKey::from_secret(secret.as_bytes()),
            secret,
            pem: key.public_key().to_public_key_pem(LineEnding::LF)?,
            ecdsa: EncodingKey::from_ec_der(der.as_bytes()),
        })
    }

    /// A token of this user's only device, good for an hour.
    pub fn token(&self, algorithm: Algorithm, user: &str) -> Result<String> {
        let iat = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = Claims {
            sub: user,
            device_id: DEVICE,
            iss: ISSUER,
            aud: AUDIENCE,
            iat,
            exp: iat + 3600,
        };
        let key = match algorithm {
            Algorithm::ES256 => &self.ecdsa,
            _ => &self.hmac,
        };
        Ok(encode(&Header::new(algorithm), &claims, key)?)
    }

    /// Tokens of many users, named by a letter and their number.
    pub fn tokens(&self, algorithm: Algorithm, letter: char, count: usize) -> Result<Vec<String>> {
        (0..count)
            .map(|number| self.token(algorithm, &format!("{letter}{number}")))
            .collect()
    }
}

/// The one device of each user.
pub const DEVICE: &str = "d";

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    device_id: &'a str,
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}
