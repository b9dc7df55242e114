//! Workers that run on this machine, found by the directories that they hold: what they are at, and how one is told to
//! drain.
//!
//! A running worker keeps `told.json` in its own directory, for whoever waits for it here. Its lock says that it runs.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::jobs::scratch::{held_directories, lock_of};
use crate::rtc::DataPlane;

/// The signal that tells a worker to drain.
pub const DRAIN: Signal = Signal::SIGUSR1;
/// What a worker tells of itself, in its directory.
const TOLD: &str = "told.json";
/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// What a worker tells of itself to others on its machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Its hub.
    pub hub: String,
    /// `available`, `reserved` or `busy`.
    pub status: String,
    /// The pending or current job.
    pub job: Option<String>,
    /// Whether it is the last one.
    pub draining: bool,
    /// How far the job says that it is while the worker drains, from 0 to 1.
    pub progress: Option<f64>,
    /// What the job says with that.
    pub message: Option<String>,
}

impl Told {
    /// Writes it into a worker's directory, in one step.
    ///
    /// # Errors
    /// As usual; then the old one stays.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        // Such files are readable by their owner only.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.persist(dir.join(TOLD))?;
        Ok(())
    }
}

/// Tells others on the machine, from threads that may block, and the latest only. Dropped, it tells nothing any more.
#[derive(Debug)]
pub struct Teller {
    telling: Arc<Telling>,
    plane: DataPlane,
}

#[derive(Debug)]
struct Telling {
    dir: PathBuf,
    latest: Mutex<Told>,
    /// Somebody is about to write.
    awaited: AtomicBool,
    /// Whether there is still somebody who tells; held while it is written.
    open: Mutex<bool>,
}

impl Teller {
    /// Tells of a worker in its directory.
    pub fn new(dir: &Path, plane: DataPlane) -> Self {
        let telling = Telling {
            dir: dir.to_owned(),
            latest: Mutex::default(),
            awaited: AtomicBool::new(false),
            open: Mutex::new(true),
        };
        Teller {
            telling: Arc::new(telling),
            plane,
        }
    }

    /// Tells this from now on. A disk that hangs holds up who tells it no more than it costs memory.
    pub fn tell(&self, told: Told) {
        *locked(&self.telling.latest) = told;
        if !self.telling.awaited.swap(true, Ordering::SeqCst) {
            let telling = self.telling.clone();
            self.plane.spawn_blocking(move || telling.write());
        }
    }
}

impl Drop for Teller {
    /// Waits for what is being written: the directory may be removed after that.
    fn drop(&mut self) {
        *locked(&self.telling.open) = false;
    }
}

impl Telling {
    fn write(&self) {
        let open = locked(&self.open);
        // What is told after this is written by the next.
        self.awaited.store(false, Ordering::SeqCst);
        let told = locked(&self.latest).clone();
        if *open && let Err(error) = told.write(&self.dir) {
            tracing::debug!(%error, "what this worker is at cannot be told to others on this machine");
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a worker cannot be told to drain.
#[derive(Debug, Error)]
pub enum RunningError {
    /// The work directory cannot be looked at.
    #[error("the work directory {path} cannot be read: {source}", path = path.display())]
    Directory {
        /// The work directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Its process is not to be seen from here.
    #[error(
        "a worker holds {path}, but its process {pid} cannot be seen from here: do this in its container, or as its user",
        path = path.display()
    )]
    Elsewhere {
        /// The worker's directory.
        path: PathBuf,
        /// The number of its process, where it runs.
        pid: i32,
    },
    /// The signal could not be sent.
    #[error("process {pid} could not be told to drain: {source}; do this as its user")]
    Signal {
        /// The process.
        pid: i32,
        /// The cause.
        source: Errno,
    },
}

/// A worker that runs here.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub pid: i32,
    dir: PathBuf,
    /// When the process began, which tells it from a later one of the same number.
    began: Option<u64>,
}

impl Running {
    /// The workers that have their directories below `base`. None when it does not exist.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn below(base: &Path) -> Result<Vec<Self>, RunningError> {
        let held = match held_directories(base) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            held => held.map_err(|source| RunningError::Directory {
                path: base.to_owned(),
                source,
            })?,
        };
        let began = |pid| process_began(pid);
        Ok(held
            .into_iter()
            .map(|(pid, dir)| Running {
                pid,
                began: began(pid),
                dir,
            })
            .collect())
    }

    /// What it tells of itself, if it has begun to.
    pub fn told(&self) -> Option<Told> {
        let mut text = String::new();
        let file = File::open(self.dir.join(TOLD)).ok()?;
        file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Tells it to drain. Told again, it goes on as it does.
    ///
    /// # Errors
    /// When its process is not one of here, or may not be signalled.
    pub fn drain(&self) -> Result<(), RunningError> {
        // The number is the one that it had where it runs: only who holds the lock is it.
        if self.ended() || !self.holds_lock() {
            return Err(RunningError::Elsewhere {
                path: self.dir.clone(),
                pid: self.pid,
            });
        }
        kill(Pid::from_raw(self.pid), DRAIN).map_err(|source| RunningError::Signal {
            pid: self.pid,
            source,
        })
    }

    /// Whether its process is no more.
    pub fn ended(&self) -> bool {
        self.began.is_none() || process_began(self.pid) != self.began
    }

    /// Whether it ended as workers do, and took its directory with it.
    pub fn tidied(&self) -> bool {
        !self.dir.exists()
    }

    fn holds_lock(&self) -> bool {
        let Ok(lock) = fs::metadata(lock_of(&self.dir)) else {
            return false;
        };
        let same = |file: fs::Metadata| (file.dev(), file.ino()) == (lock.dev(), lock.ino());
        fs::read_dir(format!("/proc/{}/fd", self.pid)).is_ok_and(|mut open| {
            open.any(|file| {
                let file = file.and_then(|file| fs::metadata(file.path()));
                file.is_ok_and(same)
            })
        })
    }
}

