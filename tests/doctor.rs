//! `loaner doctor` as a process: with a hub, without one, with what is none, and with STUN
//! servers that say what they like.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "relay/coturn.rs"]
mod coturn;
#[allow(dead_code)]
#[path = "support/program.rs"]
mod program;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use program::{LOANER, Process, without_settings};
use serde_json::Value;

fn loaner(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", LOANER]).args(args);
    command.current_dir(dir);
    without_settings(&mut command);
    command
        .env("XDG_STATE_HOME", dir)
        .env("XDG_CACHE_HOME", dir);
    command
}

/// A hub with these further arguments, and its address.
fn hub(dir: &Path, args: &[&str]) -> (Process, String) {
    let mut command = loaner(
        dir,
        &[
            "hub", "--json", "--listen", "127.0.0.1:0", "--store", "memory",
        ],
    );
    command.args(args);
    let mut hub = Process::start("hub", command);
    let url = hub.event("listening")["url"].as_str().unwrap().to_owned();
    (hub, url)
}

/// What the doctor found; its exit code is checked.
fn findings(dir: &Path, code: i32, args: &[&str]) -> Vec<Value> {
    let mut doctor = Process::start("doctor", loaner(dir, &["doctor", "--json"]).tap(args));
    doctor.ends_with(code);
    let found = doctor.events("finding");
    let checks: Vec<_> = found.iter().map(|finding| &finding["check"]).collect();
    let all = [
        "hub", "clock", "sign-in", "udp", "nat", "gpu", "buffers", "disk", "state",
    ];
    assert_eq!(checks, all, "{}", doctor.story());
    for finding in &found {
        let fine = finding["verdict"] == "ok";
        assert_eq!(fine, finding["advice"].is_null(), "{finding}");
    }
    found
}

trait Tap {
    fn tap(self, args: &[&str]) -> Self;
}

impl Tap for Command {
    fn tap(mut self, args: &[&str]) -> Self {
        self.args(args);
        self
    }
}

fn of<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    findings
        .iter()
        .find(|finding| finding["check"] == check)
        .unwrap()
}

#[track_caller]
fn says(findings: &[Value], check: &str, verdict: &str, part: &str) {
    let finding = of(findings, check);
    let found = finding["found"].as_str().unwrap();
    assert!(
        finding["verdict"] == verdict && found.contains(part),
        "{finding}"
    );
}

/// Bytes of an HTTP answer to one request.
fn get(url: &str, path: &str) -> String {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// With a hub, all is well; it is let in, and leaves neither room nor file behind.
#[test]
fn with_a_hub_nothing_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (_hub, url) = hub(dir.path(), &[]);
    let found = findings(dir.path(), 0, &["--hub", &url]);
    says(&found, "hub", "ok", "is healthy");
    says(&found, "clock", "ok", "within");
    says(&found, "sign-in", "ok", "WebSocket");
    says(&found, "udp", "ok", "no STUN server");
    says(
        &found, "nat", "warn", "unknown: the hub offers no STUN server",
    );
    assert_eq!(of(&found, "gpu")["verdict"], "ok", "a client needs none");
    let rooms: Value = get(&url, "/metrics")
        .lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap();
    assert_eq!(rooms["active_rooms"], 0, "{rooms}");
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 0, "nothing is left");

    // The same in words: a line for each, and what to do under it.
    let output = loaner(dir.path(), &["doctor", "--hub", &url])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nwarn nat"), "{text}");
    assert!(
        text.contains("\n              for peers behind NAT"),
        "{text}"
    );
}

/// Without a hub, that fails, and everything that needs none is looked at all the same.
#[test]
fn without_a_hub_the_rest_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody else gets the port while it is held, and nobody listens.
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}", held.local_addr().unwrap().port());
    let found = findings(dir.path(), 1, &["--hub", &url]);
    says(&found, "hub", "fail", "cannot be reached");
    says(&found, "clock", "warn", "not compared");
    says(&found, "sign-in", "fail", "cannot be reached");
    says(&found, "udp", "ok", "the hub is not reached");
    says(&found, "nat", "warn", "unknown");
    says(&found, "disk", "ok", "free");
    says(&found, "state", "ok", "can be written to");
    let doctor = loaner(dir.path(), &["doctor", "--hub", "localhost"])
        .output()
        .unwrap();
    assert_eq!(doctor.status.code(), Some(2), "no address at all");
}

/// Something that takes connections and says nothing does not hold the doctor up for ever.
#[test]
fn a_hub_that_says_nothing_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let found = findings(dir.path(), 1, &["--hub", &url]);
    says(&found, "hub", "fail", "within 5 s");
    says(&found, "sign-in", "fail", "within 5 s");
    says(&found, "udp", "ok", "within this machine");
}

