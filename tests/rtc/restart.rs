//! ICE restarts of a connection, and what is refused of their descriptions.

use std::net::SocketAddr;

use loaner::rtc::{CandidateKind, Connection, DataPlane, RtcConfig, RtcError};

use crate::pair::{attribute, chunk, next_channel, pair, recv, recv_binary, soon, text};
use crate::traffic::Traffic;

fn ports(sdp: &str) -> Vec<&str> {
    let candidates = sdp
        .lines()
        .filter(|line| line.starts_with("a=candidate:"))
        .map(|line| line.split(' ').nth(5).unwrap());
    candidates.collect()
}

/// A restart, as its two sides do it; its offer and its answer.
async fn restart(from: &Connection, to: &Connection) -> (String, String) {
    let offer = soon("an offer", from.restart_offer()).await.unwrap();
    let answer = soon("an answer", to.answer(&offer)).await.unwrap();
    soon("taken", from.accept_answer(&answer)).await.unwrap();
    (offer, answer)
}

/// A restart of a connection that is well, by either side and often, does not interrupt what goes through it; both sides have
/// new credentials and new sockets each time, and the certificates of before. No channel is new.
#[tokio::test]
async fn a_restart_of_a_healthy_connection_interrupts_nothing() {
    let plane = DataPlane::start().unwrap();
    let mut pair = pair(&plane).await;
    let ids = (pair.near.id(), pair.far.id());
    let mut traffic = Traffic::start(&plane, &pair);
    traffic.more(20).await;
    let mut before: Option<(String, String)> = None;
    for by_offerer in [true, false, true, false] {
        let (from, to) = if by_offerer {
            (&pair.offerer, &pair.answerer)
        } else {
            (&pair.answerer, &pair.offerer)
        };
        let (offer, answer) = restart(from, to).await;
        for sdp in [&offer, &answer] {
            assert!(sdp.contains("a=end-of-candidates\r\n"), "{sdp}");
            assert!(!ports(sdp).is_empty(), "{sdp}");
        }
        // Who offered is the other one now.
        let (ours, theirs) = if by_offerer {
            (offer, answer)
        } else {
            (answer, offer)
        };
        if let Some((our_last, their_last)) = before {
            for (now, last) in [(&ours, &our_last), (&theirs, &their_last)] {
                for new in ["a=ice-ufrag:", "a=ice-pwd:"] {
                    assert_ne!(attribute(now, new), attribute(last, new));
                }
                assert_eq!(
                    attribute(now, "a=fingerprint:"),
                    attribute(last, "a=fingerprint:")
                );
                let kept = ports(now)
                    .iter()
                    .filter(|port| ports(last).contains(port))
                    .count();
                assert!(kept < ports(now).len(), "{last} {now}");
            }
        }
        before = Some((ours, theirs));
        traffic.more(20).await;
    }
    traffic.end().await;
    assert!(pair.near.is_open() && pair.far.is_open());
    assert_eq!((pair.near.id(), pair.far.id()), ids);
    // The first channel that the answerer is told of besides is one that is made now.
    let late = pair.offerer.create_channel("late").await.unwrap();
    let far = next_channel(&mut pair.answerer_events).await;
    assert_eq!(far.label(), "late");
    late.send_text("x").await.unwrap();
    assert_eq!(recv(&far).await, text("x"));
}

