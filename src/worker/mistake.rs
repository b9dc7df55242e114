//! Files in TOML that people write, manifest and policy: read into types, and mistakes told with line and column.

use std::fmt;

use serde::de::DeserializeOwned;

/// From this likeness on (0 to 1), a known name is offered for an unknown one.
const ALIKE: f64 = 0.75;

/// A mistake in a file, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl Mistake {
    /// A mistake at the byte `at` of `text`. Past the end counts as the end.
    pub fn at(text: &str, at: usize, message: &str) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Mistake {
            line,
            column,
            message: message.replace('\n', " "),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake {
            line,
            column,
            message,
        } = self;
        write!(f, "line {line}, column {column}: {message}")
    }
}

/// Reads TOML. A key that is not known is a mistake that names the known one most like it.
///
/// # Errors
/// The first mistake.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Mistake> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Mistake::at(text, at, &with_hint(error.message()))
    })
}

/// Adds the nearest known name to what serde says of an unknown one.
fn with_hint(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field ") else {
        return message.to_owned();
    };
    // Every second piece stands between backticks: first the unknown name, then the known ones.
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else {
        return message.to_owned();
    };
    let nearest = quoted
        .map(|known| (strsim::jaro_winkler(unknown, known), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((_, known)) => format!("{message}; did you mean `{known}`?"),
        None => message.to_owned(),
    }
}
