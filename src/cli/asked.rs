//! Asking workers about jobs: which worker, and which job.

use std::path::Path;

use loaner::client::{Visit, VisitConfig, VisitError, VisitNews, list_workers};
use loaner::rtc::{DataPlane, RtcConfig};
use loaner::wire::RoomCredentials;
use loaner::wire::own::{JobSummary, OwnText, PROPERTY, SPEAKS_OF_JOBS, Versions};

use serde_json::json;

use super::args::Target;
use super::exit::{Exit, Failure};
use super::print;
use super::run::failure as client_failure;
use super::ui::printable;

/// The workers that are asked.
pub struct Asked {
    workers: Vec<VisitConfig>,
}

/// Which job is meant where no id is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The latest of all workers.
    Latest,
    /// The only one.
    Only,
}

/// A job at the worker that knows it.
pub struct Found {
    /// The connection to the worker.
    pub visit: Visit,
    /// How to connect again.
    pub config: VisitConfig,
    /// The job.
    pub job: JobSummary,
}

/// Shows what happens to the way to the worker.
pub fn tell_of_way(news: &VisitNews, json: bool) {
    let (event, words) = match news {
        VisitNews::Interrupted => (
            "path_suspect",
            "The path to the worker is gone for now; waiting up to 90 s for it to come back",
        ),
        VisitNews::Back => ("path_recovered", "The path to the worker is back"),
        _ => return,
    };
    match json {
        true => print(true, &json!({ "event": event }), String::new),
        false => eprintln!("{words}"),
    }
}

impl Asked {
    /// Finds out who is asked.
    ///
    /// # Errors
    /// When that is not said, or the hub cannot be asked.
    pub async fn new(args: Target) -> Result<Self, Failure> {
        let plane = DataPlane::start().map_err(|error| Failure::new(Exit::Other, error))?;
        let (room, worker) = match args.session {
            Some(session) => {
                let room = RoomCredentials {
                    room_id: session.room_id,
                    token: session.token,
                };
                (room, Some(session.peer_id))
            }
            None => {
                let room = args.of.credentials()?.ok_or_else(|| {
                    Failure::say(
                        Exit::Usage,
                        "which worker? Give --session STRING (a worker prints it when it starts), or --room ID and --token T",
                    )
                })?;
                (room, args.worker)
            }
        };
        let hub = super::client_access(args.at)?;
        let ids = match worker {
            Some(worker) => vec![worker],
            None => {
                let found = list_workers(hub.clone(), room.clone())
                    .await
                    .map_err(client_failure)?;
                let speaks = |versions: Versions| versions.highest >= SPEAKS_OF_JOBS;
                let ids = found.into_iter().filter(|worker| {
                    Versions::of_property(worker.metadata.properties.get(PROPERTY))
                        .is_some_and(speaks)
                });
                ids.map(|worker| worker.peer_id).collect()
            }
        };
        if ids.is_empty() {
            return Err(Failure::say(
                Exit::NoWorker,
                "no worker that can be asked about jobs is in the room now",
            ));
        }
        let workers = ids.into_iter().map(|worker| VisitConfig {
            hub: hub.clone(),
            room: room.clone(),
            worker,
            rtc: RtcConfig::default(),
            plane: plane.clone(),
        });
        Ok(Asked {
            workers: workers.collect(),
        })
    }

    /// The jobs that the workers know, by worker; a worker that cannot be asked is told of, and passed over.
    ///
    /// # Errors
    /// When no worker can be asked.
    pub async fn jobs(&self) -> Result<Vec<(String, Vec<JobSummary>)>, Failure> {
        let mut all = Vec::new();
        let mut failed = None;
        for config in &self.workers {
            let listed = async {
                let mut visit = Visit::begin(config.clone(), None).await?;
                let jobs = list(&mut visit).await;
                visit.end().await;
                jobs
            };
            match listed.await {
                Ok(jobs) => all.push((config.worker.clone(), jobs)),
                Err(error) => self.passed_over(config, error, &mut failed),
            }
        }
        match failed {
            Some(error) if all.is_empty() => Err(failure(error)),
            _ => Ok(all),
        }
    }

