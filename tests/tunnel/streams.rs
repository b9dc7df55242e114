//! What goes through.

use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::support::PATIENCE;
use super::{Through, accept, port_for, target, tunnel};

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rand::rngs::StdRng::seed_from_u64(seed).fill(&mut noise[..]);
    noise
}

/// Answers everything with itself.
fn echo(target: TcpListener) {
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = target.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
}

/// Sends, and reads to the end what comes back.
async fn there_and_back(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut read, mut write) = tcp.split();
    let mut back = Vec::new();
    let both = async {
        let send = async {
            write.write_all(bytes).await.unwrap();
            write.shutdown().await.unwrap();
        };
        tokio::join!(send, async { read.read_to_end(&mut back).await.unwrap() })
    };
    timeout(PATIENCE * 4, both)
        .await
        .expect("it does not come back");
    back
}

/// 64 MiB go through and come back as they were, and are counted.
#[actix_rt::test]
async fn an_echo_of_64_mib_is_the_same() {
    let Through {
        lab: _lab,
        mut tunnel,
        target,
        port,
        ..
    } = Through::new().await;
    echo(target);
    let bytes = noise(64 << 20, 1);
    let back = there_and_back(port, &bytes).await;
    assert!(back == bytes, "{} bytes came back", back.len());
    let closed = tunnel.event("closed").await;
    assert_eq!(closed["reason"], "finished", "{closed}");
    assert_eq!(
        (closed["sent"].as_u64(), closed["received"].as_u64()),
        (Some(64 << 20), Some(64 << 20))
    );
}

/// Fifty connections at once, each with contents of its own, get each its own back.
#[actix_rt::test]
async fn fifty_connections_at_once_do_not_mix() {
    let Through {
        lab: _lab,
        tunnel: _tunnel,
        target,
        port,
        ..
    } = Through::new().await;
    echo(target);
    let all = (0..50).map(|number| async move {
        let bytes = noise(200_000 + 1000 * number as usize, number);
        let back = there_and_back(port, &bytes).await;
        assert!(
            back == bytes,
            "connection {number}: {} bytes came back",
            back.len()
        );
    });
    futures_util::future::join_all(all).await;
}

/// A program that does not read what comes for it holds up its own connection only.
#[actix_rt::test]
async fn a_stalled_reader_does_not_hold_up_another() {
    let through = Through::new().await;
    let (mut stalled, mut floods) = through.connect().await;
    tokio::spawn(async move {
        let piece = vec![7; 64 << 10];
        while floods.write_all(&piece).await.is_ok() {}
    });
    // It flows, and then nobody reads.
    let mut first = vec![0; 1 << 20];
    timeout(PATIENCE, stalled.read_exact(&mut first))
        .await
        .unwrap()
        .unwrap();
    let Through {
        lab: _lab,
        tunnel: _tunnel,
        target,
        port,
        ..
    } = through;
    echo(target);
    let bytes = noise(16 << 20, 3);
    assert!(there_and_back(port, &bytes).await == bytes);
    // What was left lying is still there.
    let mut rest = vec![0; 4 << 20];
    timeout(PATIENCE, stalled.read_exact(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.iter().all(|byte| *byte == 7));
}

/// What comes until the other side has finished.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut text)).await;
    read.expect("the other side does not finish").unwrap();
    text
}

/// A program here that has sent everything gets an answer of a program that first reads to the end; and the other way round.
#[actix_rt::test]
async fn each_side_can_finish_before_the_other() {
    let through = Through::new().await;
    for _ in 0..2 {
        let (mut program, mut there) = through.connect().await;
        program.write_all(b"question").await.unwrap();
        program.shutdown().await.unwrap();
        assert_eq!(rest(&mut there).await, "question");
        there.write_all(b"answer").await.unwrap();
        drop(there);
        assert_eq!(rest(&mut program).await, "answer");

        let (mut program, mut there) = through.connect().await;
        there.write_all(b"greeting").await.unwrap();
        there.shutdown().await.unwrap();
        assert_eq!(rest(&mut program).await, "greeting");
        program.write_all(b"and goodbye").await.unwrap();
        drop(program);
        assert_eq!(rest(&mut there).await, "and goodbye");
    }
}

/// A request of HTTP, as a browser sends it to `localhost`, is answered by the server at the worker; by both families of
/// addresses, where there are two.
#[actix_rt::test]
async fn a_web_page_is_fetched_through_it() {
    let Through {
        lab: _lab,
        tunnel: _tunnel,
        target,
        port,
        ..
    } = Through::new().await;
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = target.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(tcp.read_u8().await.unwrap());
            }
            let body = format!("you sent {} bytes", request.len());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            tcp.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{port}/lab?token=x");
        let mut answer = awc::Client::default().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.body().await.unwrap();
        assert!(body.starts_with(b"you sent "), "{body:?}");
    }
    if TcpListener::bind("[::1]:0").await.is_ok() {
        let answer = there_and_back_v6(port).await;
        assert!(answer.contains("200 OK"), "{answer}");
    }
}

async fn there_and_back_v6(port: u16) -> String {
    let mut tcp = TcpStream::connect(("::1", port)).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, tcp.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

/// When the worker goes away, what went through is reset and says so, the port is still listened on, and the worker is used
/// again when it is back.
#[actix_rt::test]
async fn the_tunnel_comes_back_with_its_worker() {
    let (target, remote) = target().await;
    let mut lab = super::Lab::with(&["--allow-commands"]).await;
    // A worker that keeps its room and identity from start to start, as a service does.
    let dir = tempfile::tempdir().unwrap();
    let policy = super::policy(dir.path(), &[super::local(remote)]);
    let state = dir.path().join("state");
    let work = dir.path().join("work");
    let flags = [
        "--room",
        &lab.room,
        "--token",
        &lab.token,
        "--state-dir",
        state.to_str().unwrap(),
        "--policy",
        policy.to_str().unwrap(),
    ];
    let start = || super::support::worker(&lab.url, &work, &flags, &[]);
    let mut worker = start();
    let session = worker.event("registered").await["session"]
        .as_str()
        .unwrap()
        .to_owned();
    let own = lab.session.clone();
    lab.session = session;
    let mut client = tunnel(&lab, &[&format!("0:{remote}")]);
    lab.session = own;
    let port = port_for(&mut client, remote).await;
    let mut program = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut there = accept(&target).await;
    there.write_all(b"x").await.unwrap();
    timeout(PATIENCE, program.read_u8()).await.unwrap().unwrap();

    worker.signal(nix::sys::signal::Signal::SIGTERM);
    let lost = client.event("lost").await;
    assert!(
        lost["message"]
            .as_str()
            .unwrap()
            .contains("the worker is shutting down"),
        "{lost}"
    );
    assert!(timeout(PATIENCE, program.read_u8()).await.unwrap().is_err());
    assert_eq!(worker.exit().await, 0, "{}", worker.log());

    let mut worker = start();
    worker.event("registered").await;
    client
        .event_where("connected", PATIENCE * 3, |_| true)
        .await;
    let mut program = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut there = accept(&target).await;
    there.write_all(b"y").await.unwrap();
    assert_eq!(
        timeout(PATIENCE, program.read_u8()).await.unwrap().unwrap(),
        b'y'
    );
}
