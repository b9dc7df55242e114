//! Key sets from a real server on loopback.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::test_issuer::*;
use super::super::test_server::{Answer, Server};
use super::super::*;

/// Puts the clock of the time-outs forward.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

const PAUSE: Duration = Duration::from_secs(10);
const REFRESH: Duration = Duration::from_secs(10 * 60);

#[actix_rt::test]
async fn every_public_kind_of_key_is_read() {
    let kinds = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    let keys = kinds.map(|kind| (kind.to_string(), TestKey::new(kind)));
    let set = keys.iter().map(|(kid, key)| key.jwk(kid)).collect();
    let server = Server::start(Answer::Set(set));
    let verifier = server.verifier(server.jwks());
    for (kid, key) in &keys {
        let token = key.token(Some(kid), &claims());
        assert_eq!(
            verifier.verify_fetching(&token).await.unwrap().user,
            "alice"
        );
        assert!(
            verifier
                .verify_fetching(&key.token(None, &claims()))
                .await
                .is_ok()
        );
        let other = TestKey::new(key.algorithm).token(Some(kid), &claims());
        assert!(verifier.verify_fetching(&other).await.is_err());
    }
    server.handle.stop(false).await;
}

#[actix_rt::test]
async fn keys_rotate() {
    let (old, new) = (
        TestKey::new(Algorithm::EdDSA),
        TestKey::new(Algorithm::ES256),
    );
    let (old_token, new_token) = (
        old.token(Some("old"), &claims()),
        new.token(Some("new"), &claims()),
    );
    let server = Server::start(Answer::Set(vec![old.jwk("old")]));
    let verifier = server.verifier(server.jwks());
    assert_eq!(
        verifier.verify(&old_token),
        Err(TokenError::KeysUnavailable)
    );
    assert!(verifier.prefetch().await);
    assert!(verifier.verify(&old_token).is_ok());
    assert!(verifier.verify_fetching(&old_token).await.is_ok());
    assert_eq!(server.hits(), 1, "what is known is not asked for again");

    // The new key is fetched when a token names it, though the set is fresh.
    server.says(Answer::Set(vec![old.jwk("old"), new.jwk("new")]));
    pass(PAUSE).await;
    assert!(verifier.verify_fetching(&new_token).await.is_ok());
    assert!(verifier.verify_fetching(&old_token).await.is_ok());
    assert_eq!(server.hits(), 2);

    // The old key goes, and is heeded until the set is old and no longer.
    server.says(Answer::Set(vec![new.jwk("new")]));
    pass(REFRESH - Duration::from_secs(1)).await;
    assert!(verifier.verify_fetching(&old_token).await.is_ok());
    assert_eq!(server.hits(), 2);
    pass(Duration::from_secs(1)).await;
    assert!(matches!(
        verifier.verify_fetching(&old_token).await,
        Err(TokenError::Invalid(_))
    ));
    assert!(verifier.verify_fetching(&new_token).await.is_ok());
    assert_eq!(server.hits(), 3);
    server.handle.stop(false).await;
}

#[actix_rt::test]
async fn a_flood_of_unknown_keys_is_one_fetch_per_pause() {
    let key = TestKey::new(Algorithm::HS256);
    let server = Server::start(Answer::Set(vec![]));
    let verifier = server.verifier(server.jwks());
    let tokens: Vec<_> = (0..200)
        .map(|number| key.token(Some(&number.to_string()), &claims()))
        .collect();
    for round in 1..=3 {
        let all = tokens.iter().map(|token| verifier.verify_fetching(token));
        for result in futures_util::future::join_all(all).await {
            assert!(matches!(result, Err(TokenError::Invalid(_))));
        }
        for token in &tokens {
            assert!(verifier.verify_fetching(token).await.is_err());
        }
        assert_eq!(server.hits(), round);
        pass(PAUSE).await;
    }
    server.handle.stop(false).await;
}

#[actix_rt::test]
async fn nothing_is_fetched_for_what_is_never_accepted() {
    let server = Server::start(Answer::Set(vec![]));
    let verifier = verifier(AuthConfig {
        algorithms: vec![Algorithm::RS256],
        jwks: Some(server.jwks()),
        ..config(vec![])
    });
    let key = TestKey::new(Algorithm::EdDSA);
    let own = verifier.issue("u", "u", None).unwrap();
    assert!(verifier.verify_fetching(&own).await.is_ok());
    for token in [
        String::new(),
        "a.b.c".to_owned(),
        key.token(Some("k"), &claims()),
        key.with_header(&json!({"alg": "none"}), &claims()),
    ] {
        assert!(verifier.verify_fetching(&token).await.is_err());
    }
    assert_eq!(server.hits(), 0);
    server.handle.stop(false).await;
}

