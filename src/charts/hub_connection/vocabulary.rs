//! The words of `hub_connection`: its settings, events, timers and effects.

use std::time::Duration;

use crate::wire::close::{CloseCode, RESUME_TIME};

/// The shortest time after which a socket is looked at again: a word that came only just in time does not make the
/// hub look without pause.
pub const LEAST: Duration = Duration::from_millis(10);
/// A token counts as this long at the most, whatever it says of itself: a timer has to have an end that a clock can name.
pub const LONGEST_TOKEN: Duration = Duration::from_secs(365 * 24 * 3600);

/// Which protocol the socket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The signalling protocol: a peer registers in a room, and nothing of it outlives its socket.
    Signalling,
    /// A user's device, with a mailbox: its session outlives the socket for a while.
    Device,
}

/// How long the hub waits for what, and how much it puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Which protocol the socket speaks.
    pub dialect: Dialect,
    /// How long a socket may be open without a registration, or a device without being attached.
    pub opening: Duration,
    /// How long nothing has to come before the peer is asked whether it is there. More than [`LEAST`].
    pub silence: Duration,
    /// How long it then has for any sign of life.
    pub answer: Duration,
    /// How long the closing handshake may take.
    pub closing: Duration,
    /// How long a device's session is kept after its connection.
    pub resume: Duration,
    /// How long before its token's end a peer is warned. A token of less than twice this time is warned of at its half.
    pub warn: Duration,
    /// How long after its token's end a peer may stay.
    pub grace: Duration,
    /// How many messages that make no sense, within `forgive`, end the connection. 0 counts as 1.
    pub strikes: u32,
    /// How often the peer may be told that it is too fast, within `forgive`, before that ends the connection. 0 counts
    /// as 1.
    pub overruns: u32,
    /// After how long, from the first of them, strikes and overruns are forgotten.
    pub forgive: Duration,
}

impl Settings {
    /// What a socket of the signalling protocol has by default: 60 s to register.
    pub const fn signalling() -> Self {
        Settings {
            dialect: Dialect::Signalling,
            opening: Duration::from_secs(60),
            silence: Duration::from_secs(25),
            answer: Duration::from_secs(10),
            closing: Duration::from_secs(2),
            resume: RESUME_TIME,
            warn: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            strikes: 20,
            overruns: 10,
            forgive: Duration::from_secs(10),
        }
    }

    /// What a device's socket has by default: 10 s until it is attached; for the rest, what the others have.
    pub const fn device() -> Self {
        Settings {
            dialect: Dialect::Device,
            opening: Duration::from_secs(10),
            ..Self::signalling()
        }
    }
}

/// What the socket, the hub and the owner of the peer's place report.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// The peer has registered, again perhaps, or the device is attached.
    Admitted {
        /// The time until its token ends; nothing, if no token limits the connection.
        token: Option<Duration>,
    },
    /// The peer's registration has ended, and its socket stays (signalling).
    Unseated,
    /// When something came from the peer last.
    Heard {
        /// That long ago.
        ago: Duration,
    },
    /// The peer has sent a new token, and it is good.
    Refreshed {
        /// The time until it ends.
        token: Duration,
    },
    /// A message came that makes no sense; it has been answered with an error already.
    Rubbish,
    /// The peer went over its rate, and was told.
    TooFast,
    /// The peer does not read: what waits for it has no room any more.
    Overflow,
    /// The hub has a reason to end the connection. [`CloseCode::Replaced`] says of a device that it is on another one.
    End(CloseCode),
    /// The peer's close frame has come.
    PeerClosed,
    /// The line is gone.
    Lost,
    /// The hub's close frame has left and the peer's has come: nothing more to wait for.
    Flushed,
    /// The device is back on another connection, which has its session now.
    Resumed,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until a socket that nobody registered is closed.
    Opening,
    /// Until the socket is looked at.
    Silence,
    /// Until a peer that does not answer is given up.
    Answer,
    /// Until the peer is warned of its token's end.
    Expiring,
    /// Until the peer has to go because of its token.
    Expired,
    /// Until strikes and overruns are forgotten.
    Forgive,
    /// Until the closing handshake is given up.
    Closing,
    /// Until a device's session is forgotten.
    Resume,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// Say when the peer was heard last: [`Input::Heard`].
    Look,
    /// Send a ping. What comes then, whatever it is, is to be reported as [`Input::Heard`] at once.
    Ping,
    /// Tell the peer that its token ends soon.
    WarnOfExpiry,
    /// Send the close frame; nothing is sent after it.
    SendClose(CloseCode),
    /// Take the connection out of routing and rooms, now. Comes once in every life.
    Detach {
        /// Whether what belongs to its session is kept.
        resumable: bool,
    },
    /// Drop the line. Comes once in every life.
    HangUp,
    /// The session of the device is over: what was kept of it can go.
    Forget,
}
