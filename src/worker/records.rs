//! What a worker keeps of its jobs: how each went, its log, and results that did not reach its client. It is there while the
//! job runs and for a while after it; the oldest goes first.
//!
//! In one directory, a job has a number, and up to three files: `N.json` (how it went), `N.log`, `N.results`.

mod record;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use record::{Record, Story, Watching};

use tempfile::TempDir;

use crate::wire::own::{JobSummary, MAX_JOBS};

/// How much is kept of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Jobs that are over.
    pub jobs: usize,
    /// Bytes of all logs and results together.
    pub bytes: u64,
    /// The longest log, in bytes.
    pub log: u64,
    /// For how long.
    pub age: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Keep {
            jobs: 200,
            bytes: 8 << 30,
            log: 4 << 30,
            age: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// The records of a worker's jobs.
#[derive(Debug, Clone)]
pub struct Records(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// Removed at the end, where there is no place for a longer life.
    _temporary: Option<TempDir>,
    keep: Keep,
    /// By number: the latest last.
    jobs: Mutex<BTreeMap<u64, Arc<Record>>>,
}

impl Records {
    /// The records in `dir`, which nobody else uses. What is damaged there is passed over, and what was under way when a
    /// worker died is told to have failed. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(dir: PathBuf, keep: Keep) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut jobs = BTreeMap::new();
        for entry in fs::read_dir(&dir)?.flatten() {
            let Some(number) = number_of(&entry.path()) else {
                continue;
            };
            match Record::load(&dir, number) {
                Ok(record) => {
                    jobs.insert(number, Arc::new(record));
                }
                Err(error) => {
                    tracing::warn!(path = %entry.path().display(), %error, "the record of a job is damaged; it is removed");
                    record::remove(&dir, number);
                }
            }
        }
        // A log whose record was never written belongs to nothing.
        for entry in fs::read_dir(&dir)?.flatten() {
            if number_in(&entry.path()).is_some_and(|number| !jobs.contains_key(&number)) {
                remove_file(&entry.path());
            }
        }
        let records = Self::with(dir, None, keep, jobs);
        records.sweep();
        Ok(records)
    }

    /// Records that end with the process, in a directory of their own below `within`. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn temporary(within: &Path, keep: Keep) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(within)?;
        let dir = tempfile::Builder::new()
            .prefix("jobs-")
            .tempdir_in(within)?;
        Ok(Self::with(
            dir.path().to_owned(),
            Some(dir),
            keep,
            BTreeMap::new(),
        ))
    }

    fn with(
        dir: PathBuf,
        temporary: Option<TempDir>,
        keep: Keep,
        jobs: BTreeMap<u64, Arc<Record>>,
    ) -> Self {
        Records(Arc::new(Inner {
            dir,
            _temporary: temporary,
            keep,
            jobs: Mutex::new(jobs),
        }))
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Record>>> {
        // Nothing is done under the lock that leaves the map half changed.
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the record of a job. Its files have to be [created](Record::create).
    pub fn begin(&self, id: &str, user: &str, name: &str) -> Arc<Record> {
        let mut jobs = self.jobs();
        let number = jobs.last_key_value().map_or(1, |(last, _)| last + 1);
        let story = Story::begun(id, user, name);
        let record = Arc::new(Record::new(&self.0.dir, number, story, &self.0.keep));
        jobs.insert(number, record.clone());
        record
    }

    /// The latest job of a user that has this id, or whose id begins like this.
    ///
    /// # Errors
    /// What to tell the user where there is none, or more than one.
    pub fn find(&self, user: &str, id: &str) -> Result<Arc<Record>, String> {
        let jobs = self.jobs();
        let of_user = || {
            jobs.values()
                .rev()
                .filter(|record| record.story().user == user)
        };
        if let Some(record) = of_user().find(|record| record.story().id == id) {
            return Ok(record.clone());
        }
        let mut like =
            of_user().filter(|record| !id.is_empty() && record.story().id.starts_with(id));
        match (like.next(), like.next()) {
            (Some(record), None) => Ok(record.clone()),
            (None, _) => Err(format!(
                "this worker knows no job {id} of yours; `loaner jobs` lists those that it knows"
            )),
            (Some(_), Some(_)) => Err(format!("several jobs begin with {id}; give more of the id")),
        }
    }

    /// The latest jobs of a user, the very latest last.
    pub fn list(&self, user: &str) -> Vec<JobSummary> {
        let jobs = self.jobs();
        let of_user = jobs
            .values()
            .rev()
            .filter(|record| record.story().user == user);
        let mut list: Vec<_> = of_user
            .take(MAX_JOBS)
            .map(|record| record.summary())
            .collect();
        list.reverse();
        list
    }

    /// Removes what is too old, and the oldest while there are too many or too much. A job that is under way stays. Blocks.
    pub fn sweep(&self) {
        // Whoever looks for a job does not wait for the disk.
        for record in self.surplus() {
            record.remove();
        }
    }

    /// Forgets what is not kept any more.
    fn surplus(&self) -> Vec<Arc<Record>> {
        let mut jobs = self.jobs();
        let mut gone = Vec::new();
        let over: Vec<(u64, u64, SystemTime)> = jobs
            .values()
            .filter(|record| record.story().is_over())
            .map(|record| (record.number(), record.bytes(), record.story().ended_at()))
            .collect();
        let (mut count, mut bytes) = (
            over.len(),
            over.iter().map(|(_, bytes, _)| bytes).sum::<u64>(),
        );
        for (number, size, ended) in over {
            // A clock that was set back makes nothing old.
            let old = ended.elapsed().is_ok_and(|age| age > self.0.keep.age);
            if !old && count <= self.0.keep.jobs && bytes <= self.0.keep.bytes {
                continue;
            }
            gone.extend(jobs.remove(&number));
            (count, bytes) = (count - 1, bytes - size);
        }
        gone
    }
}

/// The number of a record, by the name of its main file.
fn number_of(path: &Path) -> Option<u64> {
    (path.extension()? == "json")
        .then(|| number_in(path))
        .flatten()
}

fn number_in(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a file about a job could not be removed");
    }
}

#[cfg(test)]
mod tests;
