//! Jobs on files of the worker's own side: both generations of their messages, over real channels (sleap-rtc wire
//! protocol, 4.3 and 4.6; reading.md 18).
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "io_paths/client.rs"]
mod client;
#[path = "io_paths/killed.rs"]
mod killed;
#[path = "io_paths/policy.rs"]
mod policy;
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

/// The directories are told to whoever looks for workers, absolute, with their links resolved.
#[actix_rt::test]
async fn the_registration_tells_the_directories() {
    let scene = Scene::new().await;
    let shown = scene.lab.shown().await.unwrap();
    assert_eq!(
        shown["metadata"]["properties"]["io_paths"],
        json!({ "input": scene.input().canonicalize().unwrap(), "output": scene.output().canonicalize().unwrap(),
            "filesystem": "vast" })
    );
    let without = Lab::new().await.shown().await.unwrap();
    let properties = without["metadata"]["properties"].as_object().unwrap();
    assert!(!properties.contains_key("io_paths"), "{properties:?}");
}

/// One directory without the other, and one that is not there, end the worker at once, with what to do.
#[actix_rt::test]
async fn directories_that_cannot_be_used_end_the_worker_at_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let cases = [
        (vec!["--input-path", at], 2, "--output-path DIR"),
        (vec!["--filesystem", "vast"], 2, "--input-path DIR"),
        (
            vec!["--input-path", at, "--output-path", "/no/such"],
            7,
            "--output-path /no/such",
        ),
        (
            vec!["--output-path", at, "--input-path", file.to_str().unwrap()],
            7,
            "--input-path",
        ),
    ];
    for (flags, code, expected) in cases {
        let mut args = vec!["worker", "--json", "--hub", "http://127.0.0.1:9"];
        args.extend(&flags);
        let mut worker = Process::start(&args, &[]);
        let error = worker.event("error").await;
        assert_eq!(error["code"], code, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        assert_eq!(worker.exit().await, code);
    }
}

/// A file of the input directory is named and run; the results stay in `jobs/<id>`, nothing is sent back, the file is
/// as it was, and the worker is free again.
#[actix_rt::test]
async fn a_named_file_is_run_and_its_results_stay() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    let before = fs::read(scene.input().join("labels.zip")).unwrap();
    let call = scene.call().await;
    ask(&call, "job_ab12cd34", "labels.zip").await;
    let texts = call.until("TRAINING_COMPLETE").await;
    let place = scene.output().canonicalize().unwrap();
    let expected = [
        "FILE_EXISTS::labels.zip".to_owned(),
        format!("JOB_OUTPUT_PATH::{}/jobs/job_ab12cd34", place.display()),
        "TRAIN_JOB_START::labels".to_owned(),
        "trained\n".to_owned(),
        "TRAIN_JOB_END::labels".to_owned(),
        "TRAINING_JOBS_DONE".to_owned(),
        "TRAINING_COMPLETE".to_owned(),
    ];
    assert_eq!(texts, expected);
    let kept = [
        "jobs", "jobs/job_ab12cd34", "jobs/job_ab12cd34/models", "jobs/job_ab12cd34/models/best",
    ];
    assert_eq!(scene.left(), kept);
    assert_eq!(fs::read(scene.input().join("labels.zip")).unwrap(), before);
    assert_eq!(tree(&scene.input(), ""), ["labels.zip"]);
    scene.lab.until_status("available", PATIENCE).await;
    assert_eq!(scene.lab.scratch(), Vec::<PathBuf>::new());
}

/// CONN-10, with directories configured. The older generation: paths relative to what is shared, answered one by one; the header without bytes begins no
/// transfer. An empty directory may stand at the output path.
#[actix_rt::test]
async fn shared_paths_are_run_and_their_results_stay() {
    let scene = Scene::new().await;
    scene.put("jobs/j1/labels.zip", TRAIN);
    fs::create_dir_all(scene.output().join("jobs/j1/models")).unwrap();
    let call = scene.call().await;
    share(&call, "j1", "jobs/j1/labels.zip", "jobs/j1/models").await;
    let texts = call.until("JOB_").await;
    assert_eq!(
        texts[..2],
        ["PATH_VALIDATED::input", "PATH_VALIDATED::output"]
    );
    assert_eq!(texts.last().unwrap(), "JOB_COMPLETE::j1::jobs/j1/models");
    assert!(texts.contains(&"trained\n".to_owned()), "{texts:?}");
    let best = scene.output().join("jobs/j1/models/models/best");
    assert_eq!(fs::read_to_string(best).unwrap(), "weights\n");
    scene.lab.until_status("available", PATIENCE).await;
}

