//! The workers of a room: who is there, and what becomes of it. Registers, asks, and leaves, or stays and asks again.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc;

use super::ClientError;
use super::switchboard::describe::{describe, worker_filter};
use crate::actors::session::{HubAccess, Send, SessionActor, SessionError, SessionNews, session};
use crate::actors::{Died, Feed};
use crate::charts::session::Input as SessionInput;
use crate::wire::{FromHub, PeerInfo, RoomCredentials, ToHub};

/// How often the hub is asked. It tells who comes and who goes, if it is ours, and is asked at once then; but nobody tells
/// of a status or a figure that changed.
const ASK: Duration = Duration::from_secs(2);

/// What there is to say of the workers of a room.
#[derive(Debug)]
pub enum RoomNews {
    /// All workers of the room, whatever they have and do.
    Workers(Vec<PeerInfo>),
    /// The hub is out of reach; it is tried again.
    HubLost,
    /// It ended as asked.
    Ended,
    /// It never began, or a part of it died.
    Failed(ClientError),
}

/// Looks at the workers of a room until it is dropped or stopped.
pub struct RoomWatch {
    addr: Addr<Watcher>,
    news: mpsc::UnboundedReceiver<RoomNews>,
}

impl RoomWatch {
    /// Registers in the room, in the current actix system.
    pub fn start(hub: HubAccess, room: RoomCredentials) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        let addr = Watcher::create(move |ctx| {
            let room_id = room.room_id.clone();
            let session = session(
                hub,
                Some(room),
                describe(),
                ctx.address().recipient(),
                "list",
                Some(ctx.address().recipient()),
            );
            Watcher {
                session,
                room_id,
                peer_id: None,
                tell,
            }
        });
        RoomWatch { addr, news }
    }

    /// The next news. After [`RoomNews::Ended`] and [`RoomNews::Failed`] there are none.
    pub async fn next(&mut self) -> RoomNews {
        self.news.recv().await.unwrap_or(RoomNews::Ended)
    }

    /// Says goodbye to the hub; [`RoomNews::Ended`] follows.
    pub fn stop(&self) {
        self.addr.do_send(Leave);
    }
}

/// The workers of a room, whatever they have and do.
///
/// # Errors
/// When the hub is out of reach, or refuses.
pub async fn list_workers(
    hub: HubAccess,
    room: RoomCredentials,
) -> Result<Vec<PeerInfo>, ClientError> {
    let mut watch = RoomWatch::start(hub, room);
    let mut found = None;
    loop {
        match watch.next().await {
            RoomNews::Workers(workers) => {
                found = Some(workers);
                watch.stop();
            }
            RoomNews::HubLost => watch.stop(),
            RoomNews::Ended => {
                return found.ok_or_else(|| SessionError::Timeout("the hub".to_owned()).into());
            }
            RoomNews::Failed(error) => return Err(error),
        }
    }
}

/// It is enough.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave;

struct Watcher {
    session: Addr<SessionActor>,
    room_id: String,
    /// Who we are, while we are registered.
    peer_id: Option<String>,
    tell: mpsc::UnboundedSender<RoomNews>,
}

impl Watcher {
    fn ask(&self) {
        if let Some(peer_id) = &self.peer_id {
            self.session.do_send(Send(ToHub::DiscoverPeers {
                from_peer_id: peer_id.clone(),
                filters: worker_filter(&self.room_id),
            }));
        }
    }

    fn say(&self, news: RoomNews) {
        if self.tell.send(news).is_err() {
            self.session.do_send(Feed(SessionInput::Shutdown));
        }
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(ASK, |watcher, _| watcher.ask());
    }
}

impl Handler<SessionNews> for Watcher {
    type Result = ();

    fn handle(&mut self, news: SessionNews, _: &mut Self::Context) {
        match news {
            SessionNews::Registered(registered) => {
                self.peer_id = Some(registered.peer_id);
                self.ask();
            }
            SessionNews::Frame(frame) => match *frame {
                FromHub::PeerList { peers } => self.say(RoomNews::Workers(peers)),
                FromHub::PeerJoined { .. } | FromHub::PeerLeft { .. } => self.ask(),
                _ => {}
            },
            SessionNews::Down => {
                self.peer_id = None;
                self.say(RoomNews::HubLost);
            }
            SessionNews::Closed => self.say(RoomNews::Ended),
            SessionNews::Failed(error) => self.say(RoomNews::Failed(error.into())),
        }
    }
}

impl Handler<Leave> for Watcher {
    type Result = ();

    fn handle(&mut self, _: Leave, _: &mut Self::Context) {
        self.peer_id = None;
        self.session.do_send(Feed(SessionInput::Shutdown));
    }
}

impl Handler<Died> for Watcher {
    type Result = ();

    fn handle(&mut self, died: Died, _: &mut Self::Context) {
        self.say(RoomNews::Failed(ClientError::Died(died.chart.to_owned())));
    }
}
