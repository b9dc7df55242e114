//! The work of each stage of a job: it is started on the data plane, and stopped there.

use std::sync::atomic::Ordering;
use std::time::Instant;

use actix::prelude::*;

use super::{JobActor, JobPerformer, Worked};
use crate::actors::Feed;
use crate::actors::transfer::Direction;
use crate::charts::job::Input;
use crate::charts::transfer;
use crate::files::{send_file, send_own_file};
use crate::wire::fits_header;
use crate::wire::own::FileOffer;
use crate::worker::jobs::input;
use crate::worker::jobs::scratch::Scratch;
use crate::worker::jobs::work::{self, Audience, Halt};

impl JobPerformer {
    pub(super) fn prepare(&mut self, ctx: &mut Context<JobActor>) {
        let (Some(package), Some(scratch)) = (self.package.clone(), &self.scratch) else {
            return;
        };
        let into = scratch.path().join("work");
        let announced = self.announcement.as_ref();
        let kind = announced.and_then(|announced| announced.kind.clone());
        let hint = announced.and_then(|announced| announced.output_dir.clone());
        let (settings, cancelled) = (self.settings.as_ref().clone(), self.cancelled.clone());
        let (back, sent) = (ctx.address(), self.claim.is_none());
        self.working = true;
        self.plane.spawn_blocking(move || {
            let prepare = if sent { work::prepare } else { input::prepare };
            let (kind, hint) = (kind.as_ref(), hint.as_deref());
            let prepared = prepare(&package, &into, kind, hint, &settings, &cancelled);
            back.do_send(Worked::Prepared(prepared));
        });
    }

    pub(super) fn run(&mut self, ctx: &mut Context<JobActor>) {
        let (Some(prepared), Some(channel)) = (self.prepared.clone(), self.channel.clone()) else {
            return;
        };
        let Some((record, writer)) = self
            .record
            .clone()
            .and_then(|record| record.writer().map(|writer| (record, writer)))
        else {
            return;
        };
        let audience = Audience {
            channel,
            own: self.speaks_of_jobs(),
            log: (writer, record.log().clone()),
            patience: self.settings.patience,
            controls: self.controls.clone(),
        };
        let (keeper, halt, back) = (
            self.settings.keeper.clone(),
            self.halt.subscribe(),
            ctx.address(),
        );
        self.began = Instant::now();
        self.working = true;
        self.plane.spawn(async move {
            let steps = back.clone();
            let end = work::run(&prepared, &keeper, audience, halt, |news| {
                steps.do_send(Worked::Step(news))
            })
            .await;
            back.do_send(Worked::Ran(end));
        });
    }

    pub(super) fn pack(&mut self, ctx: &mut Context<JobActor>) {
        let (Some(prepared), Some(scratch), Some(announced)) =
            (self.prepared.clone(), &self.scratch, &self.announcement)
        else {
            return;
        };
        let into = scratch.path().join(work::results_name(&announced.name));
        let (cancelled, back) = (self.cancelled.clone(), ctx.address());
        let failed = self.failure.is_some();
        self.working = true;
        if let Some(output) = self.output.take() {
            self.plane.spawn_blocking(move || {
                let stored = output.store(&prepared, failed, &cancelled);
                back.do_send(Worked::Packed(stored.map(|()| None)));
            });
            return;
        }
        self.plane.spawn_blocking(move || {
            let packed = work::pack(&prepared, &into, failed, &cancelled);
            back.do_send(Worked::Packed(packed));
        });
    }

    pub(super) fn return_results(&mut self, ctx: &mut Context<JobActor>) {
        let (Some(results), Some(channel)) = (self.results.clone(), self.channel.clone()) else {
            return;
        };
        let hint = self
            .announcement
            .as_ref()
            .and_then(|announced| announced.output_dir.clone())
            .filter(|hint| fits_header(hint));
        let milestones = self.begin_transfer(Direction::Out, ctx);
        let name = results.name();
        let hint = hint.unwrap_or_else(|| self.output_dir().to_owned());
        let Some(heard) = self.heard.clone() else {
            self.plane.spawn(send_file(
                channel,
                results.path,
                name,
                hint,
                milestones,
                |_| {},
            ));
            return;
        };
        let offer = FileOffer {
            name,
            size: results.size,
            key: self.record.as_ref().map(|record| record.key()),
            hint,
        };
        self.plane.spawn(async move {
            let mut heard = heard.answers.lock().await;
            send_own_file(
                channel,
                results.path,
                offer,
                &mut heard,
                milestones,
                |_| {},
                |_| {},
            )
            .await;
        });
    }

    pub(super) fn terminate_work(&mut self, ctx: &mut Context<JobActor>) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.halt.send_replace(Halt::Terminate);
        if let Some(transfer) = &self.transfer {
            transfer.do_send(Feed(transfer::Input::Abort));
        }
        if !self.working {
            ctx.notify(Feed(Input::WorkGone));
        }
    }

    pub(super) fn remove_scratch(&mut self, ctx: &mut Context<JobActor>) {
        let (scratch, back) = (self.scratch.take(), ctx.address());
        let output = self.output.take();
        let kept = self
            .results
            .take_if(|_| !self.delivered)
            .zip(self.record.clone());
        self.plane.spawn_blocking(move || {
            drop(output);
            if let Some((results, record)) = kept
                && let Err(error) = record.keep_results(&results.path, &results.name())
            {
                tracing::warn!(%error, "results that did not reach their client could not be kept");
            }
            let removed = scratch
                .map_or(Ok(()), Scratch::remove)
                .map_err(|error| error.to_string());
            back.do_send(Worked::ScratchGone(removed));
        });
    }
}