/// When a process began, in the kernel's ticks; `None` when it is no more.
fn process_began(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::worker::jobs::scratch::ScratchRoot;

    /// Who holds a directory is found, whatever else is there, and what it tells can be read.
    #[test]
    fn a_worker_is_found_while_it_holds_its_directory() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("worker-1-left")).unwrap();
        fs::create_dir(base.path().join("photos")).unwrap();
        assert!(
            Running::below(&base.path().join("nowhere"))
                .unwrap()
                .is_empty()
        );
        assert!(Running::below(base.path()).unwrap().is_empty());
        let root = ScratchRoot::open(base.path()).unwrap();
        let [found] = &Running::below(base.path()).unwrap()[..] else {
            panic!("one was expected");
        };
        assert_eq!(found.pid, std::process::id() as i32);
        assert!(found.holds_lock() && !found.ended() && !found.tidied());
        assert_eq!(found.told(), None);
        let told = Told {
            hub: "http://hub.example".to_owned(),
            job: Some("j1".to_owned()),
            progress: Some(0.5),
            ..Told::default()
        };
        told.write(root.path()).unwrap();
        assert_eq!(found.told(), Some(told));
        drop(root);
        assert!(found.tidied());
        assert!(Running::below(base.path()).unwrap().is_empty());
    }

    /// Who tells is not held up by the disk; what was told last is what is there in the end; and nothing is written once
    /// nobody tells any more, whoever was about to.
    #[test]
    fn the_disk_holds_up_nobody_who_tells() {
        let dir = tempfile::tempdir().unwrap();
        let teller = Teller::new(dir.path(), DataPlane::start().unwrap());
        let telling = teller.telling.clone();
        let status = |number: u32| Told {
            status: number.to_string(),
            ..Told::default()
        };
        let hangs = locked(&telling.open);
        let (done, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            (0..1000).for_each(|number| teller.tell(status(number)));
            done.send(teller).unwrap();
        });
        let teller = told.recv_timeout(Duration::from_secs(30)).unwrap();
        let file = dir.path().join(TOLD);
        assert!(!file.exists());
        drop(hangs);
        let deadline = Instant::now() + Duration::from_secs(30);
        let last = serde_json::to_string(&status(999)).unwrap();
        while fs::read_to_string(&file).ok().as_ref() != Some(&last) {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        drop(teller);
        fs::remove_file(&file).unwrap();
        telling.write();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// A number that another process has now, or has elsewhere, is not signalled.
    #[test]
    fn a_process_that_does_not_hold_the_lock_is_not_signalled() {
        let base = tempfile::tempdir().unwrap();
        let root = ScratchRoot::open(base.path()).unwrap();
        let mut found = Running::below(base.path()).unwrap().remove(0);
        // The parent of all processes surely holds no lock of ours.
        found.pid = 1;
        found.began = process_began(1);
        let error = found.drain().unwrap_err().to_string();
        assert!(error.contains("cannot be seen from here"), "{error}");
        drop(root);
    }
}
