//! TURN servers that never answer.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use loaner::rtc::{Connection, DataPlane, IceServer, RtcConfig, RtcEvent};

use crate::program::{LOANER, Process, without_settings};

/// How long a server has, by the rules of `rtc`.
const LIMIT: Duration = Duration::from_secs(3);

/// A socket that takes everything and says nothing, and its address as a TURN server.
fn silent() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("turn:{}", socket.local_addr().unwrap());
    (socket, url)
}

fn with_server(url: &str, trickle: bool) -> RtcConfig {
    RtcConfig {
        ice_servers: vec![IceServer {
            urls: vec![url.to_owned()],
            username: "7:me".to_owned(),
            credential: "hush".to_owned(),
        }],
        trickle,
        ..RtcConfig::default()
    }
}

/// Connects two peers; how long the offer and the answer took.
async fn meet(url: &str, trickle: bool) -> [Duration; 2] {
    let plane = DataPlane::start().unwrap();
    let (offerer, _events) = Connection::open(&plane, &with_server(url, trickle))
        .await
        .unwrap();
    // What the answerer does depends on the offer alone.
    let (answerer, mut events) = Connection::open(&plane, &with_server(url, false))
        .await
        .unwrap();
    let channel = offerer.create_channel("c").await.unwrap();
    let begun = Instant::now();
    let offer = offerer.offer().await.unwrap();
    let offered = begun.elapsed();
    let answer = answerer.answer(&offer).await.unwrap();
    let answered = begun.elapsed() - offered;
    for sdp in [&offer, &answer] {
        assert!(sdp.contains("typ host"), "{sdp}");
        assert_eq!(sdp.contains("a=end-of-candidates"), !trickle, "{sdp}");
        assert_eq!(sdp.contains("a=ice-options:trickle"), trickle, "{sdp}");
    }
    offerer.accept_answer(&answer).await.unwrap();
    channel.send_text("x").await.unwrap();
    while !matches!(events.recv().await.unwrap(), RtcEvent::Channel(_)) {}
    let why = offerer.without_relay().await.unwrap();
    assert!(
        why.contains(url) && why.contains("does not answer"),
        "{why}"
    );
    [offered, answered]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_no_later_candidates_waits_so_long_and_no_longer() {
    let (_socket, url) = silent();
    for took in meet(&url, false).await {
        assert!(took >= LIMIT && took < 2 * LIMIT, "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_later_candidates_does_not_wait() {
    let (_socket, url) = silent();
    for took in meet(&url, true).await {
        assert!(took < LIMIT / 2, "{took:?}");
    }
}

/// The whole of it, as processes: a server that does not answer costs a direct connection nothing.
#[test]
fn a_job_that_needs_no_relay_does_not_wait_for_one() {
    let (_socket, url) = silent();
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str, prepare: &dyn Fn(&mut Command)| {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", LOANER]);
        command.current_dir(dir.path());
        without_settings(&mut command);
        prepare(&mut command);
        Process::start(name, command)
    };
    let mut hub = start("hub", &|command| {
        command
            .args([
                "hub", "--json", "--listen", "127.0.0.1:0", "--store", "memory",
            ])
            .args(["--turn-server", &url])
            .env("LOANER_TURN_SECRET", "any");
    });
    let address = hub.event("listening")["url"].as_str().unwrap().to_owned();
    let mut worker = start("worker", &|command| {
        command.args(["worker", "--json", "--hub", &address, "--allow-commands"]);
        command.args(["--work-dir", "work"]);
    });
    let session = worker.event("registered")["session"].clone();
    let package = dir.path().join("package");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(
        package.join("loaner.toml"),
        "[job]\nname = \"nothing\"\ncommand = [\"true\"]\noutputs = \".\"\n",
    )
    .unwrap();
    let mut client = start("client", &|command| {
        command
            .args(["run", "--json", "--hub", &address, "--session"])
            .arg(session.as_str().unwrap())
            .arg(Path::new("package"));
    });
    client.event("reserved");
    let begun = Instant::now();
    client.event("connected");
    let took = begun.elapsed();
    assert!(took < LIMIT * 2 / 3, "{took:?}");
    println!("connected after {took:?}");
    client.ends_with(0);
}
