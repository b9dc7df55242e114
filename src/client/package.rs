//! What a client sends: an archive as it is, or a directory that is packed first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::wire::{PackageKind, safe_name};
use crate::worker::jobs::archive::{ArchiveError, list};
use crate::worker::jobs::manifest::MANIFEST;
use crate::worker::jobs::pack::pack_dir;
use crate::worker::jobs::scratch::{ScratchError, ScratchRoot, default_base};
use crate::worker::jobs::script::TRAIN_SCRIPT;
use crate::worker::jobs::track::TRACK_SCRIPT;

/// A package that is ready to be sent.
#[derive(Debug)]
pub struct Package {
    /// The archive.
    pub path: PathBuf,
    /// How it is announced.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// What it is for: inference, where it has that script alone.
    pub kind: PackageKind,
    /// Holds an archive that was made for this submission only. What a killed client left goes with the next.
    _made: Option<ScratchRoot>,
}

/// Why something is no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// There is nothing of that name.
    #[error("{path}: {source}; give a directory or a .zip file with a package in it")]
    NotFound {
        /// What was given.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Its name cannot be announced.
    #[error("{path}: the name cannot be used for a package ({why}); rename it")]
    Name {
        /// What was given.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is a file, and no archive that can be read.
    #[error("{0}; give a directory or a .zip file, `loaner run --help` says what a package is")]
    Unreadable(ArchiveError),
    /// It cannot be packed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It holds nothing to run.
    #[error(
        "{path} is not a package: it has neither {TRAIN_SCRIPT} nor {MANIFEST} nor {TRACK_SCRIPT} at its top or in its one directory"
    )]
    NothingToRun {
        /// What was given.
        path: String,
    },
    /// There is no place to pack it in.
    #[error("there is no place to pack the directory in: {0}")]
    NoPlace(ScratchError),
}

impl Package {
    /// Takes an archive, or packs a directory under one top directory of its own name. Blocks.
    ///
    /// # Errors
    /// What is wrong with it, before anybody is bothered with it.
    pub fn open(path: &Path, cancelled: &AtomicBool) -> Result<Self, PackageError> {
        let shown = path.display().to_string();
        let not_found = |source| PackageError::NotFound {
            path: shown.clone(),
            source,
        };
        let path = path.canonicalize().map_err(not_found)?;
        let metadata = path.metadata().map_err(not_found)?;
        let base = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let named = |name: &str| {
            safe_name(name)
                .map(str::to_owned)
                .map_err(|error| PackageError::Name {
                    path: shown.clone(),
                    why: error.to_string(),
                })
        };
        let package = if metadata.is_dir() {
            let name = named(&format!("{base}.zip"))?;
            let kind = kind_of(|file| path.join(file).is_file()).ok_or_else(|| {
                PackageError::NothingToRun {
                    path: shown.clone(),
                }
            })?;
            let place = default_base().join("packages");
            let made = ScratchRoot::open(&place).map_err(PackageError::NoPlace)?;
            let archive = made.path().join(&name);
            pack_dir(&path, &archive, Some(&base), cancelled)?;
            let size = archive.metadata().map_err(not_found)?.len();
            Package {
                path: archive,
                name,
                size,
                kind,
                _made: Some(made),
            }
        } else {
            let name = named(&base)?;
            let stem = Path::new(&name)
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            let entries = list(&path).map_err(PackageError::Unreadable)?;
            let kind = kind_of(|file| {
                let nested = format!("{stem}/{file}");
                entries
                    .iter()
                    .any(|(entry, _)| entry == file || *entry == nested)
            })
            .ok_or(PackageError::NothingToRun { path: shown })?;
            Package {
                path,
                name,
                size: metadata.len(),
                kind,
                _made: None,
            }
        };
        Ok(package)
    }
}

/// What a package is for, by the files that it has; `None` if there is nothing to run.
fn kind_of(has: impl Fn(&str) -> bool) -> Option<PackageKind> {
    if has(TRAIN_SCRIPT) || has(MANIFEST) {
        Some(PackageKind::Train)
    } else {
        has(TRACK_SCRIPT).then_some(PackageKind::Track)
    }
}
