//! The command line, seen from outside: mistakes that a newcomer makes, what is said about them, and the exit codes.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

const SESSION: &str = "sleap-session:eyJyIjogImEiLCAidCI6ICJiIiwgInAiOiAiYyJ9";

/// What a process said, and how it ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

struct Place {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl Place {
    fn new() -> Self {
        Place {
            dir: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        }
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A directory that is a package.
    fn package(self) -> Self {
        self.file("package/loaner.toml", "[job]\ncommand = \"true\"\n")
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    fn loaner(&self, line: &str) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_loaner"))
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ended {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails with `code`, on standard error, with all of `parts` in it.
    fn fails(&self, line: &str, code: i32, parts: &[&str]) {
        let ended = self.loaner(line);
        assert_eq!(ended.code, code, "loaner {line}: {}", ended.err);
        assert_eq!(ended.out, "", "loaner {line}");
        for part in parts {
            assert!(ended.err.contains(part), "loaner {line}: {}", ended.err);
        }
        assert!(
            !ended.err.contains("panicked"),
            "loaner {line}: {}",
            ended.err
        );
    }

    /// Fails with `code`, in one line of JSON on standard output, whose message has `part` in it.
    fn fails_in_json(&self, line: &str, code: i32, part: &str) {
        let ended = self.loaner(line);
        assert_eq!(ended.code, code, "loaner {line}: {}", ended.err);
        let event: Value = serde_json::from_str(&ended.out).unwrap();
        let fields: Vec<_> = event.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["code", "event", "message"]);
        assert_eq!(event["event"], "error");
        assert_eq!(event["code"], code);
        assert!(event["message"].as_str().unwrap().contains(part), "{event}");
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// The address of a hub that is not there. Nobody else gets the port while the socket is held.
fn nobody() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, format!("http://{addr}"))
}

#[test]
fn a_wrong_flag_or_command_gets_a_tip() {
    let place = Place::new().package();
    place.fails(
        "run package --sesion x",
        2,
        &["--sesion", "'--session'", "Usage: loaner run"],
    );
    place.fails("runn package", 2, &["runn", "'run'"]);
    place.fails("hub --listen 8080", 2, &["8080", "127.0.0.1:8080"]);
    place.fails(
        "worker --hub localhost:8080",
        2,
        &["localhost:8080", "http://HOST:PORT"],
    );
    place.fails(
        "workers --min-gpu-memory much",
        2,
        &["--min-gpu-memory", "much"],
    );
}

#[test]
fn where_to_run_is_asked_for_in_words() {
    let place = Place::new().package();
    place.fails(
        "run package",
        2,
        &["--session STRING", "--room ID and --token T"],
    );
    place.fails("run package --room a", 2, &["--token T"]);
    place.fails("run package --token a", 2, &["--room ID"]);
    place.fails("worker --room a", 2, &["--token T"]);
    place.fails("worker --token a", 2, &["--room ID"]);
    place.fails("workers --room a", 2, &["--token T"]);
    place.fails("workers", 2, &["--room ID and --token T"]);
    place.fails(
        "run package --session hello",
        2,
        &["sleap-session:", "copy"],
    );
    place.fails(
        &format!("run package --session {SESSION} --room a --token b"),
        2,
        &["leave one"],
    );
    place.fails(
        "run package --room a --token b --worker c --auto-select",
        2,
        &["leave one"],
    );
    assert_eq!(place.names(), ["package"]);
}

#[test]
fn a_package_that_is_none_is_told_before_anybody_is_bothered() {
    let (_held, hub) = nobody();
    let place = Place::new()
        .file("empty/readme", "")
        .file("text.zip", "text");
    for (package, parts) in [
        ("nowhere", ["No such file", "a directory or a .zip file"]),
        (
            "empty",
            [
                "neither train-script.sh nor loaner.toml",
                "loaner run --help",
            ],
        ),
        ("text.zip", ["text.zip", "zip"]),
    ] {
        let line = format!("run {package} --hub {hub} --session {SESSION}");
        place.fails(&line, 7, &parts);
        place.fails_in_json(&format!("--json {line}"), 7, parts[0]);
    }
}

#[test]
fn a_hub_that_is_not_there_is_named_once() {
    let (_held, hub) = nobody();
    let place = Place::new().package();
    for command in [
        "run package --room a --token b", "workers --room a --token b", "worker",
        "worker --room a --token b",
    ] {
        let line = format!("{command} --hub {hub}");
        place.fails(&line, 3, &[&hub, "refused", "is it running"]);
        assert_eq!(place.loaner(&line).err.matches("refused").count(), 1);
        place.fails_in_json(&format!("{line} --json"), 3, &hub);
    }
}

#[test]
fn a_port_that_is_taken_is_a_message_and_not_a_panic() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let place = Place::new();
    let line = format!("hub --listen 127.0.0.1:0 --listen {addr}");
    place.fails(
        &line,
        1,
        &[&addr.to_string(), "another program", "another port"],
    );
}

#[test]
fn settings_that_are_none_are_told_with_their_file() {
    let settings = |text| Place::new().package().file("loaner.toml", text);
    settings("[worker]\nhubb = 1").fails(
        "worker",
        2,
        &["loaner.toml", "`hubb`", "loaner worker --help"],
    );
    settings("[wrkr]\nhub = 1").fails("worker", 2, &["loaner.toml", "`wrkr`", "[worker]"]);
    settings("[worker").fails("worker", 2, &["loaner.toml", "line 1"]);
    settings("[worker]\nhub = \"x\"").fails("worker", 2, &["--hub", "http://HOST:PORT"]);
    settings("[worker]\nhubb = 1").fails_in_json("worker --json", 2, "`hubb`");
    Place::new().fails(
        "--config none.toml worker",
        2,
        &["none.toml", "cannot be read"],
    );
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let (_held, hub) = nobody();
    let (_held_too, other) = nobody();
    let file = format!("[workers]\nhub = \"{hub}\"\nroom = \"a\"\ntoken = \"b\"");
    let place = Place::new().file("loaner.toml", &file);
    place.fails("workers", 3, &[&hub]);
    place.fails(&format!("workers --hub {other}"), 3, &[&other]);
    let place = place.env("LOANER_HUB", &other);
    place.fails("workers", 3, &[&other]);
    place.fails(&format!("workers --hub {hub}"), 3, &[&hub]);

    // A way to find a worker that is given nearer to the user replaces another.
    let file = format!("[run]\nhub = \"{hub}\"\nsession = \"{SESSION}\"\ntoken = \"t\"");
    let place = Place::new().package().file("loaner.toml", &file);
    place.fails("run package", 3, &[&hub]);
    place.fails("run package --room a --auto-select", 3, &[&hub]);
    let place = place.env("LOANER_ROOM", "a");
    place.fails("run package", 3, &[&hub]);
    place.fails(&format!("run package --session {SESSION}"), 3, &[&hub]);
}

#[test]
fn json_is_for_wrong_command_lines_too_but_not_for_help() {
    let place = Place::new();
    place.fails_in_json("--json run package --sesion x", 2, "--sesion");
    place.fails_in_json("run package --json", 2, "--session STRING");
    place.fails_in_json("frobnicate --json", 2, "frobnicate");
    let ended = place.loaner("--json run --help");
    assert_eq!(ended.code, 0);
    assert!(ended.out.contains("Usage: loaner run"), "{}", ended.out);
    let place = place.env("LOANER_JSON", "1");
    place.fails_in_json("run --sesion x", 2, "--sesion");
    let place = Place::new().env("LOANER_JSON", "no");
    place.fails("run --sesion x", 2, &["--sesion"]);
}

#[test]
fn the_help_teaches() {
    let place = Place::new();
    let help = place.loaner("--help").out;
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "70", "130"] {
        let listed = help
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{code}  ")));
        assert!(listed, "{code}: {help}");
    }
    assert!(
        help.contains("~/.config/loaner/loaner.toml") && help.contains("LOANER_HUB"),
        "{help}"
    );
    for command in ["hub", "worker", "run", "workers", "charts"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let ended = place.loaner(&format!("{command} --help"));
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        for part in [
            format!("Usage: loaner {command}"),
            format!("Examples:\n  loaner {command}"),
            "Exit codes and configuration: loaner --help".to_owned(),
        ] {
            assert!(ended.out.contains(&part), "{part}: {}", ended.out);
        }
    }
    assert_eq!(place.loaner("").code, 2);
    assert!(place.names().is_empty());
}

/// A look at the settings makes nothing, and tells of a place where no store can be.
#[test]
fn settings_are_checked_and_nothing_is_made() {
    let place = Place::new().file("notes", "no store");
    let ended = place.loaner("hub --check-config --json --store new/hub.sqlite");
    assert_eq!(ended.code, 0, "{}", ended.err);
    let event: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&event["event"], &event["store_state"]),
        (&"config".into(), &"absent".into())
    );
    assert_eq!(place.loaner("hub --check-config").code, 0);
    place.fails(
        "hub --check-config --store notes",
        1,
        &["notes is not a hub's store", "choose another file"],
    );
    let below = "hub --check-config --store notes/hub.sqlite";
    place.fails(below, 1, &["notes/hub.sqlite cannot be made"]);
    assert_eq!(place.names(), ["notes"]);
    let notes = fs::read_to_string(place.dir.path().join("notes"));
    assert_eq!(notes.unwrap(), "no store");
}

