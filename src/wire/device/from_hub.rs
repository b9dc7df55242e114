//! Frames that a device hears from the hub.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::encode::{self, Field};
use super::envelope::{Envelope, Found};
use super::{Content, Format, FrameError, Scalar, transcode};
use crate::wire::MAX_FRAME_BYTES;

/// The longest frame that a client reads: what a hub took as one frame may be longer in the other format.
const MAX_BYTES: usize = 8 * MAX_FRAME_BYTES;

/// Every field of every payload, save that of `state`.
const FIELDS: [&str; 25] = [
    "message_id", "client_message_id", "sender_user_id", "sender_device_id", "sent_at", "content",
    "encoding", "status", "devices", "duplicate", "connection_id", "user_id", "device_id",
    "session", "resumed", "expired", "ping_interval_ms", "max_message_bytes",
    "token_expires_in_ms", "code", "message", "retryable", "retry_after_ms", "t", "expires_in_ms",
];

type Frame<'a> = Envelope<'a, { FIELDS.len() }>;

/// A frame from the hub to a device, told apart by its `type`. The hub borrows what it writes; what is read owns itself.
///
/// Numbers are at most 2^53.
#[derive(Debug, Clone, PartialEq)]
pub enum FromHub<'a> {
    /// `connected`: the first frame of every connection.
    Connected(Connected<'a>),
    /// `message`: something that another device sent.
    Message(Incoming<'a>),
    /// `accepted`: the receipt of a message that the device sent.
    Accepted(Accepted<'a>),
    /// `error`: something that the device sent was not taken. The connection lives on.
    Error(ErrorReport<'a>),
    /// `ping`: asks for a pong.
    Ping,
    /// `pong`: the answer to the device's ping.
    Pong {
        /// As it came in the ping.
        t: Option<Scalar>,
    },
    /// `token_expiring`: time for a refresh.
    TokenExpiring {
        /// When the token expires, in milliseconds from now.
        expires_in_ms: u64,
    },
    /// `refreshed`: the new token was taken.
    Refreshed {
        /// When it expires, in milliseconds from now.
        expires_in_ms: u64,
    },
    /// `state`: what the hub knows of the connection. Written as MessagePack, it becomes `nil` where it is deeper
    /// than [`crate::wire::MAX_DEPTH`].
    State(Map<String, Value>),
    /// `going_away`: the hub is about to close the connection and asks the device to come back.
    GoingAway {
        /// After how many milliseconds.
        retry_after_ms: u64,
    },
}

/// What a device learns when it is connected.
#[derive(Debug, Clone, PartialEq)]
pub struct Connected<'a> {
    /// The id of this connection.
    pub connection_id: Cow<'a, str>,
    /// The user, as the token says.
    pub user_id: Cow<'a, str>,
    /// The device, as the token says.
    pub device_id: Cow<'a, str>,
    /// The id of the session, to resume it by.
    pub session: Cow<'a, str>,
    /// Whether the session that the device asked for goes on, also over a planned restart of the hub.
    pub resumed: bool,
    /// Messages that outlived their retention since the device was last here, and are gone.
    pub expired: u64,
    /// How often the hub pings, in milliseconds.
    pub ping_interval_ms: u64,
    /// The largest frame that the hub takes, in bytes.
    pub max_message_bytes: u64,
    /// When the token expires, in milliseconds from now; without it, never.
    pub token_expires_in_ms: Option<u64>,
}

/// A message from another device.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming<'a> {
    /// The hub's id of it, ascending; what `ack` refers to.
    pub message_id: u64,
    /// The user who sent it, as the hub knows.
    pub sender_user_id: Cow<'a, str>,
    /// The device that sent it; may be empty.
    pub sender_device_id: Cow<'a, str>,
    /// The sender's own id of it.
    pub client_message_id: Option<Cow<'a, str>>,
    /// When the hub took it (`sent_at`), in milliseconds since 1970.
    pub sent_at_ms: u64,
    /// What it says.
    pub content: Cow<'a, Content>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// `delivered`: every device has acknowledged it.
    Delivered,
    /// `stored`: it waits on disk for at least one device.
    Stored,
}

/// The receipt of a message: it will not be lost.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted<'a> {
    /// The hub's id of the message.
    pub message_id: u64,
    /// The sender's own id of it.
    pub client_message_id: Option<Cow<'a, str>>,
    /// What became of it.
    pub status: Delivery,
    /// To how many devices it went.
    pub devices: u64,
    /// Whether it had been sent before, and this is the answer again.
    pub duplicate: bool,
}

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorReport<'a> {
    /// What went wrong, for programs: `MAILBOX_FULL` and the like.
    pub code: Cow<'a, str>,
    /// What went wrong, for people.
    pub message: Cow<'a, str>,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// After how many milliseconds to try again.
    pub retry_after_ms: Option<u64>,
    /// The id that the device gave the message that this is about.
    pub client_message_id: Option<Cow<'a, str>>,
}

