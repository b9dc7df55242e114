//! What of a directory is packed.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ignore::WalkBuilder;

use super::super::archive::{ArchiveError, check, io_at};
use super::super::manifest::{Patterns, is_pattern};
use super::super::names::shown;
use super::{Entry, Found};
use crate::files::RESULTS_DIR;

/// Files that say what is not to be packed, in the manner of git, in any directory of the tree.
const IGNORE_FILE: &str = ".loanerignore";
/// What git itself keeps; it is left out where `.gitignore` counts.
const GIT_DIR: &str = ".git";

/// What of a directory is packed: all of it, less what is ignored, and as far as it is among the inputs.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Whether `.gitignore` files count too. A `.loanerignore` beside one wins over it.
    pub gitignore: bool,
    /// Only these files, directories and patterns, if given.
    pub inputs: Option<Vec<PathBuf>>,
    /// A file at the top, by name, and what is packed under that name, whatever the directory has there.
    pub instead: Option<(String, String)>,
    /// Files at the top that are packed also when they are no inputs.
    pub always: Vec<String>,
}

impl Found<'_> {
    /// Adds what is selected of `dir`, under names that begin with `prefix`.
    pub(super) fn select(
        &mut self,
        dir: &Path,
        prefix: &str,
        selection: &Selection,
        cancel: &AtomicBool,
    ) -> Result<(), ArchiveError> {
        let named = |name: &str| match prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        let inputs = selection.inputs.as_deref().map(Patterns::new);
        let mut unused = selection.inputs.clone().unwrap_or_default();
        for entry in walk(dir, selection.gitignore) {
            check(cancel)?;
            let entry = entry.map_err(|error| io_at(dir, into_io(error)))?;
            let (Some(kind), Ok(relative)) = (entry.file_type(), entry.path().strip_prefix(dir))
            else {
                continue;
            };
            let path = entry.path().to_owned();
            if relative.as_os_str().is_empty() || path == self.out_zip {
                continue;
            }
            let Some(name) = relative.to_str() else {
                self.skipped += 1;
                continue;
            };
            if selection.instead.as_ref().is_some_and(|(at, _)| at == name) {
                continue;
            }
            if !kind.is_dir() && !kind.is_file() {
                self.skipped += 1;
                continue;
            }
            if let Some(inputs) = &inputs {
                unused.retain(|input| !Patterns::new(std::slice::from_ref(input)).cover(relative));
                let always = selection.always.iter().any(|always| always == name);
                if !inputs.cover(relative) && !always {
                    continue;
                }
            }
            self.add_entry(path, named(name), kind.is_dir())?;
        }
        if let Some(input) = unused.first() {
            return Err(ArchiveError::NoInput {
                name: shown(&input.to_string_lossy()),
            });
        }
        if let Some((name, text)) = &selection.instead {
            self.entries.push(Entry {
                name: named(name),
                path: dir.join(name),
                is_dir: false,
                text: Some(text.clone()),
            });
        }
        Ok(())
    }
}

fn walk(dir: &Path, gitignore: bool) -> ignore::Walk {
    let mut walk = WalkBuilder::new(dir);
    walk.standard_filters(false)
        .git_ignore(gitignore)
        .require_git(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .filter_entry(move |entry| {
            let name = entry.file_name();
            name != RESULTS_DIR && (!gitignore || name != GIT_DIR)
        });
    walk.build()
}

fn into_io(error: ignore::Error) -> std::io::Error {
    let text = error.to_string();
    error
        .into_io_error()
        .unwrap_or_else(|| std::io::Error::other(text))
}

/// The files below `root` that one of the patterns among `paths` matches, through no link, relative to `root`.
pub(super) fn matching(
    root: &Path,
    mut paths: Vec<PathBuf>,
    cancel: &AtomicBool,
) -> Result<Vec<PathBuf>, ArchiveError> {
    paths.retain(|path| path.to_str().is_some_and(is_pattern));
    let mut found = Vec::new();
    if paths.is_empty() {
        return Ok(found);
    }
    let patterns = Patterns::new(&paths);
    let mut walk = WalkBuilder::new(root);
    for entry in walk.standard_filters(false).build() {
        check(cancel)?;
        let entry = entry.map_err(|error| io_at(root, into_io(error)))?;
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        if let Ok(relative) = entry.path().strip_prefix(root)
            && patterns.cover(relative)
        {
            found.push(relative.to_owned());
        }
    }
    Ok(found)
}
