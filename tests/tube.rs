//! Tubes: streams of messages that outlive their connections, over real connections.
#![allow(clippy::unwrap_used)]

#[path = "rtc/pair.rs"]
#[allow(dead_code, reason = "shared with the tests of connections")]
mod pair;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use loaner::rtc::{DataPlane, Incoming, RtcError};
use loaner::tunnel::tube::{Sign, Tube, Word};
use pair::{Pair, pair, soon};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A bound for everything that many connections carry together.
const LONG: Duration = Duration::from_secs(300);

/// Has both ends go on over a new connection.
async fn connect(plane: &DataPlane, near: &Tube, far: &Tube, generation: u64) -> Pair {
    let (near_has, far_has) = (near.detach().await, far.detach().await);
    let pair = pair(plane).await;
    near.carry(pair.near.clone(), generation, far_has)
        .await
        .unwrap();
    far.carry(pair.far.clone(), generation, near_has)
        .await
        .unwrap();
    pair
}

fn message(number: u64, size: usize) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + size, number as u8);
    bytes.into()
}

/// Sends so many messages of sizes by this seed.
async fn send_all(tube: Tube, count: u64, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    for number in 0..count {
        let size = random.random_range(0..20_000);
        tube.send_binary(message(number, size)).await.unwrap();
    }
}

/// Receives them, and compares.
async fn receive_all(tube: Tube, count: u64, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    for number in 0..count {
        let size = random.random_range(0..20_000);
        let expected = Incoming::Binary(message(number, size));
        assert_eq!(tube.recv().await.unwrap(), expected, "number {number}");
    }
}

/// The next sign that is of interest.
async fn sign(signs: &mut mpsc::Receiver<Sign>, wanted: impl Fn(&Sign) -> bool) -> Sign {
    soon("a sign", async {
        loop {
            let sign = signs.recv().await.unwrap();
            if wanted(&sign) {
                return sign;
            }
        }
    })
    .await
}

/// Connections that break at any moment lose nothing, and nothing comes twice or out of order, in either direction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_over_many_connections() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let plane = DataPlane::start().unwrap();
    let ((near, _near_signs), (far, _far_signs)) = (Tube::new(&plane), Tube::new(&plane));
    const COUNT: u64 = 6000;
    let mut tasks = tokio::task::JoinSet::new();
    for (from, to, seed) in [(&near, &far, seed ^ 1), (&far, &near, seed ^ 2)] {
        tasks.spawn(send_all(from.clone(), COUNT, seed));
        tasks.spawn(receive_all(to.clone(), COUNT, seed));
    }
    let mut connections = 0;
    let mut present = connect(&plane, &near, &far, 1).await;
    let all = async {
        while !tasks.is_empty() {
            let some_time = Duration::from_millis(random.random_range(0..40));
            match timeout(some_time, tasks.join_next()).await {
                Ok(ended) => ended.unwrap().unwrap(),
                Err(_) if connections < 8 => {
                    connections += 1;
                    // One end notices first, or both, or the connection is closed before either does.
                    match random.random_range(0..3) {
                        0 => drop(near.detach().await),
                        1 => drop(far.detach().await),
                        _ => present.offerer.close().await,
                    }
                    present = connect(&plane, &near, &far, 1 + connections).await;
                }
                Err(_) => {}
            }
        }
    };
    timeout(LONG, all).await.expect("not everything comes");
    assert!(connections > 2, "{connections} connections");
}

