//! Network namespaces, and commands that run in them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::unistd::Uid;

use crate::program::without_settings;

/// A network namespace, and others that are tied to it. They live as long as the process that holds the first, which
/// ends with its standard input: also when the test is killed.
pub struct Net {
    holder: Child,
    /// The holders of the others.
    ends: Vec<u32>,
}

impl Net {
    /// Has a script of `tests/` make them; `None`, and a word about it, where that is not possible. The script gets a
    /// command to run in the first namespace, and adds the process ids of the holders of the others to it.
    pub fn new(script: &str) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(script);
        let mut holder = Command::new(script)
            .args(["sh", "-c", "echo made $*; cat", "holder"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(holder.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        if let Some(ends) = line.strip_prefix("made") {
            let ends = ends.split_whitespace().map(|id| id.parse().unwrap());
            let ends = ends.collect();
            return Some(Net { holder, ends });
        }
        let mut why = String::new();
        let _ = holder.stderr.take().unwrap().read_to_string(&mut why);
        let _ = holder.wait();
        // Past the capture of the test's output: who reads that a test passed has to see that it did not run.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no network namespaces can be made here (be root, or allow user namespaces): {}",
            why.trim()
        );
        None
    }

    /// A command that will run in the first namespace.
    pub fn command(&self, program: &Path) -> Command {
        beside(self.holder.id(), program)
    }

    /// A command that will run in another of them, by its number from 0.
    pub fn command_at(&self, end: usize, program: &Path) -> Command {
        beside(self.ends[end], program)
    }

    /// The process that holds another of them, by its number from 0.
    pub fn end(&self, end: usize) -> u32 {
        self.ends[end]
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A command that will run in the namespace of this process, and that does not outlive the test.
fn beside(holder: u32, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--target={holder}"));
    if !Uid::current().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    command
        .args(["--net", "setpriv", "--pdeathsig", "KILL"])
        .arg(program);
    without_settings(&mut command);
    command
}
