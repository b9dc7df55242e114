//! Packages: zip files from a peer, unpacked without trusting anything that they say.
//!
//! Everything here blocks; call it from `spawn_blocking`. Raise the `cancel` flag to make it stop soon.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use super::disk::{free_space, human, is_full};
use super::names::{NameError, safe_relative, shown, visible};
pub use super::pack::{Packed, Selection, pack_dir, pack_outputs};
use open::open;

/// Size of one copy step, in bytes; cancelling is noticed between two.
pub(super) const STEP: usize = 256 * 1024;

/// Why an archive was not unpacked or made.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The file is no zip, or its directory is damaged or missing (cut short).
    #[error("{name} is not a package: {why}")]
    NotAPackage {
        /// Name of the file.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// An entry's path leads out of the package, or cannot be used here.
    #[error("the package is refused: the path \"{entry}\": {why}")]
    UnsafePath {
        /// The entry, for display.
        entry: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// An entry is a link, a device or the like.
    #[error("the package is refused: \"{entry}\" is neither a file nor a directory")]
    NotAFile {
        /// The entry, for display.
        entry: String,
    },
    /// Two entries claim one path.
    #[error("the package is refused: \"{entry}\" is there twice")]
    Duplicate {
        /// The entry, for display.
        entry: String,
    },
    /// More files and directories than accepted.
    #[error("the package is refused: more than {limit} files and directories")]
    TooMany {
        /// The accepted number.
        limit: u64,
    },
    /// More bytes than accepted.
    #[error("the package is refused: more than {} when unpacked", human(*limit))]
    TooLarge {
        /// The accepted number of bytes.
        limit: u64,
    },
    /// It grows out of all proportion.
    #[error("the package is refused: \"{entry}\" unpacks to more than {ratio} times its size")]
    Bomb {
        /// The entry, for display.
        entry: String,
        /// The accepted ratio.
        ratio: u64,
    },
    /// An entry's bytes are damaged.
    #[error("the package is damaged at \"{entry}\": {why}")]
    Damaged {
        /// The entry, for display.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The disk has no room for it.
    #[error("the disk is full: {} are needed, {} are free in {}", human(*needed), human(*free), dir.display())]
    DiskFull {
        /// Where it was to go.
        dir: PathBuf,
        /// Bytes needed, as far as known.
        needed: u64,
        /// Bytes free there.
        free: u64,
    },
    /// A file or pattern that was to be packed names nothing.
    #[error("inputs: {name} names no file of the package")]
    NoInput {
        /// What was looked for.
        name: String,
    },
    /// None of the outputs that were to be packed is there.
    #[error("the job left no output (expected: {names})")]
    NoOutput {
        /// What was looked for.
        names: String,
    },
    /// The cancel flag was raised.
    #[error("cancelled")]
    Cancelled,
    /// The file system failed in another way.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// What a package may grow to.
#[derive(Debug, Clone, Copy)]
pub struct UnpackLimits {
    /// Most files and directories, those counted that a path only implies.
    pub max_entries: u64,
    /// Most bytes in all files together. The free disk space bounds them too.
    pub max_bytes: u64,
    /// Most unpacked bytes per packed byte, of one entry and of the whole...
    pub max_ratio: u64,
    /// ...once this many bytes are unpacked.
    pub ratio_from: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            max_entries: 100_000,
            max_bytes: 64 << 30,
            max_ratio: 200,
            ratio_from: 100 << 20,
        }
    }
}

/// A package on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The directory that holds `train-script.sh` or `loaner.toml`: the one named like the archive if there is one,
    /// else where it was unpacked (both layouts of the sleap-rtc wire protocol, 4.7).
    pub root: PathBuf,
    /// Number of files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// Unpacks `zip` into the directory `into`, which should be empty. Limits are enforced on what is really written, not
/// on what the archive declares. After an error, what was written so far is left to the caller to remove.
pub fn unpack(
    zip: &Path,
    into: &Path,
    limits: &UnpackLimits,
    cancel: &AtomicBool,
) -> Result<Unpacked, ArchiveError> {
    let packed = fs::metadata(zip)
        .map_err(|source| io_at(zip, source))?
        .len();
    let mut archive = open(zip, limits.max_entries)?;
    let free = free_space(into).map_err(|source| io_at(into, source))?;
    let declared = archive.decompressed_size().unwrap_or(0);
    if declared > u128::from(limits.max_bytes) {
        return Err(ArchiveError::TooLarge {
            limit: limits.max_bytes,
        });
    }
    let needed = u64::try_from(declared).unwrap_or(u64::MAX);
    if needed > free {
        return Err(ArchiveError::DiskFull {
            dir: into.to_owned(),
            needed,
            free,
        });
    }

    let mut tree = Tree {
        into,
        limits,
        packed,
        needed,
        dirs: HashSet::new(),
        files: 0,
        bytes: 0,
    };
    for index in 0..archive.len() {
        let name = archive
            .by_index_data(index)
            .and_then(|entry| entry.name().map(|name| name.into_owned()));
        let name = name.map_err(|error| damaged("?", &error.to_string()))?;
        let mut entry = archive
            .by_index(index)
            .map_err(|error| damaged(&name, &error.to_string()))?;
        let path = safe_relative(&name).map_err(|why| ArchiveError::UnsafePath {
            entry: shown(&name),
            why,
        })?;
        let mode = entry.unix_mode().unwrap_or(0);
        match (mode & S_IFMT, entry.is_dir()) {
            (0 | S_IFDIR, true) => tree.directory(&path)?,
            (0 | S_IFREG, false) => {
                let size = entry.compressed_size();
                tree.file(&path, mode & 0o111 != 0, &mut entry, size, cancel)?;
            }
            _ => {
                return Err(ArchiveError::NotAFile {
                    entry: shown(&name),
                });
            }
        }
    }

    let named = zip
        .file_stem()
        .map(PathBuf::from)
        .filter(|stem| tree.dirs.contains(stem));
    let root = named.map_or_else(|| into.to_owned(), |stem| into.join(stem));
    Ok(Unpacked {
        root,
        files: tree.files,
        bytes: tree.bytes,
    })
}

/// Names and sizes of the files in an archive, in its order, for display: they are [`visible`].
pub fn list(zip: &Path) -> Result<Vec<(String, u64)>, ArchiveError> {
    let archive = open(zip, UnpackLimits::default().max_entries)?;
    let mut files = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive
            .by_index_data(index)
            .map_err(|error| damaged("?", &error.to_string()))?;
        let name = entry
            .name()
            .map_err(|error| damaged("?", &error.to_string()))?;
        if !entry.is_dir() {
            files.push((visible(&name), entry.size()));
        }
    }
    Ok(files)
}

