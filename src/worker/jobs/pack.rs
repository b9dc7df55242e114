//! Archives made: a package on its way to the worker, results on their way back.
//!
//! Everything here blocks; call it from `spawn_blocking`. Raise the `cancel` flag to make it stop soon.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use nix::fcntl::OFlag;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::archive::{ArchiveError, STEP, check, io_at, write_error};
use super::names::shown;

mod select;

pub use select::Selection;

/// Most entries in an archive that we make.
const MAX_ENTRIES: usize = 1_000_000;
/// From this size on an entry uses zip64. Below 4 GiB, since deflate may make a file a little larger.
const LARGE: u64 = 0xF000_0000;
/// Deflate's level: fast, since weights hardly get smaller by more effort.
const LEVEL: i64 = 1;
/// From this size on, in bytes, it is tried whether deflate makes a file smaller: for nothing, a GiB costs 12 s.
const WORTH_A_TRY: u64 = 1024 * 1024;
/// Size of a sample for that, in bytes; one is taken at the beginning, one in the middle and one at the end.
const SAMPLE: u64 = 64 * 1024;
/// Files that are compressed already are stored as they are.
const COMPRESSED: [&str; 12] = [
    "7z", "avi", "bz2", "gz", "jpeg", "jpg", "mkv", "mov", "mp4", "png", "xz", "zip",
];

/// An archive that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Number of files in it.
    pub files: u64,
    /// Bytes in them, before compression.
    pub bytes: u64,
    /// Links, pipes, devices and files whose names are not Unicode: left out.
    pub skipped: u64,
}

/// Packs the directory `dir` into `out_zip`, with paths relative to `dir`, below the directory `top` if given. Links are
/// not followed, and `out_zip` appears (or is replaced) only when complete. The same tree gives the same bytes, whenever
/// and wherever it is packed: the order is that of the names, and times are left out.
pub fn pack_dir(
    dir: &Path,
    out_zip: &Path,
    top: Option<&str>,
    selection: &Selection,
    cancel: &AtomicBool,
) -> Result<Packed, ArchiveError> {
    let mut found = Found::new(out_zip);
    if let Some(top) = top {
        found.add_entry(dir.to_owned(), top.to_owned(), true)?;
    }
    found.select(dir, top.unwrap_or_default(), selection, cancel)?;
    write_archive(found, out_zip, cancel)
}

/// Packs a job's outputs: files, directories and patterns below `root` (see [`Plan::outputs`](super::plan::Plan)). If
/// just one of them is there and it is a directory, paths are relative to it; else to `root`. What is missing is left out; if
/// all of it is missing, that is [`ArchiveError::NoOutput`]. A link on the way to an output counts as missing.
pub fn pack_outputs(
    root: &Path,
    outputs: &[PathBuf],
    out_zip: &Path,
    cancel: &AtomicBool,
) -> Result<Packed, ArchiveError> {
    let present = present(root, outputs, cancel)?;
    let mut found = Found::new(out_zip);
    match present.as_slice() {
        [] => {
            let names: Vec<String> = outputs
                .iter()
                .map(|path| shown(&relative(root, path).to_string_lossy()))
                .collect();
            return Err(ArchiveError::NoOutput {
                names: names.join(", "),
            });
        }
        [only] if root.join(only).is_dir() => found.walk(&root.join(only), "", cancel)?,
        several => {
            for path in several {
                let Some(name) = path.to_str() else {
                    found.skipped += 1;
                    continue;
                };
                let full = root.join(path);
                let is_dir = full.is_dir();
                found.add_entry(full.clone(), name.to_owned(), is_dir)?;
                if is_dir {
                    found.walk(&full, name, cancel)?;
                }
            }
        }
    }
    write_archive(found, out_zip, cancel)
}

/// What is there of a job's outputs, relative to `root` and sorted; nothing of it lies inside another. A link on the way to
/// an output counts as missing.
pub(super) fn present(
    root: &Path,
    outputs: &[PathBuf],
    cancel: &AtomicBool,
) -> Result<Vec<PathBuf>, ArchiveError> {
    let (mut present, missing): (Vec<PathBuf>, Vec<PathBuf>) = outputs
        .iter()
        .map(|output| relative(root, output).to_owned())
        .partition(|path| is_really_below(root, path));
    present.extend(select::matching(root, missing, cancel)?);
    present.sort();
    // An output inside another one comes with that one.
    present.dedup_by(|later, kept| later.starts_with(&*kept));
    Ok(present)
}

fn relative<'a>(root: &Path, output: &'a Path) -> &'a Path {
    output.strip_prefix(root).unwrap_or(output)
}

/// The size in bytes of the file at `path` below `root`; `None` if none is there, or if it is reached through a link.
pub(super) fn plain_file(root: &Path, path: &Path) -> Option<u64> {
    let relative = path.strip_prefix(root).ok()?;
    let meta = path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
    is_really_below(root, relative).then_some(meta.len())
}

/// Whether `path` below `root` exists and is a file or directory reached through no link.
fn is_really_below(root: &Path, path: &Path) -> bool {
    let mut at = root.to_owned();
    for component in path.components() {
        at.push(component);
        match at.symlink_metadata() {
            Ok(meta) if meta.is_dir() || meta.is_file() => {}
            _ => return false,
        }
    }
    at.exists()
}

struct Entry {
    name: String,
    path: PathBuf,
    is_dir: bool,
    /// What is packed under this name, where that is not what the file holds.
    text: Option<String>,
}

/// What will go into an archive.
struct Found<'a> {
    out_zip: &'a Path,
    entries: Vec<Entry>,
    skipped: u64,
}

