//! Hundreds of jobs through one worker and one hub, both processes, by real connections: what they hold afterwards is what
//! they held before.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use loaner::actors::session::{HubAccess, Trust};
use loaner::client::{Choice, ClientConfig, Package, Progress, RunningClient, Ui, Work};
use loaner::identity::Keeper;
use loaner::rtc::{DataPlane, RtcConfig};
use loaner::wire::{PeerInfo, RoomCredentials, SessionString};
use serde_json::Value;
use support::{PATIENCE, Process};

/// Jobs until everything that is made once has been made.
const WARM_UP: usize = 50;
/// Jobs in all.
const JOBS: usize = 500;
/// What the worker's and the hub's memory may differ by, in KiB: less than 40 for each job.
const MEMORY: u64 = 16 * 1024;
/// For what takes its time to be given back, such as threads that wait for further work.
const QUIET: Duration = Duration::from_secs(60);

/// Shows nothing.
struct Silent;

impl Ui for Silent {
    fn progress(&self, _: Progress) {}
    fn output(&self, _: &str) {}
    fn choose(&self, _: &[PeerInfo]) -> Option<usize> {
        None
    }
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    threads: usize,
    memory: u64,
}

impl Held {
    fn by(pid: i32) -> Held {
        let count = |what| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.unwrap().trim().strip_suffix(" kB").unwrap();
        Held {
            descriptors: count("fd"),
            threads: count("task"),
            memory: memory.parse().unwrap(),
        }
    }
}

/// Every file and directory below this one.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(entries(&entry.path()));
        }
        found.push(entry.path());
    }
    found.sort();
    found
}

fn fails(number: usize) -> bool {
    number % 10 == 9
}

/// One hub, one worker, and somebody who sends it jobs.
struct Mill {
    hub: Process,
    worker: Process,
    url: String,
    /// Two, so that one leaves while the other begins.
    clients: [HubAccess; 2],
    /// Whose job is over, and who is leaving.
    leaving: Option<(usize, RunningClient)>,
    session: SessionString,
    plane: DataPlane,
    dir: tempfile::TempDir,
}

impl Mill {
    async fn new() -> Mill {
        let dir = tempfile::tempdir().unwrap();
        let (hub, url) = support::hub().await;
        fs::create_dir(dir.path().join("out")).unwrap();
        let (work, state) = (dir.path().join("work"), dir.path().join("state"));
        let state = state.to_str().unwrap();
        let flags = [
            "--allow-commands", "--state-dir", state, "--keep-jobs", "20",
        ];
        let env = [("LOANER_LOG", "error")];
        let mut worker = support::worker(&url, &work, &flags, &env);
        let session = worker.event("registered").await["session"].clone();
        Mill {
            hub,
            worker,
            clients: [0, 1].map(|_| {
                let keeper = Keeper::in_memory(&url);
                HubAccess::new(url.parse().unwrap(), Trust::default(), keeper)
            }),
            leaving: None,
            url,
            session: session.as_str().unwrap().parse().unwrap(),
            plane: DataPlane::start().unwrap(),
            dir,
        }
    }

    /// One job from its package until the worker is free again; every tenth fails.
    async fn job(&mut self, number: usize) {
        let package = if fails(number) { "fails" } else { "works" };
        let package = Package::open(&self.dir.path().join(package), &AtomicBool::new(false));
        let client = RunningClient::start(ClientConfig {
            hub: self.clients[number % 2].clone(),
            room: RoomCredentials {
                room_id: self.session.room_id.clone(),
                token: self.session.token.clone(),
            },
            choice: Choice::Worker(self.session.peer_id.clone()),
            work: Work::Package(package.unwrap()),
            output_dir: self.dir.path().join("out"),
            min_gpu_memory_mb: 0,
            rtc: RtcConfig::default(),
            plane: self.plane.clone(),
            secret: Some([7; 32]),
            ui: Arc::new(Silent),
        });
        self.worker.event("job_ended").await;
        let free = |event: &Value| event["status"] == "available";
        self.worker.event_where("status", PATIENCE, free).await;
        self.has_left().await;
        self.leaving = Some((number, client));
    }

    /// The client before has its results, and is gone.
    async fn has_left(&mut self) {
        if let Some((number, mut client)) = self.leaving.take() {
            let ended = client.ended().await;
            assert_eq!(ended.is_err(), fails(number), "job {number}: {ended:?}");
            if let Ok(report) = ended {
                fs::remove_file(report.results.unwrap()).unwrap();
            }
        }
    }

    async fn jobs(&mut self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.job(number).await;
        }
        self.has_left().await;
    }

    /// What hub and worker hold when nobody is there, as soon as that `is_so`.
    async fn quiet(&self, is_so: impl Fn(&[Held; 2]) -> bool) -> [Held; 2] {
        let metrics = format!("{}/metrics", self.url);
        let deadline = Instant::now() + QUIET;
        loop {
            let metrics: Value = awc::Client::new()
                .get(&metrics)
                .insert_header(("connection", "close"))
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            let alone = metrics["peers_by_role"] == serde_json::json!({ "worker": 1 })
                && metrics["active_rooms"] == 1
                && metrics["active_connections"] == 1;
            let held = [self.worker.pid, self.hub.pid].map(Held::by);
            if alone && is_so(&held) {
                return held;
            }
            assert!(Instant::now() < deadline, "{metrics} {held:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What is on the worker's disk: which files, and how many about jobs, whose names count the jobs.
    fn kept(&self) -> (Vec<PathBuf>, usize) {
        let dirs = ["work", "state"].map(|dir| entries(&self.dir.path().join(dir)));
        let about_job =
            |path: &PathBuf| path.parent().unwrap().extension() == Some("jobs".as_ref());
        let (jobs, others): (Vec<_>, _) = dirs.into_iter().flatten().partition(about_job);
        (others, jobs.len())
    }
}

/// A worker that ran five hundred jobs holds what it held after fifty: descriptors, threads, memory, and files; and the hub
/// knows nobody but the worker.
#[actix_rt::test]
async fn what_is_held_after_five_hundred_jobs_is_what_was_held_after_fifty() {
    let mut mill = Mill::new().await;
    let works = "mkdir models; echo m > models/m; echo done";
    support::package(mill.dir.path(), "works", works);
    support::package(mill.dir.path(), "fails", "exit 3");
    mill.jobs(0..WARM_UP).await;
    let before = mill.quiet(|_| true).await;
    let kept = mill.kept();
    mill.jobs(WARM_UP..JOBS).await;
    let after = mill
        .quiet(|after| {
            after.iter().zip(&before).all(|(after, before)| {
                after.descriptors <= before.descriptors && after.threads <= before.threads
            })
        })
        .await;
    for (after, before) in after.iter().zip(&before) {
        assert!(
            after.memory <= before.memory + MEMORY,
            "{before:?} {after:?}"
        );
    }
    assert_eq!(mill.kept(), kept);
    assert_eq!(
        kept.1, 40,
        "a record and a log for each job that is remembered"
    );
}
