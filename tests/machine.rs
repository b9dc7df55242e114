//! What a worker tells of its machine while it waits, and how long it expects a job to take.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loaner::actors::session::{HubAccess, HubUrl};
use loaner::files::Partials;
use loaner::rtc::{DataPlane, RtcConfig};
use loaner::worker::capabilities::{GpuSource, Reading};
use loaner::worker::jobs::archive::UnpackLimits;
use loaner::worker::policy::{Asker, Policy};
use loaner::worker::records::{Keep, Records};
use loaner::worker::{Capabilities, JobSettings, Refresh, RunningWorker, WorkerConfig};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::stub::StubHub;
use support::{Lab, Peer, Process, hub, package, zip};

/// Longer than anything takes here, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two H200, made up by hand.
fn h200() -> Reading {
    let text = include_str!("fixtures/nvml-h200-made-up.json");
    let mut file: Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(file["reading"].take()).unwrap()
}

/// GPUs that do as the test says, and how often they were looked at.
#[derive(Clone)]
struct Steered(Arc<Mutex<(Reading, u64)>>);

impl Steered {
    fn change(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.0.lock().unwrap().0);
    }

    /// Waits until they were looked at twice more: the second time is after now from its beginning.
    async fn looked_at(&self) {
        let count = || self.0.lock().unwrap().1;
        let before = count();
        support::until("the GPUs are looked at", PATIENCE, || count() >= before + 2).await;
    }
}

impl GpuSource for Steered {
    fn read(&mut self) -> Reading {
        let mut inner = self.0.lock().unwrap();
        inner.1 += 1;
        inner.0.clone()
    }
}

fn worker(hub: &str, dir: &Path, gpus: &Steered, refresh: Refresh) -> RunningWorker {
    let config = WorkerConfig {
        hub: HubAccess::from(hub.parse::<HubUrl>().unwrap()),
        room: None,
        capabilities: Capabilities::new("gpu-01".to_owned(), Box::new(gpus.clone())),
        refresh,
        work_dir: dir.to_owned(),
        jobs: JobSettings {
            policy: Policy::recipes_only(),
            asker: Asker::default(),
            max_time: None,
            keeper: env!("CARGO_BIN_EXE_loaner").into(),
            limits: UnpackLimits::default(),
            max_package: 1_000_000,
            partials: Partials::new(dir.join("partial"), 1_000_000),
            records: Records::temporary(dir, Keep::default()).unwrap(),
            patience: Duration::from_secs(30),
        },
        paths: None,
        rtc: RtcConfig::default(),
        plane: DataPlane::start().unwrap(),
    };
    RunningWorker::start(config, tokio::sync::mpsc::unbounded_channel().0).unwrap()
}

/// A worker tells of all its GPUs at registration, and later of what is worth telling, and of nothing else; its answers
/// to requests have the figures of the last look; and a hub that comes back hears the newest with the registration.
#[actix_rt::test]
async fn the_hub_hears_of_changes_worth_telling() {
    let mut hub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let gpus = Steered(Arc::new(Mutex::new((h200(), 0))));
    let brisk = Refresh {
        every: Duration::from_millis(20),
        tell_every: Duration::ZERO,
    };
    let mut worker = worker(&hub.url, dir.path(), &gpus, brisk);
    let registered = hub.frame_within("register", PATIENCE).await;
    let properties = &registered["metadata"]["properties"];
    assert_eq!(properties["gpu_model"], "NVIDIA H200");
    assert_eq!(properties["gpu_memory_mb"], 143_771);
    assert_eq!(properties["driver_version"], "570.86.15");
    assert_eq!(properties["gpus"][1]["temperature_c"], 61);

    // Too little to be worth a message, on its own.
    gpus.change(|reading| reading.gpus[0].temperature_c = Some(34));
    gpus.looked_at().await;
    gpus.change(|reading| {
        reading.gpus[0].memory_free_mb = 100_000;
        reading.gpus[0].utilization = Some(0.5);
    });
    let update = hub.frame_within("update_metadata", PATIENCE).await;
    let properties = &update["metadata"]["properties"];
    assert_eq!(properties["gpus"][0]["memory_free_mb"], 100_000, "{update}");
    assert_eq!(properties["gpus"][0]["temperature_c"], 34, "{update}");
    assert_eq!(
        properties.get("status"),
        None,
        "the status has another owner"
    );
    // Hubs of old take the tags away where an update has none.
    assert_eq!(update["metadata"]["tags"][0], "sleap-rtc");

    let request =
        json!({ "app_message_type": "job_request", "job_id": "j1", "job_type": "training" });
    let worker_id = registered["peer_id"].clone();
    hub.say(json!({ "type": "peer_message", "from_peer_id": "client", "to_peer_id": worker_id, "payload": request }));
    let answer = hub.frame_within("peer_message", PATIENCE).await;
    let info = &answer["payload"]["worker_info"];
    assert_eq!(
        info,
        &json!({ "gpu_utilization": 0.5, "available_memory_mb": 100_000 })
    );

    // Whatever changes while the hub is away is in the next registration.
    hub.drop_sockets();
    hub.frame_within("socket closed", PATIENCE).await;
    gpus.change(|reading| reading.gpus.truncate(1));
    loop {
        let frame = hub.any_frame().await;
        let gpus = frame["metadata"]["properties"]["gpus"].as_array();
        if gpus.is_some_and(|gpus| gpus.len() == 1) {
            break;
        }
    }
    worker.stop();
    tokio::time::timeout(PATIENCE, worker.ended())
        .await
        .unwrap()
        .unwrap();
}

