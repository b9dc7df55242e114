//! Hub and worker as services: whoever started them is told when they are ready and when they stop (`sd_notify(3)`).
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use support::{PATIENCE, Process};

/// What a service manager listens on.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(dir: &Path) -> Manager {
        let path = dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Manager { socket, path }
    }

    fn env(&self) -> [(&str, &str); 1] {
        [("NOTIFY_SOCKET", self.path.to_str().unwrap())]
    }

    /// The next message.
    async fn hears(&self) -> String {
        let mut message = vec![0; 4096];
        let length = timeout(PATIENCE, self.socket.recv(&mut message))
            .await
            .expect("nothing was told")
            .unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }
}

#[actix_rt::test]
async fn a_service_tells_when_it_is_ready_and_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::new(dir.path());
    let mut hub = Process::start(
        &[
            "hub", "--json", "--listen", "127.0.0.1:0", "--store", "memory",
        ],
        &manager.env(),
    );
    assert!(manager.hears().await.starts_with("READY=1\n"));
    let listening = hub.event("listening").await;
    let url = listening["url"].as_str().unwrap();

    let work = dir.path().join("work");
    let mut worker = support::worker(url, &work, &[], &manager.env());
    assert_eq!(
        manager.hears().await.trim_end(),
        format!("READY=1\nSTATUS=registered with {url}")
    );
    worker.event("registered").await;
    for service in [&mut worker, &mut hub] {
        service.signal(Signal::SIGTERM);
        assert_eq!(manager.hears().await.trim_end(), "STOPPING=1");
        assert_eq!(service.exit().await, 0);
    }
}

/// A service that drains says what it waits for, and that it stops only when that is over: a service manager gives it little
/// time from then on.
#[actix_rt::test]
async fn a_service_that_drains_stops_when_its_job_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Manager::new(dir.path());
    let (_hub, url) = support::hub().await;
    let work = dir.path().join("work");
    let mut worker = support::worker(&url, &work, &[], &manager.env());
    manager.hears().await;
    let registered = worker.event("registered").await;
    let text = |key: &str| registered[key].as_str().unwrap().to_owned();
    let mut client = support::Peer::join(&url, &text("room"), &text("token"), "client").await;
    let job = client.reserve(&text("worker")).await;
    worker
        .event_where("status", PATIENCE, |event| event["status"] == "busy")
        .await;
    worker.signal(Signal::SIGUSR1);
    let status = manager.hears().await;
    assert_eq!(
        status.trim_end(),
        format!("STATUS=draining: waits for job {job}")
    );
    client.leave().await;
    assert_eq!(manager.hears().await.trim_end(), "STOPPING=1");
    assert_eq!(worker.exit().await, 0);
}
