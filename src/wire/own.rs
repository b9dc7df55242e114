//! What two Loaner peers say to each other on the data channel instead of the inherited words: they agree on a version, send
//! files that are verified and can be continued, and speak of jobs: their logs, how far they are, and how they end.
//!
//! A text is `LOANER_PEER::` and a JSON object. A worker tells in its registration which versions it speaks
//! ([`PROPERTY`]); only a client that knows one of them says [`OwnText::Hello`], and only a worker that was greeted says
//! any of these. So a foreign peer never sees one.
//!
//! A file goes like this. The sender offers it, the receiver accepts and says how much of it lies there from an earlier
//! attempt, with a digest of that much; the sender begins behind it if its own file has the same digest there, or else at
//! the start. Every [`CHECK_EVERY`] bytes, and at the end, it tells the digest of everything so far; what the receiver has
//! checked is what may be continued later. The receiver confirms the last one once the file is on its disk.

mod job;

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

pub use job::{JobSummary, KeptResults, MAX_MESSAGE};

use super::json::check_line;
use super::{MAX_ID_BYTES, MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_TEXT_BYTES, WireError, safe_name};

/// The token before the JSON.
pub const TOKEN: &str = "LOANER_PEER";
/// The property of a worker's registration that says which versions it speaks: `[lowest, highest]`.
pub const PROPERTY: &str = "loaner_peer";
/// The versions that this program speaks.
pub const VERSIONS: Versions = Versions {
    lowest: 1,
    highest: 2,
};
/// The property of a worker's registration that says which version of the frames of tunnels it speaks
/// ([`tunnel::forward`](crate::tunnel::forward)), whatever its policy allows.
pub const TUNNELS: &str = "loaner_tunnels";
/// The version that this program speaks.
pub const TUNNELS_VERSION: u32 = 1;
/// From this version on, a worker speaks of jobs in these words too, and not only of files.
pub const SPEAKS_OF_JOBS: u32 = 2;
/// Jobs that are listed at most.
pub const MAX_JOBS: usize = 50;
/// Bytes of a file between two checks.
pub const CHECK_EVERY: u64 = 8 << 20;

/// A range of versions of these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub lowest: u32,
    /// The newest.
    pub highest: u32,
}

impl Versions {
    /// As a property of a registration.
    pub fn property(self) -> Value {
        json!([self.lowest, self.highest])
    }

    /// Reads a property of a registration; nothing, if the peer does not speak these words or says so in a form that is
    /// not known.
    pub fn of_property(property: Option<&Value>) -> Option<Self> {
        let (lowest, highest) = Deserialize::deserialize(property?).ok()?;
        (lowest <= highest).then_some(Versions { lowest, highest })
    }

    /// The newest version that both speak.
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.highest.min(other.highest);
        (newest >= self.lowest.max(other.lowest)).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lowest == self.highest {
            write!(f, "{}", self.lowest)
        } else {
            write!(f, "{} to {}", self.lowest, self.highest)
        }
    }
}

/// The BLAKE3 digest of some bytes; 64 hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom("a digest has 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Digest(digest))
    }
}

/// A file that is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOffer {
    /// Its name, which [`safe_name`] has accepted.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// What an earlier attempt at the same file is found by; only its sender can know it. Without it, nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// As in the inherited header: an output directory from a worker.
    #[serde(default)]
    pub hint: String,
}

