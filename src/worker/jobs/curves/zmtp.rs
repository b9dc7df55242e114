//! ZMTP 3.0 (rfc.zeromq.org/spec/23), as far as it takes to be the PUB and the SUB socket that a trainer connects to:
//! greeting, NULL mechanism, frames. Nothing is stored that is larger than it may be.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink};

/// The largest message that is kept, in bytes. With its word before it, it fits into a message of any peer's channel, unless it
/// is full of words that have to be broken; then it may be left out.
pub const MAX_MESSAGE: usize = 60 * 1024;

const GREETING_BYTES: usize = 64;
const MECHANISM: &[u8; 20] = b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Why a connection is of no use.
#[derive(Debug, Error)]
pub enum ZmtpError {
    /// It broke, or it ended.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other end speaks something else, or an older version.
    #[error("the other end does not speak ZMTP 3")]
    NotZmtp,
    /// It wants to be authenticated.
    #[error("the other end asks for a mechanism other than NULL")]
    Mechanism,
    /// Its socket does not go with this one.
    #[error("a socket of type {0} cannot connect here")]
    Socket(String),
}

/// Which socket this end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// PUB: it sends.
    Publisher,
    /// SUB: it receives.
    Subscriber,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Publisher => "PUB",
            Role::Subscriber => "SUB",
        }
    }

    fn goes_with(self, theirs: &[u8]) -> bool {
        match self {
            Role::Publisher => matches!(theirs, b"SUB" | b"XSUB"),
            Role::Subscriber => matches!(theirs, b"PUB" | b"XPUB"),
        }
    }
}

/// What has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message of one frame.
    Message(Vec<u8>),
    /// A command of the protocol.
    Command(Vec<u8>),
    /// A message that is too large, or that has several frames. It is not kept.
    LeftOut,
}

/// Greets, and agrees that both sockets go together.
///
/// # Errors
/// [`ZmtpError`]; the connection is of no use then.
pub async fn greet<S>(stream: &mut S, role: Role) -> Result<(), ZmtpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut ours = [0; GREETING_BYTES];
    (ours[0], ours[9], ours[10]) = (0xff, 0x7f, 3);
    ours[12..32].copy_from_slice(MECHANISM);
    stream.write_all(&ours).await?;
    let mut theirs = [0; GREETING_BYTES];
    stream.read_exact(&mut theirs).await?;
    if theirs[0] != 0xff || theirs[9] != 0x7f || theirs[10] < 3 {
        return Err(ZmtpError::NotZmtp);
    }
    if theirs[12..32] != MECHANISM[..] {
        return Err(ZmtpError::Mechanism);
    }
    let mut ready = b"\x05READY\x0bSocket-Type\0\0\0\x03".to_vec();
    ready.extend_from_slice(role.name().as_bytes());
    send(stream, COMMAND, &ready).await?;
    let Incoming::Command(body) = receive(stream).await? else {
        return Err(ZmtpError::NotZmtp);
    };
    let theirs = socket_type(&body).ok_or(ZmtpError::NotZmtp)?;
    match role.goes_with(theirs) {
        true => Ok(()),
        false => Err(ZmtpError::Socket(
            String::from_utf8_lossy(theirs).escape_debug().collect(),
        )),
    }
}

