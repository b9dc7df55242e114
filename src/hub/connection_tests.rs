//! What a defect in the handling of one connection does to the others: nothing. The engine is one that panics on demand.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use awc::ws::{Frame as WsFrame, Message};
use futures_util::future::BoxFuture;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};

use super::*;
use crate::hub::auth::{AuthConfig, Verifier};
use crate::hub::engine::tests::Nowhere;
use crate::hub::engine::{
    Attached, DeviceKey, Engine, EngineFigures, PostRefused, Posting, RoomRecord, Sink,
};
use crate::hub::{HubConfig, server};

const PATIENCE: Duration = Duration::from_secs(10);
/// A message to this user is a defect.
const DEFECT: &str = "defect";
/// A message to this user holds the hub's thread.
const GATE: &str = "gate";

/// An engine that greets, panics when it is given a message for [`DEFECT`], holds its thread at one for [`GATE`], and
/// otherwise leads nowhere.
#[derive(Default)]
struct Fragile {
    /// Its thread is at the gate, and when it may go on.
    gate: Option<(Sender<()>, Mutex<Receiver<()>>)>,
    /// Whose messages came, in their order.
    order: Mutex<Vec<Arc<str>>>,
}

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
    fn post(
        &self,
        from: &DeviceKey,
        posting: Posting,
        _: Option<Arc<dyn Sink>>,
    ) -> Result<(), PostRefused> {
        assert!(&*posting.user != DEFECT, "a defect, made for this test");
        if &*posting.user == GATE
            && let Some((reached, go)) = &self.gate
        {
            reached.send(()).unwrap();
            go.lock().unwrap().recv().unwrap();
        }
        self.order.lock().unwrap().push(Arc::clone(&from.user));
        Err(PostRefused::MailboxFull)
    }
    fn detach(&self, device: &DeviceKey, conn: ConnId, resumable: bool) {
        Nowhere.detach(device, conn, resumable);
    }
    fn acknowledge(&self, device: &DeviceKey, conn: ConnId, up_to: u64) {
        Nowhere.acknowledge(device, conn, up_to);
    }
    fn tick(&self) {
        Nowhere.tick();
    }
    fn save_room(&self, room: RoomRecord) {
        Nowhere.save_room(room);
    }
    fn forget_room(&self, id: &str) {
        Nowhere.forget_room(id);
    }
    fn save_peer(&self, room: &str, peer: &str, user: &str) {
        Nowhere.save_peer(room, peer, user);
    }
    fn figures(&self) -> EngineFigures {
        Nowhere.figures()
    }
    fn flush(&self, within: Duration) -> BoxFuture<'static, bool> {
        Nowhere.flush(within)
    }
    fn close(&self, _: Duration) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(true))
    }
}

type Socket = actix_codec::Framed<awc::BoxedSocket, awc::ws::Codec>;

/// A hub with one thread, so that all connections share it.
fn hub() -> (Arc<Core>, SocketAddr) {
    hub_over(Arc::new(Fragile::default()))
}

fn hub_over(engine: Arc<Fragile>) -> (Arc<Core>, SocketAddr) {
    let mut config = HubConfig::default();
    config.limits.threads = 1;
    let verifier = Verifier::new(AuthConfig::default(), &[7; 32]).unwrap();
    let core = Arc::new(Core::new(Arc::new(config), verifier, engine));
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

/// A device that floods the hub has its turn, and then another one has: of what lay there at the same moment, the flood is
/// not handled first.
#[actix_rt::test]
async fn a_flood_waits_for_the_turns_of_others() {
    const FLOOD: usize = 500;
    let (reached, at_gate) = channel();
    let (go, may_go) = channel();
    let engine = Arc::new(Fragile {
        gate: Some((reached, Mutex::new(may_go))),
        order: Mutex::default(),
    });
    let (core, addr) = hub_over(Arc::clone(&engine));
    let mut flooding = device(&core, addr, "flooding").await;
    let mut bystander = device(&core, addr, "bystander").await;
    say(&mut flooding, to(GATE)).await;
    at_gate.recv_timeout(PATIENCE).unwrap();
    // The hub's one thread is held; meanwhile all of this comes to lie before it.
    for _ in 0..FLOOD {
        let message = Message::Text(to("somebody").to_string().into());
        flooding.feed(message).await.unwrap();
    }
    flooding.flush().await.unwrap();
    say(&mut bystander, to("somebody")).await;
    go.send(()).unwrap();
    for (socket, answers) in [(&mut bystander, 1), (&mut flooding, FLOOD + 1)] {
        for _ in 0..answers {
            assert_eq!(hear(socket).await.unwrap()["type"], "error");
        }
    }
    let order = engine.order.lock().unwrap();
    let turn = order.iter().position(|user| &**user == "bystander");
    assert!(turn.unwrap() <= FLOOD / 2, "{turn:?} of {FLOOD} came first");
}
