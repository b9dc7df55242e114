//! Signatures: which key is asked, and which keys and headers never are.

#![allow(clippy::unwrap_used)]

use super::test_issuer::*;
use super::*;
use jsonwebtoken::EncodingKey;
use serde_json::json;
use strum::IntoEnumIterator;

#[test]
fn each_algorithm_is_accepted_by_its_key() {
    for algorithm in Algorithm::iter() {
        let (key, other) = (TestKey::new(algorithm), TestKey::new(algorithm));
        for kid in [None, Some("k")] {
            let verifier = verifier(config(vec![key.source(kid)]));
            let identity = verifier.verify(&key.token(kid, &claims())).unwrap();
            assert_eq!(identity.user, "alice");
            assert_eq!(identity.device.as_deref(), Some("laptop"));
            assert_eq!(identity.username, "alice");
            assert!(!identity.own);
            invalid(verifier.verify(&other.token(kid, &claims())));
        }
    }
}

#[test]
fn what_is_not_allowed_is_refused_though_the_key_is_there() {
    let (hs, ed) = (
        TestKey::new(Algorithm::HS256),
        TestKey::new(Algorithm::EdDSA),
    );
    let verifier = verifier(AuthConfig {
        algorithms: vec![Algorithm::EdDSA],
        ..config(vec![ed.source(None)])
    });
    assert!(verifier.verify(&ed.token(None, &claims())).is_ok());
    let reason = invalid(verifier.verify(&hs.token(None, &claims())));
    assert!(reason.contains("algorithm"), "{reason}");
    let config = AuthConfig {
        algorithms: vec![Algorithm::EdDSA],
        ..config(vec![hs.source(None)])
    };
    let error = Verifier::new(config, &[7; 32]).unwrap_err();
    assert!(
        matches!(error, AuthConfigError::Key { number: 1, .. }),
        "{error}"
    );
}

#[test]
fn unsigned_tokens_are_refused() {
    let (key, verifier) = pair();
    for alg in [
        "none", "None", "NONE", "", "hs256", "HS512", "PS256", "RS1", "HS256 ",
    ] {
        let token = key.with_header(&json!({"alg": alg}), &claims());
        invalid(verifier.verify(&token));
        let bare = token.rsplit_once('.').unwrap().0;
        invalid(verifier.verify(&format!("{bare}.")));
        invalid(verifier.verify(bare));
    }
    let good = key.token(None, &claims());
    assert!(verifier.verify(&good).is_ok());
    invalid(verifier.verify(&format!("{}.", good.rsplit_once('.').unwrap().0)));
}

#[test]
fn a_public_key_is_no_secret() {
    // Who knows a public key signs with its text as if it were a shared secret.
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let key = TestKey::new(algorithm);
        let shared = TestKey::new(Algorithm::HS256);
        let verifier = verifier(config(vec![
            key.source(Some("k")),
            key.source(None),
            shared.source(Some("s")),
        ]));
        let body: String = key
            .pem
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        let der = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, body).unwrap();
        // The text with and without the last newline, the DER in it, and the bare key at its end wherever that begins.
        let bare = (0..40).map(|start| &der[start..]);
        for secret in [key.pem.as_bytes(), key.pem.trim().as_bytes()]
            .into_iter()
            .chain(bare)
        {
            let forger = EncodingKey::from_secret(secret);
            for header in [
                json!({"alg": "HS256"}),
                json!({"alg": "HS256", "kid": "k"}),
                json!({"alg": "HS256", "kid": "s"}),
                json!({"alg": "HS256", "kid": "loaner"}),
            ] {
                let token = signed(&forger, Algorithm::HS256, &header, &claims());
                invalid(verifier.verify(&token));
            }
        }
        let error = Verifier::new(
            config(vec![KeySource::Secret {
                secret: Secret::new(key.pem.clone()),
                kid: None,
            }]),
            &[7; 32],
        );
        assert!(error.unwrap_err().to_string().contains("PEM"));
    }
}

#[test]
fn a_key_of_the_wrong_kind_is_refused_when_it_is_read() {
    for given in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let key = TestKey::new(given);
        for claimed in Algorithm::iter().filter(|claimed| *claimed != given) {
            let source = KeySource::Pem {
                pem: key.pem.clone(),
                algorithm: claimed,
                kid: None,
            };
            let error = Verifier::new(config(vec![source]), &[7; 32]).unwrap_err();
            assert!(
                matches!(error, AuthConfigError::Key { .. }),
                "{given} as {claimed}"
            );
        }
    }
}

