//! The command, and what it says.

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::support::{Lab, PATIENCE, Process, until};
use super::{Through, accept, free_port, lab, local, port_for, target, tunnel};

/// A worker without a rule denies, before anything is listened on for long, in a sentence that quotes the rule to ask for;
/// also one that runs every command.
#[actix_rt::test]
async fn a_worker_denies_by_default_and_says_what_to_ask_for() {
    let lab = Lab::new().await;
    let mut client = tunnel(&lab, &["0:8888"]);
    assert_eq!(client.exit().await, 4, "{}", client.stdout());
    let error = client.error();
    assert!(
        error.contains("this worker allows no tunnels, as to localhost:8888; ask its owner"),
        "{error}"
    );
    assert!(
        error.contains("[[tunnel]] to = [\"localhost:8888\"]"),
        "{error}"
    );
    assert!(
        !client.stdout().contains("listening"),
        "{}",
        client.stdout()
    );
}

/// A place that is not on the list is denied beside one that is; nothing else of that client is refused.
#[actix_rt::test]
async fn a_place_that_is_not_on_the_list_is_denied() {
    let through = Through::new().await;
    let other = free_port().await;
    let mut client = tunnel(
        &through.lab,
        &[
            &format!("0:{}", through.remote),
            &format!("0:127.0.0.1:{other}"),
        ],
    );
    assert_eq!(client.exit().await, 4, "{}", client.stdout());
    let error = client.error();
    assert!(
        error.contains(&format!("[[tunnel]] to = [\"127.0.0.1:{other}\"]")),
        "{error}"
    );
    through.connect().await;
}

/// Nobody listens there, and a host that is none: the program's connection is reset, and the reason told; the tunnel stays,
/// and works once somebody listens.
#[actix_rt::test]
async fn what_cannot_be_reached_is_told_and_the_tunnel_stays() {
    // Taken, so that nobody else listens there, and not listened on.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let remote = silent.local_addr().unwrap().port();
    let lab = lab(&[local(remote), "nowhere.invalid:80".to_owned()]).await;
    let mut client = tunnel(&lab, &[&format!("0:{remote}"), "0:nowhere.invalid:80"]);
    let port = port_for(&mut client, remote).await;
    let unknown = port_for(&mut client, 80).await;
    for (port, reason, words) in [
        (
            port,
            "refused",
            format!("nothing listens on localhost:{remote}"),
        ),
        (
            unknown,
            "not_found",
            "no host named nowhere.invalid".to_owned(),
        ),
    ] {
        let mut program = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert!(timeout(PATIENCE, program.read_u8()).await.unwrap().is_err());
        let closed = client.event("closed").await;
        assert_eq!(closed["reason"], reason, "{closed}");
        assert!(
            closed["message"].as_str().unwrap().contains(&words),
            "{closed}"
        );
    }
    let late = silent.listen(16).unwrap();
    let _program = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    accept(&late).await;
}

/// A port that is taken here is an error that names the remedy, whoever has it: at that address, at all, or by IPv6.
#[actix_rt::test]
async fn a_port_that_is_taken_is_an_error_with_its_remedy() {
    let (_target, remote) = target().await;
    let lab = lab(&[local(remote)]).await;
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
        // Where there is no IPv6, nobody can take anything there.
        let Ok(taken) = TcpListener::bind(address).await else {
            continue;
        };
        let port = taken.local_addr().unwrap().port();
        let mut client = tunnel(&lab, &[&format!("{port}:{remote}")]);
        assert_eq!(client.exit().await, 1, "{address}: {}", client.stdout());
        let error = client.error();
        assert!(
            error.contains(&format!("port {port} of this machine")),
            "{error}"
        );
        assert!(
            error.contains(&format!("or any free one by 0:localhost:{remote}")),
            "{error}"
        );
    }
}

