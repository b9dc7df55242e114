//! A line, split into words as a shell would, as far as that can be said without one.

use super::LineError;

/// What means something to a shell, outside of quotes.
const SPECIAL: &str = "$`\\;&|<>(){}[]*?!#~";
/// What still means something inside of double quotes.
const IN_QUOTES: &str = "$`\\!";

/// The words of a line. Quotes of both kinds are taken off; whatever a shell would expand, run or redirect is refused.
pub(super) fn words(line: &str) -> Result<Vec<String>, LineError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some('"') if IN_QUOTES.contains(c) => return Err(LineError::NotPlain(c)),
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                // An empty pair of quotes is a word too.
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None if SPECIAL.contains(c) => return Err(LineError::NotPlain(c)),
            None => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(LineError::OpenQuote(open));
    }
    words.extend(word);
    Ok(words)
}
