//! Bounded reading of JSON, field by field, and writing.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{MAX_DEPTH, MAX_FRAME_BYTES, MAX_ID_BYTES, WireError};

/// Reads a frame: one JSON object of at most [`MAX_FRAME_BYTES`] and [`MAX_DEPTH`].
pub(super) fn object(text: &str) -> Result<Map<String, Value>, WireError> {
    if text.len() > MAX_FRAME_BYTES {
        return Err(WireError::TooLong {
            len: text.len(),
            max: MAX_FRAME_BYTES,
        });
    }
    check_depth(text)?;
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(WireError::NotAnObject),
        Err(error) => Err(WireError::NotJson(error.to_string())),
    }
}

/// Counts brackets outside of strings, before anything is built.
fn check_depth(text: &str) -> Result<(), WireError> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(WireError::TooDeep);
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Writes a frame.
pub(super) fn text(frame: &impl Serialize) -> String {
    // The types of this module have string keys only, and their serializers return no error of their own.
    serde_json::to_string(frame).expect("wire types always have a JSON form")
}

/// Checks an id of a peer or a room: not empty, at most [`MAX_ID_BYTES`], no control characters.
pub(super) fn check_id(field: &'static str, id: &str) -> Result<(), WireError> {
    if id.is_empty() {
        return Err(WireError::bad(field, "it is empty"));
    }
    check_line(field, id, MAX_ID_BYTES)
}

/// Checks the id of a job: as [`check_id`], and no colon, since the data channel separates its fields by colons.
pub(super) fn check_job_id(field: &'static str, id: &str) -> Result<(), WireError> {
    check_id(field, id)?;
    if id.contains(':') {
        return Err(WireError::bad(field, "it contains a colon"));
    }
    Ok(())
}

/// Checks text of one line: at most `max` bytes, no control characters.
pub(super) fn check_line(field: &'static str, line: &str, max: usize) -> Result<(), WireError> {
    check_length(field, line, max)?;
    if line.chars().any(char::is_control) {
        return Err(WireError::bad(field, "it contains a control character"));
    }
    Ok(())
}

fn check_length(field: &'static str, text: &str, max: usize) -> Result<(), WireError> {
    if text.len() > max {
        let why = format!("it has {} bytes, at most {max} are accepted", text.len());
        return Err(WireError::bad(field, why));
    }
    Ok(())
}

/// A number as a whole one: fractions are cut off, negative numbers become 0, huge ones the largest.
/// Nothing for what is not a number.
pub(super) fn whole(value: &Value) -> Option<u64> {
    // A float cast to an integer saturates.
    value
        .as_u64()
        .or_else(|| value.as_f64().map(|number| number as u64))
}

