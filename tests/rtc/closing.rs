//! How channels and connections end, for either side, and for whoever waits meanwhile.

use std::time::Duration;

use loaner::rtc::{DataPlane, IceState, RtcError, RtcEvent};

use crate::pair::{chunk, pair, recv, soon, text};

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
