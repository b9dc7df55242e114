//! A file on its way in between two Loaner peers: every piece is digested as it is written, and compared with what its
//! sender says (`wire::own`).

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::partials::{Partial, Partials};
use crate::wire::own::{CHECK_EVERY, Digest, FileOffer};
use crate::worker::jobs::disk::free_space;
use crate::worker::jobs::names::safe_file_name;
use crate::worker::jobs::receive::{BLOCK, PIECES, QUEUE, TransferError, write_error};

/// What the disk is given, in order.
enum Item {
    Restart,
    Block(Vec<Bytes>),
    Check(Digest),
}

/// A file on its way in. Dropped before its end, what was checked of it is kept if the offer had a key.
#[derive(Debug)]
pub struct OwnSink {
    dest: PathBuf,
    size: u64,
    /// Bytes that are here or on their way to the disk; none before the sender has begun.
    at: Option<u64>,
    have: u64,
    digest: Digest,
    block: Vec<Bytes>,
    collected: usize,
    queue: mpsc::Sender<Item>,
    writer: Option<JoinHandle<Result<Partial, TransferError>>>,
}

impl OwnSink {
    /// Begins to receive what will become `dir/<name of the offer>`. What is here of it already is found in `partials`;
    /// without them nothing is kept. Refuses at once what cannot succeed.
    ///
    /// # Errors
    /// A name that is no plain file name, a size above `limit` or above the free space, an existing file.
    pub async fn create(
        dir: &Path,
        offer: &FileOffer,
        limit: u64,
        partials: Option<&Partials>,
    ) -> Result<Self, TransferError> {
        safe_file_name(&offer.name).map_err(|why| TransferError::BadName {
            name: offer.name.clone(),
            why,
        })?;
        if offer.size > limit {
            return Err(TransferError::TooLarge {
                size: offer.size,
                limit,
            });
        }
        let dest = dir.join(&offer.name);
        if dest.symlink_metadata().is_ok() {
            return Err(TransferError::Exists { path: dest });
        }
        let failed = |source| TransferError::Io {
            path: dest.clone(),
            source,
        };
        let partial = {
            let (partials, key, dir) = (partials.cloned(), offer.key, dir.to_owned());
            spawn_blocking(move || match partials {
                Some(partials) => partials.open(key.as_ref()),
                None => Partial::unkept(&dir),
            })
        };
        let mut partial = partial
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed)?;
        if partial.have() > offer.size {
            partial.restart().map_err(failed)?;
        }
        let free = free_space(dir).map_err(failed)?;
        let needed = offer.size - partial.have();
        if needed > free {
            let dir = dir.to_owned();
            return Err(TransferError::DiskFull { dir, needed, free });
        }
        let (have, digest) = (partial.have(), partial.digest());
        let (queue, items) = mpsc::channel(QUEUE);
        let (path, size) = (dest.clone(), offer.size);
        Ok(OwnSink {
            dest,
            size: offer.size,
            at: None,
            have,
            digest,
            block: Vec::new(),
            collected: 0,
            queue,
            writer: Some(spawn_blocking(move || write(partial, items, &path, size))),
        })
    }

    /// How much of it is here, and the digest of that.
    pub fn have(&self) -> (u64, Digest) {
        (self.have, self.digest)
    }

    /// Bytes that are here or on their way to the disk.
    pub fn received(&self) -> u64 {
        self.at.unwrap_or(0)
    }

    /// The sender begins here.
    ///
    /// # Errors
    /// When that is neither the start nor what is here.
    pub async fn begin(&mut self, from: u64) -> Result<(), TransferError> {
        match (self.at, from) {
            (Some(_), _) => return Err(TransferError::OutOfTurn("it has begun already")),
            (None, from) if from == self.have => {}
            (None, 0) => self.give(Item::Restart).await?,
            (None, _) => return Err(TransferError::OutOfTurn("it begins where nothing is")),
        }
        self.at = Some(from);
        Ok(())
    }

    /// Takes the next bytes; waits while the disk is behind.
    ///
    /// # Errors
    /// When more comes than was offered, or before it began, or the disk failed.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), TransferError> {
        let Some(at) = self.at else {
            return Err(TransferError::OutOfTurn("bytes came before their offset"));
        };
        if chunk.len() as u64 > self.size - at {
            return Err(TransferError::TooMuch {
                declared: self.size,
            });
        }
        if chunk.is_empty() {
            return Ok(());
        }
        self.at = Some(at + chunk.len() as u64);
        self.collected += chunk.len();
        self.block.push(chunk);
        if self.collected >= BLOCK || self.block.len() >= PIECES {
            self.hand_over().await?;
        }
        Ok(())
    }

    /// The sender's digest of everything so far. True when that is the whole file.
    ///
    /// # Errors
    /// When it is said of another offset, or where none is due. That the digests differ is told by a later call.
    pub async fn check(&mut self, at: u64, digest: Digest) -> Result<bool, TransferError> {
        if self.at != Some(at) {
            return Err(TransferError::OutOfTurn("a digest is of another offset"));
        }
        // Each is kept: a digest for every byte would take more room than the file.
        if !at.is_multiple_of(CHECK_EVERY) && at != self.size {
            return Err(TransferError::OutOfTurn("a digest comes where none is due"));
        }
        self.hand_over().await?;
        self.give(Item::Check(digest)).await?;
        Ok(at == self.size)
    }

    /// After the last check: waits for the disk, and gives the file its name. Returns its path.
    ///
    /// # Errors
    /// When the digests differ, the file is not whole, its name is taken, or the disk failed.
    pub async fn finish(self) -> Result<PathBuf, TransferError> {
        let OwnSink {
            dest,
            size,
            queue,
            writer,
            ..
        } = self;
        drop(queue);
        let Some(writer) = writer else {
            return Err(TransferError::GivenUp);
        };
        let partial = ended(writer.await, &dest)?;
        if partial.have() != size {
            return Err(TransferError::CutShort {
                got: partial.have(),
                want: size,
            });
        }
        match partial.persist(&dest) {
            Ok(()) => Ok(dest),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(TransferError::Exists { path: dest })
            }
            Err(source) => Err(TransferError::Io { path: dest, source }),
        }
    }

    async fn hand_over(&mut self) -> Result<(), TransferError> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.collected = 0;
        let block = std::mem::take(&mut self.block);
        self.give(Item::Block(block)).await
    }

    async fn give(&mut self, item: Item) -> Result<(), TransferError> {
        if self.queue.send(item).await.is_ok() {
            return Ok(());
        }
        // The writer has ended before us, so it failed: its result says why.
        match self.writer.take() {
            Some(writer) => ended(writer.await, &self.dest).and(Err(TransferError::GivenUp)),
            None => Err(TransferError::GivenUp),
        }
    }
}

