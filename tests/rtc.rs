//! Connections and channels, over real sockets on loopback.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use loaner::rtc::{
    CHUNK_BYTES, Channel, Connection, DataPlane, IceServer, IceState, Incoming, MAX_CHANNELS,
    MAX_MESSAGE_BYTES, RtcConfig, RtcError, RtcEvent,
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

/// Two connections that have exchanged their descriptions.
struct Unopened {
    offerer: Connection,
    offerer_events: mpsc::Receiver<RtcEvent>,
    answerer: Connection,
    answerer_events: mpsc::Receiver<RtcEvent>,
    near: Channel,
}

async fn pair_unopened(plane: &DataPlane) -> Unopened {
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

async fn pair(plane: &DataPlane) -> Pair {
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

async fn recv(channel: &Channel) -> Option<Incoming> {
    soon("a message", channel.recv()).await
}

async fn recv_binary(channel: &Channel) -> Bytes {
    match recv(channel).await {
        Some(Incoming::Binary(data)) => data,
        other => panic!("{other:?} instead of a binary message"),
    }
}

fn text(text: &str) -> Option<Incoming> {
    Some(Incoming::Text(text.to_owned()))
}

/// A message that is different for each number.
fn chunk(number: usize) -> Bytes {
    let mut data = vec![(number % 251) as u8; CHUNK_BYTES];
    data[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Bytes::from(data)
}

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
async fn a_closed_channel_is_closed_for_the_peer_after_what_was_sent() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    for number in 0..200 {
        pair.near.send_text(&number.to_string()).await.unwrap();
    }
    pair.near.close().await;
    soon("closed here", pair.near.closed()).await;
    assert!(!pair.near.is_open());
    assert_eq!(pair.near.send_text("late").await, Err(RtcError::Closed));
    assert_eq!(pair.near.drained().await, Err(RtcError::Closed));
    pair.near.close().await;

    for number in 0..200 {
        assert_eq!(recv(&pair.far).await, text(&number.to_string()));
    }
    assert_eq!(recv(&pair.far).await, None);
    soon("closed there", pair.far.closed()).await;
    assert_eq!(pair.far.send_text("late").await, Err(RtcError::Closed));
    // It was open once, so waiting for that succeeds.
    assert_eq!(pair.far.opened().await, Ok(()));
    // The connection lives on.
    let again = pair.offerer.create_channel("again").await.unwrap();
    soon("open", again.opened()).await.unwrap();
}

#[tokio::test]
async fn a_burst_of_small_messages_arrives_whole_though_the_close_follows() {
    let plane = DataPlane::start().unwrap();
    for whole_connection in [false, true] {
        let pair = pair(&plane).await;
        for number in 0..2000 {
            pair.near.send_text(&number.to_string()).await.unwrap();
        }
        if whole_connection {
            pair.offerer.close().await;
        } else {
            pair.near.close().await;
        }
        for number in 0..2000 {
            assert_eq!(recv(&pair.far).await, text(&number.to_string()));
        }
        assert_eq!(recv(&pair.far).await, None);
    }
}

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
async fn a_closed_connection_ends_everything_on_both_sides() {
    let plane = DataPlane::start().unwrap();
    let mut pair = pair(&plane).await;
    let closing = std::time::Instant::now();
    pair.offerer.close().await;
    pair.offerer.close().await;
    soon("closed here", pair.near.closed()).await;
    soon("closed there", pair.far.closed()).await;
    assert_eq!(recv(&pair.far).await, None);
    assert!(closing.elapsed() < Duration::from_secs(3), "not promptly");
    assert_eq!(pair.near.send_text("late").await, Err(RtcError::Closed));
    assert_eq!(pair.offerer.ice_state(), IceState::Closed);
    let last = soon("the end", async {
        let mut last = None;
        while let Some(event) = pair.offerer_events.recv().await {
            let ended = matches!(event, RtcEvent::Ended);
            last = Some(event);
            if ended {
                break;
            }
        }
        last
    })
    .await;
    assert!(matches!(last, Some(RtcEvent::Ended)), "{last:?}");
    pair.answerer.close().await;
}

#[tokio::test]
async fn a_sender_that_waits_is_released_by_a_close() {
    let plane = DataPlane::start().unwrap();
    for who in ["the peer", "the peer's connection", "we", "our connection"] {
        let pair = pair(&plane).await;
        let sender = pair.near.clone();
        let (sent, mut progress) = tokio::sync::watch::channel(0);
        let sending = tokio::spawn(async move {
            for number in 0.. {
                sender.send_binary(chunk(number)).await?;
                sent.send_replace(number);
            }
            Ok(())
        });
        // Nobody reads; a whole second without progress is a halt.
        while let Ok(changed) =
            tokio::time::timeout(Duration::from_secs(1), progress.changed()).await
        {
            changed.unwrap();
        }
        let released = async {
            let result = soon("the sender's release", sending).await.unwrap();
            assert_eq!(result, Err(RtcError::Closed), "{who}");
            std::time::Instant::now()
        };
        let closed = async {
            match who {
                "the peer" => pair.far.close().await,
                "the peer's connection" => pair.answerer.close().await,
                "we" => pair.near.close().await,
                _ => pair.offerer.close().await,
            }
            std::time::Instant::now()
        };
        let (released, closed) = tokio::join!(released, closed);
        if who == "we" {
            // Closing waits for the peer to take what was sent, the sender does not.
            assert!(released < closed);
        }
    }
}

#[tokio::test]
async fn a_channel_that_nobody_holds_is_closed_for_the_peer() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    drop(pair.far);
    soon("closed", pair.near.closed()).await;
    assert_eq!(recv(&pair.near).await, None);
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
        assert!(channel.is_open(), "{}", channel.label());
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

#[tokio::test]
async fn descriptions_leave_complete() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    let (offerer, _events) = Connection::open(&plane, &config).await.unwrap();
    let (answerer, _events) = Connection::open(&plane, &config).await.unwrap();
    offerer.create_channel("c").await.unwrap();
    let offer = offerer.offer().await.unwrap();
    let answer = answerer.answer(&offer).await.unwrap();
    for sdp in [&offer, &answer] {
        assert!(
            sdp.contains("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"),
            "{sdp}"
        );
        assert!(sdp.contains("a=max-message-size:262144\r\n"), "{sdp}");
        assert!(sdp.contains("a=end-of-candidates\r\n"), "{sdp}");
        assert!(sdp.contains(" 127.0.0.1 "), "{sdp}");
        assert!(!sdp.contains(".local"), "{sdp}");
        let wildcard = |line: &str| line.starts_with("a=candidate") && line.contains(" 0.0.0.0 ");
        assert!(!sdp.lines().any(wildcard), "{sdp}");
    }
}

#[tokio::test]
async fn loopback_can_be_left_out() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig {
        include_loopback: false,
        ..RtcConfig::default()
    };
    let (offerer, _events) = Connection::open(&plane, &config).await.unwrap();
    offerer.create_channel("c").await.unwrap();
    let offer = offerer.offer().await.unwrap();
    // Where there is nothing else, loopback is still better than nothing.
    let others = offer
        .lines()
        .filter(|line| line.starts_with("a=candidate") && !line.contains(" 127.0.0.1 "))
        .count();
    assert_ne!(others > 0, offer.contains(" 127.0.0.1 "), "{offer}");
}

