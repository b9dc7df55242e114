//! Who comes and who goes, told to those who ask when they register: `peer_joined` and `peer_left`.

use serde_json::{Value, json};

use super::support::*;

/// `scene`'s room, and in it one who asks for notices.
async fn curious() -> (Scene, Peer, User) {
    let s = scene().await;
    let user = sign_in(s.addr).await;
    let asks = json!({"role": "client", "notices": true});
    let peer = Peer::join(s.addr, "curious", &user, &s.room, asks).await;
    (s, peer, user)
}

fn joined(room: &Room, id: &str, role: &str, metadata: Value) -> Value {
    json!({"type": "peer_joined", "room_id": room.id, "peer_id": id, "role": role, "metadata": metadata})
}

fn left(room: &Room, id: &str, role: &str) -> Value {
    json!({"type": "peer_left", "room_id": room.id, "peer_id": id, "role": role})
}

/// Who asked hears, once each, who comes and who goes: by closing, by a connection that breaks without a word, and by
/// registering as somebody else. It hears nothing of its own coming.
#[actix_web::test]
async fn who_asks_is_told_who_comes_and_who_goes() {
    let (s, mut curious, user) = curious().await;
    curious.hears_nothing().await;
    let worker = json!({"role": "worker", "metadata": worker_metadata(8192)});
    let closes = Peer::join(s.addr, "closes", &user, &s.room, worker).await;
    assert_eq!(
        curious.recv().await,
        joined(&s.room, "closes", "worker", worker_metadata(8192))
    );
    closes.close().await;
    assert_eq!(curious.recv().await, left(&s.room, "closes", "worker"));
    let mut breaks = RawSocket::connect(s.addr).await;
    let frame = register("breaks", &user, &s.room, json!({"role": "client"}));
    breaks.send_text(frame).await;
    assert_eq!(curious.recv().await["peer_id"], "breaks");
    breaks.reset();
    assert_eq!(curious.recv().await, left(&s.room, "breaks", "client"));
    let plain = json!({"role": "client"});
    let mut changes = Peer::join(s.addr, "before", &user, &s.room, plain.clone()).await;
    assert_eq!(curious.recv().await["peer_id"], "before");
    let reply = changes.ask(register("after", &user, &s.room, plain)).await;
    assert_eq!(reply["type"], "registered_auth", "{reply}");
    assert_eq!(curious.recv().await, left(&s.room, "before", "client"));
    let next = curious.recv().await;
    assert_eq!(
        (&next["type"], &next["peer_id"]),
        (&json!("peer_joined"), &json!("after"))
    );
    curious.hears_nothing().await;
}

/// A newer connection of a peer takes its place: whoever watches the room sees no gap. Where the newer one is in another
/// room, the peer has left this one.
#[actix_web::test]
async fn a_peer_that_is_replaced_has_left_only_if_its_place_is_empty() {
    let (s, mut curious, user) = curious().await;
    let plain = json!({"role": "worker"});
    let mut first = Peer::join(s.addr, "twice", &user, &s.room, plain.clone()).await;
    assert_eq!(curious.recv().await["type"], "peer_joined");
    let mut second = Peer::join(s.addr, "twice", &user, &s.room, plain.clone()).await;
    first.closed_with().await;
    curious.hears_nothing().await;
    let elsewhere = create_room(s.addr, &user).await;
    let third = Peer::join(s.addr, "twice", &user, &elsewhere, plain).await;
    assert_eq!(curious.recv().await, left(&s.room, "twice", "worker"));
    second.closed_with().await;
    third.close().await;
    curious.hears_nothing().await;
}

/// Who did not ask is told nothing, as at a hub of old, and neither is anybody of another room. Who asks no more, by
/// registering again without it, is told no more.
#[actix_web::test]
async fn nobody_else_is_told() {
    let (mut s, mut curious, user) = curious().await;
    let asks = json!({"role": "client", "notices": true});
    let elsewhere = create_room(s.addr, &user).await;
    let mut stranger = Peer::join(s.addr, "stranger", &user, &elsewhere, asks).await;
    for no in [json!(false), Value::Null, json!(0), json!("")] {
        let frame = register("c2", &s.c_user, &s.room, json!({"notices": no}));
        let mut silent = Peer::connect(s.addr).await;
        assert_eq!(silent.ask(frame).await["type"], "registered_auth");
        assert_eq!(curious.recv().await["type"], "peer_joined");
        let comes = Peer::join(s.addr, "comes", &user, &s.room, json!({})).await;
        assert_eq!(curious.recv().await["type"], "peer_joined");
        comes.close().await;
        assert_eq!(curious.recv().await["type"], "peer_left");
        silent.hears_nothing().await;
        silent.close().await;
        assert_eq!(curious.recv().await["type"], "peer_left");
    }
    s.w.hears_nothing().await;
    s.c.hears_nothing().await;
    stranger.hears_nothing().await;
    let reply = curious
        .ask(register("curious", &user, &s.room, json!({})))
        .await;
    assert_eq!(reply["type"], "registered_auth", "{reply}");
    let comes = Peer::join(s.addr, "comes", &user, &s.room, json!({})).await;
    comes.close().await;
    curious.hears_nothing().await;
}
/// A hub that stops says goodbye to each, and to nobody that the others left: they will be back as soon as it is, and
/// whoever took it for news would give up what a restart is not to cost.
#[actix_web::test]
async fn a_hub_that_stops_tells_of_nobody() {
    let (s, mut first, user) = curious().await;
    let asks = json!({"role": "client", "notices": true});
    let mut second = Peer::join(s.addr, "second", &user, &s.room, asks).await;
    assert_eq!(first.recv().await["peer_id"], "second");
    s.hub.stop().await;
    assert_eq!(first.closed_with().await, 1001);
    assert_eq!(second.closed_with().await, 1001);
}
