//! A file on its way out between two Loaner peers (`wire::own`).

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Instant;

use blake3::Hasher;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::actors::transfer::Milestones;
use crate::rtc::RtcError;
use crate::tunnel::tube::Line;
use crate::wire::ChannelText;
use crate::wire::own::{CHECK_EVERY, Digest, FileOffer, OwnText};
use crate::worker::jobs::receive::{CHUNK, TransferError};

/// Chunks that are given from disk to channel together: to wake who waits costs more than to copy one.
const TOGETHER: usize = 16;

/// Pieces that wait between disk and channel: 2 MiB.
const QUEUE: usize = 2;

/// What is sent, in order.
enum Piece {
    From(u64),
    Chunks(Vec<Bytes>),
    Check(u64, Digest),
}

/// Sends a file and waits until the other side has it, whole. `heard` is what that side says meanwhile; `begun` hears from
/// where it goes, and `sent` how far it is.
pub async fn send_own_file(
    channel: Line,
    path: PathBuf,
    offer: FileOffer,
    heard: &mut mpsc::Receiver<OwnText>,
    milestones: Milestones,
    begun: impl Fn(u64),
    sent: impl Fn(u64),
) {
    tokio::select! {
        result = stream_out(&channel, &path, offer, heard, &milestones, begun, sent) => match result {
            Ok(()) => milestones.verified(path).await,
            Err(reason) => milestones.broke(reason).await,
        },
        () = milestones.stopped() => {}
    }
}

async fn stream_out(
    channel: &Line,
    path: &Path,
    offer: FileOffer,
    heard: &mut mpsc::Receiver<OwnText>,
    milestones: &Milestones,
    begun: impl Fn(u64),
    sent: impl Fn(u64),
) -> Result<(), String> {
    let size = offer.size;
    say(channel, OwnText::Offer(offer)).await?;
    let (have, digest) = match answer(heard).await? {
        OwnText::Accept { have, digest } => (have, digest),
        _ => return Err("the other side did not say how much it has".to_owned()),
    };
    let (queue, mut pieces) = mpsc::channel(QUEUE);
    let file = path.to_owned();
    spawn_blocking(move || {
        // Nobody listens only where the transfer was given up.
        if let Err(error) = read(&file, size, have, digest, &queue) {
            let _ = queue.blocking_send(Err(error));
        }
    });
    milestones.started();
    let (mut total, mut reported) = (0, Instant::now());
    loop {
        // A rejection is heard at once, and not only at the end.
        let piece = tokio::select! {
            piece = pieces.recv() => piece,
            said = answer(heard) => return Err(format!("the other side said {:?} in between", said?)),
        };
        match piece {
            Some(Ok(Piece::From(from))) => {
                say(channel, OwnText::Begin { from }).await?;
                total = from;
                begun(from);
            }
            Some(Ok(Piece::Chunks(chunks))) => {
                for chunk in chunks {
                    total += chunk.len() as u64;
                    sent_or_said(channel.send_binary(chunk).await)?;
                    sent(total);
                }
            }
            Some(Ok(Piece::Check(at, digest))) => {
                say(channel, OwnText::Check { at, digest }).await?;
                if at == size {
                    break;
                }
            }
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the file could not be read to its end".to_owned()),
        }
        if reported.elapsed() >= super::REPORT {
            reported = Instant::now();
            milestones.progressed();
        }
    }
    milestones.ended();
    match answer(heard).await? {
        OwnText::Verified => Ok(()),
        _ => Err("the other side did not confirm the file".to_owned()),
    }
}

fn sent_or_said(sent: Result<(), RtcError>) -> Result<(), String> {
    sent.map_err(|error| error.to_string())
}

async fn say(channel: &Line, text: OwnText) -> Result<(), String> {
    sent_or_said(channel.send_text(&ChannelText::Own(text).to_text()).await)
}

/// What the other side says of the file.
async fn answer(heard: &mut mpsc::Receiver<OwnText>) -> Result<OwnText, String> {
    match heard.recv().await {
        Some(OwnText::Rejected { message }) => Err(message),
        Some(text) => Ok(text),
        None => Err("the connection was lost".to_owned()),
    }
}

