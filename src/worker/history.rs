//! What jobs took on this machine: the last of them, kept from start to start, so that the next can be estimated.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::wire::{JobRequest, MAX_ESTIMATE_MINUTES, estimate_minutes};

/// Jobs that are kept.
pub const MAX_JOBS: usize = 50;
/// Like jobs that it takes for an estimate.
const ENOUGH: usize = 3;
/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A job that completed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastJob {
    /// What it was: `training`.
    pub kind: String,
    /// The kind of model, where the request said one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// Epochs, where the request said how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Models that it trained, or commands that it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<u64>,
    /// The size of its package, in bytes; 0 where unknown.
    #[serde(default)]
    pub package_bytes: u64,
    /// How long it took, in seconds.
    pub seconds: u64,
}

impl PastJob {
    /// What a request says of the job that it is about; the size of the package is as announced, and nothing is known yet of
    /// what it takes.
    pub fn of(request: &JobRequest) -> Self {
        let announced = request.dataset_info.as_ref();
        let megabytes = announced.and_then(|info| info.get("estimated_size_mb")?.as_f64());
        PastJob {
            kind: request.job_type.clone().unwrap_or_else(Self::usual_kind),
            model_type: request.model_type().map(str::to_owned),
            epochs: request.epochs(),
            models: None,
            // A float cast to an integer saturates.
            package_bytes: megabytes.map_or(0, |megabytes| (megabytes * 1e6) as u64),
            seconds: 0,
        }
    }

    /// A job that nobody described.
    pub fn undescribed() -> Self {
        PastJob {
            kind: Self::usual_kind(),
            ..PastJob::default()
        }
    }

    fn usual_kind() -> String {
        "training".to_owned()
    }

    /// Whether this one says something about `other`: the same kind of model for as many epochs, from a package that is
    /// half to twice as large, as far as that is known.
    fn is_like(&self, other: &PastJob) -> bool {
        let (small, large) = (
            self.package_bytes.min(other.package_bytes),
            self.package_bytes.max(other.package_bytes),
        );
        self.kind == other.kind
            && self.model_type == other.model_type
            && self.epochs == other.epochs
            && (small == 0 || large <= small.saturating_mul(2))
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    jobs: VecDeque<PastJob>,
}

/// The last jobs of a worker.
#[derive(Debug, Default)]
pub struct History {
    path: Option<PathBuf>,
    jobs: VecDeque<PastJob>,
}

impl History {
    /// The history in a file, which need not be there yet; without one, it ends with the process. A file that holds none
    /// is put aside, as `FILE.damaged`, with a warning.
    pub fn open(path: Option<PathBuf>) -> Self {
        let Some(path) = path else {
            return Self::default();
        };
        let mut jobs = match read(&path) {
            Ok(kept) => kept.jobs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => VecDeque::new(),
            Err(error) => {
                put_aside(&path, &error);
                VecDeque::new()
            }
        };
        let surplus = jobs.len().saturating_sub(MAX_JOBS);
        jobs.drain(..surplus);
        History {
            path: Some(path),
            jobs,
        }
    }

    /// Adds a job, for which the oldest makes room. That the file cannot be written is only logged.
    pub fn add(&mut self, job: PastJob) {
        self.jobs.push_back(job);
        if self.jobs.len() > MAX_JOBS {
            self.jobs.pop_front();
        }
        if let Some(path) = &self.path
            && let Err(error) = write(path, &self.jobs)
        {
            tracing::warn!(path = %path.display(), %error, "the history of jobs cannot be kept; estimates begin anew at the next start");
        }
    }

    /// How long a job is going to take, in minutes and at least one: the median of like jobs where there are three or
    /// more, else by the protocol's rule ([`estimate_minutes`]).
    pub fn estimate(&self, request: &JobRequest) -> u64 {
        let wanted = PastJob::of(request);
        let like = self.jobs.iter().filter(|job| job.is_like(&wanted));
        let mut seconds: Vec<_> = like.map(|job| job.seconds).collect();
        if seconds.len() < ENOUGH {
            return estimate_minutes(request);
        }
        seconds.sort_unstable();
        let middle = seconds.len() / 2;
        let median = match seconds.len() % 2 {
            0 => seconds[middle - 1].midpoint(seconds[middle]),
            _ => seconds[middle],
        };
        median.div_ceil(60).clamp(1, MAX_ESTIMATE_MINUTES)
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn put_aside(path: &Path, why: &io::Error) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    match std::fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(
            path = %path.display(), error = %why,
            "the history of jobs cannot be read; it is put aside as {}, and a new one begins", aside.display()
        ),
        Err(error) => tracing::warn!(
            path = %path.display(), %error,
            "the history of jobs can neither be read ({why}) nor put aside; a new one replaces it"
        ),
    }
}

fn write(path: &Path, jobs: &VecDeque<PastJob>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Keep<'a> {
        jobs: &'a VecDeque<PastJob>,
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    // Readable by its owner only, and replaced whole: a worker that is killed meanwhile leaves the old one.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&serde_json::to_vec(&Keep { jobs })?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(epochs: Option<u64>, megabytes: f64) -> JobRequest {
        JobRequest {
            job_id: "j".to_owned(),
            job_type: Some("training".to_owned()),
            dataset_info: Some(json!({ "estimated_size_mb": megabytes })),
            config: epochs.map(|epochs| json!({ "epochs": epochs })),
            requirements: None,
        }
    }

