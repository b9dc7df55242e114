//! A directory that is held open, and files beneath it: no path leads out, and no link is followed.
//!
//! Names are resolved from an open directory, not from the root of the file system. So it makes no difference what
//! becomes of the directory's own path afterwards, and a link that is put in the place of a file or directory between
//! two steps makes the second one fail. Everything here blocks.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use rustix::fs::{self as unix, AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Deepest tree that is removed, in directories.
const MAX_DEPTH: usize = 256;

/// What a name stands for. A link stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, pipe, socket or device.
    Other,
}

impl Kind {
    fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            _ => Self::Other,
        }
    }
}

/// A directory that is held open.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
}

impl Directory {
    /// Opens a directory by its own path, through whatever links there are.
    ///
    /// # Errors
    /// When it is not there, is not a directory, or may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = unix::open(path, DIRECTORY, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Opens a directory beneath this one; the empty path gives this one again.
    ///
    /// # Errors
    /// When it is not there or not a directory, or when a link or anything but plain names is on the way.
    pub fn directory(&self, path: &Path) -> io::Result<Self> {
        let fd = match beneath(&self.fd, path, DIRECTORY, Mode::empty()) {
            // A system call that an old kernel or a container's filter does not have.
            Err(Errno::NOSYS) => steps(&self.fd, path)?,
            opened => opened?,
        };
        Ok(Self { fd })
    }

