//! A scanner of JSON text (RFC 8259). It checks and finds, and builds nothing.

use std::borrow::Cow;

use super::envelope::{Found, Reader, View};
use super::error::Fault;
use crate::wire::MAX_DEPTH;

/// Digits that every `f64` can take in.
const SAFE_DIGITS: usize = 300;

/// What was seen in a value beside its grammar.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Notes {
    /// There is whitespace between tokens.
    pub(super) spaced: bool,
    /// There is something that JSON allows and MessagePack has no form for.
    pub(super) odd: Option<&'static str>,
}

/// A place in a JSON text.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    notes: Notes,
    /// How many members each array and object has, in the order in which they open; where somebody wants to know.
    counts: Option<Vec<u32>>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Scanner {
            text,
            at: 0,
            notes: Notes::default(),
            counts: None,
        }
    }

    /// The number of members of every array and object of a text that holds one value, in the order in which they open.
    pub(super) fn counts(text: &'a str) -> Result<Vec<u32>, Fault> {
        let mut scanner = Self::new(text);
        scanner.counts = Some(Vec::new());
        scanner.value(MAX_DEPTH)?;
        scanner.end()?;
        Ok(scanner.counts.unwrap_or_default())
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The text from `mark` to here.
    fn slice(&self, mark: usize) -> &'a str {
        // Both ends stand beside ASCII bytes, so this never falls back.
        self.text.get(mark..self.at).unwrap_or_default()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
            self.notes.spaced = true;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Steps over an opening bracket and what follows it, up to the first member.
    pub(super) fn open(&mut self) {
        self.at += 1;
    }

    /// Steps to the next member of the array or object that `close` ends, or past its end.
    pub(super) fn more(&mut self, close: u8, first: &mut bool) -> Result<bool, Fault> {
        self.space();
        if self.eat(close) {
            return Ok(false);
        }
        if !std::mem::take(first) {
            if !self.eat(b',') {
                return Err(Fault::Syntax("not JSON: a comma or an end was expected"));
            }
            self.space();
        }
        Ok(true)
    }

    /// A key, with its quotes, and the colon after it.
    pub(super) fn key(&mut self) -> Result<&'a str, Fault> {
        let key = self.string()?;
        self.space();
        if !self.eat(b':') {
            return Err(Fault::Syntax("not JSON: a colon was expected"));
        }
        self.space();
        Ok(key)
    }

    /// Steps over one value of at most `room` levels.
    pub(super) fn value(&mut self, room: usize) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.members(b'}', room),
            Some(b'[') => self.members(b']', room),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => Err(Fault::Syntax("not JSON: a value was expected")),
        }
    }

    fn members(&mut self, close: u8, room: usize) -> Result<(), Fault> {
        let room = room.checked_sub(1).ok_or(Fault::TooDeep)?;
        let index = self.counts.as_mut().map_or(0, |counts| {
            counts.push(0);
            counts.len() - 1
        });
        self.open();
        let mut first = true;
        while self.more(close, &mut first)? {
            if close == b'}' {
                self.key()?;
            }
            self.value(room)?;
            if let Some(count) = self.counts.as_mut().and_then(|all| all.get_mut(index)) {
                *count += 1;
            }
        }
        Ok(())
    }

    pub(super) fn literal(&mut self, word: &'static str) -> Result<(), Fault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(Fault::Syntax("not JSON: a value was expected"));
        }
        self.at += word.len();
        Ok(())
    }

    /// A string, with its quotes.
    pub(super) fn string(&mut self) -> Result<&'a str, Fault> {
        let mark = self.at;
        if !self.eat(b'"') {
            return Err(Fault::Syntax("not JSON: a string was expected"));
        }
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|&byte| ends_plain_text(byte));
            self.at += plain.unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.slice(mark));
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(Fault::Syntax("not JSON: a bare control character")),
                None => return Err(Fault::Syntax("not JSON: a string does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        const WRONG: Fault = Fault::Syntax("not JSON: an escape that does not exist");
        self.at += 1;
        let letter = self.peek().ok_or(WRONG)?;
        self.at += 1;
        if letter != b'u' {
            return match letter {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
                _ => Err(WRONG),
            };
        }
        let unit = self.code_unit().ok_or(WRONG)?;
        self.at += 4;
        match unit {
            0xd800..=0xdbff if self.low_surrogate() => self.at += 6,
            0xd800..=0xdfff => self.notes.odd = Some("a lone surrogate"),
            _ => {}
        }
        Ok(())
    }

    /// Whether the second half of a surrogate pair stands here.
    fn low_surrogate(&mut self) -> bool {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(b"\\u") {
            return false;
        }
        self.at += 2;
        let unit = self.code_unit();
        self.at -= 2;
        matches!(unit, Some(0xdc00..=0xdfff))
    }

    /// The four hexadecimal digits that stand here.
    fn code_unit(&self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..)?.get(..4)?;
        digits.iter().try_fold(0, |unit, &digit| {
            Some(unit * 16 + char::from(digit).to_digit(16)?)
        })
    }

    fn digits(&mut self) -> Result<usize, Fault> {
        let mark = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.at - mark {
            0 => Err(Fault::Syntax("not JSON: a digit was expected")),
            count => Ok(count),
        }
    }

    /// A number, as it is spelled.
    pub(super) fn number(&mut self) -> Result<&'a str, Fault> {
        let mark = self.at;
        self.eat(b'-');
        let zero = self.peek() == Some(b'0');
        let whole = self.digits()?;
        if zero && whole > 1 {
            return Err(Fault::Syntax("not JSON: a number begins with 0"));
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        let scaled = matches!(self.peek(), Some(b'e' | b'E'));
        if scaled {
            self.at += 1;
            if !self.eat(b'-') {
                self.eat(b'+');
            }
            self.digits()?;
        }
        let text = self.slice(mark);
        if (scaled || whole > SAFE_DIGITS) && !float(text).is_finite() {
            self.notes.odd = Some("a number beyond the range of a double");
        }
        Ok(text)
    }
}