/// What is sent without a connection waits for one, up to a bound; then senders wait too.
#[tokio::test]
async fn without_a_connection_senders_wait_at_a_bound() {
    let plane = DataPlane::start().unwrap();
    let ((near, _near_signs), (far, _far_signs)) = (Tube::new(&plane), Tube::new(&plane));
    let mut sent: u64 = 0;
    // A sender that has to wait is not done at once: nobody takes anything here.
    while let Some(done) = near.send_binary(message(sent, 60_000)).now_or_never() {
        done.unwrap();
        sent += 1;
    }
    assert!((60..=70).contains(&sent), "{sent} messages of 60 kB");
    assert!(near.quiet().1);
    let _connection = connect(&plane, &near, &far, 1).await;
    for number in 0..sent {
        let received = soon("a message", far.recv()).await;
        assert_eq!(received.unwrap(), Incoming::Binary(message(number, 60_000)));
    }
    soon("acknowledgement", async {
        while near.quiet().1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let large = Bytes::from(vec![0; 262_145]);
    assert_eq!(
        near.send_binary(large).await,
        Err(RtcError::TooLarge(262_145))
    );
}

/// A ping is answered over the present connection, and both sides hear of it; a connection that ends is told.
#[tokio::test]
async fn pings_are_answered_and_ends_are_told() {
    let plane = DataPlane::start().unwrap();
    let ((near, mut near_signs), (far, mut far_signs)) = (Tube::new(&plane), Tube::new(&plane));
    let connection = connect(&plane, &near, &far, 3).await;
    let asked = Instant::now();
    near.ping(3);
    sign(&mut far_signs, |sign| *sign == Sign::PeerPing(3)).await;
    sign(&mut near_signs, |sign| *sign == Sign::Pong(3)).await;
    // What came last came after it was asked for.
    assert!(near.quiet().0 <= asked.elapsed());
    connection.offerer.close().await;
    sign(&mut near_signs, |sign| *sign == Sign::Gone(3)).await;
    sign(&mut far_signs, |sign| *sign == Sign::Gone(3)).await;
}

/// A goodbye comes after everything that was sent before it, and then nothing goes through any more.
#[tokio::test]
async fn a_goodbye_is_the_last_word() {
    let plane = DataPlane::start().unwrap();
    let ((near, _near_signs), (far, mut far_signs)) = (Tube::new(&plane), Tube::new(&plane));
    let _connection = connect(&plane, &near, &far, 1).await;
    for number in 0..30 {
        near.send_binary(message(number, 1000)).await.unwrap();
    }
    near.end(true).await;
    assert_eq!(near.send_binary(message(0, 0)).await, Err(RtcError::Closed));
    assert_eq!(near.recv().await, None);
    sign(&mut far_signs, |sign| *sign == Sign::PeerClosed(1)).await;
    far.close();
    for number in 0..30 {
        assert_eq!(
            far.recv().await,
            Some(Incoming::Binary(message(number, 1000)))
        );
    }
    assert_eq!(far.recv().await, None);
}

/// Held senders wait, and go on; and so does what they sent before, over a connection on which pings are answered.
#[tokio::test]
async fn senders_can_be_held() {
    let plane = DataPlane::start().unwrap();
    let ((near, _near_signs), (far, mut far_signs)) = (Tube::new(&plane), Tube::new(&plane));
    let before = message(7, 100);
    near.send_binary(before.clone()).await.unwrap();
    near.hold(true);
    let _connection = connect(&plane, &near, &far, 1).await;
    // What may be sent is sent before the second ping.
    for _ in 0..2 {
        near.ping(1);
        sign(&mut far_signs, |sign| *sign == Sign::PeerPing(1)).await;
    }
    assert_eq!(far.recv().now_or_never(), None);
    near.hold(false);
    let received = soon("a message", far.recv()).await;
    assert_eq!(received, Some(Incoming::Binary(before)));

    let (near, _signs) = Tube::new(&plane);
    near.hold(true);
    let sending = tokio::spawn({
        let near = near.clone();
        async move { near.send_binary(message(0, 0)).await }
    });
    tokio::task::yield_now().await;
    assert!(!near.quiet().1);
    near.hold(false);
    soon("the sender", sending).await.unwrap().unwrap();
    assert!(near.quiet().1);
}

/// What is left while senders are held goes when something carries the tube.
#[tokio::test]
async fn a_last_word_is_left_while_senders_are_held() {
    let plane = DataPlane::start().unwrap();
    let (near, _signs) = Tube::new(&plane);
    let (far, _far_signs) = Tube::new(&plane);
    near.hold(true);
    let left = near.leave_text("the last word");
    soon("room for it", left).await.unwrap();
    let connection = pair(&plane).await;
    near.carry(connection.near.clone(), 1, 0).await.unwrap();
    far.carry(connection.far.clone(), 1, 0).await.unwrap();
    near.hold(false);
    let received = soon("the last word", far.recv()).await;
    assert_eq!(received, Some(Incoming::Text("the last word".to_owned())));
}

/// Who claims to have what was never sent, or less than before, is out of step: the connection is given up, not the rest.
#[tokio::test]
async fn who_cannot_count_loses_the_connection() {
    let plane = DataPlane::start().unwrap();
    for claim in [3, u64::MAX] {
        let (near, mut signs) = Tube::new(&plane);
        let connection = pair(&plane).await;
        near.carry(connection.near.clone(), 1, 0).await.unwrap();
        near.send_binary(message(0, 0)).await.unwrap();
        near.send_binary(message(1, 0)).await.unwrap();
        for number in 0..2 {
            let received = soon("a message", connection.far.recv()).await;
            assert_eq!(received, Some(Incoming::Binary(message(number, 0))));
        }
        for text in ["no word", "{}", &"x".repeat(100_000)] {
            connection.far.send_text(text).await.unwrap();
        }
        for messages in [1, claim] {
            let word = Word::Have { messages };
            connection.far.send_text(&word.to_text()).await.unwrap();
        }
        sign(&mut signs, |sign| *sign == Sign::Gone(1)).await;
        assert_eq!(near.detach().await, 0);
        let another = pair(&plane).await;
        assert!(
            near.carry(another.near.clone(), 2, 0).await.is_err(),
            "less than before"
        );
        assert!(
            near.carry(another.near.clone(), 2, 3).await.is_err(),
            "more than was sent"
        );
        near.carry(another.near.clone(), 2, 1).await.unwrap();
        let received = soon("a message", another.far.recv()).await;
        assert_eq!(received, Some(Incoming::Binary(message(1, 0))));
    }
}

/// Texts and binary messages arrive as what they were, in their order, also those that look like a word of the tube's own, like a
/// sign of it, or like a keep-alive of the channel; and once the other side has all of them, nothing waits.
#[tokio::test]
async fn whatever_is_said_arrives_as_it_was() {
    let plane = DataPlane::start().unwrap();
    let ((near, _near_signs), (far, _far_signs)) = (Tube::new(&plane), Tube::new(&plane));
    let _connection = connect(&plane, &near, &far, 1).await;
    let close = Word::Close.to_text();
    let texts = [
        "", "plain", &close, "\u{1}\u{1}a", "\u{2}KEEP_ALIVE", "KEEP_ALIVE",
    ];
    let bytes: [&[u8]; 4] = [b"", b"KEEP_ALIVE", b"\x01text", b"{\"tube\":\"close\"}"];
    for text in texts {
        near.send_text(text).await.unwrap();
    }
    for bytes in bytes {
        near.send_binary(Bytes::from_static(bytes)).await.unwrap();
    }
    for text in texts {
        let came = soon("a text", far.recv()).await;
        assert_eq!(came, Some(Incoming::Text(text.to_owned())));
    }
    for bytes in bytes {
        let came = soon("bytes", far.recv()).await;
        assert_eq!(came, Some(Incoming::Binary(Bytes::from_static(bytes))));
    }
    soon("all is there", near.drained()).await.unwrap();
    assert!(!near.quiet().1);
}
