//! Patterns of files, such as `models/**` and `*.csv`.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// Whether a path of a manifest is a pattern, and not the name of one file or directory.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

fn glob(pattern: &str) -> Result<Glob, String> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|error| format!("{pattern:?} is no pattern: {}", error.kind()))
}

pub(super) fn check_pattern(path: &str) -> Result<(), String> {
    if !is_pattern(path) {
        return Ok(());
    }
    glob(path).map(|_| ())
}

/// Several paths and patterns at once: what they name, and all that is below what they name.
#[derive(Debug, Clone)]
pub struct Patterns {
    paths: Vec<PathBuf>,
    set: GlobSet,
}

impl Patterns {
    /// From paths of a [`Manifest`](super::Manifest), relative to its root. One that is no pattern stands for itself.
    pub fn new(paths: &[PathBuf]) -> Self {
        let mut set = GlobSetBuilder::new();
        for path in paths {
            if let Some(glob) = path.to_str().and_then(|path| glob(path).ok()) {
                set.add(glob);
            }
        }
        Patterns {
            paths: paths.to_vec(),
            set: set.build().unwrap_or_else(|_| GlobSet::empty()),
        }
    }

    /// Whether `path`, relative to the same root, is named, or lies below a directory that is.
    pub fn cover(&self, path: &Path) -> bool {
        // An empty path is the root itself.
        self.paths.iter().any(|named| path.starts_with(named))
            || path
                .ancestors()
                .any(|at| !at.as_os_str().is_empty() && self.set.is_match(at))
    }
}