const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;

/// What has been unpacked so far.
struct Tree<'a> {
    into: &'a Path,
    limits: &'a UnpackLimits,
    /// Size of the archive file.
    packed: u64,
    /// Bytes that the archive declares.
    needed: u64,
    /// Directories known to be ours, relative to `into`.
    dirs: HashSet<PathBuf>,
    files: u64,
    bytes: u64,
}

impl Tree<'_> {
    /// Makes the directory `path` and those above it. Whatever stands there already must be a directory, not a link.
    fn directory(&mut self, path: &Path) -> Result<(), ArchiveError> {
        if path.as_os_str().is_empty() || self.dirs.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        self.count()?;
        let full = self.into.join(path);
        if let Err(error) = fs::create_dir(&full) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(self.write_error(&full, error));
            }
            if !full.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                return Err(ArchiveError::Duplicate {
                    entry: shown(&path.to_string_lossy()),
                });
            }
        }
        self.dirs.insert(path.to_owned());
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        executable: bool,
        content: &mut impl Read,
        packed: u64,
        cancel: &AtomicBool,
    ) -> Result<(), ArchiveError> {
        let name = shown(&path.to_string_lossy());
        if path.as_os_str().is_empty() {
            return Err(ArchiveError::UnsafePath {
                entry: name,
                why: NameError::Empty,
            });
        }
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        self.count()?;
        let full = self.into.join(path);
        // `create_new` follows no link and overwrites nothing.
        let mode = if executable { 0o777 } else { 0o666 };
        let mut file = match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&full)
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ArchiveError::Duplicate { entry: name });
            }
            result => result.map_err(|error| self.write_error(&full, error))?,
        };
        self.files += 1;

        let mut step = vec![0; STEP];
        let mut written = 0;
        loop {
            check(cancel)?;
            let read = content
                .read(&mut step)
                .map_err(|error| damaged(&name, &error.to_string()))?;
            if read == 0 {
                return Ok(());
            }
            written += read as u64;
            self.bytes += read as u64;
            let limits = self.limits;
            let swollen = |got: u64, from: u64| {
                got > limits.ratio_from && got / limits.max_ratio.max(1) > from
            };
            if swollen(written, packed) || swollen(self.bytes, self.packed) {
                return Err(ArchiveError::Bomb {
                    entry: name,
                    ratio: limits.max_ratio,
                });
            }
            if self.bytes > limits.max_bytes {
                return Err(ArchiveError::TooLarge {
                    limit: limits.max_bytes,
                });
            }
            file.write_all(&step[..read])
                .map_err(|error| self.write_error(&full, error))?;
        }
    }

    fn count(&self) -> Result<(), ArchiveError> {
        if self.files + self.dirs.len() as u64 >= self.limits.max_entries {
            return Err(ArchiveError::TooMany {
                limit: self.limits.max_entries,
            });
        }
        Ok(())
    }

    fn write_error(&self, path: &Path, error: io::Error) -> ArchiveError {
        write_error(path, self.into, self.needed, error)
    }
}

pub(super) fn check(cancel: &AtomicBool) -> Result<(), ArchiveError> {
    if cancel.load(Ordering::Relaxed) {
        Err(ArchiveError::Cancelled)
    } else {
        Ok(())
    }
}

pub(super) fn io_at(path: &Path, source: io::Error) -> ArchiveError {
    ArchiveError::Io {
        path: path.to_owned(),
        source,
    }
}

/// A failed write to `path`, told apart by whether the disk of `dir` is full.
pub(super) fn write_error(path: &Path, dir: &Path, needed: u64, error: io::Error) -> ArchiveError {
    if is_full(&error) {
        let free = free_space(dir).unwrap_or(0);
        return ArchiveError::DiskFull {
            dir: dir.to_owned(),
            needed,
            free,
        };
    }
    io_at(path, error)
}

fn damaged(entry: &str, why: &str) -> ArchiveError {
    ArchiveError::Damaged {
        entry: shown(entry),
        why: why.to_owned(),
    }
}

mod open;
#[cfg(test)]
mod tests;
