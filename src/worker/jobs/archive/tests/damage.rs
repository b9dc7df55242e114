//! What is no zip, or no whole one, and an end before the end.

use proptest::prelude::*;

use super::super::*;
use super::raw_zip::{GO, RawZip, try_unpack};

#[test]
fn what_is_no_zip_says_so() {
    let whole = RawZip::default().file("a").file("b").bytes();
    let cut = &whole[..whole.len() - 30];
    for bytes in [b"".as_slice(), b"hello", &[0; 100_000], cut] {
        let error = try_unpack(bytes, &UnpackLimits::default()).1.unwrap_err();
        assert!(matches!(error, ArchiveError::NotAPackage { .. }), "{error}");
        assert!(
            error
                .to_string()
                .starts_with("labels.zip is not a package: "),
            "{error}"
        );
    }
    let missing = unpack(
        Path::new("/nowhere.zip"),
        Path::new("/tmp"),
        &UnpackLimits::default(),
        &GO,
    )
    .unwrap_err();
    assert!(matches!(missing, ArchiveError::Io { .. }));
    assert!(matches!(
        list(Path::new("/tmp")),
        Err(ArchiveError::NotAPackage { .. })
    ));
}

#[test]
fn damage_is_noticed() {
    let mut zip = RawZip::default().file("a").bytes();
    let at = zip.windows(7).position(|w| w == b"content").unwrap();
    zip[at] = b'X';
    let error = try_unpack(&zip, &UnpackLimits::default()).1.unwrap_err();
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
}

#[test]
fn a_raised_flag_stops_it() {
    let dir = tempfile::tempdir().unwrap();
    let zip = dir.path().join("p.zip");
    fs::write(&zip, RawZip::default().file("a").bytes()).unwrap();
    let error = unpack(
        &zip,
        dir.path(),
        &UnpackLimits::default(),
        &AtomicBool::new(true),
    )
    .unwrap_err();
    assert!(matches!(error, ArchiveError::Cancelled));
}

proptest! {
    /// Any damage to a zip gives an error or a tree inside, and no panic.
    #[test]
    fn damaged_archives_do_no_harm(at in 0usize..400, byte: u8, cut in 0usize..400) {
        let mut zip = RawZip::default().file("labels/a").file("labels/b").entry("labels/c/", 0o040_755, b"").bytes();
        let index = at % zip.len();
        zip[index] = byte;
        zip.truncate(zip.len() - cut % 3 * (cut % zip.len()) / 3);
        let (dir, _) = try_unpack(&zip, &UnpackLimits::default());
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        prop_assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
    }
}
