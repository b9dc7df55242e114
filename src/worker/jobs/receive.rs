//! Files between a channel and the disk, streamed in both directions, on either side of a connection.
//!
//! [`FileSink`] receives a file of a declared size, [`FileSource`] reads one to be sent. Both keep the disk off the
//! async runtime: one blocking task reads or writes blocks of about 1 MiB, and a short queue between it and the caller
//! gives back-pressure, so memory stays at a few MiB whatever the size of the file. A block is a list of chunks as they
//! come from, or go to, the channel: nothing is copied on the way.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempPath;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::disk::{free_space, human, is_full};
use super::names::{NameError, safe_file_name, shown};
pub use super::send::{CHUNK, FileSource};

/// Size of a block, in bytes.
pub(crate) const BLOCK: usize = 1024 * 1024;
/// Most chunks in a block: small ones cost more memory than their bytes.
pub(crate) const PIECES: usize = 256;
/// Chunks smaller than this are written several at a time, in bytes.
const SMALL: usize = 32 * 1024;
/// Blocks that wait between channel and disk.
pub(crate) const QUEUE: usize = 2;

/// Why a file did not make it.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The announced name cannot be used.
    #[error("the file name \"{}\" is refused: {why}", shown(name))]
    BadName {
        /// The name, as announced.
        name: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// More is announced than is accepted.
    #[error("the file has {}, more than the {} that are accepted", human(*size), human(*limit))]
    TooLarge {
        /// Announced size in bytes.
        size: u64,
        /// Accepted size in bytes.
        limit: u64,
    },
    /// The disk has no room for it.
    #[error("the disk is full: the file needs {}, {} are free in {}", human(*needed), human(*free), dir.display())]
    DiskFull {
        /// Where it was to go.
        dir: PathBuf,
        /// Bytes still to be written.
        needed: u64,
        /// Bytes free there.
        free: u64,
    },
    /// A file of that name is there already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// More bytes arrived than were announced.
    #[error("more than the announced {declared} bytes arrived")]
    TooMuch {
        /// Announced size in bytes.
        declared: u64,
    },
    /// Fewer bytes arrived than were announced, or a file shrank while it was read.
    #[error("the file was cut short: {got} of {want} bytes")]
    CutShort {
        /// Bytes that arrived.
        got: u64,
        /// Bytes announced.
        want: u64,
    },
    /// Only regular files can be sent.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What it was.
        path: PathBuf,
    },
    /// The bytes are not those that were sent: what came after this offset is damaged.
    #[error(
        "the file was damaged on its way, or on disk, behind byte {after}; give it again, and it goes on from there"
    )]
    Damaged {
        /// Up to where it was right, in bytes.
        after: u64,
    },
    /// The other side does not keep to the order of things.
    #[error("the other side broke the protocol: {0}")]
    OutOfTurn(&'static str),
    /// It was given up already, after an earlier error.
    #[error("the transfer was given up after an earlier error")]
    GivenUp,
    /// The file system failed in another way.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// What a [`FileSink`] accepts.
#[derive(Debug, Clone, Copy)]
pub struct SinkOptions {
    /// Largest announced size, in bytes.
    pub limit: u64,
    /// Whether a file of the same name is replaced. It is replaced at the end, in one step.
    pub overwrite: bool,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            limit: u64::MAX,
            overwrite: false,
        }
    }
}

/// A file on its way in. Until [`finish`](Self::finish) it has a temporary name; dropped before that, it is removed.
#[derive(Debug)]
pub struct FileSink {
    dest: PathBuf,
    declared: u64,
    received: u64,
    overwrite: bool,
    block: Vec<Bytes>,
    /// Bytes in `block`.
    collected: usize,
    queue: mpsc::Sender<Vec<Bytes>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    part: TempPath,
}

impl FileSink {
    /// Begins to receive `size` bytes that will become `dir/name`, of any size and replacing nothing.
    /// Must be called within a tokio runtime.
    pub fn create(dir: &Path, name: &str, size: u64) -> Result<Self, TransferError> {
        Self::create_with(dir, name, size, SinkOptions::default())
    }