impl<'a> Found<'a> {
    fn new(out_zip: &'a Path) -> Self {
        Self {
            out_zip,
            entries: Vec::new(),
            skipped: 0,
        }
    }

    fn add_entry(&mut self, path: PathBuf, name: String, is_dir: bool) -> Result<(), ArchiveError> {
        if self.entries.len() >= MAX_ENTRIES {
            return Err(ArchiveError::TooMany {
                limit: MAX_ENTRIES as u64,
            });
        }
        self.entries.push(Entry {
            name,
            path,
            is_dir,
            text: None,
        });
        Ok(())
    }

    /// Adds all that is in `dir`, under names that begin with `prefix`.
    fn walk(&mut self, dir: &Path, prefix: &str, cancel: &AtomicBool) -> Result<(), ArchiveError> {
        let mut pending = vec![(dir.to_owned(), prefix.to_owned())];
        while let Some((dir, prefix)) = pending.pop() {
            check(cancel)?;
            for entry in fs::read_dir(&dir).map_err(|source| io_at(&dir, source))? {
                let entry = entry.map_err(|source| io_at(&dir, source))?;
                let kind = entry.file_type().map_err(|source| io_at(&dir, source))?;
                let path = entry.path();
                if path == self.out_zip {
                    continue;
                }
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                    self.skipped += 1;
                    continue;
                };
                if !kind.is_dir() && !kind.is_file() {
                    self.skipped += 1;
                    continue;
                }
                let name = if prefix.is_empty() {
                    name
                } else {
                    format!("{prefix}/{name}")
                };
                self.add_entry(path.clone(), name.clone(), kind.is_dir())?;
                if kind.is_dir() {
                    pending.push((path, name));
                }
            }
        }
        Ok(())
    }
}

fn write_archive(
    found: Found<'_>,
    out_zip: &Path,
    cancel: &AtomicBool,
) -> Result<Packed, ArchiveError> {
    let Found {
        mut entries,
        skipped,
        ..
    } = found;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let dir = out_zip
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut part = tempfile::Builder::new()
        .prefix(".packing-")
        .suffix(".part")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(dir)
        .map_err(|error| write_error(out_zip, dir, 0, error))?;

    let mut packed = Packed {
        files: 0,
        bytes: 0,
        skipped,
    };
    // Without times, and so always the same.
    let plain = SimpleFileOptions::default().last_modified_time(DateTime::default());
    let full = |error: ZipError| write_error(out_zip, dir, 0, error.into());
    let mut zip = ZipWriter::new(BufWriter::with_capacity(STEP, part.as_file_mut()));
    for entry in &entries {
        check(cancel)?;
        if entry.is_dir {
            zip.add_directory(&entry.name, plain).map_err(full)?;
            continue;
        }
        if let Some(text) = &entry.text {
            zip.start_file(&entry.name, plain.unix_permissions(0o644))
                .map_err(full)?;
            zip.write_all(text.as_bytes())
                .map_err(|error| write_error(out_zip, dir, 0, error))?;
            packed.bytes += text.len() as u64;
            packed.files += 1;
            continue;
        }
        let (mut file, meta) =
            open_regular(&entry.path).map_err(|source| io_at(&entry.path, source))?;
        let extension = entry
            .path
            .extension()
            .map(|e| e.to_string_lossy().to_ascii_lowercase());
        let stored = extension.is_some_and(|e| COMPRESSED.contains(&e.as_str()))
            || !shrinks(&file, meta.len()).map_err(|source| io_at(&entry.path, source))?;
        let method = if stored {
            CompressionMethod::Stored
        } else {
            CompressionMethod::Deflated
        };
        let mode = if meta.permissions().mode() & 0o111 == 0 {
            0o644
        } else {
            0o755
        };
        let options = plain
            .compression_method(method)
            .compression_level((!stored).then_some(LEVEL))
            .unix_permissions(mode)
            .large_file(meta.len() >= LARGE);
        zip.start_file(&entry.name, options).map_err(full)?;

        let mut left = meta.len();
        let mut step = vec![0; STEP];
        while left > 0 {
            check(cancel)?;
            let want = STEP.min(usize::try_from(left).unwrap_or(STEP));
            let read = file
                .read(&mut step[..want])
                .map_err(|source| io_at(&entry.path, source))?;
            if read == 0 {
                break;
            }
            zip.write_all(&step[..read])
                .map_err(|error| write_error(out_zip, dir, left, error))?;
            left -= read as u64;
            packed.bytes += read as u64;
        }
        packed.files += 1;
    }
    zip.finish()
        .map_err(full)?
        .flush()
        .map_err(|error| write_error(out_zip, dir, 0, error))?;
    part.persist(out_zip)
        .map_err(|error| io_at(out_zip, error.error))?;
    Ok(packed)
}

/// Whether deflate makes an eighth or more of a large file vanish, by samples of it. Small files are taken to shrink.
fn shrinks(file: &File, size: u64) -> io::Result<bool> {
    if size < WORTH_A_TRY {
        return Ok(true);
    }
    let mut sample = Vec::new();
    for at in [0, (size - SAMPLE) / 2, size - SAMPLE] {
        let mut part = vec![0; SAMPLE as usize];
        let read = file.read_at(&mut part, at)?;
        sample.extend_from_slice(&part[..read]);
    }
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(LEVEL));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("", options)?;
    zip.write_all(&sample)?;
    let deflated = zip.finish()?.into_inner().len();
    Ok(deflated < sample.len() / 8 * 7)
}

/// Opens a file that was regular a moment ago, following no link and waiting for no pipe if it is not any more.
fn open_regular(path: &Path) -> io::Result<(File, fs::Metadata)> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no longer a regular file"));
    }
    Ok((file, meta))
}

#[cfg(test)]
mod tests;
