//! The manifest as it is written: keys and values, each checked where it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use toml::Spanned;

use super::pattern::check_pattern;
use super::{ProgressFormat, Resources, STOP_DEADLINE, Stop, StopSignal, Terms};
use crate::worker::jobs::names::safe_relative;
use crate::worker::mistake::Mistake;
use crate::worker::quantity::{Bytes, Span};

const MAX_ARGS: usize = 256;
pub(super) const MAX_TEXT: usize = 8 * 1024;
const MAX_ENV: usize = 64;
const MAX_PATHS: usize = 64;
const MAX_DEADLINE: Duration = Duration::from_secs(600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    job: Spanned<Job>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    name: Option<Name>,
    command: Option<Command>,
    inputs: Option<Paths>,
    outputs: Option<Paths>,
    return_changed: Option<Spanned<bool>>,
    #[serde(default)]
    env: Env,
    #[serde(default)]
    resources: RawResources,
    #[serde(default)]
    stop: RawStop,
    #[serde(default)]
    progress: Progress,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawResources {
    gpu_memory: Option<Bytes>,
    time_limit: Option<Span>,
    disk: Option<Bytes>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStop {
    #[serde(default)]
    signal: Signal,
    deadline: Option<Deadline>,
}

#[derive(Deserialize)]
#[serde(try_from = "Span")]
struct Deadline(Duration);

impl TryFrom<Span> for Deadline {
    type Error = &'static str;

    fn try_from(span: Span) -> Result<Self, Self::Error> {
        if span.0 > MAX_DEADLINE {
            return Err("a command has 10 minutes to stop at most");
        }
        Ok(Deadline(span.0))
    }
}

#[derive(Default, Deserialize)]
enum Signal {
    #[default]
    #[serde(rename = "INT")]
    Int,
    #[serde(rename = "TERM")]
    Term,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    #[serde(default)]
    format: Format,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Lines,
    Json,
}

impl Manifest {
    /// The manifest of `text`, with another command than its own if one is given.
    pub(super) fn complete(
        self,
        text: &str,
        instead: Option<Vec<String>>,
    ) -> Result<super::Manifest, Mistake> {
        let start = self.job.span().start;
        let job = self.job.into_inner();
        let argv = instead
            .or(job.command.map(|command| command.0))
            .ok_or_else(|| Mistake::at(text, start, "missing field `command`"))?;
        let return_changed = match job.return_changed {
            Some(given) if *given.get_ref() && job.outputs.is_some() => {
                let message = "outputs says what is returned; leave it or return_changed out";
                return Err(Mistake::at(text, given.span().start, message));
            }
            given => given.is_some_and(Spanned::into_inner),
        };
        Ok(super::Manifest {
            name: job.name.map_or_else(|| "job".to_owned(), |name| name.0),
            argv,
            inputs: job.inputs.map(|paths| paths.0),
            outputs: job.outputs.map(|paths| paths.0),
            env: job.env.0.into_iter().collect(),
            terms: Terms {
                resources: Resources {
                    gpu_memory: job.resources.gpu_memory.map(|bytes| bytes.0),
                    time_limit: job.resources.time_limit.map(|span| span.0),
                    disk: job.resources.disk.map(|bytes| bytes.0),
                },
                stop: Stop {
                    signal: match job.stop.signal {
                        Signal::Int => StopSignal::Int,
                        Signal::Term => StopSignal::Term,
                    },
                    deadline: job.stop.deadline.map_or(STOP_DEADLINE, |span| span.0),
                },
                progress: match job.progress.format {
                    Format::Lines => ProgressFormat::Lines,
                    Format::Json => ProgressFormat::Json,
                },
                return_changed,
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty()
            || name.len() > 64
            || name.starts_with(['.', '-'])
            || !name.chars().all(plain)
        {
            return Err(
                "a name has 1 to 64 letters, digits, '.', '_' or '-', and begins with a letter or digit",
            );
        }
        Ok(Self(name))
    }
}

struct Command(Vec<String>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(OneOrMany {
            what: "a command",
            most: MAX_ARGS,
            check: text,
        })? {
            Given::One(script) => Ok(Self(vec!["sh".to_owned(), "-c".to_owned(), script])),
            Given::Many(argv) if argv.first().is_some_and(|program| !program.is_empty()) => {
                Ok(Self(argv))
            }
            Given::Many(_) => Err(de::Error::custom("a command needs a program")),
        }
    }
}

/// Files, directories and patterns inside the package.
struct Paths(Vec<PathBuf>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |path: &str| {
            safe_relative(path).map_err(|why| {
                format!("only files and directories inside the package can be named: {why}")
            })?;
            check_pattern(path)
        };
        let paths = match deserializer.deserialize_any(OneOrMany {
            what: "a list of paths",
            most: MAX_PATHS,
            check,
        })? {
            Given::One(path) => vec![path],
            Given::Many(paths) if paths.is_empty() => {
                return Err(de::Error::custom("the list is empty"));
            }
            Given::Many(paths) => paths,
        };
        paths
            .iter()
            .map(|path| safe_relative(path).map_err(de::Error::custom))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[derive(Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
struct Env(BTreeMap<String, String>);

impl TryFrom<BTreeMap<String, String>> for Env {
    type Error = String;

    fn try_from(env: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        if env.len() > MAX_ENV {
            return Err(format!("env has more than {MAX_ENV} variables"));
        }
        for (name, value) in &env {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty()
                || name.len() > 128
                || !name.chars().all(word)
                || name.starts_with(|c: char| c.is_ascii_digit())
            {
                return Err(format!("env: {name:?} is no name of a variable"));
            }
            text(value).map_err(|why| format!("env: {name}: {why}"))?;
        }
        Ok(Self(env))
    }
}

/// A piece of text that can be handed to a process.
fn text(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("a NUL character is not possible here".to_owned());
    }
    if text.len() > MAX_TEXT {
        return Err(format!("longer than {MAX_TEXT} bytes"));
    }
    Ok(())
}

enum Given {
    One(String),
    Many(Vec<String>),
}

/// A string, or a list of at most `most` strings.
struct OneOrMany<F> {
    what: &'static str,
    most: usize,
    check: F,
}

impl<'de, F: Fn(&str) -> Result<(), String>> Visitor<'de> for OneOrMany<F> {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: a string or a list of strings", self.what)
    }

    fn visit_str<E: de::Error>(self, one: &str) -> Result<Given, E> {
        if one.trim().is_empty() {
            return Err(E::custom(format!("{} is empty", self.what)));
        }
        (self.check)(one).map_err(E::custom)?;
        Ok(Given::One(one.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Given, A::Error> {
        let mut many = Vec::new();
        while let Some(one) = list.next_element::<String>()? {
            if many.len() == self.most {
                return Err(de::Error::custom(format!(
                    "more than {} entries",
                    self.most
                )));
            }
            (self.check)(&one).map_err(de::Error::custom)?;
            many.push(one);
        }
        Ok(Given::Many(many))
    }
}