/// One of the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OwnText {
    /// Client to worker, first: these versions are spoken here.
    Hello(Versions),
    /// The answer: from now on this version is spoken.
    Welcome {
        /// The newest that both speak.
        version: u32,
    },
    /// The answer where there is none in common: the inherited words are spoken.
    NoVersion {
        /// What the worker speaks.
        versions: Versions,
    },
    /// Client to worker: what the file is that it is about to offer.
    Package {
        /// What it is for: `train` or `track`.
        kind: String,
        /// The directory of it that is to come back.
        output_dir: String,
    },
    /// A file is offered.
    Offer(FileOffer),
    /// It is wanted, and so much of it is here.
    Accept {
        /// Bytes from its start.
        have: u64,
        /// Their digest.
        digest: Digest,
    },
    /// The bytes that follow begin here: at what the receiver has, or at 0.
    Begin {
        /// Offset in bytes.
        from: u64,
    },
    /// All bytes before this offset have this digest. At the file's size, it is the end.
    Check {
        /// Offset in bytes.
        at: u64,
        /// The digest.
        digest: Digest,
    },
    /// The file is here, whole, on disk.
    Verified,
    /// It is not wanted, or could not be kept. Of a package that became a job, the job's end tells instead.
    Rejected {
        /// Why.
        message: String,
    },
    /// Worker to client: output of its job, from this offset of the log on.
    LogPart {
        /// Offset in bytes.
        at: u64,
        /// Lines, ended by `\n`, or by `\r` where the next takes their place; a long one may come in several parts.
        text: String,
    },
    /// Worker to client: what lies between these offsets of the log was left out, since the client did not keep up.
    LogGap {
        /// Offset in bytes.
        from: u64,
        /// Offset in bytes.
        to: u64,
    },
    /// Worker to client: nothing more comes of the log that was asked for.
    LogEnd {
        /// Offset in bytes, behind what was sent.
        at: u64,
    },
    /// Worker to client: a command starts.
    StepStarted {
        /// Its name.
        name: String,
    },
    /// Worker to client: it ended.
    StepEnded {
        /// Its name.
        name: String,
        /// Its exit code; negative for the signal that ended it.
        code: i32,
    },
    /// Worker to client: there is no further command; results come next, or the end.
    CommandsDone,
    /// Worker to client: how far a job is, or how it ended.
    Job(JobSummary),
    /// Which jobs of this user are known?
    ListJobs,
    /// The answer: the latest last.
    JobList {
        /// At most [`MAX_JOBS`].
        jobs: Vec<JobSummary>,
    },
    /// The log of a job, please.
    ReadLog {
        /// Its id, or how that begins.
        job: String,
        /// Offset in bytes.
        from: u64,
        /// And what is added, until the job is over.
        follow: bool,
    },
    /// Tell me of a job whenever something changes, until it is over.
    WatchJob {
        /// Its id, or how that begins.
        job: String,
    },
    /// Ask a job's command to end, and to save what it has: a [`OwnText::Job`] says so when it was asked, and each that
    /// follows how it goes on.
    StopJob {
        /// Its id, or how that begins.
        job: String,
    },
    /// End a job; answered in the same way.
    CancelJob {
        /// Its id, or how that begins.
        job: String,
    },
    /// The results of a job that wait, please: an offer follows.
    FetchResults {
        /// Its id, or how that begins.
        job: String,
    },
    /// What was asked for cannot be done.
    Denied {
        /// Why.
        message: String,
    },
    /// Something of a later version.
    #[serde(other)]
    Unknown,
}

impl OwnText {
    /// As it stands on the channel.
    pub fn to_text(&self) -> String {
        // Maps with keys of text and numbers: nothing in them can fail to be written.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{TOKEN}::{json}")
    }

    /// Reads what stands behind the token.
    ///
    /// # Errors
    /// [`WireError::BadField`] for what is no such object, or has a name, key or text that cannot be.
    pub fn parse(json: &str) -> Result<Self, WireError> {
        if json.len() > MAX_TEXT_BYTES {
            return Err(WireError::TooLong {
                len: json.len(),
                max: MAX_TEXT_BYTES,
            });
        }
        let text: OwnText = serde_json::from_str(json)
            .map_err(|error| WireError::bad("json", error.to_string()))?;
        match &text {
            OwnText::Offer(offer) => {
                safe_name(&offer.name)?;
                if offer.hint.len() > MAX_PATH_BYTES {
                    return Err(WireError::bad("hint", "it is too long"));
                }
            }
            OwnText::Hello(versions) if versions.lowest > versions.highest => {
                return Err(WireError::bad(
                    "versions", "the lowest is above the highest",
                ));
            }
            OwnText::Rejected { message } | OwnText::Denied { message }
                if message.len() > 16 * MAX_ID_BYTES =>
            {
                return Err(WireError::bad("message", "it is too long"));
            }
            OwnText::ReadLog { job, .. }
            | OwnText::WatchJob { job }
            | OwnText::StopJob { job }
            | OwnText::CancelJob { job }
            | OwnText::FetchResults { job }
            | OwnText::StepStarted { name: job }
            | OwnText::StepEnded { name: job, .. }
                if job.len() > MAX_NAME_BYTES =>
            {
                return Err(WireError::bad("name", "it is too long"));
            }
            OwnText::Package { kind, output_dir } => {
                check_line("kind", kind, MAX_ID_BYTES)?;
                check_line("output_dir", output_dir, MAX_PATH_BYTES)?;
            }
            OwnText::Job(job) => job.check()?,
            OwnText::JobList { jobs } => {
                if jobs.len() > MAX_JOBS {
                    return Err(WireError::bad("jobs", "there are too many"));
                }
                jobs.iter().try_for_each(JobSummary::check)?;
            }
            _ => {}
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
