//! The frames: one in each binary message.
//!
//! A byte for the kind, four for the stream (big-endian, as all numbers), and what belongs to it:
//!
//! | kind | frame | body |
//! |---|---|---|
//! | 1 | open | credit (4), port (2), host (1 to 255, UTF-8) |
//! | 2 | opened | credit (4) |
//! | 3 | data | 1 to [`MAX_DATA`] bytes |
//! | 4 | credit | further bytes that may be sent (4, not 0) |
//! | 5 | finish | |
//! | 6 | reset | reason (1), words (0 to [`MAX_WORDS`], UTF-8) |
//! | 7 | ask | port (2), host |
//! | 8 | allowed | |
//! | 9 | goodbye, of stream 0 | reason (1), words |

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::reason::{Reason, Reset};

/// The largest frame, bytes.
pub const MAX_FRAME: usize = 65_536;
/// What stands before the bytes of a stream.
pub const HEADER: usize = 5;
/// The most bytes of a stream in one frame.
pub const MAX_DATA: usize = MAX_FRAME - HEADER;
/// The longest name of a host, bytes.
pub const MAX_HOST: usize = 255;
/// The longest words of a reason, bytes.
pub const MAX_WORDS: usize = 1024;

const OPEN: u8 = 1;
const OPENED: u8 = 2;
const DATA: u8 = 3;
const CREDIT: u8 = 4;
const FINISH: u8 = 5;
const RESET: u8 = 6;
const ASK: u8 = 7;
const ALLOWED: u8 = 8;
const GOODBYE: u8 = 9;

/// The number of a stream: given by who opens it, each higher than the one before.
pub type StreamId = u32;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Client to worker: connect to this place.
    Open {
        /// A number that was not used before.
        stream: StreamId,
        /// How many bytes may come back at first.
        credit: u32,
        /// The name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The answer: it is connected.
    Opened {
        /// Which.
        stream: StreamId,
        /// How many bytes may be sent at first.
        credit: u32,
    },
    /// Bytes of a stream.
    Data {
        /// Which.
        stream: StreamId,
        /// The bytes.
        bytes: Bytes,
    },
    /// So many further bytes may be sent: as many were taken, or there is more room.
    Credit {
        /// Of which stream.
        stream: StreamId,
        /// Bytes.
        bytes: u32,
    },
    /// No further bytes come this way; the other way goes on.
    Finish {
        /// Of which stream.
        stream: StreamId,
    },
    /// The stream is over, both ways; or it could not be opened.
    Reset {
        /// Which.
        stream: StreamId,
        /// Why.
        reset: Reset,
    },
    /// Client to worker: would this place be connected to?
    Ask {
        /// A number that was not used before.
        stream: StreamId,
        /// The name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The answer: it would. Otherwise, a reset says why not.
    Allowed {
        /// The question's number.
        stream: StreamId,
    },
    /// Everything is over: no frame follows.
    Goodbye(Reset),
}

/// What is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is longer than any frame.
    #[error("a frame of {0} bytes; the most is {MAX_FRAME}")]
    TooLong(usize),
    /// It ends too early.
    #[error("a frame of kind {0} that ends too early")]
    Short(u8),
    /// Something stands behind its end.
    #[error("a frame of kind {0} with something behind its end")]
    Trailing(u8),
    /// There is no such kind.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// A host, a reason's words or a number cannot be.
    #[error("a frame with a {0} that cannot be")]
    Field(&'static str),
}

impl Frame {
    /// As it stands in a message. A host or words that are too long are cut.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        match self {
            Frame::Open {
                stream,
                credit,
                host,
                port,
            } => {
                begin(&mut out, OPEN, *stream);
                out.put_u32(*credit);
                out.put_u16(*port);
                out.put_slice(cut(host, MAX_HOST).as_bytes());
            }
            Frame::Opened { stream, credit } => {
                begin(&mut out, OPENED, *stream);
                out.put_u32(*credit);
            }
            Frame::Data { stream, bytes } => {
                out.reserve(HEADER + bytes.len());
                begin(&mut out, DATA, *stream);
                out.put_slice(bytes);
            }
            Frame::Credit { stream, bytes } => {
                begin(&mut out, CREDIT, *stream);
                out.put_u32(*bytes);
            }
            Frame::Finish { stream } => begin(&mut out, FINISH, *stream),
            Frame::Reset { stream, reset } => {
                begin(&mut out, RESET, *stream);
                put_reset(&mut out, reset);
            }
            Frame::Ask { stream, host, port } => {
                begin(&mut out, ASK, *stream);
                out.put_u16(*port);
                out.put_slice(cut(host, MAX_HOST).as_bytes());
            }
            Frame::Allowed { stream } => begin(&mut out, ALLOWED, *stream),
            Frame::Goodbye(reset) => {
                begin(&mut out, GOODBYE, 0);
                put_reset(&mut out, reset);
            }
        }
        out.freeze()
    }

    /// Begins a data frame, to which its bytes are added: they need not be copied.
    pub fn data_header(out: &mut impl bytes::BufMut, stream: StreamId) {
        out.put_u8(DATA);
        out.put_u32(stream);
    }

    /// Reads a message. The bytes of a data frame are not copied.
    ///
    /// # Errors
    /// Why it is no frame.
    pub fn decode(mut message: Bytes) -> Result<Frame, FrameError> {
        if message.len() > MAX_FRAME {
            return Err(FrameError::TooLong(message.len()));
        }
        let kind = message.first().copied().unwrap_or_default();
        if message.len() < HEADER {
            return Err(FrameError::Short(kind));
        }
        message.advance(1);
        let stream = message.get_u32();
        if (stream == 0) != (kind == GOODBYE) {
            return Err(FrameError::Field("number of a stream"));
        }
        let mut body = Body {
            kind,
            rest: message,
        };
        let frame = match kind {
            OPEN => Frame::Open {
                stream,
                credit: body.u32()?,
                port: body.port()?,
                host: body.host()?,
            },
            OPENED => Frame::Opened {
                stream,
                credit: body.u32()?,
            },
            DATA if body.rest.is_empty() => return Err(FrameError::Short(DATA)),
            DATA => Frame::Data {
                stream,
                bytes: std::mem::take(&mut body.rest),
            },
            CREDIT => match body.u32()? {
                0 => return Err(FrameError::Field("credit")),
                bytes => Frame::Credit { stream, bytes },
            },
            FINISH => Frame::Finish { stream },
            RESET => Frame::Reset {
                stream,
                reset: body.reset()?,
            },
            ASK => Frame::Ask {
                stream,
                port: body.port()?,
                host: body.host()?,
            },
            ALLOWED => Frame::Allowed { stream },
            GOODBYE => Frame::Goodbye(body.reset()?),
            other => return Err(FrameError::Kind(other)),
        };
        match body.rest.is_empty() {
            true => Ok(frame),
            false => Err(FrameError::Trailing(kind)),
        }
    }
}