/// With directories configured a package is still sent as ever, an empty header first or not.
#[actix_rt::test]
async fn packages_are_still_sent() {
    let scene = Scene::new().await;
    let call = scene.call().await;
    call.upload("a.zip", &zip(&package(scene.dir.path(), "a", TRAIN)))
        .await;
    let (texts, results) = call.results().await;
    assert!(
        texts.contains(&"TRAINING_JOBS_DONE".to_owned()),
        "{texts:?}"
    );
    assert!(!results.is_empty());
    call.until("JOB_COMPLETE").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}

/// Each reason for which a name is refused. After any of them the worker has no job and the directories are as they
/// were.
#[actix_rt::test]
async fn a_name_that_cannot_be_used_gets_its_reason() {
    let scene = Scene::new().await;
    let input = scene.input();
    fs::create_dir(input.join("folder.zip")).unwrap();
    symlink("../secret.zip", input.join("link.zip")).unwrap();
    symlink("/dev/zero", input.join("zero.zip")).unwrap();
    nix::unistd::mkfifo(&input.join("pipe.zip"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let call = scene.call().await;
    for (name, reason) in [
        ("../secret.zip", "Invalid filename: contains path separator"),
        ("/etc/passwd", "Invalid filename: contains path separator"),
        ("a\\b.zip", "Invalid filename: contains path separator"),
        ("..", "Invalid filename: contains parent reference"),
        ("nowhere.zip", "File does not exist"),
        (".hidden", "File does not exist"),
        ("folder.zip", "Path is not a file"),
        ("link.zip", "Path is not a file"),
        ("zero.zip", "Path is not a file"),
        ("pipe.zip", "Path is not a file"),
    ] {
        let said = verdict(&call, "job_1", name).await;
        assert_eq!(said, format!("FILE_NOT_FOUND::{name}::{reason}"));
    }
    let locked = input.join("locked.zip");
    scene.put("locked.zip", TRAIN);
    fs::set_permissions(&locked, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    if fs::File::open(&locked).is_err() {
        let said = verdict(&call, "job_1", "locked.zip").await;
        assert_eq!(said, "FILE_NOT_FOUND::locked.zip::File is not readable");
    }
    assert_eq!(scene.left(), Vec::<String>::new());
    assert_eq!(scene.lab.worker.log_count("\"event\":\"job_ended\""), 0);
    assert_eq!(scene.lab.scratch(), Vec::<PathBuf>::new());
}

/// A job id names a directory, so it is checked like one; without a usable one there is no place for results.
#[actix_rt::test]
async fn a_job_id_that_cannot_name_a_directory_is_refused() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    let call = scene.call().await;
    let long = "j".repeat(129);
    for id in [
        "../../escape", "/abs", "..", ".hidden", "a\\b", "NUL", &long,
    ] {
        let said = verdict(&call, id, "labels.zip").await;
        assert!(
            said.starts_with("FILE_NOT_FOUND::labels.zip::Failed to create output directory: "),
            "{id}: {said}"
        );
    }
    call.text("INPUT_FILE::labels.zip").await;
    let said = call.until("FILE_").await.pop().unwrap();
    assert!(said.contains("no usable job id"), "{said}");
    assert_eq!(scene.left(), Vec::<String>::new());
    assert!(!scene.dir.path().join("escape").exists());
}

/// Paths that lead out, by whatever way, are errors; then the job does not start.
#[actix_rt::test]
async fn shared_paths_that_lead_out_start_no_job() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    symlink("../secret.zip", scene.input().join("link.zip")).unwrap();
    symlink("..", scene.input().join("up")).unwrap();
    symlink("..", scene.output().join("up")).unwrap();
    fs::create_dir(scene.output().join("full")).unwrap();
    fs::write(scene.output().join("full/mine"), "x").unwrap();
    let before = scene.left();
    let call = scene.call().await;
    for (input, output) in [
        ("../secret.zip", "o"),
        ("/etc/passwd", "o"),
        ("link.zip", "o"),
        ("up/secret.zip", "o"),
        ("a/../labels.zip", "o"),
        (".", "o"),
        ("nowhere/labels.zip", "o"),
        ("labels.zip", "../escape"),
        ("labels.zip", "/tmp/escape"),
        ("labels.zip", "up/escape"),
        ("labels.zip", "."),
        ("labels.zip", "full"),
        ("labels.zip", "full/mine"),
        ("labels.zip", "full/mine/below"),
    ] {
        share(&call, "j1", input, output).await;
        let texts = [
            call.until("PATH_").await,
            call.until("PATH_").await,
            call.until("PATH_").await,
        ]
        .concat();
        assert_eq!(texts.len(), 3, "{texts:?}");
        let errors = texts
            .iter()
            .filter(|text| text.starts_with("PATH_ERROR::"))
            .count();
        assert_eq!(errors, 2, "{input} {output}: {texts:?}");
        assert!(texts[2].contains("does not start"), "{texts:?}");
    }
    assert_eq!(scene.left(), before);
    assert!(!scene.dir.path().join("escape").exists());
    scene.lab.until_status("reserved", PATIENCE).await;
}

/// What was validated is what is run, whatever its name stands for afterwards, on either side.
#[actix_rt::test]
async fn what_is_exchanged_after_validation_makes_no_difference() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    fs::create_dir(scene.output().join("runs")).unwrap();
    let call = scene.call().await;
    call.text("JOB_ID::j1").await;
    call.text("SHARED_INPUT_PATH::labels.zip").await;
    call.text("SHARED_OUTPUT_PATH::runs/one").await;
    call.until("PATH_VALIDATED::output").await;
    fs::remove_file(scene.input().join("labels.zip")).unwrap();
    symlink("../secret.zip", scene.input().join("labels.zip")).unwrap();
    let elsewhere = scene.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(scene.output().join("runs"), scene.output().join("moved")).unwrap();
    symlink(&elsewhere, scene.output().join("runs")).unwrap();
    call.text("SHARED_STORAGE_JOB::start").await;
    let texts = call.until("JOB_").await;
    assert_eq!(texts.last().unwrap(), "JOB_COMPLETE::j1::runs/one");
    assert!(texts.contains(&"trained\n".to_owned()), "{texts:?}");
    assert_eq!(tree(&elsewhere, ""), Vec::<String>::new());
    assert!(scene.output().join("moved/one/models/best").exists());
}

