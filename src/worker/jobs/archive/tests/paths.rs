//! Where entries go, and where they may not.

use std::os::unix::fs::PermissionsExt;

use super::super::*;
use super::raw_zip::{GO, RawZip, refused, try_unpack};

#[test]
fn both_layouts_are_found() {
    let below = RawZip::default()
        .entry("labels/", 0o040_755, b"")
        .file("labels/train-script.sh")
        .file("labels/a/b");
    let (dir, result) = try_unpack(&below.bytes(), &UnpackLimits::default());
    let root = dir.path().join("in/labels");
    assert_eq!(
        result.unwrap(),
        Unpacked {
            root: root.clone(),
            files: 2,
            bytes: 14
        }
    );
    assert_eq!(fs::read(root.join("a/b")).unwrap(), b"content");

    // No entry for the directory itself, as many programs write it.
    let implied = RawZip::default().file("labels/x");
    let (dir, result) = try_unpack(&implied.bytes(), &UnpackLimits::default());
    assert_eq!(result.unwrap().root, dir.path().join("in/labels"));

    let flat = RawZip::default()
        .file("./train-script.sh")
        .file("models/run:1/x")
        .file("labels.yaml");
    let (dir, result) = try_unpack(&flat.bytes(), &UnpackLimits::default());
    assert_eq!(result.unwrap().root, dir.path().join("in"));
    assert!(dir.path().join("in/models/run:1/x").exists());

    let file = RawZip::default().file("labels");
    let (dir, result) = try_unpack(&file.bytes(), &UnpackLimits::default());
    assert_eq!(result.unwrap().root, dir.path().join("in"));
}

#[test]
fn the_execute_bit_is_kept_and_no_other() {
    let zip = RawZip::default()
        .entry("run", 0o104_755, b"#!")
        .entry("data", 0o100_666, b"x")
        .entry("dos", 0, b"x");
    let (dir, result) = try_unpack(&zip.bytes(), &UnpackLimits::default());
    result.unwrap();
    let mode = |name| {
        fs::metadata(dir.path().join("in").join(name))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("run") & 0o7100, 0o100);
    assert_eq!(mode("data") & 0o7111, 0);
    assert_eq!(mode("dos") & 0o7111, 0);
}

#[test]
fn paths_that_lead_out_are_refused() {
    for name in [
        "../x", "a/../../x", "/tmp/loaner-escape", "..", "C:/x", "c:x", "a\\..\\..\\x", "a\0b",
        "a//b", "x\ny",
    ] {
        let error = refused(&RawZip::default().file("first").file(name));
        assert!(
            matches!(error, ArchiveError::UnsafePath { .. }),
            "{name:?}: {error}"
        );
        assert!(!error.to_string().contains(['\n', '\0']), "{error}");
    }
    let deep = "d/".repeat(40) + "x";
    assert!(matches!(
        refused(&RawZip::default().file(&deep)),
        ArchiveError::UnsafePath { .. }
    ));
}

#[test]
fn links_and_devices_are_refused() {
    let link = RawZip::default()
        .entry("link", 0o120_777, b"../outside")
        .file("link/x");
    assert!(matches!(refused(&link), ArchiveError::NotAFile { .. }));
    let device = RawZip::default().entry("pipe", 0o010_644, b"");
    assert!(matches!(refused(&device), ArchiveError::NotAFile { .. }));
    let disguised = RawZip::default().entry("dir/", 0o120_777, b"../outside");
    assert!(matches!(refused(&disguised), ArchiveError::NotAFile { .. }));
}

/// A link that is there already (from whomever) is not written through.
#[test]
fn a_link_in_the_target_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (outside, target) = (dir.path().join("outside"), dir.path().join("in"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink(&outside, target.join("a")).unwrap();
    std::os::unix::fs::symlink(outside.join("f"), target.join("b")).unwrap();
    for name in ["a/x", "b"] {
        let zip = dir.path().join("p.zip");
        fs::write(&zip, RawZip::default().file(name).bytes()).unwrap();
        let error = unpack(&zip, &target, &UnpackLimits::default(), &GO).unwrap_err();
        assert!(matches!(error, ArchiveError::Duplicate { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn duplicates_are_refused() {
    for names in [["x", "x"], ["x", "./x"], ["x", "x/y"], ["x/y", "x"]] {
        let error = refused(&RawZip::default().file(names[0]).file(names[1]));
        assert!(
            matches!(error, ArchiveError::Duplicate { .. }),
            "{names:?}: {error}"
        );
    }
    // A directory may well come up again.
    let zip = RawZip::default()
        .file("d/x")
        .entry("d/", 0o040_755, b"")
        .entry("./d/", 0o040_755, b"");
    try_unpack(&zip.bytes(), &UnpackLimits::default())
        .1
        .unwrap();
}

#[test]
fn a_listing_is_fit_for_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.zip");
    fs::write(
        &path,
        RawZip::default()
            .entry("d/", 0o040_755, b"")
            .file("d/\x1b[31mx")
            .bytes(),
    )
    .unwrap();
    assert_eq!(list(&path).unwrap(), [("d/\u{fffd}[31mx".to_owned(), 7)]);
}
