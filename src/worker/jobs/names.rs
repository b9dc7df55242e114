//! Names that come from a peer, and what may become of them on this disk.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::wire::is_device;

/// Longest name of one file or directory, in bytes: the limit of the usual file systems.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest relative path, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;
/// Deepest relative path, in components.
pub const MAX_DEPTH: usize = 32;

/// Why a name or path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing is left to name a file.
    #[error("it is empty")]
    Empty,
    /// It begins with a separator or a drive letter.
    #[error("it is absolute")]
    Absolute,
    /// A component is `..` and leads out.
    #[error("it contains \"..\"")]
    Parent,
    /// A separator where a bare name is wanted, or a backslash anywhere.
    #[error("it contains a path separator")]
    Separator,
    /// A colon, which the file header of the wire cannot carry.
    #[error("it contains a colon")]
    Colon,
    /// NUL, line break, escape and the like.
    #[error("it contains a control character")]
    Control,
    /// A hidden file or a device name.
    #[error("it is a reserved name")]
    Reserved,
    /// Over [`MAX_NAME_BYTES`] or [`MAX_PATH_BYTES`].
    #[error("it is too long")]
    TooLong,
    /// Over [`MAX_DEPTH`].
    #[error("it is nested too deeply")]
    TooDeep,
}

/// Checks that `name` is the bare name of one ordinary file: no separator, colon, control character, leading dot, or
/// device name. For names announced by a peer (sleap-rtc wire protocol, 9.3).
pub fn safe_file_name(name: &str) -> Result<(), NameError> {
    match name {
        "" => return Err(NameError::Empty),
        "." | ".." => return Err(NameError::Parent),
        _ => {}
    }
    if name.contains('/') {
        return Err(NameError::Separator);
    }
    check_component(name)?;
    if name.contains(':') {
        return Err(NameError::Colon);
    }
    if name.starts_with('.') || name.ends_with(['.', ' ']) || is_device(name) {
        return Err(NameError::Reserved);
    }
    Ok(())
}

/// The path below some directory that `path` names, separators being `/`. `.` components and one trailing `/` are
/// dropped, so `"."` gives an empty path. Refused: absolute, drive letter, `..`, backslash, control characters, an
/// empty component, too long, too deep.
///
/// What is plain on this system stays as it is: names that Windows reserves or would cut, and names that look alike (by
/// case, by how Unicode composes them, by characters that are not seen). Whoever writes such paths overwrites nothing, and
/// whoever shows them uses [`shown`] or [`visible`].
pub fn safe_relative(path: &str) -> Result<PathBuf, NameError> {
    if path.is_empty() {
        return Err(NameError::Empty);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(NameError::TooLong);
    }
    let bytes = path.as_bytes();
    if path.starts_with('/')
        || (bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':')
    {
        return Err(NameError::Absolute);
    }
    let mut safe = PathBuf::new();
    for (depth, component) in path
        .strip_suffix('/')
        .unwrap_or(path)
        .split('/')
        .enumerate()
    {
        match component {
            "" => return Err(NameError::Empty),
            "." => continue,
            ".." => return Err(NameError::Parent),
            _ => check_component(component)?,
        }
        if depth >= MAX_DEPTH {
            return Err(NameError::TooDeep);
        }
        safe.push(component);
    }
    Ok(safe)
}

fn check_component(component: &str) -> Result<(), NameError> {
    if component.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    if component.contains('\\') {
        return Err(NameError::Separator);
    }
    if component.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

/// Whether a character cannot be seen, or changes how those around it are seen: control characters, marks of direction,
/// blanks without width.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A name for a list of names: what is unseen is replaced, see [`is_unseen`].
pub fn visible(name: &str) -> String {
    let seen = |c| if is_unseen(c) { '\u{fffd}' } else { c };
    name.chars().map(seen).collect()
}

/// A name for a message: escaped, and cut at 120 characters.
pub fn shown(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(120).is_some() {
        shown.push('…');
    }
    shown
}

/// The name of a path for a message, see [`shown`].
pub fn shown_path(path: &Path) -> String {
    shown(
        &path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn file_names() {
        for good in ["labels.zip", "trained_labels.zip", "étude 1.zip", "a..b"] {
            assert_eq!(safe_file_name(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", NameError::Empty),
            ("..", NameError::Parent),
            ("../x", NameError::Separator),
            ("/etc/passwd", NameError::Separator),
            ("a\\b", NameError::Separator),
            ("a:b", NameError::Colon),
            ("a\0b", NameError::Control),
            ("a\nb", NameError::Control),
            (".bashrc", NameError::Reserved),
            ("NUL.zip", NameError::Reserved),
            ("com9.log", NameError::Reserved),
            ("x.", NameError::Reserved),
        ] {
            assert_eq!(safe_file_name(bad), Err(why), "{bad:?}");
        }
        assert_eq!(safe_file_name(&"x".repeat(256)), Err(NameError::TooLong));
    }

    #[test]
    fn relative_paths() {
        assert_eq!(safe_relative("models"), Ok(PathBuf::from("models")));
        assert_eq!(safe_relative("./a/./b/"), Ok(PathBuf::from("a/b")));
        assert_eq!(safe_relative("."), Ok(PathBuf::new()));
        assert_eq!(safe_relative("run:1/x"), Ok(PathBuf::from("run:1/x")));
        for (bad, why) in [
            ("../..", NameError::Parent),
            ("a/../../b", NameError::Parent),
            ("/etc", NameError::Absolute),
            ("C:/x", NameError::Absolute),
            ("a//b", NameError::Empty),
            ("a\\..\\b", NameError::Separator),
        ] {
            assert_eq!(safe_relative(bad), Err(why), "{bad:?}");
        }
        assert_eq!(safe_relative(&"d/".repeat(40)), Err(NameError::TooDeep));
        assert_eq!(safe_relative(&"dddd/".repeat(400)), Err(NameError::TooLong));
    }

    proptest! {
        /// Whatever is accepted stays below the directory that it is joined to.
        #[test]
        fn accepted_paths_stay_inside(path in r"(\.|\.\.|/|\\|[a-c]|:|\x00|é){0,12}") {
            if let Ok(safe) = safe_relative(&path) {
                prop_assert!(safe.components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
            if safe_file_name(&path).is_ok() {
                prop_assert_eq!(Path::new(&path).file_name().and_then(|n| n.to_str()), Some(path.as_str()));
            }
        }
    }
}
