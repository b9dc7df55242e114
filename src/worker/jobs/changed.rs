//! Which files a command made or changed: those of its directory, compared with what was there before.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::names::MAX_DEPTH;

/// What Python leaves beside each module is nobody's result.
const NOT_RESULTS: &str = "__pycache__";
/// How far back the files of a package are dated, so that a change right after that is seen on any file system.
const BACK: Duration = Duration::from_secs(2);

/// The files of a directory at one moment.
#[derive(Debug)]
pub struct Snapshot {
    files: HashMap<PathBuf, State>,
}

#[derive(Debug, PartialEq, Eq)]
struct State {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl State {
    fn of(meta: &fs::Metadata) -> Self {
        State {
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }
}

impl Snapshot {
    /// Notes all files below `root`, which nobody changes meanwhile. Blocks.
    ///
    /// # Errors
    /// A directory that cannot be read, or a file that cannot be dated.
    pub fn take(root: &Path) -> io::Result<Self> {
        let past = SystemTime::now() - BACK;
        let mut files = HashMap::new();
        for path in files_below(root)? {
            let full = root.join(&path);
            let file = File::open(&full)?;
            file.set_modified(past)?;
            files.insert(path, State::of(&file.metadata()?));
        }
        Ok(Snapshot { files })
    }

    /// The files below `root` that are new or other than they were, relative to it and sorted. Blocks.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn changed(&self, root: &Path) -> io::Result<Vec<PathBuf>> {
        let mut changed = files_below(root)?;
        changed.retain(|path| {
            let now = root.join(path).symlink_metadata();
            now.is_ok_and(|now| self.files.get(path) != Some(&State::of(&now)))
        });
        changed.sort();
        Ok(changed)
    }
}

/// Regular files, through no link, relative to `root`.
fn files_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![(PathBuf::new(), 0)];
    while let Some((dir, depth)) = pending.pop() {
        for entry in fs::read_dir(root.join(&dir))? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, dir.join(entry.file_name()));
            if kind.is_file() {
                files.push(path);
            } else if kind.is_dir() && depth < MAX_DEPTH && entry.file_name() != NOT_RESULTS {
                pending.push((path, depth + 1));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// New, rewritten (with the same size, at once) and replaced files are told from those that stayed.
    #[test]
    fn what_a_command_did() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("sub")).unwrap();
        for name in ["same", "rewritten", "replaced", "gone", "sub/same"] {
            fs::write(at(name), "before").unwrap();
        }
        let before = Snapshot::take(dir.path()).unwrap();
        assert!(before.changed(dir.path()).unwrap().is_empty());
        fs::write(at("rewritten"), "after!").unwrap();
        fs::write(at("other"), "before").unwrap();
        fs::rename(at("other"), at("replaced")).unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::create_dir_all(at("sub/new/__pycache__")).unwrap();
        fs::write(at("sub/new/file"), "").unwrap();
        fs::write(at("sub/new/__pycache__/x.pyc"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
        let names = ["replaced", "rewritten", "sub/new/file"].map(PathBuf::from);
        assert_eq!(before.changed(dir.path()).unwrap(), names);
    }
}
