//! Asking workers about jobs: which worker, and which job.

use std::path::Path;

use loaner::client::{Visit, VisitConfig, VisitError, VisitNews, list_workers};
use loaner::rtc::{DataPlane, RtcConfig};
use loaner::wire::RoomCredentials;
use loaner::wire::own::{JobSummary, OwnText, PROPERTY, SPEAKS_OF_JOBS, Versions};

use super::args::AskedWorker;
use super::exit::{Exit, Failure};
use super::run::failure as client_failure;

/// The workers that are asked.
pub struct Asked {
    workers: Vec<VisitConfig>,
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

impl Asked {
    /// Finds out who is asked.
    ///
    /// # Errors
    /// When that is not said, or the hub cannot be asked.
    pub async fn new(args: AskedWorker) -> Result<Self, Failure> {
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
                let room = super::room(args.room, args.token)?.ok_or_else(|| {
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

    /// The jobs that the workers know, and which worker that is.
    ///
    /// # Errors
    /// When a worker cannot be asked.
    pub async fn jobs(&self) -> Result<Vec<(String, Vec<JobSummary>)>, Failure> {
        let mut all = Vec::new();
        for config in &self.workers {
            let mut visit = begin(config, Path::new(".")).await?;
            let jobs = list(&mut visit).await;
            visit.end().await;
            all.push((config.worker.clone(), jobs.map_err(failure)?));
        }
        Ok(all)
    }

    /// The job that is meant: the one whose id begins like this, or, without an id, the latest that is `wanted`. Files that
    /// come go to `output_dir`.
    ///
    /// # Errors
    /// When there is none, or it cannot be told which.
    pub async fn find(
        &self,
        job: Option<&str>,
        output_dir: &Path,
        wanted: impl Fn(&JobSummary) -> bool,
        none: &str,
    ) -> Result<Found, Failure> {
        let mut denied = None;
        for config in &self.workers {
            let mut visit = begin(config, output_dir).await?;
            let found = match job {
                Some(job) => look_at(&mut visit, job).await,
                None => match list(&mut visit).await {
                    Ok(jobs) => jobs
                        .into_iter()
                        .rfind(&wanted)
                        .ok_or_else(|| VisitError::Denied(none.to_owned())),
                    Err(error) => Err(error),
                },
            };
            match found {
                Ok(job) => {
                    return Ok(Found {
                        visit,
                        config: config.clone(),
                        job,
                    });
                }
                Err(VisitError::Denied(message)) => {
                    denied = Some(message);
                    visit.end().await;
                }
                Err(error) => {
                    visit.end().await;
                    return Err(failure(error));
                }
            }
        }
        let message = denied.unwrap_or_else(|| none.to_owned());
        Err(Failure::say(Exit::NoJob, message))
    }
}

/// Connects to a worker.
///
/// # Errors
/// Why there is no connection.
pub async fn begin(config: &VisitConfig, output_dir: &Path) -> Result<Visit, Failure> {
    Visit::begin(config.clone(), output_dir)
        .await
        .map_err(failure)
}

async fn list(visit: &mut Visit) -> Result<Vec<JobSummary>, VisitError> {
    visit.say(OwnText::ListJobs).await?;
    loop {
        if let VisitNews::Said(OwnText::JobList { jobs }) = visit.hear().await? {
            return Ok(jobs);
        }
    }
}

async fn look_at(visit: &mut Visit, job: &str) -> Result<JobSummary, VisitError> {
    let job = job.to_owned();
    visit.say(OwnText::WatchJob { job }).await?;
    loop {
        if let VisitNews::Said(OwnText::Job(job)) = visit.hear().await? {
            return Ok(job);
        }
    }
}

/// The exit code of a visit's failure.
pub fn failure(error: VisitError) -> Failure {
    let exit = match &error {
        VisitError::Hub(_) => Exit::Hub,
        VisitError::Absent(_) | VisitError::Foreign(_) | VisitError::Refused(_) => Exit::NoWorker,
        VisitError::NotConnected(_) | VisitError::Lost => Exit::Connection,
        VisitError::Denied(_) => Exit::NoJob,
        VisitError::NotReceived(_) => Exit::File,
    };
    Failure::new(exit, error)
}
