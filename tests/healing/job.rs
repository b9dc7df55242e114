//! A job of the client's at the worker, and what has to be the same on both sides of the way.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::LONG;
use crate::machines::Scene;
use crate::program::{Process, until};

/// How many bytes a file has that is on its way for a while.
const LARGE: usize = 192 << 20;
/// How much of it has moved when something happens.
const BEGUN: u64 = 24 << 20;

/// How many lines a loud job prints.
const LOUD: usize = 12_000;

/// One of them.
fn loud(number: &str) -> String {
    format!("line {number} {}", "x".repeat(1000))
}

/// `loaner run` at the client, and where its files are. Both machines see them.
pub struct Job {
    pub run: Process,
    dir: PathBuf,
}

impl Job {
    /// Runs a script, which finds the paths of a gate, of the original and of what arrived in `$gate`, `$original` and
    /// `$arrived`. The original is a large file, or none; it may come with the package.
    fn start(scene: &Scene, script: &str, large: bool, packed: bool) -> Job {
        let dir = tempfile::tempdir_in(scene.dir.path()).unwrap().keep();
        let (package, original) = (dir.join("package"), dir.join("original"));
        fs::create_dir(&package).unwrap();
        if large {
            let mut bytes = vec![0; LARGE];
            blake3::Hasher::new().finalize_xof().fill(&mut bytes);
            fs::write(&original, bytes).unwrap();
        }
        if packed {
            fs::hard_link(&original, package.join("data.bin")).unwrap();
        }
        let names = ["gate", "original", "arrived"];
        let paths = names.map(|name| format!("{name}='{}'\n", dir.join(name).display()));
        fs::write(package.join("go.sh"), paths.concat() + script).unwrap();
        let manifest = "[job]\ncommand = [\"sh\", \"go.sh\"]\noutputs = \"models\"\n";
        fs::write(package.join("loaner.toml"), manifest).unwrap();

        let (package, out) = (package.to_str().unwrap(), dir.to_str().unwrap());
        let run = scene.at_client("user", &["run", package, "-o", out]);
        Job { run, dir }
    }

    /// One that says `begun`, and waits for its gate.
    pub fn waiting(scene: &Scene) -> Job {
        let script = "echo begun; until [ -f \"$gate\" ]; do sleep 0.1; done";
        let mut job = Job::start(scene, script, false, false);
        job.run.event("output");
        job
    }

    /// One whose package is under way.
    pub fn sending(scene: &Scene) -> Job {
        let before = moved().0;
        let mut job = Job::start(scene, "mv data.bin \"$arrived\"", true, true);
        job.run.event_within(LONG, "uploading");
        until("some of the package at the worker", LONG, || {
            moved().0 > before + BEGUN
        });
        assert!(job.run.events("sent").is_empty(), "{}", job.run.story());
        job
    }

    /// One whose results are under way.
    pub fn returning(scene: &Scene) -> Job {
        let before = moved().1;
        let script = "mkdir models; cp \"$original\" models/data.bin";
        let mut job = Job::start(scene, script, true, false);
        job.run.event_within(LONG, "downloading");
        until("some of the results at the client", LONG, || {
            moved().1 > before + BEGUN
        });
        assert!(job.run.events("received").is_empty(), "{}", job.run.story());
        job
    }

    /// One that prints numbered lines, with pauses, until its gate opens, and then how many there were.
    pub fn printing(scene: &Scene) -> Job {
        let script = "i=0\nuntil [ -f \"$gate\" ]; do\n\
            echo \"line $i\"; i=$((i + 1)); [ $((i % 50)) = 0 ] && sleep 0.25\ndone\necho \"end $i\"; : >\"$arrived\"";
        let mut job = Job::start(scene, script, false, false);
        job.run.event("output");
        job
    }

    /// One that waits for its gate, and then prints far more than a client may be behind.
    pub fn loud(scene: &Scene) -> Job {
        let lines = LOUD - 1;
        let script = format!(
            "echo begun; until [ -f \"$gate\" ]; do sleep 0.1; done\nseq -f '{}' 0 {lines}; : >\"$arrived\"",
            loud("%.0f")
        );
        let mut job = Job::start(scene, &script, false, false);
        job.run.event("output");
        job
    }

