//! Looking at jobs and ending them from elsewhere: `loaner jobs`, `logs`, `stop`, `cancel` and `fetch`, while the worker is busy
//! with them and afterwards.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "job_control/ending.rs"]
mod ending;
#[path = "job_control/looking.rs"]
mod looking;
#[path = "job_control/results.rs"]
mod results;
#[path = "job_control/several.rs"]
mod several;
#[path = "job_control/unasked.rs"]
mod unasked;

use std::path::PathBuf;

use support::{Lab, Process};

/// A lab with one user, whose commands share an identity.
struct Ours {
    lab: Lab,
    state: PathBuf,
}

impl Ours {
    async fn new() -> Ours {
        Ours::with(&["--allow-commands"]).await
    }

    async fn with(flags: &[&str]) -> Ours {
        let lab = Lab::with(flags).await;
        let state = lab.dir.path().join("user");
        Ours { lab, state }
    }

    /// A package of this shell script, with these further lines of its manifest's table `job.stop`.
    fn package(&self, script: &str, stop: &str) -> PathBuf {
        let package = self.lab.package("p", script);
        let manifest = package.join("loaner.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(manifest, format!("{text}\n[job.stop]\n{stop}\n")).unwrap();
        package
    }

    /// `loaner run`, as this user.
    fn run(&self, package: &std::path::Path) -> Process {
        self.lab
            .run(package, &["--state-dir", self.state.to_str().unwrap()])
    }

    /// Another command about jobs, as this user.
    fn ask(&self, command: &str, flags: &[&str]) -> Process {
        self.ask_as(&self.state, command, flags)
    }

    /// The same, as the user whose identity is there.
    fn ask_as(&self, state: &std::path::Path, command: &str, flags: &[&str]) -> Process {
        let mut args = vec![
            command, "--hub", &self.lab.url, "--session", &self.lab.session,
        ];
        args.extend(["--json", "--state-dir", state.to_str().unwrap()]);
        args.extend(flags);
        Process::start(&args, &[])
    }

    /// The jobs that the worker tells of.
    async fn jobs(&self) -> Vec<serde_json::Value> {
        let mut jobs = self.ask("jobs", &[]);
        assert_eq!(jobs.exit().await, 0, "{}", jobs.stdout());
        jobs.events()
    }
}