#[actix_rt::test]
async fn a_failing_server_leaves_the_keys_as_they_were() {
    let (key, other) = (
        TestKey::new(Algorithm::EdDSA),
        TestKey::new(Algorithm::EdDSA),
    );
    let token = key.token(Some("k"), &claims());
    let server = Server::start(Answer::Set(vec![key.jwk("k")]));
    let elsewhere = Server::start(Answer::Set(vec![other.jwk("k")]));
    let verifier = server.verifier(server.jwks());
    assert!(verifier.verify_fetching(&token).await.is_ok());
    let too_many = (0..65).map(|n| other.jwk(&n.to_string())).collect();
    let answers = [
        Answer::Text(500, json!({"keys": []}).to_string()),
        Answer::Text(200, "{".to_owned()),
        Answer::Text(200, "[]".to_owned()),
        Answer::Text(200, "[".repeat(100_000)),
        Answer::Text(200, format!("{{\"keys\":[]}}{}", " ".repeat(10 << 20))),
        Answer::Endless,
        Answer::Redirect(format!("http://{}/", elsewhere.addr)),
        Answer::Set(too_many),
        Answer::Set(vec![other.jwk("k"), key.jwk("k")]),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        server.says(answer);
        pass(REFRESH).await;
        let before = server.hits();
        // The first attempt is waited for; the task of a later one is joined by asking for an unknown key.
        let unknown = other.token(Some("unknown"), &claims());
        assert!(verifier.verify_fetching(&unknown).await.is_err());
        assert_eq!(server.hits(), before + 1, "answer {number}");
        assert!(
            verifier.verify_fetching(&token).await.is_ok(),
            "answer {number}"
        );
    }
    assert_eq!(elsewhere.hits(), 0);
    // And it recovers.
    server.says(Answer::Set(vec![other.jwk("k")]));
    pass(REFRESH).await;
    verifier.remote.as_ref().unwrap().fetch().await;
    assert!(verifier.verify_fetching(&token).await.is_err());
    assert!(
        verifier
            .verify_fetching(&other.token(Some("k"), &claims()))
            .await
            .is_ok()
    );
    server.handle.stop(false).await;
    elsewhere.handle.stop(false).await;
}

#[actix_rt::test]
async fn a_server_that_hangs_costs_the_timeout_and_nothing_else() {
    // Connections are taken by the system, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(Answer::Stuck);
    for addr in [silent.local_addr().unwrap(), server.addr] {
        let given = TestKey::new(Algorithm::EdDSA);
        let jwks = Jwks {
            timeout: Duration::from_millis(300),
            ..Jwks::new(&format!("http://{addr}/")).unwrap()
        };
        let verifier = verifier(AuthConfig {
            jwks: Some(jwks),
            ..config(vec![given.source(Some("given"))])
        });
        let unknown = TestKey::new(Algorithm::EdDSA).token(Some("k"), &claims());
        let began = std::time::Instant::now();
        let both = futures_util::future::join(
            verifier.verify_fetching(&unknown),
            verifier.verify_fetching(&unknown),
        );
        let results = tokio::time::timeout(Duration::from_secs(20), both)
            .await
            .unwrap();
        assert_eq!(results.0, Err(TokenError::KeysUnavailable));
        assert_eq!(results.1, Err(TokenError::KeysUnavailable));
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert!(!verifier.prefetch().await);
        // Those with a key that is known, or with the hub's own, do not wait for the next attempt.
        pass(PAUSE).await;
        let known = given.token(Some("given"), &claims());
        let own = verifier.issue("u", "u", None).unwrap();
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        assert!(verifier.verify_fetching(&known).await.is_ok());
        assert!(verifier.verify_fetching(&own).await.is_ok());
        assert_eq!(began.elapsed(), Duration::ZERO);
        tokio::time::resume();
    }
    server.handle.stop(false).await;
}

