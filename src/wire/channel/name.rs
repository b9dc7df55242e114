//! File names from outside.

use super::log_text;
use crate::wire::{MAX_NAME_BYTES, WireError};

/// Accepts the name of a file that may be created in a directory of ours, on any system, and that fits into a file
/// header: one path component, no separator (`/` or `\`), no colon, no control character, not `.` or `..`, no blank at
/// either end, no dot at the end, at most [`MAX_NAME_BYTES`], and no name that Windows reserves for a device (`NUL`,
/// `com1.txt`).
///
/// # Errors
/// [`WireError::BadField`] for `name`, with what is wrong.
pub fn safe_name(name: &str) -> Result<&str, WireError> {
    let why = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        let len = name.len();
        format!("it has {len} bytes, at most {MAX_NAME_BYTES} are accepted")
    } else if name == "." || name == ".." {
        "it names a directory".to_owned()
    } else if let Some(c) = name.chars().find(|c| matches!(c, '/' | '\\' | ':')) {
        format!("it contains `{c}`")
    } else if name.chars().any(char::is_control) {
        "it contains a control character".to_owned()
    } else if name.trim() != name {
        "it begins or ends with a blank".to_owned()
    } else if name.ends_with('.') {
        "it ends with a dot".to_owned()
    } else if is_device(name) {
        "Windows reserves it for a device".to_owned()
    } else {
        return Ok(name);
    };
    Err(WireError::BadField { field: "name", why })
}

/// Whether a text fits into a file header as one of its fields: nothing in it ends the field, and no peer finds a token in
/// it, wherever it looks.
pub fn fits_header(text: &str) -> bool {
    !text.contains(':') && !text.chars().any(char::is_control) && log_text(text) == text
}

/// Whether Windows takes the name for a device; an extension makes no difference to it.
pub(crate) fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let stem = stem.to_ascii_uppercase();
    if matches!(
        stem.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$"
    ) {
        return true;
    }
    let number = stem
        .strip_prefix("COM")
        .or_else(|| stem.strip_prefix("LPT"));
    let mut number = number.unwrap_or_default().chars();
    matches!(
        (number.next(), number.next()),
        (Some('0'..='9' | '¹' | '²' | '³'), None)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn ordinary_names_are_accepted() {
        let longest = "x".repeat(MAX_NAME_BYTES);
        for name in [
            "labels.zip", "trained_labels.zip", "a b.slp", "größe.zip", ".hidden", "...x", "..a",
            "con_1", "COM10", "console.log", "nullable", "x.nul", "a--b", &longest,
        ] {
            assert_eq!(safe_name(name), Ok(name));
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        for name in [
            "", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "C:x", "x:y", "a\0b", "a\nb",
            "a\u{85}b", " a", "a ", "\ta", "a\u{3000}", "a.", "NUL", "nul", "nul.txt",
            "Nul .tar.gz", "COM1", "lpt9.log", "com²", "CONIN$", "aux", "con.zip", &long,
        ] {
            let refused = matches!(
                safe_name(name),
                Err(WireError::BadField { field: "name", .. })
            );
            assert!(refused, "{name:?}");
        }
    }

    #[test]
    fn fields_of_a_header() {
        for text in ["", ".", "models", "größe ☃ 1.slp", "END OF FILE"] {
            assert!(fits_header(text), "{text}");
        }
        for text in ["a:b", "C:\\x", "a\nb", "END_OF_FILE", "x/KEEP_ALIVE.slp"] {
            assert!(!fits_header(text), "{text}");
        }
    }

    proptest! {
        /// Whatever is accepted is one plain component to the file system.
        #[test]
        fn accepted_names_stay_in_their_directory(name in prop_oneof![any::<String>(), "[./\\\\:a ]{0,6}"]) {
            if safe_name(&name).is_ok() {
                let parts: Vec<_> = Path::new(&name).components().collect();
                prop_assert_eq!(parts, [Component::Normal(name.as_ref())]);
            }
        }
    }
}
