//! The hub's own tokens, configurations, and anything at all.

#![allow(clippy::unwrap_used)]

use super::test_issuer::*;
use super::*;
use proptest::prelude::*;
use serde_json::json;
use strum::IntoEnumIterator;

#[test]
fn the_hubs_own_tokens_need_no_configuration() {
    let hub = verifier(AuthConfig::default());
    let token = hub.issue("u1", "User One", Some("laptop")).unwrap();
    let identity = hub.verify(&token).unwrap();
    assert_eq!(identity.user, "u1");
    assert_eq!(identity.username, "User One");
    assert_eq!(identity.require_device(), Ok("laptop"));
    assert!(identity.own);
    let hour = Duration::from_secs(3600);
    assert!(identity.expires_in <= hour && identity.expires_in > hour - Duration::from_secs(60));
    assert_eq!(
        hub.verify_at(&token, now() + hour),
        Err(TokenError::Expired)
    );
    let header = inspect(&token).unwrap();
    assert_eq!(
        (header.algorithm, header.kid.as_deref()),
        (Algorithm::HS256, Some("loaner"))
    );

    let restarted = verifier(AuthConfig::default());
    assert!(restarted.verify(&token).is_ok(), "the same secret");
    let other = Verifier::new(AuthConfig::default(), &[8; 32]).unwrap();
    invalid(other.verify(&token));
    let ed = TestKey::new(Algorithm::EdDSA);
    let elsewhere = verifier(AuthConfig {
        algorithms: vec![Algorithm::EdDSA],
        ..config(vec![ed.source(None)])
    });
    assert!(elsewhere.verify(&token).is_ok(), "HS256 is not on its list");
}

#[test]
fn others_cannot_speak_for_the_hub() {
    let (key, verifier) = pair();
    let mut claims = claims();
    claims["iss"] = json!("loaner");
    claims["aud"] = json!("loaner");
    invalid(verifier.verify(&key.token(None, &claims)));
    invalid(verifier.verify(&key.token(Some("loaner"), &claims)));
    invalid(super::test_issuer::verifier(AuthConfig::default()).verify(&key.token(None, &claims)));
    let named_so = AuthConfig {
        issuers: vec!["loaner".to_owned()],
        ..config(vec![key.source(None)])
    };
    let error = Verifier::new(named_so, &[7; 32]).unwrap_err();
    assert_eq!(error, AuthConfigError::OwnIssuer);
}

#[test]
fn refresh_tokens_are_no_id_tokens_nor_the_reverse() {
    let hub = verifier(AuthConfig::default());
    let refresh = hub.issue_refresh("u1").unwrap();
    assert_eq!(hub.verify_refresh(&refresh).unwrap(), "u1");
    invalid(hub.verify(&refresh));
    let id = hub.issue("u1", "u1", None).unwrap();
    assert!(matches!(
        hub.verify_refresh(&id),
        Err(TokenError::Invalid(_))
    ));
    let (key, trusting) = pair();
    let claims = claims_with("aud", json!("loaner-refresh"));
    assert!(trusting.verify_refresh(&key.token(None, &claims)).is_err());
    assert_eq!(hub.verify_refresh(""), Err(TokenError::Missing));
    let other = Verifier::new(AuthConfig::default(), &[8; 32]).unwrap();
    assert!(other.verify_refresh(&refresh).is_err());
}

#[test]
fn no_token_is_issued_that_would_be_refused() {
    let hub = verifier(AuthConfig::default());
    for bad in ["", "a\nb", &"x".repeat(257)] {
        assert_eq!(hub.issue(bad, "n", None), Err(IssueError::Name));
        assert_eq!(hub.issue("u", bad, None), Err(IssueError::Name));
        assert_eq!(hub.issue("u", "n", Some(bad)), Err(IssueError::Name));
        assert_eq!(hub.issue_refresh(bad), Err(IssueError::Name));
    }
    let longest = "\u{1f980}".repeat(64);
    let token = hub.issue(&longest, &longest, Some(&longest)).unwrap();
    assert_eq!(hub.verify(&token).unwrap().user, longest);
}

