//! The actor that owns the table. Every change of rooms and peers is a message to it, handled one after the other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult};
use tokio::sync::oneshot;

use super::frames::Frame;
use super::limits::PerAddress;
use super::outbox::Outbox;
use super::table::{ConnId, Now, RoomRefused, Snapshot, Table};

/// The directory of a hub.
pub(super) struct Directory {
    table: Table,
    signins: PerAddress,
    /// Set when the hub stops: nobody comes in any more.
    draining: bool,
    /// Whom to tell when the last connection is gone.
    drained: Vec<oneshot::Sender<()>>,
}

impl Directory {
    /// A directory around an empty table.
    pub(super) fn new(table: Table) -> Self {
        let signins = PerAddress::new(table.config.limits.signins_per_minute);
        Directory {
            table,
            signins,
            draining: false,
            drained: Vec::new(),
        }
    }

    fn tell_if_drained(&mut self) {
        if self.draining && self.table.is_empty() {
            for waiting in self.drained.drain(..) {
                // Whoever asked may have stopped waiting.
                let _ = waiting.send(());
            }
        }
    }
}

impl Actor for Directory {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let limit = self.table.config.limits.unregistered_time;
        let pause = (limit / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
        ctx.run_interval(pause, |directory, _| directory.table.sweep(Now::read()));
    }
}

/// A connection opens. None when the hub is full or stops.
pub(super) struct Open(pub(super) Outbox);
/// A frame came in. The reply says that it has been handled, so that a connection has one in work at a time.
pub(super) struct Incoming(pub(super) ConnId, pub(super) Frame);
/// A connection begins to close, and is nobody from now on.
pub(super) struct Leave(pub(super) ConnId);
/// A connection ended.
pub(super) struct Gone(pub(super) ConnId);
/// An address wants to sign in or create a room; the error is how long it must wait.
pub(super) struct Admit(pub(super) IpAddr);
/// A user wants a room.
pub(super) struct CreateRoom(pub(super) String);
/// A deletion over HTTP, by the user of a valid token or by nobody.
pub(super) struct Delete {
    pub(super) what: Doomed,
    pub(super) caller: Option<String>,
}
/// What is to be deleted.
pub(super) enum Doomed {
    Peer(String),
    Room(String),
    RoomOf(String),
}
/// The figures, please.
pub(super) struct Figures;
/// The hub stops. The receiver resolves when every connection is gone.
pub(super) struct Drain;

impl Message for Open {
    type Result = Option<ConnId>;
}
impl Message for Incoming {
    type Result = ();
}
impl Message for Leave {
    type Result = ();
}
impl Message for Gone {
    type Result = ();
}
impl Message for Admit {
    type Result = Result<(), Duration>;
}
impl Message for CreateRoom {
    type Result = Result<(String, String), RoomRefused>;
}
impl Message for Delete {
    type Result = &'static str;
}
impl Message for Figures {
    type Result = Snapshot;
}
impl Message for Drain {
    type Result = oneshot::Receiver<()>;
}

impl Handler<Open> for Directory {
    type Result = Option<ConnId>;

    fn handle(&mut self, Open(outbox): Open, _: &mut Self::Context) -> Self::Result {
        if self.draining {
            return None;
        }
        self.table.open(Box::new(outbox), Now::read())
    }
}

impl Handler<Incoming> for Directory {
    type Result = ();

    fn handle(&mut self, Incoming(conn, frame): Incoming, _: &mut Self::Context) {
        // What was under way when the hub began to stop registers nobody any more.
        if !self.draining {
            self.table.frame(conn, frame, Now::read());
        }
    }
}

impl Handler<Leave> for Directory {
    type Result = ();

    fn handle(&mut self, Leave(conn): Leave, _: &mut Self::Context) {
        self.table.leave(conn, Now::read());
    }
}

impl Handler<Gone> for Directory {
    type Result = ();

    fn handle(&mut self, Gone(conn): Gone, _: &mut Self::Context) {
        self.table.gone(conn, Now::read());
        self.tell_if_drained();
    }
}

impl Handler<Admit> for Directory {
    type Result = Result<(), Duration>;

    fn handle(&mut self, Admit(from): Admit, _: &mut Self::Context) -> Self::Result {
        self.signins.admit(from, Instant::now())
    }
}

impl Handler<CreateRoom> for Directory {
    type Result = Result<(String, String), RoomRefused>;

    fn handle(&mut self, CreateRoom(owner): CreateRoom, _: &mut Self::Context) -> Self::Result {
        self.table.create_room(&owner, Now::read())
    }
}

impl Handler<Delete> for Directory {
    type Result = MessageResult<Delete>;

    fn handle(&mut self, Delete { what, caller }: Delete, _: &mut Self::Context) -> Self::Result {
        let (table, caller, now) = (&mut self.table, caller.as_deref(), Now::read());
        MessageResult(match what {
            Doomed::Peer(id) => table.delete_peer(&id, caller, now),
            Doomed::Room(id) => table.delete_room(&id, caller, now),
            Doomed::RoomOf(id) => table.delete_room_of(&id, caller, now),
        })
    }
}

impl Handler<Figures> for Directory {
    type Result = MessageResult<Figures>;

    fn handle(&mut self, _: Figures, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.table.snapshot())
    }
}

impl Handler<Drain> for Directory {
    type Result = MessageResult<Drain>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        let (waiting, drained) = oneshot::channel();
        self.draining = true;
        self.drained.push(waiting);
        self.table.drain(Now::read());
        self.tell_if_drained();
        MessageResult(drained)
    }
}
