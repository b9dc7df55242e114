//! Connections and channels, over real sockets on loopback.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use loaner::rtc::{
    CHUNK_BYTES, Channel, Connection, DataPlane, IceState, Incoming, RtcConfig, RtcError, RtcEvent,
};
use tokio::sync::mpsc;

/// A bound for anything that must happen; never a wait by itself.
const SOON: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"))
}

struct Pair {
    offerer: Connection,
    offerer_events: mpsc::Receiver<RtcEvent>,
    answerer: Connection,
    answerer_events: mpsc::Receiver<RtcEvent>,
    /// The offerer's end of the channel, and the answerer's.
    near: Channel,
    far: Channel,
}

async fn next_channel(events: &mut mpsc::Receiver<RtcEvent>) -> Channel {
    soon("the peer's channel", async {
        loop {
            match events.recv().await {
                Some(RtcEvent::Channel(channel)) => return channel,
                Some(RtcEvent::Ice(_)) => {}
                other => panic!("{other:?} before the channel"),
            }
        }
    })
    .await
}

async fn pair(plane: &DataPlane) -> Pair {
    let config = RtcConfig::default();
    let (offerer, offerer_events) = Connection::open(plane, &config).await.unwrap();
    let (answerer, mut answerer_events) = Connection::open(plane, &config).await.unwrap();
    let near = offerer.create_channel("my-data-channel").await.unwrap();
    let offer = offerer.offer().await.unwrap();
    let answer = answerer.answer(&offer).await.unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    soon("open", near.opened()).await.unwrap();
    let far = next_channel(&mut answerer_events).await;
    soon("open", far.opened()).await.unwrap();
    Pair {
        offerer,
        offerer_events,
        answerer,
        answerer_events,
        near,
        far,
    }
}

async fn recv(channel: &Channel) -> Option<Incoming> {
    soon("a message", channel.recv()).await
}

#[tokio::test]
async fn a_channel_opens_with_its_label_and_carries_messages_in_order() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    assert_eq!(pair.far.label(), "my-data-channel");
    for number in 0..500 {
        pair.near.send_text(&number.to_string()).await.unwrap();
    }
    for number in 0..500 {
        assert_eq!(
            recv(&pair.far).await,
            Some(Incoming::Text(number.to_string()))
        );
    }
    pair.far
        .send_binary(Bytes::from_static(b"back"))
        .await
        .unwrap();
    assert_eq!(
        recv(&pair.near).await,
        Some(Incoming::Binary(Bytes::from_static(b"back")))
    );
}
