//! Real processes, real sockets, and peers that speak the protocol by hand.
#![allow(dead_code, unused_imports, clippy::unwrap_used, missing_docs)]

pub mod by_hand;
pub mod lab;
pub mod peer;
pub mod process;
pub mod stub;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use by_hand::ByHand;
pub use lab::Lab;
pub use peer::Peer;
pub use process::Process;

/// Longer than anything here takes, unless said otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a hub on a free port; its address comes back.
pub async fn hub() -> (Process, String) {
    hub_at("127.0.0.1:0").await
}

/// Starts a hub on a certain address.
pub async fn hub_at(listen: &str) -> (Process, String) {
    let mut hub = Process::start(
        &["hub", "--json", "--listen", listen, "--store", "memory"],
        &[],
    );
    let listening = hub.event("listening").await;
    let url = listening["url"].as_str().unwrap().to_owned();
    (hub, url)
}

/// Starts a worker at this hub, with its jobs in `work`, and with these further arguments and variables.
pub fn worker(url: &str, work: &Path, flags: &[&str], env: &[(&str, &str)]) -> Process {
    let work = work.to_str().unwrap();
    let mut args = vec!["worker", "--json", "--hub", url, "--work-dir", work];
    args.extend(flags);
    Process::start(&args, env)
}

/// `loaner run` of this package at this hub, with these further arguments and variables.
pub fn run(url: &str, package: &Path, flags: &[&str], env: &[(&str, &str)]) -> Process {
    let mut args = vec!["run", package.to_str().unwrap(), "--json", "--hub", url];
    args.extend(flags);
    Process::start(&args, env)
}

/// A package directory whose manifest runs this shell script and returns `models`.
pub fn package(dir: &Path, name: &str, script: &str) -> PathBuf {
    let package = dir.join(name);
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("go.sh"), script).unwrap();
    let manifest =
        format!("[job]\nname = \"{name}\"\ncommand = [\"sh\", \"go.sh\"]\noutputs = \"models\"\n");
    std::fs::write(package.join("loaner.toml"), manifest).unwrap();
    package
}

/// Zips a directory as a client would.
pub fn zip(dir: &Path) -> Vec<u8> {
    let cancelled = std::sync::atomic::AtomicBool::new(false);
    let package = loaner::client::Package::open(dir, &cancelled).unwrap();
    std::fs::read(&package.path).unwrap()
}

/// A `sleap-nn` that trains for no time at all, and whose inference is what its data say, a shell script that finds the
/// name of the result in `$o`; the PATH with it comes back.
fn fake_trainer(dir: &Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let program = bin.join("sleap-nn");
    let script = "#!/bin/sh\necho \"called: $*\"\nif [ \"$1\" = track ]; then\nwhile [ $# -gt 0 ]; do case $1 in --data_path) d=$2;; -o) o=$2;; esac; shift; done\n\
        . \"./$d\"\nexit\nfi\nfor a in \"$@\"; do case $a in trainer_config.run_name=*) n=${a#*=};; esac; done\n\
        case $n in bad*) exit 3;; esac\nmkdir -p \"models/$n\"\necho weights > \"models/$n/best.ckpt\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").unwrap_or_default()
    )
}

/// The names and contents of an archive.
pub fn entries(zip: &Path) -> Vec<(String, String)> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    contents(zip)
        .into_iter()
        .map(|(name, bytes)| (name, text(bytes)))
        .collect()
}

/// The same, of any kind.
pub fn contents(zip: &Path) -> Vec<(String, Vec<u8>)> {
    use std::io::Read as _;
    let mut archive = zip::ZipArchive::new(std::fs::File::open(zip).unwrap()).unwrap();
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        entries.push((entry.name().unwrap().into_owned(), bytes));
    }
    entries
}

/// Waits until something holds.
pub async fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + patience;
    while !holds() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it did not come to this in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process exists and is no zombie.
pub fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

/// A script that says its process id, and does not mind SIGTERM.
pub const DEAF: &str = "trap '' TERM; echo pid $$; while :; do sleep 1; done";

/// The process id in what `echo pid $$` prints.
pub fn pid_in(text: &str) -> i32 {
    let number = text.trim().strip_prefix("pid ");
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no process id: {text}"))
}
