//! What a shell and `man` are given, made from the command line's own definition.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn loaner(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loaner"));
    command.args(args).current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOANER_") {
            command.env_remove(name);
        }
    }
    command
}

/// The scripts are for the shells that they are named after, and know the flags.
#[test]
fn completions_are_scripts_of_their_shells() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = loaner(dir.path(), &["completions", shell])
            .output()
            .unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["loaner", "doctor", "min-gpu-memory"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if shell == "bash" {
            // Bash itself reads it, and completes with it.
            let ask = "\nCOMP_WORDS=(loaner workers --wat); COMP_CWORD=2\n_loaner loaner --wat workers\necho \"got ${COMPREPLY[*]}\"\n";
            let mut bash = Command::new("bash")
                .arg("--norc")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut stdin = bash.stdin.take().unwrap();
            stdin.write_all(script.as_bytes()).unwrap();
            stdin.write_all(ask.as_bytes()).unwrap();
            drop(stdin);
            let output = bash.wait_with_output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains("got --watch"), "{said}");
        }
    }
    let wrong = loaner(dir.path(), &["completions", "dos"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

/// The manual has a page for each command, which `man` can show; secrets of the environment are in none.
#[test]
fn the_manual_has_a_page_for_each_command() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    let done = loaner(dir.path(), &["man", "--dir", "man1"])
        .env("LOANER_TOKEN", "hush-hush")
        .status()
        .unwrap();
    assert!(done.success());
    let commands = ["", "-hub", "-worker", "-run", "-workers", "-doctor", "-man"];
    for name in commands.map(|command| format!("loaner{command}.1")) {
        let page = std::fs::read_to_string(pages.join(&name)).unwrap();
        assert!(
            page.contains(".TH ") && page.contains(".SH NAME"),
            "{name}: {page}"
        );
        assert!(!page.contains("hush-hush"), "{name}");
    }
    let printed = loaner(dir.path(), &["man"]).output().unwrap().stdout;
    assert!(printed == std::fs::read(pages.join("loaner.1")).unwrap());
    let shown = Command::new("man")
        .arg("-l")
        .arg(pages.join("loaner-doctor.1"))
        .output();
    match shown {
        Ok(shown) if shown.status.success() => {
            let text = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(text.contains("--work-dir"), "{text}");
        }
        // A machine without `man` shows no pages; that they are such is seen above.
        _ => eprintln!("SKIPPED: there is no `man` here that shows a page"),
    }
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = loaner(dir.path(), &["man", "--dir", "file/x"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(7));
}
