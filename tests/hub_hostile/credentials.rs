//! Forged senders, and tokens that are stolen, made up, or of somebody else.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use loaner::hub::auth::{Algorithm, AuthConfig, KeySource, Secret};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use serde_json::{Value, json};

use crate::device::*;

#[actix_web::test]
async fn the_sender_is_who_the_token_says_whatever_the_frame_says() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let mut mallory = Wire::device(addr, "mallory", "m1").await;
    let mut bob = Wire::device(addr, "bob", "b1").await;
    mallory
        .send(json!({"type": "message", "sender_user_id": "alice", "user_id": "alice", "payload": {
            "recipient_user_id": "bob", "content": "hello", "sender_user_id": "alice", "sender_device_id": "a1",
            "user_id": "alice", "device_id": "a1", "message_id": 1, "sent_at": 1, "connection_id": "hub-2",
        }}))
        .await;
    let heard = bob.recv_of("message").await;
    assert_eq!(
        (&heard["sender_user_id"], &heard["sender_device_id"]),
        (&json!("mallory"), &json!("m1"))
    );
    assert!(heard["sent_at"].as_u64().unwrap() > 1_000_000_000_000);
    // What only the hub says is no message of a device.
    for kind in [
        "connected", "accepted", "error", "token_expiring", "going_away",
    ] {
        let frame =
            json!({"type": kind, "payload": {"code": "X", "message": "y", "message_id": 7}});
        let reply = mallory.ask(frame).await;
        assert_eq!(reply["payload"]["code"], "UNKNOWN_TYPE", "{kind}");
    }
    // Nobody acknowledges for another device.
    mallory
        .send(json!({"type": "ack", "payload": {"up_to": heard["message_id"]}}))
        .await;
    mallory.echo().await;
    bob.send(json!({"type": "ack", "payload": {"up_to": heard["message_id"]}}))
        .await;
    assert_eq!(mallory.recv_of("accepted").await["status"], "delivered");
}

