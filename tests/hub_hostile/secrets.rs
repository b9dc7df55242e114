//! What must not be in a log, with all of it switched on (weakness 13).

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::device::*;
use crate::support::{Peer, create_room, http, sign_in, text};

#[actix_web::test]
async fn no_token_and_nothing_that_peers_say_is_ever_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_loaner"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOANER_")) {
        command.env_remove(name);
    }
    let mut hub = command
        .args(["-vv", "hub", "--listen", "127.0.0.1:0", "--store", "memory"])
        .args(["--jwt-secret-file", &file("jwt", SECRET)])
        .args(["--admin-token-file", &file("admin", ADMIN.as_bytes())])
        .args(["--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE])
        .env("LOANER_LOG", "info,loaner=trace")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stderr = hub.stderr.take().unwrap();
    let log = actix_web::rt::spawn(async move {
        let mut log = String::new();
        stderr.read_to_string(&mut log).await.unwrap();
        log
    });
    let mut lines = BufReader::new(hub.stdout.take().unwrap()).lines();
    let mut said = String::new();
    let addr = loop {
        let line = soon(lines.next_line())
            .await
            .unwrap()
            .expect("the hub ended");
        said += &line;
        if let Some((_, addr)) = line.split_once("http://") {
            break addr
                .trim_matches(|c: char| !c.is_ascii_digit())
                .parse()
                .unwrap();
        }
    };

    let mut secrets: Vec<String> = Vec::new();
    // The signature alone makes a token.
    let mut keep = |token: String| {
        let part = token.rsplit('.').next().unwrap().to_owned();
        secrets.push(part);
        token
    };
    let bad = |user: &str| {
        signed(
            &json!({"alg": "HS256"}),
            &claims(user, "d", json!({})),
            b"wrong",
        )
    };
    let old = signed(
        &json!({"alg": "HS256"}),
        &claims("u", "d", json!({"exp": 9})),
        SECRET,
    );

    let good = keep(token("in-query", "d"));
    let mut wire = Wire::open(
        addr,
        &format!("/ws?%74oken={good}&resume=s3cr3t-session"),
        "",
    )
    .await
    .ok()
    .unwrap();
    let session = text(&wire.recv().await["payload"]["session"]);
    let fresh = keep(signed(
        &json!({"alg": "HS256"}),
        &claims("in-query", "d", json!({"nonce": 1})),
        SECRET,
    ));
    for token in [fresh, keep(bad("refresh"))] {
        wire.ask(json!({"type": "refresh", "payload": {"token": token}}))
            .await;
    }
    // Frames that are not understood, with a secret in them.
    for kind in ["refresh", "reefresh"] {
        wire.ask(json!({"type": kind, "payload": {"token": {"x": "s3cr3t-in-rubbish"}}}))
            .await;
    }
    wire.post(("in-query", None), "1", json!("s3cr3t-content"))
        .await;
    wire.recv_of("error").await;
    drop(wire);
    let header = keep(token("in-header", "d"));
    Wire::try_device(addr, &header).await.ok().unwrap();
    let protocol = keep(token("in-subprotocol", "d"));
    let headers = format!("Sec-WebSocket-Protocol: loaner.v1.json, bearer.{protocol}\r\n");
    let mut device = Wire::open(addr, "/ws/", &headers).await.ok().unwrap();
    device.recv().await;
    device
        .post(("in-header", None), "1", json!("s3cr3t-content"))
        .await;
    device.recv_of("accepted").await;
    for token in [keep(bad("u")), keep(old)] {
        assert!(Wire::try_device(addr, &token).await.is_err());
        assert!(
            Wire::open(addr, &format!("/ws?token={token}"), "")
                .await
                .is_err()
        );
        assert!(
            Wire::open(
                addr,
                &format!("/ws/?close_codes=1&jwt={token}&token={token}"),
                ""
            )
            .await
            .is_ok()
        );
        let headers = format!("Sec-WebSocket-Protocol: bearer.{token}\r\n");
        assert!(Wire::open(addr, "/ws", &headers).await.is_err());
        // Where no token belongs.
        http(addr, "GET", &format!("/lost/{token}?x={token}"), None, None).await;
        http(
            addr,
            "GET",
            "/connections",
            Some(&format!("Bearer {token}")),
            None,
        )
        .await;
    }
    let body = json!({"device_id": "d"}).to_string();
    let signed_in = http(addr, "POST", "/anonymous-signin", None, Some(&body))
        .await
        .body;
    keep(text(&signed_in["id_token"]));
    let refresh = json!({"refresh_token": keep(text(&signed_in["refresh_token"]))}).to_string();
    http(addr, "POST", "/anonymous-signin", None, Some(&refresh)).await;
    admin(addr, "/connections").await;

    // A room: its token, its peers' descriptions of themselves, and what they tell one another.
    let user = sign_in(addr).await;
    keep(user.token.clone());
    let room = create_room(addr, &user).await;
    let mut peer = Peer::join(
        addr,
        "p",
        &user,
        &room,
        json!({"metadata": {"x": "s3cr3t-metadata"}}),
    )
    .await;
    let mut other = Peer::join(addr, "q", &user, &room, json!({})).await;
    let guess = json!({"type": "register", "peer_id": "p", "room_id": room.id, "token": "s3cr3t-guess", "id_token": user.token});
    peer.ask(guess).await;
    peer.send(json!({"type": "offer", "sender": "p", "target": "q", "sdp": "s3cr3t-sdp"}))
        .await;
    other.recv().await;
    peer.send(json!({"type": "peer_message", "from_peer_id": "p", "to_peer_id": "q", "payload": "s3cr3t-payload"})).await;
    other.recv().await;
    peer.ask(
        json!({"type": "mail", "from_peer_id": "p", "to_peer_id": "q", "payload": "s3cr3t-mail"}),
    )
    .await;
    http(
        addr,
        "POST",
        "/delete-peer",
        Some(&user.token),
        Some("{\"peer_id\": \"p\"}"),
    )
    .await;
    let body: Value = json!({"room_id": room.id, "id_token": user.token});
    http(
        addr,
        "POST",
        "/delete-peers-and-room",
        None,
        Some(&body.to_string()),
    )
    .await;

    let pid = nix::unistd::Pid::from_raw(hub.id().unwrap() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    soon(hub.wait()).await.unwrap();
    let log = soon(log).await.unwrap() + &said;
    for seen in [
        "/ws", "/ws/", "/lost/", "/anonymous-signin", "peer joined", "transition",
    ] {
        assert!(
            log.contains(seen),
            "the log says nothing of `{seen}`:\n{log}"
        );
    }
    secrets.extend([session, room.token, ADMIN.to_owned(), "s3cr3t".to_owned()]);
    secrets.push(String::from_utf8(SECRET.to_vec()).unwrap());
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "`{secret}` is in the log: {line:?}");
    }
}
