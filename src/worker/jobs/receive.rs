//! Files between a channel and the disk, streamed in both directions.
//!
//! [`FileSink`] receives a file of a declared size, [`FileSource`] reads one to be sent. Both keep the disk off the
//! async runtime: one blocking task reads or writes blocks of about 1 MiB, and a short queue between it and the caller
//! gives back-pressure, so memory stays at a few MiB whatever the size of the file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempPath;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::disk::{free_space, human, is_full};
use super::names::{NameError, safe_file_name, shown, shown_path};

/// Largest chunk that [`FileSource::next`] returns, in bytes.
pub const CHUNK: usize = 64 * 1024;
/// Size of one disk operation, in bytes.
const BLOCK: usize = 1024 * 1024;
/// Blocks that wait between channel and disk.
const QUEUE: usize = 2;

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
    block: Vec<u8>,
    queue: mpsc::Sender<Vec<u8>>,
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
        if !self.block.is_empty() && self.block.len() + chunk.len() > BLOCK {
            self.hand_over().await?;
        }
        if self.block.capacity() == 0 {
            let left = usize::try_from(self.declared - self.received).unwrap_or(BLOCK);
            self.block.reserve(left.min(BLOCK));
        }
        self.block.extend_from_slice(&chunk);
        self.received += chunk.len() as u64;
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

fn write_blocks(mut file: File, mut blocks: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(block) = blocks.blocking_recv() {
        file.write_all(&block)?;
    }
    Ok(())
}