type Written = Result<Partial, TransferError>;

fn ended(joined: Result<Written, tokio::task::JoinError>, dest: &Path) -> Written {
    joined.unwrap_or_else(|lost| {
        Err(TransferError::Io {
            path: dest.to_owned(),
            source: io::Error::other(lost),
        })
    })
}

fn write(mut partial: Partial, mut items: mpsc::Receiver<Item>, dest: &Path, size: u64) -> Written {
    while let Some(item) = items.blocking_recv() {
        let at = partial.have();
        let done = match item {
            Item::Restart => partial.restart(),
            Item::Block(block) => block.iter().try_for_each(|chunk| partial.write(chunk)),
            Item::Check(digest) => match partial.check(digest) {
                Ok(true) => Ok(()),
                Ok(false) => return Err(TransferError::Damaged { after: at }),
                Err(error) => Err(error),
            },
        };
        done.map_err(|error| write_error(dest, size - at, error))?;
    }
    Ok(partial)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Small pieces cost more memory than their bytes, and empty ones cost nothing but memory: neither is collected without
    /// a bound, and what arrives is the file.
    #[tokio::test]
    async fn small_pieces_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let offer = FileOffer {
            name: "a".to_owned(),
            size: 5000,
            key: None,
            hint: String::new(),
        };
        let mut sink = OwnSink::create(dir.path(), &offer, 5000, None)
            .await
            .unwrap();
        sink.begin(0).await.unwrap();
        for _ in 0..5000 {
            sink.write(Bytes::new()).await.unwrap();
            sink.write(Bytes::from_static(b"x")).await.unwrap();
            assert!(sink.block.len() <= PIECES);
        }
        let digest = Digest(*blake3::hash(&[b'x'; 5000]).as_bytes());
        assert!(sink.check(5000, digest).await.unwrap());
        let path = sink.finish().await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), [b'x'; 5000]);
    }
}
