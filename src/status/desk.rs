//! Where a process is asked.

use std::fs;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::place::{self, PlaceError};
use super::{Told, last_said, parts};

/// How long whoever asked may take to read the answer.
const READ: Duration = Duration::from_secs(1);
/// How long nobody is let in after the system could not.
const REST: Duration = Duration::from_secs(1);

/// A socket on which this process says what it is at, to its own user. Dropped, it is gone.
#[derive(Debug)]
pub struct Desk {
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.serving.abort();
        // Whoever finds it asks nobody, and removes it.
        let _ = fs::remove_file(&self.path);
    }
}

impl Desk {
    /// Opens it as `command`, in the first of these directories that will do, in the current actix system.
    ///
    /// # Errors
    /// Why the last of them will not do.
    pub fn open(command: &'static str, places: &[PathBuf]) -> Result<Self, PlaceError> {
        let mut wrong = PlaceError::System {
            path: PathBuf::new(),
            source: io::ErrorKind::NotFound.into(),
        };
        for place in places {
            match Self::open_in(command, place) {
                Ok(desk) => return Ok(desk),
                Err(error) => wrong = error,
            }
        }
        Err(wrong)
    }

    fn open_in(command: &'static str, place: &Path) -> Result<Self, PlaceError> {
        place::make(place)?;
        let pid = std::process::id();
        let path = place.join(format!("{pid}.sock"));
        let listener = listen(place, &path, pid).map_err(|source| PlaceError::System {
            path: path.clone(),
            source,
        })?;
        let serving = tokio::task::spawn_local(serve(listener, command));
        Ok(Desk { path, serving })
    }
}

/// Under its name there is never a socket that does not listen: whoever finds one removes it.
fn listen(place: &Path, path: &Path, pid: u32) -> io::Result<UnixListener> {
    let early = place.join(format!(".{pid}"));
    // What was left by another process of this number.
    let _ = fs::remove_file(&early);
    let listener = StdListener::bind(&early)?;
    listener.set_nonblocking(true)?;
    fs::rename(&early, path)?;
    UnixListener::from_std(listener)
}

async fn serve(listener: UnixListener, command: &'static str) {
    let began = Instant::now();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // One after the other: there are few, and each is soon done.
                if let Err(error) = answer(stream, command, began).await {
                    tracing::debug!(%error, "whoever asked for the status does not hear it");
                }
            }
            Err(_) => sleep(REST).await,
        }
    }
}

async fn answer(mut stream: UnixStream, command: &str, began: Instant) -> io::Result<()> {
    let (parts, more) = parts().await;
    let told = Told {
        pid: i32::try_from(std::process::id()).unwrap_or_default(),
        command: command.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        running: began.elapsed().as_secs_f64(),
        said: last_said(),
        parts,
        more,
    };
    let text = serde_json::to_vec(&told)?;
    let written = timeout(READ, async {
        stream.write_all(&text).await?;
        stream.shutdown().await
    });
    written.await?
}