/// The settings of a hub that runs can be checked beside it, which it does not notice; so can those of one that has
/// stopped.
#[test]
fn settings_are_checked_while_their_hub_runs() {
    let place = Place::new();
    let mut hub = Command::new(env!("CARGO_BIN_EXE_loaner"))
        .args(["hub", "--listen", "127.0.0.1:0", "--store", "hub.sqlite"])
        .current_dir(place.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(hub.stdout.take().unwrap()).lines();
    let told = out.next().unwrap().unwrap();
    assert!(told.starts_with("The hub listens on "), "{told}");
    let names = place.names();
    let check = "hub --check-config --store hub.sqlite";
    for _ in 0..2 {
        let ended = place.loaner(check);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let store = "hub.sqlite (in use by a hub that runs)";
        assert!(ended.out.contains(store), "{}", ended.out);
    }
    assert_eq!(place.names(), names);
    assert_eq!(hub.try_wait().unwrap(), None, "it runs on");
    let pid = nix::unistd::Pid::from_raw(hub.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(hub.wait().unwrap().success());
    assert_eq!(place.names(), ["hub.sqlite"]);
    let kept = fs::read(place.dir.path().join("hub.sqlite")).unwrap();
    let ended = place.loaner(check);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(!ended.out.contains("in use"), "{}", ended.out);
    assert_eq!(place.names(), ["hub.sqlite"]);
    assert!(fs::read(place.dir.path().join("hub.sqlite")).unwrap() == kept);
}
