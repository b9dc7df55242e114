//! Zip files that no proper writer would write, and what becomes of them.

use super::super::*;

pub(super) static GO: AtomicBool = AtomicBool::new(false);

/// A zip file written by hand, stored, so that it can say what a proper writer refuses to.
#[derive(Default)]
pub(super) struct RawZip {
    body: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

/// The name is UTF-8.
pub(super) const UTF8: u16 = 0x0800;
pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

/// What an entry says of itself.
#[derive(Clone, Copy)]
pub(super) struct RawEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) mode: u32,
    pub(super) checksum: u32,
    pub(super) size: u32,
    pub(super) packed: &'a [u8],
}

impl RawEntry<'_> {
    /// What stands in front of the bytes as well as in the directory.
    fn common(&self) -> Vec<u8> {
        let mut common = Vec::new();
        for half in [20, self.flags, self.method, 0, 0x21] {
            common.extend(half.to_le_bytes());
        }
        for word in [self.checksum, self.packed.len() as u32, self.size] {
            common.extend(word.to_le_bytes());
        }
        common.extend((self.name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        common
    }
}

impl RawZip {
    pub(super) fn entry(self, name: &str, mode: u32, content: &[u8]) -> Self {
        let entry = RawEntry {
            name: name.as_bytes(),
            flags: UTF8,
            method: STORED,
            mode,
            checksum: crc32(content),
            size: content.len() as u32,
            packed: content,
        };
        self.raw(&entry)
    }

    /// An entry that says of itself whatever it likes.
    pub(super) fn raw(mut self, entry: &RawEntry<'_>) -> Self {
        let offset = self.body.len();
        let common = entry.common();
        self.body.extend(b"PK\x03\x04");
        self.body.extend(&common);
        self.body.extend(entry.name);
        self.body.extend(entry.packed);
        self.listed(entry, offset)
    }

    /// An entry of the directory alone, whose bytes are those of another one, at `offset`.
    pub(super) fn listed(mut self, entry: &RawEntry<'_>, offset: usize) -> Self {
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend((0x0300u16 | 20).to_le_bytes());
        self.directory.extend(entry.common());
        self.directory.extend([0; 6]);
        self.directory.extend((entry.mode << 16).to_le_bytes());
        self.directory.extend((offset as u32).to_le_bytes());
        self.directory.extend(entry.name);
        self.entries += 1;
        self
    }

    pub(super) fn file(self, name: &str) -> Self {
        self.entry(name, 0o100_644, b"content")
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
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

pub(super) fn crc32(bytes: &[u8]) -> u32 {
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
pub(super) fn try_unpack(
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

/// What unpacking is refused for; nothing was written outside.
pub(super) fn refused(zip: &RawZip) -> ArchiveError {
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