/// Every way of being refused at the door, and that nothing is left of those who were.
#[actix_web::test]
async fn a_token_that_is_not_good_is_refused_with_a_reason() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let hs256 = json!({"alg": "HS256", "typ": "JWT"});
    let with = |more: Value| signed(&hs256, &claims("alice", "a1", more), SECRET);
    let good = token("alice", "a1");
    let headed = |header: Value| signed(&header, &claims("alice", "a1", json!({})), SECRET);
    let unsigned = |alg: &str| {
        let whole = headed(json!({"alg": alg}));
        let (text, _) = whole.rsplit_once('.').unwrap();
        format!("{text}.")
    };
    let mut flipped = good.clone().into_bytes();
    let last = flipped.len() - 10;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let other_claims = URL_SAFE_NO_PAD.encode(claims("root", "a1", json!({})).to_string());
    let swapped: Vec<_> = good.split('.').collect();
    let swapped = format!("{}.{other_claims}.{}", swapped[0], swapped[2]);
    let cases: Vec<(&str, String, &str)> = vec![
        (
            "expired",
            with(json!({"exp": epoch() - 1})),
            "TOKEN_EXPIRED",
        ),
        (
            "of the last century",
            with(json!({"exp": 1})),
            "TOKEN_EXPIRED",
        ),
        (
            "not yet",
            with(json!({"nbf": epoch() + 100})),
            "TOKEN_NOT_YET_VALID",
        ),
        (
            "without an end",
            with(json!({"exp": null})),
            "TOKEN_INVALID",
        ),
        (
            "with an end in words",
            with(json!({"exp": "tomorrow"})),
            "TOKEN_INVALID",
        ),
        (
            "of another issuer",
            with(json!({"iss": "https://evil.test"})),
            "TOKEN_INVALID",
        ),
        ("of no issuer", with(json!({"iss": null})), "TOKEN_INVALID"),
        (
            "of the hub itself, it says",
            with(json!({"iss": "loaner", "aud": "loaner"})),
            "TOKEN_INVALID",
        ),
        (
            "for another",
            with(json!({"aud": "another"})),
            "TOKEN_INVALID",
        ),
        ("for nobody", with(json!({"aud": null})), "TOKEN_INVALID"),
        ("of nobody", with(json!({"sub": null})), "TOKEN_INVALID"),
        (
            "of a name with a line break",
            with(json!({"sub": "a\nb"})),
            "TOKEN_INVALID",
        ),
        (
            "of a name without end",
            with(json!({"sub": "x".repeat(10_000)})),
            "TOKEN_INVALID",
        ),
        (
            "of no device",
            with(json!({"device_id": null})),
            "TOKEN_NO_DEVICE",
        ),
        ("unsigned", unsigned("none"), "TOKEN_INVALID"),
        ("unsigned, loudly", unsigned("NONE"), "TOKEN_INVALID"),
        ("unsigned, oddly", unsigned("nOnE"), "TOKEN_INVALID"),
        (
            "signed, with no algorithm",
            headed(json!({"alg": "none"})),
            "TOKEN_INVALID",
        ),
        ("without a signature", unsigned("HS256"), "TOKEN_INVALID"),
        (
            "of no algorithm",
            headed(json!({"typ": "JWT"})),
            "TOKEN_INVALID",
        ),
        (
            "of another algorithm",
            headed(json!({"alg": "HS512"})),
            "TOKEN_INVALID",
        ),
        (
            "in the hub's own name",
            headed(json!({"alg": "HS256", "kid": "loaner"})),
            "TOKEN_INVALID",
        ),
        (
            "with its own key",
            headed(json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}, "crit": ["jwk"]})),
            "TOKEN_INVALID",
        ),
        (
            "of another secret",
            signed(&hs256, &claims("alice", "a1", json!({})), b"guessed"),
            "TOKEN_INVALID",
        ),
        (
            "of no secret",
            signed(&hs256, &claims("alice", "a1", json!({})), b""),
            "TOKEN_INVALID",
        ),
        (
            "with a bit changed",
            String::from_utf8(flipped).unwrap(),
            "TOKEN_INVALID",
        ),
        ("with other claims", swapped, "TOKEN_INVALID"),
        ("twice", format!("{good}.{good}"), "TOKEN_INVALID"),
        ("cut", good[..good.len() / 2].to_owned(), "TOKEN_INVALID"),
        (
            "of 20 KiB",
            with(json!({"more": "x".repeat(15 << 10)})),
            "TOKEN_INVALID",
        ),
        ("of dots", "......".to_owned(), "TOKEN_INVALID"),
        (
            "of noise",
            "\u{e9}~\\\"'%00<>".replace('\u{e9}', "?"),
            "TOKEN_INVALID",
        ),
        (
            "with the word in it",
            good.replace('.', "Bearer ."),
            "TOKEN_INVALID",
        ),
    ];
    for (what, bad, code) in &cases {
        let Err(refused) = Wire::try_device(addr, bad).await else {
            panic!("a token {what} was let in");
        };
        assert_eq!(
            (refused.status, refused.code()),
            (401, *code),
            "{what}: {}",
            refused.body
        );
        assert!(refused.header("www-authenticate").is_some(), "{what}");
        assert!(
            !refused.body.to_string().contains(bad.as_str()),
            "{what}: it comes back"
        );
    }
    let none = Wire::open(addr, "/ws", "").await.err().unwrap();
    assert_eq!((none.status, none.code()), (401, "TOKEN_MISSING"));
    // The first place decides: a good token elsewhere does not help a bad one.
    let headers = format!("Authorization: Bearer {good}\r\n");
    let mixed = Wire::open(addr, "/ws?token=eyJ.a.b", &headers).await;
    assert_eq!(mixed.err().unwrap().code(), "TOKEN_INVALID");
    // A page in a browser is told by a close code.
    for (bad, code) in [(&cases[0].1, 4402), (&cases[5].1, 4401)] {
        let target = format!("/ws/?close_codes=1&token={bad}");
        let mut wire = Wire::open(addr, &target, "").await.ok().unwrap();
        wire.post(("alice", None), "1", json!("from nobody")).await;
        assert_eq!(wire.closed_with().await, code);
        drop(wire);
    }
    assert_eq!(metric(addr, "loaner_hub_mail_posted_total").await, 0);
    empty(addr).await;
    // The hub is not tired of it.
    Wire::device(addr, "alice", "a1").await.echo().await;
}

