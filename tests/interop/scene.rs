//! What the tests have in common: a hub, ways to start peers, packages, and a trainer that does what its config says.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::namespace::Net;
use crate::program::{LOANER, PATIENCE, Process};

/// The hub, where the original has it.
const HUB: &str = "http://10.77.0.1:8080";
const WS: &str = "ws://10.77.0.1:8080";
/// HTTP on a port of its own, as the original's peers expect.
const HTTP: &str = "http://10.77.0.1:8001";

/// Plays `sleap-nn train --config-name X ...`: the config is a shell script that says what this training does. In
/// `sleap-nn track --data_path X ...` the data are, and find the name of the result in `$o`.
const TRAINER: &str = r#"#!/bin/sh
if [ "$1" = track ]; then
    echo "sleap-nn $*"
    while [ $# -gt 0 ]; do case $1 in --data_path) d=$2;; -o) o=$2;; esac; shift; done
    . "./$d"
    exit
fi
run=models/$(basename "$3" .yaml)
mkdir -p "$run"
echo "sleap-nn $*" > "$run/command"
. "./$3"
"#;

/// A training with all kinds of output, some of which look like control messages, and a result.
pub const CENTROID: &str = r#"
echo "epoch 1: loss 0.5"
printf '10%%\r20%%\rdone\n'
echo "a log line with FILE_META::x:1:y and END_OF_FILE in it" >&2
echo weights > "$run/best.ckpt"
"#;

/// An inference whose output looks like control messages, and its result.
pub const PREDICT: &str = r#"
echo "frame 7"
echo INFERENCE_JOBS_DONE
echo "FILE_META::x:1:y"
echo "END_OF_FILE" >&2
head -c 100000 labels.slp > "$o"
"#;

/// A training that fails.
pub const BROKEN: &str = "echo 'no such layer'\nexit 3\n";

/// A hub in a namespace, and a directory for everything that is written.
pub struct Scene {
    dir: TempDir,
    net: Net,
    _hub: Process,
}

/// A worker that is registered.
pub struct Worker {
    pub process: Process,
    pub session: String,
    pub room: String,
    pub token: String,
    pub id: String,
}

impl Worker {
    fn registered(mut process: Process) -> Self {
        let event = process.event("registered");
        let field = |name: &str| event[name].as_str().unwrap().to_owned();
        Worker {
            session: field("session"),
            room: field("room"),
            token: field("token"),
            id: field("worker"),
            process,
        }
    }

    /// Waits until our worker has published this status.
    pub fn status(&mut self, status: &str) -> Value {
        self.status_within(PATIENCE, status)
    }

    /// Waits until our worker has published this status.
    pub fn status_within(&mut self, limit: std::time::Duration, status: &str) -> Value {
        self.process
            .wait(limit, &format!("status `{status}`"), |event| {
                event["event"] == "status" && event["status"] == status
            })
    }
}

impl Scene {
    /// A hub with nobody there. `None` where no namespace can be made; the test is skipped then.
    pub fn open() -> Option<Self> {
        let net = Net::new("interop/in-namespace")?;
        let dir = TempDir::with_prefix("loaner-interop-").unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("sleap-nn"), TRAINER).unwrap();
        fs::set_permissions(bin.join("sleap-nn"), Permissions::from_mode(0o755)).unwrap();
        let mut hub = net.command(Path::new(LOANER));
        hub.args([
            "hub", "--json", "--listen", "10.77.0.1:8080", "--store", "memory",
        ])
        .args(["--listen", "10.77.0.1:8001"])
        .env("XDG_STATE_HOME", dir.path().join("state"))
        .current_dir(dir.path());
        let mut hub = Process::start("hub", hub);
        hub.event("listening");
        hub.event("listening");
        Some(Scene {
            dir,
            net,
            _hub: hub,
        })
    }

    /// A path in the scene's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A fresh directory.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn search_path(&self) -> String {
        let bin = self.path("bin");
        format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
    }

    /// Our program.
    fn loaner(&self, name: &str, args: &[&str]) -> Process {
        let mut command = self.net.command(Path::new(LOANER));
        command
            .args(args)
            .args(["--json", "--hub", HUB])
            .current_dir(self.dir.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("PATH", self.search_path());
        Process::start(name, command)
    }

    /// Our worker, in a room of its own.
    pub fn worker(&self) -> Worker {
        self.worker_in("jobs")
    }

    /// Our worker, in a room of its own, with its jobs in this directory.
    pub fn worker_in(&self, jobs: &str) -> Worker {
        let jobs = self.directory(jobs);
        Worker::registered(self.loaner(
            "our worker",
            &["worker", "--work-dir", jobs.to_str().unwrap()],
        ))
    }

    /// Our client; results go to `output`.
    pub fn run(&self, package: &Path, output: &Path, target: &[&str]) -> Process {
        let mut args = vec!["run", package.to_str().unwrap()];
        args.extend(["--output", output.to_str().unwrap()]);
        args.extend(target);
        self.loaner("our client", &args)
    }

    /// Our client, for a package that is at the worker.
    pub fn run_named(&self, name: &str, worker: &Worker) -> Process {
        let args = ["run", "--worker-input", name, "--session", &worker.session];
        self.loaner("our client", &args)
    }

    /// What a person sees of our client, in a pipe; its exit code is 0.
    pub fn shown(&self, package: &Path, target: &[&str]) -> String {
        let output = self
            .net
            .command(Path::new(LOANER))
            .arg("run")
            .arg(package)
            .args(["--hub", HUB])
            .args(target)
            .current_dir(self.directory("shown"))
            .env("XDG_STATE_HOME", self.path("state"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let both = [output.stderr, output.stdout].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// What a command in the scene's namespace prints.
    pub fn inside(&self, program: &str, args: &[&str]) -> String {
        let output = self.net.command(Path::new(program)).args(args).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The interpreter that Python peers run in, and the directory of their scripts.
    fn python_at(&self) -> (PathBuf, PathBuf) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pins = fs::read(root.join("tests/interop/requirements.txt")).unwrap();
        assert!(
            fs::read(root.join(".venv/installed.txt")).is_ok_and(|installed| installed == pins),
            "the Python environment is missing or out of date: run tools/python-env (`make test` does)"
        );
        (root.join(".venv/bin/python"), root.join("tests/interop"))
    }

    /// A training by a trainer that reports and obeys as sleap-nn's; see `trainer.py` for what it can be asked to do.
    pub fn trained(&self, args: &str) -> String {
        let (python, scripts) = self.python_at();
        format!(
            "exec '{}' -B '{}/trainer.py' \"$@\" --as {args}\n",
            python.display(),
            scripts.display()
        )
    }

    /// A Python peer.
    pub fn python(&self, script: &str, args: &[&str]) -> Process {
        let (python, scripts) = self.python_at();
        let mut command = self.net.command(&python);
        command
            .arg("-B")
            .arg(scripts.join(script))
            .args(["--ws", WS, "--http", HTTP])
            .args(args)
            .current_dir(self.dir.path())
            .env("PATH", self.search_path());
        Process::start(&format!("Python's {script}"), command)
    }

    /// A Python client that sends `package`; results go to `output`.
    pub fn python_client(&self, package: &Path, output: &Path, args: &[&str]) -> Process {
        let mut all = vec!["--output", output.to_str().unwrap()];
        all.extend(args);
        all.push(package.to_str().unwrap());
        self.python("client.py", &all)
    }

    /// A Python worker that works in the directory `work`.
    pub fn python_worker(&self, work: &Path, args: &[&str]) -> Worker {
        let mut all = vec!["--work", work.to_str().unwrap()];
        all.extend(args);
        Worker::registered(self.python("worker.py", &all))
    }

    /// A package `fly.zip` that trains these models (name and script), one after the other, and is some chunks large.
    pub fn package(&self, models: &[(&str, &str)]) -> PathBuf {
        let path = self.path("fly.zip");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        let mut add = |name: &str, content: &[u8]| {
            let stored =
                SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            zip.start_file(format!("fly/{name}"), stored).unwrap();
            zip.write_all(content).unwrap();
        };
        let mut script = "#!/bin/bash\n".to_owned();
        for (name, config) in models {
            script.push_str(&format!(
                "sleap-nn train --config-name {name}.yaml --config-dir . ignored=1\n"
            ));
            add(&format!("{name}.yaml"), config.as_bytes());
        }
        add("train-script.sh", script.as_bytes());
        add("labels.slp", &labels());
        zip.finish().unwrap();
        path
    }

    /// A package `track_package.zip` as the original's client for inference makes it, flat; `data` is the script that
    /// says what it does.
    pub fn inference(&self, data: &str) -> PathBuf {
        let path = self.path("track_package.zip");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        let script = "#!/bin/bash\nsleap-nn track \\\n  --data_path d.slp \\\n  --only_suggested_frames \\\n  \
            --model_paths models/centroid \\\n  --model_paths models/topdown \\\n  -o d.predictions.slp\n";
        for (name, content) in [
            ("d.slp", data.as_bytes()),
            ("labels.slp", &labels()),
            ("models/centroid/best.ckpt", b"weights"),
            ("models/topdown/best.ckpt", b"weights"),
            ("track-script.sh", script.as_bytes()),
        ] {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    /// What jobs have left in our worker's directory, beside the worker's own two files.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = vec![self.path("jobs")];
        let mut left = Vec::new();
        while let Some(directory) = found.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    found.push(entry.path());
                } else if !["lock", "told.json"]
                    .iter()
                    .any(|own| entry.file_name() == *own)
                {
                    left.push(entry.path());
                }
            }
        }
        left
    }

    /// A training that waits for [`open_gate`](Self::open_gate), and says who it is in the file `trainer`.
    pub fn gated(&self) -> String {
        format!(
            "echo $$ > '{0}/trainer.new'\nmv '{0}/trainer.new' '{0}/trainer'\necho waiting\n\
             while [ ! -e '{0}/gate' ]; do sleep 0.05; done\n",
            self.dir.path().display()
        )
    }

    /// Lets gated trainings go on.
    pub fn open_gate(&self) {
        File::create(self.path("gate")).unwrap();
    }

    /// Whether the gated training's process is there.
    pub fn trainer_lives(&self) -> bool {
        let id = fs::read_to_string(self.path("trainer")).unwrap();
        Path::new("/proc").join(id.trim()).exists()
    }
}

/// Bytes that are not all the same, a few times a client's chunk.
pub fn labels() -> Vec<u8> {
    (0..300_631u32)
        .map(|index| (index.wrapping_mul(index) >> 7) as u8)
        .collect()
}

/// The files of an archive.
pub fn unzip(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        if entry.is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.name().unwrap().into_owned(), content);
        }
    }
    files
}

/// The names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
