//! Why a stream, or all of them, came to an end before their time.

use std::fmt;
use std::io;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The worker's policy does not allow the place.
    Denied,
    /// Nobody listens at that port.
    Refused,
    /// There is no such host.
    NotFound,
    /// It did not answer in time.
    TimedOut,
    /// Something else kept it from being connected, or broke it.
    Failed,
    /// The connection was reset, at the place or at the client.
    Reset,
    /// There are too many streams.
    Busy,
    /// The connection between client and worker was lost.
    Lost,
    /// Client or worker ends.
    ShutDown,
    /// The tunnel was not used for a long time.
    Idle,
    /// The other side broke the rules.
    Protocol,
}

impl Reason {
    const ALL: [(u8, Reason); 11] = [
        (1, Reason::Denied),
        (2, Reason::Refused),
        (3, Reason::NotFound),
        (4, Reason::TimedOut),
        (5, Reason::Failed),
        (6, Reason::Reset),
        (7, Reason::Busy),
        (8, Reason::Lost),
        (9, Reason::ShutDown),
        (10, Reason::Idle),
        (11, Reason::Protocol),
    ];

    /// As it stands in a frame.
    pub(super) fn code(self) -> u8 {
        let known = Self::ALL.iter().find(|(_, reason)| *reason == self);
        known.map_or(5, |(code, _)| *code)
    }

    /// As it stands in a frame. What is not known is some failure.
    pub(super) fn of_code(code: u8) -> Self {
        let known = Self::ALL.iter().find(|(known, _)| *known == code);
        known.map_or(Reason::Failed, |(_, reason)| *reason)
    }

    /// As a word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Denied => "denied",
            Reason::Refused => "refused",
            Reason::NotFound => "not_found",
            Reason::TimedOut => "timed_out",
            Reason::Failed => "failed",
            Reason::Reset => "reset",
            Reason::Busy => "busy",
            Reason::Lost => "lost",
            Reason::ShutDown => "shut_down",
            Reason::Idle => "idle",
            Reason::Protocol => "protocol",
        }
    }
}

/// An end before its time: why, and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Reset {
    /// Why.
    pub reason: Reason,
    /// What there is to say; may be of the other side, and anything.
    pub words: String,
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words.is_empty() {
            false => f.write_str(&self.words),
            true => f.write_str(self.reason.as_str()),
        }
    }
}

impl Reset {
    /// For this reason, with these words.
    pub fn new(reason: Reason, words: impl Into<String>) -> Self {
        Reset {
            reason,
            words: words.into(),
        }
    }

    /// The connection between client and worker is gone.
    pub(super) fn lost() -> Self {
        Self::new(
            Reason::Lost,
            "the connection between client and worker was lost",
        )
    }

    /// What became of a TCP connection, `at` one of the two ends.
    pub(super) fn of_io(error: &io::Error, at: &str) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => {
                return Self::new(Reason::Reset, format!("the connection was reset {at}"));
            }
            io::ErrorKind::TimedOut => Reason::TimedOut,
            _ => Reason::Failed,
        };
        Self::new(reason, format!("the connection broke {at}: {error}"))
    }
}
