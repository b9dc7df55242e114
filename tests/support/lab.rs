//! A hub and a worker, and what can be asked of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{PATIENCE, Peer, Process};

/// A hub and a worker, each a process, with a directory of their own.
pub struct Lab {
    pub hub: Process,
    pub worker: Process,
    pub url: String,
    pub room: String,
    pub token: String,
    pub worker_id: String,
    pub session: String,
    pub dir: tempfile::TempDir,
}

impl Lab {
    /// A worker that runs commands.
    pub async fn new() -> Lab {
        Lab::with(&["--allow-commands"]).await
    }

    /// A worker with these flags.
    pub async fn with(flags: &[&str]) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        Lab::start(dir, &work, flags).await
    }

    /// A worker that runs commands, with its jobs in this directory.
    pub async fn working_in(work: &Path) -> Lab {
        Lab::start(tempfile::tempdir().unwrap(), work, &["--allow-commands"]).await
    }

    async fn start(dir: tempfile::TempDir, work: &Path, flags: &[&str]) -> Lab {
        let (hub, url) = super::hub().await;
        let path = super::fake_trainer(dir.path());
        let env = [("PATH", path.as_str()), ("LOANER_LOG", "info,loaner=debug")];
        let mut worker = super::worker(&url, work, flags, &env);
        let registered = worker.event("registered").await;
        let text = |key: &str| registered[key].as_str().unwrap().to_owned();
        let (room, token, worker_id, session) =
            (text("room"), text("token"), text("worker"), text("session"));
        Lab {
            hub,
            worker,
            url,
            room,
            token,
            worker_id,
            session,
            dir,
        }
    }

    /// Another worker that runs commands, in the same room, with these further flags; its id comes back with it.
    pub async fn another_worker(&self, flags: &[&str]) -> (Process, String) {
        let mut all = self.in_room(&["--allow-commands"]);
        all.extend(flags);
        let work = self.dir.path().join("another");
        let mut worker = super::worker(&self.url, &work, &all, &[]);
        let registered = worker.event("registered").await;
        (worker, registered["worker"].as_str().unwrap().to_owned())
    }

    /// A peer of the room.
    pub async fn peer(&self, role: &str) -> Peer {
        Peer::join(&self.url, &self.room, &self.token, role).await
    }

    /// A client of a new user, under an id that is not the user's name, as Loaner's clients have it.
    pub async fn user(&self) -> Peer {
        let signed_in = self.peer("client").await;
        let id_token = signed_in.id_token.clone();
        signed_in.leave().await;
        self.again(id_token).await
    }

    /// Another client of the user of this identity token.
    pub async fn again(&self, id_token: String) -> Peer {
        let identity = (uuid::Uuid::new_v4().to_string(), id_token);
        Peer::join_as(&self.url, &self.room, &self.token, "client", identity).await
    }

    /// What the hub shows of the worker.
    pub async fn shown(&self) -> Option<Value> {
        let mut watcher = self.peer("watcher").await;
        let shown = watcher.find(&self.worker_id).await;
        watcher.leave().await;
        shown
    }

    /// Waits until the hub shows this status of the worker.
    pub async fn until_status(&self, status: &str, patience: Duration) -> Value {
        let mut watcher = self.peer("watcher").await;
        let shown = watcher
            .until_status(&self.worker_id, status, patience)
            .await;
        watcher.leave().await;
        shown
    }

    /// Waits until the worker is available; nothing is left of its jobs then.
    pub async fn until_free(&self) {
        self.until_status("available", PATIENCE).await;
        assert_eq!(self.scratch(), Vec::<PathBuf>::new());
    }

    /// `loaner run` against this worker, with these further arguments.
    pub fn run(&self, package: &Path, flags: &[&str]) -> Process {
        self.run_with_results(package, &["--session", &self.session], flags)
    }

    /// `loaner run` against the room, with these further arguments.
    pub fn run_in_room(&self, package: &Path, flags: &[&str]) -> Process {
        self.run_with_results(package, &self.in_room(&[]), flags)
    }

    fn run_with_results(&self, package: &Path, target: &[&str], flags: &[&str]) -> Process {
        let out = self.out();
        let mut all = target.to_vec();
        if !flags.contains(&"-o") {
            all.extend(["-o", out.to_str().unwrap()]);
        }
        all.extend(flags);
        super::run(&self.url, package, &all, &[])
    }

    /// `loaner run` against this worker, as people see it.
    pub fn run_for_people(&self, package: &Path) -> Process {
        let out = self.out();
        let args = [
            "run",
            package.to_str().unwrap(),
            "--hub",
            &self.url,
            "--session",
            &self.session,
            "-o",
            out.to_str().unwrap(),
        ];
        Process::start(&args, &[])
    }

    /// `loaner workers` for the room, with these further arguments.
    pub fn workers(&self, flags: &[&str]) -> Process {
        let mut args = vec!["workers", "--hub", &self.url];
        args.extend(self.in_room(flags));
        Process::start(&args, &[])
    }

    /// The arguments that name the room, and these.
    pub fn in_room<'a>(&'a self, flags: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["--room", &self.room, "--token", &self.token];
        all.extend(flags);
        all
    }

    /// Where `run` puts results.
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// The directories of jobs that the worker has now.
    pub fn scratch(&self) -> Vec<PathBuf> {
        let workers = std::fs::read_dir(self.dir.path().join("work"))
            .into_iter()
            .flatten()
            .flatten();
        workers
            .flat_map(|worker| {
                std::fs::read_dir(worker.path())
                    .into_iter()
                    .flatten()
                    .flatten()
            })
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    }

    /// A package directory whose manifest runs this shell script.
    pub fn package(&self, name: &str, script: &str) -> PathBuf {
        super::package(self.dir.path(), name, script)
    }

    /// The same, zipped as a client would.
    pub fn archive(&self, name: &str, script: &str) -> Vec<u8> {
        super::zip(&self.package(name, script))
    }

    /// A package that says `begun`, waits for [`open_gate`](Self::open_gate), and has a result.
    pub fn gated_package(&self) -> PathBuf {
        let script = format!(
            "echo begun; while [ ! -f '{}' ]; do sleep 0.1; done; mkdir models; echo m > models/m",
            self.gate().display()
        );
        self.package("slow", &script)
    }

    /// Lets gated packages go on.
    pub fn open_gate(&self) {
        std::fs::write(self.gate(), "").unwrap();
    }

    fn gate(&self) -> PathBuf {
        self.dir.path().join("go")
    }
}