fn begin(out: &mut BytesMut, kind: u8, stream: StreamId) {
    out.put_u8(kind);
    out.put_u32(stream);
}

fn put_reset(out: &mut BytesMut, reset: &Reset) {
    out.put_u8(reset.reason.code());
    out.put_slice(cut(&reset.words, MAX_WORDS).as_bytes());
}

/// The beginning of a text, of at most so many bytes.
pub(super) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// What follows the header of a frame.
struct Body {
    kind: u8,
    rest: Bytes,
}

impl Body {
    fn need(&self, bytes: usize) -> Result<(), FrameError> {
        match self.rest.len() >= bytes {
            true => Ok(()),
            false => Err(FrameError::Short(self.kind)),
        }
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.need(4)?;
        Ok(self.rest.get_u32())
    }

    fn port(&mut self) -> Result<u16, FrameError> {
        self.need(2)?;
        match self.rest.get_u16() {
            0 => Err(FrameError::Field("port")),
            port => Ok(port),
        }
    }

    fn text(&mut self, most: usize, what: &'static str) -> Result<String, FrameError> {
        let rest = std::mem::take(&mut self.rest);
        if rest.len() > most {
            return Err(FrameError::Field(what));
        }
        let text = std::str::from_utf8(&rest).map_err(|_| FrameError::Field(what))?;
        Ok(text.to_owned())
    }

    fn host(&mut self) -> Result<String, FrameError> {
        let host = self.text(MAX_HOST, "host")?;
        let odd = |c: char| c.is_control() || c.is_whitespace();
        match host.is_empty() || host.contains(odd) {
            true => Err(FrameError::Field("host")),
            false => Ok(host),
        }
    }

