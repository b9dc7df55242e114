//! `loaner worker`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use loaner::actors::session::HubAccess;
use loaner::charts::availability::Status;
use loaner::files::Partials;
use loaner::identity::{IdentityError, Keeper, default_state_dir};
use loaner::rtc::{DataPlane, RtcConfig, check_socket_buffers};
use loaner::worker::jobs::archive::UnpackLimits;
use loaner::worker::jobs::keeper::own_exe;
use loaner::worker::jobs::scratch::default_base;
use loaner::worker::policy::{Asker, Policy};
use loaner::worker::records::{Keep, Records};
use loaner::worker::running;
use loaner::worker::{
    Capabilities, IoPaths, JobSettings, Notice, Refresh, RunningWorker, WorkerConfig, WorkerError,
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::args::{HubOptions, WorkerArgs};
use super::exit::{Exit, Failure};
use super::{Signals, print};

/// Runs a worker until it is told to stop.
pub async fn run(args: WorkerArgs, json: bool) -> Result<(), Failure> {
    let work_dir = args.work_dir.unwrap_or_else(default_base);
    if args.drain {
        return super::drain::run(&work_dir, json).await;
    }
    let mut signals = Signals::listen()?;
    let mut drain = signal(SignalKind::from_raw(running::DRAIN as i32))
        .map_err(|error| Failure::new(Exit::Other, error))?;
    let room = super::room(args.room, args.token)?;
    let policy = policy(args.policy.as_deref(), args.allow_commands)?;
    let paths = paths(args.input_path, args.output_path, args.filesystem)?;
    if let Some(warning) = check_socket_buffers() {
        tracing::warn!("{warning}");
    }
    let plane = DataPlane::start().map_err(|error| Failure::new(Exit::Other, error))?;
    let mut capabilities = plane
        .spawn_blocking(Capabilities::detect)
        .await
        .map_err(|error| Failure::new(Exit::Defect, error))?;
    if let Some(memory) = args.gpu_memory_mb {
        capabilities = capabilities.offer(memory);
    }
    let url = args.at.hub.to_string();
    let max_package = args.max_package_mb.saturating_mul(1_000_000);
    let hub = access(args.at)?;
    let keep = Keep {
        jobs: args.keep_jobs,
        bytes: args.keep_mb.saturating_mul(1_000_000),
        log: args.max_log_mb.saturating_mul(1_000_000),
        ..Keep::default()
    };
    let records = records(&hub, &work_dir, keep, &plane).await?;
    let config = WorkerConfig {
        hub,
        room,
        capabilities,
        refresh: Refresh {
            every: Duration::from_secs(args.gpu_refresh),
            ..Refresh::default()
        },
        jobs: JobSettings {
            policy,
            asker: Asker::default(),
            max_time: args.max_job_time.map(|span| span.0),
            keeper: own_exe().map_err(|error| Failure::new(Exit::Other, error))?,
            limits: UnpackLimits::default(),
            max_package,
            partials: Partials::new(work_dir.join("partial"), max_package),
            records,
            patience: Duration::from_secs(args.output_wait),
        },
        work_dir,
        paths,
        rtc: RtcConfig::default(),
        plane,
    };
    let (notices, mut heard) = mpsc::unbounded_channel();
    let mut worker = RunningWorker::start(config, notices).map_err(failure)?;
    loop {
        tokio::select! {
            // What it said before its end is shown before its end.
            biased;
            Some(notice) = heard.recv() => {
                show(&notice, &url, json);
                tell_service(&notice, &url);
            }
            ended = worker.ended() => return ended.map_err(failure),
            Some(()) = drain.recv() => worker.drain(),
            () = signals.next() => {
                super::service::stopping();
                worker.stop();
            }
        }
    }
}

/// The records of a worker's jobs: beside its identity, or, without a place for that, for this run only.
async fn records(
    hub: &HubAccess,
    work_dir: &Path,
    keep: Keep,
    plane: &DataPlane,
) -> Result<Records, Failure> {
    let (dir, work_dir) = (hub.keeper.records(), work_dir.to_owned());
    let shown = dir.clone().unwrap_or_else(|| work_dir.clone());
    plane
        .spawn_blocking(move || match dir {
            Some(dir) => Records::open(dir, keep),
            None => Records::temporary(&work_dir, keep),
        })
        .await
        .map_err(|error| Failure::new(Exit::Defect, error))?
        .map_err(|error| {
            let shown = shown.display();
            Failure::say(
                Exit::File,
                format!("the records of jobs cannot be kept in {shown}: {error}"),
            )
        })
}

/// Whoever started the worker as a service is told what counts there.
fn tell_service(notice: &Notice, url: &str) {
    match notice {
        Notice::Registered { .. } => super::service::ready(&format!("registered with {url}")),
        // Only the end of a drain is the beginning of the end: a service manager does not wait long for that.
        Notice::Status {
            job: Some(job),
            draining: true,
            ..
        } => super::service::status(&format!("draining: waits for job {job}")),
        Notice::Status {
            status: Status::Reserved,
            draining: true,
            ..
        } => super::service::status("draining: waits for a client that it is reserved for"),
        Notice::Drained => super::service::stopping(),
        Notice::Status { .. }
        | Notice::HubLost
        | Notice::JobEnding { .. }
        | Notice::JobEnded { .. } => {}
    }
}

/// What is run: what a file says, any command, or neither.
fn policy(file: Option<&Path>, allow_commands: bool) -> Result<Policy, Failure> {
    match (file, allow_commands) {
        (Some(_), true) => Err(Failure::say(
            Exit::Usage,
            "--policy says what is allowed, and --allow-commands allows everything: leave --allow-commands out, and what \
             it is for, add to the policy",
        )),
        (Some(file), false) => Policy::load(file).map_err(|error| Failure::new(Exit::Usage, error)),
        (None, true) => Ok(Policy::all_commands()),
        (None, false) => Ok(Policy::recipes_only()),
    }
}

/// Two directories, which are of no use without each other.
fn paths(
    input: Option<PathBuf>,
    output: Option<PathBuf>,
    filesystem: Option<String>,
) -> Result<Option<Arc<IoPaths>>, Failure> {
    match (input, output) {
        (Some(input), Some(output)) => IoPaths::open(&input, &output, filesystem)
            .map(|paths| Some(Arc::new(paths)))
            .map_err(|error| Failure::new(Exit::File, error)),
        (None, None) if filesystem.is_none() => Ok(None),
        _ => Err(Failure::say(
            Exit::Usage,
            "jobs on files of this machine need two directories: give both --input-path DIR and --output-path DIR",
        )),
    }
}

/// A worker has an identity that no other worker of this machine has, and keeps it from start to start.
fn access(at: HubOptions) -> Result<HubAccess, Failure> {
    let trust = super::trust(&at)?;
    let url = at.hub.to_string();
    let keeper = at
        .state_dir
        .or_else(default_state_dir)
        .ok_or(IdentityError::NoPlace)
        .and_then(|state| Keeper::worker(&state, &url))
        .unwrap_or_else(|error| {
            tracing::warn!(%error, "the worker's identity cannot be kept; it is a new one at each start");
            Keeper::in_memory(&url)
        });
    Ok(HubAccess::new(at.hub, trust, keeper))
}

fn failure(error: WorkerError) -> Failure {
    let exit = match error {
        WorkerError::Hub(_) => Exit::Hub,
        WorkerError::Scratch(_) => Exit::File,
        WorkerError::Died { .. } => Exit::Defect,
    };
    Failure::new(exit, error)
}

fn show(notice: &Notice, hub: &str, json: bool) {
    match notice {
        Notice::Registered { session } => {
            let event = json!({
                "event": "registered",
                "session": session.to_string(),
                "room": session.room_id,
                "token": session.token,
                "worker": session.peer_id,
            });
            print(json, &event, || {
                let (room, token, worker) = (&session.room_id, &session.token, &session.peer_id);
                format!(
                    "The worker is registered, and waits for jobs. It can be found in two ways.\n\n\
                     By its session string, which leads to this worker only:\n  \
                     loaner run PACKAGE --hub {hub} --session {session}\n\n\
                     By its room, where there may be others (this one is {worker}):\n  \
                     loaner run PACKAGE --hub {hub} --room {room} --token {token}\n\n\
                     Whoever has one of them can use this machine. Ctrl+C ends the worker."
                )
            });
        }
        Notice::HubLost => {
            print(json, &json!({ "event": "hub_lost" }), || {
                "The hub is out of reach; trying again.".to_owned()
            });
        }
        Notice::Status {
            status,
            job,
            draining,
        } => {
            let event = json!({ "event": "status", "status": status.as_str(), "job": job, "draining": draining });
            print(json, &event, || {
                let job = job
                    .as_ref()
                    .map_or_else(String::new, |job| format!(" (job {job})"));
                let last = match (*draining, *status, job.is_empty()) {
                    (false, ..) => "",
                    (true, Status::Busy, true) => " for everybody: it ends",
                    (true, ..) => "; it takes nobody else, and ends after that",
                };
                format!("The worker is {}{job}{last}.", status.as_str())
            });
        }
        Notice::Drained => {
            print(json, &json!({ "event": "drained" }), || {
                "Nothing is left to wait for; the worker ends.".to_owned()
            });
        }
        Notice::JobEnding {
            job,
            state,
            at_most,
        } => {
            let seconds = at_most.as_secs();
            print(
                json,
                &json!({ "event": "job_ending", "job": job, "state": state, "seconds": seconds }),
                || format!("Job {job} is {state}: it has at most {seconds} s."),
            );
        }
        Notice::JobEnded { job, outcome } => {
            print(
                json,
                &json!({ "event": "job_ended", "job": job, "outcome": outcome }),
                || format!("Job {job} {outcome}."),
            );
        }
    }
}
