//! A real coturn.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{PATIENCE, Process, until};

/// What coturn and the hub share.
pub const SECRET: &str = "what-only-hub-and-coturn-know";

/// Where `turnserver` is; `None`, and a word about it, where it is not installed.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin"), PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join("turnserver"))
        .find(|path| path.is_file());
    if found.is_none() {
        // Past the capture of the test's output: who reads that a test passed has to see that it did not run.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: coturn is not installed (Debian: apt-get install coturn)"
        );
    }
    found
}

/// Starts coturn on this address, for peers with credentials made with [`SECRET`]. `command` is the program, wherever it
/// is to run; what it writes goes to `dir`.
pub fn start(mut command: Command, address: &str, port: u16, dir: &Path) -> Process {
    command
        // No file of the system's: neither its settings nor its data.
        .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--verbose"])
        .args(["--log-file", "stdout", "--simple-log"])
        .arg(format!("--db={}", dir.join("turndb").display()))
        .arg(format!("--pidfile={}", dir.join("turn.pid").display()))
        .args(["--realm", "loaner.test", "--use-auth-secret"])
        .arg(format!("--static-auth-secret={SECRET}"))
        .arg(format!("--listening-ip={address}"))
        .arg(format!("--relay-ip={address}"))
        .arg(format!("--listening-port={port}"));
    let process = Process::start("coturn", command);
    until("coturn listens", PATIENCE, || {
        process
            .story()
            .contains(&format!("UDP listener opened on: {address}:{port}"))
    });
    process
}

/// The password that goes with a user name.
pub fn credential(username: &str) -> String {
    use base64::Engine as _;
    use hmac::{KeyInit as _, Mac as _};
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(username.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}
