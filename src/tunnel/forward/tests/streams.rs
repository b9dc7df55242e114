//! What goes through a tunnel.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::hostile::open;
use super::*;

/// Bytes that are not alike.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// Both directions at once, and their ends one after the other: a side that has finished still gets everything.
#[tokio::test(flavor = "multi_thread")]
async fn both_directions_go_on_until_each_has_finished() {
    let pair = Pair::new(everything_here());
    let (target, port) = listener().await;
    let (program, carried) = pair.connect(port).await;
    let (at_target, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
    let (up, down) = (noise(5 << 20, 1), noise(7 << 20, 2));
    let (mut program_in, mut program_out) = program.into_split();
    let (mut target_in, mut target_out) = at_target.into_split();
    let (sent, wanted) = (up.clone(), down.clone());
    let program = tokio::spawn(async move {
        program_out.write_all(&sent).await.unwrap();
        program_out.shutdown().await.unwrap();
        let mut got = Vec::new();
        program_in.read_to_end(&mut got).await.unwrap();
        assert!(got == wanted, "{} bytes came back", got.len());
    });
    // The target answers only when it has everything, as a program does that reads to the end.
    let mut got = Vec::new();
    timeout(PATIENCE, target_in.read_to_end(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert!(got == up, "{} bytes arrived", got.len());
    target_out.write_all(&down).await.unwrap();
    target_out.shutdown().await.unwrap();
    timeout(PATIENCE, program).await.unwrap().unwrap();
    let passed = timeout(PATIENCE, carried).await.unwrap().unwrap();
    assert_eq!(
        passed,
        Passed {
            sent: 5 << 20,
            received: 7 << 20,
            reset: None
        }
    );
    assert_eq!(
        (
            pair.counts.opened(),
            pair.counts.sent(),
            pair.counts.received()
        ),
        (1, 5 << 20, 7 << 20)
    );
    assert_eq!(pair.tunnel.live(), 0);
}

/// The other way round: the target finishes first, and still gets what the program sends after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_finishes_first_still_gets_everything() {
    let pair = Pair::new(everything_here());
    let (target, port) = listener().await;
    let (mut program, carried) = pair.connect(port).await;
    let (mut at_target, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
    at_target.write_all(b"that is all").await.unwrap();
    at_target.shutdown().await.unwrap();
    let mut got = String::new();
    timeout(PATIENCE, program.read_to_string(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(got, "that is all");
    program.write_all(b"not from here").await.unwrap();
    program.shutdown().await.unwrap();
    got.clear();
    timeout(PATIENCE, at_target.read_to_string(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(got, "not from here");
    assert_eq!(
        timeout(PATIENCE, carried).await.unwrap().unwrap().reset,
        None
    );
}

/// A connection that breaks at one end breaks at the other, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_broken_at_the_other_end() {
    let pair = Pair::new(everything_here());
    let (target, port) = listener().await;
    let (mut program, carried) = pair.connect(port).await;
    let (mut at_target, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
    // It is there, and not only on its way.
    program.write_all(b"x").await.unwrap();
    timeout(PATIENCE, at_target.read_u8())
        .await
        .unwrap()
        .unwrap();
    socket2::SockRef::from(&at_target)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(at_target);
    let error = timeout(PATIENCE, program.read_u8())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let passed = timeout(PATIENCE, carried).await.unwrap().unwrap();
    let reset = passed.reset.unwrap();
    assert_eq!(
        (reset.reason, reset.words.as_str()),
        (Reason::Reset, "the connection was reset at the worker")
    );
}

/// What is not connected is told with its reason, and the program's connection is reset.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_connected_says_why() {
    let (closed, port) = listener().await;
    drop(closed);
    let named = |text: &str| Pattern::try_from(text.to_owned()).unwrap();
    let patterns = vec![
        named(&format!("127.0.0.1:{port}")),
        named("nowhere.invalid:1"),
    ];
    let pair = Pair::new(AllowList::new(patterns, "not allowed are tunnels to"));
    let other = port.wrapping_add(1).max(1);
    for (forward, reason, words) in [
        (
            format!("1:localhost:{port}"),
            Reason::Refused,
            format!("nothing listens on localhost:{port}"),
        ),
        (
            format!("1:127.0.0.1:{other}"),
            Reason::Denied,
            format!("[[tunnel]] to = [\"127.0.0.1:{other}\"]"),
        ),
        (
            format!("1:[::1]:{port}"),
            Reason::Denied,
            format!("not allowed are tunnels to [::1]:{port}"),
        ),
        (
            format!("1:elsewhere.invalid:{other}"),
            Reason::Denied,
            format!("to = [\"elsewhere.invalid:{other}\"]"),
        ),
        // It may be there or not: who may not connect does not learn it.
        (
            format!("1:elsewhere.invalid:{port}"),
            Reason::Denied,
            format!("to = [\"elsewhere.invalid:{port}\"]"),
        ),
        (
            "1:nowhere.invalid:1".to_owned(),
            Reason::NotFound,
            "the worker finds no host named nowhere.invalid".to_owned(),
        ),
    ] {
        let (mut program, carried) = pair.connect_to(&forward).await;
        let reset = timeout(PATIENCE, carried)
            .await
            .unwrap()
            .unwrap()
            .reset
            .unwrap();
        assert_eq!(reset.reason, reason, "{forward}: {reset}");
        assert!(reset.words.contains(&words), "{forward}: {reset}");
        let error = timeout(PATIENCE, program.read_u8())
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{forward}");
        // Who asks first hears of what is denied, and of nothing else.
        let asked = pair.tunnel.ask(&forward.parse().unwrap()).await;
        assert_eq!(
            asked.is_err(),
            reason == Reason::Denied,
            "{forward}: {asked:?}"
        );
    }
    assert_eq!(pair.tunnel.live(), 0);
}

/// The worker ends a tunnel with a reason; every one of its streams is reset with it, and no further one begins.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_told_to_every_stream() {
    let pair = Pair::new(everything_here());
    let (target, port) = listener().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let (program, carried) = pair.connect(port).await;
        let (at_target, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
        streams.push((program, at_target, carried));
    }
    pair.ending
        .send(Reset::new(Reason::ShutDown, "bye"))
        .unwrap();
    for end in [pair.heard, pair.served] {
        let reset = timeout(PATIENCE, end).await.unwrap().unwrap();
        assert_eq!(
            (reset.reason, reset.words.as_str()),
            (Reason::ShutDown, "bye")
        );
    }
    for (program, at_target, carried) in streams {
        let passed = timeout(PATIENCE, carried).await.unwrap().unwrap();
        assert_eq!(passed.reset.unwrap().reason, Reason::ShutDown);
        for end in [program, at_target] {
            is_broken(end).await;
        }
    }
    let late = pair.tunnel.ask(&"1:2".parse().unwrap()).await;
    assert_eq!(late.unwrap_err().reason, Reason::ShutDown);
}

/// A connection ends as broken, and not as if all had come.
async fn is_broken(mut end: TcpStream) {
    let read = timeout(PATIENCE, end.read_u8()).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// Whoever could have ended a tunnel is gone, and frames still wait to be heard: the tunnel ends as lost, and its streams are
/// reset.
#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_without_its_owner_ends_in_order() {
    let (target, port) = listener().await;
    let (client, line) = line(64);
    let (served, ending) = worker(line, everything_here());
    client.say(open(1, port)).await;
    let (at_target, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
    client
        .hear_where(|frame| matches!(frame, Frame::Opened { .. }))
        .await;
    for _ in 0..64 {
        client
            .say(Frame::Credit {
                stream: 1,
                bytes: 1,
            })
            .await;
    }
    drop(ending);
    let goodbye = client
        .hear_where(|frame| matches!(frame, Frame::Goodbye(_)))
        .await;
    assert!(
        matches!(&goodbye, Frame::Goodbye(reset) if reset.reason == Reason::Lost),
        "{goodbye:?}"
    );
    is_broken(at_target).await;
    drop(client);
    let reset = timeout(PATIENCE, served).await.unwrap().unwrap();
    assert_eq!(reset.reason, Reason::Lost);
}

/// A connection that comes when the tunnel is over is given back: it may wait for the next tunnel.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_comes_too_late_is_given_back() {
    let pair = Pair::new(everything_here());
    pair.ending
        .send(Reset::new(Reason::ShutDown, "bye"))
        .unwrap();
    timeout(PATIENCE, pair.heard).await.unwrap().unwrap();
    assert!(pair.tunnel.is_over());
    let (mut program, accepted) = sockets().await;
    let forward = "1:2".parse().unwrap();
    let carried = pair.tunnel.carry(accepted, &forward, || {}).await;
    let (mut back, reset) = carried.unwrap_err();
    assert_eq!(reset.reason, Reason::ShutDown);
    back.write_all(b"x").await.unwrap();
    let read = timeout(PATIENCE, program.read_u8()).await.unwrap();
    assert_eq!(read.unwrap(), b'x');
}

/// A tunnel without streams ends after its time, and not while there is one, though nothing goes through it.
#[tokio::test]
async fn a_tunnel_that_nobody_uses_ends() {
    let (target, port) = listener().await;
    let (client, line) = line(16);
    let (served, _ending) = worker(line, everything_here());
    client.say(open(1, port)).await;
    let (_at_target, _) = timeout(PATIENCE, target.accept()).await.unwrap().unwrap();
    client
        .hear_where(|frame| matches!(frame, Frame::Opened { .. }))
        .await;
    tokio::time::pause();
    tokio::select! {
        biased;
        said = client.recv() => panic!("{said:?}"),
        () = tokio::time::sleep(IDLE * 2) => {}
    }
    let began = tokio::time::Instant::now();
    let reset = Reset::new(Reason::Reset, "");
    client.say(Frame::Reset { stream: 1, reset }).await;
    let end = match client.recv().await {
        Some(Incoming::Binary(message)) => Frame::decode(message).unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(&end, Frame::Goodbye(reset) if reset.reason == Reason::Idle),
        "{end:?}"
    );
    assert!(began.elapsed() >= IDLE);
    drop(client);
    assert_eq!(served.await.unwrap().reason, Reason::Idle);
}

/// A tunnel whose carrier is gone resets its stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_carrier_resets_what_is_open() {
    let (here, there) = line(16);
    let tunnel = Tunnel::new(here, Arc::default());
    let listening = tunnel.clone();
    let heard = tokio::spawn(async move { listening.listen().await });
    let (mut program, accepted) = sockets().await;
    let opening = tunnel.clone();
    let carried = tokio::spawn(async move {
        let forward = "1:2".parse().unwrap();
        opening.carry(accepted, &forward, || {}).await.unwrap()
    });
    assert!(matches!(
        there.hear().await,
        Frame::Open {
            stream: 1,
            port: 2,
            ..
        }
    ));
    there
        .say(Frame::Opened {
            stream: 1,
            credit: 100,
        })
        .await;
    program.write_all(b"x").await.unwrap();
    there.hear().await;
    drop(there);
    assert_eq!(
        timeout(PATIENCE, heard).await.unwrap().unwrap().reason,
        Reason::Lost
    );
    let passed = timeout(PATIENCE, carried).await.unwrap().unwrap();
    assert_eq!(passed.reset.unwrap().reason, Reason::Lost);
    assert!(timeout(PATIENCE, program.read_u8()).await.unwrap().is_err());
}
