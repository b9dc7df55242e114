//! Two machines, and a tunnel between them.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::{LOANER, Process, without_settings};

/// The address of hub and worker.
const HERE: &str = "10.77.0.1";
/// The client's, at first.
const THERE: &str = "10.77.0.2/24";
/// The client's interface.
const LINK: &str = "peers-end";

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Another machine: a network namespace that lives as long as this.
pub struct Machine {
    holder: Child,
}

impl Machine {
    /// With the other end of this machine's link.
    fn new() -> Machine {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep 3600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let machine = Machine { holder };
        let pid = machine.holder.id().to_string();
        run(Command::new("ip").args(["link", "set", LINK, "netns", &pid]));
        machine.ip(&["link", "set", "lo", "up"]);
        machine.ip(&["address", "add", THERE, "dev", LINK]);
        machine.link(true);
        machine
    }

    /// A command on it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.holder.id().to_string();
        command.args(["--target", &pid, "--net", "--", program]);
        command
    }

    fn ip(&self, args: &[&str]) {
        run(self.command("ip").args(args));
    }

    /// Gives its interface another address instead of those that it has.
    pub fn replace_address(&self, address: &str) {
        self.ip(&["address", "flush", "dev", LINK]);
        self.ip(&["address", "add", address, "dev", LINK]);
    }

    /// Switches its interface on or off.
    pub fn link(&self, up: bool) {
        self.ip(&["link", "set", LINK, if up { "up" } else { "down" }]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may be gone by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn loaner(command: &mut Command, state: &Path) {
    without_settings(command);
    command.env("XDG_STATE_HOME", state);
}

/// A tunnel from the client's machine to a program beside the worker.
pub struct Scene {
    pub tunnel: Process,
    pub client: Machine,
    target: TcpListener,
    port: u64,
    program: Option<Child>,
    _worker: Process,
    _hub: Process,
    _dir: tempfile::TempDir,
}

impl Scene {
    pub fn start() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let state = |name: &str| dir.path().join(name);
        let client = Machine::new();
        let mut command = Command::new(LOANER);
        let listen = format!("{HERE}:0");
        command.args(["hub", "--json", "--listen", &listen, "--store", "memory"]);
        loaner(&mut command, &state("hub"));
        let mut hub = Process::start("hub", command);
        let url = hub.event("listening")["url"].as_str().unwrap().to_owned();

        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = target.local_addr().unwrap().port();
        let policy = dir.path().join("policy.toml");
        std::fs::write(
            &policy,
            format!("[[tunnel]]\nto = [\"localhost:{remote}\"]\n"),
        )
        .unwrap();
        let mut command = Command::new(LOANER);
        command.args(["worker", "--json", "--hub", &url, "--work-dir"]);
        command
            .arg(dir.path().join("work"))
            .arg("--policy")
            .arg(policy);
        loaner(&mut command, &state("worker"));
        let mut worker = Process::start("worker", command);
        let session = worker.event("registered")["session"]
            .as_str()
            .unwrap()
            .to_owned();

        let mut command = client.command(LOANER);
        let forward = format!("0:{remote}");
        command.args([
            "tunnel", "--json", "--hub", &url, "--session", &session, &forward,
        ]);
        loaner(&mut command, &state("client"));
        let mut tunnel = Process::start("tunnel", command);
        let port = tunnel.event("listening")["port"].as_u64().unwrap();
        Scene {
            tunnel,
            client,
            target,
            port,
            program: None,
            _worker: worker,
            _hub: hub,
            _dir: dir,
        }
    }

    /// A program at the client that connects through the tunnel, and sends back what comes. The end beside the worker.
    pub fn connect(&mut self) -> TcpStream {
        let echo = format!("exec 3<>/dev/tcp/127.0.0.1/{} && cat <&3 >&3", self.port);
        let program = self.client.command("bash").args(["-c", &echo]).spawn();
        self.program = Some(program.unwrap());
        self.target.accept().unwrap().0
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(program) = &mut self.program {
            // It may have ended by itself.
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}
