//! A process with a store is killed, or meets the end of its disk: what it was told is stored is there.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use loaner::hub::engine::DeviceKey;
use loaner::hub::store::Store;

use super::{ids, letter, open, wait};

/// The file of the store, in a process that is to be killed.
const FILE: &str = "HUB_STORE_TEST_FILE";

/// How often the process is killed.
const KILLS: usize = 100;

fn bob() -> DeviceKey {
    DeviceKey::new("bob", "phone")
}

/// One line to whoever killed us, past what the test harness captures.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// This test's binary, as the process that is to be killed.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// Not a test by itself: what is killed. It appends, acknowledges the older half now and then, and says what it was told.
#[test]
fn to_be_killed() {
    let Some(path) = env::var_os(FILE) else {
        return;
    };
    say("opening");
    let (store, found) = open(Path::new(&path)).unwrap();
    let mut id = found.next_id.max(1);
    loop {
        wait(|done| store.reserve_ids(id + 64, done)).unwrap();
        for _ in 0..64 {
            let this = id;
            let letters = vec![
                (bob(), letter(this, 300)),
                (DeviceKey::new("bob", "desk"), letter(this, 300)),
            ];
            store.append(
                letters,
                2,
                Box::new(move |outcome| {
                    outcome.unwrap();
                    say(&format!("stored {this}"));
                }),
            );
            id += 1;
        }
        if id % 256 < 64 {
            let up_to = id - 100;
            say(&format!("acknowledging {up_to}"));
            for device in [bob(), DeviceKey::new("bob", "desk")] {
                store.acknowledge(
                    &device,
                    up_to,
                    Box::new(move |outcome| {
                        outcome.unwrap();
                        say(&format!("acknowledged {up_to}"));
                    }),
                );
            }
        }
    }
}

/// What a killed process said last of a kind.
fn numbers(said: &[String], kind: &str) -> Vec<u64> {
    let of = |line: &String| line.strip_prefix(kind)?.strip_prefix(' ')?.parse().ok();
    said.iter().filter_map(of).collect()
}

#[test]
fn a_hundred_kills_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    let (mut present, mut killed_at_work) = (BTreeSet::new(), 0);
    for round in 0..KILLS {
        let mut process = child("crash::to_be_killed", &path).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        // At its start, or after so many answers.
        let moment = if round % 10 == 0 {
            0
        } else {
            rand::random_range(0..600)
        };
        for line in lines.by_ref() {
            said.push(line.unwrap());
            if said.last().unwrap() == "opening" || said.len() > 4 {
                let answers = numbers(&said, "stored").len();
                if answers >= moment {
                    break;
                }
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // The last line may be cut off: then it was not said.
        said.extend(lines.map_while(Result::ok));
        let stored = numbers(&said, "stored");
        killed_at_work += usize::from(!stored.is_empty());
        assert!(stored.is_sorted(), "round {round}");

        let (store, found) = open(&path).unwrap();
        let [there, desk] = ["phone", "desk"].map(|name| ids(&store, &DeviceKey::new("bob", name)));
        let (there, desk) = (BTreeSet::from_iter(there), BTreeSet::from_iter(desk));
        let asked = numbers(&said, "acknowledging").last().copied().unwrap_or(0);
        let gone = numbers(&said, "acknowledged");
        // Both devices' were told: nothing of it may come back.
        let gone = if gone.len().is_multiple_of(2) {
            gone.last().copied().unwrap_or(0)
        } else {
            0
        };
        present.extend(stored);
        for id in &present {
            assert!(
                *id <= asked || there.contains(id),
                "round {round}: {id} is lost"
            );
        }
        assert!(
            there.first().is_none_or(|id| *id > gone),
            "round {round}: acknowledged, and back"
        );
        assert!(
            there
                .iter()
                .filter(|id| **id > asked)
                .eq(desk.iter().filter(|id| **id > asked)),
            "half an order"
        );
        assert!(
            there.last().is_none_or(|id| *id < found.next_id),
            "an id that was not reserved"
        );
        let waiting: u64 = found.devices.iter().map(|device| device.waiting).sum();
        assert_eq!(waiting as usize, there.len() + desk.len());
        present = there;
        store.close().unwrap();
    }
    assert!(killed_at_work > KILLS / 2, "{killed_at_work}");
}

/// Not a test by itself: appends until the system refuses to write more, and goes on.
#[test]
fn to_be_out_of_disk() {
    let Some(path) = env::var_os(FILE) else {
        return;
    };
    let (store, _) = open(Path::new(&path)).unwrap();
    let mut failures = 0;
    for id in 1.. {
        match wait(|done| store.append(vec![(bob(), letter(id, 20_000))], 1, done)) {
            Ok(()) => say(&format!("stored {id}")),
            Err(_) => failures += 1,
        }
        if failures == 20 {
            break;
        }
    }
    say(&format!("readable {}", ids(&store, &bob()).len()));
}

#[test]
fn a_disk_that_refuses_to_write_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    let test = child("crash::to_be_out_of_disk", &path);
    // A bound on file sizes stands for the disk: the log is refused in the middle of a write.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 3001; exec \"$0\" \"$@\""])
        .arg(test.get_program())
        .args(test.get_args())
        .env(FILE, &path);
    let output = limited.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said: Vec<String> = text.lines().map(str::to_owned).collect();
    let stored = numbers(&said, "stored");
    assert!(
        stored.len() > 20,
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(numbers(&said, "readable"), [stored.len() as u64]);
    let (store, _) = open(&path).unwrap();
    assert_eq!(ids(&store, &bob()), stored);
}
