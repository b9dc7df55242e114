//! Streams beside each other.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::mux::{Mux, Side};
use super::*;

/// A program that does not read holds up its own stream, and no other; and what waits for it is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_reader_holds_up_nobody_else() {
    let pair = Pair::new(everything_here());
    let (target, port) = listener().await;
    let (mut stalled, _carried) = pair.connect(port).await;
    let (mut floods, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
    let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = written.clone();
    tokio::spawn(async move {
        let piece = vec![1_u8; 64 << 10];
        while floods.write_all(&piece).await.is_ok() {
            count.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    let (mut other, _carried) = pair.connect(port).await;
    let (mut echo, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
    tokio::spawn(async move {
        let (mut read, mut write) = echo.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let piece = vec![2_u8; 1 << 20];
    let mut back = vec![0; piece.len()];
    for _ in 0..64 {
        let (mut read, mut write) = other.split();
        let both = async { tokio::join!(write.write_all(&piece), read.read_exact(&mut back)) };
        let (wrote, read) = timeout(PATIENCE, both).await.expect("it is held up");
        wrote.unwrap();
        read.unwrap();
        assert!(back == piece);
    }
    // As much was echoed as would have come for it, had nothing held it up: frames take turns. Four sockets and a window hold less.
    let waits = written.load(std::sync::atomic::Ordering::Relaxed);
    assert!(waits < 32 << 20, "{waits} bytes wait");
    // Nothing is lost of what the other one left lying.
    let mut late = vec![0; 4 << 20];
    timeout(PATIENCE, stalled.read_exact(&mut late))
        .await
        .unwrap()
        .unwrap();
    assert!(late.iter().all(|byte| *byte == 1));
    assert!(written.load(std::sync::atomic::Ordering::Relaxed) >= 4 << 20);
}

/// Streams that all have something to send take turns, frame by frame: nobody waits for more than one frame of each other.
#[tokio::test]
async fn streams_take_turns() {
    const STREAMS: u32 = 4;
    const ROUNDS: usize = 50;
    let (here, there) = line(1);
    let mux = Arc::new(Mux::new(here, Side::Client, Arc::default()));
    for stream in 1..=STREAMS {
        let mux = mux.clone();
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                let bytes = Bytes::from_static(b"x");
                mux.send(Frame::Data { stream, bytes }.encode())
                    .await
                    .unwrap();
            }
        });
    }
    let mut turns = Vec::new();
    for _ in 0..STREAMS as usize * ROUNDS {
        match there.hear().await {
            Frame::Data { stream, .. } => turns.push(stream),
            other => panic!("{other:?}"),
        }
    }
    // The first began alone, and of the last some are done.
    let turns = &turns[STREAMS as usize..turns.len() - STREAMS as usize];
    for window in turns.windows(STREAMS as usize) {
        for stream in 1..=STREAMS {
            assert!(window.contains(&stream), "{stream} waits: {turns:?}");
        }
    }
}
