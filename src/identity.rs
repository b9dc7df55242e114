//! Who this machine is at a hub: a user, and a device of that user. Kept in a file for each hub, so that mail for the
//! user finds it again, and so that a worker can clear away what a former life of it left.
//!
//! A directory of state has `identity/HUB/client.json`, which everything that a person runs shares, and
//! `identity/HUB/worker-N.json`, each of which is one running worker's. Files are replaced whole, are for their owner
//! only, and are written under a lock.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

mod secret;
mod share;

pub use secret::own_secret;
pub use share::{Share, ShareError};

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// Workers of one machine that keep their identity; more of them get a new one at each start.
const WORKERS: u32 = 64;
/// How often a lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// How often at most: less than what a step of the session may take.
const TRIES: u32 = 120;

/// A user at a hub, and one device of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The hub's address.
    pub hub: String,
    /// The user.
    pub user: String,
    /// Signs the user in again. Secret.
    pub refresh_token: String,
    /// The device.
    pub device_id: String,
    /// Whether the hub has seen the device: from then on, it has a mailbox of its own.
    #[serde(default)]
    pub introduced: bool,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("hub", &self.hub)
            .field("user", &self.user)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

/// Why an identity cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The system says no.
    #[error("{path}: {source}")]
    File {
        /// The file or directory.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} does not hold an identity ({why}); remove it, and a new one is made")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Another process holds the lock for too long.
    #[error("{0} is locked by another process")]
    Locked(String),
    /// There is neither a home directory nor a directory of state.
    #[error("there is no directory for state: set HOME, XDG_STATE_HOME or LOANER_STATE_DIR")]
    NoPlace,
}

/// Where state is kept unless said otherwise: `$XDG_STATE_HOME/loaner`, else `~/.local/state/loaner`.
pub fn default_state_dir() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("state")))
        .map(|state| state.join("loaner"))
}

/// A name for this device: the machine's, and something that no other device has.
pub fn new_device_id() -> String {
    let host = nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let host: String = host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .take(48)
        .collect();
    let host = if host.is_empty() { "device" } else { &host };
    format!("{host}-{:08x}", rand::random::<u32>())
}

/// Keeps one identity: in a file, or for as long as the process runs.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    hub: String,
    path: Option<PathBuf>,
    device_id: String,
    /// What counts when there is no file, or it could not be written.
    kept: Mutex<Option<Identity>>,
    /// A worker's lock, which it holds while it runs.
    _held: Option<File>,
}

impl Keeper {
    fn new(hub: &str, path: Option<PathBuf>, held: Option<File>) -> Self {
        Keeper(Arc::new(Inner {
            hub: hub.to_owned(),
            path,
            device_id: new_device_id(),
            kept: Mutex::new(None),
            _held: held,
        }))
    }

    /// For as long as the process runs.
    pub fn in_memory(hub: &str) -> Self {
        Self::new(hub, None, None)
    }

    /// The identity that everything shares that is run by hand.
    pub fn client(state: &Path, hub: &str) -> Self {
        Self::new(hub, Some(place(state, hub).join("client.json")), None)
    }

    /// An identity that no other running worker has.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn worker(state: &Path, hub: &str) -> Result<Self, IdentityError> {
        let dir = place(state, hub);
        make_dir(&dir)?;
        for number in 1..=WORKERS {
            let path = dir.join(format!("worker-{number}.json"));
            let file = open_lock(&path)?;
            match file.try_lock() {
                Ok(()) => return Ok(Self::new(hub, Some(path), Some(file))),
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(source)) => return Err(file_error(&path, source)),
            }
        }
        Ok(Self::in_memory(hub))
    }

    /// The address of the hub that it is about.
    pub fn hub(&self) -> &str {
        &self.0.hub
    }

    /// The file, if it is kept in one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Where a worker's history of jobs is kept: beside its identity.
    pub(crate) fn history(&self) -> Option<PathBuf> {
        let path = self.0.path.as_deref()?;
        Some(path.with_extension("history.json"))
    }

    /// Where a worker's records of jobs are kept: beside its identity.
    pub fn records(&self) -> Option<PathBuf> {
        Some(self.path()?.with_extension("jobs"))
    }

    fn kept(&self) -> MutexGuard<'_, Option<Identity>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The identity, if there is one.
    ///
    /// # Errors
    /// When its file cannot be read, or is damaged.
    pub fn load(&self) -> Result<Option<Identity>, IdentityError> {
        if let Some(identity) = self.kept().clone() {
            return Ok(Some(identity));
        }
        match &self.0.path {
            Some(path) => read(path),
            None => Ok(None),
        }
    }

    /// The device id of a new identity.
    pub fn device_id(&self) -> &str {
        &self.0.device_id
    }

    /// Keeps an identity. Where the file cannot be written, it counts for as long as the process runs.
    ///
    /// # Errors
    /// Why it could not be written.
    pub fn save(&self, identity: Identity) -> Result<(), IdentityError> {
        let written = match &self.0.path {
            Some(path) => write(path, &identity),
            None => Ok(()),
        };
        *self.kept() = (self.0.path.is_none() || written.is_err()).then_some(identity);
        written
    }

    /// Keeps others from changing the file until the guard is gone.
    ///
    /// # Errors
    /// When there is no place for a lock, or another process holds it for too long.
    pub async fn lock(&self) -> Result<Option<File>, IdentityError> {
        // A worker's is locked already.
        let Some(path) = self.0.path.as_deref().filter(|_| self.0._held.is_none()) else {
            return Ok(None);
        };
        if let Some(dir) = path.parent() {
            make_dir(dir)?;
        }
        let file = open_lock(path)?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(RETRY).await,
                Err(fs::TryLockError::Error(source)) => return Err(file_error(path, source)),
            }
        }
        Err(IdentityError::Locked(path.display().to_string()))
    }
}

/// One directory for each hub, which shows which one it is.
fn place(state: &Path, hub: &str) -> PathBuf {
    let shown: String = hub
        .split_once("://")
        .map_or(hub, |(_, rest)| rest)
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') {
                c
            } else {
                '_'
            }
        })
        .take(80)
        .collect();
    let mark = Sha1::digest(hub.as_bytes())
        .iter()
        .take(4)
        .fold(0_u32, |mark, byte| mark << 8 | u32::from(*byte));
    state.join("identity").join(format!("{shown}-{mark:08x}"))
}

fn file_error(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::File {
        path: path.display().to_string(),
        source,
    }
}

fn make_dir(dir: &Path) -> Result<(), IdentityError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| file_error(dir, source))
}

fn open_lock(path: &Path) -> Result<File, IdentityError> {
    let path = path.with_extension("lock");
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| file_error(&path, source))
}

fn read(path: &Path) -> Result<Option<Identity>, IdentityError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(file_error(path, source)),
    };
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, MAX_BYTES), &mut text)
        .map_err(|source| file_error(path, source))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| IdentityError::Damaged {
            path: path.display().to_string(),
            why: error.to_string(),
        })
}

fn write(path: &Path, identity: &Identity) -> Result<(), IdentityError> {
    let failed = |source| file_error(path, source);
    let dir = path.parent().unwrap_or(Path::new("."));
    make_dir(dir)?;
    // Such files are readable by their owner only.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    let text = serde_json::to_string_pretty(identity).map_err(|error| failed(error.into()))?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path)
        .map_err(|error| file_error(path, error.error))?;
    Ok(())
}

#[cfg(test)]
#[path = "identity/tests.rs"]
mod tests;
