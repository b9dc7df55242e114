//! Claims: who, for whom, from when until when.

#![allow(clippy::unwrap_used)]

use super::test_issuer::*;
use super::*;
use serde_json::{Value, json};

#[test]
fn claims_that_are_needed_are_needed() {
    let (key, verifier) = pair();
    for name in ["sub", "exp", "iss", "aud"] {
        let reason = invalid(verifier.verify(&key.token(None, &claims_with(name, Value::Null))));
        assert!(reason.contains(name), "{reason}");
        let mut null = claims();
        null[name] = Value::Null;
        let reason = invalid(verifier.verify(&key.token(None, &null)));
        assert!(reason.contains(name), "{reason}");
    }
    for (name, value) in [
        ("iss", json!("https://other.test")),
        ("iss", json!([ISSUER])),
        ("iss", json!("")),
        ("aud", json!("others")),
        ("aud", json!(["others"])),
        ("aud", json!([])),
        ("aud", json!({})),
        ("exp", json!("9999999999")),
        ("exp", json!(true)),
        ("nbf", json!("0")),
        ("sub", json!(1.5)),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!("a".repeat(257))),
        ("device_id", json!("")),
        ("device_id", json!("\u{7f}")),
        ("device_id", json!("d".repeat(257))),
        ("device_id", json!(["a"])),
        ("cognito:username", json!("\u{0}")),
        ("cognito:username", json!("n".repeat(257))),
    ] {
        invalid(verifier.verify(&key.token(None, &claims_with(name, value))));
    }
    for audience in [json!([AUDIENCE]), json!(["others", AUDIENCE])] {
        let token = key.token(None, &claims_with("aud", audience));
        assert!(verifier.verify(&token).is_ok());
    }
}

#[test]
fn users_and_devices_are_strings_or_integers() {
    let (key, verifier) = pair();
    let identity = |claims: &Value| verifier.verify(&key.token(None, claims)).unwrap();
    for (device, expected) in [
        (json!("phone"), "phone"),
        (json!(7), "7"),
        (json!(-1), "-1"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!("d".repeat(256)), &"d".repeat(256)),
    ] {
        let identity = identity(&claims_with("device_id", device));
        assert_eq!(identity.require_device(), Ok(expected));
    }
    let mut other = claims_with("sub", Value::Null);
    other["user_id"] = json!(42);
    assert_eq!(identity(&other).user, "42");
    let both = identity(&claims_with("user_id", json!("bob")));
    assert_eq!(both.user, "alice", "sub comes first");
    let named = identity(&claims_with("cognito:username", json!("Alice A.")));
    assert_eq!((&*named.user, &*named.username), ("alice", "Alice A."));
}

#[test]
fn a_missing_device_is_derived_or_refused_where_one_is_needed() {
    let (key, strict) = pair();
    let token = key.token(None, &claims_with("device_id", Value::Null));
    let identity = strict.verify(&token).unwrap();
    assert_eq!(identity.device, None);
    let error = identity.require_device().unwrap_err();
    assert_eq!(error, TokenError::NoDevice);
    assert!(error.to_string().contains("device_id"));
    let deriving = verifier(AuthConfig {
        device_from_user: true,
        ..config(vec![key.source(None)])
    });
    assert_eq!(
        deriving.verify(&token).unwrap().require_device(),
        Ok("alice")
    );
    let named = deriving.verify(&key.token(None, &claims())).unwrap();
    assert_eq!(named.require_device(), Ok("laptop"));
}

#[test]
fn times_are_kept_to_the_second_with_the_leeway_and_no_more() {
    let key = TestKey::new(Algorithm::HS256);
    let claims = {
        let mut claims = claims_with("exp", json!(2000));
        claims["nbf"] = json!(1000);
        claims
    };
    let token = key.token(None, &claims);
    for leeway in [0, 5, 30] {
        let verifier = verifier(AuthConfig {
            leeway: Duration::from_secs(leeway),
            ..config(vec![key.source(None)])
        });
        let at = |now: u64, millis: u64| {
            let now = Duration::from_secs(now) + Duration::from_millis(millis);
            verifier.verify_at(&token, now)
        };
        assert_eq!(at(999 - leeway, 999), Err(TokenError::NotYet));
        assert!(at(1000 - leeway, 0).is_ok());
        assert_eq!(
            at(1500, 0).unwrap().expires_in,
            Duration::from_secs(500 + leeway)
        );
        let last = at(1999 + leeway, 999).unwrap();
        assert!(last.expires_in > Duration::ZERO && last.expires_in < Duration::from_millis(2));
        assert_eq!(at(2000 + leeway, 0), Err(TokenError::Expired));
    }
    let beyond = AuthConfig {
        leeway: Duration::from_secs(31),
        ..AuthConfig::default()
    };
    assert!(Verifier::new(beyond, &[7; 32]).is_err());
}

