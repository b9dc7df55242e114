//! Ends that do not keep to the rules.

use proptest::prelude::*;

use super::*;

/// A frame for a connection to a port here.
pub(super) fn open(stream: StreamId, port: u16) -> Frame {
    Frame::Open {
        stream,
        credit: 1000,
        host: "localhost".to_owned(),
        port,
    }
}

fn data(stream: StreamId, bytes: usize) -> Frame {
    Frame::Data {
        stream,
        bytes: vec![0; bytes].into(),
    }
}

/// The goodbye of an end that was wronged; what else it says is passed over.
async fn told(line: &Line) -> Reset {
    let frame = line
        .hear_where(|frame| matches!(frame, Frame::Goodbye(_)))
        .await;
    match frame {
        Frame::Goodbye(reset) => reset,
        other => panic!("{other:?}"),
    }
}

/// A client that breaks a rule is told which, and its tunnel is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_a_tunnel_whose_client_breaks_the_rules() {
    let (_silent, port) = listener().await;
    // More than the socket of the place and all windows take, of which none is read.
    let mut beyond = vec![open(1, port)];
    beyond.extend((0..(32 << 20) / MAX_DATA).map(|_| data(1, MAX_DATA)));
    let opened = || open(1, port);
    for (frames, rule) in [
        (beyond, "more bytes came than were granted"),
        (vec![data(1, 1)], "a stream that never was"),
        (vec![opened(), data(2, 1)], "a stream that never was"),
        (vec![opened(), opened()], "used twice"),
        (vec![open(7, port), open(6, port)], "used twice"),
        (
            vec![
                opened(),
                Frame::Credit {
                    stream: 1,
                    bytes: u32::MAX,
                },
            ],
            "more was granted than anybody has room for",
        ),
        (
            vec![opened(), Frame::Finish { stream: 1 }, data(1, 1)],
            "behind the end",
        ),
        (
            vec![
                opened(),
                Frame::Finish { stream: 1 },
                Frame::Finish { stream: 1 },
            ],
            "behind the end",
        ),
        (
            vec![
                opened(),
                Frame::Opened {
                    stream: 1,
                    credit: 1,
                },
            ],
            "a client answers nothing",
        ),
        (
            vec![Frame::Allowed { stream: 1 }],
            "a client answers nothing",
        ),
    ] {
        let (client, line) = line(64);
        let (served, _ending) = worker(line, everything_here());
        let saying = async {
            for frame in frames {
                if client.send(frame.encode()).await.is_err() {
                    break;
                }
            }
        };
        let reset = tokio::select! {
            reset = told(&client) => reset,
            never = async { saying.await; std::future::pending().await } => never,
        };
        assert_eq!(reset.reason, Reason::Protocol);
        assert!(reset.words.contains(rule), "{reset} for {rule}");
        drop(client);
        assert_eq!(
            timeout(PATIENCE, served).await.unwrap().unwrap().reason,
            Reason::Protocol
        );
    }
    for message in [
        Incoming::Text("{}".to_owned()),
        Incoming::Binary(Bytes::from_static(b"garbage")),
    ] {
        let (client, line) = line(64);
        let (_served, _ending) = worker(line, everything_here());
        client.send.send(message).await.unwrap();
        assert_eq!(told(&client).await.reason, Reason::Protocol);
    }
}

/// The same of a worker. On one thread, so that frames which belong together are heard before whoever asked gives up.
#[tokio::test]
async fn a_client_ends_a_tunnel_whose_worker_breaks_the_rules() {
    for (frames, rule) in [
        (vec![open(2, 1)], "only a client opens streams"),
        (vec![data(2, 1)], "a stream that never was"),
        (
            vec![
                Frame::Opened {
                    stream: 1,
                    credit: 1,
                },
                Frame::Opened {
                    stream: 1,
                    credit: 1,
                },
            ],
            "answered",
        ),
        (
            vec![Frame::Opened {
                stream: 1,
                credit: u32::MAX,
            }],
            "more was granted",
        ),
        (
            (0..=FIRST_WINDOW as usize / MAX_DATA)
                .map(|_| data(1, MAX_DATA))
                .collect(),
            "more bytes came",
        ),
    ] {
        let (here, there) = line(64);
        let tunnel = Tunnel::new(here, Arc::default());
        let listening = tunnel.clone();
        let heard = tokio::spawn(async move { listening.listen().await });
        let asking = tunnel.clone();
        let asked = tokio::spawn(async move { asking.ask(&"1:2".parse().unwrap()).await });
        assert!(matches!(there.hear().await, Frame::Ask { stream: 1, .. }));
        for frame in frames {
            there.say(frame).await;
        }
        let reset = told(&there).await;
        assert!(reset.words.contains(rule), "{reset} for {rule}");
        drop(there);
        assert_eq!(
            timeout(PATIENCE, heard).await.unwrap().unwrap().reason,
            Reason::Protocol
        );
        // Whoever waited is not left waiting; the first answer may have been in time.
        let asked = timeout(PATIENCE, asked).await.unwrap().unwrap();
        assert!(asked.is_ok() || asked.unwrap_err().reason == Reason::Protocol);
    }
}