/// Several tunnels share one client; Ctrl+C ends them: ports are closed, connections end on both sides, and it is no failure.
#[actix_rt::test]
async fn ctrl_c_closes_everything_and_is_no_failure() {
    let (first, one) = target().await;
    let (second, two) = target().await;
    let lab = lab(&[local(one), local(two)]).await;
    let mut client = tunnel(&lab, &[&format!("0:{one}"), &format!("0:127.0.0.1:{two}")]);
    let (a, b) = (
        port_for(&mut client, one).await,
        port_for(&mut client, two).await,
    );
    let mut program = TcpStream::connect(("127.0.0.1", a)).await.unwrap();
    let mut there = accept(&first).await;
    let _other = TcpStream::connect(("127.0.0.1", b)).await.unwrap();
    accept(&second).await;
    for _ in 0..2 {
        client.event("opened").await;
    }
    client.signal(Signal::SIGINT);
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    let stopped = client.events().pop().unwrap();
    assert_eq!(
        (stopped["event"].as_str(), stopped["connections"].as_u64()),
        (Some("stopped"), Some(2))
    );
    for end in [&mut program, &mut there] {
        assert!(timeout(PATIENCE, end.read_u8()).await.unwrap().is_err());
    }
    lab.worker.logged("a tunnel is over").await;
    // The same port can be had again at once. Another program may be quicker, and is not each time.
    let mut port = a;
    for _ in 0..3 {
        let mut client = tunnel(&lab, &[&format!("{port}:{one}")]);
        until("it listens or ends", PATIENCE, || {
            client.events().iter().any(|event| {
                let event = &event["event"];
                event == "listening" || event == "error"
            })
        })
        .await;
        if client.stdout().contains("\"listening\"") {
            assert_eq!(port_for(&mut client, one).await, port);
            return;
        }
        assert!(client.error().contains("cannot be listened on"));
        let mut other = tunnel(&lab, &[&format!("0:{one}")]);
        port = port_for(&mut other, one).await;
        let _program = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        accept(&first).await;
        other.signal(Signal::SIGINT);
        assert_eq!(other.exit().await, 0, "{}", other.stdout());
    }
    panic!("a port that was used cannot be had again");
}

/// A program that downloads when its tunnel is ended, by Ctrl+C or by force, sees a connection that broke: it must not take
/// what it got for all there is.
#[actix_rt::test]
async fn a_download_that_is_cut_off_does_not_look_complete() {
    let (target, remote) = target().await;
    let lab = lab(&[local(remote)]).await;
    for (signal, code) in [(Signal::SIGINT, 0), (Signal::SIGKILL, -9)] {
        let mut client = tunnel(&lab, &[&format!("0:{remote}")]);
        let port = port_for(&mut client, remote).await;
        let mut program = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut there = accept(&target).await;
        tokio::spawn(async move {
            let piece = vec![7; 64 << 10];
            while there.write_all(&piece).await.is_ok() {}
        });
        let mut begins = vec![0; 1 << 20];
        let read = timeout(PATIENCE, program.read_exact(&mut begins)).await;
        read.unwrap().unwrap();
        client.signal(signal);
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, program.read_to_end(&mut rest)).await;
        let error = read.unwrap().expect_err("it looks complete");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(client.exit().await, code, "{}", client.stdout());
    }
}

/// In a room, the worker is named by its id, by its beginning, or by the name of its machine; or it is the only one.
#[actix_rt::test]
async fn a_worker_is_found_by_its_names() {
    let (_target, remote) = target().await;
    let lab = lab(&[local(remote)]).await;
    let shown = lab.shown().await.unwrap();
    let host = shown["metadata"]["properties"]["hostname"]
        .as_str()
        .unwrap()
        .to_owned();
    let forward = format!("0:{remote}");
    let in_room = |words: &[&str]| {
        let mut args = vec![
            "tunnel", "--json", "--hub", &lab.url, "--room", &lab.room, "--token", &lab.token,
        ];
        args.extend(words);
        args.push(&forward);
        Process::start(&args, &[])
    };
    for words in [
        &[lab.worker_id.as_str()][..],
        &[&lab.worker_id[..8]],
        &[&host],
        &[],
        &["--worker", &host],
    ] {
        let mut client = in_room(words);
        let listening = client.event("listening").await;
        assert_eq!(listening["worker"], lab.worker_id.as_str(), "{words:?}");
    }
    let mut client = in_room(&["nobody"]);
    assert_eq!(client.exit().await, 4, "{}", client.stdout());
    assert!(
        client.error().contains(&lab.worker_id),
        "{}",
        client.error()
    );
    // By a session string in the place of the worker; and text for people.
    let args = ["tunnel", &lab.session, &forward, "--hub", &lab.url];
    let client = Process::start(&args, &[]);
    until("it listens", PATIENCE, || {
        client.stdout().contains("leads to localhost:")
    })
    .await;
}

/// What is no tunnel, and a worker that is named twice, are told before anything is connected.
#[actix_rt::test]
async fn a_wrong_command_line_is_told() {
    for (words, part) in [
        (&["70000"][..], "is no tunnel; write PORT"),
        (&["1:2:3:4"], "is no tunnel"),
        (&["gpu-box"], "which port?"),
        (&["8888"], "which worker?"),
        (&["sleap-session:garbage", "1"], "session string"),
        (&["gpu-box", "1", "--worker", "other"], "named twice"),
        (&[], "WORKER or TUNNEL"),
    ] {
        let mut args = vec!["tunnel", "--json"];
        args.extend(words);
        let mut client = Process::start(&args, &[]);
        assert_eq!(client.exit().await, 2, "{words:?}: {}", client.stdout());
        assert!(
            client.error().contains(part),
            "{words:?}: {}",
            client.error()
        );
    }
}
