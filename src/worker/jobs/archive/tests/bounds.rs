//! Counts and sizes, as declared and as they come.

use zip::CompressionMethod;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::super::*;
use super::raw_zip::{DEFLATED, RawEntry, RawZip, UTF8, crc32, try_unpack};

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

/// Deflated zeros, as they stand in an archive.
fn kernel(size: usize) -> Vec<u8> {
    let zip = bomb(1, size);
    // A local header of 30 bytes, and the name.
    let start = 30 + "zeros0".len();
    let end = zip.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    zip[start..end].to_vec()
}

/// One piece of data that many entries of the directory claim for themselves. The whole counts, and the whole is small: it
/// is refused as what it is, long before the limit on its bytes.
#[test]
fn entries_that_share_their_bytes_are_refused() {
    let size = 1 << 20;
    let packed = kernel(size);
    let names: Vec<_> = (0..1000).map(|index| format!("zeros{index}")).collect();
    let checksum = crc32(&vec![0; size]);
    let entry = |name: &'static str| RawEntry {
        name: name.as_bytes(),
        flags: UTF8,
        method: DEFLATED,
        mode: 0o100_644,
        checksum,
        size: size as u32,
        packed: &packed,
    };
    let first = RawZip::default().raw(&entry("zeros"));
    let zip = names.iter().fold(first, |zip, name| {
        let shared = RawEntry {
            name: name.as_bytes(),
            ..entry("zeros")
        };
        zip.listed(&shared, 0)
    });
    let limits = UnpackLimits {
        ratio_from: 10 << 20,
        ..UnpackLimits::default()
    };
    let (dir, result) = try_unpack(&zip.bytes(), &limits);
    let error = result.unwrap_err();
    assert!(matches!(error, ArchiveError::Bomb { .. }), "{error}");
    let written: u64 = fs::read_dir(dir.path().join("in"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(written <= 20 << 20, "{written} bytes were written first");
}

/// An archive within an archive is a file: nothing is unpacked that nobody asked for.
#[test]
fn archives_within_archives_stay_packed() {
    let inner = bomb(1, 8 << 20);
    let zip = RawZip::default().entry("more.zip", 0o100_644, &inner);
    let (dir, result) = try_unpack(&zip.bytes(), &UnpackLimits::default());
    assert_eq!(result.unwrap().bytes, inner.len() as u64);
    assert_eq!(fs::read(dir.path().join("in/more.zip")).unwrap(), inner);
}

/// More is declared than there is, or than the disk could take: refused, and nothing is left to fill the disk with.
#[test]
fn sizes_that_are_too_large_are_refused_at_once() {
    let entry = |size| RawEntry {
        name: b"lie",
        flags: UTF8,
        method: 0,
        mode: 0o100_644,
        checksum: crc32(b"x"),
        size,
        packed: b"x",
    };
    let zip = (0..200).fold(RawZip::default(), |zip, index| {
        let name = format!("lie{index}");
        zip.raw(&RawEntry {
            name: name.as_bytes(),
            ..entry(u32::MAX - 1)
        })
    });
    let (dir, result) = try_unpack(&zip.bytes(), &UnpackLimits::default());
    assert!(
        matches!(result, Err(ArchiveError::TooLarge { .. })),
        "{result:?}"
    );
    assert_eq!(fs::read_dir(dir.path().join("in")).unwrap().count(), 0);
}
