//! Content from one format to the other.

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::PAD_INDIFFERENT;
use bytes::Bytes;
use rmp::encode;

use super::Content;
use super::encode::{write_json, written};
use super::envelope::{Found, Reader, View};
use super::error::{Fault, FrameError};
use super::json;
use super::msgpack::{self, Item, utf8};
use crate::wire::MAX_DEPTH;

/// Written with padding, read with or without.
pub(super) const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, PAD_INDIFFERENT);

/// Content from the value of a field; at most `max` bytes as JSON.
pub(super) fn content(found: Found<'_>, max: usize) -> Result<Content, Fault> {
    match found {
        Found::Json(_, json::Notes { odd: Some(why), .. }) => Err(Fault::NotConvertible(why)),
        Found::Json(text, notes) if notes.spaced => Ok(Content::Json(json::compact(text).into())),
        Found::Json(text, _) => Ok(Content::Json(text.into())),
        Found::MessagePack(bytes) => {
            let mut scanner = msgpack::Scanner::new(bytes);
            if let Item::Bytes(bytes) = scanner.item()? {
                return Ok(Content::Binary(Bytes::copy_from_slice(bytes)));
            }
            to_json(bytes, max).map(|text| Content::Json(text.into()))
        }
    }
}

/// Content from a text that may be no JSON at all.
pub(super) fn checked(text: &str) -> Result<Content, FrameError> {
    let mut scanner = json::Scanner::new(text.trim_matches([' ', '\t', '\n', '\r']));
    scanner.skip()?;
    let found = scanner.since(0);
    scanner.end()?;
    Ok(content(found, usize::MAX)?)
}

/// Bytes from base64, with or without padding.
pub(super) fn from_base64(text: &str) -> Result<Content, FrameError> {
    let bytes = BASE64.decode(text);
    let bytes = bytes.map_err(|_| FrameError::field("content", "it is not base64"))?;
    Ok(Content::Binary(bytes.into()))
}

/// One value of MessagePack as JSON text of at most `max` bytes.
pub(super) fn to_json(bytes: &[u8], max: usize) -> Result<String, Fault> {
    let mut text = Vec::with_capacity(bytes.len().min(max));
    json_value(&mut msgpack::Scanner::new(bytes), &mut text, MAX_DEPTH, max)?;
    String::from_utf8(text).map_err(|_| Fault::Syntax("not MessagePack: text is not UTF-8"))
}

fn json_value(
    scanner: &mut msgpack::Scanner<'_>,
    out: &mut Vec<u8>,
    room: usize,
    max: usize,
) -> Result<(), Fault> {
    let deeper = || room.checked_sub(1).ok_or(Fault::TooDeep);
    match scanner.item()? {
        Item::Nil => out.extend_from_slice(b"null"),
        Item::Flag(flag) => write_json(out, &flag),
        Item::Uint(number) => write_json(out, &number),
        Item::Int(number) => write_json(out, &number),
        Item::Float(number) if number.is_finite() => write_json(out, &number),
        Item::Float(_) => return Err(Fault::NotConvertible("a number that is not finite")),
        Item::Text(text) => write_json(out, utf8(text)?),
        Item::Bytes(_) => return Err(Fault::NotConvertible("bytes inside of a value")),
        Item::Extension => return Err(Fault::NotConvertible("an extension type")),
        Item::Array(count) => {
            let room = deeper()?;
            out.push(b'[');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                json_value(scanner, out, room, max)?;
            }
            out.push(b']');
        }
        Item::Map(count) => {
            let room = deeper()?;
            out.push(b'{');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                let Item::Text(key) = scanner.item()? else {
                    return Err(Fault::NotConvertible("a key that is not a string"));
                };
                write_json(out, utf8(key)?);
                out.push(b':');
                json_value(scanner, out, room, max)?;
            }
            out.push(b'}');
        }
    }
    if out.len() > max {
        return Err(Fault::TooLong(max));
    }
    Ok(())
}

/// Writes a JSON text as MessagePack. What is not as [`Content::Json`] promises becomes `nil`.
pub(super) fn to_msgpack(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    let done = json::Scanner::counts(text).and_then(|counts| {
        let mut counts = counts.into_iter();
        msgpack_value(&mut json::Scanner::new(text), &mut counts, out, MAX_DEPTH)
    });
    if done.is_err() {
        out.truncate(start);
        written(encode::write_nil(out));
    }
}

fn msgpack_value(
    scanner: &mut json::Scanner<'_>,
    counts: &mut impl Iterator<Item = u32>,
    out: &mut Vec<u8>,
    room: usize,
) -> Result<(), Fault> {
    match scanner.peek() {
        Some(b'{') => {
            let room = room.checked_sub(1).ok_or(Fault::TooDeep)?;
            written(encode::write_map_len(out, counts.next().unwrap_or(0)));
            scanner.open();
            let mut first = true;
            while scanner.more(b'}', &mut first)? {
                msgpack_text(scanner.key()?, out)?;
                msgpack_value(scanner, counts, out, room)?;
            }
        }
        Some(b'[') => {
            let room = room.checked_sub(1).ok_or(Fault::TooDeep)?;
            written(encode::write_array_len(out, counts.next().unwrap_or(0)));
            scanner.open();
            let mut first = true;
            while scanner.more(b']', &mut first)? {
                msgpack_value(scanner, counts, out, room)?;
            }
        }
        Some(b'"') => msgpack_text(scanner.string()?, out)?,
        Some(b't') => {
            scanner.literal("true")?;
            written(encode::write_bool(out, true));
        }
        Some(b'f') => {
            scanner.literal("false")?;
            written(encode::write_bool(out, false));
        }
        Some(b'n') => {
            scanner.literal("null")?;
            written(encode::write_nil(out));
        }
        _ => match json::number(scanner.number()?) {
            View::Uint(number) => written(encode::write_uint(out, number)),
            View::Int(number) => written(encode::write_sint(out, number)),
            View::Float(number) if number.is_finite() => written(encode::write_f64(out, number)),
            _ => return Err(Fault::NotConvertible("a number that is not finite")),
        },
    }
    Ok(())
}

fn msgpack_text(string: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
    let text = json::unquoted(string).ok_or(Fault::NotConvertible("a lone surrogate"))?;
    written(encode::write_str(out, &text));
    Ok(())
}
