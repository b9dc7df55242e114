//! The words of `session`: its events, timers and effects, and how long its timers run.

use std::time::Duration;

/// How long one step towards the hub may take.
pub const STEP: Duration = Duration::from_secs(10);
/// How long saying goodbye may take.
pub const CLOSING: Duration = Duration::from_secs(5);
/// The longest wait between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_secs(32);
pub(super) const MAX_ATTEMPT: u8 = 5;

/// Why the hub refused a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The identity token is not valid, or not any more: sign in afresh.
    Identity,
    /// The room is gone: a worker that made its own makes another.
    Room,
    /// Anything else: the same again would be refused again.
    Other,
}

/// What the hub, the network and the owner report.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// Begin.
    Start,
    /// Sign-in succeeded.
    SignedIn,
    /// Sign-in failed. `jitter` (0 to 255) spreads the next attempt.
    SignInFailed {
        /// Randomness for the backoff.
        jitter: u8,
    },
    /// The hub made a room.
    RoomCreated,
    /// The hub made none.
    RoomFailed {
        /// Randomness for the backoff.
        jitter: u8,
    },
    /// The WebSocket is open.
    SocketOpen,
    /// The WebSocket closed, broke, fell silent, or never opened.
    SocketLost {
        /// Randomness for the backoff.
        jitter: u8,
        /// Whether the identity token is near its end.
        stale: bool,
    },
    /// The hub confirmed the registration.
    Registered,
    /// The hub refused the registration.
    Refused {
        /// Why.
        why: Why,
        /// Randomness for the backoff.
        jitter: u8,
    },
    /// Register again, so that discovery shows this peer as it is now.
    Reregister,
    /// The socket is closed and the hub has forgotten this peer, or was asked to.
    CleanedUp,
    /// The process is to end.
    Shutdown,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until a step towards the hub counts as failed.
    Step,
    /// Until the next attempt.
    Backoff,
    /// Until the goodbye is given up.
    Closing,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// Ask the hub for an identity.
    SignIn,
    /// Ask the hub for a room.
    CreateRoom,
    /// Open the WebSocket.
    OpenSocket,
    /// Send the full registration.
    SendRegister,
    /// The session is up: say so.
    ReportUp,
    /// The session is down for now: say so, and when the next attempt comes.
    ReportDown,
    /// Close the socket without ceremony.
    DropSocket,
    /// Close the socket, and ask the hub to forget peer and room.
    SayGoodbye,
    /// The session has ended as asked.
    ReportClosed,
    /// The session could not begin at all: the reason is for the user.
    ReportFailed,
}
