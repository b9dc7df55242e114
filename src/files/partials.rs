//! Files of which a part is here: kept for a while, so that the same file can be continued after a break.
//!
//! Beside the bytes lies a list of checks: offsets up to which the sender's digest was the same, and the digests. What is
//! found later is read and checked against it again, so that a damaged disk costs what lies behind the damage and no more.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use blake3::Hasher;
use nix::fcntl::OFlag;
use tempfile::TempPath;

use crate::wire::own::Digest;

/// The directory beside a client's results that holds parts of them. It is packed into nothing.
pub const RESULTS_DIR: &str = ".loaner-partial";
/// How long the part of a file is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How many are kept.
const MOST: usize = 16;
/// Bytes of one check: offset and digest.
const CHECK: usize = 40;
const CHECKS: &str = "checks";

/// A directory of files that are not complete.
#[derive(Debug, Clone)]
pub struct Partials {
    dir: PathBuf,
    /// Bytes that all of them may have together when another is begun.
    limit: u64,
    /// A moment on both clocks.
    since: (Instant, SystemTime),
}

impl Partials {
    /// Keeps them in `dir`, which is made when it is needed, and at most `limit` bytes of them.
    pub fn new(dir: PathBuf, limit: u64) -> Self {
        Partials {
            dir,
            limit,
            since: (Instant::now(), SystemTime::now()),
        }
    }

    /// What is here of the file with this key, to be continued; all of it is read. Nobody else can have it meanwhile: for
    /// them, and without a key, a file is begun that is not kept. Blocks.
    ///
    /// # Errors
    /// When the directory or the file cannot be had.
    pub fn open(&self, key: Option<&Digest>) -> io::Result<Partial> {
        // The last one to leave may remove the directory just now.
        let mut opened = self.try_open(key);
        for _ in 0..3 {
            match &opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => break,
            }
            opened = self.try_open(key);
        }
        opened
    }

    fn try_open(&self, key: Option<&Digest>) -> io::Result<Partial> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        let unkept = || {
            Partial::unkept(&self.dir).map(|mut partial| {
                partial.home = Some(self.dir.clone());
                partial
            })
        };
        let Some(key) = key else {
            return unkept();
        };
        let path = self.dir.join(key.to_string());
        self.sweep(&path);
        let file = open(&path)?;
        if file.try_lock().is_err() {
            return unkept();
        }
        let checks = open(&path.with_extension(CHECKS))?;
        Partial::examine(file, checks, path)
    }

    /// Removes what is too old or too much, as the next file would. Blocks.
    pub fn tidy(&self) {
        self.sweep(Path::new(""));
        // Fails, as it should, while something is in it.
        let _ = fs::remove_dir(&self.dir);
    }

    /// Whether a file is too old, which was changed last at `modified`, when the clock on the wall shows `now`. That clock
    /// may have been set since, and the file been dated by it before or after: it has to be old by the time that passed, too.
    fn is_old(&self, modified: SystemTime, now: SystemTime) -> bool {
        let (began, shown) = self.since;
        let passed = shown.checked_add(began.elapsed()).unwrap_or(now);
        let age = |now: SystemTime| now.duration_since(modified).unwrap_or_default();
        age(now).min(age(passed)) > KEPT
    }

    /// Removes what is too old, and the oldest when there are too many or too much; what is in use, and `wanted`, stay.
    fn sweep(&self, wanted: &Path) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        let (kept, others): (Vec<_>, Vec<_>) = entries
            .flatten()
            .map(|entry| entry.path())
            .partition(|path| path.extension().is_none());
        others.iter().for_each(|path| remove_left(path));
        let mut found: Vec<(SystemTime, u64, PathBuf)> = kept
            .into_iter()
            .filter_map(|path| {
                let meta = path.symlink_metadata().ok()?;
                Some((meta.modified().ok()?, meta.len(), path))
            })
            .collect();
        found.sort();
        let mut bytes: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        let mut count = found.len();
        for (modified, size, path) in found {
            let old = self.is_old(modified, SystemTime::now());
            let excess = old || count > MOST || bytes > self.limit;
            if !excess || path == wanted {
                continue;
            }
            let used = open(&path).is_ok_and(|file| file.try_lock().is_err());
            if !used {
                remove(&path);
                (bytes, count) = (bytes - size, count - 1);
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
}

/// Removes what somebody left who was killed: files that were not to be kept, and checks of files that are gone.
fn remove_left(path: &Path) {
    let modified = path.symlink_metadata().and_then(|meta| meta.modified());
    let old = modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > KEPT));
    let alone = path
        .extension()
        .is_some_and(|extension| extension != CHECKS)
        || !path.with_extension("").exists();
    if old && alone {
        remove(path);
    }
}

