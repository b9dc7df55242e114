//! What the hub says to a worker, and what other peers say through it.

use super::ice::{ice_servers, refresh_in};
use super::{MAX_CANDIDATES, MAX_USERS, Offer, Purpose, Worker};
use crate::actors::Feed;
use crate::actors::peer::RemoteCandidate;
use crate::actors::session::SessionNews;
use crate::charts::availability::Input as AvailabilityInput;
use crate::charts::job::Input as JobInput;
use crate::charts::session::Input as SessionInput;
use crate::charts::{JobId, PeerId};
use crate::wire::{FromHub, JobRequest, PeerMessage, RegisteredAuth, SessionString};
use crate::worker::Notice;
use crate::worker::jobs::names::shown;
use actix::prelude::*;

impl Handler<SessionNews> for Worker {
    type Result = ();

    fn handle(&mut self, news: SessionNews, ctx: &mut Self::Context) {
        match news {
            SessionNews::Registered(registered) => {
                self.use_servers(&registered, ctx);
                self.registered(*registered);
            }
            SessionNews::Frame(frame) => self.hear(*frame, ctx),
            SessionNews::Down => {
                self.online = false;
                self.gpus.look(false);
                self.notice(Notice::HubLost);
            }
            SessionNews::Closed => self.finish(Ok(())),
            SessionNews::Failed(error) => self.finish(Err(error.into())),
        }
    }
}