#[tokio::test]
async fn trickled_candidates_are_taken_before_and_after_the_description() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    for early in [true, false] {
        let (offerer, _events) = Connection::open(&plane, &config).await.unwrap();
        let (answerer, _events) = Connection::open(&plane, &config).await.unwrap();
        let channel = offerer.create_channel("c").await.unwrap();
        let offer = offerer.offer().await.unwrap();
        let is_candidate = |line: &&str| line.starts_with("a=candidate");
        let bare: String = offer
            .lines()
            .filter(|line| !is_candidate(line) && *line != "a=end-of-candidates")
            .map(|line| format!("{line}\r\n"))
            .collect();
        let mut trickled: Vec<&str> = offer
            .lines()
            .filter(is_candidate)
            .map(|line| &line["a=".len()..])
            .collect();
        // What browsers send besides.
        trickled.push("");
        trickled.push("candidate:1 1 udp 2113937151 f3a9.local 54400 typ host generation 0");
        trickled.push("candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype passive");
        trickled.push("nonsense");
        // The same unusable ones in the description itself.
        let bare = format!(
            "{bare}a=candidate:1 1 udp 2113937151 f3a9.local 54400 typ host generation 0\r\n\
             a=candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype passive\r\n\
             a=candidate:nonsense\r\n"
        );
        let answer = if early {
            for candidate in &trickled {
                answerer
                    .add_candidate(candidate, Some("0".into()), Some(0))
                    .await
                    .unwrap();
            }
            answerer.answer(&bare).await.unwrap()
        } else {
            let answer = answerer.answer(&bare).await.unwrap();
            for candidate in &trickled {
                answerer.add_candidate(candidate, None, None).await.unwrap();
            }
            answer
        };
        // The offerer learns nothing of the answerer's candidates, so only the trickled ones can connect them.
        let silent: String = answer
            .lines()
            .filter(|line| !is_candidate(line))
            .map(|line| format!("{line}\r\n"))
            .collect();
        offerer.accept_answer(&silent).await.unwrap();
        soon("open", channel.opened()).await.unwrap();
    }
}

