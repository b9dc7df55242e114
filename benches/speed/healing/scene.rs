//! Two machines, a tunnel between them, and what can happen to their network.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::lab::{Lab, Process};
use crate::wait::until;

/// The worker's address, and the hub's.
const HERE: &str = "10.77.0.1";
/// The client's interface.
const LINK: &str = "peers-end";
/// Nobody has this hardware address.
const NOBODY: &str = "02:00:00:00:00:99";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);
/// What goes there and back at a time, and how often.
const PIECE: usize = 4000;
const PAUSE: Duration = Duration::from_millis(5);
/// Pieces that show that bytes go through.
const FLOW: usize = 100;

/// Hub and worker here, and a client's machine.
pub struct Scene {
    lab: Lab,
    /// Holds the client's namespace.
    holder: Child,
    pid: u32,
    /// The last part of the client's address.
    address: u8,
    target: TcpListener,
    remote: u16,
}

/// A tunnel, and the port at the client.
pub struct Tunnel {
    pub process: Process,
    port: u64,
}

impl Scene {
    /// Makes them, in a namespace of its own.
    pub async fn start(dir: &Path) -> Result<Scene> {
        let mut holder = tokio::process::Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 3600"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let ready = holder.stdout.take().context("no output")?;
        ensure!(
            BufReader::new(ready).lines().next_line().await?.is_some(),
            "no namespace for the client"
        );
        let pid = holder.id().context("it has no id")?;
        let target = TcpListener::bind("127.0.0.1:0").await?;
        let remote = target.local_addr()?.port();
        let policy = dir.join("policy.toml");
        let rule = format!("[[tunnel]]\nto = [\"localhost:{remote}\"]\n");
        std::fs::write(&policy, rule)?;
        let lab = Lab::with_policy_at(HERE, dir, &policy).await?;
        let scene = Scene {
            lab,
            holder,
            pid,
            address: 2,
            target,
            remote,
        };
        scene.there("link set lo up")?;
        ip(&format!("link set {LINK} netns {pid}"))?;
        scene.there(&format!("address add {}/24 dev {LINK}", scene.client()))?;
        scene.there(&format!("link set {LINK} up"))?;
        Ok(scene)
    }

    /// Ends worker and hub.
    pub async fn end(mut self) {
        self.lab.end().await;
        // It may have ended by itself.
        let _ = self.holder.kill().await;
    }

    fn client(&self) -> String {
        format!("10.77.0.{}", self.address)
    }

