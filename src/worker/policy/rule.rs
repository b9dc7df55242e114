//! One `[[allow]]` of a policy.

use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

use super::Asker;
use crate::worker::quantity::{Bytes, Span};

/// The one recipe that is built in.
const SLEAP: &str = "sleap";

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    recipe: Option<Recipe>,
    command: Option<Command>,
    rooms: Option<Vec<String>>,
    users: Option<Vec<String>>,
    set_env: Option<Words>,
    time_limit: Option<Span>,
    gpu_memory: Option<Bytes>,
    disk: Option<Bytes>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Recipe;

impl TryFrom<String> for Recipe {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == SLEAP {
            return Ok(Recipe);
        }
        Err(format!("there is no recipe {name:?}; there is \"{SLEAP}\""))
    }
}

/// Names of variables.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(super) struct Names(pub(super) Vec<String>);

impl TryFrom<Vec<String>> for Names {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        match names
            .iter()
            .find(|name| name.is_empty() || name.contains(['=', '\0', '*']))
        {
            Some(wrong) => Err(format!("{wrong:?} is no name of a variable")),
            None => Ok(Names(names)),
        }
    }
}

/// A pattern of one word.
#[derive(Debug, Clone)]
enum Word {
    Any,
    Like(GlobMatcher),
}

impl Word {
    fn matches(&self, word: &str) -> bool {
        match self {
            Word::Any => true,
            Word::Like(glob) => glob.is_match(word),
        }
    }
}

impl TryFrom<&str> for Word {
    type Error = String;

    fn try_from(pattern: &str) -> Result<Self, String> {
        if pattern == "*" {
            return Ok(Word::Any);
        }
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .backslash_escape(false)
            .build()
            .map_err(|error| format!("{pattern:?} is no pattern: {}", error.kind()))?;
        Ok(Word::Like(glob.compile_matcher()))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<String>")]
struct Words(Vec<Word>);

impl TryFrom<Vec<String>> for Words {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        let words = words.iter().map(|word| Word::try_from(word.as_str()));
        words.collect::<Result<_, _>>().map(Words)
    }
}

/// Patterns of a program and its arguments.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<String>")]
struct Command {
    words: Vec<Word>,
    /// Whether more may follow.
    open: bool,
}

impl TryFrom<Vec<String>> for Command {
    type Error = String;

    fn try_from(mut words: Vec<String>) -> Result<Self, String> {
        let open = words.last().is_some_and(|word| word == "**");
        if open {
            words.pop();
        }
        if words.iter().any(|word| word == "**") {
            return Err("\"**\" stands for the rest of a command: only at its end".to_owned());
        }
        match words.first() {
            None => return Err("a command needs a program".to_owned()),
            Some(program) if program.is_empty() => {
                return Err("a command needs a program".to_owned());
            }
            Some(_) => {}
        }
        let Words(words) = Words::try_from(words)?;
        Ok(Command { words, open })
    }
}

#[derive(Debug, Clone)]
enum What {
    Recipe,
    AnyCommand,
    Command(Command),
}

/// A rule that allows something.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    what: What,
    rooms: Option<Vec<String>>,
    users: Option<Vec<String>>,
    set_env: Vec<Word>,
    pub(super) time_limit: Option<Duration>,
    pub(super) gpu_memory: Option<u64>,
    pub(super) disk: Option<u64>,
}

impl Rule {
    fn allowing(what: What) -> Self {
        Rule {
            what,
            rooms: None,
            users: None,
            set_env: Vec::new(),
            time_limit: None,
            gpu_memory: None,
            disk: None,
        }
    }

    pub(super) fn recipe() -> Self {
        Self::allowing(What::Recipe)
    }

    pub(super) fn any_command() -> Self {
        Rule {
            set_env: vec![Word::Any],
            ..Self::allowing(What::AnyCommand)
        }
    }

    pub(super) fn new(raw: RawRule) -> Result<Self, String> {
        let what = match (raw.recipe, raw.command) {
            (Some(Recipe), None) => What::Recipe,
            (None, Some(command)) => What::Command(command),
            (Some(_), Some(_)) => {
                return Err(
                    "a rule allows a recipe or a command; make two rules of this one".to_owned(),
                );
            }
            (None, None) => {
                return Err(
                    "a rule needs a recipe or a command, as in command = [\"python\", \"train.py\", \"**\"]"
                        .to_owned(),
                );
            }
        };
        if matches!(what, What::Recipe) && raw.set_env.is_some() {
            return Err("a recipe sets no variables: leave set_env out".to_owned());
        }
        Ok(Rule {
            what,
            rooms: raw.rooms,
            users: raw.users,
            set_env: raw.set_env.map(|words| words.0).unwrap_or_default(),
            time_limit: raw.time_limit.map(|span| span.0),
            gpu_memory: raw.gpu_memory.map(|bytes| bytes.0),
            disk: raw.disk.map(|bytes| bytes.0),
        })
    }

    pub(super) fn is_recipe(&self) -> bool {
        matches!(self.what, What::Recipe)
    }

    /// Whether it is meant for a room and a user.
    pub(super) fn is_for(&self, asker: &Asker) -> bool {
        asker.is_among(self.rooms.as_deref(), self.users.as_deref())
    }

    /// Whether it allows this program with these arguments.
    pub(super) fn allows(&self, argv: &[String]) -> bool {
        match &self.what {
            What::Recipe => false,
            What::AnyCommand => true,
            What::Command(Command { words, open }) => {
                let length = if *open {
                    argv.len() >= words.len()
                } else {
                    argv.len() == words.len()
                };
                length
                    && words
                        .iter()
                        .zip(argv)
                        .all(|(pattern, word)| pattern.matches(word))
            }
        }
    }

    /// Whether it lets a job set all of these variables.
    pub(super) fn lets_set(&self, names: &[&str]) -> bool {
        names
            .iter()
            .all(|name| self.set_env.iter().any(|word| word.matches(name)))
    }
}