    fn took(request: &JobRequest, seconds: u64) -> PastJob {
        PastJob {
            seconds,
            ..PastJob::of(request)
        }
    }

    /// Three like jobs are enough for an estimate, which is their median; jobs that are otherwise say nothing.
    #[test]
    fn the_median_of_like_jobs_is_the_estimate() {
        let like = request(Some(40), 10.0);
        let mut history = History::default();
        assert_eq!(history.estimate(&like), 20, "the protocol's rule");
        history.add(took(&like, 100));
        history.add(took(&request(Some(40), 19.0), 9_000));
        for other in [
            took(&request(Some(41), 10.0), 7),
            took(&request(None, 10.0), 7),
            took(&request(Some(40), 21.0), 7),
            took(&request(Some(40), 4.9), 7),
            PastJob {
                kind: "inference".to_owned(),
                ..took(&like, 7)
            },
            PastJob {
                model_type: Some("base".to_owned()),
                ..took(&like, 7)
            },
        ] {
            history.add(other);
        }
        assert_eq!(history.estimate(&like), 20, "two are not enough");
        history.add(took(&request(Some(40), 5.1), 301));
        assert_eq!(history.estimate(&like), 6, "minutes that have begun count");
        history.add(took(&like, 419));
        assert_eq!(history.estimate(&like), 6, "the middle of 301 and 419");
        let size_unknown = JobRequest {
            dataset_info: None,
            ..like
        };
        assert_eq!(history.estimate(&size_unknown), 4, "every size will do");
    }

    /// An estimate has bounds, whatever a request or a file says.
    #[test]
    fn an_estimate_is_bounded() {
        let any = request(None, 1e300);
        let mut history = History::default();
        (0..3).for_each(|_| history.add(took(&any, u64::MAX)));
        assert_eq!(history.estimate(&any), MAX_ESTIMATE_MINUTES);
        let small = request(Some(1), -5.0);
        (0..3).for_each(|_| history.add(took(&small, 0)));
        assert_eq!(history.estimate(&small), 1);
    }

    /// The last fifty jobs are kept, and are there again at the next start.
    #[test]
    fn the_last_jobs_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("history.json");
        let mut history = History::open(Some(path.clone()));
        let like = request(Some(4), 1.0);
        (0..60).for_each(|seconds| history.add(took(&like, seconds)));
        let again = History::open(Some(path.clone()));
        let seconds: Vec<_> = again.jobs.iter().map(|job| job.seconds).collect();
        assert_eq!(seconds, (10..60).collect::<Vec<_>>());
        assert_eq!(again.estimate(&like), 1);
        // A file that somebody made longer is cut.
        let many = VecDeque::from(vec![took(&like, 7); 400]);
        write(&path, &many).unwrap();
        assert_eq!(History::open(Some(path)).jobs.len(), MAX_JOBS);
    }

    /// A damaged file is put aside and replaced; what was in it is not lost.
    #[test]
    fn a_damaged_file_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        let endless = "[".repeat(100_000);
        for damage in [
            "",
            "{\"jobs\": [{\"kind\": \"tra",
            "[]",
            "\u{0}\u{1}",
            endless.as_str(),
        ] {
            std::fs::write(&path, damage).unwrap();
            let mut history = History::open(Some(path.clone()));
            assert_eq!(history.jobs.len(), 0);
            let aside = std::fs::read_to_string(dir.path().join("history.json.damaged")).unwrap();
            assert_eq!(aside, damage);
            history.add(PastJob::undescribed());
            assert_eq!(History::open(Some(path.clone())).jobs.len(), 1);
        }
    }
}
