//! Names, ids and paths that are refused; nothing is run, and the directories stay as they were.

use super::*;

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

/// Two jobs of one id and one file, named on two channels at the same moment: one of them runs, the other is told that it
/// does not, and what is there in the end is one job's.
#[actix_rt::test]
async fn of_two_jobs_of_one_id_at_once_one_runs() {
    let scene = Scene::new().await;
    scene.put("labels.zip", TRAIN);
    let mut client = scene.lab.peer("client").await;
    let (one, two) = (
        client.call(&scene.lab.worker_id).await,
        client.call(&scene.lab.worker_id).await,
    );
    tokio::join!(
        ask(&one, "job_1", "labels.zip"),
        ask(&two, "job_1", "labels.zip")
    );
    let ends = ["TRAINING_COMPLETE", "JOB_FAILED", "FILE_NOT_FOUND"];
    let end = async |call: &Call| {
        let mut texts = Vec::new();
        while !texts
            .last()
            .is_some_and(|text: &String| ends.iter().any(|end| text.starts_with(end)))
        {
            texts.extend(call.until("").await);
        }
        texts
    };
    let (one, two) = tokio::join!(end(&one), end(&two));
    let ran = [&one, &two].map(|texts| texts.last().unwrap() == "TRAINING_COMPLETE");
    assert!(ran[0] != ran[1], "{one:?} {two:?}");
    let refused = if ran[0] { &two } else { &one };
    assert!(
        !refused.iter().any(|text| text.contains("trained")),
        "{refused:?}"
    );
    let kept = [
        "jobs", "jobs/job_1", "jobs/job_1/models", "jobs/job_1/models/best",
    ];
    assert_eq!(scene.left(), kept);
    scene.lab.until_status("available", PATIENCE).await;
}
