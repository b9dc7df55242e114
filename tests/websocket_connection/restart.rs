//! A hub that comes back: nothing that was receipted is lost, rooms and sign-ins are as they were.

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
