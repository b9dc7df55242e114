//! What a worker leaves in the output directory that is killed.

use super::*;

/// What a killed worker had reserved for results goes at the next start, and in a directory of a client's choice with its
/// next use; what a worker reserved that lives stays.
#[actix_rt::test]
async fn what_a_killed_worker_reserved_goes() {
    let scene = Scene::new().await;
    let gate = scene.dir.path().join("gate");
    let script = format!(
        "echo up; while [ ! -f '{}' ]; do sleep 0.1; done; mkdir models; echo w > models/best",
        gate.display()
    );
    scene.put("slow.zip", &script);
    let parts = || {
        scene
            .left()
            .iter()
            .filter(|path| path.ends_with(".part"))
            .count()
    };
    let flags = |work: &str| {
        let work = scene.dir.path().join(work);
        let (input, output) = (scene.input(), scene.output());
        let flags = [
            "--allow-commands",
            "--input-path",
            input.to_str().unwrap(),
            "--output-path",
            output.to_str().unwrap(),
            "--room",
            &scene.lab.room,
            "--token",
            &scene.lab.token,
        ]
        .map(str::to_owned);
        (work, flags)
    };
    let start = async |work: &str| {
        let (work, flags) = flags(work);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut worker = support::worker(&scene.lab.url, &work, &flags, &[]);
        let id = worker.event("registered").await["worker"]
            .as_str()
            .unwrap()
            .to_owned();
        (worker, id)
    };

    let (mut killed, id) = start("one").await;
    let mut client = scene.lab.peer("client").await;
    let call = client.call(&id).await;
    ask(&call, "job_1", "slow.zip").await;
    call.until("up").await;
    let deep = scene.output().join("deep");
    fs::create_dir(&deep).unwrap();
    let name = fs::read_dir(scene.output().join("jobs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .file_name();
    // As if it had been reserved there.
    fs::create_dir(deep.join(&name)).unwrap();

    // One that starts meanwhile leaves what is in use.
    let (mut other, id) = start("two").await;
    assert_eq!(parts(), 2);
    killed.signal(nix::sys::signal::Signal::SIGKILL);
    killed.exit().await;
    assert_eq!(parts(), 2);
    let (_next, _) = start("three").await;
    assert_eq!(parts(), 1);
    fs::write(&gate, "").unwrap();
    let mut client = scene.lab.peer("client").await;
    let call = client.call(&id).await;
    share(&call, "job_2", "slow.zip", "deep/results").await;
    call.until("up").await;
    call.until("TRAINING_JOBS_DONE").await;
    support::until("results alone are left", PATIENCE, || parts() == 0).await;
    assert!(deep.join("results").exists());
    other.signal(nix::sys::signal::Signal::SIGTERM);
    other.exit().await;
}