fn remove(path: &Path) {
    for path in [path, &path.with_extension(CHECKS)] {
        if let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the part of a file could not be removed");
        }
    }
}

/// A file that is not complete. Dropped, what was checked of it is kept if it has a key, and nothing if it has none.
#[derive(Debug)]
pub struct Partial {
    file: File,
    /// None where it is not kept.
    checks: Option<File>,
    /// None once it was kept or has its final name.
    path: Option<TempPath>,
    /// The directory of such files, which goes when nothing is in it.
    home: Option<PathBuf>,
    hasher: Hasher,
    /// Bytes that were written.
    at: u64,
    /// Bytes that were checked.
    have: u64,
}

impl Partial {
    /// A file in `dir` that goes away unless it is finished.
    pub fn unkept(dir: &Path) -> io::Result<Self> {
        let (file, path) = tempfile::Builder::new()
            .prefix(".")
            .suffix(".part")
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(dir)?
            .into_parts();
        Ok(Partial {
            file,
            checks: None,
            path: Some(path),
            home: None,
            hasher: Hasher::new(),
            at: 0,
            have: 0,
        })
    }

    /// Reads what is there, and leaves of it what agrees with its checks.
    fn examine(mut file: File, mut checks: File, path: PathBuf) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut list = BufReader::new(&checks);
        let mut check = [0; CHECK];
        let (mut reading, mut good, mut have, mut agreed) = (Hasher::new(), Hasher::new(), 0, 0);
        file.rewind()?;
        while list.read_exact(&mut check).is_ok() {
            let (at, digest) = check.split_at(8);
            let at = u64::from_le_bytes(at.try_into().unwrap_or_default());
            if at <= have || at > length {
                break;
            }
            let read = reading.update_reader((&mut file).take(at - have));
            if read.is_err() || reading.count() != at || reading.finalize().as_bytes() != digest {
                break;
            }
            (good, have, agreed) = (reading.clone(), at, agreed + CHECK as u64);
        }
        file.set_len(have)?;
        file.seek(SeekFrom::Start(have))?;
        checks.set_len(agreed)?;
        checks.seek(SeekFrom::Start(agreed))?;
        Ok(Partial {
            file,
            checks: Some(checks),
            home: path.parent().map(Path::to_owned),
            path: Some(TempPath::try_from_path(path)?),
            hasher: good,
            at: have,
            have,
        })
    }

    /// Bytes that are here and were checked.
    pub fn have(&self) -> u64 {
        self.have
    }

    /// The digest of everything that was written.
    pub fn digest(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    /// Forgets what is here.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        for file in [Some(&mut self.file), self.checks.as_mut()]
            .into_iter()
            .flatten()
        {
            file.set_len(0)?;
            file.rewind()?;
        }
        self.hasher.reset();
        (self.at, self.have) = (0, 0);
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Compares what was written with what the sender says of it. False when they differ.
    pub(super) fn check(&mut self, digest: Digest) -> io::Result<bool> {
        if self.digest() != digest {
            return Ok(false);
        }
        if let Some(checks) = &mut self.checks
            && self.at > self.have
        {
            let mut check = [0; CHECK];
            check[..8].copy_from_slice(&self.at.to_le_bytes());
            check[8..].copy_from_slice(&digest.0);
            checks.write_all(&check)?;
        }
        self.have = self.at;
        Ok(true)
    }

    /// Gives it its final name, which must be on the same file system and not be taken.
    pub(super) fn persist(mut self, dest: &Path) -> io::Result<()> {
        let Some(path) = self.path.take() else {
            return Ok(());
        };
        let checks = path.with_extension(CHECKS);
        let persisted = path.persist_noclobber(dest);
        self.leave(&checks);
        persisted.map_err(|error| error.error)
    }

    /// Removes what stood beside a file that is not here any more.
    fn leave(&self, checks: &Path) {
        if self.checks.is_some() {
            // It says nothing of any file any more; no sweep would find it.
            let _ = fs::remove_file(checks);
        }
        if let Some(home) = &self.home {
            // Fails, as it should, while others are in it.
            let _ = fs::remove_dir(home);
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else {
            return;
        };
        if self.checks.is_some() && self.have > 0 && self.file.set_len(self.have).is_ok() {
            // It has its name already; there is nothing that could fail.
            let _ = path.keep();
            return;
        }
        let checks = path.with_extension(CHECKS);
        drop(path);
        self.leave(&checks);
    }
}

#[cfg(test)]
mod tests;
