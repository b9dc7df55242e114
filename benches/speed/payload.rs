//! Packages with a payload that no compression makes smaller, and the proof that it came back as it went.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use blake3::{Hash, Hasher};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// A command that returns the payload.
pub const KEEP: &str = "mkdir models && mv payload.bin models";

const STEP: usize = 1 << 20;

/// Makes a package that runs `command`, with a payload of so many bytes (none for 0). The payload's hash comes back.
pub fn package(path: &Path, bytes: u64, command: &str) -> Result<Hash> {
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(BufWriter::with_capacity(STEP, File::create_new(path)?));
    zip.start_file("loaner.toml", stored)?;
    writeln!(
        zip,
        "[job]\nname = \"speed\"\ncommand = \"{command}\"\noutputs = \"models\""
    )?;
    let mut hasher = Hasher::new();
    if bytes > 0 {
        zip.start_file(
            "payload.bin",
            stored.large_file(bytes > u64::from(u32::MAX) / 2),
        )?;
        let mut random = Hasher::new()
            .update(b"the payload of the benchmark")
            .finalize_xof();
        let (mut step, mut left) = (vec![0; STEP], bytes);
        while left > 0 {
            let part = STEP.min(usize::try_from(left).unwrap_or(STEP));
            random.fill(&mut step[..part]);
            hasher.update(&step[..part]);
            zip.write_all(&step[..part])?;
            left -= part as u64;
        }
    }
    zip.finish()?.flush()?;
    Ok(hasher.finalize())
}

/// The hash of the payload in an archive of results.
pub fn returned(results: &Path) -> Result<Hash> {
    let mut archive = ZipArchive::new(File::open(results)?)?;
    let entry = archive
        .by_name("payload.bin")
        .context("the results hold no payload")?;
    let mut hasher = Hasher::new();
    hasher.update_reader(entry)?;
    Ok(hasher.finalize())
}
