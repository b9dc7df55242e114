//! Logs and lists.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::Ours;
use super::support::{PATIENCE, Process};

fn text(logs: &Process) -> String {
    let parts = logs
        .events()
        .into_iter()
        .filter(|event| event["event"] == "log");
    parts
        .map(|event| event["text"].as_str().unwrap().to_owned())
        .collect()
}

/// The log of a job can be read while the job runs and after it, from any offset on; who follows it gets what is added, and ends
/// with the job. The job is listed with its state and the length of its log.
#[actix_rt::test]
async fn a_log_is_read_and_followed_from_any_offset() {
    let ours = Ours::new().await;
    let script = format!(
        "echo begun; printf '10%%\\r20%%\\r'; while [ ! -f '{0}' ]; do sleep 0.1; done; echo end",
        ours.lab.dir.path().join("go").display()
    );
    let mut client = ours.run(&ours.package(&script, ""));
    client
        .event_where("output", PATIENCE, |event| event["text"] == "\r20%")
        .await;

    let mut now = ours.ask("logs", &[]);
    assert_eq!(now.exit().await, 0, "{}", now.stdout());
    assert_eq!(text(&now), "begun\n10%\r20%\r");
    let mut follow = ours.ask("logs", &["-f", "--from", "6"]);
    let first = follow.event("log").await;
    assert_eq!(
        (&first["offset"], &first["text"]),
        (&json!(6), &json!("10%\r20%\r"))
    );
    let [job] = &ours.jobs().await[..] else {
        panic!("{:?}", ours.jobs().await)
    };
    assert_eq!(
        (&job["state"], &job["log"], &job["name"]),
        (&json!("running"), &json!(14), &json!("p.zip"))
    );
    assert_eq!(job["worker"], Value::from(ours.lab.worker_id.clone()));

    ours.lab.open_gate();
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    let end = follow.event("log_end").await;
    assert_eq!(end["offset"], 18);
    assert_eq!(follow.exit().await, 0);
    assert_eq!(text(&follow), "10%\r20%\rend\n");
    let id = job["id"].as_str().unwrap();
    let mut later = ours.ask("logs", &[id, "--from", "14"]);
    assert_eq!(later.exit().await, 0);
    assert_eq!(text(&later), "end\n");
    assert_eq!(ours.jobs().await[0]["state"], "completed");
    let mut unknown = ours.ask("logs", &["nobody"]);
    assert_eq!(unknown.exit().await, 8);
}

/// Whoever reads a log or a list may have enough of it: what shows it ends quietly, and as ever.
#[actix_rt::test]
async fn a_reader_may_have_enough() {
    let ours = Ours::new().await;
    let mut client = ours.run(&ours.package("seq 1 200000", ""));
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    for (command, json) in [
        ("logs", false),
        ("logs", true),
        ("jobs", false),
        ("jobs", true),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut shows = tokio::process::Command::new(env!("CARGO_BIN_EXE_loaner"));
        shows.args([
            command, "--hub", &ours.lab.url, "--session", &ours.lab.session,
        ]);
        shows.arg("--state-dir").arg(&ours.state);
        shows.args(json.then_some("--json")).kill_on_drop(true);
        shows
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped());
        let shows = shows.spawn().unwrap();
        if command == "logs" {
            let mut first = String::new();
            let mut reader = std::io::BufReader::new(reader);
            std::io::BufRead::read_line(&mut reader, &mut first).unwrap();
            assert!(
                first == "1\n" || json && first.contains("1\\n2\\n"),
                "{first}"
            );
        } else {
            drop(reader);
        }
        let ended = tokio::time::timeout(PATIENCE, shows.wait_with_output());
        let ended = ended.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*said), (Some(0), ""), "{command}");
    }
}