/// However fast the GPUs change, the hub is not told again before its time; a slow worker is not seen to be one.
#[actix_rt::test]
async fn the_hub_is_not_told_too_often() {
    let mut hub = StubHub::start();
    let dir = tempfile::tempdir().unwrap();
    let gpus = Steered(Arc::new(Mutex::new((h200(), 0))));
    let patient = Refresh {
        every: Duration::from_millis(10),
        tell_every: Duration::from_secs(3600),
    };
    let _worker = worker(&hub.url, dir.path(), &gpus, patient);
    let registered = hub.frame_within("register", PATIENCE).await;
    for heat in [90, 20, 70] {
        gpus.change(|reading| reading.gpus[0].temperature_c = Some(heat));
        gpus.looked_at().await;
    }
    // The answer to a request stands behind everything that was said before.
    let request = json!({ "app_message_type": "job_request", "job_id": "j1" });
    hub.say(json!({ "type": "peer_message", "from_peer_id": "client", "to_peer_id": registered["peer_id"], "payload": request }));
    assert_eq!(hub.any_frame().await["type"], "peer_message");
}

/// A worker in this room that keeps its state here.
async fn worker_with_state(url: &str, dir: &Path) -> (Process, String, String, String) {
    let (work, state) = (dir.join("work"), dir.join("state"));
    let args = [
        "worker",
        "--json",
        "--allow-commands",
        "--hub",
        url,
        "--work-dir",
        work.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    let mut worker = Process::start(&args, &[]);
    let registered = worker.event("registered").await;
    let text = |name: &str| registered[name].as_str().unwrap().to_owned();
    let found = (text("room"), text("token"), text("worker"));
    (worker, found.0, found.1, found.2)
}

/// What a worker expects a training of a package of this size to take, in minutes; the reservation is withdrawn.
async fn estimate(url: &str, room: &str, token: &str, worker: &str) -> Value {
    let mut client = Peer::join(url, room, token, "client").await;
    let request =
        json!({ "app_message_type": "job_request", "job_id": "ask", "job_type": "training" });
    client.message(worker, request);
    let response = client.hear_message("job_response").await;
    client.leave().await;
    response["estimated_duration_minutes"].clone()
}

/// After three like jobs, a worker expects the next to take what they took; also after a restart, and not any more when
/// the file in which it keeps that is damaged: then it is put aside, with a warning.
#[actix_rt::test]
async fn a_worker_learns_how_long_jobs_take() {
    let (_hub, url) = hub().await;
    let dir = tempfile::tempdir().unwrap();
    let (mut worker, room, token, id) = worker_with_state(&url, dir.path()).await;
    let archive = zip(&package(dir.path(), "a", "echo hello"));
    for _ in 0..3 {
        let mut client = Peer::join(&url, &room, &token, "client").await;
        let job = client.reserve(&id).await;
        client.until_status(&id, "busy", PATIENCE).await;
        let call = client.call(&id).await;
        call.upload("a.zip", &archive).await;
        call.until("JOB_COMPLETE").await;
        client.until_status(&id, "available", PATIENCE).await;
        worker
            .event_where("job_ended", PATIENCE, |event| event["job"] == job.as_str())
            .await;
        call.hang_up().await;
        client.leave().await;
    }
    assert_eq!(
        estimate(&url, &room, &token, &id).await,
        1,
        "not half a minute for each of 100 epochs"
    );
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.exit_within(PATIENCE).await, 0);

    let (mut worker, room, token, id) = worker_with_state(&url, dir.path()).await;
    assert_eq!(estimate(&url, &room, &token, &id).await, 1, "it is kept");
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.exit_within(PATIENCE).await, 0);

    let kept = history(dir.path());
    std::fs::write(&kept, "{\"jobs\": [{").unwrap();
    let (worker, room, token, id) = worker_with_state(&url, dir.path()).await;
    assert_eq!(
        estimate(&url, &room, &token, &id).await,
        50,
        "the protocol's rule"
    );
    worker.logged_within("put aside", PATIENCE).await;
    let aside = kept.with_extension("json.damaged");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "{\"jobs\": [{");
}

/// The file in which the only worker keeps its history.
fn history(dir: &Path) -> std::path::PathBuf {
    let hubs = std::fs::read_dir(dir.join("state").join("identity")).unwrap();
    let files = hubs.flat_map(|hub| std::fs::read_dir(hub.unwrap().path()).unwrap());
    let mut paths = files.map(|file| file.unwrap().path());
    paths
        .find(|path| path.to_str().unwrap().ends_with(".history.json"))
        .unwrap()
}

/// A job that was not done to its end says nothing of how long such jobs take.
#[actix_rt::test]
async fn jobs_that_fail_are_not_counted() {
    let lab = Lab::new().await;
    let archive = zip(&lab.package("a", "exit 3"));
    for _ in 0..3 {
        let mut client = lab.peer("client").await;
        client.reserve(&lab.worker_id).await;
        client.until_status(&lab.worker_id, "busy", PATIENCE).await;
        let call = client.call(&lab.worker_id).await;
        call.upload("a.zip", &archive).await;
        call.until("JOB_FAILED").await;
        client
            .until_status(&lab.worker_id, "available", PATIENCE)
            .await;
        call.hang_up().await;
        client.leave().await;
    }
    assert_eq!(
        estimate(&lab.url, &lab.room, &lab.token, &lab.worker_id).await,
        50
    );
}
