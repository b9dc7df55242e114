//! Jobs on files of the worker's own side: both generations of their messages, over real channels (sleap-rtc wire
//! protocol, 4.3 and 4.6; reading.md 18).
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "io_paths/client.rs"]
mod client;
#[path = "io_paths/ending.rs"]
mod ending;
#[path = "io_paths/killed.rs"]
mod killed;
#[path = "io_paths/policy.rs"]
mod policy;
#[path = "io_paths/refused.rs"]
mod refused;
#[path = "io_paths/running.rs"]
mod running;
#[path = "io_paths/setting.rs"]
mod setting;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::peer::Call;
use support::{Lab, PATIENCE, Process, package, zip};

/// A worker with an input and an output directory, and what is around them.
struct Scene {
    lab: Lab,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Scene {
        Scene::with(&[]).await
    }

    /// With these further flags.
    async fn with(more: &[&str]) -> Scene {
        Scene::run_by(&[&["--allow-commands"], more].concat()).await
    }

    /// With these flags beside those of its directories.
    async fn run_by(more: &[&str]) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir(&input).unwrap();
        fs::create_dir(&output).unwrap();
        fs::write(dir.path().join("secret.zip"), "not for clients").unwrap();
        let mut flags = vec![
            "--input-path",
            input.to_str().unwrap(),
            "--output-path",
            output.to_str().unwrap(),
            "--filesystem",
            "vast",
        ];
        flags.extend(more);
        Scene {
            lab: Lab::with(&flags).await,
            dir,
        }
    }

    fn input(&self) -> PathBuf {
        self.dir.path().join("in")
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Puts a package that runs this script into the input directory, or a directory of it.
    fn put(&self, path: &str, script: &str) {
        let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
        let archive = zip(&package(self.dir.path(), stem, script));
        let path = self.input().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, archive).unwrap();
    }

    async fn call(&self) -> Call {
        let mut client = self.lab.peer("client").await;
        client.call(&self.lab.worker_id).await
    }

    /// All paths in the output directory, hidden ones too.
    fn left(&self) -> Vec<String> {
        tree(&self.output(), "")
    }
}

fn tree(dir: &Path, prefix: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            paths.extend(tree(&entry.path(), &format!("{path}/")));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}

/// The messages of the younger generation, sent without waiting between them.
async fn ask(call: &Call, job: &str, name: &str) {
    call.text("PACKAGE_TYPE::train").await;
    call.text("OUTPUT_DIR::models").await;
    call.text(&format!("JOB_ID::{job}")).await;
    call.text(&format!("INPUT_FILE::{name}")).await;
}

/// The messages of the older one, sent likewise.
async fn share(call: &Call, job: &str, input: &str, output: &str) {
    call.text("FILE_META::labels.zip:300631:False").await;
    call.text(&format!("JOB_ID::{job}")).await;
    call.text(&format!("SHARED_INPUT_PATH::{input}")).await;
    call.text(&format!("SHARED_OUTPUT_PATH::{output}")).await;
    call.text("SHARED_STORAGE_JOB::start").await;
}

/// What the worker says of a file in answer to its name.
async fn verdict(call: &Call, job: &str, name: &str) -> String {
    ask(call, job, name).await;
    call.until("FILE_").await.pop().unwrap()
}

const TRAIN: &str = "mkdir models; echo weights > models/best; echo trained";
