//! What a worker runs is the worker's decision: its policy.
//!
//! ```toml
//! env = ["HF_HOME"]                          # variables of the worker's own that every job gets
//!
//! [[allow]]
//! recipe = "sleap"                           # the fixed commands of sleap-nn
//!
//! [[allow]]
//! command = ["python", "train.py", "**"]     # a pattern for the program and for each argument
//! rooms = ["4fad4e39"]                       # only in these rooms; in all, unless given
//! users = ["ann"]                            # only for these users; for all, unless given
//! set_env = ["EPOCHS", "LR_*"]               # variables that the job may set; none, unless given
//! time_limit = "2h"
//! gpu_memory = "8 GB"
//! disk = "10 GB"
//!
//! [[tunnel]]
//! to = ["localhost:8888", "127.0.0.1:6006-6010"] # what clients may connect to through this worker
//! rooms = ["4fad4e39"]                       # as above, and `users` too
//! ```
//!
//! What no rule allows is refused; of several that allow it, the first one counts. In a command, `*` alone stands for any
//! one word and a last `**` for any further words; within a word, `*`, `?`, `[abc]` and `{a,b}` stand for text without a
//! `/`. A rule says which program is run with which words, and not what a script does that comes with the package.

mod rule;
mod tunnel;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use self::rule::Rule;
use super::jobs::manifest::Resources;
use super::jobs::names::shown;
use super::jobs::plan::{Plan, PlanKind};
use super::mistake::{self, Mistake};
use crate::tunnel::forward::AllowList;

/// Largest policy that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A policy file that cannot be used.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("the policy {path} cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("the policy {path} is larger than {MAX_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: String,
    },
    /// There is a mistake in it.
    #[error("{path}, {mistake}")]
    Mistake {
        /// The file.
        path: String,
        /// The mistake and its place.
        mistake: Mistake,
    },
}

/// For whom a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker {
    /// The room that the worker is in.
    pub room: String,
    /// The user, as the hub names the one that the job's holder signed in as; a hub that does not tell names the
    /// holder itself.
    pub user: String,
}

impl Asker {
    /// Whether a rule is for them that is for these rooms and users; without a list, for all.
    fn is_among(&self, rooms: Option<&[String]>, users: Option<&[String]>) -> bool {
        let among =
            |list: Option<&[String]>, one: &String| list.is_none_or(|list| list.contains(one));
        among(rooms, &self.room) && among(users, &self.user)
    }
}

/// Why a job is not run, in a sentence that says what its owner would have to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Denied(String);

/// What a job may do, of all that was asked for and allowed the least.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// How long its commands may run.
    pub time_limit: Option<Duration>,
    /// How many bytes its directory may hold.
    pub disk: Option<u64>,
    /// Variables of the worker that it gets.
    pub pass_env: Vec<String>,
}

/// The rules of a worker.
#[derive(Debug, Clone)]
pub struct Policy {
    origin: Origin,
    /// Variables of the worker's own that every job gets.
    env: Vec<String>,
    rules: Vec<Rule>,
    tunnels: Vec<tunnel::Rule>,
}

/// Where a policy comes from: who is refused is told what would change that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Default,
    AllCommands,
    File,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    env: rule::Names,
    #[serde(default)]
    allow: Vec<toml::Spanned<rule::RawRule>>,
    #[serde(default)]
    tunnel: Vec<toml::Spanned<tunnel::RawRule>>,
}

impl Policy {
    /// Without a policy file: the recipe `sleap`, and no commands.
    pub fn recipes_only() -> Self {
        Policy {
            origin: Origin::Default,
            env: Vec::new(),
            rules: vec![Rule::recipe()],
            tunnels: Vec::new(),
        }
    }

    /// With `--allow-commands`: the recipe, and every command.
    pub fn all_commands() -> Self {
        Policy {
            origin: Origin::AllCommands,
            env: Vec::new(),
            rules: vec![Rule::recipe(), Rule::any_command()],
            tunnels: Vec::new(),
        }
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// Why it cannot be used, with line and column where that says something.
    pub fn load(file: &Path) -> Result<Self, PolicyError> {
        let path = file.display().to_string();
        let mut text = String::new();
        let read = File::open(file)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(|source| PolicyError::Io {
                path: path.clone(),
                source,
            })?;
        if read as u64 > MAX_BYTES {
            return Err(PolicyError::TooLarge { path });
        }
        Self::parse(&text).map_err(|mistake| PolicyError::Mistake { path, mistake })
    }

    /// Reads the text of a policy file.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let raw: Raw = mistake::read(text)?;
        let rules = raw.allow.into_iter().map(|rule| {
            let start = rule.span().start;
            Rule::new(rule.into_inner()).map_err(|message| Mistake::at(text, start, &message))
        });
        let tunnels = raw.tunnel.into_iter().map(|rule| {
            let start = rule.span().start;
            tunnel::Rule::new(rule.into_inner(), start)
                .map_err(|(at, message)| Mistake::at(text, at, &message))
        });
        Ok(Policy {
            origin: Origin::File,
            env: raw.env.0,
            rules: rules.collect::<Result<_, _>>()?,
            tunnels: tunnels.collect::<Result<_, _>>()?,
        })
    }