    /// Opens a regular file beneath this directory for reading. Never waits for the other end of a pipe, and does not
    /// so much as open a device.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for what is no regular file; [`io::ErrorKind::NotFound`] and others as usual.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        let (parent, name) = self.parent_of(path)?;
        if parent.kind(&name)? != Kind::File {
            return Err(not_a_file());
        }
        // It may have been exchanged since: then this opens no link, waits for nobody, and looks again.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(unix::openat(&parent.fd, &name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(not_a_file());
        }
        Ok(file)
    }

    /// What `name`, one plain name, stands for in this directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] and others as usual.
    pub fn kind(&self, name: &OsString) -> io::Result<Kind> {
        let stat = unix::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Kind::of(FileType::from_raw_mode(stat.st_mode)))
    }

    /// Makes a directory that was not there, with this mode.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] and others as usual.
    pub fn make(&self, name: &OsString, mode: u32) -> io::Result<Self> {
        unix::mkdirat(&self.fd, name, Mode::from_raw_mode(mode))?;
        self.directory(Path::new(name))
    }

    /// Makes a file that was not there.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] and others as usual.
    pub fn create(&self, name: &OsString, mode: u32) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = unix::openat(&self.fd, name, flags, Mode::from_raw_mode(mode))?;
        Ok(File::from(fd))
    }

    /// Locks this directory until it is dropped; false when somebody else has.
    ///
    /// # Errors
    /// Where directories cannot be locked, as on some network file systems.
    pub fn try_lock(&self) -> io::Result<bool> {
        match unix::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(false),
            locked => Ok(locked.map(|()| true)?),
        }
    }

    /// Gives a directory in this one another name, in one step. What has that name already is replaced only if it is
    /// an empty directory.
    ///
    /// # Errors
    /// When anything else has that name, and as usual.
    pub fn rename(&self, from: &OsString, to: &OsString) -> io::Result<()> {
        Ok(unix::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// When it is not empty, and as usual.
    pub fn remove_empty(&self, name: &OsString) -> io::Result<()> {
        Ok(unix::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    /// Removes a directory with all that is in it. Links are removed, not followed.
    ///
    /// # Errors
    /// At the first thing that cannot be removed, or beyond 256 directories in depth.
    pub fn remove_tree(&self, name: &OsString) -> io::Result<()> {
        self.remove_below(name, MAX_DEPTH)
    }

    fn remove_below(&self, name: &OsString, depth: usize) -> io::Result<()> {
        let left = depth
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("it is nested too deeply"))?;
        let dir = self.directory(Path::new(name))?;
        for (name, kind) in dir.entries()? {
            if kind == Kind::Directory {
                dir.remove_below(&name, left)?;
            } else {
                unix::unlinkat(&dir.fd, &name, AtFlags::empty())?;
            }
        }
        self.remove_empty(name)
    }

    /// Everything in this directory, in the order of the names.
    ///
    /// # Errors
    /// As usual.
    pub fn entries(&self) -> io::Result<Vec<(OsString, Kind)>> {
        let mut entries = Vec::new();
        for entry in unix::Dir::read_from(&self.fd)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                // Not every file system says the kind with the name.
                let kind = self.kind(&name)?;
                entries.push((name, kind));
            }
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(entries)
    }

    /// The directory that `path` is in, and its name there.
    fn parent_of(&self, path: &Path) -> io::Result<(Self, OsString)> {
        let name = path.file_name().ok_or_else(not_a_file)?.to_owned();
        let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
        Ok((parent, name))
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

/// One call for the whole path: the kernel itself sees to it that nothing leads out.
#[cfg(target_os = "linux")]
fn beneath(dir: &OwnedFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    unix::openat2(dir, path, flags, mode, resolve)
}

#[cfg(not(target_os = "linux"))]
fn beneath(_: &OwnedFd, _: &Path, _: OFlags, _: Mode) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// The same, name by name.
fn steps(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = DIRECTORY | OFlags::NOFOLLOW;
    let mut at = unix::openat(dir, ".", flags, Mode::empty())?;
    for component in path.components() {
        let Component::Normal(name) = component else {
            return Err(Errno::XDEV);
        };
        at = unix::openat(&at, name, flags, Mode::empty())?;
    }
    Ok(at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// `in/real/file`, links out of `in` by several ways, and a file outside of it.
    fn scene() -> (tempfile::TempDir, Directory) {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        fs::create_dir_all(inside.join("real")).unwrap();
        fs::write(inside.join("real/file"), "inside").unwrap();
        fs::write(dir.path().join("secret"), "outside").unwrap();
        symlink("../secret", inside.join("link")).unwrap();
        symlink("real", inside.join("alias")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        let opened = Directory::open(&inside).unwrap();
        (dir, opened)
    }

    /// Neither the one call nor the steps follow a link or go up, not even to where they would be back inside.
    #[test]
    fn no_path_leads_out_and_no_link_is_followed() {
        let (_dir, inside) = scene();
        assert!(inside.directory(Path::new("real")).is_ok());
        assert!(inside.directory(Path::new("")).is_ok());
        assert!(steps(&inside.fd, Path::new("real")).is_ok());
        for path in [
            "..", "../in", "real/../..", "/", "alias", "magic", "magic/etc",
        ] {
            let path = Path::new(path);
            assert!(inside.directory(path).is_err(), "{}", path.display());
            assert!(steps(&inside.fd, path).is_err(), "{}", path.display());
        }
        for path in [
            "link", "../secret", "alias/file", "magic/etc/passwd", "real", "",
        ] {
            assert!(inside.file(Path::new(path)).is_err(), "{path}");
        }
        assert!(inside.file(Path::new("real/file")).is_ok());
    }

    /// A link in a tree that is removed goes, and what it points to stays.
    #[test]
    fn a_tree_is_removed_without_following_links() {
        let (dir, _inside) = scene();
        let outer = Directory::open(dir.path()).unwrap();
        symlink(dir.path(), dir.path().join("in/real/up")).unwrap();
        outer.remove_tree(&"in".into()).unwrap();
        assert_eq!(outer.entries().unwrap(), [("secret".into(), Kind::File)]);
    }

    /// Only an empty directory gives its name away.
    #[test]
    fn a_rename_replaces_nothing_that_holds_anything() {
        let dir = tempfile::tempdir().unwrap();
        let outer = Directory::open(dir.path()).unwrap();
        for name in ["new", "empty", "full"] {
            outer.make(&name.into(), 0o777).unwrap();
        }
        fs::write(dir.path().join("full/file"), "x").unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        symlink("empty", dir.path().join("link")).unwrap();
        for name in ["full", "file", "link"] {
            assert!(outer.rename(&"new".into(), &name.into()).is_err(), "{name}");
        }
        outer.rename(&"new".into(), &"empty".into()).unwrap();
    }
}
