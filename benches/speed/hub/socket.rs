//! A WebSocket client that costs next to nothing, so that what is measured is the server: frames are built once, written
//! many at a time, and found by their first bytes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};

/// What a text message is.
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
const PONG: u8 = 10;
/// Bytes of an answer's head, at most.
const HEAD: usize = 16 << 10;
/// Bytes of a frame from the server, at most.
const FRAME: usize = 16 << 20;

/// Where a connection goes to, and where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub server: SocketAddr,
    /// One of 127.0.0.0/8, each of which has ports of its own; the system's choice without it.
    pub source: Option<Ipv4Addr>,
}

/// Why a handshake was not answered with 101.
#[derive(Debug, thiserror::Error)]
#[error("refused with {status}")]
pub struct Refused {
    pub status: u16,
    /// For how long to stay away.
    pub retry_after: Option<Duration>,
}

/// Connects with this token, and with what is to follow it in the query.
pub async fn connect(route: Route, token: &str, query: &str) -> Result<(Reader, Writer)> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = route.source {
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((source, 0)))?;
    }
    let stream = Rc::new(socket.connect(route.server).await?);
    stream.set_nodelay(true)?;
    let mut writer = Writer {
        stream: Rc::clone(&stream),
        output: Vec::new(),
    };
    let request = format!(
        "GET /ws?token={token}{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        route.server
    );
    writer.output.extend_from_slice(request.as_bytes());
    writer.flush().await?;
    let mut reader = Reader {
        stream,
        input: Vec::new(),
        start: 0,
    };
    reader.head().await?;
    Ok((reader, writer))
}

/// The half that reads.
pub struct Reader {
    stream: Rc<TcpStream>,
    input: Vec<u8>,
    /// Up to here it is consumed.
    start: usize,
}

/// A frame, and where in [`Reader::bytes`] its payload is.
pub struct Frame {
    pub kind: u8,
    pub payload: Range<usize>,
}

impl Reader {
    async fn head(&mut self) -> Result<()> {
        let end = loop {
            let end = self.input.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            if self.input.len() > HEAD {
                bail!("the answer has no end");
            }
            self.more().await?;
        };
        self.start = end;
        let head = String::from_utf8_lossy(&self.input[..end]);
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.context("the answer is not HTTP")?;
        if status == 101 {
            return Ok(());
        }
        let retry_after = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let seconds = value.trim().parse().ok()?;
            name.eq_ignore_ascii_case("retry-after")
                .then_some(Duration::from_secs(seconds))
        });
        bail!(Refused {
            status,
            retry_after
        })
    }

    /// Waits for more bytes and takes what there is. The frames that were found before are gone then.
    pub async fn more(&mut self) -> io::Result<()> {
        // Behind the frames that were taken, the next one may have begun.
        self.input.drain(..self.start);
        self.start = 0;
        if self.input.is_empty() {
            // Ten thousand sockets that wait hold nothing.
            self.input = Vec::new();
        }
        loop {
            self.stream.ready(Interest::READABLE).await?;
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        // The first read was into little room.
        self.input.reserve(4 << 10);
        while self.input.len() < (256 << 10) {
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => break,
                Ok(_) => self.input.reserve(64 << 10),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next frame that is there as a whole.
    pub fn next(&mut self) -> io::Result<Option<Frame>> {
        let bytes = &self.input[self.start..];
        let &[kind, short, ..] = bytes else {
            return Ok(None);
        };
        let (length, head) = match (short, bytes) {
            (126, &[_, _, a, b, ..]) => (usize::from(u16::from_be_bytes([a, b])), 4),
            (127, &[_, _, a, b, c, d, e, f, g, h, ..]) => {
                let length = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                (usize::try_from(length).unwrap_or(usize::MAX), 10)
            }
            (126 | 127, _) => return Ok(None),
            (length, _) => (usize::from(length), 2),
        };
        if length > FRAME || kind & 0x80 == 0 {
            return Err(io::Error::other(
                "a frame that is masked, in parts, or too large",
            ));
        }
        if bytes.len() < head + length {
            return Ok(None);
        }
        let from = self.start + head;
        self.start = from + length;
        Ok(Some(Frame {
            kind: kind & 0x0f,
            payload: from..from + length,
        }))
    }

    /// What a frame says.
    pub fn bytes(&self, frame: &Frame) -> &[u8] {
        &self.input[frame.payload.clone()]
    }

    /// Waits for the next text message, and answers pings meanwhile.
    pub async fn text(&mut self, writer: &mut Writer) -> Result<Frame> {
        loop {
            match self.next()? {
                Some(frame) if frame.kind == TEXT => return Ok(frame),
                Some(frame) if frame.kind == PING => {
                    writer.pong(self.bytes(&frame));
                    writer.flush().await?;
                }
                Some(frame) if frame.kind == CLOSE => {
                    let reason =
                        String::from_utf8_lossy(self.bytes(&frame).get(2..).unwrap_or_default());
                    bail!("closed: {reason}");
                }
                Some(_) => {}
                None => self.more().await?,
            }
        }
    }

    /// Waits until the server has closed the connection.
    pub async fn end(mut self) {
        while self.more().await.is_ok() {
            self.start = self.input.len();
        }
    }
}

/// The half that writes.
pub struct Writer {
    stream: Rc<TcpStream>,
    output: Vec<u8>,
}

impl Writer {
    /// Queues a text message.
    pub fn text(&mut self, payload: &[u8]) {
        frame(TEXT, payload, &mut self.output);
    }

    /// Queues frames that were built before.
    pub fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Queues the answer to a ping.
    pub fn pong(&mut self, payload: &[u8]) {
        frame(PONG, payload, &mut self.output);
    }

    /// Queues a goodbye.
    pub fn close(&mut self) {
        frame(CLOSE, &1000u16.to_be_bytes(), &mut self.output);
    }

    /// Writes what is queued.
    pub async fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.output.len() {
            match self.stream.try_write(&self.output[written..]) {
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?
                }
                Err(error) => return Err(error),
            }
        }
        if self.output.capacity() > 4 << 10 {
            self.output.clear();
        } else {
            self.output = Vec::new();
        }
        Ok(())
    }
}

/// Appends a frame, masked with zeros: the mask is there for intermediaries, and there are none.
pub fn frame(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | kind);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        length => {
            let length = u16::try_from(length).unwrap_or(u16::MAX);
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Where `what` begins in `bytes`.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The number that follows `name` in a message.
pub fn number(bytes: &[u8], name: &[u8]) -> Option<u64> {
    let digits = &bytes[find(bytes, name)? + name.len()..];
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits
        .map(|byte| u64::from(byte - b'0'))
        .try_fold(0u64, |number, digit| {
            number.checked_mul(10)?.checked_add(digit)
        })
}
