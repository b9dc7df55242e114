//! A line over a pipe in memory: what comes out of which bytes.
#![allow(clippy::unwrap_used)]

use super::*;
use futures_util::StreamExt as _;
use proptest::prelude::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

/// A masked frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 1, 200, 90];
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0xfe);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(0xff);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    out
}

fn line(limit: usize) -> (Line, DuplexStream, Outbox) {
    let (ours, theirs) = duplex(1 << 20);
    let outbox = Outbox::new(1 << 16);
    let line = Line::new(
        Box::new(ours),
        BytesMut::new(),
        outbox.clone(),
        limit,
        Pause::default(),
    );
    (line, theirs, outbox)
}

/// Everything that comes out of these bytes, given in pieces.
async fn heard(limit: usize, bytes: &[u8], cut: usize) -> Vec<FromPeer> {
    let (mut line, mut peer, _outbox) = line(limit);
    let mut all = Vec::new();
    for piece in bytes.chunks(cut) {
        peer.write_all(piece).await.unwrap();
        while let Some(Some(heard)) = futures_util::FutureExt::now_or_never(line.next()) {
            all.push(heard);
        }
    }
    drop(peer);
    while let Some(heard) = line.next().await {
        all.push(heard);
    }
    assert_eq!(all.pop(), Some(FromPeer::Lost));
    all
}