    /// The client was shown all of one that is loud.
    pub fn was_heard(&self) {
        let shown = self.shown();
        let mut lines = shown.lines();
        assert_eq!(lines.next(), Some("begun"));
        for number in 0..LOUD {
            assert_eq!(lines.next(), Some(loud(&number.to_string()).as_str()));
        }
        assert_eq!(lines.next(), None);
    }

    /// Lets it end.
    pub fn open_gate(&self) {
        fs::write(self.dir.join("gate"), "").unwrap();
    }

    /// The client has what the job was to return, and ends well.
    pub fn is_done(&mut self) {
        self.run.event_within(LONG, "done");
        self.run.ends_with(0);
        let gaps = self.run.events("left_out");
        assert!(gaps.is_empty(), "{gaps:?}");
    }

    /// One that prints goes on to its end.
    pub fn ends(&mut self) {
        self.open_gate();
        self.is_done();
        are_all_lines(&self.shown());
    }

    /// Waits until one that prints has printed all.
    pub fn has_printed(&self) {
        until("the end of what is printed", LONG, || {
            self.dir.join("arrived").exists()
        });
    }

    /// The package arrived at the worker as it was.
    pub fn arrived(&self) {
        same(
            &self.dir.join("original"),
            fs::File::open(self.dir.join("arrived")).unwrap(),
        );
    }

    /// The results arrived at the client as they were.
    pub fn returned(&self) {
        let received = &self.run.events("received")[0];
        let archive = fs::File::open(received["path"].as_str().unwrap()).unwrap();
        let mut archive = zip::ZipArchive::new(archive).unwrap();
        same(
            &self.dir.join("original"),
            archive.by_name("data.bin").unwrap(),
        );
    }

    /// Waits until the client has shown so many lines more.
    pub fn more(&self, lines: usize, limit: Duration) {
        let goal = self.shown().lines().count() + lines;
        until("lines of the job", limit, || {
            self.shown().lines().count() >= goal
        });
    }

    /// What the client has shown of the job's output.
    pub fn shown(&self) -> String {
        let output = self.run.events("output");
        output
            .iter()
            .map(|event| event["text"].as_str().unwrap())
            .collect()
    }
}

/// `loaner logs -f` at the client, for the job that runs.
pub struct Logs(pub Process);

impl Logs {
    pub fn follow(scene: &Scene) -> Logs {
        let mut logs = scene.at_client("user", &["logs", "-f"]);
        logs.event("log");
        Logs(logs)
    }

    /// It ends with the job, and its parts lie one behind the other. What they say.
    pub fn end(&mut self) -> String {
        let end = self.0.event_within(LONG, "log_end");
        self.0.ends_with(0);
        let mut all = String::new();
        for part in self.0.events("log") {
            assert_eq!(part["offset"], all.len(), "{}", self.0.story());
            all.push_str(part["text"].as_str().unwrap());
        }
        assert_eq!(end["offset"], all.len(), "{}", self.0.story());
        all
    }
}

/// Each number once, in order, and as many as the job says.
pub fn are_all_lines(shown: &str) {
    let (lines, end) = shown.trim_end().rsplit_once('\n').unwrap();
    let count = are_lines(lines);
    assert_eq!(end, format!("end {count}"), "lines are missing at the end");
}

/// Each number once, in order; how many there are.
pub fn are_lines(lines: &str) -> usize {
    for (number, line) in lines.lines().enumerate() {
        assert_eq!(line, format!("line {number}"), "lines are lost or doubled");
    }
    lines.lines().count()
}

fn same(original: &Path, other: impl std::io::Read) {
    let hash = |file: &mut dyn std::io::Read| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).unwrap();
        (hasher.count(), hasher.finalize())
    };
    let (mut original, mut other) = (fs::File::open(original).unwrap(), other);
    assert_eq!(
        hash(&mut other),
        hash(&mut original),
        "it is another file now"
    );
}

/// Bytes that have come to this machine from the client's, and gone there.
fn moved() -> (u64, u64) {
    let all = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let of_link = |line: &str| Some(line.trim_start().strip_prefix("peers:")?.to_owned());
    let line = all.lines().find_map(of_link).unwrap();
    let count = |at| line.split_whitespace().nth(at).unwrap().parse().unwrap();
    (count(0), count(8))
}
