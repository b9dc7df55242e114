//! An issuer for tests: keys that are drawn when they are needed, and tokens of any shape.

#![allow(clippy::unwrap_used)]

use jsonwebtoken::{EncodingKey, crypto};
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::pkcs1::EncodeRsaPrivateKey;
use serde_json::{Value, json};

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(super) const ISSUER: &str = "https://issuer.test";
pub(super) const AUDIENCE: &str = "the-hub";

/// A key of the issuer, with what is told of it in public.
pub(super) struct TestKey {
    pub(super) algorithm: Algorithm,
    signing: EncodingKey,
    /// Empty for a secret.
    pub(super) pem: String,
    secret: Vec<u8>,
}

impl TestKey {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let (signing, pem, secret) = match algorithm {
            Algorithm::HS256 => {
                let secret = rand::random::<[u8; 32]>().to_vec();
                (EncodingKey::from_secret(&secret), String::new(), secret)
            }
            Algorithm::RS256 => return Self::rsa(2048),
            Algorithm::ES256 => {
                let key = loop {
                    if let Ok(key) = p256::SecretKey::from_slice(&rand::random::<[u8; 32]>()) {
                        break key;
                    }
                };
                let pem = key.public_key().to_public_key_pem(LineEnding::LF).unwrap();
                let der = key.to_pkcs8_der().unwrap();
                (EncodingKey::from_ec_der(der.as_bytes()), pem, Vec::new())
            }
            Algorithm::EdDSA => {
                let key = ed25519_dalek::SigningKey::from_bytes(&rand::random());
                let public = key.verifying_key();
                let pem = public.to_public_key_pem(LineEnding::LF).unwrap();
                let key = ed25519_dalek::pkcs8::KeypairBytes {
                    secret_key: key.to_bytes(),
                    public_key: None,
                };
                let der = key.to_pkcs8_der().unwrap();
                (EncodingKey::from_ed_der(der.as_bytes()), pem, Vec::new())
            }
        };
        TestKey {
            algorithm,
            signing,
            pem,
            secret,
        }
    }

    pub(super) fn rsa(bits: usize) -> Self {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).unwrap();
        let pem = key
            .to_public_key()
            .to_public_key_pem(LineEnding::LF)
            .unwrap();
        let der = key.to_pkcs1_der().unwrap();
        TestKey {
            algorithm: Algorithm::RS256,
            signing: EncodingKey::from_rsa_der(der.as_bytes()),
            pem,
            secret: Vec::new(),
        }
    }

    /// As the configuration has it.
    pub(super) fn source(&self, kid: Option<&str>) -> KeySource {
        let kid = kid.map(str::to_owned);
        if self.pem.is_empty() {
            let secret = Secret::new(self.secret.clone());
            KeySource::Secret { secret, kid }
        } else {
            KeySource::Pem {
                pem: self.pem.clone(),
                algorithm: self.algorithm,
                kid,
            }
        }
    }

    /// As a key set has it.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let jwk =
            jsonwebtoken::jwk::Jwk::from_encoding_key(&self.signing, self.algorithm.library());
        let mut jwk = serde_json::to_value(jwk.unwrap()).unwrap();
        jwk["kid"] = json!(kid);
        jwk
    }

    /// A token with these claims and an honest header.
    pub(super) fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"typ": "JWT", "alg": self.algorithm.to_string()});
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        self.with_header(&header, claims)
    }

    /// A token with any header, signed with this key all the same.
    pub(super) fn with_header(&self, header: &Value, claims: &Value) -> String {
        signed(&self.signing, self.algorithm, header, claims)
    }
}

/// A token as somebody with that key would make it.
pub(super) fn signed(
    key: &EncodingKey,
    algorithm: Algorithm,
    header: &Value,
    claims: &Value,
) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm.library()).unwrap();
    format!("{message}.{signature}")
}

/// What a good token says.
pub(super) fn claims() -> Value {
    json!({
        "sub": "alice", "device_id": "laptop", "iss": ISSUER, "aud": AUDIENCE,
        "exp": now().as_secs() + 3600,
    })
}

/// [`claims`] with one of them replaced, or taken out by null.
pub(super) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().unwrap().remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

/// A hub that trusts the issuer.
pub(super) fn config(keys: Vec<KeySource>) -> AuthConfig {
    AuthConfig {
        algorithms: vec![
            Algorithm::HS256,
            Algorithm::RS256,
            Algorithm::ES256,
            Algorithm::EdDSA,
        ],
        keys,
        issuers: vec![ISSUER.to_owned()],
        audiences: vec![AUDIENCE.to_owned()],
        ..AuthConfig::default()
    }
}

pub(super) fn verifier(config: AuthConfig) -> Verifier {
    Verifier::new(config, &[7; 32]).unwrap()
}

/// The reason of a refusal as invalid.
pub(super) fn invalid(result: Result<Identity, TokenError>) -> &'static str {
    match result {
        Err(TokenError::Invalid(reason)) => reason,
        other => panic!("it should be invalid, and is {other:?}"),
    }
}

/// An HS256 key and a hub that trusts it, for what does not depend on the algorithm.
pub(super) fn pair() -> (TestKey, Verifier) {
    let key = TestKey::new(Algorithm::HS256);
    let verifier = verifier(config(vec![key.source(None)]));
    (key, verifier)
}