#[actix_rt::test]
async fn one_who_hangs_up_does_not_end_the_fetch() {
    let key = TestKey::new(Algorithm::EdDSA);
    let token = key.token(Some("k"), &claims());
    let server = Server::start(Answer::Set(vec![key.jwk("k")]));
    let verifier = server.verifier(server.jwks());
    {
        let asking = std::pin::pin!(verifier.verify_fetching(&token));
        assert!(futures_util::FutureExt::now_or_never(asking).is_none());
    }
    // It comes too early for a fetch of its own, and finds that of the other.
    assert!(verifier.verify_fetching(&token).await.is_ok());
    assert_eq!(server.hits(), 1);
    server.handle.stop(false).await;
}

#[actix_rt::test]
async fn keys_that_do_not_belong_in_a_set_are_left_out() {
    let secret = TestKey::new(Algorithm::HS256);
    let good = TestKey::new(Algorithm::EdDSA);
    let changed = |name: &str, value: Value| {
        let key = TestKey::new(Algorithm::EdDSA);
        let mut jwk = key.jwk(name);
        jwk[name] = value;
        (key, jwk, name.to_owned())
    };
    let mut bad = vec![
        changed("use", json!("enc")),
        changed("key_ops", json!(["sign"])),
        changed("alg", json!("RS256")),
        changed("crv", json!("Ed448")),
        changed("kty", json!("EC")),
        changed("x", json!("AAAA")),
    ];
    let small = TestKey::rsa(1024);
    bad.push((TestKey::rsa(1024), small.jwk("small"), "small".to_owned()));
    bad.push((
        TestKey::new(Algorithm::HS256),
        secret.jwk("oct"),
        "oct".to_owned(),
    ));
    let given = TestKey::new(Algorithm::EdDSA);
    let thief = TestKey::new(Algorithm::EdDSA);
    let mut off_curve = TestKey::new(Algorithm::ES256).jwk("off");
    off_curve["y"] = off_curve["x"].clone();

    let mut set: Vec<Value> = bad.iter().map(|(_, jwk, _)| jwk.clone()).collect();
    set.extend([
        json!(1),
        json!({}),
        off_curve,
        thief.jwk("given"),
        thief.jwk("loaner"),
        good.jwk("good"),
    ]);
    let server = Server::start(Answer::Set(set));
    let verifier = verifier(AuthConfig {
        jwks: Some(server.jwks()),
        ..config(vec![given.source(Some("given"))])
    });
    assert!(
        verifier
            .verify_fetching(&good.token(Some("good"), &claims()))
            .await
            .is_ok()
    );
    let remote = verifier.remote.as_ref().unwrap().keys();
    let kids: Vec<_> = remote.iter().map(|key| key.kid.as_deref()).collect();
    assert_eq!(kids, [Some("good")]);
    bad.push((secret, json!(null), "oct".to_owned()));
    for (key, _, kid) in &bad {
        for kid in [Some(kid.as_str()), None] {
            let token = key.token(kid, &claims());
            assert!(verifier.verify_fetching(&token).await.is_err(), "{kid:?}");
        }
    }
    assert!(
        verifier
            .verify(&given.token(Some("given"), &claims()))
            .is_ok()
    );
    assert!(
        verifier
            .verify(&thief.token(Some("given"), &claims()))
            .is_err()
    );
    server.handle.stop(false).await;
}

#[test]
fn only_addresses_of_key_sets_are_taken() {
    for good in ["https://a.test/x", "http://127.0.0.1:1/", "HTTPS://a.test"] {
        assert!(Jwks::new(good).is_ok(), "{good}");
    }
    for bad in [
        "", "a.test", "file:///etc/passwd", "ftp://a.test", "https://u:p@a.test/", "http://",
    ] {
        let error = Jwks::new(bad).unwrap_err();
        assert!(!error.to_string().contains("u:p"), "{error}");
        assert!(matches!(error, AuthConfigError::JwksUrl(_)), "{bad}");
    }
    for timeout in [Duration::ZERO, Duration::from_secs(61)] {
        let jwks = Jwks {
            timeout,
            ..Jwks::new("https://a.test/").unwrap()
        };
        let config = AuthConfig {
            jwks: Some(jwks),
            ..config(vec![])
        };
        assert!(matches!(
            Verifier::new(config, &[7; 32]),
            Err(AuthConfigError::JwksTimeout(_))
        ));
    }
}
