//! Three namespaces with a hub and a coturn in the middle, a worker at one end, and clients at the other.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::coturn;
use crate::namespace::Net;
use crate::program::{LOANER, Process};

/// The middle, as both ends see it.
const MIDDLE: &str = "10.78.0.1";
const HUB: &str = "http://10.78.0.1:8080";
const TURN: &str = "turn:10.78.0.1:3478";
/// The other end, as each end would have to see it.
const FAR: [&str; 2] = ["10.78.2.2", "10.78.1.2"];

/// What is there.
pub struct Scene {
    pub worker: Process,
    pub hub: Process,
    pub turn: Process,
    session: String,
    net: Net,
    dir: TempDir,
}

impl Scene {
    /// A hub, a coturn and a worker. `secret` is what the hub takes for the secret of coturn; without it, the hub
    /// tells of no TURN server. `None` where it cannot be; the test is skipped then.
    pub fn open(secret: Option<&str>) -> Option<Self> {
        let turnserver = coturn::program()?;
        let net = Net::new("relay/in-namespaces")?;
        let dir = TempDir::with_prefix("loaner-relay-").unwrap();
        let mut turn = net.command(&turnserver);
        // As if the ends were behind NAT: their own addresses lead nowhere, so each needs the other's relay.
        turn.arg("--denied-peer-ip=10.78.1.0-10.78.2.255");
        let turn = coturn::start(turn, MIDDLE, 3478, dir.path());

        let mut hub = net.command(Path::new(LOANER));
        hub.current_dir(dir.path()).args([
            "hub", "--json", "--listen", "10.78.0.1:8080", "--store", "memory",
        ]);
        if let Some(secret) = secret {
            let file = dir.path().join("secret");
            fs::write(&file, format!("{secret}\n")).unwrap();
            hub.args(["--turn-server", TURN, "--turn-secret-file"])
                .arg(file)
                // As well as the usable one, and of no use to our peers.
                .args(["--turn-server", "turns:10.78.0.1:5349"]);
        }
        hub.env("LOANER_LOG", "trace");
        let mut hub = Process::start("hub", hub);
        hub.event("listening");

        let mut worker = net.command_at(0, Path::new(LOANER));
        worker
            .current_dir(dir.path())
            .env("LOANER_LOG", "debug")
            .args(["worker", "--json", "--hub", HUB, "--allow-commands"])
            .arg("--work-dir")
            .arg(dir.path().join("work"));
        let mut worker = Process::start("worker", worker);
        let session = worker.event("registered")["session"]
            .as_str()
            .unwrap()
            .to_owned();
        Some(Scene {
            worker,
            hub,
            turn,
            session,
            net,
            dir,
        })
    }

    /// Where results go.
    pub fn output(&self) -> PathBuf {
        self.dir.path().join("output")
    }

    /// A package that carries `megabytes` of noise there and back.
    pub fn package(&self, megabytes: usize) -> PathBuf {
        let dir = self.dir.path().join("package");
        fs::create_dir(&dir).unwrap();
        let noise: Vec<u8> = (0..megabytes * 1_000_000).map(|_| rand::random()).collect();
        fs::create_dir(dir.join("results")).unwrap();
        fs::write(dir.join("results").join("empty"), "").unwrap();
        fs::write(dir.join("noise"), noise).unwrap();
        let job = "[job]\nname = \"echo\"\ncommand = [\"cp\", \"noise\", \"results/noise\"]\noutputs = \"results\"\n";
        fs::write(dir.join("loaner.toml"), job).unwrap();
        dir
    }

    /// A client that runs this package.
    pub fn run(&self, package: &Path) -> Process {
        let mut client = self.net.command_at(1, Path::new(LOANER));
        client
            .current_dir(self.dir.path())
            .env("LOANER_LOG", "debug")
            .args(["run", "--json", "--hub", HUB, "--session", &self.session])
            .arg("--output")
            .arg(self.output())
            .arg(package);
        Process::start("client", client)
    }

    /// Whether an end has a way to the other: a look at its routes, which are all there is.
    pub fn ends_reach_each_other(&self) -> bool {
        let mut found = FAR.iter().enumerate().map(|(end, far)| {
            let mut command = self.net.command_at(end, Path::new("ip"));
            command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
            let output = command.args(["route", "get", far]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() || said.contains("unreachable"),
                "{said}"
            );
            output.status.success()
        });
        found.any(|found| found)
    }
}
