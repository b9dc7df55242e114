//! What is sent arrives: whole, in order, of its kind, and no faster than it is read.

use std::time::Duration;

use bytes::Bytes;
use loaner::rtc::{Channel, DataPlane, Incoming, MAX_MESSAGE_BYTES, RtcError};

use crate::pair::{chunk, next_channel, pair, pair_unopened, recv, recv_binary, soon, text};

#[tokio::test]
async fn a_channel_opens_with_its_label_and_carries_messages_in_order() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    assert_eq!(pair.near.label(), "my-data-channel");
    assert_eq!(pair.far.label(), "my-data-channel");
    for number in 0..500 {
        pair.near.send_text(&number.to_string()).await.unwrap();
    }
    for number in 0..500 {
        assert_eq!(recv(&pair.far).await, text(&number.to_string()));
    }
    pair.far.send_text("back").await.unwrap();
    assert_eq!(recv(&pair.near).await, text("back"));
}

#[tokio::test]
async fn text_and_binary_are_told_apart_and_empty_messages_stay_messages() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    let binary = |data: &'static [u8]| Some(Incoming::Binary(Bytes::from_static(data)));
    pair.near.send_text("same").await.unwrap();
    pair.near
        .send_binary(Bytes::from_static(b"same"))
        .await
        .unwrap();
    pair.near.send_text("").await.unwrap();
    pair.near.send_binary(Bytes::new()).await.unwrap();
    pair.near.send_text("grüße\n\0").await.unwrap();
    assert_eq!(recv(&pair.far).await, text("same"));
    assert_eq!(recv(&pair.far).await, binary(b"same"));
    assert_eq!(recv(&pair.far).await, text(""));
    assert_eq!(recv(&pair.far).await, binary(b""));
    assert_eq!(recv(&pair.far).await, text("grüße\n\0"));
}

#[tokio::test]
async fn messages_sent_before_anyone_looks_are_kept() {
    let plane = DataPlane::start().unwrap();
    let mut pair = pair_unopened(&plane).await;
    // Not waiting for the channel: sending does.
    for number in 0..100 {
        pair.near.send_text(&number.to_string()).await.unwrap();
    }
    soon("acknowledged", pair.near.drained()).await.unwrap();
    let far = next_channel(&mut pair.answerer_events).await;
    // Open since long before, and nothing of it was seen by us.
    soon("open", far.opened()).await.unwrap();
    assert!(far.is_open());
    for number in 0..100 {
        assert_eq!(recv(&far).await, text(&number.to_string()));
    }
}

#[tokio::test]
async fn the_answerer_may_send_as_soon_as_it_sees_the_channel() {
    let plane = DataPlane::start().unwrap();
    let mut pair = pair_unopened(&plane).await;
    let far = next_channel(&mut pair.answerer_events).await;
    for number in 0..100 {
        far.send_text(&number.to_string()).await.unwrap();
    }
    for number in 0..100 {
        assert_eq!(recv(&pair.near).await, text(&number.to_string()));
    }
}

/// Sends 64 MiB to a peer that does not read. The sender must come to a halt within what the buffers hold; then
/// everything must arrive as it was sent.
async fn bulk(sender: Channel, receiver: &Channel) {
    const MESSAGES: usize = 1024;
    // Send buffer 4 MiB, window 4 MiB, and twice 256 messages that the stack keeps for its reader.
    const BOUND: usize = 768;
    let (sent, mut progress) = tokio::sync::watch::channel(0);
    let sending = tokio::spawn(async move {
        let mut hash = blake3::Hasher::new();
        for number in 0..MESSAGES {
            let data = chunk(number);
            hash.update(&data);
            sender.send_binary(data).await.unwrap();
            sent.send_replace(number + 1);
        }
        soon("acknowledged", sender.drained()).await.unwrap();
        assert_eq!(sender.buffered_amount().await, 0);
        hash.finalize()
    });
    // A whole second without progress is a halt.
    while let Ok(changed) = tokio::time::timeout(Duration::from_secs(1), progress.changed()).await {
        changed.unwrap();
        assert!(
            *progress.borrow() < BOUND,
            "the sender does not wait for the reader"
        );
    }
    let mut hash = blake3::Hasher::new();
    for number in 0..MESSAGES {
        let data = recv_binary(receiver).await;
        assert!(data == chunk(number), "message {number}");
        hash.update(&data);
        let ahead = *progress.borrow() - number;
        assert!(ahead <= BOUND, "{ahead} messages ahead of the reader");
    }
    let expected = soon("the sender's end", sending).await.unwrap();
    assert_eq!(hash.finalize(), expected);
}

#[tokio::test]
async fn bulk_arrives_whole_both_ways_and_a_slow_reader_holds_the_sender() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    bulk(pair.near.clone(), &pair.far).await;
    bulk(pair.far.clone(), &pair.near).await;
}

#[tokio::test]
async fn the_largest_message_passes_and_a_larger_one_is_refused() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    let largest = Bytes::from(vec![7; MAX_MESSAGE_BYTES]);
    pair.near.send_binary(largest.clone()).await.unwrap();
    assert!(recv_binary(&pair.far).await == largest);
    let larger = MAX_MESSAGE_BYTES + 1;
    assert_eq!(
        pair.near.send_binary(Bytes::from(vec![7; larger])).await,
        Err(RtcError::TooLarge(larger))
    );
    assert_eq!(
        pair.near.send_text(&"x".repeat(larger)).await,
        Err(RtcError::TooLarge(larger))
    );
    pair.near.send_text("still open").await.unwrap();
    assert_eq!(recv(&pair.far).await, text("still open"));
}

#[tokio::test]
async fn connections_do_not_mix() {
    let plane = DataPlane::start().unwrap();
    let (one, two) = tokio::join!(pair(&plane), pair(&plane));
    for number in 0..50 {
        one.near.send_text(&format!("one {number}")).await.unwrap();
        two.near.send_text(&format!("two {number}")).await.unwrap();
    }
    for number in 0..50 {
        assert_eq!(recv(&one.far).await, text(&format!("one {number}")));
        assert_eq!(recv(&two.far).await, text(&format!("two {number}")));
    }
    one.offerer.close().await;
    soon("closed", one.far.closed()).await;
    two.far.send_text("unharmed").await.unwrap();
    assert_eq!(recv(&two.near).await, text("unharmed"));
}
