//! Reading text messages.

use super::{ChannelText, PackageKind, safe_name};
use crate::wire::json::{check_job_id, check_line};
use crate::wire::own::{self, OwnText};
use crate::wire::{
    MAX_ID_BYTES, MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_TEXT_BYTES, WireError, excerpt,
};

impl ChannelText {
    /// Reads a text message. What does not begin with a known token is log text.
    ///
    /// # Errors
    /// [`WireError::TooLong`] above [`MAX_TEXT_BYTES`]; [`WireError::BadField`] for a text that begins with a known
    /// token and is malformed, with what is wrong.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(WireError::TooLong {
                len: text.len(),
                max: MAX_TEXT_BYTES,
            });
        }
        if let Some(line) = text.strip_prefix("TRACK_LOG:") {
            return Ok(Self::TrackLog(line.to_owned()));
        }
        let (token, rest) = match text.split_once("::") {
            Some((token, rest)) => (token, Some(rest)),
            None => (text, None),
        };
        let args = Args { token, rest };
        Ok(match token {
            "PACKAGE_TYPE" => Self::PackageType(PackageKind::from(args.word("kind")?.as_str())),
            "OUTPUT_DIR" => Self::OutputDir(args.path("dir")?),
            "FILE_META" => args.file_meta()?,
            "END_OF_FILE" => args.none(Self::EndOfFile)?,
            "JOB_ID" => Self::JobId(args.job_id()?),
            "INPUT_FILE" => Self::InputFile(args.path("name")?),
            "ZMQ_CTRL" => Self::ZmqCtrl(args.free("json")?),
            "SHARED_INPUT_PATH" => Self::SharedInputPath(args.path("path")?),
            "SHARED_OUTPUT_PATH" => Self::SharedOutputPath(args.path("path")?),
            "SHARED_STORAGE_JOB" => Self::SharedStorageJob(args.word("word")?),
            "TRAIN_JOB_START" => Self::TrainJobStart(args.name()?),
            "TRAIN_JOB_END" => Self::TrainJobEnd(args.name()?),
            "TRAIN_JOB_ERROR" => {
                let (name, code) = args.name_and_code()?;
                Self::TrainJobError { name, code }
            }
            "TRAINING_JOBS_DONE" => args.none(Self::TrainingJobsDone)?,
            "PROGRESS_REPORT" => Self::ProgressReport(args.free("json")?),
            "INFERENCE_START" => args.none(Self::InferenceStart)?,
            "INFERENCE_JOB_START" => Self::InferenceJobStart(args.name()?),
            "INFERENCE_JOB_END" => Self::InferenceJobEnd(args.name()?),
            "INFERENCE_JOB_ERROR" => {
                let (name, code) = args.name_and_code()?;
                Self::InferenceJobError { name, code }
            }
            "INFERENCE_ERROR" => Self::InferenceError(args.free("text")?),
            "INFERENCE_JOBS_DONE" => args.none(Self::InferenceJobsDone)?,
            "FILE_EXISTS" => Self::FileExists(args.path("name")?),
            "FILE_NOT_FOUND" => args.file_not_found()?,
            "JOB_OUTPUT_PATH" => Self::JobOutputPath(args.path("path")?),
            "TRAINING_COMPLETE" => args.none(Self::TrainingComplete)?,
            "PATH_VALIDATED" => Self::PathValidated(args.word("path")?),
            "PATH_ERROR" => Self::PathError(args.free("text")?),
            "JOB_COMPLETE" => {
                let (job_id, detail) = args.job_id_and_text()?;
                Self::JobComplete { job_id, detail }
            }
            "JOB_FAILED" => {
                let (job_id, message) = args.job_id_and_text()?;
                Self::JobFailed { job_id, message }
            }
            "JOB_CANCELLED" => Self::JobCancelled {
                job_id: args.job_id()?,
            },
            own::TOKEN => Self::Own(OwnText::parse(args.rest("json")?)?),
            // Reached by the text `TRACK_LOG` alone; with a colon it was read above.
            "TRACK_LOG" => return Err(args.lacks("line")),
            _ => Self::Log(text.to_owned()),
        })
    }
}

