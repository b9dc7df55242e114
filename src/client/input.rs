//! A package that is at the worker already: its file is named instead of sent (sleap-rtc wire protocol, 4.3 and 4.6).

use std::str::FromStr;

use thiserror::Error;

use crate::wire::ChannelText;
use crate::worker::jobs::names::{NameError, safe_file_name, safe_relative};

/// Below the worker's output directory, the directory of all results; each job has one in it that is named after its id.
const JOBS: &str = "jobs";

/// A file in the worker's input directory, by its path relative to that; known to be safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerInput(String);

/// Why this names no file of a worker.
#[derive(Debug, Error)]
#[error(
    "{why}; give the name of a file in the worker's input directory, or its path relative to that, such as flies/labels.zip"
)]
pub struct InputError {
    why: NameError,
}

impl FromStr for WorkerInput {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let refused = |why| InputError { why };
        let path = safe_relative(text).map_err(refused)?;
        let name = path.file_name().and_then(|name| name.to_str());
        safe_file_name(name.unwrap_or_default()).map_err(refused)?;
        // Its parts have been checked to be text.
        Ok(WorkerInput(path.to_string_lossy().into_owned()))
    }
}

impl WorkerInput {
    /// Its path, relative to the worker's input directory.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// What starts the job of this id. A bare name is given in the words of today; a path in those before, which know
    /// directories.
    pub(super) fn words(&self, job: &str) -> Vec<ChannelText> {
        let id = ChannelText::JobId(job.to_owned());
        if self.is_bare() {
            return vec![id, ChannelText::InputFile(self.0.clone())];
        }
        vec![
            id,
            ChannelText::SharedInputPath(self.0.clone()),
            ChannelText::SharedOutputPath(format!("{JOBS}/{job}")),
            ChannelText::SharedStorageJob("start".to_owned()),
        ]
    }

    fn is_bare(&self) -> bool {
        !self.0.contains('/')
    }

    /// The worker's answer to these words: whether it has the file, or why it cannot be used. `None` where this is no
    /// answer to them.
    pub(super) fn answer(&self, text: &ChannelText) -> Option<Result<(), String>> {
        match text {
            ChannelText::FileExists(name) if self.is_bare() && *name == self.0 => Some(Ok(())),
            ChannelText::FileNotFound { name, reason } if self.is_bare() && *name == self.0 => {
                Some(Err(plain(reason)))
            }
            // The last of two answers: where the first was an error, there is no second.
            ChannelText::PathValidated(which) if !self.is_bare() && which == "output" => {
                Some(Ok(()))
            }
            ChannelText::PathError(reason) if !self.is_bare() => Some(Err(plain(reason))),
            _ => None,
        }
    }
}

/// What a worker says, as one line that moves no terminal.
pub(super) fn plain(text: &str) -> String {
    const LONGEST: usize = 1024;
    let said = text.chars().filter(|c| !c.is_control());
    said.take(LONGEST).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(input: &str) -> Vec<String> {
        let input: WorkerInput = input.parse().unwrap();
        input.words("j1").iter().map(ChannelText::to_text).collect()
    }

    #[test]
    fn a_name_is_said_in_the_words_of_today_and_a_path_in_those_before() {
        let named = ["JOB_ID::j1", "INPUT_FILE::labels.zip"];
        assert_eq!(words("labels.zip"), named);
        assert_eq!(words("./labels.zip"), named);
        assert_eq!(
            words("flies/labels.zip"),
            [
                "JOB_ID::j1", "SHARED_INPUT_PATH::flies/labels.zip", "SHARED_OUTPUT_PATH::jobs/j1",
                "SHARED_STORAGE_JOB::start",
            ]
        );
    }

    #[test]
    fn what_names_no_file_below_a_directory_is_refused() {
        for text in [
            "", ".", "/etc/x.zip", "../x.zip", "a/../../x.zip", "a\\b.zip", "a\nb.zip", "x/.hidden",
        ] {
            let error = text.parse::<WorkerInput>().unwrap_err();
            assert!(error.to_string().contains("input directory"), "{text}");
        }
    }

    #[test]
    fn only_answers_to_what_was_asked_count() {
        let answer = |input: &str, text: &str| {
            let input: WorkerInput = input.parse().unwrap();
            input.answer(&ChannelText::parse(text).unwrap())
        };
        let missing = "FILE_NOT_FOUND::a.zip::File does not exist";
        assert_eq!(answer("a.zip", "FILE_EXISTS::a.zip"), Some(Ok(())));
        assert!(answer("a.zip", missing).unwrap().is_err());
        assert_eq!(answer("a.zip", "FILE_EXISTS::b.zip"), None);
        assert_eq!(answer("a.zip", "PATH_VALIDATED::output"), None);
        assert_eq!(answer("d/a.zip", "PATH_VALIDATED::input"), None);
        assert_eq!(answer("d/a.zip", "PATH_VALIDATED::output"), Some(Ok(())));
        assert!(answer("d/a.zip", "PATH_ERROR::no").unwrap().is_err());
        assert_eq!(answer("d/a.zip", missing), None);
    }
}
