//! What a defect in the handling of one connection does to the others: nothing. The engine is one that panics on demand.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use awc::ws::{Frame as WsFrame, Message};
use futures_util::future::BoxFuture;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};

use super::*;
use crate::hub::auth::{AuthConfig, Verifier};
use crate::hub::engine::{
    Attached, DeviceKey, Engine, EngineFigures, PostRefused, Posting, RoomRecord, Sink,
};
use crate::hub::{HubConfig, server};

const PATIENCE: Duration = Duration::from_secs(10);
/// A message to this user is a defect.
const DEFECT: &str = "defect";

/// An engine that greets, and panics when it is given a message for [`DEFECT`].
struct Fragile;

impl Engine for Fragile {
    fn attach(
        &self,
        _: &DeviceKey,
        _: ConnId,
        sink: Arc<dyn Sink>,
        _: Option<&str>,
        _: Option<u64>,
    ) {
        sink.attached(&Attached {
            session: "s".to_owned(),
            resumed: false,
            expired: 0,
        });
    }
    fn detach(&self, _: &DeviceKey, _: ConnId, _: bool) {}
    fn post(
        &self,
        _: &DeviceKey,
        posting: Posting,
        _: Option<Arc<dyn Sink>>,
    ) -> Result<(), PostRefused> {
        assert!(&*posting.user != DEFECT, "a defect, made for this test");
        Err(PostRefused::MailboxFull)
    }
    fn acknowledge(&self, _: &DeviceKey, _: ConnId, _: u64) {}
    fn tick(&self) {}
    fn save_room(&self, _: RoomRecord) {}
    fn forget_room(&self, _: &str) {}
    fn save_peer(&self, _: &str, _: &str, _: &str) {}
    fn figures(&self) -> EngineFigures {
        EngineFigures::default()
    }
    fn flush(&self, _: Duration) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(true))
    }
    fn close(&self, _: Duration) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(true))
    }
}

type Socket = actix_codec::Framed<awc::BoxedSocket, awc::ws::Codec>;

/// A hub with one thread, so that all connections share it.
fn hub() -> (Arc<Core>, SocketAddr) {
    let mut config = HubConfig::default();
    config.limits.threads = 1;
    let verifier = Verifier::new(AuthConfig::default(), &[7; 32]).unwrap();
    let core = Arc::new(Core::new(Arc::new(config), verifier, Arc::new(Fragile)));
    let listener = server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = listener.local_addr().unwrap();
    actix_rt::spawn(server::serve(&core, vec![listener], None).unwrap());
    (core, addr)
}

async fn connect(addr: SocketAddr, path: &str) -> Socket {
    let url = format!("ws://{addr}{path}");
    awc::Client::new().ws(url).connect().await.unwrap().1
}

/// A device that has been greeted.
async fn device(core: &Core, addr: SocketAddr, user: &str) -> Socket {
    let token = core.verifier.issue(user, user, Some("d")).unwrap();
    let mut socket = connect(addr, &format!("/ws?token={token}")).await;
    assert_eq!(hear(&mut socket).await.unwrap()["type"], "connected");
    socket
}

async fn say(socket: &mut Socket, message: Value) {
    let message = Message::Text(message.to_string().into());
    socket.send(message).await.unwrap();
}

/// The next message; nothing when the connection has ended without a close frame.
async fn hear(socket: &mut Socket) -> Option<Value> {
    match tokio::time::timeout(PATIENCE, socket.next())
        .await
        .expect("nothing came")
    {
        Some(Ok(WsFrame::Text(text))) => Some(serde_json::from_slice(&text).unwrap()),
        Some(Ok(other)) => panic!("{other:?}"),
        Some(Err(_)) | None => None,
    }
}

fn to(user: &str) -> Value {
    json!({"type": "message", "payload": {"recipient_user_id": user, "content": 1}})
}

fn panics(core: &Core) -> bool {
    let page = core
        .metrics
        .encode(&core.table().snapshot(), &EngineFigures::default());
    page.contains("loaner_hub_panics_total 1\n")
}

#[actix_rt::test]
async fn a_defect_ends_one_device_and_no_other() {
    let (core, addr) = hub();
    let mut doomed = device(&core, addr, "doomed").await;
    let mut bystander = device(&core, addr, "bystander").await;
    say(&mut doomed, to(DEFECT)).await;
    assert_eq!(hear(&mut doomed).await, None, "the connection ends");
    let left: Vec<_> = core
        .table()
        .connections
        .iter()
        .filter_map(|(_, entry)| entry.user().map(str::to_owned))
        .collect();
    assert_eq!(left, ["bystander"], "its entry is gone");
    assert_eq!(core.table().connections.live(), 1);
    assert!(panics(&core));
    // The others are on the same thread, and newcomers too.
    say(&mut bystander, to("somebody")).await;
    assert_eq!(
        hear(&mut bystander).await.unwrap()["payload"]["code"],
        "MAILBOX_FULL"
    );
    device(&core, addr, "doomed").await;
}

/// Mail of a room is posted under the lock of the table, so the lock is poisoned.
#[actix_rt::test]
async fn a_defect_under_the_lock_leaves_the_table_usable() {
    let (core, addr) = hub();
    let (room, token) = core.table().create_room(DEFECT, Now::read()).unwrap();
    let register = |user: &str| {
        let id_token = core.verifier.issue(user, user, None).unwrap();
        json!({"type": "register", "peer_id": user, "room_id": room, "token": token, "id_token": id_token})
    };
    let (mut doomed, mut bystander) = (connect(addr, "/").await, connect(addr, "/").await);
    for (socket, user) in [(&mut doomed, DEFECT), (&mut bystander, "bystander")] {
        say(socket, register(user)).await;
        assert_eq!(hear(socket).await.unwrap()["type"], "registered_auth");
    }
    let mail = json!({"type": "mail", "from_peer_id": DEFECT, "to_peer_id": DEFECT, "payload": 1});
    say(&mut doomed, mail).await;
    assert_eq!(hear(&mut doomed).await, None, "the connection ends");
    assert!(panics(&core));
    say(
        &mut bystander,
        json!({"type": "discover_peers", "from_peer_id": "bystander"}),
    )
    .await;
    let found = hear(&mut bystander).await.unwrap();
    assert_eq!(
        (&found["type"], &found["count"]),
        (&json!("peer_list"), &json!(0))
    );
    let mut back = connect(addr, "/").await;
    say(&mut back, register(DEFECT)).await;
    assert_eq!(
        hear(&mut back).await.unwrap()["peer_list"],
        json!(["bystander"])
    );
}