#[test]
fn keys_need_issuers_audiences_and_algorithms() {
    let key = TestKey::new(Algorithm::HS256);
    let good = config(vec![key.source(None)]);
    let refused = |config: AuthConfig| Verifier::new(config, &[7; 32]).unwrap_err();
    for empty in [vec![], vec![String::new()]] {
        let config = AuthConfig {
            issuers: empty.clone(),
            ..good.clone()
        };
        assert_eq!(refused(config), AuthConfigError::NoIssuer);
        let config = AuthConfig {
            audiences: empty,
            ..good.clone()
        };
        assert_eq!(refused(config), AuthConfigError::NoAudience);
    }
    let config = AuthConfig {
        algorithms: vec![],
        ..good.clone()
    };
    assert_eq!(refused(config), AuthConfigError::NoAlgorithm);
    let published = AuthConfig {
        keys: vec![],
        issuers: vec![],
        jwks: Some(Jwks::new("https://issuer.test/keys").unwrap()),
        ..good.clone()
    };
    assert_eq!(refused(published), AuthConfigError::NoIssuer);
    let config = AuthConfig {
        keys: vec![key.source(None); AuthConfig::MAX_KEYS + 1],
        ..good
    };
    assert_eq!(refused(config), AuthConfigError::TooManyKeys(65));
    let config = AuthConfig {
        own_lifetime: Duration::ZERO,
        ..AuthConfig::default()
    };
    assert_eq!(refused(config), AuthConfigError::Lifetime(Duration::ZERO));
}

#[test]
fn algorithms_are_named_on_the_command_line_in_any_case() {
    for algorithm in Algorithm::iter() {
        for name in [algorithm.to_string(), algorithm.to_string().to_lowercase()] {
            assert_eq!(name.parse(), Ok(algorithm));
        }
    }
    assert!("none".parse::<Algorithm>().is_err());
}

#[test]
fn nothing_secret_is_shown() {
    let secret = "0123456789abcdefghijklmnopqrstuvwxyz";
    let source = KeySource::Secret {
        secret: Secret::new(secret),
        kid: None,
    };
    let config = config(vec![source]);
    let shown = format!("{config:?} {:?}", verifier(config.clone()));
    let bytes = format!("{:?}", secret.as_bytes());
    for part in [secret, &bytes[1..40], "7, 7, 7"] {
        assert!(!shown.contains(part), "{shown}");
    }
    for error in [
        TokenError::Missing,
        TokenError::Invalid("x"),
        TokenError::Expired,
        TokenError::NotYet,
        TokenError::NoDevice,
        TokenError::KeysUnavailable,
    ] {
        assert!(error.code().starts_with("TOKEN_"));
    }
}

proptest! {
    #[test]
    fn any_string_is_refused(text in prop_oneof![
        ".{0,300}",
        "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}",
    ]) {
        let hub = verifier(AuthConfig::default());
        prop_assert!(hub.verify(&text).is_err());
        prop_assert!(hub.verify_refresh(&text).is_err());
    }

    #[test]
    fn any_header_and_claims_are_refused_without_a_key(
        header in "\\{(\"(alg|kid|crit)\":(\"HS256\"|\"loaner\"|null|1|\\[\\]),?){0,3}\\}",
        body in ".{0,60}",
    ) {
        let part = |text: &str| {
            base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text)
        };
        let (_, verifier) = pair();
        let token = format!("{}.{}.{}", part(&header), part(&body), part(&body));
        prop_assert!(verifier.verify(&token).is_err());
    }

    #[test]
    fn a_token_with_any_byte_changed_is_refused(place in any::<prop::sample::Index>(), byte in 0u8..128) {
        let key = TestKey::new(Algorithm::EdDSA);
        let verifier = verifier(config(vec![key.source(None)]));
        for token in [key.token(None, &claims()), verifier.issue("u", "n", Some("d")).unwrap()] {
            prop_assert!(verifier.verify(&token).is_ok());
            let mut bytes = token.clone().into_bytes();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(verifier.verify(&changed).is_ok(), changed == token);
        }
    }
}