type Pieces = mpsc::Sender<Result<Piece, TransferError>>;

/// Reads what the other side lacks. It has `have` bytes with this digest: of another file perhaps.
fn read(
    path: &Path,
    size: u64,
    have: u64,
    digest: Digest,
    queue: &Pieces,
) -> Result<(), TransferError> {
    let failed = |source| TransferError::Io {
        path: path.to_owned(),
        source,
    };
    // Asked before it is opened: opening a pipe would wait for its other end.
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        let path = path.to_owned();
        return Err(TransferError::NotAFile { path });
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Hasher::new();
    let mut at = 0;
    if have > 0 && have <= size {
        hasher
            .update_reader((&mut file).take(have))
            .map_err(failed)?;
        if hasher.count() == have && hasher.finalize().as_bytes() == &digest.0 {
            at = have;
        } else {
            hasher.reset();
            file.rewind().map_err(failed)?;
        }
    }
    let give = |piece| queue.blocking_send(Ok(piece)).is_ok();
    if !give(Piece::From(at)) {
        return Ok(());
    }
    loop {
        let mut chunks = Vec::with_capacity(TOGETHER);
        while chunks.len() < TOGETHER {
            let left = (CHECK_EVERY - at % CHECK_EVERY).min(size - at);
            if left == 0 {
                break;
            }
            let want = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
            let mut chunk = Vec::with_capacity(want);
            (&mut file)
                .take(want as u64)
                .read_to_end(&mut chunk)
                .map_err(failed)?;
            if chunk.len() < want {
                let got = at + chunk.len() as u64;
                return Err(TransferError::CutShort { got, want: size });
            }
            hasher.update(&chunk);
            at += want as u64;
            chunks.push(chunk.into());
            if at % CHECK_EVERY == 0 {
                break;
            }
        }
        if !chunks.is_empty() && !give(Piece::Chunks(chunks)) {
            return Ok(());
        }
        if at % CHECK_EVERY == 0 || at == size {
            let digest = Digest(*hasher.finalize().as_bytes());
            if !give(Piece::Check(at, digest)) || at == size {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn digest(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// What is sent of a file to somebody who has so much with this digest: from where, how many bytes, and the checks.
    fn sent(content: &[u8], have: u64, theirs: Digest) -> (u64, u64, Vec<(u64, Digest)>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let (queue, mut pieces) = mpsc::channel(QUEUE);
        let (path, size) = (file.path().to_owned(), content.len() as u64);
        let reading = std::thread::spawn(move || read(&path, size, have, theirs, &queue));
        let (mut from, mut bytes, mut checks) = (u64::MAX, 0, Vec::new());
        while let Some(piece) = pieces.blocking_recv() {
            match piece.unwrap() {
                Piece::From(at) => from = at,
                Piece::Chunks(chunks) => {
                    bytes += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>()
                }
                Piece::Check(at, digest) => checks.push((at, digest)),
            }
        }
        reading.join().unwrap().unwrap();
        (from, bytes, checks)
    }

    #[test]
    fn only_what_is_lacking_is_sent_and_only_if_the_rest_is_the_same() {
        let every = CHECK_EVERY as usize;
        let content: Vec<u8> = (0..2 * every + 10).map(|n| (n / 1000) as u8).collect();
        let (size, most) = (content.len() as u64, 2 * CHECK_EVERY);
        let check = |at: u64| (at, digest(&content[..at as usize]));
        let all = vec![check(CHECK_EVERY), check(most), check(size)];
        let (none, good) = (digest(b""), digest(&content[..every]));

        assert_eq!(sent(&content, 0, none), (0, size, all.clone()));
        let rest = (CHECK_EVERY, size - CHECK_EVERY, all[1..].to_vec());
        assert_eq!(sent(&content, CHECK_EVERY, good), rest);
        let whole = digest(&content);
        assert_eq!(sent(&content, size, whole), (size, 0, all[2..].to_vec()));
        // Another file's beginning, or more than there is.
        assert_eq!(sent(&content, CHECK_EVERY, none), (0, size, all.clone()));
        assert_eq!(sent(&content, size + 1, whole), (0, size, all));
        assert_eq!(sent(b"", 0, none), (0, 0, vec![(0, none)]));
    }
}