#[tokio::test]
async fn an_unusable_description_is_an_error_and_the_connection_can_still_be_closed() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    let (offerer, _events) = Connection::open(&plane, &config).await.unwrap();
    offerer.create_channel("c").await.unwrap();
    let offer = offerer.offer().await.unwrap();
    let long = offer.clone() + &"a=x\r\n".repeat(20_000);
    for sdp in [
        "", "v=0", "nonsense", "{\"type\":\"offer\"}", &long, "m=application 9 x y\r\n",
    ] {
        let (connection, _events) = Connection::open(&plane, &config).await.unwrap();
        let answered = connection.answer(sdp).await;
        assert!(
            matches!(answered, Err(RtcError::Description(_))),
            "{answered:?}"
        );
        let accepted = connection.accept_answer(sdp).await;
        assert!(
            matches!(accepted, Err(RtcError::Description(_))),
            "{accepted:?}"
        );
        connection.close().await;
    }
    // An answer to nothing.
    let (connection, _events) = Connection::open(&plane, &config).await.unwrap();
    let accepted = connection.accept_answer(&offer).await;
    assert!(
        matches!(accepted, Err(RtcError::Description(_))),
        "{accepted:?}"
    );

    // With any one line missing, or cut short, it is taken or refused, and nothing worse.
    let lines: Vec<&str> = offer.lines().collect();
    for missing in 0..lines.len() {
        for cut in [0, lines[missing].len() / 2] {
            let mut damaged = lines.clone();
            damaged[missing] = &lines[missing][..cut];
            damaged.retain(|line| !line.is_empty());
            let damaged = damaged.join("\r\n") + "\r\n";
            let (connection, _events) = Connection::open(&plane, &config).await.unwrap();
            let _ = soon("an answer or an error", connection.answer(&damaged)).await;
            soon("closed", connection.close()).await;
        }
    }
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

#[tokio::test]
async fn a_silent_peer_is_disconnected_and_heals_by_itself() {
    let ours = DataPlane::start().unwrap();
    let theirs = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    let (offerer, mut events) = Connection::open(&ours, &config).await.unwrap();
    let (answerer, mut their_events) = Connection::open(&theirs, &config).await.unwrap();
    let near = offerer.create_channel("c").await.unwrap();
    let answer = answerer
        .answer(&offerer.offer().await.unwrap())
        .await
        .unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    soon("open", near.opened()).await.unwrap();
    let far = next_channel(&mut their_events).await;

    // Freeze the peer: both of its threads wait for us.
    let mut releases = Vec::new();
    for _ in 0..2 {
        let (release, released) = std::sync::mpsc::channel::<()>();
        theirs.spawn(async move { released.recv().unwrap_err() });
        releases.push(release);
    }
    let mut until = async |wanted| {
        soon("a change of ICE", async {
            while !matches!(events.recv().await.unwrap(), RtcEvent::Ice(state) if state == wanted) {
            }
        })
        .await;
    };
    until(IceState::Disconnected).await;
    assert_eq!(offerer.ice_state(), IceState::Disconnected);
    near.send_text("sent into the silence").await.unwrap();
    drop(releases);
    until(IceState::Connected).await;
    assert_eq!(recv(&far).await, text("sent into the silence"));
}

