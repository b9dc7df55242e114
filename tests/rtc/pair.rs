//! Two connections with a channel between them.

use std::time::Duration;

use bytes::Bytes;
use loaner::rtc::{CHUNK_BYTES, Channel, Connection, DataPlane, Incoming, RtcConfig, RtcEvent};
use tokio::sync::mpsc;

/// A bound for anything that must happen; never a wait by itself.
pub const SOON: Duration = Duration::from_secs(30);

/// Waits, and fails when `what` does not come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"))
}

/// Two connections with an open channel.
pub struct Pair {
    pub offerer: Connection,
    pub offerer_events: mpsc::Receiver<RtcEvent>,
    pub answerer: Connection,
    pub answerer_events: mpsc::Receiver<RtcEvent>,
    /// The offerer's end of the channel, and the answerer's.
    pub near: Channel,
    pub far: Channel,
}

/// The next channel of the peer's.
pub async fn next_channel(events: &mut mpsc::Receiver<RtcEvent>) -> Channel {
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

/// Two connections that have exchanged their descriptions.
pub struct Unopened {
    pub offerer: Connection,
    pub offerer_events: mpsc::Receiver<RtcEvent>,
    pub answerer: Connection,
    pub answerer_events: mpsc::Receiver<RtcEvent>,
    pub near: Channel,
}

/// Connects two; their channel is not waited for.
pub async fn pair_unopened(plane: &DataPlane) -> Unopened {
    let config = RtcConfig::default();
    let (offerer, offerer_events) = Connection::open(plane, &config).await.unwrap();
    let (answerer, answerer_events) = Connection::open(plane, &config).await.unwrap();
    let near = offerer.create_channel("my-data-channel").await.unwrap();
    let offer = offerer.offer().await.unwrap();
    let answer = answerer.answer(&offer).await.unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    Unopened {
        offerer,
        offerer_events,
        answerer,
        answerer_events,
        near,
    }
}

/// Connects two, until their channel is open at both ends.
pub async fn pair(plane: &DataPlane) -> Pair {
    let mut unopened = pair_unopened(plane).await;
    soon("open", unopened.near.opened()).await.unwrap();
    let far = next_channel(&mut unopened.answerer_events).await;
    soon("open", far.opened()).await.unwrap();
    Pair {
        offerer: unopened.offerer,
        offerer_events: unopened.offerer_events,
        answerer: unopened.answerer,
        answerer_events: unopened.answerer_events,
        near: unopened.near,
        far,
    }
}

/// The next message.
pub async fn recv(channel: &Channel) -> Option<Incoming> {
    soon("a message", channel.recv()).await
}

/// The next message, which has to be bytes.
pub async fn recv_binary(channel: &Channel) -> Bytes {
    match recv(channel).await {
        Some(Incoming::Binary(data)) => data,
        other => panic!("{other:?} instead of a binary message"),
    }
}

/// A text as it arrives.
pub fn text(text: &str) -> Option<Incoming> {
    Some(Incoming::Text(text.to_owned()))
}

/// A message that is different for each number.
pub fn chunk(number: usize) -> Bytes {
    let mut data = vec![(number % 251) as u8; CHUNK_BYTES];
    data[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Bytes::from(data)
}

/// The value of an attribute in a description.
pub fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let mut values = sdp.lines().filter_map(|line| line.strip_prefix(name));
    values
        .next()
        .unwrap_or_else(|| panic!("no {name} in {sdp}"))
}