#[actix_web::test]
async fn a_token_that_is_replayed_after_its_end_opens_nothing() {
    let hub = device_hub(|_| {});
    let addr = hub.addrs[0];
    let end = epoch() + 2;
    let header = json!({"alg": "HS256"});
    let short = signed(&header, &claims("alice", "a1", json!({"exp": end})), SECRET);
    let mut first = Wire::try_device(addr, &short)
        .await
        .ok()
        .expect("it is good yet");
    let greeting = first.recv().await;
    assert!(greeting["payload"]["token_expires_in_ms"].as_u64().unwrap() <= 2000);
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    loop {
        tries.tick().await;
        // Before the attempt: a refusal may come at the end itself, not before it.
        match Wire::try_device(addr, &short).await {
            Ok(_) => assert!(epoch() <= end, "it opened a socket after its end"),
            Err(refused) => {
                assert_eq!((refused.status, refused.code()), (401, "TOKEN_EXPIRED"));
                assert!(epoch() >= end, "refused before its end");
                break;
            }
        }
    }
    let mut alice = Wire::device(addr, "alice", "a1").await;
    let refresh = json!({"type": "refresh", "payload": {"token": short}});
    assert_eq!(alice.ask(refresh).await["payload"]["code"], "TOKEN_EXPIRED");
    alice.echo().await;
}

/// The public key is public, so an HS256 token "signed" with it is anybody's.
#[actix_web::test]
async fn a_public_key_is_no_secret() {
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
    let pem = key
        .to_public_key()
        .to_public_key_pem(LineEnding::LF)
        .unwrap();
    let hub = device_hub(|config| {
        config.auth = AuthConfig {
            algorithms: vec![Algorithm::RS256, Algorithm::HS256],
            keys: vec![
                KeySource::Pem {
                    pem: pem.clone(),
                    algorithm: Algorithm::RS256,
                    kid: Some("rsa".to_owned()),
                },
                KeySource::Secret {
                    secret: Secret::new(SECRET),
                    kid: Some("shared".to_owned()),
                },
            ],
            ..config.auth.clone()
        };
    });
    let addr = hub.addrs[0];
    let der = key.to_pkcs1_der().unwrap();
    let signing = jsonwebtoken::EncodingKey::from_rsa_der(der.as_bytes());
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    header.kid = Some("rsa".to_owned());
    let honest =
        jsonwebtoken::encode(&header, &claims("alice", "a1", json!({})), &signing).unwrap();
    assert!(Wire::try_device(addr, &honest).await.is_ok());

    let public = key.to_public_key().to_public_key_der().unwrap();
    let trimmed = pem.trim_end();
    for secret in [pem.as_bytes(), trimmed.as_bytes(), public.as_bytes()] {
        for header in [
            json!({"alg": "HS256", "kid": "rsa"}),
            json!({"alg": "HS256"}),
            json!({"alg": "HS256", "kid": "shared"}),
            json!({"alg": "RS256", "kid": "rsa"}),
        ] {
            let forged = signed(&header, &claims("alice", "a1", json!({})), secret);
            let refused = Wire::try_device(addr, &forged).await.err();
            let refused = refused.unwrap_or_else(|| panic!("{header} let in"));
            assert_eq!(
                (refused.status, refused.code()),
                (401, "TOKEN_INVALID"),
                "{header}"
            );
        }
    }
}
