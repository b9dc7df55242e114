//! The messages about a job, one by one.

use serde::Serialize;
use serde_json::Value;

use crate::wire::json::{Fields, whole};
use crate::wire::{MAX_ID_BYTES, WireError};

/// A client's question whether a worker would take a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct JobRequest {
    /// The job; the client chose the id.
    pub job_id: String,
    /// `training` or `inference`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_type: Option<String>,
    /// An object about the data: `format`, `path`, `estimated_size_mb`, `frame_count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset_info: Option<Value>,
    /// An object about the job: `model_type`, `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// An object about the worker: `min_gpu_memory_mb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Value>,
}

impl JobRequest {
    pub(super) fn parse(fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            job_id: fields.job_id()?,
            job_type: fields.opt_text("job_type")?,
            dataset_info: fields.opt_object_value("dataset_info")?,
            config: fields.opt_object_value("config")?,
            requirements: fields.opt_object_value("requirements")?,
        })
    }

    /// The least GPU memory that the job wants, in MiB; 0 where it does not say. Fractions are rounded up, a negative
    /// number counts as 0.
    ///
    /// # Errors
    /// [`WireError::BadField`] where it says something that is not a number, null included.
    pub fn min_gpu_memory_mb(&self) -> Result<u64, WireError> {
        const FIELD: &str = "min_gpu_memory_mb";
        let Some(value) = field(&self.requirements, FIELD) else {
            return Ok(0);
        };
        // A float cast to an integer saturates.
        value
            .as_u64()
            .or_else(|| value.as_f64().map(|mb| mb.ceil() as u64))
            .ok_or_else(|| WireError::bad(FIELD, "a number of MiB was expected"))
    }

    /// The kind of model to train: `None` where the request does not say, an empty string where it says something
    /// that is not text (and so names no model that any worker has).
    pub fn model_type(&self) -> Option<&str> {
        let value = field(&self.config, "model_type").filter(|value| !value.is_null())?;
        Some(value.as_str().unwrap_or_default())
    }

    /// The number of epochs to train, where the request gives one.
    pub fn epochs(&self) -> Option<u64> {
        field(&self.config, "epochs").and_then(whole)
    }

    /// The number of frames to infer, where the request gives one.
    pub fn frame_count(&self) -> Option<u64> {
        field(&self.dataset_info, "frame_count").and_then(whole)
    }
}

fn field<'a>(object: &'a Option<Value>, name: &str) -> Option<&'a Value> {
    object.as_ref()?.get(name)
}

/// The longest estimate that is given, in minutes: a year.
pub const MAX_ESTIMATE_MINUTES: u64 = 365 * 24 * 60;

/// Estimates how long a job takes, in minutes, by the original's rule: half a minute for each epoch of a training
/// (100 where not given), a minute for each 100 frames of an inference (1000 where not given) and at least one, an
/// hour for anything else. At most [`MAX_ESTIMATE_MINUTES`].
pub fn estimate_minutes(request: &JobRequest) -> u64 {
    let minutes = match request.job_type.as_deref() {
        Some("training") => request.epochs().unwrap_or(100) / 2,
        Some("inference") => (request.frame_count().unwrap_or(1000) / 100).max(1),
        _ => 60,
    };
    minutes.min(MAX_ESTIMATE_MINUTES)
}

/// A worker's answer to a [`JobRequest`].
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct JobResponse {
    /// The job.
    pub job_id: String,
    /// Whether the worker takes it, and is reserved for the client now.
    pub accepted: bool,
    /// Why not, as a token: `busy` or `incompatible`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why not, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it can begin, in seconds from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_start_time_sec: Option<u64>,
    /// How long it will take, in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_duration_minutes: Option<u64>,
    /// What the worker's GPU is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_info: Option<WorkerInfo>,
}

/// What a worker's GPU is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct WorkerInfo {
    /// From 0 to 1.
    pub gpu_utilization: f64,
    /// Free GPU memory in MiB; 0 without a GPU.
    pub available_memory_mb: u64,
}

impl JobResponse {
    /// The reason token of a worker that is not available.
    pub const BUSY: &'static str = "busy";
    /// The reason token of a worker that lacks what the job needs.
    pub const INCOMPATIBLE: &'static str = "incompatible";

