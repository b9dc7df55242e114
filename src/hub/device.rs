//! The device dialect at the hub: what a device's message does, and how it is told what comes for it
//! (websocket-connection.md).

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::HubConfig;
use super::auth::{Identity, TokenError};
use super::core::lock;
use super::engine::{
    Attached, ConnId, DeviceKey, Engine, Letter, PostRefused, Posting, Receipt, Sink, Status,
};
use super::limits::{Bucket, HubLimits};
use super::outbox::Outbox;
use super::state;
use crate::wire::device::{
    Accepted, Connected, Delivery, ErrorReport, Format, FrameError, FromHub, Incoming, Outgoing,
    ToHub,
};

/// What a device's handshake settled.
pub(super) struct Settled {
    pub(super) key: DeviceKey,
    /// The subprotocol's format; without a subprotocol, a device is answered in the kind of frame that it used last.
    pub(super) format: Option<Format>,
    /// Until the token ends.
    pub(super) token: Duration,
    /// The session to go on with.
    pub(super) resume: Option<String>,
    /// The last message that the device has.
    pub(super) last: Option<u64>,
    /// Whether pings are sent as messages too, for those that cannot see the protocol's own.
    pub(super) json_ping: bool,
}

/// One device's side of its connection.
pub(super) struct DeviceSpeech {
    pub(super) settled: Settled,
    pub(super) sink: Arc<DeviceSink>,
    engine: Arc<dyn Engine>,
    messages: Bucket,
}

/// What the connection is to do about a message, beside what was done already.
pub(super) enum Verdict {
    /// Nothing.
    Done,
    /// It made no sense, and the device was told.
    Rubbish,
    /// It could not be taken, and the device was told.
    Refused,
    /// It came too fast, and the device was told.
    TooFast,
    /// A new token, to be looked at.
    Refresh(String),
    /// The device asks what its connection is.
    State,
}

impl DeviceSpeech {
    /// The speech of a device that has just come in.
    pub(super) fn new(
        settled: Settled,
        sink: Arc<DeviceSink>,
        engine: Arc<dyn Engine>,
        limits: &HubLimits,
    ) -> Self {
        let rate = f64::from(limits.socket_messages_per_second);
        DeviceSpeech {
            settled,
            sink,
            engine,
            messages: Bucket::new(rate, 2.0 * rate, Instant::now()),
        }
    }

    /// Handles one message.
    pub(super) fn message(&mut self, text: bool, bytes: &[u8], now: Instant) -> Verdict {
        let format = if text {
            Format::Json
        } else {
            Format::MessagePack
        };
        if self.settled.format.is_none() {
            self.sink.answer_in(format);
        }
        let parsed = ToHub::parse(format, bytes);
        if let Err(wait) = self.messages.try_take(now) {
            let id = match &parsed {
                Ok(ToHub::Message(outgoing)) => outgoing.client_message_id.as_deref(),
                _ => None,
            };
            self.sink.error(ErrorReport {
                code: "RATE_LIMITED".into(),
                message: "one connection may not send so many messages; wait, and send it again"
                    .into(),
                retryable: true,
                retry_after_ms: Some(millis(wait).max(1)),
                client_message_id: id.map(Cow::Borrowed),
            });
            return Verdict::TooFast;
        }
        match parsed {
            Err(error) => {
                tracing::debug!(device = ?self.settled.key, code = error.code, "message not understood");
                self.sink.not_understood(&error);
                Verdict::Rubbish
            }
            Ok(ToHub::Message(outgoing)) => self.post(*outgoing),
            Ok(ToHub::Ack { up_to }) => {
                self.engine
                    .acknowledge(&self.settled.key, self.sink.conn(), up_to);
                Verdict::Done
            }
            Ok(ToHub::Ping { t }) => {
                self.sink.say(&FromHub::Pong { t });
                Verdict::Done
            }
            Ok(ToHub::Pong) => Verdict::Done,
            Ok(ToHub::Refresh { token }) => Verdict::Refresh(token),
            Ok(ToHub::State) => Verdict::State,
        }
    }

    fn post(&self, outgoing: Outgoing) -> Verdict {
        let id = outgoing.client_message_id.clone();
        let posting = Posting {
            user: outgoing.recipient_user_id,
            device: outgoing.recipient_device_id,
            client_message_id: outgoing.client_message_id,
            echo_self: outgoing.echo_self,
            content: outgoing.content,
        };
        match self.engine.post(&self.settled.key, posting, None) {
            Ok(()) => Verdict::Done,
            Err(why) => {
                self.sink.refused(id.as_deref(), &why);
                Verdict::Refused
            }
        }
    }

    /// Puts the device into routing; it is greeted, and then given what waits for it.
    pub(super) fn attach(&self, conn: ConnId, config: &HubConfig) {
        let settled = &self.settled;
        self.sink.introduce(Introduction {
            conn,
            connection_id: state::connection_id(&config.node, conn),
            device: settled.key.clone(),
            ping_interval: config.ping_interval,
            max_message_bytes: config.limits.message_bytes,
        });
        let sink = Arc::clone(&self.sink) as Arc<dyn Sink>;
        let resume = settled.resume.as_deref();
        self.engine
            .attach(&settled.key, conn, sink, resume, settled.last);
    }

    /// Tells the device that its token is about to end.
    pub(super) fn warn_of_expiry(&self) {
        self.sink.say(&FromHub::TokenExpiring {
            expires_in_ms: millis(self.sink.token_left()),
        });
    }

    /// Tells the device that the hub goes, and when to come back.
    pub(super) fn say_going_away(&self) {
        // Not all at once: each is given a time of its own.
        self.sink.say(&FromHub::GoingAway {
            retry_after_ms: rand::random_range(500..=5000),
        });
    }

