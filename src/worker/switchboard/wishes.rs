//! What the availability wants done.

use super::describe::{refusal, status_properties};
use super::{CurrentJob, Link, MAX_LINKS, Purpose, Worker};
use crate::actors::availability::{Asked, Published};
use crate::actors::job::{Admit, job};
use crate::actors::peer::{CHANNEL_LABEL, Dial, LinkId, RemoteCandidate, connect};
use crate::charts::availability::{Act, Status};
use crate::charts::{JobId, PeerId};
use crate::wire::{JobChange, JobResponse, Metadata, PeerMessage, Refusal, ToHub};
use crate::worker::policy::Asker;
use crate::worker::serve::Announced;
use crate::worker::{JobSettings, Notice};
use actix::prelude::*;
use std::rc::Rc;

/// Why a package is turned away that was announced for a job as it ended.
const ENDED: &str = "the job before was just ending; send the package again";

impl Handler<Asked> for Worker {
    type Result = ();

    fn handle(&mut self, asked: Asked, ctx: &mut Self::Context) {
        match asked.0 {
            Act::AcceptJob { to, job } => self.accept_job(&to, job),
            Act::RejectJob { to, job, reason } => self.reject_job(&to, job, reason),
            Act::AcceptOffer { from } => self.accept_offer(from, Purpose::Work, ctx),
            Act::RefuseOffer { to, status } => self.refuse_offer(to, status),
            Act::AdmitPackage { from } => self.admit_package(from, ctx),
            Act::RefusePackage { from } => {
                let reason = refusal(&self.published.borrow());
                if let Some(reply) = self.looking.remove(&from) {
                    let _ = reply.send(Err(reason));
                } else if let Some(announced) = self.announced.remove(&from) {
                    let _ = announced.reply.send(Err(reason));
                }
            }
            Act::ExpectJob { from, job } => {
                tracing::info!(%from, %job, "Job assigned and ready for WebRTC connection");
                self.expect_job(from, job, ctx);
            }
            Act::Publish {
                status,
                job,
                draining,
            } => {
                match status {
                    Status::Reserved => {}
                    // The job itself has the word from now on.
                    Status::Busy => self.reserved = None,
                    Status::Available => {
                        self.turn += 1;
                        self.ledger.nothing_comes();
                        self.mail_unreserved(JobChange::Released);
                    }
                }
                self.publish(&Published {
                    status,
                    job,
                    draining,
                });
            }
            Act::ReleaseHolder { holder } => {
                self.mail_unreserved(JobChange::LeaseExpired);
                self.release(&holder);
            }
            Act::Drained => self.drained(),
            Act::HangUp => self.hang_up(),
            Act::Leave => self.leave(ctx),
        }
    }
}

impl Worker {
    pub(super) fn accept_job(&mut self, to: &PeerId, job: JobId) {
        let Some(request) = self.requests.remove(&(to.clone(), job.clone())) else {
            return;
        };
        let info = self.capabilities.worker_info();
        let minutes = self.ledger.asked(&request);
        self.tell(
            to,
            PeerMessage::JobResponse(JobResponse::accepted(request.job_id, minutes, info)),
        );
        self.mail_reserved(to, job);
    }

    pub(super) fn reject_job(&mut self, to: &PeerId, job: JobId, reason: &'static str) {
        let Some(request) = self.requests.remove(&(to.clone(), job)) else {
            return;
        };
        let message = (reason == JobResponse::INCOMPATIBLE).then(|| {
            let memory = request.min_gpu_memory_mb().unwrap_or(u64::MAX);
            self.capabilities
                .unfit(memory, request.model_type(), request.job_type.as_deref())
                .unwrap_or_else(|| "the requirements make no sense".to_owned())
        });
        self.tell(
            to,
            PeerMessage::JobResponse(JobResponse::rejected(request.job_id, reason, message)),
        );
    }

