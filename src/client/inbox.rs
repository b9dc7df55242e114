//! The mailbox of this device: what was sent to its user while nobody was there (websocket-connection.md).

mod error;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

pub use self::error::InboxError;
use crate::actors::session::socket::{self, Outgoing, SocketEvent};
use crate::actors::session::{HubAccess, SessionError, sign_in, sign_in_as};
use crate::identity::Identity;
use crate::wire::device::{Content, Format, FromHub, Incoming, Scalar, ToHub};

/// How long the hub may take to greet, or to answer a ping.
const ANSWER: Duration = Duration::from_secs(10);
/// The hub reads its store while it answers pings; after so much silence nothing more is on its way.
const QUIET: Duration = Duration::from_millis(400);
/// Pauses between two attempts to come back.
const BACKOFF: [u64; 6] = [1, 2, 4, 8, 16, 32];
/// Messages that are remembered as shown, in case the acknowledgement was lost with its connection.
const REMEMBERED: usize = 4096;
/// Frames that may wait to be shown, or to be sent.
const QUEUE: usize = 64;

/// One reading of a mailbox.
pub struct Inbox {
    /// The hub, and who one is there.
    pub hub: HubAccess,
    /// Nothing is acknowledged: everything comes again the next time.
    pub keep: bool,
    /// Stays, and comes back when the connection is lost.
    pub follow: bool,
}

/// One thing worth showing.
#[derive(Debug, Clone, PartialEq)]
pub enum InboxNews {
    /// The hub has let this device in.
    Connected {
        /// Messages that were too old to be kept any longer, and are gone.
        expired: u64,
    },
    /// A message. It is acknowledged later, unless showing it failed.
    Message(Box<InboxMessage>),
    /// Everything that waited was shown.
    CaughtUp,
    /// The connection is lost; it is tried again.
    Lost(String),
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxMessage {
    /// The hub's number of it.
    pub message_id: u64,
    /// Who sent it, as the hub knows.
    pub sender_user_id: String,
    /// On which device.
    pub sender_device_id: String,
    /// When the hub took it, in milliseconds since 1970.
    pub sent_at_ms: u64,
    /// What it says: anything, from anybody.
    pub content: Content,
}

impl From<Incoming<'_>> for InboxMessage {
    fn from(message: Incoming<'_>) -> Self {
        InboxMessage {
            message_id: message.message_id,
            sender_user_id: message.sender_user_id.into_owned(),
            sender_device_id: message.sender_device_id.into_owned(),
            sent_at_ms: message.sent_at_ms,
            content: message.content.into_owned(),
        }
    }
}