/// A flood of streams: as many as there may be are opened, each further one is refused, and the others live on.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_streams_is_refused_and_the_first_live_on() {
    let (target, port) = listener().await;
    let (client, line) = line(2000);
    let (_served, _ending) = worker(line, everything_here());
    let accepting = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((tcp, _)) = target.accept().await {
            all.push(tcp);
        }
    });
    let (mut opened, mut refused) = (0, 0);
    let mut said = 0;
    while opened + refused < 600 {
        if said < 600 {
            said += 1;
            client.say(open(said, port)).await;
            if said < 600 {
                continue;
            }
        }
        match client.hear().await {
            Frame::Opened { .. } => opened += 1,
            Frame::Reset { reset, .. } => {
                assert_eq!(reset.reason, Reason::Busy, "{reset}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((opened, refused), (MAX_STREAMS, 600 - MAX_STREAMS));
    // Room that becomes free can be used.
    client
        .say(Frame::Reset {
            stream: 1,
            reset: Reset::new(Reason::Reset, ""),
        })
        .await;
    let mut next = 601;
    loop {
        client.say(open(next, port)).await;
        match client.hear().await {
            Frame::Opened { stream, .. } => break assert_eq!(stream, next),
            Frame::Reset { .. } => next += 1,
            other => panic!("{other:?}"),
        }
    }
    accepting.abort();
}

/// Pieces of one byte cost no more memory than others: they are put together while they wait.
#[test]
fn small_pieces_are_put_together() {
    let stream = super::super::stream::Stream::new(1);
    for _ in 0..FIRST_WINDOW {
        stream.data(Bytes::from_static(b"x")).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let first = runtime.block_on(stream.take()).unwrap();
    assert!(first.len() >= MAX_DATA - 1, "{}", first.len());
}

/// The next frame for which something holds; nothing where none comes any more.
async fn until(line: &Line, holds: impl Fn(&Frame) -> bool) -> Option<Frame> {
    loop {
        let Some(Incoming::Binary(message)) = timeout(PATIENCE, line.recv()).await.unwrap() else {
            return None;
        };
        let frame = Frame::decode(message).unwrap();
        if holds(&frame) {
            return Some(frame);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// No sequence of frames makes a worker panic or hang, in any of its tasks: it serves on, or ends with a reason.
    #[test]
    fn any_frames_are_survived(frames in proptest::collection::vec((0_u8..36, 1_u32..6, 0_usize..3000), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (_silent, port) = listener().await;
            let (client, line) = line(1000);
            let (served, ending) = worker(line, everything_here());
            // Bytes go to connections that are there, and not to such as are given up before.
            let mut last = 3;
            for stream in 1..=last {
                client.say(open(stream, port)).await;
                until(&client, |frame| matches!(frame, Frame::Opened { .. })).await.unwrap();
            }
            for (kind, stream, size) in frames {
                let credit = size as u32 + 1;
                // Most of them open a stream that was not there, or are for one that was: who breaks a rule is not heard any more.
                if kind < 10 {
                    last += 1;
                }
                let new = last;
                let stream = if size < 50 { stream } else { stream.min(last) };
                let frame = match kind {
                    0..=6 => open(new, port),
                    7..=9 => Frame::Ask { stream: new, host: "localhost".to_owned(), port },
                    10..=17 => data(stream, size.max(1)),
                    18..=22 => Frame::Credit { stream, bytes: credit },
                    23..=25 => Frame::Finish { stream },
                    26..=29 => Frame::Reset { stream, reset: Reset::new(Reason::Reset, "") },
                    30 => open(stream, port),
                    31 => Frame::Credit { stream, bytes: u32::MAX - credit },
                    32 => Frame::Opened { stream, credit },
                    33 => Frame::Allowed { stream },
                    34 => Frame::Goodbye(Reset::new(Reason::Idle, "")),
                    _ => continue,
                };
                if client.send(frame.encode()).await.is_err() {
                    break;
                }
            }
            // All of them are heard when this one is answered; or it has ended already.
            last += 1;
            let _ = client.send(Frame::Ask { stream: last, host: "localhost".to_owned(), port }.encode()).await;
            let is_heard = |frame: &Frame| matches!(frame, Frame::Allowed { stream } if *stream == last);
            let is_over = |frame: &Frame| matches!(frame, Frame::Goodbye(_));
            // A client that has said goodbye is told none.
            let heard = until(&client, |frame| is_heard(frame) || is_over(frame)).await;
            if heard.is_some_and(|frame| is_heard(&frame)) {
                ending.send(Reset::new(Reason::ShutDown, "enough")).unwrap();
                until(&client, is_over).await;
            }
            drop(client);
            let reset = timeout(PATIENCE, served).await.unwrap().unwrap();
            assert!([Reason::ShutDown, Reason::Protocol, Reason::Idle].contains(&reset.reason), "{reset}");
        });
    }
}