impl Worker {
    /// Takes the hub's servers, and sees to it that their credentials are renewed: a job may come days from now.
    fn use_servers(&mut self, registered: &RegisteredAuth, ctx: &mut Context<Self>) {
        self.rtc.ice_servers = ice_servers(&registered.ice_servers);
        if let Some(before) = self.renewal.take() {
            ctx.cancel_future(before);
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        self.renewal = refresh_in(&self.rtc.ice_servers, now).map(|wait| {
            ctx.run_later(wait, |worker, _| {
                worker.session.do_send(Feed(SessionInput::Reregister));
            })
        });
    }

    pub(super) fn registered(&mut self, registered: RegisteredAuth) {
        self.peer_id.clone_from(&registered.peer_id);
        self.room.clone_from(&registered.room_id);
        self.online = true;
        self.gpus.look(true);
        self.post.begin_again();
        self.send_mail();
        // What changed while the registration was on its way could not be sent.
        let now = self.published.borrow().clone();
        if *self.described.borrow() != now {
            self.tell_hub(&now);
        }
        let Some(token) = registered.token else {
            return;
        };
        let session = SessionString {
            room_id: registered.room_id,
            token,
            peer_id: registered.peer_id,
        };
        if self.told.as_ref() != Some(&session) {
            self.told = Some(session.clone());
            self.notice(Notice::Registered { session });
        }
    }

    pub(super) fn hear(&mut self, frame: FromHub, ctx: &mut Context<Self>) {
        match frame {
            FromHub::Offer {
                sender,
                sdp,
                from_user,
            } => {
                let from = PeerId::from(sender);
                self.is_of(&from, from_user);
                let candidates = Vec::new();
                self.offers.insert(from.clone(), Offer { sdp, candidates });
                if self.visits.comes(&from) {
                    return self.accept_offer(from, Purpose::Questions, ctx);
                }
                if self.tunnels.comes(&from) {
                    return self.accept_offer(from, Purpose::Tunnel, ctx);
                }
                if self.tubes.coming.comes(&from) {
                    return self.accept_offer(from, Purpose::Resumption, ctx);
                }
                self.availability
                    .do_send(Feed(AvailabilityInput::Offer { from }));
            }
            FromHub::Candidate { sender, candidate } => {
                // Its offer may still wait for the availability's word.
                if let Some(offer) = self.offers.get_mut(&PeerId::from(sender.as_str())) {
                    if offer.candidates.len() < MAX_CANDIDATES {
                        offer.candidates.push(candidate);
                    }
                    return;
                }
                let newest = self
                    .links
                    .iter()
                    .filter(|(_, link)| link.peer.as_str() == sender)
                    .max_by_key(|(id, _)| **id);
                if let Some((_, link)) = newest {
                    link.addr.do_send(RemoteCandidate(candidate));
                }
            }
            FromHub::PeerMessage {
                from_peer_id,
                payload,
                from_user,
            } => {
                let from = PeerId::from(from_peer_id);
                self.is_of(&from, from_user);
                self.hear_peer(from, &payload);
            }
            FromHub::PeerLeft { peer_id } => self.peer_left(PeerId::from(peer_id)),
            FromHub::MailAccepted { client_message_id } => {
                let next = self.post.accepted(&client_message_id);
                self.go_on_with_mail(next, ctx);
            }
            FromHub::MailRefused {
                client_message_id,
                code,
                retryable,
            } => {
                let next = self.post.refused(&client_message_id, &code, retryable);
                self.go_on_with_mail(next, ctx);
            }
            FromHub::Error(error) => {
                let next = self.post.error(&error);
                if !error.is_unknown_type() {
                    tracing::warn!(%error, "the hub reports an error");
                }
                self.go_on_with_mail(next, ctx);
            }
            FromHub::MetadataUpdated { metadata, .. } => {
                let status = metadata
                    .properties
                    .get("status")
                    .and_then(|status| status.as_str())
                    .unwrap_or("unknown");
                tracing::debug!(status, "the hub took the status");
            }
            FromHub::AdminConflict { current_admin, .. } => {
                tracing::debug!(current_admin, "another worker leads the mesh")
            }
            other => tracing::debug!(frame = ?other, "not for a worker"),
        }
    }

    /// Notes the user of a peer that has something to say. A hub that does not tell names users and peers alike.
    fn is_of(&mut self, peer: &PeerId, user: Option<String>) {
        // Who is forgotten is of no user, for whom a policy can allow nothing by name.
        if self.users.len() >= MAX_USERS && !self.users.contains_key(peer) {
            self.users.clear();
        }
        self.users.insert(peer.clone(), user);
    }

    /// Nobody connects who has left the hub. A connection that was begun has its own ways to end.
    fn peer_left(&mut self, from: PeerId) {
        // Leave that it was given and did not use is given to the next.
        self.visits.withdraw(&from);
        self.tunnels.withdraw(&from);
        self.tubes.coming.withdraw(&from);
        if self.connects(&from, None) {
            return;
        }
        if let Some(job) = self.job.as_ref().filter(|job| job.holder == from) {
            job.addr.do_send(Feed(JobInput::LinkLost));
        }
        self.availability
            .do_send(Feed(AvailabilityInput::PeerLost { from }));
    }

    pub(super) fn hear_peer(&mut self, from: PeerId, payload: &serde_json::Value) {
        let message = match PeerMessage::parse(payload) {
            Ok(message) => message,
            Err(error) => return tracing::warn!(%from, %error, "a peer message was not understood"),
        };
        match message {
            PeerMessage::JobRequest(request) => self.requested(from, request),
            PeerMessage::JobAssignment { job_id, .. } => {
                self.availability
                    .do_send(Feed(AvailabilityInput::JobAssigned {
                        from,
                        job: JobId::from(job_id),
                    }));
            }
            PeerMessage::JobCancel { job_id, reason } => match &self.job {
                Some(job) if job.id.as_str() == job_id && job.holder == from => {
                    tracing::info!(%from, job_id, reason, "the holder cancels the job");
                    job.addr.do_send(Feed(JobInput::CancelRequested));
                }
                _ => {
                    tracing::warn!(%from, job_id, "a cancel for a job that is not the sender's current one")
                }
            },
            PeerMessage::Visit {} => self.visit(from),
            PeerMessage::Tunnel { tube: None } => self.tunnel(from),
            PeerMessage::Tunnel { tube: Some(tube) } => self.comes_back(from, &tube),
            PeerMessage::Unknown { kind } => {
                tracing::warn!(%from, kind, "a peer message of an unknown type")
            }
            other => {
                let message = shown(&format!("{other:?}"));
                tracing::warn!(%from, message, "a peer message that is not for a worker")
            }
        }
    }

    pub(super) fn requested(&mut self, from: PeerId, request: JobRequest) {
        let unfit = match request.min_gpu_memory_mb() {
            Ok(memory) => {
                self.capabilities
                    .unfit(memory, request.model_type(), request.job_type.as_deref())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = &unfit {
            tracing::info!(%from, job = request.job_id, reason, "the job is incompatible with this machine");
        }
        let job = JobId::from(request.job_id.as_str());
        self.requests.insert((from.clone(), job.clone()), request);
        self.availability
            .do_send(Feed(AvailabilityInput::JobRequested {
                from,
                job,
                fits: unfit.is_none(),
            }));
    }
}
