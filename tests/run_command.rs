//! Commands that a client gives, and what the worker makes of them: `loaner run DIR -- COMMAND`, policies, limits.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use support::{Lab, PATIENCE, Process, alive, entries, pid_in, until};

/// Longer than the slowest of these takes on a busy machine.
const LONG: std::time::Duration = std::time::Duration::from_secs(60);

/// A directory with these files.
fn tree(lab: &Lab, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = lab.dir.path().join(name);
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// `loaner run DIR [flags] -- argv...`
fn run(lab: &Lab, dir: &Path, flags: &[&str], argv: &[&str]) -> Process {
    let mut all = flags.to_vec();
    all.push("--");
    all.extend(argv);
    lab.run(dir, &all)
}

fn output(client: &Process) -> String {
    let events = client.events();
    let texts = events.iter().filter(|event| event["event"] == "output");
    texts.map(|event| event["text"].as_str().unwrap()).collect()
}

fn error(client: &Process) -> String {
    let events = client.events();
    let error = events.iter().find(|event| event["event"] == "error");
    error.unwrap_or_else(|| panic!("no error in {}", client.stdout()))["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What came back, as names and contents.
async fn results(client: &mut Process) -> Vec<(String, String)> {
    assert_eq!(
        client.exit_within(LONG).await,
        0,
        "{}\n{}",
        client.stdout(),
        client.log()
    );
    let done = client.event("done").await;
    match done["results"].as_str() {
        Some(path) => entries(Path::new(path)),
        None => Vec::new(),
    }
}

fn names(entries: &[(String, String)]) -> Vec<&str> {
    let files = entries.iter().map(|(name, _)| name.as_str());
    files.filter(|name| !name.ends_with('/')).collect()
}

fn policy(lab: &tempfile::TempDir, text: &str) -> String {
    let path = lab.path().join("policy.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A command runs in the directory that was packed, less what is ignored, and what it made or changed comes back.
#[actix_rt::test]
async fn a_command_brings_back_what_it_made() {
    let lab = Lab::new().await;
    let dir = tree(
        &lab,
        "project",
        &[
            (".gitignore", "*.log\n"),
            ("sub/.loanerignore", "secret.txt\n"),
            ("sub/secret.txt", "secret"),
            ("sub/data.txt", "42"),
            ("old.log", "old"),
            ("kept.txt", "same"),
            ("edited.txt", "before"),
        ],
    );
    let script = "find . -type f | sort; echo after! > edited.txt; mkdir new; cat sub/data.txt > new/made.txt; echo $1 > arg";
    let mut client = run(&lab, &dir, &[], &["sh", "-c", script, "x", "a b"]);
    let results = results(&mut client).await;
    assert_eq!(names(&results), ["arg", "edited.txt", "new/made.txt"]);
    assert!(
        results.contains(&("arg".to_owned(), "a b\n".to_owned())),
        "{results:?}"
    );
    assert!(results.contains(&("new/made.txt".to_owned(), "42".to_owned())));
    let seen = output(&client);
    assert!(
        seen.contains("./sub/data.txt\n") && seen.contains("./kept.txt\n"),
        "{seen}"
    );
    assert!(
        !seen.contains("secret.txt") && !seen.contains("old.log"),
        "{seen}"
    );

    let mut client = run(
        &lab,
        &dir,
        &["--outputs", "*.csv", "--outputs", "m/**"],
        &["sh", "-c", "mkdir m; : > m/w; : > a.csv; : > b.txt"],
    );
    let results = self::results(&mut client).await;
    assert_eq!(names(&results), ["a.csv", "m/w"]);
}

/// What the policy does not allow is refused with the rule that would; what it allows runs, for its room and its user.
#[actix_rt::test]
async fn the_worker_decides() {
    let first = Lab::with(&[]).await;
    let dir = tree(&first, "project", &[("go.sh", "echo ran > out.txt\n")]);
    let state = first.dir.path().join("state");
    let state = state.to_str().unwrap();
    let mut client = run(&first, &dir, &["--state-dir", state], &["sh", "go.sh"]);
    assert_eq!(client.exit_within(LONG).await, 6);
    let told = error(&client);
    assert!(
        told.contains("--allow-commands")
            && told.contains("[[allow]] command = [\"sh\", \"go.sh\"]"),
        "{told}"
    );

    let mut identity = Process::start(
        &[
            "identity", "--json", "--hub", &first.url, "--state-dir", state,
        ],
        &[],
    );
    let user = identity.event("identity").await["user"]
        .as_str()
        .unwrap()
        .to_owned();

    let place = tempfile::tempdir().unwrap();
    let rules = format!(
        "[[allow]]\ncommand = [\"sh\", \"go.sh\"]\nrooms = [\"{}\"]\n\
         [[allow]]\ncommand = [\"sh\", \"go.sh\", \"room\"]\nrooms = [\"elsewhere\"]\n\
         [[allow]]\ncommand = [\"sh\", \"go.sh\", \"user\"]\nusers = [\"{user}\"]\n",
        first.room
    );
    let file = policy(&place, &rules);
    let work = place.path().join("work");
    let at = [
        "--hub", &first.url, "--room", &first.room, "--token", &first.token,
    ];
    let mut args = vec!["worker", "--json", "--policy", &file];
    args.extend(["--work-dir", work.to_str().unwrap()]);
    args.extend(at);
    let mut worker = Process::start(&args, &[]);
    let id = worker.event("registered").await["worker"]
        .as_str()
        .unwrap()
        .to_owned();
    let out = place.path().join("out");
    let here = |flags: &[&str], argv: &[&str]| {
        let mut args = vec!["run", dir.to_str().unwrap(), "--json", "--worker", &id];
        args.extend(["-o", out.to_str().unwrap()]);
        args.extend(at);
        args.extend(flags);
        args.extend(["--", "sh", "go.sh"]);
        args.extend(argv);
        Process::start(&args, &[])
    };
    let mut client = here(&[], &[]);
    assert_eq!(names(&results(&mut client).await), ["out.txt"]);
    let mut client = here(&["--state-dir", state], &["user"]);
    assert_eq!(names(&results(&mut client).await), ["out.txt"]);
    for word in ["room", "user"] {
        let mut client = here(&[], &[word]);
        assert_eq!(client.exit_within(LONG).await, 6);
        let told = error(&client);
        let rule =
            format!("ask its owner to add: [[allow]] command = [\"sh\", \"go.sh\", \"{word}\"]");
        assert!(told.contains(&rule), "{told}");
    }
}

/// A policy with a mistake, or beside the flag that allows everything, keeps the worker from starting.
#[actix_rt::test]
async fn a_wrong_policy_is_told_at_start() {
    let place = tempfile::tempdir().unwrap();
    let file = policy(&place, "[[allow]]\ncommand = [\"sh\"]\nroom = [\"a\"]\n");
    for (flags, part) in [
        (
            vec!["--policy", &file],
            "policy.toml, line 3, column 1: unknown field `room`",
        ),
        (
            vec!["--policy", &file, "--allow-commands"],
            "leave --allow-commands out",
        ),
        (vec!["--policy", "/nowhere/policy.toml"], "cannot be read"),
    ] {
        let mut args = vec!["worker", "--json"];
        args.extend(flags);
        let mut worker = Process::start(&args, &[]);
        assert_eq!(worker.exit_within(LONG).await, 2);
        assert!(error(&worker).contains(part), "{}", worker.stdout());
    }
}

/// A job that takes too long is told to stop by its own signal, has its last words and its outputs, and fails by name.
#[actix_rt::test]
async fn a_time_limit_ends_a_job() {
    let lab = Lab::with(&["--allow-commands", "--max-job-time", "2s"]).await;
    let manifest = "[job]\n[job.stop]\nsignal = \"INT\"\ndeadline = \"60s\"\n[job.resources]\ntime_limit = \"1h\"\n";
    let script = "trap 'echo saved > saved.txt; echo last words; exit 0' INT; echo pid $$; while :; do sleep 0.05; done";
    let dir = tree(
        &lab,
        "slow",
        &[("loaner.toml", manifest), ("go.sh", script)],
    );
    let mut client = run(&lab, &dir, &[], &["sh", "go.sh"]);
    let pid = pid_in(client.event("output").await["text"].as_str().unwrap());
    assert_eq!(client.exit_within(LONG).await, 6, "{}", client.stdout());
    assert!(
        error(&client).contains("TIME_LIMIT: the job was stopped after 2s"),
        "{}",
        error(&client)
    );
    assert!(
        output(&client).contains("last words"),
        "{}",
        client.stdout()
    );
    assert!(!alive(pid));
    let back = fs::read_dir(lab.out())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(
        entries(&back),
        [("saved.txt".to_owned(), "saved\n".to_owned())]
    );
}

/// A job that fills its disk is stopped, and what it wrote is gone.
#[actix_rt::test]
async fn a_disk_limit_ends_a_job() {
    let lab = Lab::new().await;
    let manifest = "[job]\noutputs = \"none\"\n[job.resources]\ndisk = \"20 MB\"\n";
    // It stops by itself far beyond the limit, so that a missing one does not fill this machine's disk.
    let script = "i=0; while [ $i -lt 400 ]; do head -c 1000000 /dev/zero > $TMPDIR/$i; i=$((i+1)); sleep 0.02; done; echo all written";
    let dir = tree(&lab, "big", &[("loaner.toml", manifest), ("go.sh", script)]);
    let mut client = run(&lab, &dir, &[], &["sh", "go.sh"]);
    assert_eq!(client.exit_within(LONG).await, 6, "{}", client.stdout());
    assert!(
        error(&client)
            .contains("DISK_LIMIT: the job was stopped when its directory held more than 19.1 MiB"),
        "{}",
        error(&client)
    );
    assert!(!output(&client).contains("all written"));
    until("its files are gone", PATIENCE, || lab.scratch().is_empty()).await;
}

/// A job sees a plain environment: nothing of the worker's that is not about programs, places and GPUs.
#[actix_rt::test]
async fn the_environment_is_clean() {
    let place = tempfile::tempdir().unwrap();
    let file = policy(
        &place,
        "env = [\"CARGO_PKG_NAME\"]\n[[allow]]\ncommand = [\"env\"]\nset_env = [\"MINE\"]\n",
    );
    let lab = Lab::with(&["--policy", &file]).await;
    // The worker has these, from this very test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let dir = tree(
        &lab,
        "env",
        &[("loaner.toml", "[job]\nenv = { MINE = \"1\" }\n")],
    );
    let mut client = run(&lab, &dir, &[], &["env"]);
    assert_eq!(client.exit_within(LONG).await, 0, "{}", client.stdout());
    let seen = output(&client);
    for line in seen.lines().filter(|line| !line.is_empty()) {
        let name = line.split('=').next().unwrap();
        let known = [
            "PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONUNBUFFERED", "MINE",
            "CARGO_PKG_NAME",
        ];
        assert!(
            known.contains(&name) || name.starts_with("CUDA_") || name.starts_with("NVIDIA_"),
            "{line} is none of its business"
        );
    }
    assert!(
        seen.contains("MINE=1\n") && seen.contains("CARGO_PKG_NAME=loaner\n"),
        "{seen}"
    );
    let tmp = seen
        .lines()
        .find_map(|line| line.strip_prefix("TMPDIR="))
        .unwrap();
    assert!(
        Path::new(tmp).starts_with(lab.dir.path().canonicalize().unwrap()),
        "{tmp}"
    );
}

/// The client hears how far the job is, once a second at most, and always the last of it; other output stays output.
#[actix_rt::test]
async fn progress_reaches_the_client() {
    let lab = Lab::new().await;
    let dir = tree(&lab, "p", &[]);
    let script = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo ::loaner progress $i/50 step $i; done; echo ::loaner is a word";
    let mut client = run(&lab, &dir, &[], &["sh", "-c", script]);
    let seen = |event: &Value| event["message"] == "step 50";
    let last = client.event_where("progress", LONG, seen).await;
    assert_eq!(last["progress"], 1.0);
    assert_eq!(client.exit_within(LONG).await, 0);
    let events = client.events();
    let steps = events.iter().filter(|event| {
        event["event"] == "progress" && event["message"].as_str().unwrap().starts_with("step")
    });
    assert!(steps.count() < 50, "{}", client.stdout());
    assert_eq!(output(&client), "::loaner is a word\n");
}

/// The examples run as they are, tell their progress and bring back what their manifests say.
#[actix_rt::test]
async fn the_examples_run() {
    let lab = Lab::new().await;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut client = lab.run(&examples.join("shell"), &[]);
    let told = client
        .event_where("progress", LONG, |event| event["progress"] == 1.0)
        .await;
    assert!(told["message"].is_string());
    let shell = results(&mut client).await;
    let counted = [
        "counts/1.txt", "counts/2.txt", "counts/3.txt", "counts/4.txt", "counts/5.txt",
        "summary.txt",
    ];
    assert_eq!(names(&shell), counted);
    assert!(shell.contains(&("summary.txt".to_owned(), "counted to 5 of 5\n".to_owned())));

    let mut client = lab.run(&examples.join("python"), &[]);
    let told = client
        .event_where("progress", LONG, |event| {
            event["message"].as_str().unwrap().contains("loss=")
        })
        .await;
    assert!(told["progress"].as_f64().unwrap() > 0.0);
    let python = results(&mut client).await;
    assert_eq!(names(&python), ["models/line.json"]);
}
