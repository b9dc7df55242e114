//! The text messages of the data channel (protocol page, sections 4.2 and 4.3), file names, and log text.
//!
//! A text message is `TOKEN`, `TOKEN::argument` or `TOKEN::argument::argument`, or else a piece of log text. Here the
//! token is matched exactly and at the beginning of the text. Foreign peers look for tokens *anywhere* in it; that is
//! why whatever is free text (log lines, reasons, messages) leaves through [`log_text`], which breaks the tokens.

mod log;
mod name;
mod parse;

use std::fmt;

use super::own::{self, OwnText};

pub use log::log_text;
pub(crate) use name::is_device;
pub use name::{fits_header, safe_name};

/// The keep-alive: a *binary* message of these ten bytes, sent every 15 s. It may come between file bytes and is not
/// part of the file.
pub const KEEP_ALIVE: &[u8] = b"KEEP_ALIVE";

/// The first tokens of all text messages that are not log text.
pub const TOKENS: &[&str] = &[
    "PACKAGE_TYPE",
    "OUTPUT_DIR",
    "FILE_META",
    "END_OF_FILE",
    "JOB_ID",
    "INPUT_FILE",
    "ZMQ_CTRL",
    "SHARED_INPUT_PATH",
    "SHARED_OUTPUT_PATH",
    "SHARED_STORAGE_JOB",
    "TRAIN_JOB_START",
    "TRAIN_JOB_END",
    "TRAIN_JOB_ERROR",
    "TRAINING_JOBS_DONE",
    "PROGRESS_REPORT",
    "INFERENCE_START",
    "INFERENCE_JOB_START",
    "TRACK_LOG",
    "INFERENCE_JOB_END",
    "INFERENCE_JOB_ERROR",
    "INFERENCE_ERROR",
    "INFERENCE_JOBS_DONE",
    "FILE_EXISTS",
    "FILE_NOT_FOUND",
    "JOB_OUTPUT_PATH",
    "TRAINING_COMPLETE",
    "PATH_VALIDATED",
    "PATH_ERROR",
    "JOB_COMPLETE",
    "JOB_FAILED",
    "JOB_CANCELLED",
    own::TOKEN,
];

/// What a package is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageKind {
    /// Training; what a package is when nothing was said.
    Train,
    /// Inference.
    Track,
    /// Something that is not known.
    Other(String),
}

impl From<&str> for PackageKind {
    fn from(kind: &str) -> Self {
        match kind {
            "train" => Self::Train,
            "track" => Self::Track,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for PackageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Track => "track",
            Self::Other(kind) => kind,
        })
    }
}

/// A text message of the data channel. [`parse`](Self::parse) reads it; `Display` and [`to_text`](Self::to_text)
/// write it, with the tokens in free text broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelText {
    /// `PACKAGE_TYPE::<kind>`: what the next package is for.
    PackageType(PackageKind),
    /// `OUTPUT_DIR::<dir>`: the directory of the unpacked package that is to be sent back.
    OutputDir(String),
    /// `FILE_META::<name>:<size>:<hint>`: a file follows, in binary messages.
    FileMeta {
        /// Its name, which [`safe_name`] has accepted.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// `True`, `False` or `false` from a client (whether a GUI watches), an output directory from a worker.
        hint: String,
    },
    /// `END_OF_FILE`: the file is complete.
    EndOfFile,
    /// `JOB_ID::<id>`: the id of the job whose paths follow.
    JobId(String),
    /// `INPUT_FILE::<name>`: a file in the worker's input directory; not yet checked.
    InputFile(String),
    /// `ZMQ_CTRL::<json>`: a command of the training monitor, verbatim.
    ZmqCtrl(String),
    /// `SHARED_INPUT_PATH::<path>`: below the shared root; not yet checked.
    SharedInputPath(String),
    /// `SHARED_OUTPUT_PATH::<path>`: below the shared root; not yet checked.
    SharedOutputPath(String),
    /// `SHARED_STORAGE_JOB::start`.
    SharedStorageJob(String),
    /// `TRAIN_JOB_START::<name>`: the training of a model begins.
    TrainJobStart(String),
    /// `TRAIN_JOB_END::<name>`: it ended with exit code 0.
    TrainJobEnd(String),
    /// `TRAIN_JOB_ERROR::<name>::<code>`: it ended otherwise.
    TrainJobError {
        /// The model.
        name: String,
        /// The exit code; negative for the signal that ended it.
        code: i32,
    },
    /// `TRAINING_JOBS_DONE`: there is no further model.
    TrainingJobsDone,
    /// `PROGRESS_REPORT::<json>`: what the trainer reports.
    ProgressReport(String),
    /// `INFERENCE_START`.
    InferenceStart,
    /// `INFERENCE_JOB_START::<name>`.
    InferenceJobStart(String),
    /// `TRACK_LOG:<line>`, with a single colon: log text of an inference.
    TrackLog(String),
    /// `INFERENCE_JOB_END::<name>`.
    InferenceJobEnd(String),
    /// `INFERENCE_JOB_ERROR::<name>::<code>`.
    InferenceJobError {
        /// The job's name, `inference`.
        name: String,
        /// The exit code; negative for the signal that ended it.
        code: i32,
    },
    /// `INFERENCE_ERROR::<text>`.
    InferenceError(String),
    /// `INFERENCE_JOBS_DONE`.
    InferenceJobsDone,
    /// `FILE_EXISTS::<name>`: the input file is there.
    FileExists(String),
    /// `FILE_NOT_FOUND::<name>::<reason>`: the input file cannot be used.
    FileNotFound {
        /// The name that the client gave; not checked.
        name: String,
        /// Why not.
        reason: String,
    },
    /// `JOB_OUTPUT_PATH::<dir>`: where the worker puts the results.
    JobOutputPath(String),
    /// `TRAINING_COMPLETE`: a job on the worker's own files has ended, whether training or inference.
    TrainingComplete,
    /// `PATH_VALIDATED::<input or output>`.
    PathValidated(String),
    /// `PATH_ERROR::<text>`.
    PathError(String),
    /// `JOB_COMPLETE::<job id>::<detail>`.
    JobComplete {
        /// The job.
        job_id: String,
        /// Where its results are.
        detail: String,
    },
    /// `JOB_FAILED::<job id>::<text>`.
    JobFailed {
        /// The job.
        job_id: String,
        /// Why.
        message: String,
    },
    /// `JOB_CANCELLED::<job id>`.
    JobCancelled {
        /// The job.
        job_id: String,
    },
    /// `LOANER_PEER::<json>`: between two Loaner peers.
    Own(OwnText),
    /// Anything else: a piece of log text, `<text>\n` or `\r<text>`.
    Log(String),
}

