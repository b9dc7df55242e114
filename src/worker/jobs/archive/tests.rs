#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use zip::CompressionMethod;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

static GO: AtomicBool = AtomicBool::new(false);

/// A zip file written by hand, stored, so that it can say what a proper writer refuses to.
#[derive(Default)]
struct RawZip {
    body: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

impl RawZip {
    fn entry(mut self, name: &str, mode: u32, content: &[u8]) -> Self {
        let offset = self.body.len() as u32;
        let size = content.len() as u32;
        let mut common = Vec::new();
        for half in [20u16, 0x0800, 0, 0, 0x21] {
            common.extend(half.to_le_bytes());
        }
        for word in [crc32(content), size, size] {
            common.extend(word.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());

        self.body.extend(b"PK\x03\x04");
        self.body.extend(&common);
        self.body.extend(name.as_bytes());
        self.body.extend(content);

        self.directory.extend(b"PK\x01\x02");
        self.directory.extend((0x0300u16 | 20).to_le_bytes());
        self.directory.extend(&common);
        self.directory.extend([0; 6]);
        self.directory.extend((mode << 16).to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.entries += 1;
        self
    }

    fn file(self, name: &str) -> Self {
        self.entry(name, 0o100_644, b"content")
    }

    fn bytes(&self) -> Vec<u8> {
        let mut zip = self.body.clone();
        zip.extend(&self.directory);
        zip.extend(b"PK\x05\x06\0\0\0\0");
        zip.extend(self.entries.to_le_bytes());
        zip.extend(self.entries.to_le_bytes());
        zip.extend((self.directory.len() as u32).to_le_bytes());
        zip.extend((self.body.len() as u32).to_le_bytes());
        zip.extend(0u16.to_le_bytes());
        zip
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xEDB8_8320
            } else {
                crc >> 1
            }
        })
    })
}

/// A directory with `outside/` and `in/`, and what comes of unpacking `zip` into the latter.
fn try_unpack(
    zip: &[u8],
    limits: &UnpackLimits,
) -> (tempfile::TempDir, Result<Unpacked, ArchiveError>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    let path = dir.path().join("labels.zip");
    fs::write(&path, zip).unwrap();
    let result = unpack(&path, &dir.path().join("in"), limits, &GO);
    (dir, result)
}

fn refused(zip: &RawZip) -> ArchiveError {
    let (dir, result) = try_unpack(&zip.bytes(), &UnpackLimits::default());
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["in", "labels.zip", "outside"],
        "something was written outside"
    );
    assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
    result.unwrap_err()
}

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
fn counts_and_sizes_are_bounded() {
    let zip = RawZip::default().file("a/b/c").file("d").bytes();
    let with = |limits| try_unpack(&zip, &limits).1;
    let default = UnpackLimits::default();
    with(UnpackLimits {
        max_entries: 4,
        ..default
    })
    .unwrap();
    let error = with(UnpackLimits {
        max_entries: 3,
        ..default
    })
    .unwrap_err();
    assert!(
        matches!(error, ArchiveError::TooMany { limit: 3 }),
        "{error}"
    );
    with(UnpackLimits {
        max_bytes: 14,
        ..default
    })
    .unwrap();
    let error = with(UnpackLimits {
        max_bytes: 13,
        ..default
    })
    .unwrap_err();
    assert!(
        matches!(error, ArchiveError::TooLarge { limit: 13 }),
        "{error}"
    );
}

/// Declares nothing unusual about its size, and grows all the same.
fn bomb(entries: usize, size: usize) -> Vec<u8> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    for index in 0..entries {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file(format!("zeros{index}"), options).unwrap();
        zip.write_all(&vec![0; size]).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn bombs_are_refused_while_they_grow() {
    let limits = UnpackLimits {
        ratio_from: 1 << 20,
        ..UnpackLimits::default()
    };
    let (dir, result) = try_unpack(&bomb(1, 64 << 20), &limits);
    let error = result.unwrap_err();
    assert!(
        matches!(error, ArchiveError::Bomb { ratio: 200, .. }),
        "{error}"
    );
    let written = fs::metadata(dir.path().join("in/zeros0")).unwrap().len();
    assert!(written <= 16 << 20, "{written} bytes were written first");

    // Many that are harmless each.
    let error = try_unpack(&bomb(20, 1 << 20), &limits).1.unwrap_err();
    assert!(matches!(error, ArchiveError::Bomb { .. }), "{error}");
    // One that hides behind a load that does not shrink.
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("ballast", stored).unwrap();
    zip.write_all(&vec![0; 1 << 20]).unwrap();
    zip.start_file(
        "zeros",
        stored.compression_method(CompressionMethod::Deflated),
    )
    .unwrap();
    zip.write_all(&vec![0; 8 << 20]).unwrap();
    let error = try_unpack(&zip.finish().unwrap().into_inner(), &limits)
        .1
        .unwrap_err();
    assert!(
        matches!(&error, ArchiveError::Bomb { entry, .. } if entry == "zeros"),
        "{error}"
    );
    // Below the threshold, any ratio is right.
    try_unpack(&bomb(1, 1 << 20), &limits).1.unwrap();

    // The declared size is a lie; what counts is what is written.
    let mut lie = bomb(1, 64 << 20);
    let size = (64u32 << 20).to_le_bytes();
    while let Some(at) = lie.windows(4).position(|w| w == size) {
        lie[at..at + 4].copy_from_slice(&10u32.to_le_bytes());
    }
    let (dir, result) = try_unpack(
        &lie,
        &UnpackLimits {
            max_bytes: 1 << 20,
            ratio_from: 1 << 20,
            ..limits
        },
    );
    assert!(result.is_err());
    assert!(fs::metadata(dir.path().join("in/zeros0")).unwrap().len() <= 1 << 20);
}

/// A zip64 end record that claims a number of entries for which no memory would suffice.
#[test]
fn a_claimed_number_of_entries_is_not_believed() {
    let mut zip = RawZip::default().file("a").bytes();
    let end = zip.split_off(zip.len() - 22);
    let record_at = zip.len() as u64;
    zip.extend(b"PK\x06\x06");
    zip.extend(44u64.to_le_bytes());
    zip.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for word in [1u64 << 40, 1 << 40, 1 << 46, 0] {
        zip.extend(word.to_le_bytes());
    }
    zip.extend(b"PK\x06\x07\0\0\0\0");
    zip.extend(record_at.to_le_bytes());
    zip.extend(1u32.to_le_bytes());
    zip.extend(&end[..8]);
    zip.extend([0xFF; 12]);
    zip.extend(0u16.to_le_bytes());
    let error = try_unpack(&zip, &UnpackLimits::default()).1.unwrap_err();
    assert!(matches!(error, ArchiveError::TooMany { .. }), "{error}");
}

/// Names, comments and extra fields cost memory too.
#[test]
fn an_outsized_directory_is_refused() {
    let long = "n".repeat(60_000);
    let zip = (0..40)
        .fold(RawZip::default(), |zip, index| {
            zip.file(&format!("{index}{long}"))
        })
        .bytes();
    let error = try_unpack(
        &zip,
        &UnpackLimits {
            max_entries: 100,
            ..UnpackLimits::default()
        },
    )
    .1
    .unwrap_err();
    assert!(matches!(error, ArchiveError::NotAPackage { .. }), "{error}");
    assert!(
        error.to_string().contains("its directory is too large"),
        "{error}"
    );
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