/// A log that cannot be kept costs the job nothing: it runs, its results come, and its client is told why it sees nothing.
#[actix_rt::test]
async fn a_log_that_cannot_be_kept_is_told() {
    let worker_state = tempfile::tempdir().unwrap();
    let state = worker_state.path().to_str().unwrap();
    let ours = Ours::with(&["--allow-commands", "--state-dir", state]).await;
    // What is in the way of the first log.
    let kept = jobs_below(worker_state.path());
    std::fs::create_dir(kept.join("1.log")).unwrap();
    let script = "echo hello; mkdir models; echo m > models/m";
    let mut client = ours.run(&ours.package(script, ""));
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    let events = client.events();
    let outputs = events.iter().filter(|event| event["event"] == "output");
    let [told] = &outputs
        .map(|event| event["text"].as_str().unwrap())
        .collect::<Vec<_>>()[..]
    else {
        panic!("{}", client.stdout())
    };
    assert!(told.contains("cannot keep the log of this job"), "{told}");
    assert_eq!(events.last().unwrap()["entries"][0]["name"], "m");
    let mut logs = ours.ask("logs", &[]);
    assert_eq!(logs.exit().await, 8, "{}", logs.stdout());

    let mut foreign = ours.lab.peer("client").await;
    let call = foreign.call(&ours.lab.worker_id).await;
    std::fs::create_dir(kept.join("2.log")).unwrap();
    call.upload("b.zip", &ours.lab.archive("b", script)).await;
    call.until("[loaner] the worker cannot keep the log").await;
    call.until("JOB_COMPLETE").await;
}

/// Where the worker keeps what it knows of jobs, below its state.
fn jobs_below(state: &std::path::Path) -> std::path::PathBuf {
    let mut pending = vec![state.to_owned()];
    while let Some(dir) = pending.pop() {
        if dir.extension().is_some_and(|end| end == "jobs") {
            return dir;
        }
        let entries = std::fs::read_dir(dir).unwrap().flatten();
        pending.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.is_dir()),
        );
    }
    panic!("no directory of jobs");
}

/// A client that reads nothing holds a job up for as long as the worker was told, and no longer: the job goes on, its log is
/// complete, and the client is told how much it did not get.
#[actix_rt::test]
async fn a_client_that_does_not_read_does_not_stop_the_job() {
    let ours = Ours::with(&["--allow-commands", "--output-wait", "0"]).await;
    let over = ours.lab.dir.path().join("over");
    let script = format!("seq 1 8000000; touch '{}'; echo last", over.display());
    let mut client = ours.run(&ours.package(&script, ""));
    client
        .event_where("output", PATIENCE, |event| event["text"] == "1\n")
        .await;
    client.signal(nix::sys::signal::Signal::SIGSTOP);
    super::support::until("the job has printed all", Duration::from_secs(300), || {
        over.exists()
    })
    .await;
    client.signal(nix::sys::signal::Signal::SIGCONT);
    let gap = client
        .event_where("left_out", Duration::from_secs(300), |_| true)
        .await;
    let (from, to) = (gap["from"].as_u64().unwrap(), gap["to"].as_u64().unwrap());
    assert!(from < to);
    client
        .event_where("output", Duration::from_secs(300), |event| {
            event["text"] == "last\n"
        })
        .await;
    assert_eq!(client.exit_within(Duration::from_secs(300)).await, 0);
    let length = ours.jobs().await[0]["log"].as_u64().unwrap();
    let mut rest = ours.ask("logs", &["--from", &(length - 5).to_string()]);
    assert_eq!(rest.exit().await, 0);
    assert_eq!(text(&rest), "last\n");
    assert_eq!(length, seq_bytes(8_000_000) + 5);
}

/// How many bytes `seq 1 LAST` prints.
fn seq_bytes(last: u64) -> u64 {
    (1..=last)
        .map(|number| u64::from(number.ilog10()) + 2)
        .sum()
}