impl ChannelText {
    /// The message as text.
    pub fn to_text(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ChannelText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PackageType(kind) => write!(f, "PACKAGE_TYPE::{kind}"),
            Self::OutputDir(dir) => write!(f, "OUTPUT_DIR::{dir}"),
            Self::FileMeta { name, size, hint } => write!(f, "FILE_META::{name}:{size}:{hint}"),
            Self::EndOfFile => f.write_str("END_OF_FILE"),
            Self::JobId(id) => write!(f, "JOB_ID::{id}"),
            Self::InputFile(name) => write!(f, "INPUT_FILE::{name}"),
            Self::ZmqCtrl(json) => write!(f, "ZMQ_CTRL::{json}"),
            Self::SharedInputPath(path) => write!(f, "SHARED_INPUT_PATH::{path}"),
            Self::SharedOutputPath(path) => write!(f, "SHARED_OUTPUT_PATH::{path}"),
            Self::SharedStorageJob(word) => write!(f, "SHARED_STORAGE_JOB::{word}"),
            Self::TrainJobStart(name) => write!(f, "TRAIN_JOB_START::{name}"),
            Self::TrainJobEnd(name) => write!(f, "TRAIN_JOB_END::{name}"),
            Self::TrainJobError { name, code } => write!(f, "TRAIN_JOB_ERROR::{name}::{code}"),
            Self::TrainingJobsDone => f.write_str("TRAINING_JOBS_DONE"),
            Self::ProgressReport(json) => {
                write!(f, "PROGRESS_REPORT::{}", log_text(json))
            }
            Self::InferenceStart => f.write_str("INFERENCE_START"),
            Self::InferenceJobStart(name) => write!(f, "INFERENCE_JOB_START::{name}"),
            Self::TrackLog(line) => write!(f, "TRACK_LOG:{}", log_text(line)),
            Self::InferenceJobEnd(name) => write!(f, "INFERENCE_JOB_END::{name}"),
            Self::InferenceJobError { name, code } => {
                write!(f, "INFERENCE_JOB_ERROR::{name}::{code}")
            }
            Self::InferenceError(text) => write!(f, "INFERENCE_ERROR::{}", log_text(text)),
            Self::InferenceJobsDone => f.write_str("INFERENCE_JOBS_DONE"),
            Self::FileExists(name) => write!(f, "FILE_EXISTS::{name}"),
            Self::FileNotFound { name, reason } => {
                write!(f, "FILE_NOT_FOUND::{name}::{}", log_text(reason))
            }
            Self::JobOutputPath(path) => write!(f, "JOB_OUTPUT_PATH::{path}"),
            Self::TrainingComplete => f.write_str("TRAINING_COMPLETE"),
            Self::PathValidated(which) => write!(f, "PATH_VALIDATED::{which}"),
            Self::PathError(text) => write!(f, "PATH_ERROR::{}", log_text(text)),
            Self::JobComplete { job_id, detail } => {
                write!(f, "JOB_COMPLETE::{job_id}::{}", log_text(detail))
            }
            Self::JobFailed { job_id, message } => {
                write!(f, "JOB_FAILED::{job_id}::{}", log_text(message))
            }
            Self::JobCancelled { job_id } => write!(f, "JOB_CANCELLED::{job_id}"),
            Self::Own(text) => f.write_str(&text.to_text()),
            Self::Log(text) => f.write_str(&log_text(text)),
        }
    }
}

#[cfg(test)]
mod tests;
