//! A file on its way to a channel, read ahead of it. See [`receive`](super::receive) for the other direction.

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
    block: Bytes,
    blocks: mpsc::Receiver<io::Result<Bytes>>,
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
        let file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let (queue, blocks) = mpsc::channel(QUEUE);
        spawn_blocking(move || read_blocks(file.take(size), &queue));
        Ok(Self {
            path: path.to_owned(),
            size,
            left: size,
            block: Bytes::new(),
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
        if self.block.is_empty() {
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
        let chunk = self.block.split_to(self.block.len().min(CHUNK));
        self.left -= chunk.len() as u64;
        Ok(Some(chunk))
    }
}

/// Reads until the end, an error, or until nobody listens any more.
fn read_blocks(mut file: io::Take<File>, queue: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut block =
            Vec::with_capacity(BLOCK.min(usize::try_from(file.limit()).unwrap_or(BLOCK)));
        let read = file.by_ref().take(BLOCK as u64).read_to_end(&mut block);
        let message = match read {
            Ok(0) => return,
            Ok(_) => Ok(Bytes::from(block)),
            Err(error) => Err(error),
        };
        let failed = message.is_err();
        if queue.blocking_send(message).is_err() || failed {
            return;
        }
    }
}