impl FromHub<'_> {
    /// Reads a frame, of at most eight times [`MAX_FRAME_BYTES`].
    ///
    /// # Errors
    /// What is wrong with it. `UNKNOWN_TYPE` is harmless: a later hub may say more.
    pub fn parse(format: Format, bytes: &[u8]) -> Result<FromHub<'static>, FrameError> {
        let frame: Frame<'_> = Envelope::read(format, bytes, &FIELDS, MAX_BYTES)?;
        Ok(match frame.kind.as_ref() {
            "message" => FromHub::Message(Incoming {
                message_id: frame.uint("message_id")?,
                sender_user_id: owned(frame.id("sender_user_id")?),
                sender_device_id: owned(frame.line("sender_device_id")?),
                client_message_id: frame.opt_id("client_message_id")?.map(owned),
                sent_at_ms: frame.uint("sent_at")?,
                content: Cow::Owned(frame.content()?),
            }),
            "accepted" => FromHub::Accepted(Accepted {
                message_id: frame.uint("message_id")?,
                client_message_id: frame.opt_id("client_message_id")?.map(owned),
                status: Delivery::parse(&frame.id("status")?)?,
                devices: frame.uint("devices")?,
                duplicate: frame.opt_flag("duplicate")?.unwrap_or(false),
            }),
            "connected" => FromHub::Connected(Connected {
                connection_id: owned(frame.id("connection_id")?),
                user_id: owned(frame.id("user_id")?),
                device_id: owned(frame.id("device_id")?),
                session: owned(frame.id("session")?),
                resumed: frame.flag("resumed")?,
                expired: frame.uint("expired")?,
                ping_interval_ms: frame.uint("ping_interval_ms")?,
                max_message_bytes: frame.uint("max_message_bytes")?,
                token_expires_in_ms: frame.opt_uint("token_expires_in_ms")?,
            }),
            "error" => FromHub::Error(ErrorReport {
                code: owned(frame.id("code")?),
                message: owned(frame.text("message", MAX_FRAME_BYTES)?),
                retryable: frame.flag("retryable")?,
                retry_after_ms: frame.opt_uint("retry_after_ms")?,
                client_message_id: frame.opt_id("client_message_id")?.map(owned),
            }),
            "ping" => FromHub::Ping,
            "pong" => FromHub::Pong {
                t: frame.opt_scalar("t")?,
            },
            "token_expiring" => FromHub::TokenExpiring {
                expires_in_ms: frame.uint("expires_in_ms")?,
            },
            "refreshed" => FromHub::Refreshed {
                expires_in_ms: frame.uint("expires_in_ms")?,
            },
            "state" => FromHub::State(object(frame.payload)?),
            "going_away" => FromHub::GoingAway {
                retry_after_ms: frame.uint("retry_after_ms")?,
            },
            kind => return Err(FrameError::unknown_type(kind)),
        })
    }

    /// Appends the frame to `out`. Nothing is allocated but what `out` needs, save for `state` and for content that
    /// changes its format.
    pub fn encode(&self, format: Format, out: &mut Vec<u8>) {
        let mut write = |kind, fields: &[(&'static str, Field<'_>)]| {
            encode::frame(format, kind, fields, out);
        };
        match self {
            FromHub::Connected(connected) => write("connected", &connected.fields()),
            FromHub::Message(message) => write("message", &message.fields()),
            FromHub::Accepted(accepted) => write("accepted", &accepted.fields()),
            FromHub::Error(error) => write("error", &error.fields()),
            FromHub::Ping => write("ping", &[]),
            FromHub::Pong { t } => write("pong", &[("t", Field::opt_scalar(t.as_ref()))]),
            FromHub::TokenExpiring { expires_in_ms } => {
                write(
                    "token_expiring",
                    &[("expires_in_ms", Field::Uint(*expires_in_ms))],
                );
            }
            FromHub::Refreshed { expires_in_ms } => {
                write(
                    "refreshed",
                    &[("expires_in_ms", Field::Uint(*expires_in_ms))],
                );
            }
            FromHub::State(object) => {
                let mut text = Vec::new();
                encode::write_json(&mut text, object);
                let text = String::from_utf8_lossy(&text);
                encode::frame_around(format, "state", &text, out);
            }
            FromHub::GoingAway { retry_after_ms } => {
                write(
                    "going_away",
                    &[("retry_after_ms", Field::Uint(*retry_after_ms))],
                );
            }
        }
    }
}