    pub(super) fn accept_offer(&mut self, from: PeerId, purpose: Purpose, ctx: &mut Context<Self>) {
        let Some(offer) = self.offers.remove(&from) else {
            return;
        };
        let open = self.links.values().filter(|link| !link.closed);
        if open.count() >= MAX_LINKS {
            return tracing::warn!(%from, "too many connections are open or closing; the offer is dropped");
        }
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let addr = connect(Dial {
            link: id,
            peer: from.clone(),
            offer: Some(offer.sdp),
            label: CHANNEL_LABEL,
            config: self.rtc.clone(),
            plane: self.plane.clone(),
            owner: ctx.address().recipient(),
            supervisor: Some(ctx.address().recipient()),
        });
        for candidate in offer.candidates {
            addr.do_send(RemoteCandidate(candidate));
        }
        let user = self.user_of(&from);
        match purpose {
            Purpose::Work => {}
            Purpose::Questions => self.visits.begins(id, user),
            Purpose::Tunnel => self.tunnels.begins(id, user),
            Purpose::Resumption => self.tubes.coming.begins(id, user),
        }
        let link = Link {
            user: self.user_of(&from),
            told: self.told_user(&from),
            peer: from,
            addr,
            purpose,
            turn: self.turn,
            closed: false,
        };
        self.links.insert(id, link);
    }

    pub(super) fn refuse_offer(&mut self, to: PeerId, status: Status) {
        self.offers.remove(&to);
        tracing::info!(%to, status = status.as_str(), "an offer was refused: worker_busy");
        self.send(ToHub::Error(Refusal::worker_busy(
            to.to_string(),
            status.as_str(),
        )));
    }

    pub(super) fn admit_package(&mut self, from: PeerId, ctx: &mut Context<Self>) {
        if let Some(reply) = self.looking.remove(&from) {
            // A reader that is gone has lost its channel, which is reported on its own.
            let _ = reply.send(Ok(()));
            return;
        }
        let Some(announced) = self.announced.remove(&from) else {
            return;
        };
        if self.job.is_none() && self.published.borrow().status != Status::Reserved {
            // It was let in for a job that has ended since. A job of its own would run while the worker is shown as free.
            let _ = announced.reply.send(Err(ENDED.to_owned()));
            return;
        }
        if self.job.is_none() {
            let named = announced.announcement.place.as_ref();
            let id = named.map_or_else(
                || JobId::from(format!("job_{:08x}", rand::random::<u32>())),
                |place| JobId::from(place.claim.job_id.clone()),
            );
            self.expect_job(from, id, ctx);
        }
        match &mut self.job {
            Some(job) => {
                job.link = Some(announced.link);
                self.ledger.package(announced.announcement.size);
                let Announced {
                    channel,
                    announcement,
                    heard,
                    reply,
                    ..
                } = announced;
                job.addr.do_send(Admit {
                    announcement,
                    channel,
                    heard,
                    reply,
                });
            }
            None => {
                let _ = announced.reply.send(Err(
                    "the worker has no room for a job on its disk".to_owned()
                ));
            }
        }
    }

    pub(super) fn expect_job(&mut self, holder: PeerId, id: JobId, ctx: &mut Context<Self>) {
        let scratch = match self.scratch.job(id.as_str()) {
            Ok(scratch) => scratch,
            Err(error) => return tracing::error!(%error, "no directory for the job"),
        };
        if self.reserved.is_none() {
            // Nobody asked for it before.
            self.count += 1;
        }
        let addr = job(
            id.clone(),
            holder.clone(),
            scratch,
            Rc::new(self.settings_for(&holder)),
            self.plane.clone(),
            ctx.address().recipient(),
            Some(ctx.address().recipient()),
        );
        self.job = Some(CurrentJob {
            user: self.user_of(&holder),
            id,
            holder,
            link: None,
            addr,
        });
    }

    /// The settings of a job for this holder.
    fn settings_for(&self, holder: &PeerId) -> JobSettings {
        let asker = Asker {
            room: self.room.clone(),
            user: self.user_of(holder),
        };
        JobSettings {
            asker,
            ..self.settings.as_ref().clone()
        }
    }

    /// Tells the hub, and whoever runs the worker, what counts now.
    fn publish(&mut self, published: &Published) {
        self.tell_hub(published);
        self.notice(Notice::Status {
            status: published.status,
            job: published.job.as_ref().map(JobId::to_string),
            draining: published.draining,
        });
        self.tell_here(published);
    }

    /// Tells the hub what counts now.
    pub(super) fn tell_hub(&self, published: &Published) {
        let metadata = Metadata {
            properties: status_properties(published),
            ..Metadata::default()
        };
        self.send(ToHub::UpdateMetadata {
            peer_id: self.peer_id.clone(),
            metadata,
        });
    }

    pub(super) fn release(&mut self, holder: &PeerId) {
        let held = |link: &Link| link.peer == *holder && link.purpose == Purpose::Work;
        let links = self.links.iter().filter(|(_, link)| held(link));
        let links: Vec<LinkId> = links.map(|(id, _)| *id).collect();
        for link in links {
            self.say_goodbye(link);
        }
    }
}
