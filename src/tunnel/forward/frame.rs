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
pub(super) const MAX_FRAME: usize = 65_536;
/// What stands before the bytes of a stream.
pub(super) const HEADER: usize = 5;
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
