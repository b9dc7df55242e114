//! What is on a disk, heavy packages, and small disks.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Files below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

/// A package archive with a ballast of so many MB in it, stored, not compressed.
pub fn heavy(dir: &Path, name: &str, megabytes: usize, script: &str) -> PathBuf {
    let path = dir.join(format!("{name}.zip"));
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let manifest =
        format!("[job]\nname = \"{name}\"\ncommand = [\"sh\", \"go.sh\"]\noutputs = \"models\"\n");
    for (file, content) in [
        ("loaner.toml", manifest.as_bytes()),
        ("go.sh", script.as_bytes()),
    ] {
        archive
            .start_file(format!("{name}/{file}"), stored)
            .unwrap();
        archive.write_all(content).unwrap();
    }
    archive
        .start_file(format!("{name}/ballast"), stored)
        .unwrap();
    let megabyte: Vec<u8> = (0..1_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for _ in 0..megabytes {
        archive.write_all(&megabyte).unwrap();
    }
    archive.finish().unwrap();
    path
}

/// A small file system of its own; `None`, said aloud, where there are no rights to mount one.
pub struct Tiny(pub PathBuf);

impl Tiny {
    /// Mounts one of this size below `dir`.
    pub fn mount(dir: &Path, size: &str) -> Option<Tiny> {
        let path = dir.join("tiny");
        std::fs::create_dir(&path).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!(
                "SKIPPED: mounting a small file system needs rights that this user does not have"
            );
        }
        mounted.then_some(Tiny(path))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}
