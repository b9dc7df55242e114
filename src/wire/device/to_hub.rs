//! Frames that a device sends to the hub.

use std::fmt;
use std::sync::Arc;

use super::encode::{self, Field};
use super::envelope::Envelope;
use super::{Content, Format, FrameError, Scalar};
use crate::wire::{Hidden, MAX_FRAME_BYTES, MAX_TOKEN_BYTES};

/// Every field of every payload.
const FIELDS: [&str; 9] = [
    "recipient_user_id", "recipient_device_id", "client_message_id", "echo_self", "content",
    "encoding", "up_to", "t", "token",
];

/// A frame from a device to the hub, told apart by its `type`.
#[derive(Clone, PartialEq)]
pub enum ToHub {
    /// `message`: something for other devices.
    Message(Box<Outgoing>),
    /// `ack`: the device has every message up to this id.
    Ack {
        /// The id; at most [`super::MAX_MESSAGE_ID`].
        up_to: u64,
    },
    /// `ping`: asks for a pong.
    Ping {
        /// Comes back in the pong.
        t: Option<Scalar>,
    },
    /// `pong`: the answer to the hub's ping.
    Pong,
    /// `refresh`: a new token, before the old one expires.
    Refresh {
        /// The token; at most [`MAX_TOKEN_BYTES`]. Secret.
        token: String,
    },
    /// `state`: asks what the hub knows of the connection.
    State,
}

/// A message on its way to the hub. Who sends it is not in it: the hub knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The user that it is for; an id.
    pub recipient_user_id: Arc<str>,
    /// The device that it is for; all devices of the user without it.
    pub recipient_device_id: Option<Arc<str>>,
    /// The sender's own id of the message.
    pub client_message_id: Option<Arc<str>>,
    /// Whether the sender's own other devices get it too.
    pub echo_self: bool,
    /// What it says.
    pub content: Content,
}

impl fmt::Debug for ToHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToHub::Message(message) => f.debug_tuple("Message").field(message).finish(),
            ToHub::Ack { up_to } => f.debug_struct("Ack").field("up_to", up_to).finish(),
            ToHub::Ping { t } => f.debug_struct("Ping").field("t", t).finish(),
            ToHub::Pong => f.write_str("Pong"),
            ToHub::Refresh { .. } => f.debug_struct("Refresh").field("token", &Hidden).finish(),
            ToHub::State => f.write_str("State"),
        }
    }
}

impl ToHub {
    /// Reads a frame of at most [`MAX_FRAME_BYTES`]; content may take as many bytes as JSON.
    ///
    /// # Errors
    /// What is wrong with it; see [`FrameError::code`].
    pub fn parse(format: Format, bytes: &[u8]) -> Result<ToHub, FrameError> {
        let frame = Envelope::read(format, bytes, &FIELDS, MAX_FRAME_BYTES)?;
        Self::of(&frame).map_err(|error| FrameError {
            client_message_id: frame.opt_shared_id("client_message_id").unwrap_or(None),
            ..error
        })
    }

    fn of(frame: &Envelope<'_, { FIELDS.len() }>) -> Result<ToHub, FrameError> {
        Ok(match frame.kind.as_ref() {
            "message" => ToHub::Message(Box::new(Outgoing {
                recipient_user_id: frame.id("recipient_user_id")?.into(),
                recipient_device_id: frame.opt_shared_id("recipient_device_id")?,
                client_message_id: frame.opt_shared_id("client_message_id")?,
                echo_self: frame.opt_flag("echo_self")?.unwrap_or(false),
                content: frame.content()?,
            })),
            "ack" => ToHub::Ack {
                up_to: frame.uint("up_to")?,
            },
            "ping" => ToHub::Ping {
                t: frame.opt_scalar("t")?,
            },
            "pong" => ToHub::Pong,
            "refresh" => ToHub::Refresh {
                token: frame.text("token", MAX_TOKEN_BYTES)?.into_owned(),
            },
            "state" => ToHub::State,
            kind => return Err(FrameError::unknown_type(kind)),
        })
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, format: Format, out: &mut Vec<u8>) {
        let mut write = |kind, fields: &[(&'static str, Field<'_>)]| {
            encode::frame(format, kind, fields, out);
        };
        match self {
            ToHub::Message(message) => {
                let Outgoing {
                    recipient_user_id,
                    recipient_device_id,
                    client_message_id,
                    echo_self,
                    content,
                } = message.as_ref();
                let fields = [
                    ("recipient_user_id", Field::Text(recipient_user_id)),
                    (
                        "recipient_device_id",
                        Field::opt_text(recipient_device_id.as_deref()),
                    ),
                    (
                        "client_message_id",
                        Field::opt_text(client_message_id.as_deref()),
                    ),
                    ("echo_self", Field::when(*echo_self)),
                    ("content", Field::Content(content)),
                ];
                write("message", &fields);
            }
            ToHub::Ack { up_to } => write("ack", &[("up_to", Field::Uint(*up_to))]),
            ToHub::Ping { t } => write("ping", &[("t", Field::opt_scalar(t.as_ref()))]),
            ToHub::Pong => write("pong", &[]),
            ToHub::Refresh { token } => write("refresh", &[("token", Field::Text(token))]),
            ToHub::State => write("state", &[]),
        }
    }
}
