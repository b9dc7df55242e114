//! Listing the workers of a room: register, ask, leave.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::ClientError;
use super::switchboard::describe::{describe, worker_filter};
use crate::actors::session::{HubAccess, Send, SessionActor, SessionError, SessionNews, session};
use crate::actors::{Died, Feed};
use crate::charts::session::Input as SessionInput;
use crate::wire::{FromHub, PeerInfo, RoomCredentials, ToHub};

type Answer = Result<Vec<PeerInfo>, ClientError>;

struct Lister {
    session: Addr<SessionActor>,
    room_id: String,
    min_gpu_memory_mb: u64,
    found: Option<Vec<PeerInfo>>,
    end: Option<oneshot::Sender<Answer>>,
}

/// The workers of a room with at least so much GPU memory (MiB), whatever their status.
///
/// # Errors
/// When the hub is out of reach, or refuses.
pub async fn list_workers(
    hub: HubAccess,
    room: RoomCredentials,
    min_gpu_memory_mb: u64,
) -> Result<Vec<PeerInfo>, ClientError> {
    let (end, ended) = oneshot::channel();
    let lister = Lister::create(move |ctx| {
        let room_id = room.room_id.clone();
        let owner = ctx.address().recipient();
        let session = session(
            hub,
            Some(room),
            describe(),
            owner,
            "list",
            Some(ctx.address().recipient()),
        );
        Lister {
            session,
            room_id,
            min_gpu_memory_mb,
            found: None,
            end: Some(end),
        }
    });
    let answer = ended
        .await
        .unwrap_or_else(|_| Err(ClientError::Died("lister".to_owned())));
    drop(lister);
    answer
}

impl Lister {
    fn finish(&mut self, answer: Answer) {
        if let Some(end) = self.end.take() {
            let _ = end.send(answer);
        }
    }
}

impl Actor for Lister {
    type Context = Context<Self>;
}

impl Handler<SessionNews> for Lister {
    type Result = ();

    fn handle(&mut self, news: SessionNews, _: &mut Self::Context) {
        match news {
            SessionNews::Registered(registered) => {
                self.session.do_send(Send(ToHub::DiscoverPeers {
                    from_peer_id: registered.peer_id,
                    filters: worker_filter(&self.room_id, self.min_gpu_memory_mb),
                }))
            }
            SessionNews::Frame(frame) => {
                if let FromHub::PeerList { peers } = *frame {
                    self.found = Some(peers);
                    self.session.do_send(Feed(SessionInput::Shutdown));
                }
            }
            SessionNews::Down => self.session.do_send(Feed(SessionInput::Shutdown)),
            SessionNews::Closed => {
                let answer = self
                    .found
                    .take()
                    .ok_or_else(|| SessionError::Timeout("the hub".to_owned()).into());
                self.finish(answer);
            }
            SessionNews::Failed(error) => self.finish(Err(error.into())),
        }
    }
}

impl Handler<Died> for Lister {
    type Result = ();

    fn handle(&mut self, died: Died, _: &mut Self::Context) {
        self.finish(Err(ClientError::Died(died.chart.to_owned())));
    }
}
