//! Jobs that run, and where their results stay.

use super::*;

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
