//! Room on a disk, what takes it, and trees removed from it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{self as unix, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// How many directories are held open at a time to remove what is in them. What lies deeper is moved up first.
const LEVELS: usize = 64;
/// How often a tree is opened up that a job made unwritable; each time that reaches some thousand directories further down.
const LOCKS: usize = 100;

/// Bytes that an unprivileged process may still write to the file system of `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    // The widths of these fields differ between systems.
    #[allow(clippy::useless_conversion)]
    Ok(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
}

/// Whether a write failed for want of room: a full disk or a used-up quota.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// A number of bytes for people: `"640 B"`, `"1.5 MiB"`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Removes a directory with all that is in it, however deep, following no link. A directory that a job made unwritable is
/// opened up first. That it is gone already is no error.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    for _ in 0..LOCKS {
        match clear(dir) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_up(dir)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    fs::remove_dir(dir)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Removes what is in a directory. Neither stack nor open files grow with the depth of what a job left there.
fn clear(dir: &Path) -> io::Result<()> {
    let top = unix::open(dir, DIRECTORY, Mode::empty())?;
    let mut moved = 0;
    loop {
        let before = moved;
        empty(&top, &top, LEVELS, &mut moved)?;
        if moved == before {
            return Ok(());
        }
    }
}

/// Removes what is in `dir`, so many levels down. Directories that lie deeper get another name in `top`, and are counted.
fn empty(dir: &OwnedFd, top: &OwnedFd, levels: usize, moved: &mut u64) -> io::Result<()> {
    for entry in unix::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        // Not every file system says the kind with the name.
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = unix::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        if kind != FileType::Directory {
            unix::unlinkat(dir, name, AtFlags::empty())?;
            continue;
        }
        let Some(below) = levels.checked_sub(1) else {
            move_up(dir, name, top, moved)?;
            continue;
        };
        let child = unix::openat(dir, name, DIRECTORY, Mode::empty())?;
        empty(&child, top, below, moved)?;
        unix::unlinkat(dir, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Gives a directory a name in `top` that nothing has there.
fn move_up(dir: &OwnedFd, name: &std::ffi::CStr, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match unix::renameat(dir, name, top, format!(".deep-{moved}")) {
            // What a job called so itself.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            result => return Ok(result?),
        }
    }
}

fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Bytes that a directory takes on its disk, however deep, following no link. What vanishes or is moved meanwhile, or cannot be
/// read, counts 0. One directory is open at a time.
pub fn disk_usage(dir: &Path) -> u64 {
    let mut used = 0;
    let Ok(mut at) = unix::open(dir, DIRECTORY, Mode::empty()) else {
        return used;
    };
    let mut way = vec![Level::of(&at, &mut used)];
    while let Some(level) = way.last_mut() {
        if let Some(name) = level.left.pop() {
            if let Ok(below) = unix::openat(&at, name, DIRECTORY, Mode::empty()) {
                at = below;
                way.push(Level::of(&at, &mut used));
            }
            continue;
        }
        way.pop();
        let Some(above) = way.last() else {
            break;
        };
        match unix::openat(&at, c"..", DIRECTORY, Mode::empty()) {
            Ok(up) if id_of(&up).is_some_and(|id| above.id == Some(id)) => at = up,
            // A job moved it: what is there now is none of this tree.
            _ => break,
        }
    }
    used
}

/// A directory on the way down, and what of it was not looked into yet.
struct Level {
    id: Option<(u64, u64)>,
    left: Vec<CString>,
}

impl Level {
    /// Counts what lies in a directory.
    fn of(dir: &OwnedFd, used: &mut u64) -> Self {
        let mut left = Vec::new();
        for entry in unix::Dir::read_from(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(stat) = unix::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            // A file with holes takes less than its length; blocks are of 512 bytes on every system.
            *used += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push(name.to_owned());
            }
        }
        Level {
            id: id_of(dir),
            left,
        }
    }
}

fn id_of(dir: &OwnedFd) -> Option<(u64, u64)> {
    let stat = unix::fstat(dir).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What files take is counted in all directories, and what links lead to is not.
    #[test]
    fn what_a_directory_takes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(disk_usage(dir.path()), 0);
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/file"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("a/link")).unwrap();
        let used = disk_usage(dir.path());
        assert!((1 << 20..2 << 20).contains(&used), "{used}");
    }

    /// What lies deeper than any path reaches counts too, and what lies beside the way there.
    #[test]
    fn what_lies_deep_counts() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut at = unix::open(&tree, DIRECTORY, Mode::empty()).unwrap();
        let write = |at: &OwnedFd| {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            let file = unix::openat(at, "file", flags, Mode::RWXU).unwrap();
            io::Write::write_all(&mut fs::File::from(file), &[1; 65536]).unwrap();
        };
        for level in 0..4_000 {
            if level % 1000 == 0 {
                unix::mkdirat(&at, "a", Mode::RWXU).unwrap();
                let beside = unix::openat(&at, "a", DIRECTORY, Mode::empty()).unwrap();
                write(&beside);
            }
            unix::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = unix::openat(&at, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        let before = disk_usage(&tree);
        assert!(before >= 4 * 65536, "{before}");
        write(&at);
        let more = disk_usage(&tree) - before;
        assert!(more >= 65536, "{more}");
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(human(640), "640 B");
        assert_eq!(human(1536 * 1024), "1.5 MiB");
        assert_eq!(human(64 << 30), "64.0 GiB");
        assert_eq!(human(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn a_tree_goes_even_when_locked_and_its_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/c"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o500)).unwrap();
        open_up(&tree).unwrap();
        assert_eq!(
            fs::metadata(tree.join("a/b")).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o500)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        remove_tree(&tree).unwrap();
    }

    /// Deeper than any stack, any number of open files and any path: made from within, as a job can.
    #[test]
    fn a_tree_goes_however_deep() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::create_dir_all(tree.join(".deep-1")).unwrap();
        fs::write(tree.join(".deep-2"), "x").unwrap();
        let mut at = unix::open(&tree, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..8_000 {
            unix::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = unix::openat(&at, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        unix::symlinkat("/usr", &at, "link").unwrap();
        // On a stack as small as those of the data plane's threads.
        let removing = std::thread::Builder::new().stack_size(512 << 10);
        let gone = tree.clone();
        let removing = removing.spawn(move || remove_tree(&gone)).unwrap();
        removing.join().unwrap().unwrap();
        assert!(!tree.exists());
        assert!(Path::new("/usr/bin").exists());
    }
}
