//! Choosing among several workers: by a person at a terminal, by rule, by name.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::process::Stdio;

use support::{Lab, PATIENCE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// At a terminal, the free workers are listed with the largest first, and a number chooses.
#[actix_rt::test]
async fn a_person_at_a_terminal_is_asked() {
    let lab = Lab::with(&["--allow-commands", "--gpu-memory-mb", "8000"]).await;
    let (mut other, id) = lab.another_worker(&["--gpu-memory-mb", "24000"]).await;
    let package = lab.package("a", "echo hello");
    // `script` gives the program a terminal of its own.
    let command = format!(
        "XDG_STATE_HOME={} {} run {} --hub {} --room {} --token {} -o {}",
        lab.dir.path().join("state").display(),
        env!("CARGO_BIN_EXE_loaner"),
        package.display(),
        lab.url,
        lab.room,
        lab.token,
        lab.out().display()
    );
    let mut terminal = tokio::process::Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut keyboard, mut screen) = (
        terminal.stdin.take().unwrap(),
        terminal.stdout.take().unwrap(),
    );
    let mut seen = String::new();
    let mut answers = ["9\n", "1\n"].iter();
    tokio::time::timeout(PATIENCE, async {
        let mut buffer = [0; 4096];
        let mut asked = 0;
        loop {
            let count = screen.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                break;
            }
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            if seen.matches("Which one").count() > asked {
                asked += 1;
                keyboard
                    .write_all(answers.next().unwrap().as_bytes())
                    .await
                    .unwrap();
            }
        }
    })
    .await
    .unwrap_or_else(|_| panic!("it did not end: {seen}"));
    assert!(terminal.wait().await.unwrap().success(), "{seen}");
    assert!(seen.contains("That is none of them"), "{seen}");
    assert!(seen.contains("hello"), "{seen}");
    // The largest stands first.
    let ended = other.event("job_ended").await;
    assert_eq!(ended["outcome"], "completed", "{id} was chosen: {seen}");
}

/// Without a terminal nobody is asked: the client says what to do, and ends.
#[actix_rt::test]
async fn without_a_terminal_a_choice_has_to_be_made_before() {
    let lab = Lab::with(&["--allow-commands", "--gpu-memory-mb", "8000"]).await;
    let (mut other, id) = lab.another_worker(&["--gpu-memory-mb", "24000"]).await;
    let package = lab.package("a", "echo hello");
    let run = |flags: &[&str]| lab.run_in_room(&package, flags);
    let mut undecided = run(&[]);
    assert_eq!(undecided.exit().await, 4, "{}", undecided.stdout());
    assert!(
        undecided.log().contains("--auto-select"),
        "{}",
        undecided.log()
    );
    let mut auto = run(&["--auto-select"]);
    assert_eq!(auto.event("chosen").await["worker"], id.as_str());
    assert_eq!(auto.exit().await, 0);
    other
        .event_where("status", PATIENCE, |event| event["status"] == "available")
        .await;
    let mut named = run(&["--worker", &lab.worker_id]);
    assert_eq!(
        named.event("chosen").await["worker"],
        lab.worker_id.as_str()
    );
    assert_eq!(named.exit().await, 0);
}

/// `loaner workers` lists them all, with what they offer and whether they are free.
#[actix_rt::test]
async fn the_workers_of_a_room_are_listed() {
    let lab = Lab::with(&["--allow-commands", "--gpu-memory-mb", "8000"]).await;
    let (_other, id) = lab.another_worker(&["--gpu-memory-mb", "24000"]).await;
    let mut holder = lab.peer("client").await;
    holder.reserve(&id).await;
    holder.until_status(&id, "busy", PATIENCE).await;
    let list = |flags: &[&str]| lab.workers(flags);
    let mut all = list(&["--json"]);
    assert_eq!(all.exit().await, 0);
    let shown = all.events();
    assert_eq!(shown.len(), 2, "{}", all.stdout());
    let busy = shown
        .iter()
        .find(|event| event["worker"] == id.as_str())
        .unwrap();
    assert_eq!(busy["properties"]["status"], "busy");
    let mut large = list(&["--min-gpu-memory", "10000"]);
    assert_eq!(large.exit().await, 0);
    assert!(
        large.stdout().contains(&id) && !large.stdout().contains(&lab.worker_id),
        "{}",
        large.stdout()
    );
    assert!(
        large.stdout().contains("24000") && large.stdout().contains("busy"),
        "{}",
        large.stdout()
    );
}