/// An answer that is not for the latest offer is refused, as often as it comes, and so is one that comes twice, or that does
/// not say what it answers. The right one is taken all the same, and data goes on.
#[tokio::test]
async fn a_stale_answer_is_refused() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    let first = pair.offerer.restart_offer().await.unwrap();
    let late = pair.answerer.answer(&first).await.unwrap();
    let second = pair.offerer.restart_offer().await.unwrap();
    let right = pair.answerer.answer(&second).await.unwrap();
    let unnamed: String = right
        .lines()
        .filter(|line| !line.starts_with("a=x-loaner-answers:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    assert_ne!(unnamed, right);
    for stale in [&late, &unnamed, &late] {
        let refused = pair.offerer.accept_answer(stale).await;
        assert_eq!(refused, Err(RtcError::Stale));
    }
    let nonsense = pair.offerer.accept_answer("nonsense").await;
    assert!(matches!(nonsense, Err(RtcError::Description(_))));
    pair.offerer.accept_answer(&right).await.unwrap();
    for again in [&right, &late] {
        let refused = pair.offerer.accept_answer(again).await;
        assert_eq!(refused, Err(RtcError::Stale));
    }
    // Nor is one taken by the side that has offered nothing.
    let unasked = pair.answerer.accept_answer(&right).await;
    assert_eq!(unasked, Err(RtcError::Stale));
    pair.near.send_binary(chunk(1)).await.unwrap();
    assert_eq!(recv_binary(&pair.far).await, chunk(1));
    pair.far.send_binary(chunk(2)).await.unwrap();
    assert_eq!(recv_binary(&pair.near).await, chunk(2));
    // A refusal leaves the setup of channels as it was.
    let late = pair.offerer.create_channel("late").await.unwrap();
    soon("open", late.opened()).await.unwrap();
}

/// An offer whose answer never comes may be made again, by the same side or by the other.
#[tokio::test]
async fn an_answer_may_never_come() {
    let plane = DataPlane::start().unwrap();
    for same_side in [true, false] {
        let pair = pair(&plane).await;
        let mut traffic = Traffic::start(&plane, &pair);
        traffic.more(5).await;
        let lost = pair.offerer.restart_offer().await.unwrap();
        assert_eq!(pair.offerer.path().await, None);
        let (from, to) = if same_side {
            (&pair.offerer, &pair.answerer)
        } else {
            (&pair.answerer, &pair.offerer)
        };
        let (offer, _) = restart(from, to).await;
        assert_ne!(
            attribute(&lost, "a=ice-ufrag:"),
            attribute(&offer, "a=ice-ufrag:")
        );
        traffic.more(20).await;
        traffic.end().await;
    }
}

/// Restarts that are given up, some half-way, do not stand in the way of the next, nor take its place.
#[tokio::test]
async fn a_restart_may_be_given_up_half_way() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    let mut traffic = Traffic::start(&plane, &pair);
    traffic.more(5).await;
    for polls in 0..10 {
        let mut offer = Box::pin(pair.offerer.restart_offer());
        for _ in 0..polls {
            let polled = futures_util::poll!(&mut offer);
            if polled.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    restart(&pair.offerer, &pair.answerer).await;
    traffic.more(20).await;
    traffic.end().await;
}

/// What the stack leaves behind of a burst is fetched after a restart as before it, though its sockets are others: of a burst
/// with a close behind it, all arrives.
#[tokio::test]
async fn a_burst_arrives_whole_after_a_restart() {
    let plane = DataPlane::start().unwrap();
    for _ in 0..3 {
        let pair = pair(&plane).await;
        restart(&pair.offerer, &pair.answerer).await;
        pair.near.send_text("first").await.unwrap();
        assert_eq!(recv(&pair.far).await, text("first"));
        for number in 0..2000 {
            pair.near.send_text(&number.to_string()).await.unwrap();
        }
        pair.near.close().await;
        for number in 0..2000 {
            assert_eq!(recv(&pair.far).await, text(&number.to_string()));
        }
        assert_eq!(recv(&pair.far).await, None);
    }
}

/// What is no restart is refused: one of a connection that was never made, and an offer that came before.
#[tokio::test]
async fn what_is_no_restart_is_refused() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    let (new, _events) = Connection::open(&plane, &config).await.unwrap();
    let refused = new.restart_offer().await;
    assert!(matches!(refused, Err(RtcError::Restart(_))), "{refused:?}");
    new.create_channel("c").await.unwrap();
    new.offer().await.unwrap();
    let refused = new.restart_offer().await;
    assert!(matches!(refused, Err(RtcError::Restart(_))), "{refused:?}");

    let pair = pair(&plane).await;
    let (offer, _) = restart(&pair.offerer, &pair.answerer).await;
    let again = pair.answerer.answer(&offer).await;
    assert_eq!(again, Err(RtcError::Stale));
    pair.near.send_text("unharmed").await.unwrap();
    assert_eq!(recv(&pair.far).await, text("unharmed"));
    pair.answerer.close().await;
    let closed = pair.answerer.restart_offer().await;
    assert_eq!(closed, Err(RtcError::Closed));
}

/// The side that answered the first offer sends packets as large as the network of the two takes. It refuses a restart that
/// leads elsewhere, whoever offers it.
#[tokio::test]
async fn a_way_for_smaller_packets_is_refused() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    let (offerer, _offerer_events) = Connection::open(&plane, &config).await.unwrap();
    let near = offerer.create_channel("c").await.unwrap();
    let elsewhere = |sdp: &str| {
        let far = "a=candidate:9 1 udp 2130706431 203.0.113.7 5000 typ host\r\n";
        sdp.replace("a=end-of-candidates", &format!("{far}a=end-of-candidates"))
    };
    // Only loopback, which is a network of ours wherever this runs.
    let here = |sdp: &str| -> String {
        let elsewhere =
            |line: &&str| line.starts_with("a=candidate:") && !line.contains(" 127.0.0.1 ");
        let kept = sdp.lines().filter(|line| !elsewhere(line));
        kept.map(|line| format!("{line}\r\n")).collect()
    };
    let offer = here(&offerer.offer().await.unwrap());
    let (answerer, mut events) = Connection::open_for(&plane, &config, &offer).await.unwrap();
    let answer = answerer.answer(&offer).await.unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    let far = next_channel(&mut events).await;
    soon("open", far.opened()).await.unwrap();

    let offer = here(&offerer.restart_offer().await.unwrap());
    let refused = answerer.answer(&elsewhere(&offer)).await;
    assert!(matches!(refused, Err(RtcError::Restart(_))), "{refused:?}");
    let answer = answerer.answer(&offer).await.unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    let offer = answerer.restart_offer().await.unwrap();
    let answer = here(&offerer.answer(&offer).await.unwrap());
    let refused = answerer.accept_answer(&elsewhere(&answer)).await;
    assert!(matches!(refused, Err(RtcError::Restart(_))), "{refused:?}");
    answerer.accept_answer(&answer).await.unwrap();
    near.send_binary(chunk(0)).await.unwrap();
    assert_eq!(recv_binary(&far).await, chunk(0));
}

/// What a person may be told of the way: both ends, by what they are known and where they are, and how long it takes.
#[tokio::test]
async fn the_path_is_that_of_the_stack() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    let (new, _events) = Connection::open(&plane, &config).await.unwrap();
    assert_eq!(new.path().await, None);
    let pair = pair(&plane).await;
    let ours = pair.offerer.path().await.unwrap();
    let theirs = pair.answerer.path().await.unwrap();
    let ends = |local: SocketAddr, remote: SocketAddr| (local.ip(), local.port(), remote.port());
    assert_eq!(
        ends(ours.local.address, ours.remote.address),
        ends(theirs.remote.address, theirs.local.address)
    );
    for path in [ours, theirs] {
        assert!(!path.is_relayed(), "{path:?}");
        assert_eq!(path.local.kind, CandidateKind::Host);
        assert!(path.round_trip.is_some(), "{path:?}");
    }
    pair.offerer.close().await;
    assert_eq!(pair.offerer.path().await, None);
}
