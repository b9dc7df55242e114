//! A file on its way to a channel, read ahead of it. See [`receive`](super::receive) for the other direction.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::names::shown_path;
use super::receive::{BLOCK, QUEUE, TransferError};

/// Largest chunk that [`FileSource::next`] returns, in bytes.
pub const CHUNK: usize = 64 * 1024;

/// A file on its way out.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    size: u64,
    left: u64,
    block: VecDeque<Bytes>,
    blocks: mpsc::Receiver<io::Result<VecDeque<Bytes>>>,
}

impl FileSource {
    /// Opens a regular file and begins to read ahead. Must be called within a tokio runtime.
    pub fn open(path: &Path) -> Result<Self, TransferError> {
        let io = |source| TransferError::Io {
            path: path.to_owned(),
            source,
        };
        // Asked before it is opened: opening a pipe would wait for its other end.
        if !fs::metadata(path).map_err(io)?.is_file() {
            return Err(TransferError::NotAFile {
                path: path.to_owned(),
            });
        }
        Self::of(File::open(path).map_err(io)?, path)
    }

    /// Begins to read ahead from a regular file that is open; `path` is for messages. Must be called within a tokio
    /// runtime.
    pub fn of(file: File, path: &Path) -> Result<Self, TransferError> {
        let size = file.metadata().map_err(|source| TransferError::Io {
            path: path.to_owned(),
            source,
        })?;
        let size = size.len();
        let (queue, blocks) = mpsc::channel(QUEUE);
        spawn_blocking(move || read_blocks(file.take(size), &queue));
        Ok(Self {
            path: path.to_owned(),
            size,
            left: size,
            block: VecDeque::new(),
            blocks,
        })
    }

    /// Size of the file when it was opened, in bytes: what the chunks add up to.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file's own name, for its header.
    pub fn name(&self) -> String {
        shown_path(&self.path)
    }

    /// The next chunk of at most [`CHUNK`] bytes, `None` at the end. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        loop {
            if let Some(chunk) = self.block.pop_front() {
                self.left -= chunk.len() as u64;
                return Ok(Some(chunk));
            }
            match self.blocks.recv().await {
                Some(Ok(block)) => self.block = block,
                Some(Err(source)) => {
                    return Err(TransferError::Io {
                        path: self.path.clone(),
                        source,
                    });
                }
                None if self.left > 0 => {
                    return Err(TransferError::CutShort {
                        got: self.size - self.left,
                        want: self.size,
                    });
                }
                None => return Ok(None),
            }
        }
    }
}

/// Reads until the end, an error, or until nobody listens any more.
fn read_blocks(mut file: io::Take<File>, queue: &mpsc::Sender<io::Result<VecDeque<Bytes>>>) {
    loop {
        let message = match read_block(&mut file) {
            Ok(block) if block.is_empty() => return,
            message => message,
        };
        let failed = message.is_err();
        if queue.blocking_send(message).is_err() || failed {
            return;
        }
    }
}

/// Every chunk is memory of its own, so that the channel can take it as it is.
fn read_block(file: &mut io::Take<File>) -> io::Result<VecDeque<Bytes>> {
    let mut block = VecDeque::with_capacity(BLOCK / CHUNK);
    while block.len() < BLOCK / CHUNK && file.limit() > 0 {
        let want = CHUNK.min(usize::try_from(file.limit()).unwrap_or(CHUNK));
        let mut chunk = Vec::with_capacity(want);
        file.by_ref().take(want as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            break;
        }
        block.push_back(Bytes::from(chunk));
    }
    Ok(block)
}