#[test]
fn an_actor_that_blocks_its_thread_does_not_hold_up_a_transfer() {
    let plane = DataPlane::start().unwrap();
    actix_rt::System::new().block_on(async {
        let pair = pair(&plane).await;
        let (near, far) = (pair.near.clone(), pair.far.clone());
        let sender = plane.spawn(async move {
            for number in 0..1024 {
                near.send_binary(chunk(number)).await.unwrap();
            }
        });
        let (done, finished) = std::sync::mpsc::channel();
        let receiver = plane.spawn(async move {
            for number in 0..1024 {
                assert!(recv_binary(&far).await == chunk(number));
            }
            done.send(()).unwrap();
        });
        // Blocks the arbiter's only thread until all has arrived.
        finished.recv_timeout(SOON).unwrap();
        sender.await.unwrap();
        receiver.await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_runtime_with_a_stopped_clock_may_wait_for_it() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    // No time limits of this runtime here: it would skip ahead to them at once.
    let (offerer, _events) = Connection::open(&plane, &config).await.unwrap();
    let (answerer, mut events) = Connection::open(&plane, &config).await.unwrap();
    let near = offerer.create_channel("c").await.unwrap();
    let answer = answerer
        .answer(&offerer.offer().await.unwrap())
        .await
        .unwrap();
    assert!(answer.contains("a=candidate"), "{answer}");
    offerer.accept_answer(&answer).await.unwrap();
    near.send_text("x").await.unwrap();
    near.drained().await.unwrap();
    let far = loop {
        if let RtcEvent::Channel(channel) = events.recv().await.unwrap() {
            break channel;
        }
    };
    assert_eq!(far.recv().await, text("x"));
    near.close().await;
    assert_eq!(far.recv().await, None);
}

#[test]
fn credentials_do_not_show() {
    let server = IceServer {
        urls: vec!["turn:turn.example:3478".into()],
        username: "user".into(),
        credential: "hush".into(),
    };
    assert!(!format!("{server:?}").contains("hush"));
}

#[tokio::test]
async fn the_data_plane_may_go_first() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    // The connections hold it, so it is still there.
    drop(plane);
    pair.near.send_text("held").await.unwrap();
    assert_eq!(recv(&pair.far).await, text("held"));
    let (near, far) = (pair.near.clone(), pair.far.clone());
    drop(pair);
    soon("closed", near.closed()).await;
    soon("closed", far.closed()).await;
    assert_eq!(near.send_text("late").await, Err(RtcError::Closed));
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs alone in a process of its own, started by the test below.
#[test]
#[ignore = "counts the files of the whole process"]
fn alone_nothing_is_left_behind() {
    // The first runtime of a process opens files for signals that stay.
    drop(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap(),
    );
    let before = open_files();
    {
        let plane = DataPlane::start().unwrap();
        let idle = open_files();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let with_runtime = open_files();
        runtime.block_on(async {
            for close in [true, false, true, false] {
                let pair = pair(&plane).await;
                assert!(open_files() > with_runtime);
                pair.near.send_text("x").await.unwrap();
                assert_eq!(recv(&pair.far).await, text("x"));
                if close {
                    pair.offerer.close().await;
                    pair.answerer.close().await;
                }
                drop(pair);
                soon("no tasks and no sockets", async {
                    while plane.handle().metrics().num_alive_tasks() > 0
                        || open_files() > with_runtime
                    {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                })
                .await;
            }
        });
        drop(runtime);
        assert_eq!(open_files(), idle);
    }
    let deadline = std::time::Instant::now() + SOON;
    while open_files() > before {
        assert!(
            std::time::Instant::now() < deadline,
            "the data plane is still there"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_is_left_behind() {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact", "alone_nothing_is_left_behind", "--ignored", "--nocapture",
        ])
        .status()
        .unwrap();
    assert!(status.success());
}
