#![allow(clippy::unwrap_used)]

use super::*;

/// 2023-11-14T22:13:20Z.
const NOW: u64 = 1_700_000_000;

fn shared(secret: &str) -> IceConfig {
    IceConfig {
        stun: vec!["stun:stun.example:3478".to_owned()],
        turn: vec![TurnServer {
            urls: vec![
                "turn:turn.example:3478".to_owned(),
                "turn:turn.example:3478?transport=tcp".to_owned(),
            ],
            auth: TurnAuth::Shared {
                secret: Secret::new(secret),
                lifetime: TurnServer::LIFETIME,
            },
        }],
    }
}

/// The password was computed with `openssl dgst -sha1 -hmac`.
#[test]
fn the_credential_is_the_known_one() {
    assert_eq!(
        shared("north-wind").for_peer("W1", NOW),
        [
            json!({ "urls": ["stun:stun.example:3478"] }),
            json!({
                "urls": ["turn:turn.example:3478", "turn:turn.example:3478?transport=tcp"],
                "username": "1700043200:W1",
                "credential": "1DJRXMJnp3s+PLv9MIidejkmtOA=",
            }),
        ]
    );
}

#[test]
fn credentials_differ_by_peer_time_and_secret() {
    let password = |secret: &str, peer: &str, now| shared(secret).for_peer(peer, now)[1].clone();
    let one = password("a", "W1", NOW)["credential"].clone();
    assert_eq!(one, password("a", "W1", NOW)["credential"]);
    for other in [
        password("a", "W2", NOW),
        password("a", "W1", NOW + 1),
        password("b", "W1", NOW),
    ] {
        assert_ne!(one, other["credential"]);
    }
}

#[test]
fn fixed_credentials_are_the_same_for_all() {
    let config = IceConfig {
        stun: Vec::new(),
        turn: vec![TurnServer {
            urls: vec!["turn:h".to_owned()],
            auth: TurnAuth::Fixed {
                username: "lab".to_owned(),
                credential: Secret::new("hush"),
            },
        }],
    };
    assert_eq!(config.check(), Ok(()));
    let expected = [json!({ "urls": ["turn:h"], "username": "lab", "credential": "hush" })];
    assert_eq!(config.for_peer("a", NOW), expected);
    assert_eq!(config.for_peer("b", NOW + 1), expected);
}

#[test]
fn whatever_a_peer_calls_itself_its_user_name_is_one_short_word() {
    for id in [
        "",
        "9999999999:root",
        "a b\r\nrealm=\"x\"",
        "\u{1f512}é",
        &"x".repeat(10_000),
    ] {
        let servers = shared("s").for_peer(id, u64::MAX);
        let username = servers[1]["username"].as_str().unwrap();
        let (expiry, peer) = username.split_once(':').unwrap();
        assert_eq!(expiry, u64::MAX.to_string());
        assert!(peer.len() <= PEER_CHARS, "{username}");
        assert!(
            peer.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
            "{username}"
        );
    }
}

#[test]
fn the_secret_does_not_show() {
    let shown = format!("{:?}", shared("north-wind"));
    assert!(
        shown.contains("turn.example") && !shown.contains("north-wind"),
        "{shown}"
    );
}

#[test]
fn what_peers_cannot_use_is_named() {
    let check = |stun: &str, turn: &str, secret: &str| {
        let mut config = shared(secret);
        config.stun = vec![stun.to_owned()];
        config.turn[0].urls = vec![turn.to_owned()];
        config.check()
    };
    assert_eq!(check("stun:h", "turns:h", "s"), Ok(()));
    for (config, expected) in [
        (check("turn:h", "turn:h", "s"), "--turn-server"),
        (check("stun:h", "stun:h", "s"), "--ice-server"),
        (check("h:3478", "turn:h", "s"), "without slashes"),
        (check("stun:h", "turn:h:x", "s"), "1 to 65535"),
        (check("stun:h", "turn:h", ""), "empty"),
    ] {
        let error = config.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
