//! What every frame has in common: its type, and a payload of named fields. Both formats are read through here, so that
//! they have one schema.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::{Fault, FrameError};
use super::{Content, Format, MAX_ECHO_BYTES, MAX_MESSAGE_ID, Scalar, json, msgpack, transcode};
use crate::wire::MAX_ID_BYTES;
use crate::wire::json::{check_id, check_line};

/// Reads one format, one step after the other. A fault ends the reading.
pub(super) trait Reader<'a> {
    /// How far the members of a map have been read.
    type Members;
    /// Enters a map. Nothing, and no step, where something else stands here.
    fn map(&mut self) -> Result<Option<Self::Members>, Fault>;
    /// Steps to the next member of a map: past its key, which is returned, to its value. Nothing at the end.
    fn next(&mut self, members: &mut Self::Members) -> Result<Option<Cow<'a, str>>, Fault>;
    /// Steps over one value, whatever it is.
    fn skip(&mut self) -> Result<(), Fault>;
    /// Where the reader stands.
    fn mark(&self) -> usize;
    /// The value that was read since then.
    fn since(&self, mark: usize) -> Found<'a>;
    /// Whether nothing follows.
    fn end(&mut self) -> Result<(), Fault>;
}

/// A value that was scanned: it follows its format's grammar.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    Json(&'a str, json::Notes),
    MessagePack(&'a [u8]),
}

/// A value as far as a field may want it, in either format.
#[derive(Debug)]
pub(super) enum View<'a> {
    Null,
    Flag(bool),
    Uint(u64),
    /// Below 0.
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// Text that is not Unicode.
    Broken,
    Other,
}

impl<'a> Found<'a> {
    pub(super) fn view(self) -> View<'a> {
        match self {
            Found::Json(text, _) => json::view(text),
            Found::MessagePack(bytes) => msgpack::view(bytes),
        }
    }
}

/// A frame, of whose payload the fields `names` were picked out.
pub(super) struct Envelope<'a, const N: usize> {
    pub(super) kind: Cow<'a, str>,
    /// The whole payload, where it is a map.
    pub(super) payload: Option<Found<'a>>,
    names: &'static [&'static str; N],
    fields: [Option<Found<'a>>; N],
    /// The most bytes that content may take as JSON.
    max: usize,
}

