//! Scratch directories: one for this worker, one for each job in it, and none left behind.
//!
//! A worker that is killed cannot tidy up. Its directory holds a locked file; the lock dies with the process, and the
//! next worker that opens the same base removes every directory whose lock nobody holds.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use thiserror::Error;
use tracing::{info, warn};

use super::disk::remove_tree;

const PREFIX: &str = "worker-";
const LOCK: &str = "lock";

/// Why there is no scratch directory.
#[derive(Debug, Error)]
pub enum ScratchError {
    /// The file system said no.
    #[error("cannot use {path} as a scratch directory: {source}", path = path.display())]
    Io {
        /// What was being made or opened.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The base belongs to another user, who could exchange what is in it.
    #[error("cannot use {path} as a scratch directory: it belongs to another user", path = path.display())]
    NotOurs {
        /// The base directory.
        path: PathBuf,
    },
}

/// This worker's scratch directory, `<base>/worker-<pid>-<random>`. Removed when dropped.
#[derive(Debug)]
pub struct ScratchRoot {
    dir: PathBuf,
    /// Held until the directory is gone.
    _lock: File,
}

impl ScratchRoot {
    /// Makes a fresh directory below `base` (made too if missing), and removes those that killed workers left there.
    pub fn open(base: &Path) -> Result<Self, ScratchError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| ScratchError::Io { path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(base)
            .map_err(at(base))?;
        let base = base.canonicalize().map_err(at(base))?;
        let owner = fs::metadata(&base).map_err(at(&base))?.uid();
        let me = geteuid();
        if owner != me.as_raw() && owner != 0 && !me.is_root() {
            return Err(ScratchError::NotOurs { path: base });
        }

        // Nobody sweeps while a directory exists whose lock is not taken yet.
        let door = open_lock(&base.join(LOCK)).map_err(at(&base))?;
        door.lock().map_err(at(&base))?;
        sweep(&base);
        let dir = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .rand_bytes(8)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&base)
            .map_err(at(&base))?;
        let lock = open_lock(&lock_of(dir.path())).map_err(at(dir.path()))?;
        lock.lock().map_err(at(dir.path()))?;
        Ok(Self {
            dir: dir.keep(),
            _lock: lock,
        })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Removes the directory with all that is in it, and tells whether that went well. Blocks while it does.
    pub fn close(self) -> io::Result<()> {
        remove_tree(&self.dir)
    }

    /// A fresh directory for one job, mode 0700. Its name is random and begins with what is harmless in `job_id`.
    pub fn job(&self, job_id: &str) -> Result<Scratch, ScratchError> {
        let label: String = job_id
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(16)
            .collect();
        let dir = tempfile::Builder::new()
            .prefix(&format!("job-{label}-"))
            .rand_bytes(8)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&self.dir)
            .map_err(|source| ScratchError::Io {
                path: self.dir.clone(),
                source,
            })?;
        Ok(Scratch {
            dir: Some(dir.keep()),
        })
    }
}

impl Drop for ScratchRoot {
    fn drop(&mut self) {
        remove_or_warn(&self.dir);
    }
}

/// One job's directory. Removed by [`remove`](Self::remove), or at the latest when dropped.
#[derive(Debug)]
pub struct Scratch {
    /// `None` once removed.
    dir: Option<PathBuf>,
}

impl Scratch {
    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new(""))
    }

    /// Removes the directory with all that is in it. Blocks while it does.
    pub fn remove(mut self) -> io::Result<()> {
        self.dir.take().map_or(Ok(()), |dir| remove_tree(&dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(dir) = self.dir.take() {
            remove_or_warn(&dir);
        }
    }
}

/// Where scratch directories go unless told otherwise: `$XDG_CACHE_HOME/loaner`, else `~/.cache/loaner`, else
/// `loaner-<uid>` in the directory for temporary files.
pub fn default_base() -> PathBuf {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if let Some(cache) = absolute("XDG_CACHE_HOME") {
        return cache.join("loaner");
    }
    match absolute("HOME") {
        Some(home) => home.join(".cache/loaner"),
        None => std::env::temp_dir().join(format!("loaner-{}", geteuid())),
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
}

/// Removes the directories of workers that are no more. One that cannot be removed is no reason to stop.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if named && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_abandoned(&entry.path())
        {
            info!(dir = %entry.path().display(), "removing what a killed worker left");
            remove_or_warn(&entry.path());
        }
    }
}

/// The directories below `base` that running workers hold, and the numbers of their processes.
pub(in crate::worker) fn held_directories(base: &Path) -> io::Result<Vec<(i32, PathBuf)>> {
    let mut held = Vec::new();
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
        if let Some(pid) = pid
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && !is_abandoned(&entry.path())
        {
            held.push((pid, entry.path()));
        }
    }
    held.sort();
    Ok(held)
}

/// The file in a worker's directory that is locked while it runs.
pub(in crate::worker) fn lock_of(dir: &Path) -> PathBuf {
    dir.join(LOCK)
}

fn is_abandoned(dir: &Path) -> bool {
    match OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(lock_of(dir))
    {
        Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn remove_or_warn(dir: &Path) {
    if let Err(error) = remove_tree(dir) {
        warn!(dir = %dir.display(), %error, "a scratch directory could not be removed");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_job_gets_a_fresh_private_directory_whatever_its_id() {
        let base = tempfile::tempdir().unwrap();
        let root = ScratchRoot::open(&base.path().join("new/base")).unwrap();
        let one = root.job("../../etc").unwrap();
        let two = root.job("../../etc").unwrap();
        assert_ne!(one.path(), two.path());
        assert_eq!(one.path().parent(), Some(root.path()));
        assert_eq!(fs::metadata(one.path()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(root.path()).unwrap().mode() & 0o777, 0o700);

        fs::write(one.path().join("x"), "x").unwrap();
        let (first, second) = (one.path().to_owned(), two.path().to_owned());
        one.remove().unwrap();
        assert!(!first.exists() && second.exists());
        drop(two);
        assert!(!second.exists());
        let dir = root.path().to_owned();
        root.close().unwrap();
        assert!(!dir.exists());
        let root = ScratchRoot::open(base.path()).unwrap();
        let dir = root.path().to_owned();
        drop(root);
        assert!(!dir.exists());
    }

    #[test]
    fn abandoned_directories_are_swept_and_others_left() {
        let base = tempfile::tempdir().unwrap();
        let alive = ScratchRoot::open(base.path()).unwrap();
        let dead = base.path().join("worker-1-dead");
        fs::create_dir_all(dead.join("job-1")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let half_made = base.path().join("worker-2-halfmade");
        fs::create_dir(&half_made).unwrap();
        let foreign = base.path().join("photos");
        fs::create_dir(&foreign).unwrap();

        let next = ScratchRoot::open(base.path()).unwrap();
        assert!(!dead.exists() && !half_made.exists());
        assert!(foreign.exists() && alive.path().exists() && next.path().exists());
    }

    #[test]
    fn a_base_that_is_a_file_is_an_error_with_its_name() {
        let base = tempfile::NamedTempFile::new().unwrap();
        let error = ScratchRoot::open(base.path()).unwrap_err().to_string();
        assert!(
            error.contains(&base.path().display().to_string()),
            "{error}"
        );
    }
}
