//! Names that mean something else elsewhere, or look like others: each is a file of its own, or refused.

use super::super::super::names::NameError;
use super::super::*;
use super::raw_zip::{RawEntry, RawZip, STORED, UTF8, crc32, refused, try_unpack};

/// Each of these names is in the archive once, and what is in its file is its own.
fn unpacked_apart(names: &[&str]) {
    let zip = names.iter().fold(RawZip::default(), |zip, name| {
        zip.entry(name, 0o100_644, name.as_bytes())
    });
    let (dir, result) = try_unpack(&zip.bytes(), &UnpackLimits::default());
    assert_eq!(result.unwrap().files, names.len() as u64);
    for name in names {
        let there = fs::read(dir.path().join("in").join(name)).unwrap();
        assert_eq!(there, name.as_bytes(), "{name:?}");
    }
}

/// Names of Windows' devices, and endings that it would cut: ordinary files here.
#[test]
fn names_that_windows_reserves_are_plain_files() {
    unpacked_apart(&[
        "CON", "con", "NUL.txt", "d/aux.txt", "COM1/x", "LPT9", "x", "x.", "x ", "x.. ", "run:1",
        "CLOCK$", "...", "~", "-rf", "*", "d/?",
    ]);
}

/// Names that differ by case, by how Unicode composes them, or by what nobody sees, do not get into one another's file. (A
/// file system that takes two of them for one has the second one refused as being there already.)
#[test]
fn names_that_look_alike_are_kept_apart() {
    unpacked_apart(&[
        "models/A", "models/a", "Models/a", "caf\u{e9}", "cafe\u{301}", "\u{212b}", "\u{c5}",
        "A\u{30a}", "stra\u{df}e", "strasse", "\u{130}", "i\u{307}", "\u{fb01}", "fi", "zero",
        "ze\u{200b}ro", "ze\u{200d}ro", "\u{feff}zero", "abc", "\u{202e}abc", "a\u{ad}bc",
        "\u{430}bc",
    ]);
}

/// None of the disguises of "one up" is one.
#[test]
fn disguises_of_the_parent_lead_nowhere() {
    for name in [
        "../x", "a/../x", "a/..", "./../x", "a/./../../x", "..", "../", "..\\x", "a\\..\\x",
        "/../x", "//x", "a//../x", "\0../x", "..\0/x",
    ] {
        let error = refused(&RawZip::default().file(name));
        assert!(
            matches!(error, ArchiveError::UnsafePath { .. }),
            "{name:?}: {error}"
        );
    }
    // What only looks like it is a name like any other.
    unpacked_apart(&[
        "... /x", ".. /x", "\u{2025}/x", "\u{ff0e}\u{ff0e}/x", "%2e%2e/x", "..%2fx",
        "a\u{2215}..\u{2215}x", "\u{2024}\u{2024}/x", "..\u{200b}/x", "\u{ff0f}etc",
    ]);
}

/// Control characters would move a terminal or break a line of the log. They are refused wherever they stand.
#[test]
fn control_characters_are_refused() {
    for name in ["a\x1b[2Jb", "d\r/x", "x\u{85}", "x\u{9b}1m", "\x7f"] {
        let error = refused(&RawZip::default().file(name));
        let ArchiveError::UnsafePath { why, .. } = &error else {
            panic!("{name:?}: {error}")
        };
        assert_eq!(*why, NameError::Control);
        assert!(!error.to_string().chars().any(char::is_control), "{error}");
    }
}

/// What no file system here could hold is refused before it is tried.
#[test]
fn names_and_paths_that_are_too_long_are_refused() {
    let long = [
        "n".repeat(256),
        format!("{}x", "\u{e9}".repeat(128)),
        format!("{}/x", "n".repeat(256)),
        ["n".repeat(200).as_str(); 6].join("/"),
        ["nn"; 1500].join("/"),
        "n".repeat(60_000),
    ];
    for name in long {
        let error = refused(&RawZip::default().file(&name));
        let ArchiveError::UnsafePath { entry, why } = &error else {
            panic!("{error}")
        };
        assert_eq!(*why, NameError::TooLong);
        assert!(entry.chars().count() <= 121, "{entry}");
    }
    unpacked_apart(&[&"n".repeat(255), &format!("{}x", "\u{e9}".repeat(127))]);
}

/// Bytes that are no UTF-8 are read as the letters that archives had before, whatever the entry says of them: they lead out
/// no more than others do, and a path of the disk that is no text does not come to be.
#[test]
fn names_that_are_no_text_become_text() {
    for (name, read) in [
        (b"a\xff".as_slice(), "a\u{a0}"),
        (b"\xc0\xae\xc0\xae/x", "\u{2514}\u{ab}\u{2514}\u{ab}/x"),
        (b"\xed\xa0\x80", "\u{3c6}\u{e1}\u{c7}"),
    ] {
        for flags in [0, UTF8] {
            let entry = RawEntry {
                name,
                flags,
                method: STORED,
                mode: 0o100_644,
                checksum: crc32(b"x"),
                size: 1,
                packed: b"x",
            };
            let zip = RawZip::default().raw(&entry).bytes();
            let (dir, result) = try_unpack(&zip, &UnpackLimits::default());
            assert_eq!(result.unwrap().files, 1);
            assert_eq!(fs::read(dir.path().join("in").join(read)).unwrap(), b"x");
        }
    }
    let escape = RawZip::default().raw(&RawEntry {
        name: b"\xff/../../x",
        flags: 0,
        method: STORED,
        mode: 0o100_644,
        checksum: crc32(b"x"),
        size: 1,
        packed: b"x",
    });
    let error = refused(&escape);
    assert!(matches!(error, ArchiveError::UnsafePath { .. }), "{error}");
}

/// Marks of direction and what has no width are not shown as they are: what a list says is what is there.
#[test]
fn a_listing_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.zip");
    let zip = RawZip::default().file("d/\u{202e}txt.x").file("a\u{200b}b");
    fs::write(&path, zip.bytes()).unwrap();
    let names: Vec<_> = list(&path)
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["d/\u{fffd}txt.x", "a\u{fffd}b"]);
}