    fn reset(&mut self) -> Result<Reset, FrameError> {
        self.need(1)?;
        let reason = Reason::of_code(self.rest.get_u8());
        let words = self.text(MAX_WORDS, "reason")?;
        Ok(Reset { reason, words })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reset() -> impl Strategy<Value = Reset> {
        let reason = any::<u8>().prop_map(Reason::of_code);
        (reason, "\\PC{0,200}").prop_map(|(reason, words)| Reset { reason, words })
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let place = || ("[a-z0-9.:-]{1,255}", 1_u16..);
        let stream = || 1_u32..;
        let bytes = proptest::collection::vec(any::<u8>(), 1..3000).prop_map(Bytes::from);
        prop_oneof![
            (stream(), any::<u32>(), place()).prop_map(|(stream, credit, (host, port))| {
                Frame::Open {
                    stream,
                    credit,
                    host,
                    port,
                }
            }),
            (stream(), any::<u32>()).prop_map(|(stream, credit)| Frame::Opened { stream, credit }),
            (stream(), bytes).prop_map(|(stream, bytes)| Frame::Data { stream, bytes }),
            (stream(), 1_u32..).prop_map(|(stream, bytes)| Frame::Credit { stream, bytes }),
            stream().prop_map(|stream| Frame::Finish { stream }),
            (stream(), reset()).prop_map(|(stream, reset)| Frame::Reset { stream, reset }),
            (stream(), place()).prop_map(|(stream, (host, port))| Frame::Ask {
                stream,
                host,
                port
            }),
            stream().prop_map(|stream| Frame::Allowed { stream }),
            reset().prop_map(Frame::Goodbye),
        ]
    }

    proptest! {
        /// What is written is read back as it was; a piece of it, or more than it, is not taken for the same.
        #[test]
        fn a_frame_is_read_as_it_was_written(frame in frame(), at in any::<prop::sample::Index>()) {
            let bytes = frame.encode();
            prop_assert!(bytes.len() <= MAX_FRAME);
            prop_assert_eq!(Frame::decode(bytes.clone()), Ok(frame.clone()));
            let part = bytes.slice(..at.index(bytes.len()));
            prop_assert_ne!(Frame::decode(part), Ok(frame));
        }

        /// No message makes the reader panic, and what it takes for a frame is one.
        #[test]
        fn garbage_is_refused_or_is_a_frame(message in proptest::collection::vec(any::<u8>(), 0..400), kind in 0_u8..12) {
            let mut message = message;
            if let Some(first) = message.first_mut() {
                *first = kind;
            }
            let message = Bytes::from(message);
            if let Ok(frame) = Frame::decode(message.clone()) {
                prop_assert_eq!(Frame::decode(frame.encode()), Ok(frame));
            }
        }
    }

    /// The bounds of a frame, and what cannot be in one.
    #[test]
    fn what_is_no_frame_is_refused_with_its_fault() {
        let most = Frame::Data {
            stream: 1,
            bytes: vec![7; MAX_DATA].into(),
        };
        assert_eq!(most.encode().len(), MAX_FRAME);
        assert_eq!(Frame::decode(most.encode()), Ok(most));
        for (message, fault) in [
            (vec![3; MAX_FRAME + 1], FrameError::TooLong(MAX_FRAME + 1)),
            (vec![], FrameError::Short(0)),
            (vec![3, 0, 0, 0], FrameError::Short(3)),
            (vec![3, 0, 0, 0, 1], FrameError::Short(3)),
            (
                vec![3, 0, 0, 0, 0, 9],
                FrameError::Field("number of a stream"),
            ),
            (
                vec![9, 0, 0, 0, 1, 9],
                FrameError::Field("number of a stream"),
            ),
            (vec![4, 0, 0, 0, 1, 0, 0, 0, 0], FrameError::Field("credit")),
            (vec![5, 0, 0, 0, 1, 0], FrameError::Trailing(5)),
            (vec![7, 0, 0, 0, 1, 0, 0, b'a'], FrameError::Field("port")),
            (vec![7, 0, 0, 0, 1, 0, 1], FrameError::Field("host")),
            (
                vec![7, 0, 0, 0, 1, 0, 1, b'a', b' '],
                FrameError::Field("host"),
            ),
            (vec![7, 0, 0, 0, 1, 0, 1, 0xff], FrameError::Field("host")),
            (vec![77, 0, 0, 0, 1], FrameError::Kind(77)),
        ] {
            assert_eq!(Frame::decode(message.into()), Err(fault));
        }
        let mut long = vec![7, 0, 0, 0, 1, 0, 1];
        long.resize(7 + MAX_HOST + 1, b'a');
        assert_eq!(Frame::decode(long.into()), Err(FrameError::Field("host")));
        // Ours are cut, at a whole character.
        let long = Frame::Goodbye(Reset::new(Reason::Failed, "ü".repeat(MAX_WORDS)));
        let Ok(Frame::Goodbye(read)) = Frame::decode(long.encode()) else {
            panic!("no goodbye");
        };
        assert_eq!(read.words, "ü".repeat(MAX_WORDS / 2));
    }
}
