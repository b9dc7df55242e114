//! Feeds the corpus of the fuzz targets through the functions that they wrap: what a fuzzer once found stays found.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Every file of a target's corpus, one after the other; says which one it was when one fails.
fn replay(target: &str, feed: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        if std::panic::catch_unwind(|| feed(&bytes)).is_err() {
            panic!("{} fails", file.display());
        }
    }
}

#[test]
fn device_json() {
    replay("device_json", targets::device_json);
}

#[test]
fn device_msgpack() {
    replay("device_msgpack", targets::device_msgpack);
}

#[test]
fn signal() {
    replay("signal", targets::signal);
}

#[test]
fn session_string() {
    replay("session_string", targets::session_string);
}

#[test]
fn jwt() {
    replay("jwt", targets::jwt);
}
