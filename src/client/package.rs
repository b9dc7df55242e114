//! What a client sends: an archive as it is, or a directory that is packed first, with a command where one is given.

mod command;

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::wire::{PackageKind, safe_name};
use crate::worker::jobs::archive::{ArchiveError, list};
use crate::worker::jobs::manifest::{MANIFEST, Manifest};
use crate::worker::jobs::names::visible;
use crate::worker::jobs::pack::{Selection, pack_dir};
use crate::worker::jobs::scratch::{ScratchError, ScratchRoot, default_base};
use crate::worker::jobs::script::TRAIN_SCRIPT;
use crate::worker::jobs::track::TRACK_SCRIPT;

pub use self::command::Command;

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
    /// The GPU memory that its manifest asks for, in bytes.
    pub gpu_memory: Option<u64>,
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
    /// Its manifest cannot be used.
    #[error("{message}")]
    Manifest {
        /// What is wrong, and where.
        message: String,
    },
    /// A command was given for something that is no directory.
    #[error("{path} is not a directory: a command runs in a directory that is packed for it")]
    NoDirectory {
        /// What was given.
        path: String,
    },
    /// There is no place to pack it in.
    #[error("there is no place to pack the directory in: {0}")]
    NoPlace(ScratchError),
}

/// A path that was given, and what it is called.
struct Given {
    path: PathBuf,
    shown: String,
    base: String,
}

impl Given {
    fn at(path: &Path) -> Result<(Self, Metadata), PackageError> {
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
        let given = Given { path, shown, base };
        Ok((given, metadata))
    }

    fn name(&self, name: &str) -> Result<String, PackageError> {
        safe_name(name)
            .map(str::to_owned)
            .map_err(|error| PackageError::Name {
                path: self.shown.clone(),
                why: error.to_string(),
            })
    }

    /// Packs the directory under one top directory of its own name.
    fn pack(
        &self,
        kind: PackageKind,
        selection: &Selection,
        gpu_memory: Option<u64>,
        cancelled: &AtomicBool,
    ) -> Result<Package, PackageError> {
        let name = self.name(&format!("{}.zip", self.base))?;
        let place = default_base().join("packages");
        let made = ScratchRoot::open(&place).map_err(PackageError::NoPlace)?;
        let path = made.path().join(&name);
        let packed = pack_dir(&self.path, &path, Some(&self.base), selection, cancelled)?;
        if packed.skipped > 0 {
            tracing::warn!(
                skipped = packed.skipped,
                "links, devices and files with names that are not Unicode are not packed"
            );
        }
        let size = path.metadata().map_err(|source| PackageError::NotFound {
            path: self.shown.clone(),
            source,
        })?;
        Ok(Package {
            path,
            name,
            size: size.len(),
            kind,
            gpu_memory,
            _made: Some(made),
        })
    }

    /// Takes an archive as it is.
    fn archive(self, size: u64) -> Result<Package, PackageError> {
        let name = self.name(&self.base)?;
        let stem = Path::new(&name)
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let entries = list(&self.path).map_err(PackageError::Unreadable)?;
        let kind = kind_of(|file| {
            let nested = visible(&format!("{stem}/{file}"));
            entries
                .iter()
                .any(|(entry, _)| entry == file || *entry == nested)
        })
        .ok_or(PackageError::NothingToRun { path: self.shown })?;
        Ok(Package {
            path: self.path,
            name,
            size,
            kind,
            gpu_memory: None,
            _made: None,
        })
    }
}

impl Package {
    /// Takes an archive, or packs a directory, less what its `.loanerignore` files name. Blocks.
    ///
    /// # Errors
    /// What is wrong with it, before anybody is bothered with it.
    pub fn open(path: &Path, cancelled: &AtomicBool) -> Result<Self, PackageError> {
        let (given, metadata) = Given::at(path)?;
        if !metadata.is_dir() {
            return given.archive(metadata.len());
        }
        given.name(&format!("{}.zip", given.base))?;
        let Some(kind) = kind_of(|file| given.path.join(file).is_file()) else {
            return Err(PackageError::NothingToRun { path: given.shown });
        };
        // What is wrong with a manifest is for the worker to say: it may be of a later version.
        let text = command::manifest_text(&given.path).ok().flatten();
        let manifest = text.and_then(|text| Manifest::parse(&text).ok());
        let selection = Selection {
            inputs: manifest.as_ref().and_then(|job| job.inputs.clone()),
            always: vec![MANIFEST.to_owned()],
            ..Selection::default()
        };
        let gpu_memory = manifest.and_then(|job| job.terms.resources.gpu_memory);
        given.pack(kind, &selection, gpu_memory, cancelled)
    }

    /// Packs a directory with a command that is to be run in it, less what its `.gitignore` and `.loanerignore` files
    /// name. Blocks.
    ///
    /// # Errors
    /// What is wrong with either, before anybody is bothered with it.
    pub fn with_command(
        path: &Path,
        command: &Command,
        cancelled: &AtomicBool,
    ) -> Result<Self, PackageError> {
        let (given, metadata) = Given::at(path)?;
        if !metadata.is_dir() {
            return Err(PackageError::NoDirectory { path: given.shown });
        }
        let (manifest, text) = command.manifest(&given.path)?;
        let selection = Selection {
            gitignore: true,
            inputs: manifest.inputs,
            instead: Some((MANIFEST.to_owned(), text)),
            always: Vec::new(),
        };
        let gpu_memory = manifest.terms.resources.gpu_memory;
        given.pack(PackageKind::Train, &selection, gpu_memory, cancelled)
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
