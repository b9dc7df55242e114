//! `track-script.sh`: read for its inference commands, never executed (sleap-rtc wire protocol, 4.7 and 7).

mod error;
mod words;

pub use error::{LineError, TrackError};

use std::path::Path;

use super::names::{safe_file_name, safe_relative, shown};
use crate::wire::{fits_header, safe_name};
use words::words;

/// The script's name inside a package.
pub const TRACK_SCRIPT: &str = "track-script.sh";
/// Where a command leaves its result unless it says so itself.
pub const PREDICTIONS: &str = "predictions.slp";
/// Most commands in one script.
pub const MAX_COMMANDS: usize = 16;
/// Most models in one command.
pub const MAX_MODELS: usize = 16;
/// Most bytes in a list of frames.
const MAX_FRAMES: usize = 4096;
/// The largest batch (protocol page, 11.5).
const MAX_BATCH: u16 = 256;

/// One inference, as the script asks for it. All paths are relative to the package, inside of it, and no options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Its line in the script, from 1; where it is continued, the first.
    pub line: usize,
    /// The data.
    pub data: String,
    /// The models, at least one.
    pub models: Vec<String>,
    /// Where the result goes.
    pub output: String,
    /// Whatever else was asked for, as arguments that this worker knows.
    pub options: Vec<String>,
}

impl Track {
    /// Whether a file of this name is among what the command reads, or would be.
    fn reads(&self, output: &str) -> bool {
        let output = Path::new(output);
        self.models
            .iter()
            .chain([&self.data])
            .any(|input| output.starts_with(input) || Path::new(input).starts_with(output))
    }

    /// The worker's own command for it.
    pub fn argv(&self) -> Vec<String> {
        let mut argv = vec!["sleap-nn", "track", "--data_path", &self.data];
        for model in &self.models {
            argv.extend(["--model_paths", model]);
        }
        argv.extend(["-o", &self.output]);
        argv.extend(self.options.iter().map(String::as_str));
        argv.into_iter().map(str::to_owned).collect()
    }
}

/// The commands of a script, in order. Lines that end in a backslash go on in the next one. A line counts when it
/// begins (after blanks) with `sleap-nn track`; all else is ignored. Whatever a line that counts says and this worker
/// does not know is an error, lest something else be run than was meant.
pub fn commands(script: &str) -> Result<Vec<Track>, TrackError> {
    let mut commands: Vec<Track> = Vec::new();
    for (line, text) in joined(script) {
        let Some(arguments) = arguments(&text) else {
            continue;
        };
        let fault = |why| TrackError::Line { line, why };
        if commands.len() == MAX_COMMANDS {
            return Err(TrackError::TooMany);
        }
        let track = command(line, &words(arguments).map_err(fault)?).map_err(fault)?;
        let clash = commands
            .iter()
            .chain([&track])
            .any(|reader| reader.reads(&track.output));
        if clash {
            return Err(fault(LineError::OverInput(shown(&track.output))));
        }
        if let Some(other) = commands.iter().find(|other| other.output == track.output) {
            let (name, first) = (shown(&track.output), other.line);
            return Err(fault(LineError::OverResult { name, first }));
        }
        commands.push(track);
    }
    if commands.is_empty() {
        return Err(TrackError::NoCommands);
    }
    Ok(commands)
}

/// The one result of a script: what no later command reads.
pub fn result(commands: &[Track]) -> Result<&str, TrackError> {
    let mut results = commands
        .iter()
        .filter(|made| !commands.iter().any(|reader| reader.data == made.output));
    // The last one is read by nobody.
    let (first, second) = (results.next(), results.next());
    match (first, second) {
        (Some(only), None) => Ok(&only.output),
        (_, Some(second)) => Err(TrackError::Line {
            line: second.line,
            why: LineError::SecondResult(shown(&second.output)),
        }),
        (None, None) => Err(TrackError::NoCommands),
    }
}

/// The lines of a script with the numbers of their first lines; a backslash at a line's end is no end.
fn joined(script: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in script.lines().enumerate() {
        let (number, mut text) = open.take().unwrap_or((index + 1, String::new()));
        match line.strip_suffix('\\') {
            Some(part) => {
                text.push_str(part);
                open = Some((number, text));
            }
            None => {
                text.push_str(line);
                lines.push((number, text));
            }
        }
    }
    lines.extend(open);
    lines
}

/// What stands behind `sleap-nn track`, if the line begins with it.
fn arguments(line: &str) -> Option<&str> {
    let word = |text: &str, word| {
        let rest = text.trim_start().strip_prefix(word)?;
        (rest.is_empty() || rest.starts_with(char::is_whitespace)).then_some(rest.len())
    };
    let rest = &line[line.len() - word(line, "sleap-nn")?..];
    Some(&rest[rest.len() - word(rest, "track")?..])
}

