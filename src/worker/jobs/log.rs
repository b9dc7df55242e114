//! A job's log: its output, appended to a file as it comes. Any number of readers follow it, each from the offset that it
//! wants, in bytes. The file only grows, and nobody who reads can hold up who writes.

mod reader;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::fcntl::{FallocateFlags, OFlag};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

pub use self::reader::{Log, LogReader};
use super::disk::human;
use super::lines::LogLine;

/// Output that is collected before it is written, in bytes.
const BATCH: usize = 256 * 1024;
/// How long output waits to be written at most.
const DELAY: Duration = Duration::from_millis(20);

/// Room on the disk that a log keeps ahead, so that what a job says when it has filled the disk is still there, in bytes.
const AHEAD: u64 = 1024 * 1024;

/// How far a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogState {
    /// Bytes that are in the file.
    pub written: u64,
    /// Nothing is going to be added.
    pub over: bool,
    /// There is no file, and there will be none.
    pub missing: bool,
}

/// Where a log is, and its file, which is made when it is first needed.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    file: OnceLock<Option<Arc<File>>>,
}

impl Place {
    /// The file. Blocks while it is made.
    pub fn file(&self) -> Option<Arc<File>> {
        self.file.get_or_init(|| self.make()).clone()
    }

    fn make(&self) -> Option<Arc<File>> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&self.path)
            .inspect_err(|error| tracing::warn!(path = %self.path.display(), %error, "a job's log cannot be kept"))
            .ok()?;
        reserve(&file, Some(AHEAD));
        Some(Arc::new(file))
    }
}

/// The one who appends to a log. Dropped, the log is over, and what was not flushed is lost.
#[derive(Debug)]
pub struct LogWriter {
    place: Arc<Place>,
    buffer: Vec<u8>,
    /// When the buffer has to be written.
    due: Option<Instant>,
    state: watch::Sender<LogState>,
    /// The most bytes that the file may have.
    limit: u64,
    full: bool,
    /// Bytes that could not be written since it last succeeded.
    lost: u64,
    /// Up to where the disk has room for the file.
    room: u64,
    /// What is being written, and how many bytes that are. It goes on when nobody waits for it any more.
    writing: Option<(JoinHandle<io::Result<u64>>, u64)>,
}

impl LogWriter {
    /// A new and empty log, which gets `limit` bytes at most (and a line that says so). A file that cannot be made, or that
    /// the disk does not take, costs the log and not the job: the log's own lines say how much is missing.
    pub fn create(path: PathBuf, limit: u64) -> (Self, Log) {
        let (state, seen) = watch::channel(LogState {
            written: 0,
            over: false,
            missing: false,
        });
        let log = Log {
            path: path.clone(),
            state: seen,
        };
        let file = OnceLock::new();
        let writer = LogWriter {
            place: Arc::new(Place { path, file }),
            buffer: Vec::new(),
            due: None,
            state,
            limit,
            full: false,
            lost: 0,
            room: AHEAD,
            writing: None,
        };
        (writer, log)
    }

    /// Where it is, for whoever may wait until there is a file.
    pub fn place(&self) -> Arc<Place> {
        self.place.clone()
    }

    /// Sees to it that there is a file, if there can be one; whoever reads the log learns it where there cannot.
    pub async fn make(&self) -> bool {
        let place = self.place.clone();
        let made = spawn_blocking(move || place.file().is_some());
        let made = made.await.unwrap_or(false);
        self.state
            .send_if_modified(|state| std::mem::replace(&mut state.missing, !made) == made);
        made
    }

    /// Appends a line: it ends in `\n`, or in `\r` where the next is to take its place.
    pub async fn line(&mut self, line: &LogLine) {
        let end = if line.overwrite { b'\r' } else { b'\n' };
        self.append(line.text.as_bytes(), end).await;
    }

    /// Appends a line of the worker's own.
    pub async fn say(&mut self, text: &str) {
        self.append(text.as_bytes(), b'\n').await;
    }

    async fn append(&mut self, text: &[u8], end: u8) {
        let after = self.state.borrow().written + self.buffer.len() as u64 + text.len() as u64 + 1;
        if self.full {
            return;
        }
        if after > self.limit {
            self.full = true;
            let notice = format!(
                "[loaner] the log is full at {}; what comes after this is neither kept nor shown\n",
                human(self.limit)
            );
            self.buffer.extend_from_slice(notice.as_bytes());
        } else {
            self.buffer.extend_from_slice(text);
            self.buffer.push(end);
        }
        self.due.get_or_insert_with(|| Instant::now() + DELAY);
        if self.buffer.len() >= BATCH {
            self.flush().await;
        }
    }

