//! `loaner workers` and `loaner workers --watch`: who comes, who goes, what changes, who is left out, and a hub that goes away.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Lab, Process};
use tokio::io::AsyncReadExt as _;

/// Longer than anything takes here, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

fn watch(lab: &Lab, flags: &[&str]) -> Process {
    lab.workers(&[&["--watch"], flags].concat())
}

/// A further worker of the lab's room, with this much GPU memory.
async fn further_worker(lab: &Lab, memory: &str) -> (Process, String) {
    lab.another_worker(&["--gpu-memory-mb", memory]).await
}

async fn news(watch: &mut Process, event: &str, worker: &str) -> Value {
    watch
        .event_where(event, PATIENCE, |event| event["worker"] == worker)
        .await
}

/// Who joins, changes and leaves is told, each once; Ctrl+C ends it well.
#[actix_rt::test]
async fn changes_are_told_as_they_come() {
    let lab = Lab::with(&["--gpu-memory-mb", "8000"]).await;
    let mut watch = watch(&lab, &["--json"]);
    let joined = news(&mut watch, "joined", &lab.worker_id).await;
    assert_eq!(joined["properties"]["gpu_memory_mb"], 8000);
    let (mut further, id) = further_worker(&lab, "24000").await;
    news(&mut watch, "joined", &id).await;
    let mut holder = lab.peer("client").await;
    holder.reserve(&id).await;
    watch
        .event_where("changed", PATIENCE, |event| {
            event["worker"] == id.as_str() && event["properties"]["status"] == "busy"
        })
        .await;
    further.signal(Signal::SIGTERM);
    assert_eq!(further.exit_within(PATIENCE).await, 0);
    news(&mut watch, "left", &id).await;
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.exit_within(PATIENCE).await, 0);
    let of_first: Vec<_> = watch
        .events()
        .into_iter()
        .filter(|event| event["worker"] == lab.worker_id.as_str())
        .collect();
    assert_eq!(of_first, [joined], "nothing became of it");
}

/// In a pipe there is one line for each change, and workers that are too small are not shown.
#[actix_rt::test]
async fn a_pipe_gets_a_line_for_each_change() {
    let lab = Lab::with(&["--gpu-memory-mb", "8000"]).await;
    let mut watch = watch(&lab, &["--min-gpu-memory", "16000"]);
    let (mut further, id) = further_worker(&lab, "24000").await;
    let lines = |watch: &Process| watch.stdout().lines().count();
    support::until("the worker is shown", PATIENCE, || lines(&watch) == 1).await;
    further.signal(Signal::SIGTERM);
    assert_eq!(further.exit_within(PATIENCE).await, 0);
    support::until("its end is shown", PATIENCE, || {
        watch.stdout().contains("left")
    })
    .await;
    watch.signal(Signal::SIGTERM);
    assert_eq!(watch.exit_within(PATIENCE).await, 0);
    let text = watch.stdout();
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("joined ") && first.contains(&id) && first.contains("24000"),
        "{text}"
    );
    assert!(text.lines().last().unwrap().starts_with("left "), "{text}");
    assert!(!text.contains(&lab.worker_id), "{text}");
}

/// A hub that is killed and started again is waited for; what is there afterwards is shown.
#[actix_rt::test]
async fn a_restart_of_the_hub_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("hub.sqlite");
    let start = |listen: &str| {
        let store = store.to_str().unwrap();
        Process::start(
            &["hub", "--json", "--listen", listen, "--store", store],
            &[],
        )
    };
    let mut hub = start("127.0.0.1:0");
    let url = hub.event("listening").await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let work = dir.path().join("work");
    let args = [
        "worker",
        "--json",
        "--hub",
        &url,
        "--work-dir",
        work.to_str().unwrap(),
    ];
    let mut worker = Process::start(&args, &[]);
    let registered = worker.event("registered").await;
    let text = |name: &str| registered[name].as_str().unwrap().to_owned();
    let (room, token, id) = (text("room"), text("token"), text("worker"));
    let args = [
        "workers", "--watch", "--json", "--hub", &url, "--room", &room, "--token", &token,
    ];
    let mut watch = Process::start(&args, &[]);
    news(&mut watch, "joined", &id).await;
    hub.signal(Signal::SIGKILL);
    hub.exit_within(PATIENCE).await;
    watch.event_where("hub_lost", PATIENCE, |_| true).await;
    let mut hub = start(url.strip_prefix("http://").unwrap());
    hub.event("listening").await;
    watch.event_where("hub_back", PATIENCE, |_| true).await;
    // Whether or not the worker was back first, what is told adds up to a worker that is there.
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.exit_within(PATIENCE).await, 0);
    support::until("the worker is gone", PATIENCE, || {
        let mut of_worker = watch
            .events()
            .into_iter()
            .filter(|event| event["worker"] == id.as_str());
        of_worker
            .next_back()
            .is_some_and(|event| event["event"] == "left")
    })
    .await;
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.exit_within(PATIENCE).await, 0);
}

