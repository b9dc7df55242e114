//! Keys: each for one algorithm only, and looked at before it is used, so that a token can choose neither what a key is
//! taken for nor a key that the library would trip over.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind, crypto, jwk};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;

use super::token::Parts;
use super::{Algorithm, AuthConfig, KeySource};

/// The sizes of an RSA modulus that are accepted, in bits. Smaller ones can be broken, larger ones cost too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Something that signatures are checked with.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    material: Material,
}

/// The key itself. Public ones are in the hands of the library that TLS has here already: it takes a sixth (P-256) to a
/// ninth (RSA) of the time of the one for tokens, and that time is what strangers can make the hub spend.
#[derive(Debug)]
enum Material {
    Secret(DecodingKey),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    Point(UnparsedPublicKey<Vec<u8>>),
}

impl Key {
    /// The key of the hub's own tokens.
    pub(super) fn own(secret: &[u8; 32], kid: &str) -> Self {
        Key {
            kid: Some(kid.to_owned()),
            algorithm: Algorithm::HS256,
            material: Material::Secret(DecodingKey::from_secret(secret)),
        }
    }

    fn secret(secret: &[u8], kid: Option<String>) -> Result<Self, &'static str> {
        if secret.len() < AuthConfig::MIN_SECRET {
            return Err("a shared secret has at least 32 bytes; draw a random one");
        }
        if secret.trim_ascii_start().starts_with(b"-----BEGIN") {
            return Err(
                "it is a PEM text and no secret, and whoever knows a public key could sign with it; \
                 give it as a PEM key with its algorithm",
            );
        }
        Ok(Key {
            kid,
            algorithm: Algorithm::HS256,
            material: Material::Secret(DecodingKey::from_secret(secret)),
        })
    }

    /// A key of the configuration.
    pub(super) fn configured(source: &KeySource) -> Result<Self, &'static str> {
        match source {
            KeySource::Secret { secret, kid } => Key::secret(secret.bytes(), kid.clone()),
            KeySource::Pem {
                pem,
                algorithm,
                kid,
            } => Key::pem(pem, *algorithm, kid.clone()),
        }
    }

    fn pem(pem: &str, algorithm: Algorithm, kid: Option<String>) -> Result<Self, &'static str> {
        if pem.contains("PRIVATE KEY-----") {
            return Err("it is a private key, which is for the issuer alone; give the public one");
        }
        if !pem.contains("-----BEGIN PUBLIC KEY-----")
            && !pem.contains("-----BEGIN RSA PUBLIC KEY-----")
        {
            return Err("it is no public key as PEM text (`-----BEGIN PUBLIC KEY-----`)");
        }
        let decoding = match algorithm {
            Algorithm::HS256 => return Err("HS256 takes a shared secret, not a PEM text"),
            Algorithm::RS256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
            Algorithm::ES256 => DecodingKey::from_ec_pem(pem.as_bytes()),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem.as_bytes()),
        }
        .map_err(|_| "it is damaged, or a key for another algorithm than the one that is given")?;
        Key::public(decoding, algorithm, kid)
    }

    /// A key of a key set. An error is what is unusual about it.
    pub(super) fn published(jwk: PublishedKey) -> Result<Self, &'static str> {
        if jwk.purpose.is_some_and(|purpose| purpose != "sig") {
            return Err("not for signatures");
        }
        if jwk
            .operations
            .is_some_and(|all| !all.iter().any(|one| one == "verify"))
        {
            return Err("not for checking signatures");
        }
        let part = |part: Option<String>| {
            URL_SAFE_NO_PAD
                .decode(part.ok_or("incomplete")?)
                .map_err(|_| "not base64url")
        };
        let (algorithm, decoding) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (
                Algorithm::RS256,
                DecodingKey::from_rsa_raw_components(&part(jwk.n)?, &part(jwk.e)?),
            ),
            ("EC", Some("P-256")) => {
                let (x, y) = (part(jwk.x)?, part(jwk.y)?);
                // The point in full, as SEC 1 writes it.
                let point = [&[4][..], &x, &y].concat();
                (Algorithm::ES256, DecodingKey::from_ec_der(&point))
            }
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_der(&part(jwk.x)?)),
            ("oct", _) => return Err("a secret, which has no place in a published set"),
            _ => return Err("of a kind that is not used here"),
        };
        if jwk
            .alg
            .is_some_and(|name| Algorithm::of_header(&name) != Some(algorithm))
        {
            return Err("for another algorithm");
        }
        Key::public(decoding, algorithm, jwk.kid)
    }

    /// A public key, once it is seen to be one.
    fn public(
        decoding: DecodingKey,
        algorithm: Algorithm,
        kid: Option<String>,
    ) -> Result<Self, &'static str> {
        let size = decoding.try_get_as_bytes().map_or(0, <[u8]>::len);
        match algorithm {
            Algorithm::ES256 if size != 65 => return Err("it is no key on the curve P-256"),
            Algorithm::EdDSA if size != 32 => return Err("it is no Ed25519 key"),
            _ => {}
        }
        // That the signature is wrong is no error; that the key is no point of its curve is one.
        crypto::verify("", b"", &decoding, algorithm.library())
            .map_err(|_| "it is no point of its curve")?;
        let bytes = || {
            decoding
                .try_get_as_bytes()
                .map_or(Vec::new(), <[u8]>::to_vec)
        };
        let material = match algorithm {
            Algorithm::HS256 => return Err("HS256 has no public keys"),
            Algorithm::RS256 => Material::Rsa(rsa_components(&decoding)?),
            Algorithm::ES256 => {
                Material::Point(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes()))
            }
            Algorithm::EdDSA => Material::Point(UnparsedPublicKey::new(&ED25519, bytes())),
        };
        Ok(Key {
            kid,
            algorithm,
            material,
        })
    }

    /// Whether the token was signed with this key, by this key's algorithm. Time does not tell how wrong it is.
    pub(super) fn signed(&self, token: &Parts<'_>) -> bool {
        if token.header.algorithm != self.algorithm {
            return false;
        }
        let message = token.signed.as_bytes();
        let signature = || URL_SAFE_NO_PAD.decode(token.signature).unwrap_or_default();
        match &self.material {
            Material::Secret(secret) => {
                crypto::verify(token.signature, message, secret, self.algorithm.library())
                    .unwrap_or(false)
            }
            Material::Rsa(key) => key
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature())
                .is_ok(),
            Material::Point(key) => key.verify(message, &signature()).is_ok(),
        }
    }
}