type Fields<'a, const N: usize> = [(&'static str, Field<'a>); N];

impl Connected<'_> {
    fn fields(&self) -> Fields<'_, 9> {
        [
            ("connection_id", Field::Text(&self.connection_id)),
            ("user_id", Field::Text(&self.user_id)),
            ("device_id", Field::Text(&self.device_id)),
            ("session", Field::Text(&self.session)),
            ("resumed", Field::Flag(self.resumed)),
            ("expired", Field::Uint(self.expired)),
            ("ping_interval_ms", Field::Uint(self.ping_interval_ms)),
            ("max_message_bytes", Field::Uint(self.max_message_bytes)),
            (
                "token_expires_in_ms",
                Field::opt_uint(self.token_expires_in_ms),
            ),
        ]
    }
}

impl Incoming<'_> {
    fn fields(&self) -> Fields<'_, 6> {
        [
            ("message_id", Field::Uint(self.message_id)),
            ("sender_user_id", Field::Text(&self.sender_user_id)),
            ("sender_device_id", Field::Text(&self.sender_device_id)),
            (
                "client_message_id",
                Field::opt_text(self.client_message_id.as_deref()),
            ),
            ("sent_at", Field::Uint(self.sent_at_ms)),
            ("content", Field::Content(&self.content)),
        ]
    }
}

impl Accepted<'_> {
    fn fields(&self) -> Fields<'_, 5> {
        [
            ("message_id", Field::Uint(self.message_id)),
            (
                "client_message_id",
                Field::opt_text(self.client_message_id.as_deref()),
            ),
            ("status", Field::Text(self.status.token())),
            ("devices", Field::Uint(self.devices)),
            ("duplicate", Field::when(self.duplicate)),
        ]
    }
}

impl ErrorReport<'_> {
    fn fields(&self) -> Fields<'_, 5> {
        [
            ("code", Field::Text(&self.code)),
            ("message", Field::Text(&self.message)),
            ("retryable", Field::Flag(self.retryable)),
            ("retry_after_ms", Field::opt_uint(self.retry_after_ms)),
            (
                "client_message_id",
                Field::opt_text(self.client_message_id.as_deref()),
            ),
        ]
    }
}

impl Delivery {
    /// The word on the wire.
    pub fn token(self) -> &'static str {
        match self {
            Delivery::Delivered => "delivered",
            Delivery::Stored => "stored",
        }
    }

    fn parse(token: &str) -> Result<Self, FrameError> {
        [Delivery::Delivered, Delivery::Stored]
            .into_iter()
            .find(|delivery| delivery.token() == token)
            .ok_or_else(|| FrameError::field("status", "it is not known"))
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn object(payload: Option<Found<'_>>) -> Result<Map<String, Value>, FrameError> {
    let object = match payload.ok_or_else(|| FrameError::missing("payload"))? {
        Found::Json(text, _) => serde_json::from_str(text),
        Found::MessagePack(bytes) => serde_json::from_str(&transcode::to_json(bytes, MAX_BYTES)?),
    };
    object.map_err(|_| FrameError::field("payload", "its text or numbers are not acceptable"))
}