fn command(line: usize, words: &[String]) -> Result<Track, LineError> {
    let (mut data, mut output, mut models) = (None, None, Vec::new());
    let mut options: Vec<String> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, joined) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (word.as_str(), None),
        };
        let mut value = || {
            let value = joined.or_else(|| words.next().map(String::as_str));
            value.ok_or_else(|| LineError::NoValue(shown(name)))
        };
        let twice = || LineError::Twice(shown(name));
        let mut add = |value: Option<String>| {
            if options.iter().any(|known| known == name) {
                return Err(twice());
            }
            options.push(name.to_owned());
            options.extend(value);
            Ok(())
        };
        match name {
            "--data_path" | "-i" => put(&mut data, path(name, value()?)?).ok_or_else(twice)?,
            "--output_path" | "-o" => put(&mut output, result_path(value()?)?).ok_or_else(twice)?,
            "--model_paths" | "-m" if models.len() == MAX_MODELS => {
                return Err(LineError::TooManyModels);
            }
            "--model_paths" | "-m" => models.push(path(name, value()?)?),
            "--only_suggested_frames"
            | "--only_labeled_frames"
            | "--only_predicted_frames"
            | "--exclude_user_labeled" => match joined {
                None => add(None)?,
                Some(_) => return Err(LineError::Flag(shown(name))),
            },
            "--batch_size" => {
                let wanted = "a whole number from 1 to 256";
                add(Some(number(name, value()?, wanted, |n: &u16| {
                    (1..=MAX_BATCH).contains(n)
                })?))?;
            }
            "--peak_threshold" => {
                let wanted = "a number from 0 to 1";
                add(Some(number(name, value()?, wanted, |n: &f64| {
                    (0.0..=1.0).contains(n)
                })?))?;
            }
            "--video_index" => {
                let wanted = "a whole number from 0 on";
                add(Some(number(name, value()?, wanted, |_: &u32| true)?))?;
            }
            "--frames" => add(Some(frames(name, value()?)?))?,
            _ if name.starts_with('-') => return Err(LineError::Unknown(shown(name))),
            _ => return Err(LineError::Stray(shown(name))),
        }
    }
    if models.is_empty() {
        return Err(LineError::Lacks("--model_paths"));
    }
    Ok(Track {
        line,
        data: data.ok_or(LineError::Lacks("--data_path"))?,
        models,
        output: output.unwrap_or_else(|| PREDICTIONS.to_owned()),
        options,
    })
}

/// Fills a place that may be filled once.
fn put(place: &mut Option<String>, value: String) -> Option<()> {
    place.is_none().then(|| *place = Some(value))
}

/// A path inside the package, as it is given to the command: never absolute, never upwards, never like an option.
fn path(name: &str, value: &str) -> Result<String, LineError> {
    let refused = |why: String| LineError::Path {
        option: name.to_owned(),
        path: shown(value),
        why,
    };
    let safe = safe_relative(value).map_err(|why| refused(why.to_string()))?;
    let path = safe.to_string_lossy().into_owned();
    if path.is_empty() {
        return Err(refused("it names the package itself".to_owned()));
    }
    if path.starts_with('-') {
        return Err(refused("it begins like an option".to_owned()));
    }
    Ok(path)
}

/// A path whose last part can be announced to a client that looks for its words anywhere in a text.
fn result_path(value: &str) -> Result<String, LineError> {
    let path = path("-o", value)?;
    let refused = |why: String| LineError::Path {
        option: "-o".to_owned(),
        path: shown(value),
        why,
    };
    let name = path.rsplit('/').next().unwrap_or(&path);
    safe_file_name(name).map_err(|why| refused(why.to_string()))?;
    safe_name(name).map_err(|error| refused(error.to_string()))?;
    if !fits_header(name) {
        return Err(refused("it contains a word of the protocol".to_owned()));
    }
    Ok(path)
}

fn number<T: std::str::FromStr>(
    name: &str,
    value: &str,
    wanted: &'static str,
    fits: impl Fn(&T) -> bool,
) -> Result<String, LineError> {
    // A sign or a word such as `inf` would be a number to the reader here, and something else elsewhere.
    let plain = value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match value.parse() {
        Ok(number) if plain && value.len() <= 32 && fits(&number) => Ok(value.to_owned()),
        _ => Err(LineError::Value {
            option: name.to_owned(),
            value: shown(value),
            wanted,
        }),
    }
}

/// `0-99,120`: numbers and ranges.
fn frames(name: &str, value: &str) -> Result<String, LineError> {
    let whole =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u32>().is_ok();
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => whole(first) && whole(last),
        None => whole(text),
    };
    if value.len() <= MAX_FRAMES && value.split(',').all(range) {
        return Ok(value.to_owned());
    }
    Err(LineError::Value {
        option: name.to_owned(),
        value: shown(value),
        wanted: "frames and ranges of them, such as 0-99,120",
    })
}

#[cfg(test)]
mod tests;
