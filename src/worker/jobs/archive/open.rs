//! Opening an archive without reserving memory for what it merely claims.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipError;

use super::super::names::shown_path;
use super::{ArchiveError, io_at};

/// Opens an archive. Its directory is held in memory, so the number of entries and the bytes read for them are bounded
/// before anything is believed.
pub(super) fn open(path: &Path, max_entries: u64) -> Result<ZipArchive<Metered>, ArchiveError> {
    let not_a_package = |why: String| ArchiveError::NotAPackage {
        name: shown_path(path),
        why,
    };
    let mut file = File::open(path).map_err(|source| io_at(path, source))?;
    if file
        .metadata()
        .map_err(|source| io_at(path, source))?
        .is_dir()
    {
        return Err(not_a_package("it is a directory".to_owned()));
    }
    if declared_entries(&mut file).map_err(|source| io_at(path, source))? > max_entries {
        return Err(ArchiveError::TooMany { limit: max_entries });
    }
    let allowance = Rc::new(Cell::new(
        max_entries.saturating_mul(512).saturating_add(1 << 20),
    ));
    let reader = Metered {
        file: BufReader::new(file),
        allowance: allowance.clone(),
    };
    // An offset of 0: nothing stands before the archive, and no search through the whole file is made for it.
    let config = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    let archive = ZipArchive::with_config(config, reader).map_err(|error| match error {
        ZipError::InvalidArchive(why) => {
            not_a_package(format!("{why} (no zip file, or cut short)"))
        }
        other => not_a_package(other.to_string()),
    })?;
    allowance.set(u64::MAX);
    if archive.has_duplicate_names() {
        return Err(ArchiveError::Duplicate {
            entry: "a path".to_owned(),
        });
    }
    if archive.len() as u64 > max_entries {
        return Err(ArchiveError::TooMany { limit: max_entries });
    }
    Ok(archive)
}

/// The largest number of entries that any zip64 end record of the file claims, so that memory is not reserved for a
/// lie. (Without zip64 it is a 16-bit number.)
fn declared_entries(file: &mut File) -> io::Result<u64> {
    /// An end record with the longest comment, and the zip64 locator before it.
    const TAIL: u64 = 22 + 65_535 + 20;
    let len = file.seek(SeekFrom::End(0))?;
    let start = len.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    Read::by_ref(file).take(TAIL).read_to_end(&mut tail)?;
    let mut most = 0;
    for locator in tail
        .windows(20)
        .filter(|window| window.starts_with(b"PK\x06\x07"))
    {
        let Ok(offset) = locator[8..16].try_into().map(u64::from_le_bytes) else {
            continue;
        };
        let mut count = [0; 8];
        if offset.checked_add(40).is_some_and(|end| end <= len) {
            file.seek(SeekFrom::Start(offset + 32))?;
            file.read_exact(&mut count)?;
            most = most.max(u64::from_le_bytes(count));
        }
    }
    file.rewind()?;
    Ok(most)
}

/// A file that may be read only so far.
pub(super) struct Metered {
    file: BufReader<File>,
    allowance: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        match self.allowance.get().checked_sub(read as u64) {
            Some(left) => self.allowance.set(left),
            None => return Err(io::Error::other("its directory is too large")),
        }
        Ok(read)
    }
}

impl Seek for Metered {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