    /// Says that a worker cannot be asked, where there are others; the first reason is the one that counts.
    fn passed_over(
        &self,
        config: &VisitConfig,
        error: VisitError,
        failed: &mut Option<VisitError>,
    ) {
        if self.workers.len() > 1 {
            let told = printable(&error.to_string());
            eprintln!("worker {}: {told}", printable(&config.worker));
        }
        failed.get_or_insert(error);
    }

    /// The job that is meant: the one whose id begins like this, or, without an id, the latest that is `wanted`. Results that are
    /// fetched go to `output_dir`.
    ///
    /// # Errors
    /// When there is none, or it cannot be told which.
    pub async fn find(
        &self,
        job: Option<&str>,
        output_dir: Option<&Path>,
        which: Which,
        wanted: impl Fn(&JobSummary) -> bool,
        none: &str,
    ) -> Result<Found, Failure> {
        let mut best: Option<Found> = None;
        let (mut denied, mut failed, mut several) = (None, None, false);
        for config in &self.workers {
            let mut visit = match Visit::begin(config.clone(), output_dir).await {
                Ok(visit) => visit,
                Err(error) => {
                    self.passed_over(config, error, &mut failed);
                    continue;
                }
            };
            let found = match job {
                Some(job) => look_at(&mut visit, job).await,
                None => list(&mut visit).await.and_then(|jobs| {
                    let latest = jobs.into_iter().rfind(&wanted);
                    latest.ok_or_else(|| VisitError::Denied(none.to_owned()))
                }),
            };
            let beaten = match found {
                Ok(job) => {
                    let found = Found {
                        visit,
                        config: config.clone(),
                        job,
                    };
                    several |= best.is_some();
                    match best.take() {
                        Some(old) if old.job.began >= found.job.began => {
                            best = Some(old);
                            Some(found.visit)
                        }
                        old => {
                            best = Some(found);
                            old.map(|old| old.visit)
                        }
                    }
                }
                Err(VisitError::Denied(message)) => {
                    denied.get_or_insert(message);
                    Some(visit)
                }
                Err(error) => {
                    self.passed_over(config, error, &mut failed);
                    Some(visit)
                }
            };
            if let Some(visit) = beaten {
                visit.end().await;
            }
        }
        match (best, failed, denied) {
            (Some(found), ..) if several && (job.is_some() || which == Which::Only) => {
                found.visit.end().await;
                Err(Failure::say(
                    Exit::NoJob,
                    "several workers have such a job: give its whole id, or --worker ID",
                ))
            }
            (Some(found), ..) => Ok(found),
            (None, Some(error), None) => Err(failure(error)),
            (None, _, denied) => Err(Failure::say(
                Exit::NoJob,
                denied.unwrap_or_else(|| none.to_owned()),
            )),
        }
    }
}

async fn list(visit: &mut Visit) -> Result<Vec<JobSummary>, VisitError> {
    visit.say(OwnText::ListJobs).await?;
    loop {
        if let VisitNews::Said(OwnText::JobList { jobs }) = visit.answer().await? {
            return Ok(jobs);
        }
    }
}

async fn look_at(visit: &mut Visit, job: &str) -> Result<JobSummary, VisitError> {
    let job = job.to_owned();
    visit.say(OwnText::WatchJob { job }).await?;
    loop {
        if let VisitNews::Said(OwnText::Job(job)) = visit.answer().await? {
            return Ok(job);
        }
    }
}

/// The exit code of a visit's failure.
pub fn failure(error: VisitError) -> Failure {
    let exit = match &error {
        VisitError::Hub(_) => Exit::Hub,
        VisitError::Absent(_)
        | VisitError::Foreign(_)
        | VisitError::NoTunnels(_)
        | VisitError::Refused(_) => Exit::NoWorker,
        VisitError::NotConnected(_) | VisitError::Lost => Exit::Connection,
        VisitError::Denied(_) => Exit::NoJob,
        VisitError::NotReceived(_) => Exit::File,
    };
    Failure::new(exit, error)
}
