//! What a worker puts into the mailbox of a job's submitter: reservation changes, and how the job ended.
//!
//! ```json
//! {"kind": "loaner.job", "v": 1, "job_id": "j", "worker_id": "w", "worker": "gpu-box", "at": 1700000000000,
//!  "change": "completed", "began": 1699999940000, "results_file": "trained_j.zip", "results_bytes": 555}
//! ```

use serde::Serialize;
use serde_json::Value;

use super::json::{Fields, check_line};
use super::{MAX_ID_BYTES, MAX_NAME_BYTES, WireError};

const KIND: &str = "loaner.job";
const VERSION: u64 = 1;
/// The longest text about a failure, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// One change of a reservation or a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobNotice {
    kind: &'static str,
    v: u64,
    /// The job.
    pub job_id: String,
    /// The worker's peer id.
    pub worker_id: String,
    /// The worker's host name; at most 255 bytes, one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When it happened, in milliseconds since 1970.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub change: JobChange,
}

/// What happened to a reservation or a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum JobChange {
    /// The worker is reserved for the job.
    Reserved,
    /// The reservation ended because the job was not assigned in time.
    LeaseExpired,
    /// The reservation ended because the client was lost.
    Released,
    /// The reservation ended because the worker stops.
    Withdrawn,
    /// Every command succeeded, and the results, if any, were returned.
    Completed {
        /// When the commands began, in milliseconds since 1970.
        #[serde(skip_serializing_if = "Option::is_none")]
        began: Option<u64>,
        /// The file name of the results that were returned.
        #[serde(skip_serializing_if = "Option::is_none")]
        results_file: Option<String>,
        /// Their size in bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        results_bytes: Option<u64>,
    },
    /// It failed.
    Failed {
        /// A token: `TRAINING_FAILED` and the like.
        code: String,
        /// What went wrong, with the exit code of a command that failed.
        message: String,
        /// Whether the same job may succeed when tried again.
        recoverable: bool,
    },
    /// It was cancelled.
    Cancelled,
}

impl JobChange {
    /// The token on the wire.
    pub fn token(&self) -> &'static str {
        match self {
            JobChange::Reserved => "reserved",
            JobChange::LeaseExpired => "lease_expired",
            JobChange::Released => "released",
            JobChange::Withdrawn => "withdrawn",
            JobChange::Completed { .. } => "completed",
            JobChange::Failed { .. } => "failed",
            JobChange::Cancelled => "cancelled",
        }
    }
}

impl JobNotice {
    /// A notice. Texts are cut to what is read.
    pub fn new(
        job_id: String,
        worker_id: String,
        worker: Option<String>,
        at: u64,
        change: JobChange,
    ) -> Self {
        let change = match change {
            JobChange::Failed {
                code,
                message,
                recoverable,
            } => JobChange::Failed {
                code: cut(code, MAX_ID_BYTES),
                message: cut(message, MAX_MESSAGE_BYTES),
                recoverable,
            },
            JobChange::Completed {
                began,
                results_file,
                results_bytes,
            } => JobChange::Completed {
                began,
                results_file: results_file.filter(|name| line("results_file", name).is_ok()),
                results_bytes,
            },
            other => other,
        };
        JobNotice {
            kind: KIND,
            v: VERSION,
            job_id,
            worker_id,
            worker: worker.filter(|name| line("worker", name).is_ok()),
            at,
            change,
        }
    }

    /// The notice as JSON.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Reads a notice, strictly. Unknown fields are ignored; another version, or another kind of message, is
    /// [`WireError::UnknownToken`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(value: &Value) -> Result<Self, WireError> {
        let fields = Fields::of(value)?;
        let (kind, version) = (fields.str("kind")?, fields.opt_whole("v")?);
        if kind != KIND || version != Some(VERSION) {
            return Err(WireError::UnknownToken(super::excerpt(kind)));
        }
        let change = match fields.str("change")? {
            "reserved" => JobChange::Reserved,
            "lease_expired" => JobChange::LeaseExpired,
            "released" => JobChange::Released,
            "withdrawn" => JobChange::Withdrawn,
            "completed" => JobChange::Completed {
                began: fields.opt_whole("began")?,
                results_file: opt_line(fields, "results_file")?,
                results_bytes: fields.opt_whole("results_bytes")?,
            },
            "failed" => JobChange::Failed {
                code: fields.id("code")?,
                message: fields.text("message", MAX_MESSAGE_BYTES)?,
                recoverable: fields.opt_flag("recoverable")?.unwrap_or(false),
            },
            "cancelled" => JobChange::Cancelled,
            other => return Err(WireError::UnknownToken(super::excerpt(other))),
        };
        Ok(JobNotice {
            kind: KIND,
            v: VERSION,
            job_id: fields.job_id()?,
            worker_id: fields.id("worker_id")?,
            worker: opt_line(fields, "worker")?,
            at: fields
                .opt_whole("at")?
                .ok_or(WireError::MissingField("at"))?,
            change,
        })
    }
}

