//! Several workers in a room, and who asks says only the room.

use serde_json::{Value, json};

use super::Ours;
use super::support::{PATIENCE, Process};

impl Ours {
    /// `loaner run` at this worker, until its command has begun; the job's id comes back with it.
    async fn begin_at(&self, worker: &str) -> (Process, String) {
        let script =
            format!("echo begun; echo at {worker}; trap 'exit 0' INT; while :; do sleep 0.1; done");
        let flags = ["--worker", worker, "--state-dir"];
        let flags = [&flags[..], &[self.state.to_str().unwrap()]].concat();
        let mut run = self.lab.run_in_room(&self.package(&script, ""), &flags);
        let id = run.event("reserved").await["job"].clone();
        run.event_where("output", PATIENCE, |event| {
            event["text"] == format!("at {worker}\n")
        })
        .await;
        (run, id.as_str().unwrap().to_owned())
    }

    /// A command about jobs, of which the room is said.
    fn ask_room(&self, command: &str, flags: &[&str]) -> Process {
        let mut args = vec![command, "--hub", &self.lab.url, "--json", "--state-dir"];
        args.push(self.state.to_str().unwrap());
        args.extend(self.lab.in_room(flags));
        Process::start(&args, &[])
    }
}

/// The jobs of all workers are listed; a job is found at the worker that has it, by its id, and the latest of all where none is
/// said; and nothing is stopped where it is not clear what.
#[actix_rt::test]
async fn a_job_is_found_at_whichever_worker_has_it() {
    let ours = Ours::new().await;
    let (_another, second) = ours.lab.another_worker(&[]).await;
    let first = ours.lab.worker_id.clone();
    let (mut run_first, at_first) = ours.begin_at(&first).await;
    let (mut run_second, at_second) = ours.begin_at(&second).await;

    let mut jobs = ours.ask_room("jobs", &[]);
    assert_eq!(jobs.exit().await, 0, "{}", jobs.stdout());
    let mut listed: Vec<_> = jobs
        .events()
        .iter()
        .map(|job| (job["worker"].clone(), job["id"].clone()))
        .collect();
    let mut expected = vec![
        (json!(first), json!(at_first)),
        (json!(second), json!(at_second)),
    ];
    listed.sort_by_key(|(worker, _)| worker.to_string());
    expected.sort_by_key(|(worker, _)| worker.to_string());
    assert_eq!(listed, expected);

    for (flags, worker) in [(vec![at_first.as_str()], &first), (vec![], &second)] {
        let mut logs = ours.ask_room("logs", &flags);
        assert_eq!(logs.exit().await, 0, "{}", logs.stdout());
        let [log, _end] = &logs.events()[..] else {
            panic!("{}", logs.stdout())
        };
        assert_eq!(log["text"], format!("begun\nat {worker}\n"));
    }

    let mut unclear = ours.ask_room("stop", &[]);
    assert_eq!(unclear.exit().await, 8, "{}", unclear.stdout());
    assert!(
        unclear.error().contains("--worker ID"),
        "{}",
        unclear.error()
    );
    let mut stop = ours.ask_room("stop", &[&at_first]);
    assert_eq!(stop.exit().await, 0, "{}", stop.stdout());
    assert_eq!(run_first.exit().await, 0, "{}", run_first.stdout());
    // Of the two, one is left that can be meant.
    let mut rest = ours.ask_room("stop", &[]);
    assert_eq!(rest.exit().await, 0, "{}", rest.stdout());
    assert_eq!(run_second.exit().await, 0, "{}", run_second.stdout());
    let stopped = |event: &Value| event["event"] == "job" && event["id"] == json!(at_second);
    assert!(rest.events().iter().any(stopped), "{}", rest.stdout());
}
