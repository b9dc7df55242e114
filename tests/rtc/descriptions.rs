//! Descriptions and candidates: what ours say, and what is made of the peer's.

use loaner::rtc::{Connection, DataPlane, IceServer, RtcConfig, RtcError};

use crate::pair::soon;

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

#[test]
fn credentials_do_not_show() {
    let server = IceServer {
        urls: vec!["turn:turn.example:3478".into()],
        username: "user".into(),
        credential: "hush".into(),
    };
    assert!(!format!("{server:?}").contains("hush"));
}
