//! A log in a file that is turned by size: `FILE`, then `FILE.1` and so on, the oldest last.
//!
//! Lines are written by a thread of their own, so that a disk that hangs holds up nothing else: what it cannot take in time
//! is lost, and counted. A disk that fails is told once on standard error, and tried again with every line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use serde_json::json;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// Lines that wait to be written, at most.
const WAITING: usize = 8192;
/// How long the last lines may take at the end.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often is looked whether a full queue has room again.
const AGAIN: Duration = Duration::from_millis(5);

/// Where a log goes, and how much of it is kept.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file that is written.
    pub path: PathBuf,
    /// Bytes after which it is turned. A line that is longer has a file of its own.
    pub max: u64,
    /// Files that are kept beside it.
    pub keep: u32,
    /// Whether its lines are JSON.
    pub json: bool,
}

enum Message {
    Line(Vec<u8>),
    /// Everything before is written when this is answered.
    Flush(SyncSender<()>),
}

/// Takes the lines of a log. What it took is written by the end of [`flush`](Self::flush), or was tried to for two seconds.
pub struct LogFile {
    lines: SyncSender<Message>,
    /// Lines that nobody had time for.
    missed: Arc<AtomicU64>,
}

impl LogFile {
    /// Opens the file, and starts to write what comes.
    ///
    /// # Errors
    /// When it cannot be opened for writing, or another process writes it.
    pub fn open(place: Place) -> io::Result<Self> {
        let missed = Arc::new(AtomicU64::new(0));
        let mut turning = Turning::open(place, missed.clone())?;
        let (lines, waiting) = sync_channel(WAITING);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || turning.serve(&waiting))?;
        Ok(LogFile { lines, missed })
    }

    /// Waits until what was taken is written, for two seconds at most.
    pub fn flush(&self) {
        let deadline = Instant::now() + FAREWELL;
        let left = || deadline.saturating_duration_since(Instant::now());
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        // A queue that is full may move again.
        while let Err(TrySendError::Full(again)) = self.lines.try_send(message) {
            if left().is_zero() {
                return;
            }
            std::thread::sleep(AGAIN);
            message = again;
        }
        let _ = written.recv_timeout(left());
    }
}

impl io::Write for &LogFile {
    /// Takes one line, with its end.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Line(line.to_vec())) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file that is written, and those beside it.
struct Turning {
    place: Place,
    /// None when the old one is away and no new one could be begun.
    file: Option<File>,
    size: u64,
    missed: Arc<AtomicU64>,
    /// Lines that are lost, and not noted yet.
    lost: u64,
    /// The last line could not be written, which was told.
    failing: bool,
}

impl Turning {
    fn open(place: Place, missed: Arc<AtomicU64>) -> io::Result<Self> {
        let (file, size) = open(&place.path)?;
        Ok(Turning {
            place,
            file: Some(file),
            size,
            missed,
            lost: 0,
            failing: false,
        })
    }

    fn serve(&mut self, waiting: &Receiver<Message>) {
        while let Ok(message) = waiting.recv() {
            match message {
                Message::Line(line) => self.take(&line),
                // Whoever waited may have lost patience.
                Message::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    fn take(&mut self, line: &[u8]) {
        match self.note().and_then(|()| self.write(line)) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.lost += 1;
                if !std::mem::replace(&mut self.failing, true) {
                    eprintln!(
                        "loaner: the log {} cannot be written: {error}; going on without, and trying again",
                        self.place.path.display()
                    );
                }
            }
        }
    }

    /// Notes how many lines are lost, each once.
    fn note(&mut self) -> io::Result<()> {
        self.lost += self.missed.swap(0, Ordering::Relaxed);
        if self.lost > 0 {
            self.write(note(self.lost, self.place.json).as_bytes())?;
            self.lost = 0;
        }
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = line.len() as u64;
        if self.file.is_none() || (self.size > 0 && self.size + bytes > self.place.max) {
            self.turn()?;
        }
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.write_all(line) {
            // Half a line would be in the way of the next.
            let _ = file.set_len(self.size);
            return Err(error);
        }
        self.size += bytes;
        Ok(())
    }

    /// The oldest goes, the others move on by one, and a fresh file is begun.
    fn turn(&mut self) -> io::Result<()> {
        let Place { path, keep, .. } = &self.place;
        if self.file.is_some() {
            // More than now were kept before.
            let mut surplus = keep + 1;
            while remove(&beside(path, surplus))? {
                surplus += 1;
            }
            for number in (1..*keep).rev() {
                rename(&beside(path, number), &beside(path, number + 1))?;
            }
            match keep {
                0 => drop(remove(path)?),
                _ => rename(path, &beside(path, 1))?,
            }
            self.file = None;
        }
        let (file, size) = open(path)?;
        (self.file, self.size) = (Some(file), size);
        Ok(())
    }
}

/// A line about lines that are lost, in the form of the others.
fn note(lost: u64, json: bool) -> String {
    let message = format!("{lost} lines of this log are lost");
    if !json {
        return format!("{message}\n");
    }
    let mut timestamp = String::new();
    // A clock that cannot be told is no reason to lose the rest.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let fields = json!({ "message": message, "lost": lost });
    let line = json!({ "timestamp": timestamp, "level": "WARN", "fields": fields, "target": module_path!() });
    format!("{line}\n")
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        // Nobody is waited for who should read a pipe.
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)?;
    file.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process writes its log there; give each a file of its own",
        ),
        fs::TryLockError::Error(error) => error,
    })?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn beside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Whether there was something to remove.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

#[cfg(test)]
#[path = "log_file/tests.rs"]
mod tests;