fn write_error(dest: &Path, declared: u64, source: io::Error) -> TransferError {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn pattern(len: usize) -> Bytes {
        (0..len)
            .map(|i| (i * 31 % 251) as u8)
            .collect::<Vec<_>>()
            .into()
    }

    #[tokio::test]
    async fn a_file_arrives_under_its_name_only_when_whole() {
        let dir = tempfile::tempdir().unwrap();
        let data = pattern(3 * BLOCK + 17);
        let mut sink = FileSink::create(dir.path(), "labels.zip", data.len() as u64).unwrap();
        for chunk in data.chunks(50_000) {
            sink.write(Bytes::copy_from_slice(chunk)).await.unwrap();
            assert!(!dir.path().join("labels.zip").exists());
        }
        assert_eq!(sink.received(), data.len() as u64);
        let path = sink.finish().await.unwrap();
        assert_eq!(path, dir.path().join("labels.zip"));
        assert!(fs::read(path).unwrap() == data);
        assert_eq!(names(dir.path()), ["labels.zip"]);
    }

    #[tokio::test]
    async fn an_empty_file_arrives_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = FileSink::create(dir.path(), "empty", 0)
            .unwrap()
            .finish()
            .await
            .unwrap();
        assert_eq!(fs::metadata(path).unwrap().len(), 0);
    }

    #[tokio::test]
    async fn sizes_are_held_to_the_byte_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = FileSink::create(dir.path(), "a", 10).unwrap();
        sink.write(pattern(8)).await.unwrap();
        let error = sink.write(pattern(3)).await.unwrap_err();
        assert!(
            matches!(error, TransferError::TooMuch { declared: 10 }),
            "{error}"
        );
        let error = sink.finish().await.unwrap_err();
        assert!(
            matches!(error, TransferError::CutShort { got: 8, want: 10 }),
            "{error}"
        );

        let mut sink = FileSink::create(dir.path(), "b", 4 * BLOCK as u64).unwrap();
        sink.write(pattern(2 * BLOCK)).await.unwrap();
        drop(sink);
        assert!(names(dir.path()).is_empty());
    }

    #[tokio::test]
    async fn what_cannot_succeed_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["../x", "/etc/x", "a:b", "..", "", "a\0b", ".profile"] {
            let error = FileSink::create(dir.path(), name, 1).unwrap_err();
            assert!(
                matches!(error, TransferError::BadName { .. }),
                "{name:?}: {error}"
            );
        }
        let options = SinkOptions {
            limit: 100,
            overwrite: false,
        };
        let error = FileSink::create_with(dir.path(), "x", 101, options).unwrap_err();
        assert!(matches!(
            error,
            TransferError::TooLarge {
                size: 101,
                limit: 100
            }
        ));
        let error = FileSink::create(dir.path(), "x", u64::MAX / 2).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, TransferError::DiskFull { .. }), "{text}");
        assert!(
            text.contains("8388608.0 TiB") && text.contains("are free"),
            "{text}"
        );
        assert!(names(dir.path()).is_empty());
    }

    #[tokio::test]
    async fn an_existing_file_is_kept_unless_told_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let late = FileSink::create(dir.path(), "r.zip", 0).unwrap();
        fs::write(dir.path().join("r.zip"), "mine").unwrap();
        let error = FileSink::create(dir.path(), "r.zip", 3).unwrap_err();
        assert!(matches!(error, TransferError::Exists { .. }));
        let error = late.finish().await.unwrap_err();
        assert!(matches!(error, TransferError::Exists { .. }), "{error}");
        assert_eq!(fs::read(dir.path().join("r.zip")).unwrap(), b"mine");

        let options = SinkOptions {
            overwrite: true,
            ..SinkOptions::default()
        };
        let mut sink = FileSink::create_with(dir.path(), "r.zip", 3, options).unwrap();
        sink.write(Bytes::from_static(b"new")).await.unwrap();
        assert_eq!(fs::read(dir.path().join("r.zip")).unwrap(), b"mine");
        sink.finish().await.unwrap();
        assert_eq!(fs::read(dir.path().join("r.zip")).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["r.zip"]);
    }

    /// `/dev/full` fails every write like a full disk does; a real one is filled in `tests/jobs.rs`.
    #[tokio::test]
    async fn a_disk_that_fills_up_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = FileSink::create(dir.path(), "x", 64 << 20).unwrap();
        let (queue, blocks) = mpsc::channel(QUEUE);
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        sink.queue = queue;
        sink.writer = Some(spawn_blocking(move || write_blocks(full, blocks)));
        let mut result = Ok(());
        while result.is_ok() && sink.received() < 32 << 20 {
            result = sink.write(pattern(BLOCK)).await;
        }
        assert!(
            matches!(
                result,
                Err(TransferError::DiskFull {
                    needed: 0x400_0000,
                    ..
                })
            ),
            "{result:?}"
        );
        assert!(matches!(
            sink.write(pattern(BLOCK)).await,
            Err(TransferError::GivenUp)
        ));
        drop(sink);
        assert!(names(dir.path()).is_empty());
    }

    #[tokio::test]
    async fn a_file_goes_out_in_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.zip");
        let data = pattern(2 * BLOCK + 70_000);
        fs::write(&path, &data).unwrap();
        let mut source = FileSource::open(&path).unwrap();
        assert_eq!(
            (source.size(), source.name().as_str()),
            (data.len() as u64, "out.zip")
        );
        let mut got = Vec::new();
        while let Some(chunk) = source.next().await.unwrap() {
            assert!(!chunk.is_empty() && chunk.len() <= CHUNK);
            got.extend_from_slice(&chunk);
        }
        assert!(got == data);
        assert!(source.next().await.unwrap().is_none());

        fs::write(&path, "").unwrap();
        assert!(
            FileSource::open(&path)
                .unwrap()
                .next()
                .await
                .unwrap()
                .is_none()
        );
        assert!(matches!(
            FileSource::open(dir.path()),
            Err(TransferError::NotAFile { .. })
        ));
        assert!(matches!(
            FileSource::open(&dir.path().join("no")),
            Err(TransferError::Io { .. })
        ));
    }

    #[tokio::test]
    async fn a_file_that_shrinks_while_it_is_read_is_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, pattern(16 * BLOCK)).unwrap();
        let mut source = FileSource::open(&path).unwrap();
        source.next().await.unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(BLOCK as u64)
            .unwrap();
        let error = loop {
            match source.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("no error"),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(
                error,
                TransferError::CutShort {
                    want: 0x100_0000,
                    ..
                }
            ),
            "{error}"
        );
    }

    /// A measurement: `cargo test --release --lib receive -- --ignored --nocapture`.
    #[tokio::test]
    #[ignore = "a measurement"]
    async fn throughput() {
        let dir = tempfile::tempdir().unwrap();
        let (chunk, chunks) = (pattern(CHUNK), 16 * 1024);
        let mut sink = FileSink::create(dir.path(), "big", (CHUNK * chunks) as u64).unwrap();
        let start = Instant::now();
        for _ in 0..chunks {
            sink.write(chunk.clone()).await.unwrap();
        }
        let path = sink.finish().await.unwrap();
        println!("write: {:.0} MB/s", 1074.0 / start.elapsed().as_secs_f64());
        let mut source = FileSource::open(&path).unwrap();
        let start = Instant::now();
        while source.next().await.unwrap().is_some() {}
        println!("read: {:.0} MB/s", 1074.0 / start.elapsed().as_secs_f64());
    }
}