/// A second job with an id that was used is refused, and the first one's results are not touched.
#[actix_rt::test]
async fn an_id_is_used_once() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    let call = scene.call().await;
    ask(&call, "job_1", "labels.zip").await;
    call.until("TRAINING_COMPLETE").await;
    scene.lab.until_status("available", PATIENCE).await;
    let before = scene.left();
    scene.put("labels.zip", "mkdir models; echo other > models/best");
    let said = verdict(&call, "job_1", "labels.zip").await;
    assert_eq!(
        said,
        "FILE_NOT_FOUND::labels.zip::Failed to create output directory: a job with this id has its results there already"
    );
    assert_eq!(scene.left(), before);
    let best = scene.output().join("jobs/job_1/models/best");
    assert_eq!(fs::read_to_string(best).unwrap(), "weights\n");
}

/// A job that fails says so once and leaves the output directory as it was: one that cannot be prepared, one that is no
/// package at all, and one whose command fails with nothing to show for it.
#[actix_rt::test]
async fn a_failed_job_leaves_no_trace() {
    let scene = Scene::new().await;
    scene.put("fails.zip", "exit 3");
    fs::write(scene.input().join("broken.zip"), "no zip").unwrap();
    fs::write(scene.input().join("notes.txt"), "no package").unwrap();
    fs::write(scene.input().join("labels.slp"), "labels").unwrap();
    let call = scene.call().await;
    for (name, why) in [
        ("fails.zip", "exit code 3"),
        ("broken.zip", "is not a package"),
        ("notes.txt", "neither a .zip package nor a .slp file"),
        ("labels.slp", "neither train-script.sh"),
    ] {
        ask(&call, "job_1", name).await;
        let texts = call.until("JOB_FAILED").await;
        let failed = texts.last().unwrap();
        assert!(
            failed.starts_with("JOB_FAILED::job_1::") && failed.contains(why),
            "{failed}"
        );
        assert_eq!(scene.left(), Vec::<String>::new(), "{name}");
        assert_eq!(scene.lab.scratch(), Vec::<PathBuf>::new());
        scene.lab.until_status("available", PATIENCE).await;
        // The next answer comes behind everything that the job said.
        let said = verdict_only(&call).await;
        assert_eq!(said, ["FILE_NOT_FOUND::marker::File does not exist"]);
    }
    let untouched = ["broken.zip", "fails.zip", "labels.slp", "notes.txt"];
    assert_eq!(tree(&scene.input(), ""), untouched);
}

