//! Results that stay on the worker's side: a directory beneath the output directory, there whole or not at all.
//!
//! A place is reserved before the job begins: a directory with a name of its own, next to where the results will be.
//! They are copied into it, and it gets its final name at the end. Whoever drops it before leaves the output directory
//! as it was. What a worker that is killed leaves is not locked any more, and [`sweep`] takes it away.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::archive::{ArchiveError, STEP, check, io_at};
use super::pack::present;
use super::work::{Failure, Prepared};
use crate::worker::beneath::{Directory, Kind};

/// Most files and directories that are copied.
const MAX_ENTRIES: usize = 1_000_000;
/// Deepest tree that is copied, in directories: what goes beyond was not made to be kept.
const MAX_DEPTH: usize = 128;

/// How often a reservation is tried that a sweep takes away.
const TRIES: usize = 8;
/// How the names of reserved directories end.
const PART: &str = ".part";

/// How the names of directories begin that are reserved by workers of this machine.
fn ours() -> String {
    // Another machine may not see our locks, nor we its.
    let host = nix::unistd::gethostname().unwrap_or_default();
    let mark = blake3::hash(host.as_encoded_bytes()).to_hex();
    format!(".loaner-{}-", &mark[..8])
}

/// Removes what killed workers of this machine reserved in a directory. What cannot be removed is only logged. Blocks.
pub fn sweep(directory: &Directory) {
    let Ok(entries) = directory.entries() else {
        return;
    };
    let ours = ours();
    for (name, kind) in entries {
        let named = name
            .to_str()
            .is_some_and(|name| name.starts_with(&ours) && name.ends_with(PART));
        if kind != Kind::Directory || !named {
            continue;
        }
        let found = directory.directory(Path::new(&name));
        // Where nothing can be locked, nobody knows whose it is.
        if !found.is_ok_and(|found| found.try_lock().unwrap_or(false)) {
            continue;
        }
        let dir = name.display();
        match directory.remove_tree(&name) {
            Ok(()) => tracing::info!(%dir, "removed what a killed worker left"),
            Err(error) => {
                tracing::warn!(%dir, %error, "what a killed worker left could not be removed");
            }
        }
    }
}

/// A place for results that is reserved.
#[derive(Debug)]
pub struct OutputDir {
    /// Relative to the output directory.
    path: PathBuf,
    /// Where the results' directory will be, and its name there.
    parent: Directory,
    name: OsString,
    /// The reserved directory next to it.
    dir: Directory,
    part: OsString,
    /// Directories that were made on the way, to go again if they stay empty.
    made: Vec<(Directory, OsString)>,
    published: bool,
}

impl OutputDir {
    /// Reserves `path` beneath `root`; it must be made of plain names. Directories on the way are made. With
    /// `may_be_empty` an empty directory may stand there already.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when something stands there, and as usual. Then all is as it was.
    pub fn reserve(root: &Directory, path: &Path, may_be_empty: bool) -> io::Result<Self> {
        let nameless = || io::Error::new(io::ErrorKind::InvalidInput, "it names no directory");
        let name = path.file_name().ok_or_else(nameless)?.to_owned();
        let mut made = Vec::new();
        let reserved = Self::part(root, path, &name, may_be_empty, &mut made);
        match reserved {
            Ok((parent, dir, part)) => Ok(Self {
                path: path.to_owned(),
                parent,
                name,
                dir,
                part,
                made,
                published: false,
            }),
            Err(error) => {
                remove_empty(&made);
                Err(error)
            }
        }
    }