fn ends_plain_text(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

/// A number's nearest double; infinite beyond the range.
fn float(text: &str) -> f64 {
    // Every number of JSON is one of Rust's, so this never falls back.
    text.parse().unwrap_or(f64::INFINITY)
}

/// A number of JSON: an integer where it is spelled as one and fits, and a double otherwise.
pub(super) fn number<'a>(text: &str) -> View<'a> {
    if let Ok(number) = text.parse() {
        return View::Uint(number);
    }
    match text.parse::<i64>() {
        // "-0" is the one integer with a sign that a double alone can keep.
        Ok(number) if number < 0 => View::Int(number),
        _ => View::Float(float(text)),
    }
}

/// The text that a string stands for; nothing where it holds a lone surrogate.
pub(super) fn unquoted(string: &str) -> Option<Cow<'_, str>> {
    let inner = string.get(1..string.len().checked_sub(1)?)?;
    if !inner.as_bytes().contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(string).ok().map(Cow::Owned)
}

/// A scanned value, as far as it is no array and no object.
pub(super) fn view(text: &str) -> View<'_> {
    match text.as_bytes().first() {
        Some(b'n') => View::Null,
        Some(b't') => View::Flag(true),
        Some(b'f') => View::Flag(false),
        Some(b'"') => unquoted(text).map_or(View::Broken, View::Text),
        Some(b'{' | b'[') | None => View::Other,
        Some(_) => number(text),
    }
}

/// A scanned value without the whitespace between its tokens.
pub(super) fn compact(text: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    text.chars()
        .filter(|&c| {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ' ' | '\t' | '\n' | '\r' if !quoted => return false,
                _ => {}
            }
            true
        })
        .collect()
}

impl<'a> Reader<'a> for Scanner<'a> {
    /// Whether the next member is the first.
    type Members = bool;

    fn map(&mut self) -> Result<Option<bool>, Fault> {
        self.space();
        if self.peek() != Some(b'{') {
            return Ok(None);
        }
        self.open();
        Ok(Some(true))
    }

    fn next(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, Fault> {
        if !self.more(b'}', first)? {
            return Ok(None);
        }
        let key = unquoted(self.key()?).ok_or(Fault::Syntax("a key holds a lone surrogate"))?;
        Ok(Some(key))
    }

    fn skip(&mut self) -> Result<(), Fault> {
        self.notes = Notes::default();
        self.value(MAX_DEPTH)
    }

    fn mark(&self) -> usize {
        self.at
    }

    fn since(&self, mark: usize) -> Found<'a> {
        Found::Json(self.slice(mark), self.notes)
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Fault::Syntax("not JSON: something follows the end")),
        }
    }
}