/// The property `Socket-Type` of a READY.
fn socket_type(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body.strip_prefix(b"\x05READY")?;
    while let [length, after @ ..] = rest {
        let (name, after) = after.split_at_checked(usize::from(*length))?;
        let (length, after) = after.split_first_chunk()?;
        let (value, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if name.eq_ignore_ascii_case(b"socket-type") {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// Subscribes to everything.
///
/// # Errors
/// The connection is gone.
pub async fn subscribe(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    send(stream, 0, &[1]).await
}

/// Whether this subscribes to something: by a message as in version 3.0, or by a command as in 3.1.
pub fn subscribes(incoming: &Incoming) -> bool {
    match incoming {
        Incoming::Message(body) => body.first() == Some(&1),
        Incoming::Command(body) => body.starts_with(b"\x09SUBSCRIBE"),
        Incoming::LeftOut => false,
    }
}

/// Sends a message.
///
/// # Errors
/// The connection is gone.
pub async fn publish(stream: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
    send(stream, 0, body).await
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), flags: u8, body: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(body.len() + 9);
    match u8::try_from(body.len()) {
        Ok(length) => frame.extend_from_slice(&[flags, length]),
        Err(_) => {
            frame.push(flags | LONG);
            frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(body);
    stream.write_all(&frame).await
}

/// What comes next. Not safe to cancel.
///
/// # Errors
/// The connection is gone.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Incoming> {
    let (flags, body) = frame(stream).await?;
    if flags & MORE == 0 {
        return Ok(match body {
            Some(body) if flags & COMMAND != 0 => Incoming::Command(body),
            Some(body) => Incoming::Message(body),
            None => Incoming::LeftOut,
        });
    }
    while frame(stream).await?.0 & MORE != 0 {}
    Ok(Incoming::LeftOut)
}

/// A frame's flags and body; the body of one that is too large is read and not kept.
async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Option<Vec<u8>>)> {
    let flags = stream.read_u8().await?;
    let length = match flags & LONG {
        0 => u64::from(stream.read_u8().await?),
        _ => stream.read_u64().await?,
    };
    match usize::try_from(length) {
        Ok(size) if size <= MAX_MESSAGE => {
            let mut body = vec![0; size];
            stream.read_exact(&mut body).await?;
            Ok((flags, Some(body)))
        }
        _ => {
            if copy(&mut stream.take(length), &mut sink()).await? < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok((flags, None))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The greeting of libzmq 4.3 (version 3.1), and its READY for a socket of this type.
    fn libzmq(socket: &str) -> Vec<u8> {
        let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
        bytes.extend_from_slice(MECHANISM);
        bytes.resize(GREETING_BYTES, 0);
        let body = format!(
            "\x05READY\x0bSocket-Type\0\0\0{}{socket}",
            socket.len() as u8 as char
        );
        let tail = b"\x08Identity\0\0\0\0";
        bytes.extend_from_slice(&[COMMAND, (body.len() + tail.len()) as u8]);
        bytes.extend_from_slice(body.as_bytes());
        bytes.extend_from_slice(tail);
        bytes
    }

    /// Greets an end that says this, whatever it is told.
    async fn greeted(theirs: &[u8], role: Role) -> Result<(), ZmtpError> {
        let (mut ours, mut other) = tokio::io::duplex(64 * 1024);
        other.write_all(theirs).await.unwrap();
        let answer = greet(&mut ours, role);
        let close = async {
            // What is not enough is the end.
            let mut told = [0; GREETING_BYTES];
            other.read_exact(&mut told).await.unwrap();
            other.shutdown().await.unwrap();
        };
        tokio::join!(answer, close).0
    }

    /// Sockets that go together agree; others, other versions, other mechanisms, and what is no ZMTP are told apart.
    #[tokio::test]
    async fn only_what_goes_together_is_greeted() {
        greeted(&libzmq("PUB"), Role::Subscriber).await.unwrap();
        greeted(&libzmq("XPUB"), Role::Subscriber).await.unwrap();
        greeted(&libzmq("SUB"), Role::Publisher).await.unwrap();
        let error = greeted(&libzmq("SUB"), Role::Subscriber).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "a socket of type SUB cannot connect here"
        );
        let mut old = libzmq("PUB");
        old[10] = 1;
        let mut plain = libzmq("PUB");
        plain[12..17].copy_from_slice(b"PLAIN");
        let mut no_type = libzmq("PUB");
        no_type.truncate(GREETING_BYTES);
        no_type.extend_from_slice(b"\x04\x06\x05READY");
        let http = [b"GET / HTTP/1.1\r\n".as_slice(), &[b'x'; 64]].concat();
        for (bytes, expected) in [
            (old, "ZMTP 3"),
            (plain, "NULL"),
            (no_type, "ZMTP 3"),
            (http, "ZMTP 3"),
            (libzmq("PUB")[..70].to_vec(), "eof"),
        ] {
            let error = greeted(&bytes, Role::Subscriber).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    /// A frame that says it is exabytes long takes no memory, and one that is too long does not hide the next.
    #[tokio::test]
    async fn what_is_too_large_is_left_out_and_never_stored() {
        let huge = [LONG, 0x10, 0, 0, 0, 0, 0, 0, 0, b'x'];
        let error = receive(&mut huge.as_slice()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);

        let mut bytes = Vec::new();
        for size in [MAX_MESSAGE, MAX_MESSAGE + 1, 255, 256, 0] {
            publish(&mut bytes, &vec![b'x'; size]).await.unwrap();
        }
        send(&mut bytes, MORE, b"one").await.unwrap();
        send(&mut bytes, MORE, &vec![b'x'; MAX_MESSAGE + 1])
            .await
            .unwrap();
        send(&mut bytes, 0, b"three").await.unwrap();
        send(&mut bytes, COMMAND, b"\x09SUBSCRIBE").await.unwrap();
        let mut stream = bytes.as_slice();
        let mut next = async || match receive(&mut stream).await.unwrap() {
            Incoming::Message(body) => Some(body.len()),
            Incoming::LeftOut => None,
            Incoming::Command(body) => Some(body.len() + 1000),
        };
        assert_eq!(next().await, Some(MAX_MESSAGE));
        assert_eq!(next().await, None);
        assert_eq!(next().await, Some(255));
        assert_eq!(next().await, Some(256));
        assert_eq!(next().await, Some(0));
        assert_eq!(next().await, None, "several frames");
        assert_eq!(next().await, Some(1010));
    }

    proptest! {
        /// Whatever comes, the reader neither panics nor waits for what does not come.
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400), ready in any::<bool>()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut stream = bytes.as_slice();
                while receive(&mut stream).await.is_ok() {}
                let mut body = if ready { b"\x05READY".to_vec() } else { Vec::new() };
                body.extend_from_slice(&bytes);
                let _ = socket_type(&body);
            });
        }
    }
}