    fn part(
        root: &Directory,
        path: &Path,
        name: &OsString,
        may_be_empty: bool,
        made: &mut Vec<(Directory, OsString)>,
    ) -> io::Result<(Directory, Directory, OsString)> {
        let mut parent = root.directory(Path::new(""))?;
        for step in path.parent().into_iter().flat_map(Path::components) {
            let step = step.as_os_str().to_owned();
            let next = match parent.make(&step, 0o777) {
                Ok(next) => {
                    made.push((parent.directory(Path::new(""))?, step));
                    next
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    parent.directory(Path::new(&step))?
                }
                Err(error) => return Err(error),
            };
            parent = next;
        }
        match parent.kind(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(Kind::Directory)
                if may_be_empty && parent.directory(Path::new(name))?.entries()?.is_empty() => {}
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) => return Err(error),
        }
        for _ in 0..TRIES {
            let name = format!("{}{:016x}{PART}", ours(), rand::random::<u64>());
            let part = OsString::from(name);
            let dir = parent.make(&part, 0o777)?;
            // Somebody may sweep just now, and take it for left behind.
            let kept = dir.try_lock().unwrap_or(true) && parent.kind(&part).is_ok();
            if kept {
                return Ok((parent, dir, part));
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Its path relative to the output directory.
    pub fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Copies what the plan wants kept, with paths relative to the package, and gives the directory its name. A job
    /// that failed and left nothing leaves no directory either. Blocks.
    ///
    /// # Errors
    /// When something cannot be read or written, or the flag is raised; then nothing is left.
    pub fn store(
        self,
        prepared: &Prepared,
        failed: bool,
        cancelled: &AtomicBool,
    ) -> Result<(), Failure> {
        self.keep(prepared, failed, cancelled).map_err(|error| {
            let message = format!("the results could not be stored: {error}");
            Failure::new("EXECUTION_ERROR", message)
        })
    }

    fn keep(
        mut self,
        prepared: &Prepared,
        failed: bool,
        cancelled: &AtomicBool,
    ) -> Result<(), ArchiveError> {
        let root = Directory::open(&prepared.root).map_err(|error| io_at(&prepared.root, error))?;
        let mut copy = Copy {
            cancelled,
            entries: 0,
            step: vec![0; STEP],
        };
        let outputs = present(&prepared.root, &prepared.wanted()?, cancelled)?;
        for output in &outputs {
            copy.output(&root, &self.dir, output)
                .map_err(|error| error.at(output))?;
        }
        if failed && copy.entries == 0 {
            return Ok(());
        }
        check(cancelled)?;
        self.parent
            .rename(&self.part, &self.name)
            .map_err(|error| io_at(&self.path, error))?;
        self.published = true;
        tracing::info!(path = %self.path.display(), entries = copy.entries, "results stored");
        Ok(())
    }
}

impl Drop for OutputDir {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Err(error) = self.parent.remove_tree(&self.part) {
            let dir = self.part.display();
            tracing::warn!(%dir, %error, "a directory for results could not be removed");
        }
        remove_empty(&self.made);
    }
}

/// Directories that somebody else uses by now are not empty, and stay.
fn remove_empty(made: &[(Directory, OsString)]) {
    for (parent, name) in made.iter().rev() {
        let _ = parent.remove_empty(name);
    }
}

enum CopyError {
    Io(io::Error),
    Stopped(ArchiveError),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl CopyError {
    fn at(self, path: &Path) -> ArchiveError {
        match self {
            Self::Io(error) => io_at(path, error),
            Self::Stopped(error) => error,
        }
    }
}

struct Copy<'a> {
    cancelled: &'a AtomicBool,
    entries: usize,
    step: Vec<u8>,
}

impl Copy<'_> {
    /// Copies one output, if it is there: a file or directory that is reached through no link.
    fn output(&mut self, from: &Directory, to: &Directory, path: &Path) -> Result<(), CopyError> {
        let Some(name) = path.file_name().map(OsString::from) else {
            return self.tree(from, to, MAX_DEPTH);
        };
        let above = path.parent().unwrap_or(Path::new(""));
        let found = from
            .directory(above)
            .and_then(|dir| dir.kind(&name).map(|kind| (dir, kind)));
        let Ok((dir, kind)) = found else {
            return Ok(());
        };
        if kind == Kind::Other {
            return Ok(());
        }
        let mut into = to.directory(Path::new(""))?;
        for step in above.components() {
            let step = step.as_os_str().to_owned();
            into = match into.make(&step, 0o777) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    into.directory(Path::new(&step))?
                }
                made => made?,
            };
        }
        self.entry(&dir, &into, &name, kind, MAX_DEPTH)
    }

    /// Copies all that is in a directory. Links, pipes and the like are left out.
    fn tree(&mut self, from: &Directory, to: &Directory, depth: usize) -> Result<(), CopyError> {
        let left = depth
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("it is nested too deeply"))?;
        for (name, kind) in from.entries()? {
            self.entry(from, to, &name, kind, left)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: &Directory,
        to: &Directory,
        name: &OsString,
        kind: Kind,
        depth: usize,
    ) -> Result<(), CopyError> {
        check(self.cancelled).map_err(CopyError::Stopped)?;
        if kind == Kind::Other {
            return Ok(());
        }
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            let limit = MAX_ENTRIES as u64;
            return Err(CopyError::Stopped(ArchiveError::TooMany { limit }));
        }
        if kind == Kind::Directory {
            let below = from.directory(Path::new(name))?;
            return self.tree(&below, &to.make(name, 0o777)?, depth);
        }
        let source = from.file(Path::new(name))?;
        let mode = source.metadata()?.permissions().mode();
        let executable = mode & 0o111 != 0;
        let target = to.create(name, if executable { 0o777 } else { 0o666 })?;
        self.bytes(source, target)
    }

    fn bytes(&mut self, mut source: File, mut target: File) -> Result<(), CopyError> {
        // What it has now, and not what somebody may go on to write.
        let mut left = source.metadata()?.len();
        while left > 0 {
            check(self.cancelled).map_err(CopyError::Stopped)?;
            let want = self
                .step
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = source.read(&mut self.step[..want])?;
            if read == 0 {
                break;
            }
            target.write_all(&self.step[..read])?;
            left -= read as u64;
        }
        Ok(())
    }
}
