//! What a worker tells of the jobs that it keeps a record of.

use serde::{Deserialize, Serialize};

use crate::wire::{MAX_ID_BYTES, MAX_NAME_BYTES, WireError};

/// The latest time that a job can have begun at, in milliseconds since 1970: the year 9999.
const MAX_BEGAN: u64 = 253_402_300_799_999;
/// The longest countdown, in seconds.
const MAX_LEFT: u64 = 24 * 3600;
/// The longest message of a summary, in bytes.
pub const MAX_MESSAGE: usize = 512;

/// A job, as far as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its id.
    pub id: String,
    /// What its package is called.
    pub name: String,
    /// The state of its chart: `receiving`, `preparing`, `running`, `stopping`, `terminating`, `packing`, `returning`,
    /// `cleaning`, and in the end `completed`, `failed` or `cancelled`.
    pub state: String,
    /// When it began, in milliseconds since 1970 by the worker's clock.
    pub began: u64,
    /// How long it has taken so far, or took in all, in seconds.
    pub seconds: u64,
    /// While it is being stopped: how many seconds its command still has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// How far it said that it is, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What there is to say of it, such as why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How long its log is, in bytes.
    pub log: u64,
    /// Results that were not brought to its client, and wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<KeptResults>,
}

/// Results that wait at a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptResults {
    /// Their file name.
    pub name: String,
    /// Their size in bytes.
    pub size: u64,
}

impl JobSummary {
    /// Whether the job is over.
    pub fn is_over(&self) -> bool {
        ["completed", "failed", "cancelled"].contains(&self.state.as_str())
    }

    pub(super) fn check(&self) -> Result<(), WireError> {
        for (field, text, most) in [
            ("id", &self.id, MAX_ID_BYTES),
            ("name", &self.name, MAX_NAME_BYTES),
            ("state", &self.state, MAX_ID_BYTES),
            ("message", &self.message, MAX_MESSAGE),
        ] {
            if text.len() > most {
                return Err(WireError::bad(field, "it is too long"));
            }
        }
        if self.began > MAX_BEGAN || self.seconds_left.is_some_and(|left| left > MAX_LEFT) {
            return Err(WireError::bad("began", "no clock says that"));
        }
        Ok(())
    }
}
