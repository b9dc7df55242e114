//! Opening the file: it is ours, whole, and nobody else's, or it stays as it was.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema::{self, APPLICATION, SCHEMA};

/// Files up to this size are checked as a whole at the start, which takes less than a second. Of larger ones, damage in a
/// letter is found when it is read.
const CHECKED_BYTES: u64 = 256 << 20;

/// Pages of 4 KiB in the log before they are moved to the file. Letters for many mailboxes change many pages, again and
/// again: a long log moves each of them once.
const CHECKPOINT_PAGES: i64 = 16_384;

/// How a file is opened.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Statements that are kept prepared: all that there are.
const STATEMENTS: usize = 64;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this file, with the log beside it (`-wal`). Directories above it are made.
    File(PathBuf),
    /// In memory: gone with the process.
    Memory,
}

/// Why a store could not be opened. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its directory could not be made or reached.
    #[error("the store {} cannot be made or opened: {source}; choose another place, or give the hub the right to write there", .path.display())]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or this one, has it open.
    #[error("another hub uses the store {}; stop that hub, or give this one a store of its own", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is another program's file, or damaged beyond recognition.
    #[error("{} is not a hub's store, or damaged; choose another file, or move it away to start with an empty one", .path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// It is a store, and damaged.
    #[error("the store {} is damaged ({what}); put a copy in its place, or move it away to start with an empty one", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A newer version wrote it.
    #[error("the store {} was written by a newer version (its format is {found}, this program reads up to {known}); update this program, or use another store", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this program reads.
        known: i64,
    },
    /// The database failed otherwise.
    #[error("the store {} cannot be opened: {source}", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The writer's thread could not be started.
    #[error("the store's thread cannot be started: {0}")]
    Thread(io::Error),
}

/// What an examination found where a store is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum Examined {
    /// Nothing; a store can be made there.
    Absent,
    /// A store that nobody uses.
    Idle,
    /// A store that a hub uses now.
    InUse,
}

/// Looks whether [`open`] would succeed, and makes and changes nothing.
pub(super) fn examine(place: &Place) -> Result<Examined, OpenError> {
    let Place::File(path) = place else {
        return Ok(Examined::Absent);
    };
    match fs::symlink_metadata(path) {
        Ok(_) => match look(path) {
            Ok(_) => Ok(Examined::Idle),
            Err(OpenError::InUse { .. }) => Ok(Examined::InUse),
            Err(error) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            could_make(path).map_err(|source| unreachable(path, source))?;
            Ok(Examined::Absent)
        }
        Err(source) => Err(unreachable(path, source)),
    }
}

/// Whether the file could be made, and the directories above it that are not there.
fn could_make(path: &Path) -> io::Result<()> {
    let above = path.ancestors().skip(1).map(|above| match above {
        above if above == Path::new("") => Path::new("."),
        above => above,
    });
    for above in above {
        match fs::metadata(above) {
            Ok(found) if found.is_dir() => {
                return Ok(access(above, AccessFlags::W_OK | AccessFlags::X_OK)?);
            }
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Opens or makes the database, with its tables as of [`SCHEMA`].
pub(super) fn open(place: &Place) -> Result<Connection, OpenError> {
    match place {
        Place::Memory => {
            let path = Path::new(":memory:");
            let failed = |error| failure(path, error);
            let flags = FLAGS | OpenFlags::SQLITE_OPEN_MEMORY | OpenFlags::SQLITE_OPEN_CREATE;
            let mut file = Connection::open_with_flags(path, flags).map_err(failed)?;
            settle(&file).map_err(failed)?;
            schema::migrate(&mut file, 0).map_err(failed)?;
            Ok(file)
        }
        Place::File(path) => {
            make(path).map_err(|source| unreachable(path, source))?;
            let failed = |error| failure(path, error);
            let (mut file, version) = look(path)?;
            // It holds a secret and mail.
            fs::set_permissions(path, Permissions::from_mode(0o600))
                .map_err(|source| unreachable(path, source))?;
            file.pragma_update(None, "journal_mode", "wal")
                .and_then(|()| settle(&file))
                .and_then(|()| schema::migrate(&mut file, version))
                .and_then(|()| {
                    file.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
                })
                .map_err(failed)?;
            Ok(file)
        }
    }
}

/// Opens the file that is there, and takes it for this process alone. Its version too. Closed again, the file is as it was.
fn look(path: &Path) -> Result<(Connection, i64), OpenError> {
    let failed = |error| failure(path, error);
    let file = Connection::open_with_flags(path, FLAGS).map_err(failed)?;
    // What cannot be used is closed again without a change: its log is neither moved into it nor removed. An empty log
    // that the look at it made is removed.
    file.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_log(path))
        .map_err(failed)?;
    let version = version(&file, path)?;
    Ok((file, version))
}

/// What an error of the database means for the file.
pub(super) fn failure(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse { path },
        Some(ErrorCode::NotADatabase) => OpenError::NotAStore { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged {
            path,
            what: error.to_string(),
        },
        _ => OpenError::Failed {
            path,
            source: error,
        },
    }
}

fn unreachable(path: &Path, source: io::Error) -> OpenError {
    OpenError::Unreachable {
        path: path.to_owned(),
        source,
    }
}

/// Makes the file, for its owner alone, and the directories above it. One that is there is not opened: that would take the
/// locks of another store in this process from it.
fn make(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)?;
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        // Its name is on disk before anything in it is promised to be.
        Ok(_) => File::open(parent)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a log with something in it lies beside the file, as after a crash.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Takes the file for this process alone, and looks whether it is a store that can be used. Its version.
fn version(file: &Connection, path: &Path) -> Result<i64, OpenError> {
    let failed = |error| failure(path, error);
    let number = |pragma: &str| {
        file.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            .map_err(failed)
    };
    file.busy_timeout(std::time::Duration::ZERO)
        .map_err(failed)?;
    // Before the first look at the file, so that the lock is taken with it and kept.
    file.pragma_update(None, "locking_mode", "exclusive")
        .map_err(failed)?;
    let (version, application) = (number("user_version")?, number("application_id")?);
    let tables: i64 = file
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if version == 0 && application == 0 && tables == 0 {
        return Ok(0);
    }
    if application != APPLICATION || version < 1 {
        return Err(OpenError::NotAStore {
            path: path.to_owned(),
        });
    }
    if version > SCHEMA {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found: version,
            known: SCHEMA,
        });
    }
    let bytes = number("page_count")?.saturating_mul(number("page_size")?);
    if u64::try_from(bytes).unwrap_or(0) <= CHECKED_BYTES {
        let what: String = file
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(failed)?;
        if what != "ok" {
            return Err(OpenError::Damaged {
                path: path.to_owned(),
                what,
            });
        }
    }
    Ok(version)
}

/// What holds while it is open.
fn settle(file: &Connection) -> rusqlite::Result<()> {
    file.set_prepared_statement_cache_capacity(STATEMENTS);
    // Each commit is on disk when it returns.
    file.pragma_update(None, "synchronous", "full")?;
    file.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    file.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * 4096)?;
    file.pragma_update(None, "cache_size", -32 * 1024)?;
    file.pragma_update(None, "temp_store", "memory")?;
    file.pragma_update(None, "cell_size_check", true)?;
    file.pragma_update(None, "trusted_schema", false)?;
    file.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)
        .map(|_| ())
}