/// The fields of an object. A field that is null counts as absent.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, WireError> {
        value.as_object().map(Self).ok_or(WireError::NotAnObject)
    }

    pub(super) fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// Any value, as it is; nothing but absence is an error, and null is a value.
    pub(super) fn value(self, field: &'static str) -> Result<Value, WireError> {
        self.0
            .get(field)
            .cloned()
            .ok_or(WireError::MissingField(field))
    }

    pub(super) fn opt_str(self, field: &'static str) -> Result<Option<&'a str>, WireError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(WireError::bad(field, "a string was expected")),
        }
    }

    pub(super) fn str(self, field: &'static str) -> Result<&'a str, WireError> {
        self.opt_str(field)?.ok_or(WireError::MissingField(field))
    }

    /// Text of at most `max` bytes.
    pub(super) fn text(self, field: &'static str, max: usize) -> Result<String, WireError> {
        let text = self.str(field)?;
        check_length(field, text, max)?;
        Ok(text.to_owned())
    }

    /// Text, where there is any.
    pub(super) fn opt_text(self, field: &'static str) -> Result<Option<String>, WireError> {
        Ok(self.opt_str(field)?.map(str::to_owned))
    }

    /// Text where the field holds text, nothing in every other case.
    pub(super) fn any_text(self, field: &str) -> Option<String> {
        self.get(field).and_then(Value::as_str).map(str::to_owned)
    }

    /// An id; see [`check_id`].
    pub(super) fn id(self, field: &'static str) -> Result<String, WireError> {
        let id = self.str(field)?;
        check_id(field, id)?;
        Ok(id.to_owned())
    }

    /// The id of a job; see [`check_job_id`].
    pub(super) fn job_id(self) -> Result<String, WireError> {
        let id = self.str("job_id")?;
        check_job_id("job_id", id)?;
        Ok(id.to_owned())
    }

    pub(super) fn opt_flag(self, field: &'static str) -> Result<Option<bool>, WireError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(WireError::bad(field, "true or false was expected")),
        }
    }

    pub(super) fn flag(self, field: &'static str) -> Result<bool, WireError> {
        self.opt_flag(field)?.ok_or(WireError::MissingField(field))
    }

    /// A number, as [`whole`] reads it.
    pub(super) fn opt_whole(self, field: &'static str) -> Result<Option<u64>, WireError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match whole(value) {
                Some(number) => Ok(Some(number)),
                None => Err(WireError::bad(field, "a number was expected")),
            },
        }
    }

    pub(super) fn opt_object(
        self,
        field: &'static str,
    ) -> Result<Option<&'a Map<String, Value>>, WireError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(WireError::bad(field, "an object was expected")),
        }
    }

    /// A value that must be an object where there is one.
    pub(super) fn opt_object_value(self, field: &'static str) -> Result<Option<Value>, WireError> {
        Ok(self.opt_object(field)?.cloned().map(Value::Object))
    }

    /// A list of strings.
    pub(super) fn opt_strings(self, field: &'static str) -> Result<Option<Vec<String>>, WireError> {
        let wrong = || WireError::bad(field, "a list of strings was expected");
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let items = value.as_array().ok_or_else(wrong)?;
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        texts.collect::<Option<_>>().map(Some).ok_or_else(wrong)
    }

    pub(super) fn need_object(
        self,
        field: &'static str,
    ) -> Result<&'a Map<String, Value>, WireError> {
        self.opt_object(field)?
            .ok_or(WireError::MissingField(field))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested =
            |depth: usize| format!("{{\"a\":{}0{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(object(&nested(MAX_DEPTH)), Err(WireError::TooDeep));
        assert_eq!(object(&"[".repeat(500_000)), Err(WireError::TooDeep));
        let quoted = format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(1000));
        assert!(object(&quoted).is_ok());
        let side_by_side = format!("{{\"a\":[{}0]}}", "[],".repeat(1000));
        assert!(object(&side_by_side).is_ok());
    }

    #[test]
    fn size_is_bounded() {
        let padded = |len: usize| format!("{{}}{}", " ".repeat(len - 2));
        assert!(object(&padded(MAX_FRAME_BYTES)).is_ok());
        let (len, max) = (MAX_FRAME_BYTES + 1, MAX_FRAME_BYTES);
        assert_eq!(object(&padded(len)), Err(WireError::TooLong { len, max }));
    }

    #[test]
    fn what_is_no_object_is_told_from_what_is_no_json() {
        for text in ["[]", "1", "null", "\"x\"", "true"] {
            assert_eq!(object(text), Err(WireError::NotAnObject), "{text}");
        }
        for text in [
            "", "{", "{}{}", "NaN", "{'a':1}", "{\"a\":1e999}", "\u{feff}{}",
        ] {
            assert!(matches!(object(text), Err(WireError::NotJson(_))), "{text}");
        }
    }

    #[test]
    fn numbers_saturate() {
        let cases = [
            ("7", 7),
            ("-7", 0),
            ("7.9", 7),
            ("1e300", u64::MAX),
            ("-1e300", 0),
        ];
        for (text, expected) in cases {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(whole(&value), Some(expected), "{text}");
        }
        for text in ["\"7\"", "true", "[7]", "null"] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(whole(&value), None, "{text}");
        }
    }
}
