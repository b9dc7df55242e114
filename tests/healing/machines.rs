//! Two machines, and a tunnel between them; jobs go the same way.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::LONG;
use crate::inside::ip;
use crate::program::{LOANER, PATIENCE, Process, until, without_settings};

/// The address of the worker, and of the hub if it is on the same machine.
const HERE: &str = "10.77.0.1";
/// The client's, at first.
const THERE: &str = "10.77.0.2";
/// The hub's, on a machine of its own.
const APART: &str = "10.77.0.9";
/// The client's interface.
const LINK: &str = "peers-end";
/// What runs behind these arguments of `setpriv` does not outlive the test.
const DIES: [&str; 2] = ["--pdeathsig", "KILL"];
/// Nobody has this hardware address.
const NOBODY: &str = "02:00:00:00:00:99";

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Another machine: a network namespace that lives as long as this.
pub struct Machine {
    holder: Child,
    link: &'static str,
}

impl Machine {
    /// With this interface, which is taken from here, and its address.
    pub fn new(link: &'static str, address: &str) -> Machine {
        let mut holder = Command::new("setpriv")
            .args(DIES)
            .args([
                "unshare", "--net", "sh", "-c", "echo ready; exec sleep 3600",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let machine = Machine { holder, link };
        machine.ip("link set lo up");
        machine.plug(link, address);
        machine
    }

    /// Gives it an interface that is taken from here, with an address, and switches it on.
    pub fn plug(&self, link: &str, address: &str) {
        ip(&format!("link set {link} netns {}", self.holder.id()));
        self.ip(&format!("address add {address}/24 dev {link}"));
        self.ip(&format!("link set {link} up"));
    }

    /// A command on it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.holder.id().to_string();
        command.args(["--target", &pid, "--net", "--", "setpriv"]);
        command.args(DIES).arg(program);
        command
    }

    /// Has the command `ip` do something there.
    pub fn ip(&self, arguments: &str) {
        run(self.command("ip").args(arguments.split(' ')));
    }

    /// Gives its interface another address instead of those that it has.
    pub fn replace_address(&self, address: &str) {
        let link = self.link;
        self.ip(&format!("address flush dev {link}"));
        self.ip(&format!("address add {address}/24 dev {link}"));
    }

    /// Switches its interface on or off.
    pub fn link(&self, up: bool) {
        let way = if up { "up" } else { "down" };
        self.ip(&format!("link set {} {way}", self.link));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may be gone by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A tunnel from the client's machine to a program beside the worker.
pub struct Scene {
    pub tunnel: Process,
    pub client: Machine,
    pub worker: Process,
    pub hub: Process,
    /// The hub's machine, where it is not the worker's.
    apart: Option<Machine>,
    pub url: String,
    /// What the worker said of itself.
    pub registered: Value,
    target: TcpListener,
    port: u64,
    programs: Vec<Child>,
    pub dir: tempfile::TempDir,
}

impl Scene {
    /// Hub and worker on one machine.
    pub fn start() -> Scene {
        Scene::of(Machine::new(LINK, THERE), None)
    }

    /// Each on a machine of its own, in one network. The worker's interface is `lan`.
    pub fn start_apart() -> Scene {
        for line in [
            "link add lan type bridge",
            "address flush dev peers",
            "address add 10.77.0.1/24 dev lan",
            "link add hubs type veth peer name hubs-end",
            "link set peers master lan",
            "link set hubs master lan",
            "link set hubs up",
            "link set lan up",
        ] {
            ip(line);
        }
        let apart = Machine::new("hubs-end", APART);
        Scene::of(Machine::new(LINK, THERE), Some(apart))
    }

    /// With this machine of the client's.
    pub fn of(client: Machine, apart: Option<Machine>) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let at = if apart.is_some() { APART } else { HERE };
        let (hub, url) = hub(apart.as_ref(), dir.path(), &format!("{at}:0"));
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        target.set_nonblocking(true).unwrap();
        let remote = target.local_addr().unwrap().port();
        let policy = format!(
            "[[allow]]\ncommand = [\"sh\", \"**\"]\n[[tunnel]]\nto = [\"localhost:{remote}\"]\n"
        );
        std::fs::write(dir.path().join("policy.toml"), policy).unwrap();
        let (worker, registered) = worker(dir.path(), &url, &[]);

        let mut command = client.command(LOANER);
        let forward = format!("0:{remote}");
        let session = registered["session"].as_str().unwrap();
        command.args([
            "tunnel", "--json", "--hub", &url, "--session", session, &forward,
        ]);
        let mut tunnel = process("tunnel", dir.path(), command);
        let port = tunnel.event("listening")["port"].as_u64().unwrap();
        Scene {
            tunnel,
            client,
            worker,
            hub,
            apart,
            url,
            registered,
            target,
            port,
            programs: Vec::new(),
            dir,
        }
    }

    /// A program at the client that connects through the tunnel, and sends back what comes. The end beside the worker.
    pub fn connect(&mut self) -> TcpStream {
        let echo = format!("exec 3<>/dev/tcp/127.0.0.1/{} && cat <&3 >&3", self.port);
        let program = self.client.command("bash").args(["-c", &echo]).spawn();
        self.programs.push(program.unwrap());
        let mut accepted = None;
        until("a connection at the worker", PATIENCE, || {
            accepted = self.target.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    }

    /// What the tunnel says of its tube, to whoever asks on its machine.
    pub fn status(&self) -> Value {
        let mut command = Command::new(LOANER);
        without_settings(&mut command);
        command.env("XDG_STATE_HOME", self.dir.path().join("tunnel"));
        let output = command.args(["status", "--json"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let told: Value = serde_json::from_str(&said).unwrap();
        let mut parts = told["parts"].as_array().unwrap().iter();
        parts
            .find(|part| part["chart"] == "tunnel")
            .unwrap()
            .clone()
    }

    /// Waits for the end of one of the client's programs, in the order in which they connected.
    pub fn program_ends(&mut self, program: usize) -> ExitStatus {
        let mut ended = None;
        until("the end of a program", LONG, || {
            ended = self.programs[program].try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// Has packets between client and worker get lost, both ways, or not any more. Neither is told by its system.
    pub fn hole(&self, open: bool) {
        let neighbour = |of: &str, dev: &str| match open {
            true => format!("neigh replace {of} lladdr {NOBODY} dev {dev} nud permanent"),
            false => format!("neigh del {of} dev {dev}"),
        };
        // Where the hub is apart, it can be reached all the same.
        let own = if self.apart.is_some() { "lan" } else { "peers" };
        ip(&neighbour(THERE, own));
        self.client.ip(&neighbour(HERE, LINK));
    }

    /// Gives the worker's machine another address instead of the one that it has, where the hub is on a machine of its own.
    pub fn replace_worker_address(&self, address: &str) {
        ip("address flush dev lan");
        ip(&format!("address add {address}/24 dev lan"));
    }

    /// `loaner` on the client's machine, as this user, for the worker.
    pub fn at_client(&self, user: &str, arguments: &[&str]) -> Process {
        self.ask(self.client.command(LOANER), user, arguments)
    }

    /// The same on the worker's machine.
    pub fn at_worker(&self, user: &str, arguments: &[&str]) -> Process {
        self.ask(Command::new(LOANER), user, arguments)
    }

    fn ask(&self, mut command: Command, user: &str, arguments: &[&str]) -> Process {
        let session = self.registered["session"].as_str().unwrap();
        command.args(arguments);
        command.args(["--json", "--hub", &self.url, "--session", session]);
        process(user, self.dir.path(), command)
    }

    /// Starts the hub again, where it was, with what it had kept.
    pub fn start_hub_again(&mut self) {
        let listen = self.url.trim_start_matches("http://");
        (self.hub, _) = hub(self.apart.as_ref(), self.dir.path(), listen);
    }

    /// Starts the worker again, as the same one, in its room.
    pub fn start_worker_again(&mut self) {
        let text = |key: &str| self.registered[key].as_str().unwrap();
        let room = ["--room", text("room"), "--token", text("token")];
        let (worker, registered) = worker(self.dir.path(), &self.url, &room);
        assert_eq!(registered["worker"], self.registered["worker"]);
        self.worker = worker;
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for program in &mut self.programs {
            // It may have ended by itself.
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Starts a program of Loaner's, with state of its own.
fn process(name: &str, dir: &Path, mut command: Command) -> Process {
    without_settings(&mut command);
    command.env("XDG_STATE_HOME", dir.join(name));
    Process::start(name, command)
}

/// Loaner's program, on this machine.
fn here() -> Command {
    let mut command = Command::new("setpriv");
    command.args(DIES).arg(LOANER);
    command
}

/// A hub, and its URL.
fn hub(machine: Option<&Machine>, dir: &Path, listen: &str) -> (Process, String) {
    let mut command = match machine {
        Some(machine) => machine.command(LOANER),
        None => here(),
    };
    command.args(["hub", "--json", "--listen", listen]);
    let mut hub = process("hub", dir, command);
    let url = hub.event("listening")["url"].as_str().unwrap().to_owned();
    (hub, url)
}

/// A worker, and what it says once it is registered.
fn worker(dir: &Path, url: &str, flags: &[&str]) -> (Process, Value) {
    let mut command = here();
    command.args(["worker", "--json", "--hub", url, "--output-wait", "2"]);
    let paths = [("--work-dir", "work"), ("--policy", "policy.toml")];
    for (flag, path) in paths {
        command.arg(flag).arg::<PathBuf>(dir.join(path));
    }
    command.args(flags);
    let mut worker = process("worker", dir, command);
    let registered = worker.event("registered");
    (worker, registered)
}
