//! The table without sockets: time, and any order of events.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::connections::{Entry, Outlet};
use super::super::filter::tests::any_json;
use super::super::frames::Frame;
use super::super::limits::HubLimits;
use super::*;

/// What one connection was sent; its queue takes no more than 40 frames.
#[derive(Clone, Default)]
struct Wire {
    frames: Arc<Mutex<Vec<Value>>>,
    closed: Arc<Mutex<Option<CloseCode>>>,
}

impl Outlet for Wire {
    fn send(&self, text: String) -> bool {
        let mut frames = self.frames.lock().unwrap();
        if self.closed.lock().unwrap().is_some() || frames.len() >= 40 {
            return false;
        }
        frames.push(serde_json::from_str(&text).unwrap());
        true
    }

    fn close(&self, code: CloseCode) {
        self.closed.lock().unwrap().get_or_insert(code);
    }

    fn postman(&self) -> Option<Arc<dyn super::super::engine::Sink>> {
        None
    }
    fn unseated(&self) {}

    fn resumed(&self) {}
}

struct World {
    table: Table,
    now: Now,
    users: Vec<String>,
    rooms: Vec<(String, String)>,
}

const HOUR: Duration = Duration::from_secs(3600);

impl World {
    fn new() -> World {
        let limits = HubLimits {
            peers_per_room: 3,
            ..HubLimits::default()
        };
        let config = Arc::new(HubConfig {
            limits,
            ..HubConfig::default()
        });
        let users: Vec<_> = (0..3).map(|n| format!("u{n}")).collect();
        let mut table = Table::new(
            config,
            Arc::default(),
            Arc::new(super::super::engine::tests::Nowhere),
        );
        let now = Now {
            at: Instant::now(),
            epoch: 1e9,
        };
        let rooms = (0..2)
            .map(|n| table.create_room(&users[n], now).unwrap())
            .collect();
        World {
            table,
            now,
            users,
            rooms,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now {
            at: self.now.at + time,
            epoch: self.now.epoch + time.as_secs_f64(),
        };
    }

    fn open(&mut self) -> (ConnId, Wire) {
        let wire = Wire::default();
        let entry = Entry {
            outlet: Box::new(wire.clone()),
            device: None,
            turned_away: false,
            seat: None,
            resumable: false,
            opened: self.now.epoch,
            from: None,
            meter: Arc::default(),
        };
        let limits = HubLimits::default();
        (self.table.connections.open(entry, &limits).unwrap(), wire)
    }

    fn say(&mut self, conn: ConnId, frame: Value) {
        // What the connection's actor has found out from the token.
        let user = frame["id_token"].as_str().map(str::to_owned);
        let frame = Frame::parse(frame.to_string().as_bytes());
        self.table.frame(conn, frame, user.as_deref(), self.now);
    }

    fn register(&mut self, conn: ConnId, user: usize, room: usize, id: &str, admin: bool) {
        let (room, token) = self.rooms[room].clone();
        let frame = json!({"type": "register", "peer_id": id, "room_id": room, "token": token,
            "id_token": self.users[user], "role": "client", "is_admin": admin});
        self.say(conn, frame);
    }
}

fn last(wire: &Wire) -> Value {
    wire.frames.lock().unwrap().last().cloned().unwrap()
}

#[test]
fn a_room_does_not_expire_while_peers_are_in_it_and_lasts_a_lifetime_longer() {
    let mut world = World::new();
    let (a, _) = world.open();
    world.register(a, 0, 0, "a", false);
    world.pass(5 * HOUR);
    world.table.sweep(world.now);
    let (b, wire) = world.open();
    world.register(b, 1, 0, "b", false);
    assert_eq!(last(&wire)["type"], "registered_auth", "in use");
    world.register(b, 1, 1, "b", false);
    assert_eq!(
        last(&wire)["reason"],
        "Room not found",
        "the other room is forgotten, an hour after its end"
    );

    world.table.gone(a, world.now);
    world.table.gone(b, world.now);
    world.pass(2 * HOUR);
    let (c, wire) = world.open();
    world.register(c, 1, 0, "c", false);
    assert_eq!(
        last(&wire)["type"],
        "registered_auth",
        "two hours after the last departure"
    );
    world.table.gone(c, world.now);
    world.pass(2 * HOUR + Duration::from_secs(1));
    world.table.sweep(world.now);
    let (d, wire) = world.open();
    world.register(d, 1, 0, "d", false);
    assert_eq!(
        last(&wire)["reason"],
        "Room expired",
        "known for a while as what it is"
    );
    world.pass(HOUR);
    world.table.sweep(world.now);
    let (e, wire) = world.open();
    world.register(e, 1, 0, "e", false);
    assert_eq!(last(&wire)["reason"], "Room not found");
}

#[test]
fn a_full_hub_makes_room_from_what_has_expired() {
    let mut world = World::new();
    let limits = HubLimits {
        rooms: 2,
        ..HubLimits::default()
    };
    world.table.config = Arc::new(HubConfig {
        limits,
        ..HubConfig::default()
    });
    assert_eq!(
        world.table.create_room("u2", world.now),
        Err(RoomRefused::HubFull)
    );
    world.pass(3 * HOUR);
    assert!(world.table.create_room("u2", world.now).is_ok());
}

#[test]
fn offers_are_remembered_up_to_a_bound() {
    let mut world = World::new();
    let (w, wire) = world.open();
    let (c, client) = world.open();
    world.register(w, 0, 0, "w", false);
    world.register(c, 1, 0, "c", false);
    for _ in 0..36 {
        world.say(
            c,
            json!({"type": "offer", "sender": "c", "target": "w", "sdp": "x"}),
        );
    }
    assert_eq!(wire.frames.lock().unwrap().len(), 37, "all delivered");
    client.frames.lock().unwrap().clear();
    for _ in 0..40 {
        world.say(
            w,
            json!({"type": "error", "target": "c", "reason": "worker_busy"}),
        );
    }
    assert_eq!(client.frames.lock().unwrap().len(), 32);
}

/// One thing that can happen.
#[derive(Debug, Clone)]
enum Event {
    Open,
    Gone(usize),
    Register {
        conn: usize,
        user: usize,
        room: usize,
        id: usize,
        admin: bool,
    },
    Message {
        conn: usize,
        from: usize,
        to: usize,
    },
    Delete {
        id: usize,
        caller: Option<usize>,
    },
    DeleteRoom {
        room: usize,
        caller: Option<usize>,
    },
    DeleteRoomOf {
        id: usize,
        caller: Option<usize>,
    },
    Any {
        conn: usize,
        frame: Value,
    },
    Sweep(u64),
}

const KINDS: [&str; 9] = [
    "register", "discover_peers", "update_metadata", "peer_message", "offer", "answer", "error",
    "mesh_connect", "ice_candidate",
];

fn any_event() -> impl Strategy<Value = Event> {
    let caller = proptest::option::of(0usize..3);
    prop_oneof![
        Just(Event::Open),
        (0usize..12).prop_map(Event::Gone),
        (0usize..12, 0usize..3, 0usize..2, 0usize..4, any::<bool>()).prop_map(
            |(conn, user, room, id, admin)| Event::Register {
                conn,
                user,
                room,
                id,
                admin
            }
        ),
        (0usize..12, 0usize..3, 0usize..2, 0usize..4, any::<bool>()).prop_map(
            |(conn, user, room, id, admin)| Event::Register {
                conn,
                user,
                room,
                id,
                admin
            }
        ),
        (0usize..12, 0usize..4, 0usize..4).prop_map(|(conn, from, to)| Event::Message {
            conn,
            from,
            to
        }),
        (0usize..4, caller.clone()).prop_map(|(id, caller)| Event::Delete { id, caller }),
        (0usize..2, caller.clone()).prop_map(|(room, caller)| Event::DeleteRoom { room, caller }),
        (0usize..4, caller).prop_map(|(id, caller)| Event::DeleteRoomOf { id, caller }),
        (0usize..12, any_json(), proptest::sample::select(&KINDS[..])).prop_map(
            |(conn, mut frame, kind)| {
                if let Some(object) = frame.as_object_mut() {
                    object.insert("type".to_owned(), json!(kind));
                    for key in ["from_peer_id", "peer_id", "sender"] {
                        object.insert(key.to_owned(), json!("p1"));
                    }
                    let body = object.get("properties").cloned().unwrap_or_default();
                    object.insert("metadata".to_owned(), body.clone());
                    object.insert("filters".to_owned(), body);
                    object.insert("target".to_owned(), json!("p2"));
                }
                Event::Any { conn, frame }
            }
        ),
        (0u64..4000).prop_map(Event::Sweep),
    ]
}

fn happen(world: &mut World, conns: &mut Vec<(ConnId, Wire)>, event: Event) {
    let pick = |conns: &Vec<(ConnId, Wire)>, at: usize| {
        (!conns.is_empty()).then(|| conns[at % conns.len()].0)
    };
    let user = |caller: Option<usize>| caller.map(|n| format!("u{n}"));
    match event {
        Event::Open => conns.push(world.open()),
        Event::Gone(at) if !conns.is_empty() => {
            let (conn, _) = conns.remove(at % conns.len());
            world.table.gone(conn, world.now);
        }
        Event::Gone(_) => {}
        Event::Register {
            conn,
            user,
            room,
            id,
            admin,
        } => {
            if let Some(conn) = pick(conns, conn) {
                world.register(conn, user, room, &format!("p{id}"), admin);
            }
        }
        Event::Message { conn, from, to } => {
            if let Some(conn) = pick(conns, conn) {
                let frame = json!({"type": "peer_message", "from_peer_id": format!("p{from}"),
                    "to_peer_id": format!("p{to}"), "payload": {"by": conn}});
                world.say(conn, frame);
            }
        }
        Event::Delete { id, caller } => {
            world
                .table
                .delete_peer(&format!("p{id}"), user(caller).as_deref(), world.now);
        }
        Event::DeleteRoom { room, caller } => {
            let id = world.rooms[room].0.clone();
            world
                .table
                .delete_room(&id, user(caller).as_deref(), world.now);
        }
        Event::DeleteRoomOf { id, caller } => {
            world
                .table
                .delete_room_of(&format!("p{id}"), user(caller).as_deref(), world.now);
        }
        Event::Any { conn, frame } => {
            if let Some(conn) = pick(conns, conn) {
                world.say(conn, frame);
            }
        }
        Event::Sweep(seconds) => {
            world.pass(Duration::from_secs(seconds));
            world.table.sweep(world.now);
        }
    }
}

/// What holds after every event: seats, rooms and the index say the same.
fn check(world: &World) -> Result<(), TestCaseError> {
    let table = &world.table;
    let mut seated = 0;
    for (conn, entry) in table.connections.iter() {
        let Some(seat) = &entry.seat else { continue };
        seated += 1;
        let peer = table
            .rooms
            .get(&seat.room)
            .and_then(|room| room.peer(&seat.peer));
        prop_assert_eq!(
            peer.map(|peer| peer.conn),
            Some(conn),
            "a seat without its entry"
        );
        prop_assert!(
            table
                .ids
                .get(&seat.peer)
                .is_some_and(|conns| conns.contains(&conn))
        );
    }
    let listed: usize = table.rooms.values().map(|room| room.peers.len()).sum();
    let indexed: usize = table.ids.values().map(Vec::len).sum();
    prop_assert_eq!((listed, indexed), (seated, seated), "ghosts");
    prop_assert!(table.ids.values().all(|conns| !conns.is_empty()));
    for room in table.rooms.values() {
        prop_assert!(room.peers.len() <= 3);
        prop_assert!(
            room.admin
                .as_ref()
                .is_none_or(|admin| room.peer(admin).is_some()),
            "an absent admin"
        );
        for (at, peer) in room.peers.iter().enumerate() {
            prop_assert!(
                room.peers[..at].iter().all(|other| other.id != peer.id),
                "one id twice in a room"
            );
        }
    }
    Ok(())
}

/// Peer messages that anyone was sent.
fn heard(conns: &[(ConnId, Wire)]) -> usize {
    let count = |wire: &Wire| {
        let frames = wire.frames.lock().unwrap();
        frames
            .iter()
            .filter(|frame| frame["type"] == "peer_message")
            .count()
    };
    conns.iter().map(|(_, wire)| count(wire)).sum()
}

proptest! {
    #[test]
    fn no_order_of_events_leaves_a_ghost(events in proptest::collection::vec(any_event(), 0..80)) {
        let mut world = World::new();
        let mut conns: Vec<(ConnId, Wire)> = Vec::new();
        for event in events {
            // Only a connection that is registered as the named sender may make another one hear of it.
            let spoofed = match &event {
                Event::Message { conn, from, .. } if !conns.is_empty() => {
                    let seat = world.table.seat(conns[conn % conns.len()].0);
                    seat.is_none_or(|seat| seat.peer != format!("p{from}"))
                }
                _ => false,
            };
            let before = heard(&conns);
            happen(&mut world, &mut conns, event);
            prop_assert!(!spoofed || heard(&conns) == before, "relayed under a false name");
            check(&world)?;
        }
        for (conn, _) in conns.drain(..) {
            world.table.gone(conn, world.now);
        }
        check(&world)?;
        prop_assert!(world.table.connections.is_empty() && world.table.ids.is_empty());
    }
}
