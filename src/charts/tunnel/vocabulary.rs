//! The words of `tunnel`: its settings, events, timers and effects, and how long its timers run.

use std::time::Duration;

pub use super::ledger::Verdict;

/// How long the first connection may take, from its description to a proof of both directions.
pub const CONNECT: Duration = Duration::from_secs(30);
/// How often it is looked at whether anything came.
pub const LOOK: Duration = Duration::from_secs(1);
/// The shortest time after which it is looked at again.
pub const LEAST: Duration = Duration::from_millis(10);
/// After how long without a frame the other side is asked for a sign of life, while data is on its way to it.
pub const BUSY: Duration = Duration::from_secs(1);
/// The same while nothing is on its way.
pub const IDLE: Duration = Duration::from_secs(5);
/// How long a sign of life may take.
pub const ANSWER: Duration = Duration::from_secs(1);
/// How long the connection then counts as degraded, before it counts as lost.
pub const SUSPECT: Duration = Duration::from_millis(700);
/// The same after a major change of the network, a lost way out or a sleep: these are no suspicions.
pub const MOVED: Duration = Duration::from_millis(200);
/// How long nothing is tried after the loss, or after the last change of a burst.
pub const SETTLE: Duration = Duration::from_millis(300);
/// How long the answer to [`Act::Weigh`] may take.
pub const WEIGH: Duration = Duration::from_secs(1);
/// How old a loss may be for an ICE restart: the timers of SCTP have doubled too often after it.
pub const YOUNG: Duration = Duration::from_secs(5);
/// How old a loss is of which ICE reports first.
pub const ICE_LAG: Duration = Duration::from_secs(2);
/// How long an offer may take to be made and sent.
pub const OFFER: Duration = Duration::from_secs(5);
/// How long the answer to a restart may take.
pub const REPLY: Duration = Duration::from_secs(3);
/// How long the other side may take to offer what it was asked for.
pub const WISH: Duration = Duration::from_secs(10);
/// How often it is asked meanwhile: the hub may lose a wish.
pub const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long a restart may take to move data in both directions.
pub const CHECK: Duration = Duration::from_secs(3);
/// How often a ping is sent meanwhile.
pub const AGAIN: Duration = Duration::from_millis(500);
/// How long a new connection may take, from its offer to a proof of both directions.
pub const REBUILD: Duration = Duration::from_secs(15);
/// How long a failed tube is kept to be restarted.
pub const DETACH: Duration = Duration::from_secs(15 * 60);
/// How long a lost connection of a job, or of questions about jobs, is tried to be brought back (reading.md 12).
pub const JOB_PATIENCE: Duration = super::super::ice_watchdog::PATIENCE;
/// The same for every other tube.
pub const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Which side of the tube this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Made the first offer, and makes all others: a client.
    Initiator,
    /// Answers, and asks for an offer where it needs one: a worker.
    Responder,
}

/// What a tube is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Which side this is.
    pub role: Role,
    /// How long a lost connection is tried to be brought back, from its loss: [`JOB_PATIENCE`] or [`PATIENCE`].
    pub patience: Duration,
}

/// The states of a manager as the integration guide names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::AsRefStr, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Public {
    /// Nothing has begun.
    Initializing,
    /// The first connection is being made.
    Connecting,
    /// Data goes both ways.
    Connected,
    /// The connection is lost, and is being brought back.
    Reconnecting,
    /// There is doubt whether data still goes both ways.
    Degraded,
    /// It was given up for now.
    Failed,
    /// It is over.
    Terminated,
}

/// The types of `network_change_detected` in the integration guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::AsRefStr, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Change {
    /// An interface came, went, or lost the default route.
    InterfaceChange,
    /// An address came or went.
    IpChange,
    /// Nothing came for too long.
    Timeout,
    /// ICE has failed.
    IceFailure,
    /// Too much is lost on the way.
    QualityDegraded,
}

/// Why a tube failed or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::AsRefStr, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// It was closed as one side wished, with its connection in place.
    Normal,
    /// Its connection was lost, and did not come back.
    ConnectionLost,
    /// Its first connection never came up.
    ConnectionFailed,
    /// The other side does not know the session any more.
    SessionLost,
}

/// Why a restart by hand is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not connected for the first time yet.
    NotConnected,
    /// It is too soon: this long to go.
    Wait(Duration),
    /// There is no way out, or none to the hub, over which the other side could be told.
    NoWay,
    /// There is nothing left that could be restarted.
    SessionLost,
}