/// What comes up to the answer for a file that is not there.
async fn verdict_only(call: &Call) -> Vec<String> {
    ask(call, "job_marker", "marker").await;
    call.until("FILE_NOT_FOUND::marker").await
}

/// A file is bounded like a package that is sent.
#[actix_rt::test]
async fn a_file_over_the_limit_is_refused() {
    let scene = Scene::with(&["--max-package-mb", "1"]).await;
    let large = fs::File::create(scene.input().join("large.zip")).unwrap();
    large.set_len(1_000_001).unwrap();
    let call = scene.call().await;
    ask(&call, "job_1", "large.zip").await;
    let failed = call.until("JOB_FAILED::job_1::").await.pop().unwrap();
    assert!(failed.contains("are accepted"), "{failed}");
    assert_eq!(scene.left(), Vec::<String>::new());
}

/// What a failed command left behind stays, as it is sent back for a package that was sent.
#[actix_rt::test]
async fn what_a_failed_command_left_stays() {
    let scene = Scene::new().await;
    scene.put(
        "labels.zip",
        "mkdir models; echo half > models/best; ln -s /etc/passwd models/link; exit 3",
    );
    let call = scene.call().await;
    ask(&call, "job_1", "labels.zip").await;
    call.until("JOB_FAILED::job_1::").await;
    let kept = [
        "jobs", "jobs/job_1", "jobs/job_1/models", "jobs/job_1/models/best",
    ];
    assert_eq!(scene.left(), kept);
}

/// A job that is cancelled leaves nothing, though its command had written something. Until then nothing stands under
/// the final name.
#[actix_rt::test]
async fn a_cancelled_job_leaves_nothing() {
    let scene = Scene::new().await;
    scene.put(
        "slow.zip",
        "mkdir models; echo x > models/best; echo up; sleep 600 & wait",
    );
    let mut client = scene.lab.peer("client").await;
    let job = client.reserve(&scene.lab.worker_id).await;
    let call = client.call(&scene.lab.worker_id).await;
    ask(&call, &job, "slow.zip").await;
    call.until("up").await;
    assert!(!scene.output().join("jobs").join(&job).exists());
    client.message(
        &scene.lab.worker_id,
        json!({ "app_message_type": "job_cancel", "job_id": job }),
    );
    call.until("JOB_CANCELLED").await;
    assert_eq!(scene.left(), Vec::<String>::new());
}

/// Who may not send a package now may not name one either, and learns nothing of what is there.
#[actix_rt::test]
async fn only_who_may_send_a_package_may_name_one() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    let mut client = scene.lab.peer("client").await;
    let call = client.call(&scene.lab.worker_id).await;
    ask(&call, "job_1", "labels.zip").await;
    call.until("TRAINING_COMPLETE").await;
    scene.lab.until_status("available", PATIENCE).await;
    // The client's connection lingers, and somebody else has the worker now.
    let mut other = scene.lab.peer("client").await;
    other.reserve(&scene.lab.worker_id).await;
    scene.lab.until_status("busy", PATIENCE).await;
    for name in ["labels.zip", "nowhere.zip"] {
        ask(&call, "job_2", name).await;
        let texts = call.until("JOB_FAILED").await;
        assert_eq!(
            texts,
            ["JOB_FAILED::job_2::the worker is busy for somebody else"]
        );
    }
    call.text("SHARED_INPUT_PATH::nowhere.zip").await;
    assert_eq!(
        call.until("PATH_").await,
        ["PATH_ERROR::the worker is busy for somebody else"]
    );
}

/// A worker without directories says so to both generations.
#[actix_rt::test]
async fn a_worker_without_directories_says_so() {
    let lab = Lab::new().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let said = verdict(&call, "job_1", "labels.zip").await;
    assert_eq!(
        said,
        "FILE_NOT_FOUND::labels.zip::Worker I/O paths not configured"
    );
    for text in [
        "JOB_ID::j1", "SHARED_INPUT_PATH::a.zip", "SHARED_OUTPUT_PATH::o",
        "SHARED_STORAGE_JOB::start",
    ] {
        call.text(text).await;
    }
    for _ in 0..2 {
        assert_eq!(
            call.until("PATH_").await,
            ["PATH_ERROR::Worker I/O paths not configured"]
        );
    }
}
