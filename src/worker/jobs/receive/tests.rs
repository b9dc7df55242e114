#![allow(clippy::unwrap_used)]

use std::time::Instant;

use super::*;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn pattern(len: usize) -> Bytes {
    (0..len)
        .map(|i| (i * 31 % 251) as u8)
        .collect::<Vec<_>>()
        .into()
}

#[tokio::test]
async fn a_file_arrives_under_its_name_only_when_whole() {
    let dir = tempfile::tempdir().unwrap();
    let data = pattern(3 * BLOCK + 17);
    let mut sink = FileSink::create(dir.path(), "labels.zip", data.len() as u64).unwrap();
    for chunk in data.chunks(50_000) {
        sink.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        assert!(!dir.path().join("labels.zip").exists());
    }
    assert_eq!(sink.received(), data.len() as u64);
    let path = sink.finish().await.unwrap();
    assert_eq!(path, dir.path().join("labels.zip"));
    assert!(fs::read(path).unwrap() == data);
    assert_eq!(names(dir.path()), ["labels.zip"]);
}

#[tokio::test]
async fn a_file_in_tiny_chunks_arrives_whole() {
    let dir = tempfile::tempdir().unwrap();
    let data = pattern(2 * SMALL + 5);
    let mut sink = FileSink::create(dir.path(), "tiny", data.len() as u64).unwrap();
    for chunk in data.chunks(7) {
        sink.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        assert!(sink.block.len() <= PIECES);
    }
    assert!(fs::read(sink.finish().await.unwrap()).unwrap() == data);
}

#[tokio::test]
async fn an_empty_file_arrives_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = FileSink::create(dir.path(), "empty", 0)
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(fs::metadata(path).unwrap().len(), 0);
}

#[tokio::test]
async fn sizes_are_held_to_the_byte_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = FileSink::create(dir.path(), "a", 10).unwrap();
    sink.write(pattern(8)).await.unwrap();
    let error = sink.write(pattern(3)).await.unwrap_err();
    assert!(
        matches!(error, TransferError::TooMuch { declared: 10 }),
        "{error}"
    );
    let error = sink.finish().await.unwrap_err();
    assert!(
        matches!(error, TransferError::CutShort { got: 8, want: 10 }),
        "{error}"
    );

    let mut sink = FileSink::create(dir.path(), "b", 4 * BLOCK as u64).unwrap();
    sink.write(pattern(2 * BLOCK)).await.unwrap();
    drop(sink);
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn what_cannot_succeed_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["../x", "/etc/x", "a:b", "..", "", "a\0b", ".profile"] {
        let error = FileSink::create(dir.path(), name, 1).unwrap_err();
        assert!(
            matches!(error, TransferError::BadName { .. }),
            "{name:?}: {error}"
        );
    }
    let options = SinkOptions {
        limit: 100,
        overwrite: false,
    };
    let error = FileSink::create_with(dir.path(), "x", 101, options).unwrap_err();
    assert!(matches!(
        error,
        TransferError::TooLarge {
            size: 101,
            limit: 100
        }
    ));
    let error = FileSink::create(dir.path(), "x", u64::MAX / 2).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, TransferError::DiskFull { .. }), "{text}");
    assert!(
        text.contains("8388608.0 TiB") && text.contains("are free"),
        "{text}"
    );
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn an_existing_file_is_kept_unless_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let late = FileSink::create(dir.path(), "r.zip", 0).unwrap();
    fs::write(dir.path().join("r.zip"), "mine").unwrap();
    let error = FileSink::create(dir.path(), "r.zip", 3).unwrap_err();
    assert!(matches!(error, TransferError::Exists { .. }));
    let error = late.finish().await.unwrap_err();
    assert!(matches!(error, TransferError::Exists { .. }), "{error}");
    assert_eq!(fs::read(dir.path().join("r.zip")).unwrap(), b"mine");

    let options = SinkOptions {
        overwrite: true,
        ..SinkOptions::default()
    };
    let mut sink = FileSink::create_with(dir.path(), "r.zip", 3, options).unwrap();
    sink.write(Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(fs::read(dir.path().join("r.zip")).unwrap(), b"mine");
    sink.finish().await.unwrap();
    assert_eq!(fs::read(dir.path().join("r.zip")).unwrap(), b"new");
    assert_eq!(names(dir.path()), ["r.zip"]);
}

/// `/dev/full` fails every write like a full disk does; a real one is filled in `tests/jobs/full_disk.rs`.
#[tokio::test]
async fn a_disk_that_fills_up_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = FileSink::create(dir.path(), "x", 64 << 20).unwrap();
    let (queue, blocks) = mpsc::channel(QUEUE);
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    sink.queue = queue;
    sink.writer = Some(spawn_blocking(move || write_blocks(full, blocks)));
    let mut result = Ok(());
    while result.is_ok() && sink.received() < 32 << 20 {
        result = sink.write(pattern(BLOCK)).await;
    }
    assert!(
        matches!(
            result,
            Err(TransferError::DiskFull {
                needed: 0x400_0000,
                ..
            })
        ),
        "{result:?}"
    );
    assert!(matches!(
        sink.write(pattern(BLOCK)).await,
        Err(TransferError::GivenUp)
    ));
    drop(sink);
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn a_file_goes_out_in_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.zip");
    let data = pattern(2 * BLOCK + 70_000);
    fs::write(&path, &data).unwrap();
    let mut source = FileSource::open(&path).unwrap();
    assert_eq!(
        (source.size(), source.name().as_str()),
        (data.len() as u64, "out.zip")
    );
    let mut got = Vec::new();
    while let Some(chunk) = source.next().await.unwrap() {
        assert!(!chunk.is_empty() && chunk.len() <= CHUNK);
        got.extend_from_slice(&chunk);
    }
    assert!(got == data);
    assert!(source.next().await.unwrap().is_none());

    fs::write(&path, "").unwrap();
    assert!(
        FileSource::open(&path)
            .unwrap()
            .next()
            .await
            .unwrap()
            .is_none()
    );
    assert!(matches!(
        FileSource::open(dir.path()),
        Err(TransferError::NotAFile { .. })
    ));
    assert!(matches!(
        FileSource::open(&dir.path().join("no")),
        Err(TransferError::Io { .. })
    ));
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    fs::write(&path, pattern(16 * BLOCK)).unwrap();
    let mut source = FileSource::open(&path).unwrap();
    source.next().await.unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(BLOCK as u64)
        .unwrap();
    let error = loop {
        match source.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no error"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            TransferError::CutShort {
                want: 0x100_0000,
                ..
            }
        ),
        "{error}"
    );
}

/// A measurement: `cargo test --release --lib receive -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn throughput() {
    let dir = tempfile::tempdir().unwrap();
    let (chunk, chunks) = (pattern(CHUNK), 16 * 1024);
    let mut sink = FileSink::create(dir.path(), "big", (CHUNK * chunks) as u64).unwrap();
    let start = Instant::now();
    for _ in 0..chunks {
        sink.write(chunk.clone()).await.unwrap();
    }
    let path = sink.finish().await.unwrap();
    println!("write: {:.0} MB/s", 1074.0 / start.elapsed().as_secs_f64());
    let mut source = FileSource::open(&path).unwrap();
    let start = Instant::now();
    while source.next().await.unwrap().is_some() {}
    println!("read: {:.0} MB/s", 1074.0 / start.elapsed().as_secs_f64());
}