/// The numbers of an RSA key that is sound as far as can be seen.
fn rsa_components(key: &DecodingKey) -> Result<RsaPublicKeyComponents<Vec<u8>>, &'static str> {
    const BROKEN: &str = "it is no RSA key";
    if key.family() != AlgorithmFamily::Rsa {
        return Err(BROKEN);
    }
    let (n, e) = match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => (n.clone(), e.clone()),
        DecodingKeyKind::SecretOrDer(_) => match jwk::Jwk::from_decoding_key(key, None)
            .map_err(|_| BROKEN)?
            .algorithm
        {
            jwk::AlgorithmParameters::RSA(rsa) => (
                URL_SAFE_NO_PAD.decode(rsa.n).map_err(|_| BROKEN)?,
                URL_SAFE_NO_PAD.decode(rsa.e).map_err(|_| BROKEN)?,
            ),
            _ => return Err(BROKEN),
        },
    };
    let n: Vec<u8> = n.into_iter().skip_while(|byte| *byte == 0).collect();
    let e: Vec<u8> = e.into_iter().skip_while(|byte| *byte == 0).collect();
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err("it is no RSA key of 2048 to 4096 bits");
    }
    // Usual exponents are 3, 17 and 65537; four bytes are plenty.
    let exponent = e.iter().fold(0u64, |sum, byte| {
        sum.saturating_mul(256).saturating_add(u64::from(*byte))
    });
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !odd(&n) || !odd(&e) || !(3..=u64::from(u32::MAX)).contains(&exponent) {
        return Err(BROKEN);
    }
    Ok(RsaPublicKeyComponents { n, e })
}

/// A key as a key set (RFC 7517) has it; what is not named here does not matter.
#[derive(Deserialize)]
pub(super) struct PublishedKey {
    kty: String,
    pub(super) kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    #[serde(rename = "key_ops")]
    operations: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}