/// A web server that answers every request so, for as long as the test runs.
fn web_server(status: &'static str, date: SystemTime, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let date = awc::http::header::HttpDate::from(date);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let length = body.len();
            let _ = write!(
                &stream,
                "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    });
    url
}

/// A wrong address, where something else answers, is told from a hub that is not there.
#[test]
fn what_is_no_hub_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let url = web_server("404 Not Found", SystemTime::now(), "<html>");
    let found = findings(dir.path(), 1, &["--hub", &url]);
    says(&found, "hub", "fail", "not as a hub does (HTTP status 404");
    says(&found, "sign-in", "fail", "404");
    let url = web_server("200 OK", SystemTime::now(), "{\"hello\":1}");
    let found = findings(dir.path(), 1, &["--hub", &url]);
    says(&found, "hub", "fail", "not as a hub does (HTTP status 200");
}

/// Clocks that are minutes apart are told, with which of them is ahead.
#[test]
fn a_clock_that_is_off_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let healthy = "{\"status\":\"healthy\",\"version\":\"9\"}";
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    let url = web_server("200 OK", now - hour, healthy);
    let found = findings(dir.path(), 1, &["--hub", &url]);
    says(&found, "hub", "ok", "version 9");
    says(&found, "clock", "warn", "ahead of the hub's");
    let url = web_server("200 OK", now + hour, healthy);
    let found = findings(dir.path(), 1, &["--hub", &url]);
    says(&found, "clock", "warn", "behind the hub's");
}

/// A STUN server that sees everybody at the address that `see` makes of their own.
fn stun(see: impl Fn(SocketAddr) -> Option<SocketAddr> + Send + 'static) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("stun:{}", socket.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let asked = &buffer[..length];
            assert_eq!(asked[..2], [0, 1], "a binding request");
            let Some(SocketAddr::V4(seen)) = see(from) else {
                continue;
            };
            let mut answer = vec![1, 1, 0, 12];
            answer.extend_from_slice(&asked[4..20]);
            answer.extend_from_slice(&[0, 0x20, 0, 8, 0, 1]);
            let cookie = 0x2112_a442_u32;
            answer.extend_from_slice(&(seen.port() ^ (cookie >> 16) as u16).to_be_bytes());
            answer.extend_from_slice(&(u32::from(*seen.ip()) ^ cookie).to_be_bytes());
            socket.send_to(&answer, from).unwrap();
        }
    });
    url
}

/// Two servers that see the same address: no NAT, or one that peers get through. Two that see different ones: a
/// symmetric NAT, which is worth a warning. One that does not answer is named.
#[test]
fn the_kind_of_nat_is_found_by_asking() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |servers: &[String]| {
        let flags: Vec<_> = servers
            .iter()
            .flat_map(|url| ["--ice-server", url])
            .collect();
        let (hub, url) = hub(dir.path(), &flags);
        let found = findings(dir.path(), 0, &["--hub", &url]);
        drop(hub);
        found
    };
    let behind = |port: u16| stun(move |_| Some(([192, 0, 2, 1], port).into()));
    let found = ask(&[stun(Some), stun(Some)]);
    says(&found, "udp", "ok", "answered");
    says(&found, "nat", "ok", "none: seen as 127.0.0.1");
    let found = ask(&[behind(4000), behind(4000)]);
    says(
        &found,
        "nat",
        "ok",
        "the same mapping for all: seen as 192.0.2.1:4000",
    );
    let found = ask(&[behind(4000), behind(4001)]);
    says(&found, "nat", "warn", "symmetric");
    let silent = stun(|_| None);
    let found = ask(&[stun(Some), silent.clone()]);
    says(&found, "udp", "warn", &format!("not {silent}"));
    says(&found, "nat", "ok", "none");
    let (_hub, url) = hub(dir.path(), &["--ice-server", &silent]);
    let found = findings(dir.path(), 1, &["--hub", &url]);
    says(&found, "udp", "fail", &silent);
}

/// A real STUN server answers us.
#[test]
fn a_real_stun_server_is_asked() {
    let Some(turnserver) = coturn::program() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(turnserver);
    let _turn = coturn::start(command, "127.0.0.1", port, dir.path());
    let server = format!("stun:127.0.0.1:{port}");
    let (_hub, url) = hub(dir.path(), &["--ice-server", &server]);
    let found = findings(dir.path(), 0, &["--hub", &url]);
    says(&found, "udp", "ok", &server);
    says(&found, "nat", "ok", "none: seen as 127.0.0.1");
}

/// A place for state or for jobs that cannot be written to fails, with the flag that names another.
#[test]
fn a_place_that_cannot_be_written_to_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (_hub, url) = hub(dir.path(), &[]);
    std::fs::write(dir.path().join("file"), "").unwrap();
    let args = [
        "--hub", &url, "--worker", "--state-dir", "file/state", "--work-dir", "file/work",
    ];
    let found = findings(dir.path(), 1, &args);
    for (check, flag) in [("state", "--state-dir"), ("disk", "--work-dir")] {
        says(&found, check, "fail", "file/");
        let advice = of(&found, check)["advice"].as_str().unwrap();
        assert!(advice.contains(flag), "{advice}");
    }
    // A client has no jobs.
    let found = findings(dir.path(), 0, &["--hub", &url, "--work-dir", "file/work"]);
    says(&found, "disk", "ok", "free");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