impl<'a, const N: usize> Envelope<'a, N> {
    /// Reads a frame of at most `max` bytes.
    pub(super) fn read(
        format: Format,
        bytes: &'a [u8],
        names: &'static [&'static str; N],
        max: usize,
    ) -> Result<Self, FrameError> {
        if bytes.len() > max {
            return Err(FrameError::too_long("the frame", max));
        }
        let mut frame = Envelope {
            kind: Cow::Borrowed(""),
            payload: None,
            names,
            fields: [None; N],
            max,
        };
        match format {
            Format::Json => {
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| Fault::Syntax("not JSON: text is not UTF-8"))?;
                frame.fill(json::Scanner::new(text))?;
            }
            Format::MessagePack => frame.fill(msgpack::Scanner::new(bytes))?,
        }
        Ok(frame)
    }

    fn fill(&mut self, mut reader: impl Reader<'a>) -> Result<(), FrameError> {
        let (mut kind, mut payload) = (None, None);
        let mut members = reader
            .map()?
            .ok_or(Fault::Syntax("an object was expected"))?;
        while let Some(key) = reader.next(&mut members)? {
            let mark = reader.mark();
            let twice = match key.as_ref() {
                "type" => {
                    reader.skip()?;
                    kind.replace(reader.since(mark)).is_some()
                }
                "payload" => {
                    let is_map = self.pick(&mut reader)?;
                    payload.replace((is_map, reader.since(mark))).is_some()
                }
                _ => {
                    reader.skip()?;
                    false
                }
            };
            if twice {
                return Err(Fault::Syntax("`type` or `payload` is given twice").into());
            }
        }
        reader.end()?;
        self.kind = match kind.map(Found::view) {
            Some(View::Text(kind)) => kind,
            Some(_) => return Err(Fault::Syntax("`type` is not a string").into()),
            None => return Err(Fault::Syntax("the field `type` is missing").into()),
        };
        match payload {
            Some((true, found)) => self.payload = Some(found),
            Some((false, found)) if !matches!(found.view(), View::Null) => {
                return Err(FrameError::field("payload", "an object was expected"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Picks the fields out of the payload. False where it is no map.
    fn pick(&mut self, reader: &mut impl Reader<'a>) -> Result<bool, FrameError> {
        let Some(mut members) = reader.map()? else {
            reader.skip()?;
            return Ok(false);
        };
        while let Some(key) = reader.next(&mut members)? {
            let mark = reader.mark();
            reader.skip()?;
            let index = self.names.iter().position(|name| *name == key);
            if let Some(field) = index.and_then(|index| self.fields.get_mut(index))
                && field.replace(reader.since(mark)).is_some()
            {
                return Err(Fault::Syntax("a field is given twice").into());
            }
        }
        Ok(true)
    }

    /// A field, which may be null.
    fn found(&self, name: &'static str) -> Option<Found<'a>> {
        let index = self.names.iter().position(|other| *other == name);
        debug_assert!(index.is_some(), "{name} is not among the names");
        self.fields.get(index?).copied().flatten()
    }

    fn view(&self, name: &'static str) -> Option<View<'a>> {
        let view = self.found(name)?.view();
        (!matches!(view, View::Null)).then_some(view)
    }

    /// Text of at most `max` bytes.
    pub(super) fn opt_text(
        &self,
        name: &'static str,
        max: usize,
    ) -> Result<Option<Cow<'a, str>>, FrameError> {
        match self.view(name) {
            None => Ok(None),
            Some(View::Text(text)) if text.len() <= max => Ok(Some(text)),
            Some(View::Text(text)) => {
                let why = format!("it has {} bytes, at most {max} are accepted", text.len());
                Err(FrameError::field(name, &why))
            }
            Some(View::Broken) => Err(FrameError::field(name, "it is not Unicode")),
            Some(_) => Err(FrameError::field(name, "a string was expected")),
        }
    }

    pub(super) fn text(&self, name: &'static str, max: usize) -> Result<Cow<'a, str>, FrameError> {
        self.opt_text(name, max)?
            .ok_or_else(|| FrameError::missing(name))
    }

    /// One line of at most [`MAX_ID_BYTES`], which may be empty.
    pub(super) fn line(&self, name: &'static str) -> Result<Cow<'a, str>, FrameError> {
        let line = self.text(name, MAX_ID_BYTES)?;
        check_line(name, &line, MAX_ID_BYTES)
            .map_err(|error| FrameError::new("INVALID_PAYLOAD", error.to_string()))?;
        Ok(line)
    }

    /// An id: 1 to [`MAX_ID_BYTES`], no control characters.
    pub(super) fn opt_id(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, FrameError> {
        let Some(id) = self.opt_text(name, MAX_ID_BYTES)? else {
            return Ok(None);
        };
        check_id(name, &id)
            .map_err(|error| FrameError::new("INVALID_PAYLOAD", error.to_string()))?;
        Ok(Some(id))
    }

    pub(super) fn id(&self, name: &'static str) -> Result<Cow<'a, str>, FrameError> {
        self.opt_id(name)?.ok_or_else(|| FrameError::missing(name))
    }

    /// An id as the hub shares it.
    pub(super) fn opt_shared_id(&self, name: &'static str) -> Result<Option<Arc<str>>, FrameError> {
        Ok(self.opt_id(name)?.map(Arc::from))
    }

    /// A whole number from 0 to 2^53. A double that is one counts, since some languages write no other numbers.
    pub(super) fn opt_uint(&self, name: &'static str) -> Result<Option<u64>, FrameError> {
        let number = match self.view(name) {
            None => return Ok(None),
            Some(View::Uint(number)) => number,
            // The cast is exact: what is cut off or saturates fails the comparison, or the limit below.
            Some(View::Float(number)) if number as u64 as f64 == number => number as u64,
            Some(_) => return Err(FrameError::field(name, "a whole number was expected")),
        };
        if number > MAX_MESSAGE_ID {
            return Err(FrameError::field(name, "it is larger than 2^53"));
        }
        Ok(Some(number))
    }

    pub(super) fn uint(&self, name: &'static str) -> Result<u64, FrameError> {
        self.opt_uint(name)?
            .ok_or_else(|| FrameError::missing(name))
    }

    pub(super) fn opt_flag(&self, name: &'static str) -> Result<Option<bool>, FrameError> {
        match self.view(name) {
            None => Ok(None),
            Some(View::Flag(flag)) => Ok(Some(flag)),
            Some(_) => Err(FrameError::field(name, "true or false was expected")),
        }
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, FrameError> {
        self.opt_flag(name)?
            .ok_or_else(|| FrameError::missing(name))
    }

    pub(super) fn opt_scalar(&self, name: &'static str) -> Result<Option<Scalar>, FrameError> {
        Ok(Some(match self.view(name) {
            None => return Ok(None),
            Some(View::Flag(flag)) => Scalar::Flag(flag),
            Some(View::Uint(number)) => Scalar::Uint(number),
            Some(View::Int(number)) => Scalar::Int(number),
            Some(View::Float(number)) if number.is_finite() => Scalar::Float(number),
            Some(View::Text(text)) if text.len() <= MAX_ECHO_BYTES => {
                Scalar::Text(text.as_ref().into())
            }
            Some(_) => {
                let why = "a number, true, false or a short text was expected";
                return Err(FrameError::field(name, why));
            }
        }))
    }

    /// The content of a message, with `encoding` beside it.
    pub(super) fn content(&self) -> Result<Content, FrameError> {
        let found = self
            .found("content")
            .ok_or_else(|| FrameError::missing("content"))?;
        match self.view("encoding") {
            None => Ok(transcode::content(found, self.max)?),
            Some(View::Text(encoding)) if encoding == "base64" => match found.view() {
                View::Text(text) => transcode::from_base64(&text),
                _ => Err(FrameError::field("content", "base64 text was expected")),
            },
            Some(_) => Err(FrameError::field(
                "encoding", "it is neither absent nor \"base64\"",
            )),
        }
    }
}