/// On a terminal there is a table, which is drawn again when something changed.
#[actix_rt::test]
async fn a_terminal_gets_a_table() {
    let lab = Lab::with(&["--gpu-memory-mb", "8000"]).await;
    let command = format!(
        "stty cols 200; XDG_STATE_HOME={} exec {} workers --watch --hub {} --room {} --token {}",
        lab.dir.path().join("state").display(),
        env!("CARGO_BIN_EXE_loaner"),
        lab.url,
        lab.room,
        lab.token
    );
    // `script` gives the program a terminal of its own.
    let mut terminal = tokio::process::Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let keyboard = terminal.stdin.take().unwrap();
    let mut screen = terminal.stdout.take().unwrap();
    let mut seen = String::new();
    let mut further = None;
    let mut buffer = [0; 4096];
    loop {
        let read = tokio::time::timeout(PATIENCE, screen.read(&mut buffer)).await;
        let count = read
            .unwrap_or_else(|_| panic!("nothing more came: {seen}"))
            .unwrap_or(0);
        assert!(count > 0, "it ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        match &further {
            None if seen.contains(&lab.worker_id) => {
                further = Some(further_worker(&lab, "24000").await);
            }
            Some((_, id)) if seen.contains(id.as_str()) => break,
            _ => {}
        }
    }
    assert!(seen.contains("FREE/TOTAL"), "{seen}");
    assert!(seen.contains('\u{1b}'), "it is drawn over: {seen}");
    assert!(!seen.contains("joined"), "{seen}");
    // Ctrl+C, as a keyboard sends it.
    let mut keyboard = keyboard;
    tokio::io::AsyncWriteExt::write_all(&mut keyboard, b"\x03")
        .await
        .unwrap();
    let draining = async {
        while screen.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        terminal.wait().await.unwrap()
    };
    let status = tokio::time::timeout(PATIENCE, draining).await.unwrap();
    assert!(status.success(), "{status}");
}

/// A worker that lacks memory is named with what it has and what is asked for, by the client and by the list.
#[actix_rt::test]
async fn who_is_left_out_is_named_with_the_reason() {
    let lab = Lab::with(&["--allow-commands", "--gpu-memory-mb", "16384"]).await;
    let reason = format!("{} needs 24 GB of GPU memory, has 16 GB", lab.worker_id);
    let package = lab.package("a", "true");
    let args = [
        "run",
        package.to_str().unwrap(),
        "--json",
        "--hub",
        &lab.url,
        "--room",
        &lab.room,
        "--token",
        &lab.token,
        "--auto-select",
        "--min-gpu-memory",
        "24576",
    ];
    let mut client = Process::start(&args, &[]);
    assert_eq!(client.exit_within(PATIENCE).await, 4);
    let error = client.events().pop().unwrap();
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("no worker fits: {reason}")),
        "{message}"
    );
    let args = [
        "workers", "--hub", &lab.url, "--room", &lab.room, "--token", &lab.token,
        "--min-gpu-memory", "24576",
    ];
    let mut list = Process::start(&args, &[]);
    assert_eq!(list.exit_within(PATIENCE).await, 0);
    assert!(
        list.log().contains(&format!("left out: {reason}")),
        "{}",
        list.log()
    );
    assert_eq!(list.stdout(), "");
    // The worker itself says the same to who asks it by name.
    let mut client = lab.run(&package, &["--min-gpu-memory", "24576"]);
    assert_eq!(client.exit_within(PATIENCE).await, 4);
    let error = client.events().pop().unwrap();
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("needs 24 GB of GPU memory, has 16 GB"),
        "{message}"
    );
}

/// A hub that does not let us in ends the watch at once, with what went wrong.
#[actix_rt::test]
async fn a_watch_that_is_refused_ends() {
    let lab = Lab::new().await;
    let mut wrong = Process::start(
        &[
            "workers", "--watch", "--hub", &lab.url, "--room", &lab.room, "--token", "wrong",
        ],
        &[],
    );
    assert_eq!(wrong.exit_within(PATIENCE).await, 3, "{}", wrong.log());
}
