//! A transfer onto a disk that is really full.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use loaner::worker::jobs::receive::{FileSink, TransferError};

use crate::lab::again;

/// A file system of 1 MiB of its own, in a mount namespace that vanishes with the process.
#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    const INSIDE: &str = "LOANER_TEST_FULL_DISK";
    if let Some(dir) = std::env::var_os(INSIDE) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(fill_up(Path::new(&dir)));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m none \"$0\" || exit 99; exec \"$@\"";
    let wrapper = [
        "unshare",
        "-m",
        "sh",
        "-c",
        mount,
        dir.path().to_str().unwrap(),
    ];
    let mut command = again(
        "full_disk::a_full_disk_is_named_and_nothing_is_left",
        &wrapper,
    );
    let output = match command.env(INSIDE, dir.path()).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: no unshare here to make a small file system with ({error})");
            return;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success()
        && (output.status.code() == Some(99) || text.contains("unshare failed"))
    {
        eprintln!("skipped: this user may not mount a small file system: {text}");
        return;
    }
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

async fn fill_up(dir: &Path) {
    // Told before a byte travels...
    let error = FileSink::create(dir, "big.zip", 2 << 20).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, TransferError::DiskFull { .. }), "{text}");
    assert!(
        text.starts_with("the disk is full: the file needs 2.0 MiB, 1.0 MiB are free in "),
        "{text}"
    );

    // ...and when something else takes the room meanwhile.
    let mut sink = FileSink::create(dir, "late.zip", 1 << 20).unwrap();
    fs::write(dir.join("other"), vec![0; 512 << 10]).unwrap();
    for _ in 0..16 {
        sink.write(Bytes::from(vec![1; 64 << 10])).await.unwrap();
    }
    let error = sink.finish().await.unwrap_err();
    assert!(matches!(error, TransferError::DiskFull { .. }), "{error}");
    let left: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["other"]);
}
