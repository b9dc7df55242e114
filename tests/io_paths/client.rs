//! `loaner run --worker-input`: packages that are at the worker, named by our own client.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Process};
use crate::{Scene, TRAIN};

impl Scene {
    /// `loaner run --worker-input` for this file, at this worker.
    fn named(&self, name: &str) -> Process {
        self.run_named(name, &["--session", &self.lab.session])
    }

    fn run_named(&self, name: &str, target: &[&str]) -> Process {
        let out = self.lab.out();
        let mut args = vec![
            "run",
            "--worker-input",
            name,
            "--json",
            "--hub",
            &self.lab.url,
            "-o",
            out.to_str().unwrap(),
        ];
        args.extend(target);
        Process::start(&args, &[])
    }

    /// Where the results of a job are, as its client is told.
    fn place(&self, done: &Value) -> std::path::PathBuf {
        let jobs = self.output().canonicalize().unwrap().join("jobs");
        jobs.join(done["job"].as_str().unwrap())
    }
}

fn message(client: &Process) -> String {
    let error = client.events().pop().unwrap();
    assert_eq!(error["event"], "error");
    error["message"].as_str().unwrap().to_owned()
}

/// A file by its name, and one by its path: both are run, their output is shown, and the client is told where the results
/// are. Nothing is sent either way.
#[actix_rt::test]
async fn a_file_at_the_worker_is_run_and_its_results_stay() {
    let scene = Scene::new().await;
    for name in ["labels.zip", "flies/today/labels.zip"] {
        scene.put(name, TRAIN);
        let mut client = scene.named(name);
        let done = client.event("done").await;
        assert_eq!(client.exit().await, 0);
        let place = scene.place(&done);
        assert_eq!(done["at_worker"], json!(place));
        assert_eq!(done["results"], json!(null));
        assert_eq!(
            fs::read_to_string(place.join("models/best")).unwrap(),
            "weights\n"
        );
        let told: Vec<_> = client
            .events()
            .iter()
            .map(|event| event["event"].as_str().unwrap().to_owned())
            .filter(|event| event != "progress")
            .collect();
        assert_eq!(
            told,
            [
                "registered", "chosen", "reserved", "connected", "naming", "found", "started",
                "output", "ended", "done"
            ]
        );
        scene.lab.until_free().await;
    }
    assert!(!scene.lab.out().exists());
}

/// A person reads where the results are.
#[actix_rt::test]
async fn a_person_is_told_where_the_results_are() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    let (hub, session) = (&scene.lab.url, &scene.lab.session);
    let args = [
        "run", "--worker-input", "labels.zip", "--hub", hub, "--session", session,
    ];
    let mut client = Process::start(&args, &[]);
    assert_eq!(client.exit().await, 0);
    let jobs = scene.output().canonicalize().unwrap().join("jobs");
    let expected = format!(
        "Done. The results are at the worker, in {}/",
        jobs.display()
    );
    assert!(client.stdout().contains(&expected), "{}", client.stdout());
}

/// What is not there, by name and by path: the client says so, with where it looked and what to do, and the worker is free.
#[actix_rt::test]
async fn a_file_that_is_not_there_is_told_with_what_to_do() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    let place = scene.input().canonicalize().unwrap();
    for name in ["none.zip", "flies/none.zip"] {
        let mut client = scene.named(name);
        assert_eq!(client.exit().await, 7);
        let said = message(&client);
        for expected in [
            &format!("the worker cannot run {name}"),
            "File does not exist",
            place.to_str().unwrap(),
            "loaner run PACKAGE",
        ] {
            assert!(said.contains(expected), "{said}");
        }
        scene.lab.until_free().await;
    }
    assert_eq!(
        scene
            .left()
            .iter()
            .filter(|path| path.contains("best"))
            .count(),
        0
    );
}

/// A worker without directories of its own is told apart before anything is asked of it, and in a room the one that has them
/// is taken.
#[actix_rt::test]
async fn only_a_worker_with_directories_is_asked() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    let (mut other, other_id) = scene
        .lab
        .another_worker(&["--gpu-memory-mb", "80000"])
        .await;
    let room = ["--room", &scene.lab.room, "--token", &scene.lab.token];
    let mut client = scene.run_named("labels.zip", &[&room[..], &["--auto-select"]].concat());
    let chosen = client.event("chosen").await;
    assert_eq!(chosen["worker"], scene.lab.worker_id.as_str());
    client.event("done").await;
    assert_eq!(client.exit().await, 0);

    let named = [&room[..], &["--worker", &other_id]].concat();
    let mut refused = scene.run_named("labels.zip", &named);
    assert_eq!(refused.exit().await, 4);
    let said = message(&refused);
    for expected in [&other_id, "--input-path", "send it the package itself"] {
        assert!(said.contains(expected), "{said}");
    }
    // The worker that was taken says so, and the other was asked nothing.
    let asked = "Job assigned and ready";
    assert!(scene.lab.worker.log_count(asked) > 0);
    assert_eq!(other.log_count(asked), 0, "{}", other.log());
    let reserved = |event: &serde_json::Value| event["event"] == "reserved";
    assert!(!refused.events().iter().any(reserved));
    other.signal(Signal::SIGTERM);
    other.exit().await;
}

/// What fails there fails here, with its reason; Ctrl+C cancels it there, and leaves no results.
#[actix_rt::test]
async fn a_job_that_fails_there_fails_here_and_ctrl_c_stops_it() {
    let scene = Scene::new().await;
    scene.put("bad.zip", "exit 3");
    scene.put(
        "long.zip",
        "mkdir models; echo half > models/best; echo waiting; exec sleep 600",
    );
    let mut client = scene.named("bad.zip");
    assert_eq!(client.exit().await, 6);
    let said = message(&client);
    assert!(said.contains("exit code 3"), "{said}");
    scene.lab.until_free().await;

    let mut client = scene.named("long.zip");
    client.event("output").await;
    client.signal(Signal::SIGINT);
    assert_eq!(client.exit_within(PATIENCE).await, 130);
    scene.lab.until_free().await;
    let left = scene.left();
    assert!(!left.iter().any(|path| path.contains("best")), "{left:?}");
}

/// Neither package nor name, both, and a name that leads out: each is a mistake of the command line, and is told as one.
#[actix_rt::test]
async fn what_makes_no_sense_is_refused_before_anything_is_done() {
    for (args, expected) in [
        (vec!["run"], "PACKAGE"),
        (
            vec!["run", ".", "--worker-input", "a.zip"],
            "cannot be used with",
        ),
        (
            vec!["run", "--worker-input", "a.zip", "--", "make"],
            "cannot be used with",
        ),
        (vec!["run", "--worker-input", "../a.zip"], "input directory"),
        (
            vec!["run", "--worker-input", "/etc/a.zip"],
            "it is absolute",
        ),
    ] {
        let mut client = Process::start(&args, &[]);
        assert_eq!(client.exit().await, 2);
        assert!(
            client.log().contains(expected),
            "{args:?}: {}",
            client.log()
        );
    }
}