impl Inbox {
    /// Reads the mailbox: what waits is shown in order, then acknowledged. Ends when nothing waits any more; with
    /// `follow`, not at all.
    ///
    /// # Errors
    /// Why it cannot be read. Whatever was not acknowledged comes again.
    pub async fn read(
        self,
        mut show: impl FnMut(InboxNews) -> io::Result<()>,
    ) -> Result<(), InboxError> {
        let mut shown = BTreeSet::new();
        let (mut attempt, mut was_there) = (0, false);
        loop {
            let mut reading = match Line::open(&self.hub).await {
                Ok((line, expired)) => {
                    (attempt, was_there) = (0, true);
                    show(InboxNews::Connected { expired }).map_err(InboxError::Output)?;
                    Reading {
                        line,
                        inbox: &self,
                        shown: &mut shown,
                        pings: 0,
                        unread: None,
                    }
                }
                Err(error) if self.follow && was_there && error.is_passing() => {
                    pause(&mut attempt, &error, &mut show).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let end = reading.read(&mut show).await;
            let line = reading.line;
            line.close().await;
            match end {
                Err(error) if self.follow && error.is_passing() => {
                    pause(&mut attempt, &error, &mut show).await?;
                }
                end => return end,
            }
        }
    }
}

async fn pause(
    attempt: &mut usize,
    error: &InboxError,
    show: &mut impl FnMut(InboxNews) -> io::Result<()>,
) -> Result<(), InboxError> {
    show(InboxNews::Lost(error.to_string())).map_err(InboxError::Output)?;
    let seconds = BACKOFF[(*attempt).min(BACKOFF.len() - 1)];
    *attempt += 1;
    let spread = f64::from(rand::random::<u16>()) / f64::from(u16::MAX);
    tokio::time::sleep(Duration::from_secs_f64(
        seconds as f64 * (0.5 + spread / 2.0),
    ))
    .await;
    Ok(())
}

/// Makes this device known to the hub, so that from now on it has a mailbox of its own. Nothing in it is touched.
///
/// # Errors
/// When the hub has no mailboxes, or is not to be had.
pub async fn introduce(hub: &HubAccess) -> Result<(), InboxError> {
    let (line, _) = Line::open(hub).await?;
    line.close().await;
    if let Some(identity) = hub.keeper.load()?.filter(|identity| !identity.introduced) {
        hub.keeper.save(Identity {
            introduced: true,
            ..identity
        })?;
    }
    Ok(())
}

/// Makes sure that there is an identity, and that the hub has seen this device of it.
///
/// # Errors
/// When the hub has no mailboxes, or is not to be had.
pub async fn ensure_identity(hub: &HubAccess) -> Result<Identity, InboxError> {
    if hub.keeper.load()?.is_none() {
        sign_in(&hub.client(Some(ANSWER)), hub).await?;
    }
    let known = || InboxError::OldHub(hub.url.to_string());
    let identity = hub.keeper.load()?.ok_or_else(known)?;
    if !identity.introduced {
        introduce(hub).await?;
    }
    hub.keeper.load()?.ok_or_else(known)
}

/// One connection of a device.
struct Line {
    send: mpsc::Sender<Outgoing>,
    heard: mpsc::Receiver<SocketEvent>,
    task: tokio::task::JoinHandle<()>,
}

impl Line {
    /// Connects, and waits for the greeting; how many messages have expired comes back too.
    async fn open(hub: &HubAccess) -> Result<(Line, u64), InboxError> {
        let url = || hub.url.to_string();
        let known = hub
            .keeper
            .load()?
            .ok_or_else(|| InboxError::NoIdentity(url()))?;
        let http = hub.client(Some(ANSWER));
        let unknown = || InboxError::Unknown {
            hub: url(),
            user: known.user.clone(),
        };
        let answer = sign_in_as(&http, hub, &known).await?.ok_or_else(unknown)?;
        if answer.refresh_token.is_none() {
            return Err(InboxError::OldHub(url()));
        }
        if answer.username != known.user {
            return Err(unknown());
        }
        let request = hub
            .client(None)
            .ws(hub.url.device_socket())
            .protocols([Format::Json.protocol()])
            .bearer_auth(&answer.id_token);
        let (send, outgoing) = mpsc::channel(QUEUE);
        let (tell, heard) = mpsc::channel(QUEUE);
        let task = actix_rt::spawn(socket::run(request, outgoing, async move |event| {
            // Whoever does not listen any more has let go of the line.
            let _ = tell.send(event).await;
        }));
        let mut line = Line { send, heard, task };
        let greeted = async {
            loop {
                match line.next().await? {
                    Some(FromHub::Connected(connected)) => return Ok(connected.expired),
                    Some(FromHub::Error(error)) if error.code == "UNKNOWN_MESSAGE_TYPE" => {
                        return Err(InboxError::OldHub(url()));
                    }
                    _ => {}
                }
            }
        };
        let expired = timeout(ANSWER, greeted).await.unwrap_or_else(|_| {
            Err(InboxError::Lost(
                "it does not answer as a mailbox does".to_owned(),
            ))
        });
        match expired {
            Ok(expired) => Ok((line, expired)),
            Err(InboxError::Hub(SessionError::Refused(status))) => Err(match status.as_str() {
                "404" | "405" | "426" | "501" => InboxError::OldHub(url()),
                status => InboxError::Hub(SessionError::SignIn {
                    hub: url(),
                    detail: format!("it does not let the device in (HTTP status {status})"),
                }),
            }),
            Err(error) => Err(error),
        }
    }

    /// The next frame; nothing for what is none of ours.
    async fn next(&mut self) -> Result<Option<FromHub<'static>>, InboxError> {
        loop {
            match self.heard.recv().await {
                Some(SocketEvent::Open) => {}
                Some(SocketEvent::Text(text)) => {
                    return Ok(match FromHub::parse(Format::Json, text.as_bytes()) {
                        Ok(frame) => Some(frame),
                        Err(error) => {
                            tracing::debug!(
                                code = error.code,
                                "a frame of the hub was not understood"
                            );
                            None
                        }
                    });
                }
                Some(SocketEvent::Refused(status)) => {
                    return Err(SessionError::Refused(status.to_string()).into());
                }
                Some(SocketEvent::Lost(why)) => return Err(InboxError::Lost(why)),
                None => return Err(InboxError::Lost("it ended".to_owned())),
            }
        }
    }

    fn say(&self, frame: &ToHub) -> Result<(), InboxError> {
        let mut text = Vec::new();
        frame.encode(Format::Json, &mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        self.send
            .try_send(Outgoing::Text(text))
            .map_err(|_| InboxError::Lost("the hub does not read".to_owned()))
    }

    async fn close(self) {
        let Line { send, heard, task } = self;
        drop(heard);
        socket::hang_up(send).await;
        task.abort();
    }
}

/// The reading of a mailbox over one connection.
struct Reading<'a> {
    line: Line,
    inbox: &'a Inbox,
    /// Number and time: numbers begin anew with a new store.
    shown: &'a mut BTreeSet<(u64, u64)>,
    pings: u64,
    /// The last message that was shown and is not acknowledged.
    unread: Option<u64>,
}

impl Reading<'_> {
    async fn read(
        &mut self,
        show: &mut impl FnMut(InboxNews) -> io::Result<()>,
    ) -> Result<(), InboxError> {
        loop {
            self.drain(show).await?;
            show(InboxNews::CaughtUp).map_err(InboxError::Output)?;
            if !self.inbox.follow {
                return Ok(());
            }
            // Until something comes; then everything that comes with it.
            while self.unread.is_none() {
                let frame = self.line.next().await?;
                self.take(frame, show)?;
            }
        }
    }

