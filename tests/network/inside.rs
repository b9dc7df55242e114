//! What a test does once it is in a namespace of its own.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;
use std::{env, fs};

use loaner::rtc::DataPlane;
use loaner::tunnel::network::{Network, NetworkChange, NetworkSubscription, NetworkWatcher};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;

use crate::namespace::Net;
use crate::program::PATIENCE;

/// Set where a test has its namespace.
pub const INSIDE: &str = "NETWORK_TEST_INSIDE";

/// Longer than any test takes.
const LONGEST: Duration = Duration::from_secs(600);

/// Whether this is the test in its namespace.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program again with one test, in a namespace of its own, and there what the test is about.
pub fn run_inside(test: &str, body: impl AsyncFnOnce()) {
    if is_inside() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        return runtime.unwrap().block_on(body());
    }
    let Some(net) = Net::new("interop/in-namespace") else {
        return;
    };
    let child = net
        .command(&env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let (tell, ended) = mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait_with_output().unwrap()));
    // One that hangs is killed, and shows what it has said.
    let output = ended.recv_timeout(LONGEST).unwrap_or_else(|_| {
        kill(pid, Signal::SIGKILL).unwrap();
        ended.recv().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A watcher with a listener.
pub struct Scene {
    pub plane: DataPlane,
    pub watcher: NetworkWatcher,
    pub listener: NetworkSubscription,
}

impl Scene {
    pub async fn open() -> Self {
        let plane = DataPlane::start().unwrap();
        Scene::of(plane.clone(), NetworkWatcher::new(plane))
            .at_rest()
            .await
    }

    pub async fn polling() -> Self {
        let plane = DataPlane::start().unwrap();
        Scene::of(plane.clone(), NetworkWatcher::polling(plane))
            .at_rest()
            .await
    }

    /// The interfaces that are made with the namespace have their carrier a little later.
    async fn at_rest(mut self) -> Self {
        let up = |network: &Network| {
            let interfaces = ["peers", "peers-end"].map(|name| &network.interfaces[name]);
            interfaces.iter().all(|interface| interface.up)
        };
        if !up(self.network()) {
            self.until(|change| up(change.after())).await;
        }
        self
    }

    pub fn of(plane: DataPlane, watcher: NetworkWatcher) -> Self {
        let listener = watcher.subscribe();
        Scene {
            plane,
            watcher,
            listener,
        }
    }

    /// The network as the listener knows it.
    pub fn network(&self) -> &Network {
        self.listener.network()
    }

    /// What is told, up to the change that is waited for.
    pub async fn until(&mut self, is_it: impl Fn(&NetworkChange) -> bool) -> Vec<NetworkChange> {
        let mut heard = Vec::new();
        let waiting = async {
            while !heard.last().is_some_and(&is_it) {
                heard.push(self.listener.next().await.unwrap());
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            let heard: Vec<_> = heard.iter().map(ToString::to_string).collect();
            panic!("it was not told within {PATIENCE:?}; heard: {heard:?}");
        }
        heard
    }

    /// Waits until the listener knows what a new reading of the network shows.
    pub async fn is_up_to_date(&mut self) {
        // A watcher of its own: its first reading is of now.
        let fresh = NetworkWatcher::new(self.plane.clone()).subscribe();
        let now = fresh.network().clone();
        if *self.network() != *now {
            self.until(|change| **change.after() == *now).await;
        }
    }

    /// Keeps the data plane from doing anything until what is returned is dropped.
    pub fn hold(&self) -> Vec<mpsc::Sender<()>> {
        let threads = self.plane.handle().metrics().num_workers();
        let all_held = Arc::new(Barrier::new(threads + 1));
        let mut held = Vec::new();
        for _ in 0..threads {
            let (release, released) = mpsc::channel::<()>();
            let all_held = all_held.clone();
            held.push(release);
            self.plane.spawn(async move {
                all_held.wait();
                let _ = released.recv();
            });
        }
        all_held.wait();
        held
    }
}

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Has the command `ip` do something.
pub fn ip(arguments: &str) {
    let output = command().args(arguments.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}

/// Has it do many things at once.
pub fn ip_batch<T: AsRef<str>>(lines: &[T]) {
    use std::io::Write as _;
    let mut child = command()
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for line in lines {
        writeln!(input, "{}", line.as_ref()).unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

fn command() -> Command {
    let mut command = Command::new("ip");
    // It is not in everybody's PATH.
    command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    command
}

/// A netlink socket of this process.
pub struct Socket {
    /// How many messages it had no room for.
    pub lost: u64,
}

/// Those for the network that this process has, by what the kernel shows of them.
pub fn netlink_sockets() -> Vec<Socket> {
    let own: Vec<u64> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::metadata(entry.unwrap().path()).ok())
        .map(|socket| socket.ino())
        .collect();
    let table = fs::read_to_string(Path::new("/proc/self/net/netlink")).unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
    rows.filter(|row| row[1] == "0" && own.contains(&row[9].parse().unwrap()))
        .map(|row| Socket {
            lost: row[8].parse().unwrap(),
        })
        .collect()
}