fn line(field: &'static str, text: &str) -> Result<(), WireError> {
    check_line(field, text, MAX_NAME_BYTES)
}

fn opt_line(fields: Fields<'_>, field: &'static str) -> Result<Option<String>, WireError> {
    let text = fields.opt_text(field)?;
    if let Some(text) = &text {
        line(field, text)?;
    }
    Ok(text)
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::arbitrary;
    use proptest::option;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_notice_is_written_as_documented() {
        let change = JobChange::Completed {
            began: Some(5),
            results_file: Some("r.zip".into()),
            results_bytes: Some(555),
        };
        let notice = JobNotice::new("j".into(), "w".into(), Some("box".into()), 7, change);
        let expected = json!({"kind": "loaner.job", "v": 1, "job_id": "j", "worker_id": "w", "worker": "box", "at": 7,
            "change": "completed", "began": 5, "results_file": "r.zip", "results_bytes": 555});
        assert_eq!(notice.to_value(), expected);
    }

    #[test]
    fn what_is_not_a_notice_of_this_version_is_told_apart() {
        let notice = JobNotice::new("j".into(), "w".into(), None, 7, JobChange::Reserved);
        for (field, value) in [
            ("kind", json!("x")),
            ("v", json!(2)),
            ("change", json!("x")),
        ] {
            let mut odd = notice.to_value();
            odd[field] = value;
            let error = JobNotice::parse(&odd).unwrap_err();
            assert!(matches!(error, WireError::UnknownToken(_)), "{error}");
        }
        for (field, value) in [
            ("job_id", json!("a\u{1b}[2J")),
            ("worker", json!("x".repeat(MAX_NAME_BYTES + 1))),
            ("at", json!("soon")),
        ] {
            let mut odd = notice.to_value();
            odd[field] = value;
            assert!(JobNotice::parse(&odd).is_err(), "{odd}");
        }
    }

    fn any_change() -> impl Strategy<Value = JobChange> {
        prop_oneof![
            Just(JobChange::Reserved),
            Just(JobChange::LeaseExpired),
            Just(JobChange::Released),
            Just(JobChange::Withdrawn),
            Just(JobChange::Cancelled),
            (
                any::<Option<u64>>(),
                option::of(arbitrary::id()),
                any::<Option<u64>>()
            )
                .prop_map(|(began, results_file, results_bytes)| {
                    JobChange::Completed {
                        began,
                        results_file,
                        results_bytes,
                    }
                }),
            (arbitrary::id(), any::<String>(), any::<bool>()).prop_map(
                |(code, message, recoverable)| JobChange::Failed {
                    code,
                    message,
                    recoverable,
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            job in arbitrary::job_id(), worker in arbitrary::id(), at in any::<u64>(), change in any_change(),
        ) {
            let notice = JobNotice::new(job, worker, None, at, change.clone());
            let value = notice.to_value();
            prop_assert_eq!(value["change"].as_str(), Some(change.token()));
            prop_assert_eq!(JobNotice::parse(&notice.to_value()), Ok(notice));
        }

        #[test]
        fn a_long_text_is_cut_so_that_it_is_read(message in "\\PC{0,3000}") {
            let change = JobChange::Failed { code: "X".into(), message, recoverable: true };
            let notice = JobNotice::new("j".into(), "w".into(), None, 1, change);
            prop_assert_eq!(JobNotice::parse(&notice.to_value()), Ok(notice));
        }

        #[test]
        fn no_value_makes_the_reader_panic(value in arbitrary::value()) {
            let _ = JobNotice::parse(&value);
        }
    }
}
