//! `loaner.toml`: a package that says itself what is to be run.
//!
//! ```toml
//! [job]
//! name = "fit"                      # optional
//! command = ["sh", "train.sh"]      # or one string, run by `sh -c`
//! outputs = "models"                # optional; or a list of files and directories
//! env = { EPOCHS = "100" }          # optional
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use thiserror::Error;

use super::names::safe_relative;

/// The manifest's name inside a package.
pub const MANIFEST: &str = "loaner.toml";
/// Largest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 64 * 1024;
const MAX_ARGS: usize = 256;
const MAX_TEXT: usize = 8 * 1024;
const MAX_ENV: usize = 64;
const MAX_OUTPUTS: usize = 64;

/// A manifest that cannot be used, with the place of the mistake.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{MANIFEST}, line {line}, column {column}: {message}")]
pub struct ManifestError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// What a package wants to have run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The job's name, `"job"` unless given: up to 64 letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Outputs relative to the package root; `None` if not given.
    pub outputs: Option<Vec<PathBuf>>,
    /// Additions to the environment, ordered by name.
    pub env: Vec<(String, String)>,
}

impl Manifest {
    /// Reads a manifest. Unknown keys, escaping paths and outsized values are errors.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            place(text, at, error.message())
        })?;
        let Job {
            name,
            command,
            outputs,
            env,
        } = raw.job;
        Ok(Self {
            name: name.map_or_else(|| "job".to_owned(), |name| name.0),
            argv: command.0,
            outputs: outputs.map(|outputs| outputs.0),
            env: env.0.into_iter().collect(),
        })
    }
}

fn place(text: &str, at: usize, message: &str) -> ManifestError {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    ManifestError {
        line,
        column,
        message: message.replace('\n', " "),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    job: Job,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    name: Option<Name>,
    command: Command,
    outputs: Option<Outputs>,
    #[serde(default)]
    env: Env,
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

struct Outputs(Vec<PathBuf>);

impl<'de> Deserialize<'de> for Outputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let check = |path: &str| {
            safe_relative(path)
                .map(|_| ())
                .map_err(|why| format!("an output is a path inside the package: {why}"))
        };
        let paths = match deserializer.deserialize_any(OneOrMany {
            what: "outputs",
            most: MAX_OUTPUTS,
            check,
        })? {
            Given::One(path) => vec![path],
            Given::Many(paths) if paths.is_empty() => {
                return Err(de::Error::custom("outputs is empty"));
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_manifest() {
        let manifest = Manifest::parse(
            "[job]\nname = \"fit-1\"\ncommand = [\"sh\", \"train.sh\"]\noutputs = [\"models/\", \"loss.csv\"]\n\
             env = { B = \"2\", A = \"1\" }\n",
        )
        .unwrap();
        assert_eq!(manifest.name, "fit-1");
        assert_eq!(manifest.argv, ["sh", "train.sh"]);
        assert_eq!(
            manifest.outputs.unwrap(),
            [PathBuf::from("models"), PathBuf::from("loss.csv")]
        );
        assert_eq!(
            manifest.env,
            [("A".into(), "1".into()), ("B".into(), "2".into())]
        );
    }

    #[test]
    fn a_short_manifest() {
        let manifest =
            Manifest::parse("[job]\ncommand = \"echo $X > out\"\noutputs = \"out\"\n").unwrap();
        assert_eq!(manifest.name, "job");
        assert_eq!(manifest.argv, ["sh", "-c", "echo $X > out"]);
        assert_eq!(manifest.outputs.unwrap(), [PathBuf::from("out")]);
        assert!(
            Manifest::parse("[job]\ncommand = \"x\"\n")
                .unwrap()
                .outputs
                .is_none()
        );
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let long = format!("[job]\ncommand = \"{}\"\n", "x".repeat(MAX_TEXT + 1));
        for (text, line, column, part) in [
            (
                "[job]\ncommand = \"x\"\noutput = \"m\"\n",
                3,
                1,
                "unknown field `output`",
            ),
            ("command = \"x\"\n", 1, 1, "unknown field `command`"),
            (
                "[job]\ncommand = \"x\"\noutputs = \"../..\"\n",
                3,
                11,
                "\"..\"",
            ),
            (
                "[job]\ncommand = \"x\"\noutputs = [\"a\", \"/etc\"]\n",
                3,
                11,
                "absolute",
            ),
            ("[job]\ncommand = []\n", 2, 11, "a command needs a program"),
            ("[job]\ncommand = \" \"\n", 2, 11, "a command is empty"),
            (
                "[job]\ncommand = 3\n",
                2,
                11,
                "a command: a string or a list of strings",
            ),
            (
                "[job]\ncommand = \"x\"\nname = \"a::b\"\n",
                3,
                8,
                "a name has 1 to 64",
            ),
            (
                "[job]\ncommand = \"x\"\nenv = { \"A=B\" = \"1\" }\n",
                3,
                7,
                "is no name of a variable",
            ),
            (
                "[job]\ncommand = \"x\"\nenv = { A = 1 }\n",
                3,
                13,
                "expected a string",
            ),
            ("[job]\ncommand = [\"a\\u0000b\"]\n", 2, 11, "NUL"),
            ("[job]\nname = \"x\"\n", 1, 1, "missing field `command`"),
            ("[job]\ncommand = \"x\n", 2, 13, ""),
            (long.as_str(), 2, 11, "longer than 8192 bytes"),
        ] {
            let error = Manifest::parse(text).unwrap_err();
            assert_eq!(
                (error.line, error.column),
                (line, column),
                "{text}: {error}"
            );
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(\\[job\\]\n|command ?= ?|outputs = |\"|\\[|\\]|\n|,|\\PC){0,40}") {
            if let Err(error) = Manifest::parse(&text) {
                prop_assert!(error.line >= 1 && error.column >= 1);
            }
        }
    }
}