    /// Shows and acknowledges what is there, until nothing comes any more.
    async fn drain(
        &mut self,
        show: &mut impl FnMut(InboxNews) -> io::Result<()>,
    ) -> Result<(), InboxError> {
        let mut quiet = false;
        loop {
            let came = self.until_pong(show).await?;
            if let Some(up_to) = self.unread.take() {
                if !self.inbox.keep {
                    self.line.say(&ToHub::Ack { up_to })?;
                }
                quiet = false;
            } else if quiet && !came {
                return Ok(());
            } else if let Ok(frame) = timeout(QUIET, self.line.next()).await {
                self.take(frame?, show)?;
                quiet = false;
            } else {
                quiet = true;
            }
        }
    }

    /// Pings, and takes what comes before the pong; whether anything did.
    async fn until_pong(
        &mut self,
        show: &mut impl FnMut(InboxNews) -> io::Result<()>,
    ) -> Result<bool, InboxError> {
        self.pings += 1;
        let own = Some(Scalar::Uint(self.pings));
        self.line.say(&ToHub::Ping { t: own.clone() })?;
        let mut came = false;
        loop {
            match timeout(ANSWER, self.line.next()).await {
                Err(_) => return Err(InboxError::Lost("it does not answer".to_owned())),
                Ok(frame) => match frame? {
                    Some(FromHub::Pong { t }) if t == own => return Ok(came),
                    frame => came |= self.take(frame, show)?,
                },
            }
        }
    }

    /// Takes one frame; whether it was a message.
    fn take(
        &mut self,
        frame: Option<FromHub<'static>>,
        show: &mut impl FnMut(InboxNews) -> io::Result<()>,
    ) -> Result<bool, InboxError> {
        match frame {
            Some(FromHub::Message(message)) => {
                let key = (message.message_id, message.sent_at_ms);
                if !self.shown.contains(&key) {
                    show(InboxNews::Message(Box::new(message.into())))
                        .map_err(InboxError::Output)?;
                    self.shown.insert(key);
                    if self.shown.len() > REMEMBERED {
                        self.shown.pop_first();
                    }
                }
                self.unread = Some(key.0);
                return Ok(true);
            }
            Some(FromHub::Ping) => self.line.say(&ToHub::Pong)?,
            // A new connection has a new token.
            Some(FromHub::TokenExpiring { .. }) => {
                return Err(InboxError::Lost("its token is about to expire".to_owned()));
            }
            Some(FromHub::GoingAway { .. }) => {
                return Err(InboxError::Lost("the hub is about to stop".to_owned()));
            }
            Some(FromHub::Error(error)) => {
                tracing::warn!(code = %error.code, "the hub reports an error");
            }
            _ => {}
        }
        Ok(false)
    }
}
