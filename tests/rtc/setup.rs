//! How connections and channels come up, how many there may be, and how giving up is told.

use std::time::Duration;

use loaner::rtc::{Connection, DataPlane, MAX_CHANNELS, RtcConfig, RtcError};

use crate::pair::{SOON, next_channel, pair, recv, soon, text};

#[tokio::test]
async fn setup_does_not_idle() {
    let plane = DataPlane::start().unwrap();
    let mut best = SOON;
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let pair = pair(&plane).await;
        best = best.min(start.elapsed());
        pair.offerer.close().await;
    }
    // With the stack's own timers it takes 600 ms, each time.
    assert!(best < Duration::from_millis(300), "{best:?}");
}

#[tokio::test]
async fn a_peer_cannot_create_channels_without_end() {
    let plane = DataPlane::start().unwrap();
    let mut pair = pair(&plane).await;
    let mut more = Vec::new();
    for number in 1..MAX_CHANNELS {
        more.push(
            pair.offerer
                .create_channel(&number.to_string())
                .await
                .unwrap(),
        );
    }
    let mut theirs = Vec::new();
    for _ in 1..MAX_CHANNELS {
        theirs.push(next_channel(&mut pair.answerer_events).await);
    }
    let refused = pair.offerer.create_channel("too many").await.unwrap();
    soon("refused", refused.closed()).await;
    for channel in theirs.iter().chain(&more) {
        soon("open", channel.opened()).await.unwrap();
    }
    // One that is gone makes room.
    let gone = theirs.pop().unwrap();
    let ours = more.iter().find(|channel| channel.label() == gone.label());
    drop(gone);
    soon("closed", ours.unwrap().closed()).await;
    let another = pair.offerer.create_channel("another").await.unwrap();
    let theirs = next_channel(&mut pair.answerer_events).await;
    assert_eq!(theirs.label(), "another");
    another.send_text("x").await.unwrap();
    assert_eq!(recv(&theirs).await, text("x"));
}

#[tokio::test]
async fn opening_fails_when_the_connection_closes_first() {
    let plane = DataPlane::start().unwrap();
    let (connection, _events) = Connection::open(&plane, &RtcConfig::default())
        .await
        .unwrap();
    let channel = connection.create_channel("never").await.unwrap();
    let opened = tokio::spawn({
        let channel = channel.clone();
        async move { channel.opened().await }
    });
    connection.offer().await.unwrap();
    connection.close().await;
    assert_eq!(soon("an end", opened).await.unwrap(), Err(RtcError::Closed));
    assert_eq!(channel.opened().await, Err(RtcError::Closed));
    assert_eq!(channel.send_text("x").await, Err(RtcError::Closed));
    assert_eq!(recv(&channel).await, None);
    assert!(connection.offer().await.is_err());
    assert!(connection.create_channel("late").await.is_err());
}

#[tokio::test]
async fn opening_fails_when_the_peer_never_comes() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig {
        setup: Duration::from_millis(200),
        ..RtcConfig::default()
    };
    let (offerer, _events) = Connection::open(&plane, &config).await.unwrap();
    let (answerer, _events) = Connection::open(&plane, &config).await.unwrap();
    let channel = offerer.create_channel("never").await.unwrap();
    let answer = answerer
        .answer(&offerer.offer().await.unwrap())
        .await
        .unwrap();
    answerer.close().await;
    offerer.accept_answer(&answer).await.unwrap();
    assert_eq!(
        soon("giving up", channel.opened()).await,
        Err(RtcError::Setup(config.setup))
    );
}

#[tokio::test]
async fn a_channel_may_be_created_long_after_setup() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig {
        setup: Duration::from_secs(1),
        ..RtcConfig::default()
    };
    let (offerer, _events) = Connection::open(&plane, &config).await.unwrap();
    let (answerer, mut events) = Connection::open(&plane, &config).await.unwrap();
    let _first = offerer.create_channel("first").await.unwrap();
    let answer = answerer
        .answer(&offerer.offer().await.unwrap())
        .await
        .unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    let negotiated = std::time::Instant::now();
    let _first = next_channel(&mut events).await;
    // Let the time for setup pass.
    while negotiated.elapsed() <= config.setup {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let late = offerer.create_channel("late").await.unwrap();
    assert_eq!(soon("open", late.opened()).await, Ok(()));
}
