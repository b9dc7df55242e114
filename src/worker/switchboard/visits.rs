//! Visits: connections of clients that ask about their jobs. They need no reservation, and have nothing to do with who may use
//! the worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::Worker;
use crate::actors::Feed;
use crate::actors::job::StopJob;
use crate::actors::peer::LinkId;
use crate::actors::transfer::{Direction, TransferEnded, transfer};
use crate::charts::PeerId;
use crate::charts::job::Input as JobInput;
use crate::files::send_own_file;
use crate::rtc::DataPlane;
use crate::wire::PeerMessage;
use crate::wire::own::FileOffer;
use crate::worker::records::Record;
use crate::worker::serve::{Fetch, JobOrder, Order};

/// Visits at a time.
const MAX_VISITS: usize = 12;
/// How long a visit that was granted may take to connect.
const GRANTED: Duration = Duration::from_secs(60);

/// Visits of one user at a time.
const MAX_OF_USER: usize = 6;

/// Connections of one kind that need the worker's leave: those that have it, and those that are here.
pub(super) struct Visits {
    /// So many at a time.
    most: usize,
    /// So many of one user.
    of_user: usize,
    /// What is said to one more.
    full: &'static str,
    /// Those that were granted, and have not come yet: since when, and whose.
    granted: HashMap<PeerId, (Instant, String)>,
    /// Those that are here, and whose.
    here: HashMap<LinkId, String>,
    /// No more of them: the worker leaves.
    over: bool,
}

impl Default for Visits {
    fn default() -> Self {
        let full = "too many clients ask about their jobs just now; try again in a minute";
        Visits::up_to(MAX_VISITS, MAX_OF_USER, full)
    }
}

impl Visits {
    /// So many at a time, and of one user; to one more is said that it is `full`.
    pub(super) fn up_to(most: usize, of_user: usize, full: &'static str) -> Self {
        Visits {
            most,
            of_user,
            full,
            granted: HashMap::new(),
            here: HashMap::new(),
            over: false,
        }
    }

    /// Whether an offer of this peer is the visit that it was granted.
    pub(super) fn comes(&mut self, peer: &PeerId) -> bool {
        let granted = self.granted.remove(peer);
        granted.is_some_and(|(since, _)| since.elapsed() < GRANTED)
    }

    /// Whatever it was granted, its next offer is for something else.
    pub(super) fn withdraw(&mut self, peer: &PeerId) {
        self.granted.remove(peer);
    }

    /// It is here, by this connection.
    pub(super) fn begins(&mut self, link: LinkId, user: String) {
        self.here.insert(link, user);
    }

    /// It is over.
    pub(super) fn leaves(&mut self, link: LinkId) {
        self.here.remove(&link);
    }

    /// Nobody else comes, nor whoever was granted a visit and has not come yet.
    pub(super) fn end(&mut self) {
        self.over = true;
        self.granted.clear();
    }

    /// Grants a visit, for a while.
    pub(super) fn grant(&mut self, peer: PeerId, user: String) -> Result<(), &'static str> {
        if self.over {
            return Err("the worker is shutting down");
        }
        self.granted
            .retain(|_, (since, _)| since.elapsed() < GRANTED);
        // Asked again, it is still the same.
        self.granted.remove(&peer);
        let users = || {
            self.here
                .values()
                .chain(self.granted.values().map(|(_, user)| user))
        };
        if users().count() >= self.most
            || users().filter(|other| **other == user).count() >= self.of_user
        {
            return Err(self.full);
        }
        self.granted.insert(peer, (Instant::now(), user));
        Ok(())
    }
}

impl Worker {
    /// A client wants to ask about its jobs.
    pub(super) fn visit(&mut self, from: PeerId) {
        let user = self.user_of(&from);
        self.tunnels.withdraw(&from);
        self.tubes.coming.withdraw(&from);
        let refused = self.visits.grant(from.clone(), user).err();
        self.answer_visit(&from, refused);
    }

    /// Says whether a client may connect.
    pub(super) fn answer_visit(&self, to: &PeerId, refused: Option<&str>) {
        let answer = PeerMessage::VisitResponse {
            accepted: refused.is_none(),
            reason: refused.map(str::to_owned),
        };
        self.tell(to, answer);
    }

    /// The user of a peer, where the hub tells it: one whose name is the peer's is not told.
    pub(super) fn told_user(&self, peer: &PeerId) -> Option<String> {
        self.users.get(peer).cloned().flatten()
    }

    /// The user of a peer; a hub that does not tell names users and peers alike.
    pub(super) fn user_of(&self, peer: &PeerId) -> String {
        match self.users.get(peer) {
            Some(user) => user.clone().unwrap_or_else(|| peer.to_string()),
            None => String::new(),
        }
    }
}

impl Handler<JobOrder> for Worker {
    type Result = ();

    fn handle(&mut self, asked: JobOrder, _: &mut Self::Context) {
        let current = self
            .job
            .as_ref()
            .filter(|job| job.id.as_str() == asked.job && job.user == asked.user);
        let answer = match (current, asked.order) {
            (None, _) => Err(format!("job {} does not run any more", asked.job)),
            (Some(job), Order::Stop) => {
                job.addr.do_send(StopJob);
                Ok(())
            }
            (Some(job), Order::Cancel) => {
                job.addr.do_send(Feed(JobInput::CancelRequested));
                Ok(())
            }
        };
        if answer.is_ok() {
            tracing::info!(job = asked.job, user = asked.user, order = ?asked.order, "a job is told to end");
        }
        // Whoever asked may be gone.
        let _ = asked.reply.send(answer);
    }
}

impl Handler<Fetch> for Worker {
    type Result = ();

    fn handle(&mut self, fetch: Fetch, ctx: &mut Self::Context) {
        let Some((kept, key)) = fetch.record.kept_results() else {
            return;
        };
        let delivery = Delivery {
            record: fetch.record.clone(),
            plane: self.plane.clone(),
        };
        let (_, milestones) = transfer(
            delivery.start().recipient(),
            Direction::Out,
            &format!("{} results", fetch.record.story().id),
            Some(ctx.address().recipient()),
        );
        let offer = FileOffer {
            name: kept.name,
            size: kept.size,
            key: Some(key),
            hint: String::new(),
        };
        let path = fetch.record.results_path();
        let mut heard = fetch.heard;
        self.plane.spawn(async move {
            let (begun, sent) = (|_| {}, |_| {});
            send_own_file(
                fetch.channel, path, offer, &mut heard, milestones, begun, sent,
            )
            .await;
        });
    }
}

/// Results on their way to who fetches them.
struct Delivery {
    record: Arc<Record>,
    plane: DataPlane,
}

impl Actor for Delivery {
    type Context = Context<Self>;
}

impl Handler<TransferEnded> for Delivery {
    type Result = ();

    fn handle(&mut self, ended: TransferEnded, ctx: &mut Self::Context) {
        let job = self.record.story().id;
        match ended.result {
            Ok(_) => {
                tracing::info!(job, "results that waited are with their client");
                let record = self.record.clone();
                self.plane.spawn_blocking(move || record.results_fetched());
            }
            Err(reason) => {
                tracing::info!(job, reason, "results that wait did not get to their client");
            }
        }
        ctx.stop();
    }
}