#[test]
fn useless_keys_are_refused_with_advice() {
    let pem = |pem: &str, algorithm| KeySource::Pem {
        pem: pem.to_owned(),
        algorithm,
        kid: None,
    };
    let ed = TestKey::new(Algorithm::EdDSA).pem;
    let refused = |source, word: &str| {
        let error = Verifier::new(config(vec![source]), &[7; 32]).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(pem("", Algorithm::RS256), "no public key");
    refused(pem(&ed[..ed.len() / 2], Algorithm::EdDSA), "damaged");
    refused(
        pem(&ed.replace("PUBLIC", "PRIVATE"), Algorithm::EdDSA),
        "private",
    );
    refused(pem(&TestKey::rsa(1024).pem, Algorithm::RS256), "2048");
    let short = KeySource::Secret {
        secret: Secret::new([1; 31]),
        kid: None,
    };
    refused(short, "32 bytes");
}

#[test]
fn two_keys_cannot_have_one_id() {
    let (a, b) = (
        TestKey::new(Algorithm::HS256),
        TestKey::new(Algorithm::EdDSA),
    );
    let twice = config(vec![a.source(Some("k")), b.source(Some("k"))]);
    let own = config(vec![a.source(Some("loaner"))]);
    for (config, kid) in [(twice, "k"), (own, "loaner")] {
        let error = Verifier::new(config, &[7; 32]).unwrap_err();
        assert_eq!(error, AuthConfigError::SameKid(kid.to_owned()));
    }
}

#[test]
fn the_key_id_decides_the_key() {
    let (a, b) = (
        TestKey::new(Algorithm::HS256),
        TestKey::new(Algorithm::HS256),
    );
    let named = verifier(config(vec![a.source(Some("a")), b.source(Some("b"))]));
    for (key, kid, good) in [
        (&a, Some("a"), true),
        (&b, Some("b"), true),
        (&a, Some("b"), false),
        (&a, Some("c"), false),
        (&a, None, true),
        (&b, None, true),
    ] {
        let token = key.token(kid, &claims());
        assert_eq!(named.verify(&token).is_ok(), good, "{kid:?}");
    }
    // A key without an id serves tokens with one that is unknown.
    let unnamed = verifier(config(vec![a.source(None), b.source(Some("b"))]));
    assert!(unnamed.verify(&a.token(Some("c"), &claims())).is_ok());
    assert!(unnamed.verify(&a.token(Some("b"), &claims())).is_err());
    assert!(unnamed.verify(&b.token(Some("c"), &claims())).is_err());
}

#[test]
fn extensions_that_must_be_understood_are_not() {
    let (key, verifier) = pair();
    for header in [
        json!({"alg": "HS256", "crit": ["exp"]}),
        json!({"alg": "HS256", "crit": []}),
        json!({"alg": "HS256", "crit": null}),
        json!({"alg": "HS256", "crit": "x"}),
        json!({"alg": "HS256", "b64": false}),
    ] {
        let reason = invalid(verifier.verify(&key.with_header(&header, &claims())));
        assert!(reason.contains("crit"), "{reason}");
    }
    let harmless = json!({"alg": "HS256", "cty": "x", "jku": "https://evil.test", "x": {"y": 1}});
    assert!(
        verifier
            .verify(&key.with_header(&harmless, &claims()))
            .is_ok()
    );
}

#[test]
fn what_is_said_twice_is_refused() {
    let (key, verifier) = pair();
    let token = key.token(None, &claims());
    let (header, rest) = token.split_once('.').unwrap();
    let secret = match key.source(None) {
        KeySource::Secret { secret, .. } => EncodingKey::from_secret(secret.bytes()),
        KeySource::Pem { .. } => unreachable!(),
    };
    let resigned = |header: &str, body: &str| {
        let message = format!("{header}.{body}");
        let algorithm = jsonwebtoken::Algorithm::HS256;
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, algorithm);
        format!("{message}.{}", signature.unwrap())
    };
    let encoded =
        |text: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text);
    let body = rest.split_once('.').unwrap().0;
    assert!(verifier.verify(&resigned(header, body)).is_ok());
    let twice = claims().to_string().replacen('{', r#"{"sub":"eve","#, 1);
    invalid(verifier.verify(&resigned(header, &encoded(&twice))));
    let twice = encoded(r#"{"alg":"none","alg":"HS256"}"#);
    invalid(verifier.verify(&resigned(&twice, body)));
}
