//! Why a script is refused.

use thiserror::Error;

use super::{MAX_COMMANDS, MAX_MODELS, TRACK_SCRIPT};

/// Why a script is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrackError {
    /// No line tracks anything.
    #[error("{TRACK_SCRIPT} has no `sleap-nn track --data_path X --model_paths Y` line")]
    NoCommands,
    /// More than [`MAX_COMMANDS`].
    #[error("{TRACK_SCRIPT} has more than {MAX_COMMANDS} `sleap-nn track` lines")]
    TooMany,
    /// A line cannot be taken.
    #[error("{TRACK_SCRIPT}, line {line}: {why}")]
    Line {
        /// Line number, from 1; of a command that is continued, the first.
        line: usize,
        /// What is wrong with it.
        why: LineError,
    },
}

/// What is wrong with one command. Names and values are fit for display.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LineError {
    /// Something that only a shell understands.
    #[error(
        "`{0}` is for a shell, and no shell runs this; write plain words, in quotes where they have blanks"
    )]
    NotPlain(char),
    /// A quote without its end.
    #[error("a {0} quote is not closed")]
    OpenQuote(char),
    /// An option that may be anything.
    #[error(
        "the option `{0}` is not known here; known are --data_path, --model_paths, -o, --only_suggested_frames, \
         --only_labeled_frames, --only_predicted_frames, --exclude_user_labeled, --batch_size, --peak_threshold, \
         --frames and --video_index"
    )]
    Unknown(String),
    /// A word that belongs to no option.
    #[error("\"{0}\" belongs to no option")]
    Stray(String),
    /// An option at the end of the line that wants a value.
    #[error("`{0}` comes without a value")]
    NoValue(String),
    /// A value where none belongs.
    #[error("`{0}` takes no value")]
    Flag(String),
    /// An option that can be given once.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// More than [`MAX_MODELS`].
    #[error("more than {MAX_MODELS} models")]
    TooManyModels,
    /// An option that cannot be left out.
    #[error("`{0}` is missing")]
    Lacks(&'static str),
    /// A path that leads out of the package, or cannot be used.
    #[error(
        "the path \"{path}\" of `{option}` is refused: {why}; paths are relative to the package"
    )]
    Path {
        /// The option.
        option: String,
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value that is none.
    #[error("`{option}` wants {wanted}, not \"{value}\"")]
    Value {
        /// The option.
        option: String,
        /// What was given.
        value: String,
        /// What is wanted.
        wanted: &'static str,
    },
    /// A result in the place of what it is made from.
    #[error("the result \"{0}\" would replace what it is made from; give another name with -o")]
    OverInput(String),
    /// Two results in one place.
    #[error("the result \"{name}\" would replace that of line {first}; give another name with -o")]
    OverResult {
        /// The result.
        name: String,
        /// The line that makes it first.
        first: usize,
    },
    /// More results than can be returned.
    #[error(
        "\"{0}\" would be a second result, and one file is returned; send this command in a package of its own"
    )]
    SecondResult(String),
}