#[test]
fn times_may_be_fractions_and_far_away() {
    let (key, verifier) = pair();
    let at = |claims: &Value, now: f64| {
        verifier.verify_at(&key.token(None, claims), Duration::from_secs_f64(now))
    };
    let half = claims_with("exp", json!(1000.5));
    assert!(at(&half, 1000.25).is_ok());
    assert_eq!(at(&half, 1000.75), Err(TokenError::Expired));
    for exp in [json!(1e300), json!(u64::MAX), json!(f64::MAX)] {
        let identity = at(&claims_with("exp", exp), 1000.0).unwrap();
        assert!(identity.expires_in <= Duration::from_secs(365 * 24 * 60 * 60));
    }
    for exp in [json!(0), json!(-1), json!(-1e300), json!(i64::MIN)] {
        assert_eq!(
            at(&claims_with("exp", exp), 1000.0),
            Err(TokenError::Expired)
        );
    }
}

#[test]
fn nbf_is_required_as_configured() {
    let key = TestKey::new(Algorithm::HS256);
    let strict = verifier(AuthConfig {
        require_nbf: true,
        ..config(vec![key.source(None)])
    });
    let reason = invalid(strict.verify(&key.token(None, &claims())));
    assert!(reason.contains("nbf"), "{reason}");
    let token = key.token(None, &claims_with("nbf", json!(1000)));
    assert!(strict.verify(&token).is_ok());
    assert!(
        strict
            .verify(&strict.issue("u", "u", None).unwrap())
            .is_ok()
    );
}

#[test]
fn only_a_token_with_the_right_signature_is_called_expired() {
    let (key, verifier) = pair();
    let old = claims_with("exp", json!(1000));
    assert_eq!(
        verifier.verify(&key.token(None, &old)),
        Err(TokenError::Expired)
    );
    invalid(verifier.verify(&TestKey::new(Algorithm::HS256).token(None, &old)));
    let mut elsewhere = old;
    elsewhere["aud"] = json!("others");
    invalid(verifier.verify(&key.token(None, &elsewhere)));
}

#[test]
fn a_token_has_at_most_16_kib() {
    let (key, verifier) = pair();
    let with_padding =
        |padding: usize| key.token(None, &claims_with("x", json!("x".repeat(padding))));
    // Three bytes of claims are four of the token; the header's extra bytes make up the rest.
    let exact = (0..MAX_TOKEN)
        .rev()
        .map(|less| with_padding(less * 3 / 4))
        .find(|token| token.len() <= MAX_TOKEN)
        .unwrap();
    assert!(exact.len() > MAX_TOKEN - 8);
    assert!(verifier.verify(&exact).is_ok());
    let reason = invalid(verifier.verify(&"a".repeat(MAX_TOKEN + 1)));
    assert!(reason.contains("16 KiB"));
    let long = with_padding(MAX_TOKEN);
    assert!(invalid(verifier.verify(&long)).contains("16 KiB"));
}

#[test]
fn nesting_does_no_harm() {
    let (key, verifier) = pair();
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let part = |text: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text);
    for header in [
        format!(r#"{{"alg":"HS256","x":{deep}}}"#),
        format!(r#"{{"alg":"HS256","crit":{deep}}}"#),
        format!(r#"{{"alg":{deep}}}"#),
        deep,
    ] {
        assert!(
            verifier
                .verify(&format!("{}.e30.AAAA", part(&header)))
                .is_err()
        );
    }
    let mut nested = json!("x");
    for _ in 0..100 {
        nested = json!([nested]);
    }
    invalid(verifier.verify(&key.token(None, &claims_with("aud", nested))));
}
