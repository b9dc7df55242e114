//! Clocks on the wall that are set, by ten years, while a hub and a worker run.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{self, PATIENCE, Peer, Process};

/// A clock that can be set for the processes that are started with it; `None`, said aloud, where there is none.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn new(dir: &Path) -> Option<Clock> {
        let systems = std::fs::read_dir("/usr/lib")
            .into_iter()
            .flatten()
            .flatten();
        let library = systems
            .map(|system| system.path().join("faketime/libfaketimeMT.so.1"))
            .find(|library| library.exists());
        let Some(library) = library else {
            eprintln!("SKIPPED: to set a clock needs libfaketime (the Debian package faketime)");
            return None;
        };
        let clock = Clock {
            library,
            file: dir.join("clock"),
        };
        clock.set("+0");
        Some(clock)
    }

    fn set(&self, offset: &str) {
        // At once whole, as it is read all the time.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{offset}\n")).unwrap();
        std::fs::rename(&next, &self.file).unwrap();
    }

    fn env(&self) -> [(&str, &str); 4] {
        [
            ("LD_PRELOAD", self.library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

/// Hub and worker live through ten years forward, and twenty back: a reservation is kept, a job runs on and ends once, a path
/// and a registration are not given up, and whoever comes is let in.
#[actix_rt::test]
async fn years_pass_in_the_middle_of_a_job() {
    let dir = tempfile::tempdir().unwrap();
    let Some(clock) = Clock::new(dir.path()) else {
        return;
    };
    let hub = [
        "hub", "--json", "--listen", "127.0.0.1:0", "--store", "memory",
    ];
    let mut hub = Process::start(&hub, &clock.env());
    let url = hub.event("listening").await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut worker = support::worker(
        &url,
        &dir.path().join("work"),
        &["--allow-commands"],
        &clock.env(),
    );
    let registered = worker.event("registered").await;
    let text = |key: &str| registered[key].as_str().unwrap().to_owned();
    let (room, token, id) = (text("room"), text("token"), text("worker"));

    // What the hub shows of the time is the clock's, so that it is known to be set.
    let mut watcher = Peer::join(&url, &room, &token, "watcher").await;
    let mut came = Vec::new();
    let mut client = Peer::join(&url, &room, &token, "client").await;
    let job =
        json!({ "app_message_type": "job_request", "job_id": "long", "job_type": "training" });
    client.message(&id, job);
    assert_eq!(client.hear_message("job_response").await["accepted"], true);
    for offset in ["+3650d", "-3650d", "+0"] {
        clock.set(offset);
        let mut other = Peer::join(&url, &room, &token, "client").await;
        let shown = watcher.find(&other.id).await.unwrap();
        came.push(shown["connected_at"].as_f64().unwrap());
        let request =
            json!({ "app_message_type": "job_request", "job_id": "no", "job_type": "training" });
        other.message(&id, request);
        let refused = other.hear_message("job_response").await;
        assert_eq!(refused["reason"], "busy", "the lease is kept: {refused}");
        other.leave().await;
    }
    let years = |from: f64, to: f64| (to - from) / (365.0 * 24.0 * 3600.0);
    assert!((years(came[2], came[0]) - 10.0).abs() < 0.1, "{came:?}");
    assert!((years(came[2], came[1]) + 10.0).abs() < 0.1, "{came:?}");

    let assignment = json!({ "app_message_type": "job_assignment", "job_id": "long", "initiate_connection": true });
    client.message(&id, assignment);
    let call = client.call(&id).await;
    let script = format!(
        "echo begun; while ! [ -e {}/1 ]; do sleep 0.05; done; echo after; while ! [ -e {0}/2 ]; do sleep 0.05; done; \
         mkdir models; echo m > models/m",
        dir.path().display()
    );
    let package = support::package(dir.path(), "long", &script);
    // Limits are of the time that passes, not of the time of day.
    let manifest = "[job]\ncommand = [\"sh\", \"go.sh\"]\noutputs = \"models\"\n[job.resources]\ntime_limit = \"1h\"\n";
    std::fs::write(package.join("loaner.toml"), manifest).unwrap();
    call.upload("long.zip", &support::zip(&package)).await;
    call.until("begun").await;
    clock.set("+3650d");
    std::fs::write(dir.path().join("1"), "").unwrap();
    call.until("after").await;
    clock.set("-3650d");
    std::fs::write(dir.path().join("2"), "").unwrap();
    let (texts, results) = call.results().await;
    assert!(
        !results.is_empty() && texts.contains(&"TRAINING_JOBS_DONE".to_owned()),
        "{texts:?}"
    );
    let end = call.until("JOB_").await.pop().unwrap();
    assert!(end.starts_with("JOB_COMPLETE::long"), "{end}");
    let complete = client.hear_message("job_complete").await;
    let minutes = complete["result"]["training_duration_minutes"]
        .as_f64()
        .unwrap();
    assert!((0.0..60.0).contains(&minutes), "{complete}");
    watcher.until_status(&id, "available", PATIENCE).await;
    assert_eq!(
        worker.log_count(
            "transition\",\"chart\":\"session\",\"instance\":\"worker\",\"from\":\"registered\""
        ),
        0
    );
    let lost = |event: &Value| event["event"] == "hub_lost";
    assert!(!worker.events().iter().any(lost), "{}", worker.stdout());
}
