//! Bytes between a TCP connection and a stream, both ways at once.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::carrier::Carrier;
use super::frame::{Frame, HEADER, MAX_DATA};
use super::mux::Live;
use super::reason::Reset;

/// A larger piece is handed over with its buffer; a smaller one is copied, and the buffer used again.
const HAND_OVER: usize = 16 << 10;
/// How long a connection is silent before the system asks whether its other end still lives.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// What went through one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// Bytes to the other side.
    pub sent: u64,
    /// Bytes from the other side.
    pub received: u64,
    /// Why it ended, where it was not by both ends finishing.
    pub reset: Option<Reset>,
}

/// Small pieces leave at once, and an end that vanished is noticed some day.
pub(super) fn tune(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    let tuned = tcp
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE)));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a connection stays as the system made it");
    }
}

/// Has a connection end as broken when it is dropped, also where the whole process ends, and not as finished: a program must
/// not take what it got for all there is.
pub(super) fn breaks(tcp: &TcpStream) {
    if let Err(error) = SockRef::from(tcp).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "a connection ends as if it were finished");
    }
}

/// Has a connection that is finished end as such, with everything that is still on its way.
fn finishes(tcp: &TcpStream) {
    if let Err(error) = SockRef::from(tcp).set_linger(None) {
        tracing::debug!(%error, "a connection ends as if it were broken");
    }
}

/// Carries bytes until both ends have finished, or either broke. `here` is where the TCP connection is, in words.
pub(super) async fn pump<C: Carrier>(live: &Live<C>, mut tcp: TcpStream, here: &str) -> Passed {
    breaks(&tcp);
    let (mut sent, mut received) = (0, 0);
    let reset = {
        let (read, write) = tcp.split();
        let both = async {
            tokio::try_join!(
                outward(live, read, here, &mut sent),
                inward(live, write, here, &mut received)
            )
        };
        tokio::select! {
            biased;
            reset = live.stream.was_reset() => Some(reset),
            both = both => match both {
                Ok(_) => None,
                Err(reset) => {
                    let frame = Frame::Reset { stream: live.stream.id, reset: reset.clone() };
                    // A carrier that is gone has reset everything.
                    let _ = live.mux.send(frame.encode()).await;
                    Some(reset)
                }
            }
        }
    };
    if reset.is_none() {
        finishes(&tcp);
    }
    Passed {
        sent,
        received,
        reset,
    }
}

/// From the connection to the other side.
async fn outward<C: Carrier>(
    live: &Live<C>,
    read: ReadHalf<'_>,
    here: &str,
    sent: &mut u64,
) -> Result<(), Reset> {
    let stream = &live.stream;
    let mut buffer = BytesMut::new();
    loop {
        let room = stream.room().await.min(MAX_DATA);
        let bytes = loop {
            let came = match read.readable().await {
                Ok(()) => fill(&read, &mut buffer, stream.id, room),
                Err(error) => Err(error),
            };
            match came {
                Ok(bytes) => break bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Reset::of_io(&error, here)),
            }
        };
        if bytes == 0 {
            let frame = Frame::Finish { stream: stream.id };
            return live.mux.send(frame.encode()).await;
        }
        stream.spend(bytes);
        live.mux.send(frame_of(&mut buffer)).await?;
        *sent += bytes as u64;
        live.mux
            .counts
            .sent
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Reads what is there into the buffer, behind the header of a frame; how many bytes.
fn fill(read: &ReadHalf<'_>, buffer: &mut BytesMut, stream: u32, room: usize) -> io::Result<usize> {
    buffer.clear();
    buffer.reserve(HEADER + room);
    Frame::data_header(buffer, stream);
    read.try_read_buf(&mut buffer.limit(room))
}

/// The frame in the buffer.
fn frame_of(buffer: &mut BytesMut) -> Bytes {
    match buffer.len() < HAND_OVER {
        true => Bytes::copy_from_slice(buffer),
        false => std::mem::take(buffer).freeze(),
    }
}

/// From the other side to the connection.
async fn inward<C: Carrier>(
    live: &Live<C>,
    mut write: WriteHalf<'_>,
    here: &str,
    received: &mut u64,
) -> Result<(), Reset> {
    let (mux, stream) = (&live.mux, &live.stream);
    let broke = |error: io::Error| Reset::of_io(&error, here);
    while let Some(bytes) = stream.take().await {
        write.write_all(&bytes).await.map_err(broke)?;
        *received += bytes.len() as u64;
        mux.counts
            .received
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let grant = stream.took(bytes.len(), &mut mux.common());
        if let Some(bytes) = grant {
            let frame = Frame::Credit {
                stream: stream.id,
                bytes,
            };
            mux.send(frame.encode()).await?;
        }
    }
    write.shutdown().await.map_err(broke)
}
