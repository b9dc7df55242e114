//! TCP through a worker: `loaner tunnel`, with a hub, a worker and clients as processes, and real connections.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "tunnel/command.rs"]
mod command;
#[path = "tunnel/hostile.rs"]
mod hostile;
#[path = "tunnel/resume.rs"]
mod resume;
#[path = "tunnel/streams.rs"]
mod streams;

use std::path::Path;

use serde_json::Value;
use support::{Lab, PATIENCE, Process};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A lab whose worker has a policy with tunnels to these places.
async fn lab(to: &[String]) -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(dir.path(), to);
    Lab::with(&["--policy", policy.to_str().unwrap()]).await
}

fn policy(dir: &Path, to: &[String]) -> std::path::PathBuf {
    let policy = dir.join("policy.toml");
    std::fs::write(&policy, format!("[[tunnel]]\nto = {to:?}\n")).unwrap();
    policy
}

/// A program at the worker: a listener on a free port.
async fn target() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// The next connection to it.
async fn accept(target: &TcpListener) -> TcpStream {
    timeout(PATIENCE, target.accept()).await.unwrap().unwrap().0
}

fn local(port: u16) -> String {
    format!("localhost:{port}")
}

/// A port on which nothing listens just now.
async fn free_port() -> u16 {
    target().await.1
}

/// `loaner tunnel` by the worker's session string, with these words.
fn tunnel(lab: &Lab, words: &[&str]) -> Process {
    let mut args = vec![
        "tunnel", "--json", "--hub", &lab.url, "--session", &lab.session,
    ];
    args.extend(words);
    Process::start(&args, &[])
}

/// The port that it listens on for this place.
async fn port_for(tunnel: &mut Process, remote: u16) -> u16 {
    let to_it = |event: &Value| event["remote_port"] == remote;
    let listening = tunnel.event_where("listening", PATIENCE, to_it).await;
    listening["port"].as_u64().unwrap().try_into().unwrap()
}

/// A worker with a tunnel to a program beside it.
struct Through {
    lab: Lab,
    tunnel: Process,
    target: TcpListener,
    remote: u16,
    port: u16,
}

impl Through {
    async fn new() -> Through {
        let (target, remote) = target().await;
        let lab = lab(&[local(remote)]).await;
        let mut tunnel = tunnel(&lab, &[&format!("0:{remote}")]);
        let port = port_for(&mut tunnel, remote).await;
        Through {
            lab,
            tunnel,
            target,
            remote,
            port,
        }
    }

    /// A connection through it: the end of the program here, and the one at the worker.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let program = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        (program, accept(&self.target).await)
    }
}
