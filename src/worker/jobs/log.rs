//! A job's log: its output, appended to a file as it comes. Any number of readers follow it, each from the offset that it
//! wants, in bytes. The file only grows, and nobody who reads can hold up who writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FallocateFlags, OFlag};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

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
}

/// A log that can be read.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    state: watch::Receiver<LogState>,
}

/// The one who appends to a log. Dropped, the log is over, and what was not flushed is lost.
#[derive(Debug)]
pub struct LogWriter {
    file: Option<Arc<File>>,
    path: PathBuf,
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
    /// the disk does not take, costs the log and not the job: the log's own lines say how much is missing. Blocks.
    pub fn create(path: PathBuf, limit: u64) -> (Self, Log) {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path);
        let file = file
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "a job's log cannot be kept"))
            .ok()
            .map(Arc::new);
        if let Some(file) = &file {
            reserve(file, Some(AHEAD));
        }
        let (state, seen) = watch::channel(LogState {
            written: 0,
            over: false,
        });
        let log = Log {
            path: path.clone(),
            state: seen,
        };
        let writer = LogWriter {
            file,
            path,
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
        let bytes = std::mem::take(&mut self.buffer);
        if bytes.is_empty() {
            return;
        }
        let Some(file) = self.file.clone() else {
            return;
        };
        let (start, missing) = (self.state.borrow().written, self.lost);
        let size = bytes.len() as u64;
        let more = start + size + AHEAD / 2 > self.room;
        if more {
            self.room = start + size + AHEAD;
        }
        let room = more.then_some(self.room);
        let writing = spawn_blocking(move || {
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
                    tracing::warn!(path = %self.path.display(), %error, "a job's log could not be written");
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
        if let (Some(file), None) = (&self.file, &self.writing) {
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

impl Log {
    /// A log of the past; an empty one, if the file is not there. Blocks.
    pub fn past(path: PathBuf) -> Self {
        let written = path.symlink_metadata().map_or(0, |meta| meta.len());
        // Without a sender, nothing new is ever learned; and there is nothing.
        let (_, state) = watch::channel(LogState {
            written,
            over: true,
        });
        Log { path, state }
    }

    /// How far it is.
    pub fn state(&self) -> LogState {
        let gone = self.state.has_changed().is_err();
        let state = *self.state.borrow();
        LogState {
            over: state.over || gone,
            ..state
        }
    }

    /// Reads it from the byte at `from` on; from its end, if it is not that long.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn read(&self, from: u64) -> io::Result<LogReader> {
        let path = self.path.clone();
        let file = spawn_blocking(move || File::open(path)).await??;
        Ok(LogReader {
            file: Arc::new(file),
            at: from.min(self.state().written),
            log: self.clone(),
        })
    }
}

/// Reads a log, and follows it.
#[derive(Debug)]
pub struct LogReader {
    file: Arc<File>,
    at: u64,
    log: Log,
}

impl LogReader {
    /// The offset of the next byte.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How many bytes are there to be read.
    pub fn behind(&self) -> u64 {
        self.log.state().written.saturating_sub(self.at)
    }

    /// Passes over what comes before `at`.
    pub fn skip_to(&mut self, at: u64) {
        self.at = self.at.max(at);
    }

    /// Reads the last so many bytes again.
    pub fn go_back(&mut self, bytes: u64) {
        self.at = self.at.saturating_sub(bytes);
    }

    /// Up to `most` bytes from where the last ended; waits for them where `follow` says so. Nothing at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn next(&mut self, most: usize, follow: bool) -> io::Result<Vec<u8>> {
        let at = self.at;
        if follow {
            // A writer that is gone has said that the log is over, or the log is one of the past.
            let _ = self
                .log
                .state
                .wait_for(|state| state.written > at || state.over)
                .await;
        }
        let there = usize::try_from(self.behind()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; there.min(most)];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        let file = self.file.clone();
        let bytes = spawn_blocking(move || {
            file.read_exact_at(&mut bytes, at)?;
            Ok::<_, io::Error>(bytes)
        })
        .await??;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
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
