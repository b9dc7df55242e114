//! Weakness 17: the hub as a process, in another time zone than those who read its times.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::*;

const ADMIN: &str = "the administrator's token";

/// A hub that is killed when dropped.
struct Hub {
    process: Child,
    addr: SocketAddr,
}

impl Hub {
    fn start(dir: &Path, zone: &str) -> Hub {
        std::fs::write(dir.join("admin"), ADMIN).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_loaner"))
            .args(["hub", "--listen", "127.0.0.1:0", "--store", "hub.sqlite"])
            .args(["--admin-token-file", "admin"])
            .current_dir(dir)
            .env("TZ", zone)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let addr = line.trim().rsplit('/').next().unwrap().parse().unwrap();
        Hub { process, addr }
    }

    /// How many seconds the only room can still be entered while nobody is in it.
    async fn room_expires_in(&self) -> u64 {
        let admin = format!("Bearer {ADMIN}");
        let rooms = http(self.addr, "GET", "/rooms", Some(&admin), None).await;
        let left = rooms.body["rooms"][0]["expires_in_s"].as_u64();
        left.unwrap_or_else(|| panic!("{}", rooms.body))
    }

    /// Ends it as an operator does, so that everything is written down.
    fn stop(mut self) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The time in UTC, as the hub writes it.
fn utc() -> String {
    let date = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%S"])
        .output()
        .unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

fn epoch() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

/// What a hub on the other side of the earth says of the time is right for who reads it as UTC, and a room is open for as
/// long as anywhere, also when the hub is started again in yet another zone.
#[actix_web::test]
async fn a_hub_in_another_zone_has_the_same_times() {
    // The second needs no list of zones to be installed.
    for zone in ["Pacific/Auckland", "XXX-13"] {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::start(dir.path(), zone);
        for path in ["/health", "/metrics"] {
            let before = utc();
            let told = http(hub.addr, "GET", path, None, None).await.body;
            let (told, after) = (text(&told["timestamp"]), utc());
            let seconds = &told[..19];
            assert!(
                before.as_str() <= seconds && seconds <= after.as_str(),
                "{zone}: {told} is not from {before} to {after}"
            );
        }
        let user = sign_in(hub.addr).await;
        let room = create_room(hub.addr, &user).await;
        let left = hub.room_expires_in().await;
        assert!((7000..=7200).contains(&left), "{zone}: {left} s");
        let start = epoch();
        let peer = Peer::join(hub.addr, &user.name, &user, &room, json!({})).await;
        let mut other = Peer::connect(hub.addr).await;
        let someone = sign_in(hub.addr).await;
        other
            .ask(register("other", &someone, &room, json!({})))
            .await;
        let listed = other
            .ask(json!({"type": "discover_peers", "from_peer_id": "other"}))
            .await;
        let connected = listed["peers"][0]["connected_at"].as_f64().unwrap();
        assert!((start..=epoch()).contains(&connected), "{zone}: {listed}");
        peer.close().await;
        other.close().await;
        hub.stop();

        let hub = Hub::start(dir.path(), "XXX+11");
        let left = hub.room_expires_in().await;
        assert!((7000..=7200).contains(&left), "{zone}: {left} s");
        // The token of before is good, too.
        Peer::join(hub.addr, &user.name, &user, &room, json!({})).await;
    }
}
