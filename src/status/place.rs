//! Where the sockets are.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::identity::default_state_dir;

/// The permissions of everybody else.
const OTHERS: u32 = 0o077;

/// A directory is none for sockets.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The system says no.
    #[error("{path}: {source}", path = path.display())]
    System {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may look into it.
    #[error("{path} is not for its owner alone: remove it, and it is made again", path = path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
}

/// Where the sockets of this user's processes may be, the best first: `$XDG_RUNTIME_DIR/loaner`, and `run` in the directory of
/// state, which is `state` or the usual one.
pub fn places(state: Option<&Path>) -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute());
    let state = state.map(Path::to_owned).or_else(default_state_dir);
    let runtime = runtime.map(|runtime| runtime.join("loaner"));
    let state = state.map(|state| state.join("run"));
    runtime.into_iter().chain(state).collect()
}

/// Makes a directory that is for its owner alone.
pub(super) fn make(path: &Path) -> Result<(), PlaceError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|source| PlaceError::System {
        path: path.to_owned(),
        source,
    })?;
    check(path)
}

/// Whether a directory is its owner's, who is this user, and nobody else's.
pub(super) fn check(path: &Path) -> Result<(), PlaceError> {
    let path = path.to_owned();
    match std::fs::symlink_metadata(&path) {
        Err(source) => Err(PlaceError::System { path, source }),
        Ok(found) => {
            let ours = found.uid() == nix::unistd::geteuid().as_raw();
            match found.is_dir() && ours && found.mode() & OTHERS == 0 {
                true => Ok(()),
                false => Err(PlaceError::NotPrivate { path }),
            }
        }
    }
}