    /// A command that runs others on the client's machine.
    fn by(&self) -> Vec<String> {
        let pid = self.pid.to_string();
        ["nsenter", "--target", &pid, "--net", "--"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Has the command `ip` do something at the client.
    fn there(&self, words: &str) -> Result<()> {
        let by = self.by();
        run(Command::new(&by[0])
            .args(&by[1..])
            .arg("ip")
            .args(words.split(' ')))
    }

    /// A tunnel that is up.
    pub async fn tunnel(&self) -> Result<Tunnel> {
        let mut process = self
            .lab
            .tunnel_by(&self.by(), &format!("0:{}", self.remote))?;
        let (_, listening) = process.event("listening").await?;
        let port = listening["port"].as_u64().context("no port")?;
        Ok(Tunnel { process, port })
    }

    /// Bytes that go through it, there and back.
    pub async fn traffic(&self, tunnel: &Tunnel) -> Result<Traffic> {
        self.traffic_with(tunnel, "").await
    }

    /// The same, and the program at the client says something of its own too: so the client always has something on its way.
    pub async fn traffic_both_ways(&self, tunnel: &Tunnel) -> Result<Traffic> {
        let says = "(while sleep 0.02; do printf hello; done >&3) &";
        self.traffic_with(tunnel, says).await
    }

    async fn traffic_with(&self, tunnel: &Tunnel, more: &str) -> Result<Traffic> {
        let port = tunnel.port;
        let echo = format!("exec 3<>/dev/tcp/127.0.0.1/{port}\n{more}\ncat <&3 >&3");
        let by = self.by();
        let program = tokio::process::Command::new(&by[0])
            .args(&by[1..])
            .args(["bash", "-c", &echo])
            .kill_on_drop(true)
            .spawn()?;
        let accepted = timeout(PATIENCE, self.target.accept()).await;
        let (stream, _) = accepted.context("no connection at the worker")??;
        Ok(Traffic::start(stream, program))
    }

    /// Has packets between client and worker get lost, both ways, or not any more; since when. Neither is told by its system.
    pub fn hole(&self, open: bool) -> Result<Instant> {
        let neighbour = |of: &str, dev: &str| match open {
            true => format!("neigh replace {of} lladdr {NOBODY} dev {dev} nud permanent"),
            false => format!("neigh del {of} dev {dev}"),
        };
        let since = Instant::now();
        ip(&neighbour(&self.client(), "peers"))?;
        self.there(&neighbour(HERE, LINK))?;
        Ok(since)
    }

    /// Gives the client another address instead of the one that it has; when.
    pub fn replace_address(&mut self) -> Result<Instant> {
        self.address = self.address.checked_add(1).context("too many rounds")?;
        let (at, new) = (Instant::now(), self.client());
        self.there(&format!("address flush dev {LINK}"))?;
        self.there(&format!("address add {new}/24 dev {LINK}"))?;
        Ok(at)
    }

    /// Plugs another interface in at the client, and switches the one off that it has; when.
    pub fn switch_interface(&self, round: u32) -> Result<Instant> {
        let (dev, end) = (format!("other{round}"), format!("other{round}-end"));
        ip(&format!("link add {dev} type veth peer name {end}"))?;
        ip(&format!("address add 10.78.{round}.1/24 dev {dev}"))?;
        ip(&format!("link set {dev} up"))?;
        ip(&format!("link set {end} netns {}", self.pid))?;
        self.there(&format!("address add 10.78.{round}.2/24 dev {end}"))?;
        self.there(&format!("link set {end} up"))?;
        self.there(&format!("route add default via 10.78.{round}.1"))?;
        let at = Instant::now();
        self.there(&format!("link set {LINK} down"))?;
        Ok(at)
    }

    /// As it was before.
    pub fn switch_back(&self, round: u32) -> Result<()> {
        self.there(&format!("link set {LINK} up"))?;
        ip(&format!("link del other{round}"))
    }
}

/// Has the command `ip` do something here.
fn ip(words: &str) -> Result<()> {
    run(Command::new("ip").args(words.split(' ')))
}

fn run(command: &mut Command) -> Result<()> {
    // It is not in everybody's PATH.
    let output = command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {said}");
    }
    Ok(())
}

/// Bytes that go through a tunnel, there and back, without a stop.
pub struct Traffic {
    arrivals: Arc<Mutex<Vec<Instant>>>,
    /// Ends with this, as the program at the client does.
    _going: (JoinSet<()>, Child),
}

impl Traffic {
    fn start(stream: TcpStream, program: Child) -> Traffic {
        let arrivals = Arc::<Mutex<Vec<Instant>>>::default();
        let (mut reader, mut writer) = stream.into_split();
        let mut going = JoinSet::new();
        going.spawn(async move {
            while writer.write_all(&[7; PIECE]).await.is_ok() {
                tokio::time::sleep(PAUSE).await;
            }
        });
        let came = arrivals.clone();
        going.spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while reader.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                let mut came = came.lock().unwrap_or_else(PoisonError::into_inner);
                came.push(Instant::now());
            }
        });
        Traffic {
            arrivals,
            _going: (going, program),
        }
    }

    fn arrivals(&self) -> Vec<Instant> {
        let arrivals = self.arrivals.lock();
        arrivals.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until bytes have come back for a while.
    pub async fn flows(&self) -> Result<()> {
        let goal = self.arrivals().len() + FLOW;
        until("bytes that come back", PATIENCE, LOOK, || {
            self.arrivals().len() >= goal
        })
        .await
    }

    /// When bytes came again after the longest time without, of what ended after this moment.
    pub fn end_of_longest_gap(&self, after: Instant) -> Option<Instant> {
        let arrivals = self.arrivals();
        let gaps = arrivals.iter().zip(arrivals.iter().skip(1));
        let gaps = gaps.filter(|(_, end)| **end > after);
        gaps.max_by_key(|(begin, end)| end.duration_since(**begin))
            .map(|(_, end)| *end)
    }
}