/// What stands after a token, if anything.
#[derive(Clone, Copy)]
struct Args<'a> {
    token: &'a str,
    rest: Option<&'a str>,
}

impl<'a> Args<'a> {
    fn lacks(self, field: &'static str) -> WireError {
        WireError::bad(field, format!("{} comes without it", self.token))
    }

    fn rest(self, field: &'static str) -> Result<&'a str, WireError> {
        self.rest.ok_or_else(|| self.lacks(field))
    }

    /// The message has no argument.
    fn none(self, message: ChannelText) -> Result<ChannelText, WireError> {
        match self.rest {
            None => Ok(message),
            Some(_) => {
                let why = format!("{} stands alone and takes no argument", self.token);
                Err(WireError::bad("argument", why))
            }
        }
    }

    /// Any text.
    fn free(self, field: &'static str) -> Result<String, WireError> {
        self.rest(field).map(str::to_owned)
    }

    /// A short word.
    fn word(self, field: &'static str) -> Result<String, WireError> {
        let word = self.rest(field)?;
        check_line(field, word, MAX_ID_BYTES)?;
        Ok(word.to_owned())
    }

    /// A path or a file name that is still to be checked: one line, and no longer than paths are.
    fn path(self, field: &'static str) -> Result<String, WireError> {
        let path = self.rest(field)?;
        check_line(field, path, MAX_PATH_BYTES)?;
        Ok(path.to_owned())
    }

    fn job_id(self) -> Result<String, WireError> {
        let id = self.rest("job_id")?;
        check_job_id("job_id", id)?;
        Ok(id.to_owned())
    }

    /// The name of a model: one line, not empty.
    fn name(self) -> Result<String, WireError> {
        checked_name(self.rest("name")?)
    }

    /// `<name>::<code>`; the name may itself contain colons.
    fn name_and_code(self) -> Result<(String, i32), WireError> {
        let (name, code) = self
            .rest("name")?
            .rsplit_once("::")
            .ok_or_else(|| self.lacks("code"))?;
        let code = code.parse().map_err(|_| {
            WireError::bad("code", format!("`{}` is not an exit code", excerpt(code)))
        })?;
        Ok((checked_name(name)?, code))
    }

    /// `<job id>::<text>`. A missing text counts as empty, lest the end of a job be missed.
    fn job_id_and_text(self) -> Result<(String, String), WireError> {
        let rest = self.rest("job_id")?;
        let (job_id, text) = rest.split_once("::").unwrap_or((rest, ""));
        check_job_id("job_id", job_id)?;
        Ok((job_id.to_owned(), text.to_owned()))
    }

    /// `<name>:<size>:<hint>`, single colons.
    fn file_meta(self) -> Result<ChannelText, WireError> {
        let header = self.rest("header")?;
        let fields: Vec<&str> = header.splitn(4, ':').collect();
        let [name, size, hint] = fields[..] else {
            let why = if fields.len() < 3 {
                "it has fewer than the three fields of name:size:hint"
            } else {
                "it has more than the three fields of name:size:hint; a colon in a file name is not possible"
            };
            return Err(WireError::bad("header", why));
        };
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
        let bytes = size.parse().ok().filter(|_| digits).ok_or_else(|| {
            let why = format!("`{}` is not a number of bytes", excerpt(size));
            WireError::bad("size", why)
        })?;
        check_line("hint", hint, MAX_PATH_BYTES)?;
        Ok(ChannelText::FileMeta {
            name: safe_name(name)?.to_owned(),
            size: bytes,
            hint: hint.to_owned(),
        })
    }

    /// `<name>::<reason>`.
    fn file_not_found(self) -> Result<ChannelText, WireError> {
        let rest = self.rest("name")?;
        let (name, reason) = rest.split_once("::").ok_or_else(|| self.lacks("reason"))?;
        check_line("name", name, MAX_PATH_BYTES)?;
        Ok(ChannelText::FileNotFound {
            name: name.to_owned(),
            reason: reason.to_owned(),
        })
    }
}

fn checked_name(name: &str) -> Result<String, WireError> {
    if name.is_empty() {
        return Err(WireError::bad("name", "it is empty"));
    }
    check_line("name", name, MAX_NAME_BYTES)?;
    Ok(name.to_owned())
}
