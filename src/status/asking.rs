//! Asking the processes of this user.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Told;
use super::place::check;

/// How long a process may take to answer.
const PROCESS: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// The most processes that are asked.
const MAX_PROCESSES: usize = 256;

/// A process, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its number.
    pub pid: i32,
    /// What it says, or why it is not to be had.
    pub told: Result<Told, &'static str>,
}

/// Asks all processes of this user that listen in one of these directories, at the same time, and within five seconds. What
/// was left there by one that is gone is removed.
pub async fn ask(places: &[PathBuf]) -> Vec<Answer> {
    let found = places.iter().filter(|place| check(place).is_ok());
    let mut sockets: Vec<_> = found.flat_map(|place| sockets(place)).collect();
    sockets.sort();
    sockets.truncate(MAX_PROCESSES);
    let answers = sockets.into_iter().map(async |(pid, path)| {
        let told = match timeout(PROCESS, hear(&path)).await {
            Err(_) => Err("it does not answer; it may be stopped, or hang"),
            Ok(Ok(told)) => Ok(told),
            Ok(Err(error)) => match error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    // Nobody listens there any more, and nobody will.
                    let _ = fs::remove_file(&path);
                    return None;
                }
                // It has just ended.
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => return None,
                _ => Err("what it answers makes no sense; it may be of another version"),
            },
        };
        Some(Answer { pid, told })
    });
    join_all(answers).await.into_iter().flatten().collect()
}

/// The sockets in a directory, by the processes that they are of.
fn sockets(place: &Path) -> Vec<(i32, PathBuf)> {
    let Ok(entries) = fs::read_dir(place) else {
        return Vec::new();
    };
    let of = |entry: fs::DirEntry| {
        let pid = entry
            .file_name()
            .to_str()?
            .strip_suffix(".sock")?
            .parse()
            .ok()?;
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        is_socket.then(|| (pid, entry.path()))
    };
    entries.filter_map(|entry| of(entry.ok()?)).collect()
}

async fn hear(path: &Path) -> io::Result<Told> {
    let stream = UnixStream::connect(path).await?;
    let mut text = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut text).await?;
    if text.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&text)?)
}
