//! Reading a log, from any offset on, while it grows.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::LogState;

/// A log that can be read.
#[derive(Debug, Clone)]
pub struct Log {
    pub(super) path: PathBuf,
    pub(super) state: watch::Receiver<LogState>,
}

impl Log {
    /// A log of the past, if the file is there. Blocks.
    pub fn past(path: PathBuf) -> Self {
        let found = path.symlink_metadata();
        // Without a sender, nothing new is ever learned; and there is nothing.
        let (_, state) = watch::channel(LogState {
            missing: found.is_err(),
            written: found.map_or(0, |meta| meta.len()),
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
    /// When the file cannot be opened, or there will be none.
    pub async fn read(&self, from: u64) -> io::Result<LogReader> {
        let state = self.state();
        if state.missing {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut reader = LogReader {
            file: None,
            at: from.min(state.written),
            log: self.clone(),
        };
        // A log in which nothing stands yet may have no file yet.
        if state.written > 0 {
            reader.file().await?;
        }
        Ok(reader)
    }
}

/// Reads a log, and follows it.
#[derive(Debug)]
pub struct LogReader {
    file: Option<Arc<File>>,
    at: u64,
    log: Log,
}

impl LogReader {
    async fn file(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let path = self.log.path.clone();
        let file = Arc::new(spawn_blocking(move || File::open(path)).await??);
        Ok(self.file.insert(file).clone())
    }

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
        let file = self.file().await?;
        let bytes = spawn_blocking(move || {
            file.read_exact_at(&mut bytes, at)?;
            Ok::<_, io::Error>(bytes)
        })
        .await??;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
}