    /// Where somebody may connect to through this worker: nowhere, unless a rule says so.
    pub fn tunnels(&self, asker: &Asker) -> AllowList {
        let rules = self.tunnels.iter().filter(|rule| rule.is_for(asker));
        let places = rules.flat_map(tunnel::Rule::places).cloned().collect();
        let refusal = match self.origin {
            Origin::Default | Origin::AllCommands => "this worker allows no tunnels, as to",
            Origin::File => "this worker's policy does not allow you tunnels to",
        };
        AllowList::new(places, refusal)
    }

    /// Whether a plan may be run, and on which terms.
    ///
    /// # Errors
    /// Why not, and what the owner of the worker would have to do.
    pub fn check(&self, plan: &Plan, asker: &Asker) -> Result<Grant, Denied> {
        let asked = &plan.terms.resources;
        if plan.kind != PlanKind::Command {
            let mut rules = self.rules.iter();
            let rule = rules.find(|rule| rule.is_recipe() && rule.is_for(asker));
            return match rule {
                Some(rule) => self.grant(rule, asked),
                None => Err(self.denied("the recipe \"sleap\"", "recipe = \"sleap\"")),
            };
        }
        // A manifest's plan has one step.
        let Some(step) = plan.steps.first() else {
            return Err(Denied("the job has no command".to_owned()));
        };
        let names: Vec<&str> = step.env.iter().map(|(name, _)| name.as_str()).collect();
        let mut nearly = false;
        for rule in self.rules.iter().filter(|rule| rule.is_for(asker)) {
            if rule.allows(&step.argv) {
                if rule.lets_set(&names) {
                    return self.grant(rule, asked);
                }
                nearly = true;
            }
        }
        let mut wanted = format!("command = {}", quoted(step.argv.iter()));
        if !names.is_empty() {
            wanted += &format!(", set_env = {}", quoted(names.iter()));
        }
        let command = shown(&step.argv.join(" "));
        let what = if nearly {
            format!("`{command}` with the variables that the job sets")
        } else {
            format!("`{command}`")
        };
        Err(self.denied(&what, &wanted))
    }

    fn grant(&self, rule: &Rule, asked: &Resources) -> Result<Grant, Denied> {
        if let (Some(wanted), Some(most)) = (asked.gpu_memory, rule.gpu_memory)
            && wanted > most
        {
            return Err(Denied(format!(
                "the job asks for {} MB of GPU memory, and this worker's owner lends at most {} MB for it",
                wanted / 1_000_000,
                most / 1_000_000
            )));
        }
        Ok(Grant {
            time_limit: least(asked.time_limit, rule.time_limit),
            disk: least(asked.disk, rule.disk),
            pass_env: self.env.clone(),
        })
    }

    fn denied(&self, what: &str, wanted: &str) -> Denied {
        Denied(match self.origin {
            Origin::Default | Origin::AllCommands => format!(
                "this worker does not run commands from packages; ask its owner to start it with --allow-commands, or \
                 with a --policy that has: [[allow]] {wanted}"
            ),
            Origin::File => format!(
                "this worker's policy does not allow {what} here; ask its owner to add: [[allow]] {wanted}"
            ),
        })
    }
}

/// A list as it is written in TOML.
fn quoted<T: AsRef<str>>(words: impl Iterator<Item = T>) -> String {
    /// Who has more words than this finds the rest out.
    const SHOWN: usize = 16;
    let mut list = Vec::new();
    for (number, word) in words.enumerate() {
        if number == SHOWN {
            list.push("\"**\"".to_owned());
            break;
        }
        // As a pattern that matches just this.
        let word = globset::escape(word.as_ref());
        list.push(toml::Value::String(word.chars().take(200).collect()).to_string());
    }
    format!("[{}]", list.join(", "))
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