    /// Begins to receive `size` bytes that will become `dir/name`. Refuses at once what cannot succeed: a name that is
    /// not a plain file name, a size over the limit or over the free space, an existing file.
    pub fn create_with(
        dir: &Path,
        name: &str,
        size: u64,
        options: SinkOptions,
    ) -> Result<Self, TransferError> {
        safe_file_name(name).map_err(|why| TransferError::BadName {
            name: name.to_owned(),
            why,
        })?;
        if size > options.limit {
            return Err(TransferError::TooLarge {
                size,
                limit: options.limit,
            });
        }
        let io = |source| TransferError::Io {
            path: dir.to_owned(),
            source,
        };
        let dest = dir.join(name);
        if !options.overwrite && dest.symlink_metadata().is_ok() {
            return Err(TransferError::Exists { path: dest });
        }
        let free = free_space(dir).map_err(io)?;
        if size > free {
            return Err(TransferError::DiskFull {
                dir: dir.to_owned(),
                needed: size,
                free,
            });
        }
        let short: String = name.chars().take(40).collect();
        let (file, part) = tempfile::Builder::new()
            .prefix(&format!(".{short}."))
            .suffix(".part")
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(dir)
            .map_err(io)?
            .into_parts();
        let (queue, blocks) = mpsc::channel(QUEUE);
        Ok(Self {
            dest,
            declared: size,
            received: 0,
            overwrite: options.overwrite,
            block: Vec::new(),
            collected: 0,
            queue,
            writer: Some(spawn_blocking(move || write_blocks(file, blocks))),
            part,
        })
    }

    /// Takes the next bytes; waits while the disk is behind. Nothing of `chunk` is taken when the call is cancelled.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), TransferError> {
        if chunk.len() as u64 > self.declared - self.received {
            return Err(TransferError::TooMuch {
                declared: self.declared,
            });
        }
        let fits = self.collected + chunk.len() <= BLOCK && self.block.len() < PIECES;
        if !fits && !self.block.is_empty() {
            self.hand_over().await?;
        }
        self.collected += chunk.len();
        self.received += chunk.len() as u64;
        self.block.push(chunk);
        Ok(())
    }

    /// Bytes taken so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes announced.
    pub fn declared(&self) -> u64 {
        self.declared
    }

    /// Ends the file: checks its size, waits for the disk, and gives it its name. Returns its path.
    pub async fn finish(mut self) -> Result<PathBuf, TransferError> {
        if self.received != self.declared {
            return Err(TransferError::CutShort {
                got: self.received,
                want: self.declared,
            });
        }
        if !self.block.is_empty() {
            self.hand_over().await?;
        }
        let Self {
            dest,
            declared,
            overwrite,
            queue,
            writer,
            part,
            ..
        } = self;
        drop(queue);
        let written = match writer {
            Some(writer) => writer
                .await
                .unwrap_or_else(|lost| Err(io::Error::other(lost))),
            None => return Err(TransferError::GivenUp),
        };
        written.map_err(|error| write_error(&dest, declared, error))?;
        let named = if overwrite {
            part.persist(&dest)
        } else {
            part.persist_noclobber(&dest)
        };
        match named {
            Ok(()) => Ok(dest),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(TransferError::Exists { path: dest })
            }
            Err(error) => Err(TransferError::Io {
                path: dest,
                source: error.error,
            }),
        }
    }

    /// Gives the collected block to the writer. Cancelled while it waits, it has done nothing.
    async fn hand_over(&mut self) -> Result<(), TransferError> {
        if let Ok(place) = self.queue.reserve().await {
            place.send(std::mem::take(&mut self.block));
            self.collected = 0;
            return Ok(());
        }
        // The writer has ended before us, so it failed: its result says why.
        let Some(writer) = self.writer.as_mut() else {
            return Err(TransferError::GivenUp);
        };
        let result = writer.await;
        self.writer = None;
        match result.unwrap_or_else(|lost| Err(io::Error::other(lost))) {
            Ok(()) => Err(TransferError::GivenUp),
            Err(error) => Err(write_error(&self.dest, self.declared, error)),
        }
    }
}

fn write_blocks(file: File, mut blocks: mpsc::Receiver<Vec<Bytes>>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(SMALL, file);
    while let Some(block) = blocks.blocking_recv() {
        for chunk in block {
            file.write_all(&chunk)?;
        }
    }
    file.flush()
}

pub(crate) fn write_error(dest: &Path, declared: u64, source: io::Error) -> TransferError {
    if !is_full(&source) {
        return TransferError::Io {
            path: dest.to_owned(),
            source,
        };
    }
    let dir = dest.parent().unwrap_or(dest).to_owned();
    let free = free_space(&dir).unwrap_or(0);
    TransferError::DiskFull {
        dir,
        needed: declared,
        free,
    }
}

#[cfg(test)]
mod tests;