#[actix_rt::test]
async fn an_announced_giant_is_refused_by_its_header_and_a_goodbye_after_it_is_heard() {
    let mut bytes = vec![0x82, 0xff];
    bytes.extend((1u64 << 62).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([0; 5000]);
    let expected = vec![FromPeer::Fault(CloseCode::MessageTooLarge)];
    assert_eq!(heard(1000, &bytes, 7).await, expected);

    let mut bytes = frame(0x81, &[b'x'; 1001]);
    bytes.extend(frame(0x81, b"small"));
    bytes.extend(frame(0x88, &[3, 232]));
    let expected = vec![FromPeer::Fault(CloseCode::MessageTooLarge), FromPeer::Close];
    assert_eq!(heard(1000, &bytes, 100).await, expected);
}

#[actix_rt::test]
async fn the_limit_is_inclusive_and_counts_whole_messages() {
    async fn whole(sizes: &[usize]) -> bool {
        let mut bytes = Vec::new();
        for (at, size) in sizes.iter().enumerate() {
            let first = if at == 0 { 1 } else { 0 } | if at + 1 == sizes.len() { 0x80 } else { 0 };
            bytes.extend(frame(first, &vec![b'x'; *size]));
        }
        let all = heard(1000, &bytes, 1 << 20).await;
        match &all[..] {
            [FromPeer::Text(text)] => text.len() == sizes.iter().sum::<usize>(),
            [FromPeer::Fault(CloseCode::MessageTooLarge)] => false,
            other => panic!("{other:?}"),
        }
    }
    assert!(whole(&[1000]).await);
    assert!(!whole(&[1001]).await);
    assert!(whole(&[500, 500]).await);
    assert!(!whole(&[500, 501]).await);
    assert!(!whole(&vec![0; FRAGMENTS + 1]).await);
}

#[actix_rt::test]
async fn what_is_no_websocket_ends_the_hearing() {
    for (bytes, code) in [
        (frame(0x83, b"x"), CloseCode::ProtocolError),
        (frame(0xc1, b"x"), CloseCode::ProtocolError),
        (vec![0x81, 1, b'x'], CloseCode::ProtocolError),
        (frame(0x80, b"x"), CloseCode::ProtocolError),
        (frame(0x09, b"x"), CloseCode::ProtocolError),
        (frame(0x89, &[0; 126]), CloseCode::ProtocolError),
        (frame(0x88, b"x"), CloseCode::ProtocolError),
        (
            [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
            CloseCode::ProtocolError,
        ),
        (frame(0x81, b"\xff"), CloseCode::NotText),
    ] {
        let more = [bytes, frame(0x81, b"unheard")].concat();
        assert_eq!(heard(1000, &more, 3).await, vec![FromPeer::Fault(code)]);
    }
}

#[actix_rt::test]
async fn pings_are_answered_between_the_parts_of_a_message() {
    let (mut line, mut peer, _outbox) = line(1000);
    let parts = [frame(0x01, b"a"), frame(0x89, b"here?"), frame(0x80, b"b")];
    peer.write_all(&parts.concat()).await.unwrap();
    assert_eq!(line.next().await, Some(FromPeer::Alive));
    assert_eq!(line.next().await, Some(FromPeer::Text("ab".into())));
    let mut pong = [0; 7];
    let (answer, _) = futures_util::future::join(peer.read_exact(&mut pong), async {
        futures_util::FutureExt::now_or_never(line.next())
    })
    .await;
    answer.unwrap();
    assert_eq!(&pong, b"\x8a\x05here?");
}

#[actix_rt::test]
async fn a_flood_of_small_messages_leaves_room_for_others() {
    let (mut line, mut peer, _outbox) = line(1000);
    peer.write_all(&frame(0x81, b"x").repeat(1000))
        .await
        .unwrap();
    let mut got = 0;
    futures_util::future::poll_fn(|cx| {
        while line.poll_next_unpin(cx).is_ready() {
            got += 1;
        }
        Poll::Ready(())
    })
    .await;
    assert_eq!(got, TURN);
    for _ in TURN..1000 {
        assert_eq!(line.next().await, Some(FromPeer::Text("x".into())));
    }
}

#[actix_rt::test]
async fn a_reader_that_stops_is_told_of_and_a_close_is_flushed_last() {
    let (ours, mut peer) = duplex(64);
    let outbox = Outbox::new(1000);
    let mut line = Line::new(
        Box::new(ours),
        BytesMut::new(),
        outbox.clone(),
        10,
        Pause::default(),
    );
    assert!(outbox.text(&[b'x'; 900]));
    assert!(futures_util::FutureExt::now_or_never(line.next()).is_none());
    assert!(!outbox.text(&[b'x'; 900]));
    assert_eq!(line.next().await, Some(FromPeer::Overflow));
    outbox.close(CloseCode::SlowReader);
    let mut got = Vec::new();
    let read = async {
        let mut byte = [0; 256];
        loop {
            let n = peer.read(&mut byte).await.unwrap();
            got.extend_from_slice(&byte[..n]);
            if got.ends_with(b"reads too slowly") {
                return;
            }
        }
    };
    let (_, flushed) = futures_util::future::join(read, line.next()).await;
    assert_eq!(flushed, Some(FromPeer::Flushed));
}

#[actix_rt::test]
async fn a_paused_line_is_silent_until_its_time() {
    tokio::time::pause();
    let (ours, mut peer) = duplex(1 << 10);
    let pause = Pause::default();
    let mut line = Line::new(
        Box::new(ours),
        BytesMut::new(),
        Outbox::new(100),
        100,
        Rc::clone(&pause),
    );
    let start = tokio::time::Instant::now();
    pause.set(Some(start.into_std() + Duration::from_secs(3)));
    peer.write_all(&frame(0x81, b"x")).await.unwrap();
    assert_eq!(line.next().await, Some(FromPeer::Text("x".into())));
    assert!(start.elapsed() >= Duration::from_secs(3));
}

proptest! {
    #[test]
    fn messages_come_whole_however_they_are_cut(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
        cut in 1usize..40,
    ) {
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(0x82, payload)).collect();
        let all = actix_rt::System::new().block_on(heard(300, &bytes, cut));
        let expected: Vec<_> = payloads.into_iter().map(|payload| FromPeer::Binary(payload.into())).collect();
        prop_assert_eq!(all, expected);
    }

    #[test]
    fn any_bytes_are_heard_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 1usize..40) {
        let all = actix_rt::System::new().block_on(heard(50, &bytes, cut));
        for heard in all {
            if let FromPeer::Text(bytes) | FromPeer::Binary(bytes) = heard {
                prop_assert!(bytes.len() <= 50);
            }
        }
    }
}
