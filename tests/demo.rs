//! `tools/demo` as a user runs it, with the binary under test: three processes, a training, its results, and nothing
//! left of it.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LOANER: &str = env!("CARGO_BIN_EXE_loaner");

fn demo(dir: &Path, loaner: &Path) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/demo"));
    command
        .env("LOANER", loaner)
        .env("LOANER_DEMO_DIR", dir)
        // Of no interest to the demo, whatever they are.
        .env("LOANER_HUB", "http://127.0.0.1:1")
        .env("LOANER_ROOM", "elsewhere")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(dir: &Path, loaner: &Path) -> (Output, String) {
    let output = demo(dir, loaner).output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output, said)
}

/// A program in front of `loaner`, in `sh`.
fn wrapper(dir: &Path, before: &str) -> PathBuf {
    let path = dir.join("wrapper");
    let text = format!("#!/bin/sh\n{before}\nexec {LOANER} \"$@\"\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// Every process that was started by a demo in `dir`: it has that in its environment.
fn processes_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("environ")).ok())
        .map(|environ| String::from_utf8_lossy(&environ).into_owned())
        .filter(|environ| environ.contains(dir))
        .collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn text_of(archive: &Path, name: &str) -> String {
    let mut archive = zip::ZipArchive::new(File::open(archive).unwrap()).unwrap();
    let mut text = String::new();
    archive
        .by_name(name)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn it_works_twice_in_a_row_and_leaves_only_the_results() {
    let dir = tempfile::tempdir().unwrap();
    for archive in ["trained_train.zip", "trained_train-2.zip"] {
        let (output, said) = run(dir.path(), Path::new(LOANER));
        assert!(output.status.success(), "{said}");
        assert!(said.contains("epoch 30/30"), "{said}");
        assert!(said.contains("model.json"), "{said}");

        let archive = dir
            .path()
            .canonicalize()
            .unwrap()
            .join("results")
            .join(archive);
        assert!(said.contains(archive.to_str().unwrap()), "{said}");
        let losses: Vec<f64> = text_of(&archive, "history.csv")
            .lines()
            .map(|line| line.split_once(',').unwrap().1.parse().unwrap())
            .collect();
        assert_eq!(losses.len(), 30);
        assert!(losses.is_sorted_by(|a, b| a >= b) && losses[29] < losses[0] / 10.0);
        let model: serde_json::Value =
            serde_json::from_str(&text_of(&archive, "model.json")).unwrap();
        assert_eq!(model["loss"].as_f64(), losses.last().copied());

        assert_eq!(processes_of(dir.path()), Vec::<String>::new());
        assert_eq!(names_in(dir.path()), ["results"]);
    }
}

#[test]
fn ctrl_c_in_the_middle_of_the_training_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path(), Path::new(LOANER)).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen: Vec<String> = lines
        .by_ref()
        .map(|line| line.unwrap())
        .take_while(|line| !line.starts_with("epoch 2/"))
        .collect();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.map(|line| line.unwrap()).collect();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);

    assert!(
        seen.iter().any(|line| line.starts_with("epoch 1/")),
        "{seen:?} {said}"
    );
    assert_eq!(output.status.code(), Some(130), "{rest:?} {said}");
    assert!(
        rest.iter().any(|line| line.contains("hub stopped")),
        "{rest:?} {said}"
    );
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
    assert_eq!(names_in(dir.path()), ["results"]);
    assert_eq!(names_in(&dir.path().join("results")), Vec::<String>::new());
}

#[test]
fn what_is_left_behind_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let loaner = wrapper(
        dir.path(),
        "case \"$*\" in run*) : >\"$TMPDIR/stray\" ;; esac",
    );
    let (output, said) = run(dir.path(), &loaner);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("left behind") && said.contains("/tmp/stray"),
        "{said}"
    );
}

#[test]
fn a_part_that_fails_is_named_and_its_log_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let loaner = wrapper(
        dir.path(),
        "case \"$*\" in *\" worker \"*) echo 'no luck today' >&2; exit 3 ;; esac",
    );
    let (output, said) = run(dir.path(), &loaner);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the worker") && said.contains("no luck today"),
        "{said}"
    );
    assert_eq!(processes_of(dir.path()).len(), 0, "{said}");
    assert_eq!(names_in(dir.path()), ["wrapper"]);
}