    /// What is to be done about a new token, once it was looked at: its time from now on, or nothing.
    pub(super) fn refreshed(&self, identity: Result<Identity, TokenError>) -> Option<Duration> {
        let key = &self.settled.key;
        let (code, message) = match identity {
            Ok(identity)
                if identity.user == *key.user
                    && identity
                        .device
                        .as_deref()
                        .is_none_or(|device| device == &*key.device) =>
            {
                let time = identity.expires_in;
                self.sink.token_lasts(time);
                self.sink.say(&FromHub::Refreshed {
                    expires_in_ms: millis(time),
                });
                return Some(time);
            }
            Ok(_) => (
                "TOKEN_INVALID",
                "the token is of another user or device".to_owned(),
            ),
            Err(error) => (error.code(), error.to_string()),
        };
        self.sink.error(ErrorReport {
            code: code.into(),
            message: message.into(),
            retryable: false,
            retry_after_ms: None,
            client_message_id: None,
        });
        None
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a device is told of its connection when it is greeted.
struct Introduction {
    conn: ConnId,
    connection_id: String,
    device: DeviceKey,
    ping_interval: Duration,
    max_message_bytes: usize,
}

/// The way to a device's socket, in the device's own format.
pub(super) struct DeviceSink {
    outbox: Outbox,
    /// Whether it is answered in MessagePack.
    packed: AtomicBool,
    introduction: OnceLock<Introduction>,
    token_ends: Mutex<Instant>,
}

thread_local! {
    /// Where a message is written before it is queued.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that the scratch buffer keeps for the next message.
const SCRATCH_KEPT: usize = 64 << 10;

impl DeviceSink {
    /// The way over this socket.
    pub(super) fn new(outbox: Outbox, settled: &Settled) -> Self {
        DeviceSink {
            outbox,
            packed: AtomicBool::new(settled.format == Some(Format::MessagePack)),
            introduction: OnceLock::new(),
            token_ends: Mutex::new(Instant::now() + settled.token),
        }
    }

    fn introduce(&self, introduction: Introduction) {
        // There is one attachment for each sink.
        let _ = self.introduction.set(introduction);
    }

    /// The number of the connection.
    fn conn(&self) -> ConnId {
        self.introduction.get().map_or(0, |known| known.conn)
    }

    fn token_left(&self) -> Duration {
        lock(&self.token_ends).saturating_duration_since(Instant::now())
    }

    fn token_lasts(&self, time: Duration) {
        *lock(&self.token_ends) = Instant::now() + time;
    }

    /// From now on the device is answered in this format.
    fn answer_in(&self, format: Format) {
        let packed = format == Format::MessagePack;
        self.packed.store(packed, Ordering::Relaxed);
    }

    /// Tells the device something; false when it does not fit. A device that does not read is ended by its line.
    pub(super) fn say(&self, frame: &FromHub<'_>) -> bool {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let packed = self.packed.load(Ordering::Relaxed);
            let sent = if packed {
                frame.encode(Format::MessagePack, scratch);
                self.outbox.binary(scratch)
            } else {
                frame.encode(Format::Json, scratch);
                self.outbox.text(scratch)
            };
            scratch.shrink_to(SCRATCH_KEPT);
            sent
        })
    }

    fn error(&self, report: ErrorReport<'_>) {
        self.say(&FromHub::Error(report));
    }

    fn not_understood(&self, error: &FrameError) {
        self.error(ErrorReport {
            code: error.code.into(),
            message: error.message.as_str().into(),
            retryable: false,
            retry_after_ms: None,
            client_message_id: error.client_message_id.as_deref().map(Cow::Borrowed),
        });
    }
}

impl Sink for DeviceSink {
    fn attached(&self, attached: &Attached) {
        let Some(known) = self.introduction.get() else {
            return;
        };
        self.say(&FromHub::Connected(Connected {
            connection_id: known.connection_id.as_str().into(),
            user_id: (&*known.device.user).into(),
            device_id: (&*known.device.device).into(),
            session: attached.session.as_str().into(),
            resumed: attached.resumed,
            expired: attached.expired,
            ping_interval_ms: millis(known.ping_interval),
            max_message_bytes: known.max_message_bytes as u64,
            token_expires_in_ms: Some(millis(self.token_left())),
        }));
    }

    fn message(&self, letter: &Letter) -> bool {
        self.say(&FromHub::Message(Incoming {
            message_id: letter.id,
            sender_user_id: (&*letter.from.user).into(),
            sender_device_id: (&*letter.from.device).into(),
            client_message_id: letter.client_message_id.as_deref().map(Cow::Borrowed),
            sent_at_ms: letter.sent_at_ms,
            content: Cow::Borrowed(&letter.content),
        }))
    }

    fn receipt(&self, receipt: &Receipt) {
        self.say(&FromHub::Accepted(Accepted {
            message_id: receipt.message_id,
            client_message_id: receipt.client_message_id.as_deref().map(Cow::Borrowed),
            status: match receipt.status {
                Status::Delivered => Delivery::Delivered,
                Status::Stored => Delivery::Stored,
            },
            devices: receipt.devices as u64,
            duplicate: receipt.duplicate,
        }));
    }

    fn refused(&self, client_message_id: Option<&str>, why: &PostRefused) {
        self.error(ErrorReport {
            code: why.code().into(),
            message: why.to_string().into(),
            retryable: why.is_retryable(),
            retry_after_ms: None,
            client_message_id: client_message_id.map(Cow::Borrowed),
        });
    }
}