/// What a worker remembers outlives it: the job, how it ended, and its log.
#[actix_rt::test]
async fn a_worker_remembers_its_jobs_over_a_restart() {
    let mut ours = Ours::new().await;
    let worker_state = ours.lab.dir.path().join("worker-state");
    let flags = ["--state-dir", worker_state.to_str().unwrap()];
    let (mut worker, id) = ours.lab.another_worker(&flags).await;
    ours.lab.worker_id.clone_from(&id);
    let package = ours.package("echo kept; exit 3", "");
    let state = ours.state.to_str().unwrap().to_owned();
    let mut client = ours
        .lab
        .run_in_room(&package, &["--worker", &id, "--state-dir", &state]);
    assert_eq!(client.exit().await, 6, "{}", client.stdout());
    worker.signal(nix::sys::signal::Signal::SIGKILL);
    worker.exit().await;

    let (_worker, id) = ours.lab.another_worker(&flags).await;
    let asked = |command: &str| {
        let lab = &ours.lab;
        let args = [
            command, "--json", "--hub", &lab.url, "--room", &lab.room, "--token", &lab.token,
            "--worker", &id, "--state-dir", &state,
        ];
        Process::start(&args, &[])
    };
    let mut jobs = asked("jobs");
    assert_eq!(jobs.exit().await, 0, "{}", jobs.stdout());
    let [job] = &jobs.events()[..] else {
        panic!("{}", jobs.stdout())
    };
    assert_eq!(job["state"], "failed");
    assert!(
        job["message"].as_str().unwrap().contains("exit code 3"),
        "{job}"
    );
    let mut logs = asked("logs");
    assert_eq!(logs.exit().await, 0, "{}", logs.stdout());
    assert_eq!(text(&logs), "kept\n");
}

/// Half a million short lines in one go arrive, all of them and in order: at our client, and at one that speaks the inherited
/// words only, to which lines are joined when many wait.
#[actix_rt::test]
async fn many_short_lines_arrive() {
    const LINES: u64 = 500_000;
    let ours = Ours::new().await;
    let package = ours.package(
        &format!("seq 1 {LINES}; mkdir models; echo m > models/m"),
        "",
    );
    let mut client = ours.run(&package);
    assert_eq!(
        client.exit_within(Duration::from_secs(300)).await,
        0,
        "{}",
        client.error()
    );
    let events = client
        .events()
        .into_iter()
        .filter(|event| event["event"] == "output");
    let shown: Vec<_> = events
        .map(|event| event["text"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        shown
            .iter()
            .map(|text| text.trim().parse::<u64>().unwrap())
            .eq(1..=LINES)
    );

    let mut foreign = ours.lab.peer("client").await;
    let call = foreign.call(&ours.lab.worker_id).await;
    call.upload("p.zip", &super::support::zip(&package)).await;
    let (texts, _) = call.results().await;
    let start = texts
        .iter()
        .position(|text| text.starts_with("TRAIN_JOB_START"))
        .unwrap();
    let end = texts
        .iter()
        .position(|text| text.starts_with("TRAIN_JOB_END"))
        .unwrap();
    let shown = texts[start + 1..end].concat();
    assert!(
        shown
            .lines()
            .map(|line| line.parse::<u64>().unwrap())
            .eq(1..=LINES)
    );
}

/// One user cannot keep others from asking; and who has enough of asking makes room at once.
#[actix_rt::test]
async fn a_user_leaves_room_for_others() {
    let ours = Ours::new().await;
    let mut client = ours.run(&ours.package("echo begun; exec sleep 1000", ""));
    client.begun().await;
    let mut following = Vec::new();
    for _ in 0..6 {
        let mut follow = ours.ask("logs", &["-f"]);
        follow.event("log").await;
        following.push(follow);
    }
    let mut refused = ours.ask("jobs", &[]);
    assert_eq!(refused.exit().await, 4, "{}", refused.stdout());
    assert!(refused.error().contains("too many"), "{}", refused.error());
    let other = ours.lab.dir.path().join("other");
    let mut asked = ours.ask_as(&other, "jobs", &[]);
    assert_eq!(asked.exit().await, 0, "{}", asked.stdout());

    let mut last = following.pop().unwrap();
    last.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(last.exit().await, 0);
    let mut stop = ours.ask("stop", &[]);
    assert_eq!(stop.exit().await, 0, "{}", stop.stdout());
    for mut follow in following {
        assert_eq!(follow.exit().await, 0, "{}", follow.stdout());
    }
}