/// What the carrier, the network, the hub, the other side and the owner report.
///
/// What belongs to a generation is to be passed through [`super::Tunnel::judge`] first.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// Begin: the first connection.
    Start,
    /// The answer to [`Act::Look`].
    Quiet {
        /// How long ago the last frame came.
        silent: Duration,
        /// Whether there is data that the other side has not acknowledged.
        busy: bool,
    },
    /// The first frame after [`Act::Ping`], whatever it is.
    Heard,
    /// A ping was answered.
    Pong,
    /// The other side's ping came (the tube answers it by itself).
    PeerPing,
    /// A new connection is open, and the session goes on over it.
    Up,
    /// ICE is connected.
    IceConnected,
    /// ICE is disconnected.
    IceDisconnected,
    /// ICE has failed.
    IceFailed,
    /// DTLS, SCTP or the connection itself has ended.
    Gone,
    /// The network of this machine has changed, and there is a way out.
    NetworkChanged {
        /// What has changed.
        change: Change,
        /// Whether it concerns the path: the address in use vanished, or the default route changed.
        major: bool,
    },
    /// There is no way out any more.
    NetworkDown,
    /// There is a way out again.
    NetworkUp,
    /// The hub cannot be reached any more.
    SignallingDown,
    /// The hub can be reached again.
    SignallingUp,
    /// The machine woke from sleep, or the process from a stop.
    Woke,
    /// Much is lost on the way; said once, until it was better.
    QualityLow,
    /// The answer to [`Act::Weigh`].
    Weighed(Verdict),
    /// The offer of a restart is made and sent.
    OfferReady,
    /// What was asked of the carrier could not be done.
    StepFailed,
    /// The answer to this generation's offer.
    Answered,
    /// An offer of a newer generation.
    Offered {
        /// Its generation.
        generation: u64,
        /// Whether it is of a new connection, and not of an ICE restart.
        rebuild: bool,
    },
    /// The responder asks for an offer.
    Asked {
        /// Whether an ICE restart would not help it.
        rebuild: bool,
    },
    /// The other side does not accept the session's token.
    SessionRefused,
    /// A person or a program wants a restart; with what the ledger says of it.
    Restart(Verdict),
    /// Something of another generation: a description, a ping, a word of a connection that was replaced.
    Stale,
    /// Close it: it is no longer wanted here.
    Close,
    /// The other side has closed it.
    PeerClosed,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until the first connection counts as failed.
    Setup,
    /// Until the offer of a restart is given up.
    Offer,
    /// Until its answer is waited for no longer.
    Reply,
    /// Until the offer that was asked for is waited for no longer.
    Wish,
    /// Until a restart that moves no data counts as failed.
    Check,
    /// Until a new connection counts as failed.
    Rebuild,
    /// Until it is looked at whether anything came.
    Look,
    /// Until a missing sign of life makes the connection degraded.
    Answer,
    /// Until a degraded connection counts as lost.
    Suspect,
    /// Until something is done about the loss.
    Settle,
    /// Until the next attempt.
    Backoff,
    /// Until the loss is too old for an ICE restart.
    Young,
    /// Until the next ping, or until the wish is said again.
    Again,
    /// Until the tube is given up.
    Patience,
    /// Until a failed tube ends.
    Detach,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// Bring the first connection up, with generation 1.
    Open,
    /// Say how long ago a frame came: [`Input::Quiet`].
    Look,
    /// Send a ping of this generation. The next frame that comes is to be reported as [`Input::Heard`].
    Ping {
        /// The generation.
        generation: u64,
    },
    /// Ask the ledger: [`Input::Weighed`].
    Weigh,
    /// Make and send the offer of an ICE restart.
    Offer {
        /// Its generation.
        generation: u64,
    },
    /// Ask the initiator for an offer.
    AskForRestart {
        /// The generation that was lost.
        generation: u64,
        /// Whether an ICE restart would not help.
        rebuild: bool,
    },
    /// Take the offer that came, and answer it.
    Answer {
        /// Its generation.
        generation: u64,
        /// Whether it is of a new connection.
        rebuild: bool,
    },
    /// Take the answer that came.
    TakeAnswer,
    /// Drop the connection, and offer a new one, on which the session goes on.
    Rebuild {
        /// Its generation.
        generation: u64,
    },
    /// Let writers wait.
    HoldWriters,
    /// Let writers write.
    ReleaseWriters,
    /// Tell of the public state: it has changed.
    Notify(Public),
    /// Tell of a change that was noticed.
    ChangeDetected(Change),
    /// Tell of an attempt.
    Attempt {
        /// Which attempt it is, of those that count.
        n: u32,
        /// When it comes; zero for now.
        next_in: Duration,
    },
    /// The attempt has failed: the backoff runs from now.
    AttemptFailed,
    /// The network is back: the next attempt need not wait, if none was let off before.
    WaiveBackoff,
    /// Tell who asked that there is no restart now.
    RefuseRestart(Refusal),
    /// Count something that came too late.
    CountStale,
    /// Tell that the tube is given up for now.
    GiveUp(Reason),
    /// Close everything.
    Close(Reason),
}
