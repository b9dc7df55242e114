//! Writing frames. A frame is a list of fields, and each field is written once for each format, without a tree between.

use std::io::Write;

use base64::display::Base64Display;
use rmp::encode;
use serde::Serialize;

use super::transcode::{BASE64, to_msgpack};
use super::{Content, Format, Scalar};

/// Frames have few fields: what they take beside their content.
const USUAL_BYTES: usize = 256;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    /// The field is left out.
    Absent,
    Flag(bool),
    Uint(u64),
    Text(&'a str),
    Scalar(&'a Scalar),
    /// In JSON, bytes have `encoding` beside them.
    Content(&'a Content),
}

impl<'a> Field<'a> {
    pub(super) fn opt_uint(number: Option<u64>) -> Self {
        number.map_or(Field::Absent, Field::Uint)
    }

    pub(super) fn opt_text(text: Option<&'a str>) -> Self {
        text.map_or(Field::Absent, Field::Text)
    }

    pub(super) fn opt_scalar(scalar: Option<&'a Scalar>) -> Self {
        scalar.map_or(Field::Absent, Field::Scalar)
    }

    /// True, or left out.
    pub(super) fn when(flag: bool) -> Self {
        if flag {
            Field::Flag(true)
        } else {
            Field::Absent
        }
    }

    fn is_there(&self) -> bool {
        !matches!(self, Field::Absent)
    }

    fn size(&self) -> usize {
        match self {
            Field::Content(Content::Binary(bytes)) => bytes.len() / 3 * 4,
            Field::Content(content) => content.len(),
            Field::Text(text) => text.len(),
            _ => 0,
        }
    }
}

/// Appends a frame of this type. Without a field that is there, it has no payload.
pub(super) fn frame(
    format: Format,
    kind: &'static str,
    fields: &[(&'static str, Field<'_>)],
    out: &mut Vec<u8>,
) {
    let there = || fields.iter().filter(|(_, field)| field.is_there());
    out.reserve(USUAL_BYTES + there().map(|(_, field)| field.size()).sum::<usize>());
    let count = there().count();
    match format {
        Format::Json => {
            json_head(kind, out);
            for (index, (name, field)) in there().enumerate() {
                let before: &[u8] = if index == 0 {
                    b",\"payload\":{\""
                } else {
                    b",\""
                };
                out.extend_from_slice(before);
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                json_field(field, out);
            }
            out.extend_from_slice(if count == 0 { b"}" } else { b"}}" });
        }
        Format::MessagePack => {
            msgpack_head(kind, count > 0, out);
            if count > 0 {
                // No type has as many as 2^32 fields.
                written(encode::write_map_len(out, count as u32));
            }
            for (name, field) in there() {
                written(encode::write_str(out, name));
                msgpack_field(field, out);
            }
        }
    }
}

/// Appends a frame whose payload is `object`, a JSON text as [`Content::Json`] has it.
pub(super) fn frame_around(format: Format, kind: &'static str, object: &str, out: &mut Vec<u8>) {
    match format {
        Format::Json => {
            json_head(kind, out);
            out.extend_from_slice(b",\"payload\":");
            out.extend_from_slice(object.as_bytes());
            out.push(b'}');
        }
        Format::MessagePack => {
            msgpack_head(kind, true, out);
            to_msgpack(object, out);
        }
    }
}

/// Types and names are plain words that need no escapes.
fn json_head(kind: &'static str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
}

fn msgpack_head(kind: &'static str, has_payload: bool, out: &mut Vec<u8>) {
    written(encode::write_map_len(out, 1 + u32::from(has_payload)));
    written(encode::write_str(out, "type"));
    written(encode::write_str(out, kind));
    if has_payload {
        written(encode::write_str(out, "payload"));
    }
}

fn json_field(field: &Field<'_>, out: &mut Vec<u8>) {
    match *field {
        Field::Absent => {}
        Field::Flag(flag) => write_json(out, &flag),
        Field::Uint(number) => write_json(out, &number),
        Field::Text(text) => write_json(out, text),
        Field::Scalar(Scalar::Flag(flag)) => write_json(out, flag),
        Field::Scalar(Scalar::Uint(number)) => write_json(out, number),
        Field::Scalar(Scalar::Int(number)) => write_json(out, number),
        Field::Scalar(Scalar::Float(number)) => write_json(out, number),
        Field::Scalar(Scalar::Text(text)) => write_json(out, text),
        Field::Content(Content::Json(text)) => out.extend_from_slice(text.as_bytes()),
        Field::Content(Content::Binary(bytes)) => {
            let text = Base64Display::new(bytes, &BASE64);
            written(write!(out, "\"{text}\",\"encoding\":\"base64\""));
        }
    }
}

fn msgpack_field(field: &Field<'_>, out: &mut Vec<u8>) {
    match *field {
        Field::Absent => {}
        Field::Flag(flag) => written(encode::write_bool(out, flag)),
        Field::Uint(number) => written(encode::write_uint(out, number)),
        Field::Text(text) => written(encode::write_str(out, text)),
        Field::Scalar(Scalar::Flag(flag)) => written(encode::write_bool(out, *flag)),
        Field::Scalar(Scalar::Uint(number)) => written(encode::write_uint(out, *number)),
        Field::Scalar(Scalar::Int(number)) => written(encode::write_sint(out, *number)),
        Field::Scalar(Scalar::Float(number)) => written(encode::write_f64(out, *number)),
        Field::Scalar(Scalar::Text(text)) => written(encode::write_str(out, text)),
        Field::Content(Content::Json(text)) => to_msgpack(text, out),
        Field::Content(Content::Binary(bytes)) => written(encode::write_bin(out, bytes)),
    }
}

/// Writes a scalar as JSON.
pub(super) fn write_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    written(serde_json::to_writer(out, value));
}

/// A vector takes whatever is written to it, and a scalar always has a form: there is no error to report.
pub(super) fn written<T, E>(_: Result<T, E>) {}
