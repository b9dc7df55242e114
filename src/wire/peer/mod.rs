//! What peers tell each other through the hub: the payload of a `peer_message` (protocol page, section 3).
//!
//! Messages are told apart by `app_message_type`. A job is requested, the request is answered, the job is assigned
//! and may be cancelled; the worker reports its status and, exactly once, how it ended.

mod job;

pub use job::{
    JobComplete, JobError, JobRequest, JobResponse, JobStatus, MAX_ESTIMATE_MINUTES, WorkerInfo,
    estimate_minutes,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::json::Fields;
use super::{MAX_ID_BYTES, WireError, excerpt};

/// A message from peer to peer, told apart by its `app_message_type`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "app_message_type", rename_all = "snake_case")]
pub enum PeerMessage {
    /// Client to worker: would you take this job?
    JobRequest(JobRequest),
    /// Worker to client: yes, or no and why.
    JobResponse(JobResponse),
    /// Client to worker: the job is yours; an offer follows.
    JobAssignment {
        /// The job.
        job_id: String,
        /// Whether the client opens the connection; it always does.
        initiate_connection: bool,
    },
    /// Client to worker: stop the job.
    JobCancel {
        /// The job.
        job_id: String,
        /// Why, in the client's words.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Worker to client: the job was stopped.
    JobCancelled {
        /// The job.
        job_id: String,
        /// `cancelled`.
        status: String,
        /// Whether its processes are gone and its scratch directory is closed.
        cleanup_complete: bool,
    },
    /// Worker to client: how far the job is.
    JobStatus(JobStatus),
    /// Worker to client: the job is done.
    JobComplete(JobComplete),
    /// Worker to client: the job failed.
    JobFailed {
        /// The job.
        job_id: String,
        /// `failed`.
        status: String,
        /// Why.
        error: JobError,
    },
    /// Client to worker, between Loaners only: may I connect, to ask about my jobs?
    #[serde(rename = "loaner_visit")]
    Visit {},
    /// Client to worker, between Loaners only: may I connect, for a tunnel? Answered as a visit is.
    #[serde(rename = "loaner_tunnel")]
    Tunnel {
        /// The tube that is to go on over this connection.
        #[serde(skip_serializing_if = "Option::is_none")]
        tube: Option<String>,
    },
    /// Worker to client: yes, an offer is welcome within a minute; or no.
    #[serde(rename = "loaner_visit_response")]
    VisitResponse {
        /// Whether it may.
        accepted: bool,
        /// Why not.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A message of a type that is not known. It is logged and changes nothing.
    #[serde(skip)]
    Unknown {
        /// The beginning of its type, made printable.
        kind: String,
    },
}

impl PeerMessage {
    /// The acknowledgement that a job was stopped and its remains cleaned up.
    pub fn cancelled(job_id: impl Into<String>) -> Self {
        Self::JobCancelled {
            job_id: job_id.into(),
            status: "cancelled".to_owned(),
            cleanup_complete: true,
        }
    }

    /// The message that a job failed.
    pub fn failed(job_id: impl Into<String>, error: JobError) -> Self {
        Self::JobFailed {
            job_id: job_id.into(),
            status: "failed".to_owned(),
            error,
        }
    }

    /// Reads a payload. Unknown fields are ignored, an unknown type is [`PeerMessage::Unknown`].
    ///
    /// # Errors
    /// What is wrong with the message, where it has a known type and cannot be understood.
    pub fn parse(payload: &Value) -> Result<Self, WireError> {
        let fields = Fields::of(payload)?;
        Ok(match fields.str("app_message_type")? {
            "job_request" => Self::JobRequest(JobRequest::parse(fields)?),
            "job_response" => Self::JobResponse(JobResponse::parse(fields)?),
            "job_assignment" => Self::JobAssignment {
                job_id: fields.job_id()?,
                initiate_connection: fields.opt_flag("initiate_connection")?.unwrap_or(true),
            },
            "job_cancel" => Self::JobCancel {
                job_id: fields.job_id()?,
                reason: fields.opt_text("reason")?,
            },
            "job_cancelled" => Self::JobCancelled {
                job_id: fields.job_id()?,
                status: fields.text("status", MAX_ID_BYTES)?,
                cleanup_complete: fields.flag("cleanup_complete")?,
            },
            "job_status" => Self::JobStatus(JobStatus::parse(fields)?),
            "job_complete" => Self::JobComplete(JobComplete::parse(fields)?),
            "job_failed" => Self::JobFailed {
                job_id: fields.job_id()?,
                status: fields.text("status", MAX_ID_BYTES)?,
                error: JobError::parse(Fields(fields.need_object("error")?))?,
            },
            "loaner_visit" => Self::Visit {},
            "loaner_tunnel" => Self::Tunnel {
                tube: fields.opt_text("tube")?,
            },
            "loaner_visit_response" => Self::VisitResponse {
                accepted: fields.flag("accepted")?,
                reason: fields.opt_text("reason")?,
            },
            other => Self::Unknown {
                kind: excerpt(other),
            },
        })
    }

    /// The message as the payload of a `peer_message`.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Unknown { kind } => json!({ "app_message_type": kind }),
            // String keys only, and no serializer of its own that could fail.
            message => serde_json::to_value(message).expect("wire types always have a JSON form"),
        }
    }
}

#[cfg(test)]
mod tests;