    /// Waits until something has to be written; for ever, if nothing has. Safe to cancel.
    pub async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Writes what was collected. Safe to cancel: the next flush waits for what is being written then.
    pub async fn flush(&mut self) {
        self.written_down().await;
        self.due = None;
        if self.buffer.is_empty() {
            return;
        }
        let made = self.make().await;
        let bytes = std::mem::take(&mut self.buffer);
        if !made {
            return;
        }
        let place = self.place.clone();
        let (start, missing) = (self.state.borrow().written, self.lost);
        let size = bytes.len() as u64;
        let more = start + size + AHEAD / 2 > self.room;
        if more {
            self.room = start + size + AHEAD;
        }
        let room = more.then_some(self.room);
        let writing = spawn_blocking(move || {
            let file = place.file().ok_or(io::ErrorKind::NotFound)?;
            reserve(&file, room);
            write(&file, start, missing, &bytes)
        });
        self.writing = Some((writing, size));
        self.written_down().await;
    }

    /// Waits for what is being written, and notes what came of it.
    async fn written_down(&mut self) {
        let Some((writing, size)) = &mut self.writing else {
            return;
        };
        let (written, size) = (writing.await, *size);
        self.writing = None;
        match written.unwrap_or_else(|_| Err(io::Error::other("the writer died"))) {
            Ok(added) => {
                self.lost = 0;
                self.state.send_modify(|state| state.written += added);
            }
            Err(error) => {
                if self.lost == 0 {
                    tracing::warn!(path = %self.place.path.display(), %error, "a job's log could not be written");
                }
                self.lost += size;
            }
        }
    }

    /// How far the file is.
    pub fn written(&self) -> u64 {
        self.state.borrow().written
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let (Some(Some(file)), None) = (self.place.file.get(), &self.writing) {
            // Gives back the room that was kept ahead; if not, it is there for the next to use when the log goes.
            let _ = file.set_len(self.written());
        }
        self.state.send_modify(|state| state.over = true);
    }
}

/// Keeps room on the disk up to here, where the file system can.
fn reserve(file: &File, room: Option<u64>) {
    let Some(room) = room.and_then(|room| i64::try_from(room).ok()) else {
        return;
    };
    // Without it, a full disk costs the last words; nothing else depends on it.
    let _ = nix::fcntl::fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, room);
}

/// Writes at `start`, behind a line about what could not be written before; all of it, or nothing.
fn write(file: &File, start: u64, missing: u64, bytes: &[u8]) -> io::Result<u64> {
    let notice = match missing {
        0 => String::new(),
        missing => format!(
            "[loaner] {} of output are missing here: the worker's disk did not take them\n",
            human(missing)
        ),
    };
    let written = file
        .write_all_at(notice.as_bytes(), start)
        .and_then(|()| file.write_all_at(bytes, start + notice.len() as u64));
    if let Err(error) = written {
        // What got there of it is no whole line. The file has to shrink for that, which takes no room.
        file.set_len(start)?;
        return Err(error);
    }
    Ok((notice.len() + bytes.len()) as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(text: &str, overwrite: bool) -> LogLine {
        LogLine {
            text: text.to_owned(),
            overwrite,
        }
    }

    async fn all(log: &Log, from: u64) -> String {
        let mut reader = log.read(from).await.unwrap();
        let mut bytes = Vec::new();
        loop {
            let more = reader.next(7, false).await.unwrap();
            if more.is_empty() {
                return String::from_utf8(bytes).unwrap();
            }
            bytes.extend(more);
        }
    }

    /// Lines are there as they came, from any offset on, and a reader that follows gets what is added until the end.
    #[tokio::test]
    async fn a_log_is_followed_from_an_offset() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, log) = LogWriter::create(dir.path().join("log"), 1000);
        writer.line(&line("one", false)).await;
        writer.line(&line("10%", true)).await;
        assert_eq!(all(&log, 0).await, "");
        writer.due().await;
        writer.flush().await;
        assert_eq!(all(&log, 0).await, "one\n10%\r");
        assert_eq!(all(&log, 4).await, "10%\r");
        assert_eq!(all(&log, 99).await, "");
        let mut reader = log.read(8).await.unwrap();
        let (next, ()) = tokio::join!(reader.next(100, true), async {
            writer.say("two").await;
            writer.flush().await;
        });
        assert_eq!(next.unwrap(), b"two\n");
        drop(writer);
        assert_eq!(reader.next(100, true).await.unwrap(), b"");
        assert!(log.state().over);
        assert_eq!(dir.path().join("log").metadata().unwrap().len(), 12);
    }

    /// A log that is full says so once, and grows no more.
    #[tokio::test]
    async fn a_full_log_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, log) = LogWriter::create(dir.path().join("log"), 10);
        for text in ["12345", "1234567", "1", "2"] {
            writer.line(&line(text, false)).await;
        }
        writer.flush().await;
        assert_eq!(
            all(&log, 0).await,
            "12345\n[loaner] the log is full at 10 B; what comes after this is neither kept nor shown\n"
        );
    }

    /// What the disk did not take is told where it is missing, once it takes something again.
    #[test]
    fn what_is_missing_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("log")).unwrap();
        assert_eq!(write(&file, 0, 0, b"one\n").unwrap(), 4);
        let added = write(&file, 4, 2048, b"two\n").unwrap();
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(added as usize + 4, text.len());
        assert_eq!(
            text,
            "one\n[loaner] 2.0 KiB of output are missing here: the worker's disk did not take them\ntwo\n"
        );
    }
}