    /// Takes the job, to begin at once.
    pub fn accepted(job_id: impl Into<String>, minutes: u64, worker_info: WorkerInfo) -> Self {
        Self {
            job_id: job_id.into(),
            accepted: true,
            reason: None,
            message: None,
            estimated_start_time_sec: Some(0),
            estimated_duration_minutes: Some(minutes),
            worker_info: Some(worker_info),
        }
    }

    /// Turns the job down, with a reason token ([`BUSY`](Self::BUSY), [`INCOMPATIBLE`](Self::INCOMPATIBLE)) and,
    /// where there is more to say, a sentence.
    pub fn rejected(
        job_id: impl Into<String>,
        reason: impl Into<String>,
        message: Option<String>,
    ) -> Self {
        Self {
            job_id: job_id.into(),
            accepted: false,
            reason: Some(reason.into()),
            message,
            ..Self::default()
        }
    }

    pub(super) fn parse(fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            job_id: fields.job_id()?,
            accepted: fields.flag("accepted")?,
            reason: fields.opt_text("reason")?,
            message: fields.opt_text("message")?,
            estimated_start_time_sec: fields.opt_whole("estimated_start_time_sec")?,
            estimated_duration_minutes: fields.opt_whole("estimated_duration_minutes")?,
            worker_info: match fields.opt_object("worker_info")? {
                Some(info) => Some(WorkerInfo {
                    gpu_utilization: fraction(Fields(info), "gpu_utilization")?,
                    available_memory_mb: Fields(info)
                        .opt_whole("available_memory_mb")?
                        .unwrap_or_default(),
                }),
                None => None,
            },
        })
    }
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct JobStatus {
    /// The job.
    pub job_id: String,
    /// `starting` or `running`.
    pub status: String,
    /// From 0 to 1.
    pub progress: f64,
    /// A sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// More, as an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl JobStatus {
    pub(super) fn parse(fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            job_id: fields.job_id()?,
            status: fields.text("status", MAX_ID_BYTES)?,
            progress: fraction(fields, "progress")?,
            message: fields.opt_text("message")?,
            details: fields.get("details").cloned(),
        })
    }
}

/// A number from 0 to 1, brought into that range; 0 where absent.
fn fraction(fields: Fields<'_>, name: &'static str) -> Result<f64, WireError> {
    match fields.get(name) {
        None => Ok(0.0),
        Some(value) => match value.as_f64() {
            // `+ 0.0` makes a plain zero of a negative one.
            Some(number) => Ok(number.clamp(0.0, 1.0) + 0.0),
            None => Err(WireError::bad(name, "a number was expected")),
        },
    }
}

/// The end of a job that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobComplete {
    /// The job.
    pub job_id: String,
    /// `completed`.
    pub status: String,
    /// What came of it, as an object: `training_duration_minutes`, `total_jobs` and so on.
    pub result: Value,
    /// How results travel: `webrtc_datachannel`.
    pub transfer_method: String,
    /// Whether there is a file to fetch.
    pub ready_for_download: bool,
}

impl JobComplete {
    /// The transfer method of results that come over the data channel.
    pub const DATA_CHANNEL: &'static str = "webrtc_datachannel";

    /// A job that is done, with its results over the data channel where there are any.
    pub fn new(job_id: impl Into<String>, result: Value, ready_for_download: bool) -> Self {
        Self {
            job_id: job_id.into(),
            status: "completed".to_owned(),
            result,
            transfer_method: Self::DATA_CHANNEL.to_owned(),
            ready_for_download,
        }
    }

    pub(super) fn parse(fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            job_id: fields.job_id()?,
            status: fields.text("status", MAX_ID_BYTES)?,
            result: fields.get("result").cloned().unwrap_or_default(),
            transfer_method: fields.opt_text("transfer_method")?.unwrap_or_default(),
            ready_for_download: fields.opt_flag("ready_for_download")?.unwrap_or_default(),
        })
    }
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobError {
    /// A token: `TRAINING_FAILED`, `INFERENCE_FAILED`, `TRACK_SCRIPT_NOT_FOUND`, `EXECUTION_ERROR` and so on.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// Whether the same job may succeed when tried again.
    pub recoverable: bool,
}

impl JobError {
    pub(super) fn parse(fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            code: fields.text("code", MAX_ID_BYTES)?,
            message: fields.opt_text("message")?.unwrap_or_default(),
            recoverable: fields.opt_flag("recoverable")?.unwrap_or_default(),
        })
    }
}
