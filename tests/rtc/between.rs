//! What goes over the wire, seen from between the two.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use loaner::rtc::{Channel, Connection, DataPlane, RtcConfig};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::pair::{next_channel, recv_binary, soon};

/// Stands between two peers, and passes on what each sends, unless it is told to hold it back.
struct Between {
    /// Where the answerer sends to, and where the offerer does.
    for_answerer: SocketAddr,
    for_offerer: SocketAddr,
    /// The largest packet of the answerer's.
    largest: Arc<AtomicUsize>,
    held: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Between {
    async fn new(offerer: SocketAddr) -> Between {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let (for_answerer, for_offerer) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        let (largest, held) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (answerer_in, answerer) = tokio::sync::watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let (near, far) = (near.clone(), far.clone());
            let (largest, held) = (largest.clone(), held.clone());
            async move {
                let mut packet = [0; 65536];
                while let Ok((length, from)) = near.recv_from(&mut packet).await {
                    largest.fetch_max(length, Ordering::Relaxed);
                    answerer_in.send_replace(Some(from));
                    if !held.load(Ordering::Relaxed) {
                        let _ = far.send_to(&packet[..length], offerer).await;
                    }
                }
            }
        });
        tasks.spawn({
            let held = held.clone();
            async move {
                let mut packet = [0; 65536];
                while let Ok((length, _)) = far.recv_from(&mut packet).await {
                    let answerer = *answerer.borrow();
                    if let Some(answerer) = answerer
                        && !held.load(Ordering::Relaxed)
                    {
                        let _ = near.send_to(&packet[..length], answerer).await;
                    }
                }
            }
        });
        Between {
            for_answerer,
            for_offerer,
            largest,
            held,
            _tasks: tasks,
        }
    }
}

/// The address of the loopback candidate in a description.
fn loopback(sdp: &str) -> SocketAddr {
    let fields: Vec<_> = sdp
        .lines()
        .filter(|line| line.starts_with("a=candidate:"))
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields[4] == "127.0.0.1")
        .unwrap();
    SocketAddr::new(fields[4].parse().unwrap(), fields[5].parse().unwrap())
}

/// A description with this address only, and without the lines that begin so.
fn moved(sdp: &str, to: SocketAddr, without: &str) -> String {
    let kept = sdp.lines().filter(|line| {
        !line.starts_with("a=candidate:") && (without.is_empty() || !line.starts_with(without))
    });
    let mut moved: String = kept.map(|line| format!("{line}\r\n")).collect();
    let (ip, port) = (to.ip(), to.port());
    moved.push_str(&format!(
        "a=candidate:1 1 udp 2130706431 {ip} {port} typ host\r\n"
    ));
    moved
}

/// Two connections with somebody in between, and the answerer's end of an open channel.
struct Watched {
    offerer: Connection,
    answerer: Connection,
    near: Channel,
    far: Channel,
    between: Between,
}

async fn watched(plane: &DataPlane, known: bool, without: &str) -> Watched {
    let config = RtcConfig::default();
    let (offerer, _offerer_events) = Connection::open(plane, &config).await.unwrap();
    let near = offerer.create_channel("c").await.unwrap();
    let offer = offerer.offer().await.unwrap();
    let between = Between::new(loopback(&offer)).await;
    let offer = moved(&offer, between.for_answerer, without);
    let opened = if known {
        Connection::open_for(plane, &config, &offer).await
    } else {
        Connection::open(plane, &config).await
    };
    let (answerer, mut events) = opened.unwrap();
    let answer = answerer.answer(&offer).await.unwrap();
    let answer = moved(&answer, between.for_offerer, "");
    offerer.accept_answer(&answer).await.unwrap();
    let far = next_channel(&mut events).await;
    soon("open", far.opened()).await.unwrap();
    Watched {
        offerer,
        answerer,
        near,
        far,
        between,
    }
}

/// On a network of our own, whoever answers sends packets as large as it takes; else they are as small as any path takes.
#[tokio::test]
async fn packets_are_as_large_as_a_network_of_ours_takes() {
    let plane = DataPlane::start().unwrap();
    for (known, sizes) in [(true, 1400..=1472), (false, 1000..=1252)] {
        let watched = watched(&plane, known, "").await;
        for _ in 0..8 {
            watched
                .far
                .send_binary(Bytes::from(vec![1; 65536]))
                .await
                .unwrap();
            assert_eq!(recv_binary(&watched.near).await.len(), 65536);
        }
        let largest = watched.between.largest.load(Ordering::Relaxed);
        assert!(sizes.contains(&largest), "{known}: {largest} bytes");
        watched.offerer.close().await;
        watched.answerer.close().await;
    }
}

/// To a peer that does not say how much it takes at once, no more is on its way than an ordinary socket holds, however
/// much is to be sent.
#[tokio::test]
async fn little_is_on_its_way_to_a_peer_that_may_have_little_room() {
    let plane = DataPlane::start().unwrap();
    for (without, most) in [("a=x-loaner-burst:", 100_000 + 65536), ("", 4 << 20)] {
        let watched = watched(&plane, true, without).await;
        watched.between.held.store(true, Ordering::Relaxed);
        let far = watched.far.clone();
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let sending = tokio::spawn(async move {
            while far.send_binary(Bytes::from(vec![1; 65536])).await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        // As much as there may be is there when the sender waits: much is on its way, and look after look nothing is added.
        let outstanding = soon("a sender that waits", async {
            let (mut before, mut same) = ((0, 0), 0);
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let outstanding = watched.far.buffered_amount().await;
                let now = (outstanding, sent.load(Ordering::Relaxed));
                same = if now == before { same + 1 } else { 0 };
                before = now;
                if same >= 5 && outstanding * 2 > most {
                    break outstanding;
                }
            }
        })
        .await;
        assert!(outstanding <= most + 65536, "{outstanding} bytes");
        sending.abort();
        watched.offerer.close().await;
        watched.answerer.close().await;
    }
}
