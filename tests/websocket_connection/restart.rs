//! A hub that comes back: nothing that was receipted is lost, rooms and sign-ins are as they were.

use std::path::{Path, PathBuf};

use loaner::hub::RunningHub;
use loaner::hub::store::Place;
use serde_json::{Value, json};

use crate::support::*;

async fn post(addr: std::net::SocketAddr, path: &str, auth: Option<&str>) -> Value {
    let mut request = awc::Client::new().post(format!("http://{addr}{path}"));
    if let Some(auth) = auth {
        request = request.bearer_auth(auth);
    }
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}

/// Mailboxes, rooms, and the hub's own tokens survive a restart; message ids go on ascending.
#[actix_web::test]
async fn a_restarted_hub_knows_mailboxes_rooms_and_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::File(dir.path().join("hub.sqlite"));
    let start = || hub_with(|config| config.store = place.clone());
    let hub = start();
    let addr = hub.addrs[0];
    let signed_in = post(addr, "/anonymous-signin", None).await;
    let id_token = signed_in["id_token"].as_str().unwrap();
    let room = post(addr, "/create-room", Some(id_token)).await;
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    let stored = bob.deliver("ann", Some("laptop"), "1", json!("kept")).await;
    // One that is under way when the hub stops is written down, too.
    let mut cid = Device::connect(addr, "cid", "laptop").await;
    bob.post("cid", None, "2", json!("under way")).await;
    cid.expect("message").await;
    hub.stop().await;

    let hub = start();
    let addr = hub.addrs[0];
    let (mut peer, _) = tokio_tungstenite::connect_async(format!("ws://{addr}/"))
        .await
        .unwrap();
    let register = json!({"type": "register", "peer_id": "p", "room_id": room["room_id"], "token": room["token"],
        "id_token": id_token});
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;
    peer.send(Message::text(register.to_string()))
        .await
        .unwrap();
    let answer = peer.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(answer.contains("registered_auth"), "{answer}");
    let mut ann = Device::connect(addr, "ann", "laptop").await;
    let kept = ann.take().await;
    assert_eq!(
        (&kept["content"], &kept["message_id"]),
        (&json!("kept"), &stored["message_id"])
    );
    let mut cid = Device::connect(addr, "cid", "laptop").await;
    assert_eq!(cid.take().await["content"], "under way");
    // Sent again by a sender that heard nothing of it, it is known.
    let mut bob = Device::connect(addr, "bob", "laptop").await;
    let again = bob.deliver("ann", Some("laptop"), "1", json!("kept")).await;
    assert_eq!(
        (&again["duplicate"], &again["message_id"]),
        (&json!(true), &stored["message_id"])
    );
    bob.post("ann", Some("laptop"), "3", json!("new")).await;
    let new = ann.take().await;
    assert!(new["message_id"].as_u64() > kept["message_id"].as_u64());
    hub.stop().await;
}

/// A hub of this name over a store.
fn hub_over(store: &Path, node: &str) -> RunningHub {
    hub_with(|config| {
        config.store = Place::File(store.to_owned());
        config.node = node.to_owned();
    })
}

/// The store as it would be found if its hub were killed now: the file, and the log beside it.
fn copy(store: &Path, name: &str) -> PathBuf {
    let copy = store.with_file_name(name);
    std::fs::copy(store, &copy).unwrap();
    let log = |path: &Path| {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        PathBuf::from(log)
    };
    if log(store).exists() {
        std::fs::copy(log(store), log(&copy)).unwrap();
    }
    copy
}

/// A device that comes back to its session; `last` is the last message that it has.
async fn resume(hub: &RunningHub, user: &str, before: &Value, last: &Value) -> Device {
    let (token, session) = (token(user, "laptop"), before["session"].as_str().unwrap());
    let query = format!("token={token}&resume={session}&last={last}");
    Device::open(hub.addrs[0], &query).await
}

/// The sessions of those that were connected, or away for a while, go on after a planned restart: receipts come without being
/// asked for, and messages that a device has do not come again. Not so at a hub of another name, or after a kill.
#[actix_web::test]
async fn a_planned_restart_resumes_sessions_and_a_kill_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("hub");
    let hub = hub_over(&store, "one");
    let addr = hub.addrs[0];
    let mut slow = Device::connect(addr, "slow", "laptop").await;
    let mut here = Device::connect(addr, "here", "laptop").await;
    let mut away = Device::connect(addr, "away", "laptop").await;
    let none = json!(0);
    away.deliver("offline", Some("laptop"), "1", json!("for later"))
        .await;
    // Given, and not acknowledged: its receipt is under way when the hub stops.
    away.post("slow", Some("laptop"), "2", json!("from away"))
        .await;
    slow.expect("message").await;
    here.post("slow", Some("laptop"), "3", json!("from here"))
        .await;
    let last = slow.expect("message").await["message_id"].take();
    let was_away = away.connected.clone();
    away.close().await;
    let sent_away = async {
        // One that is connected is told before it has to go.
        assert_eq!(here.expect("accepted").await["client_message_id"], "3");
        for device in [&mut here, &mut slow] {
            device.expect("going_away").await;
            assert_eq!(device.closed_with().await.0, 4000);
        }
    };
    tokio::join!(hub.stop(), sent_away);

    let renamed = hub_over(&copy(&store, "renamed"), "two");
    let device = resume(&renamed, "away", &was_away, &none).await;
    assert_eq!(device.connected["resumed"], false);

    let hub = hub_over(&store, "one");
    let mut away = resume(&hub, "away", &was_away, &none).await;
    assert_eq!(away.connected["resumed"], true);
    assert_eq!(away.connected["session"], was_away["session"]);
    let receipt = away.expect("accepted").await;
    assert_eq!(
        (&receipt["client_message_id"], &receipt["status"]),
        (&json!("2"), &json!("stored"))
    );
    away.hears_nothing().await;
    for (user, was) in [("slow", &slow), ("here", &here)] {
        let mut device = resume(&hub, user, &was.connected, &last).await;
        assert_eq!(device.connected["resumed"], true, "{user}");
        device.hears_nothing().await;
    }

    // As after a kill: neither a session that began since then nor one that was resumed goes on.
    let late = Device::connect(hub.addrs[0], "late", "laptop").await;
    let killed = hub_over(&copy(&store, "killed"), "one");
    for (user, before) in [("away", &was_away), ("late", &late.connected)] {
        let device = resume(&killed, user, before, &none).await;
        assert_eq!(device.connected["resumed"], false, "{user}");
        assert_ne!(device.connected["session"], before["session"]);
    }
}
