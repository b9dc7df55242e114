//! Finding a worker, and asking it for the job.

use actix::prelude::*;
use serde_json::json;

use super::describe::worker_filter;
use super::{Chosen, Client};
use crate::charts::submission::Input;
use crate::client::{Choice, Progress, Work};
use crate::wire::{JobRequest, PackageKind, PeerInfo, PeerMessage, ToHub};
use crate::worker::capabilities::memory_shortfall;

/// Workers that were left out and are named with their reasons, at most.
const NAMED: usize = 8;

/// What a worker lacks of this much GPU memory (MiB); `None` when it has enough.
fn shortfall(worker: &PeerInfo, min_gpu_memory_mb: u64) -> Option<String> {
    memory_shortfall(min_gpu_memory_mb, worker.number("gpu_memory_mb"))
}

/// Why each of these workers does not do.
fn reasons(workers: &[PeerInfo], lacks: impl Fn(&PeerInfo) -> Option<String>) -> String {
    let named = workers.iter().take(NAMED).filter_map(|worker| {
        let reason = lacks(worker)?;
        Some(format!("{} {reason}", worker.peer_id))
    });
    let more = (workers.len() > NAMED).then(|| format!("and {} more", workers.len() - NAMED));
    named.chain(more).collect::<Vec<_>>().join("; ")
}

impl Client {
    pub(super) fn discover(&mut self, ctx: &mut Context<Self>) {
        let Choice::Worker(id) = &self.choice else {
            let filters = worker_filter(&self.room.room_id);
            return self.send(ToHub::DiscoverPeers {
                from_peer_id: self.peer_id.clone(),
                filters,
            });
        };
        // The registration has told who is there: no need to ask.
        if self.present.peer_list.contains(id) {
            let metadata = self
                .present
                .peer_metadata
                .get(id)
                .cloned()
                .unwrap_or_default();
            ctx.notify(Chosen(Some(PeerInfo {
                peer_id: id.clone(),
                role: "worker".to_owned(),
                metadata,
                connected_at: 0.0,
            })));
        } else {
            self.detail = Some(format!(
                "the worker {id} is not in the room now; is it running?"
            ));
            self.feed(Input::NoWorker);
        }
    }

    pub(super) fn discovered(&mut self, peers: Vec<PeerInfo>, ctx: &mut Context<Self>) {
        let (fitting, left_out): (Vec<_>, Vec<_>) = peers
            .into_iter()
            .partition(|peer| self.lacks(peer).is_none());
        let all = fitting.len();
        let mut free: Vec<_> = fitting
            .into_iter()
            .filter(|peer| peer.text("status") == Some("available"))
            .collect();
        free.sort_by_key(|peer| std::cmp::Reverse(peer.number("gpu_memory_mb").unwrap_or(0)));
        match (free.len(), &self.choice) {
            (0, _) => {
                self.detail = Some(match (all, left_out.as_slice()) {
                    (0, []) => {
                        "no worker is in the room; start one with `loaner worker`".to_owned()
                    }
                    (0, left_out) => format!(
                        "no worker fits: {}; `loaner workers` lists them",
                        reasons(left_out, |worker| self.lacks(worker))
                    ),
                    _ => format!(
                        "all {all} fitting workers of the room are busy or reserved; try again later"
                    ),
                });
                self.feed(Input::NoWorker);
            }
            (1, _) | (_, Choice::Auto | Choice::Worker(_)) => {
                let best = free.into_iter().next();
                ctx.notify(Chosen(best));
            }
            (_, Choice::Ask) => {
                self.candidates = free;
                self.feed(Input::WorkersFound);
            }
        }
    }

    pub(super) fn choose(&mut self, ctx: &mut Context<Self>) {
        let (ui, workers, back) = (
            self.ui.clone(),
            std::mem::take(&mut self.candidates),
            ctx.address(),
        );
        self.plane.spawn_blocking(move || {
            let chosen = ui
                .choose(&workers)
                .and_then(|index| workers.into_iter().nth(index));
            back.do_send(Chosen(chosen));
        });
    }

    /// What a worker lacks for this job; `None` when it has enough.
    fn lacks(&self, worker: &PeerInfo) -> Option<String> {
        shortfall(worker, self.min_gpu_memory_mb).or_else(|| self.lacks_files(worker))
    }

    pub(super) fn request(&mut self) {
        // What a package at the worker is for shows when it is there.
        let (job_type, dataset_info) = match &self.work {
            Work::Package(package) => {
                let job_type = match package.kind {
                    PackageKind::Track => "inference",
                    PackageKind::Train | PackageKind::Other(_) => "training",
                };
                let size = package.size as f64 / 1e6;
                let info =
                    json!({ "format": "zip", "path": package.name, "estimated_size_mb": size });
                (Some(job_type.to_owned()), info)
            }
            Work::Named(input) => (None, json!({ "format": "zip", "path": input.path() })),
        };
        self.tell_worker(&PeerMessage::JobRequest(JobRequest {
            job_id: self.job.clone(),
            job_type,
            dataset_info: Some(dataset_info),
            config: None,
            requirements: Some(json!({ "min_gpu_memory_mb": self.min_gpu_memory_mb })),
        }));
    }
}

impl Handler<Chosen> for Client {
    type Result = ();

    fn handle(&mut self, chosen: Chosen, _: &mut Self::Context) {
        let Some(worker) = chosen.0 else {
            return self.feed(Input::NoWorker);
        };
        if let Some(lack) = self.lacks_files(&worker) {
            self.detail = Some(format!("the worker {} {lack}", worker.peer_id));
            return self.feed(Input::NoWorker);
        }
        self.ui.progress(Progress::Chosen {
            worker: worker.peer_id.clone(),
        });
        self.worker = Some(worker);
        let negotiates = self.worker_is_ours();
        self.feed(Input::WorkerChosen { negotiates });
    }
}
