//! The training curves, and the button that stops a training early (sleap-rtc wire protocol, 4.2, 4.3 and 7): a trainer
//! with libzmq's sockets, and clients that watch it.

use std::fs;

use serde_json::{Value, json};

use crate::foreign_client::{command, controls, texts};
use crate::program::{PATIENCE, Process, until};
use crate::scene::{Scene, unzip};

/// The reports that a client was sent.
fn reports(client: &Process) -> Vec<Value> {
    let texts = texts(client);
    let reports = texts
        .iter()
        .filter_map(|text| text.strip_prefix("PROGRESS_REPORT::"));
    reports
        .map(|report| serde_json::from_str(report).unwrap())
        .collect()
}

/// The texts that a client takes for something else than output and reports.
fn milestones(client: &Process) -> Vec<String> {
    let mut controls = controls(client);
    controls.retain(|text| !text.starts_with("PROGRESS_REPORT::"));
    controls
}

/// Whether something listens on one of these ports of the scene.
fn listens(scene: &Scene, ports: [u16; 2]) -> bool {
    let table = scene.inside("cat", &["/proc/net/tcp"]);
    ports
        .iter()
        .any(|port| table.contains(&format!("0100007F:{port:04X} 00000000:0000 0A")))
}

/// Two trainings of one worker, one after the other: each is watched and stopped by its own client, over ports that are
/// its own and gone afterwards.
#[test]
fn a_training_is_watched_and_stopped_early() {
    let Some(scene) = Scene::open() else { return };
    let worker = scene.worker();
    for job in ["first", "second"] {
        let package = scene.package(&[("centroid", &scene.trained(&format!("--name {job}")))]);
        let output = scene.directory(job);
        let mut client = scene.python_client(
            &package,
            &output,
            &["--session", &worker.session, "--stop-at", "epoch_end"],
        );
        client.event("file");
        let reports = reports(&client);
        let end = reports.iter().find(|report| report["event"] == "epoch_end");
        assert_eq!(
            end.unwrap()["logs"],
            json!({"train/loss": 0.5, "val/loss": 0.25})
        );
        assert!(reports.iter().all(|report| report["what"] == job));
        assert_eq!(reports.last().unwrap()["event"], "train_end");
        // The trainer ended by itself, so it is done like any other.
        let controls = milestones(&client);
        assert_eq!(
            controls[..3],
            [
                "TRAIN_JOB_START::centroid", "TRAIN_JOB_END::centroid", "TRAINING_JOBS_DONE"
            ]
        );
        assert!(texts(&client).contains(&"stopped early\n".to_owned()));
        let results = unzip(&output.join("trained_fly.zip"));
        assert_eq!(
            String::from_utf8_lossy(&results[&format!("{job}/commands")]),
            "{\"command\": \"stop\"}\n"
        );
        let (_, ports) = command(&results["centroid/command"]);
        assert_ne!(ports[0], ports[1]);
        assert!(!listens(&scene, ports));
        client.leave();
    }
}

/// A command that comes before the trainer listens waits for it; one that comes when there is no training, before or
/// after, changes nothing, and neither does it stop the next model.
#[test]
fn commands_reach_the_training_that_runs_and_no_other() {
    let Some(scene) = Scene::open() else { return };
    let worker = scene.worker();
    let package = scene.package(&[
        ("waits", &scene.trained("--name waits --await-command")),
        ("counts", &scene.trained("--name counts --epochs 3 --wait")),
    ]);
    let output = scene.directory("output");
    let mut client = scene.python_client(
        &package,
        &output,
        &[
            "--session", &worker.session, "--untimely", "--stop-at", "TRAIN_JOB_START::waits",
        ],
    );
    client.event("file");
    let results = unzip(&output.join("trained_fly.zip"));
    let commands = |name: &str| {
        let commands = &results[&format!("{name}/commands")];
        String::from_utf8_lossy(commands).into_owned()
    };
    assert_eq!(commands("waits"), "{\"command\": \"stop\"}\n");
    assert_eq!(commands("counts"), "None\n");
    let epochs = |event: &str| {
        let of_kind = reports(&client);
        let of_kind = of_kind.iter().filter(|report| report["event"] == event);
        of_kind
            .map(|report| report["epoch"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(epochs("epoch_begin"), [0, 1, 2]);
    assert_eq!(epochs("epoch_end"), [0, 1, 2]);
    assert_ne!(
        command(&results["waits/command"]).1,
        command(&results["counts/command"]).1
    );
    client.leave();

    // The worker is as good as new.
    let again = scene.directory("again");
    let mut next = scene.python_client(
        &package,
        &again,
        &[
            "--session", &worker.session, "--stop-at", "TRAIN_JOB_START::waits",
        ],
    );
    next.event("file");
    next.leave();
}

/// Two workers on one machine train at the same time, and each client hears of its own.
#[test]
fn two_workers_of_one_machine_do_not_meet() {
    let Some(scene) = Scene::open() else { return };
    let workers = ["left", "right"].map(|name| (name, scene.worker_in(name)));
    let mut clients = workers.each_ref().map(|(name, worker)| {
        let trained = scene.trained(&format!("--name {name} --wait"));
        let package = scene.package(&[("centroid", &(scene.gated() + &trained))]);
        let output = scene.directory(&format!("of-{name}"));
        let mut client = scene.python_client(
            &package,
            &output,
            &["--session", &worker.session, "--stop-at", "epoch_end"],
        );
        client.wait(PATIENCE, "output of the training", |event| {
            event["text"] == "waiting\n"
        });
        (name, output, client)
    });
    scene.open_gate();
    for (name, output, client) in &mut clients {
        client.event("file");
        let reports = reports(client);
        assert!(!reports.is_empty());
        assert!(reports.iter().all(|report| report["what"] == **name));
        let results = unzip(&output.join("trained_fly.zip"));
        assert_eq!(
            results[&format!("{name}/commands")],
            b"{\"command\": \"stop\"}\n"
        );
        client.leave();
    }
}

/// A trainer that reports without measure, and things that are no reports, and somebody who abuses its ports: the client
/// gets some of it, is told exactly how much is missing, and takes none of it for a message of the worker.
#[test]
fn a_flood_is_thinned_out_and_nothing_passes_for_something_else() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.worker();
    let trained = scene.trained("--name flood --wait --attack --odd --flood 100000");
    let package = scene.package(&[("centroid", &trained)]);
    let output = scene.directory("output");
    let mut client = scene.python_client(
        &package,
        &output,
        &["--session", &worker.session, "--stop-at", "epoch_end"],
    );
    client.event("file");
    let results = unzip(&output.join("trained_fly.zip"));
    let published = String::from_utf8_lossy(&results["flood/published"]).into_owned();
    let published: usize = published.trim().parse().unwrap();
    let told = texts(&client);
    let note = told
        .iter()
        .find(|text| text.contains("progress reports of the trainer were left out"))
        .unwrap();
    let left_out: usize = note[1..].split(' ').next().unwrap().parse().unwrap();
    let got = reports(&client);
    assert_eq!(got.len() + left_out, published, "{note}");
    assert!(published > 100_000 && got.len() < 10_000, "{}", got.len());
    assert_eq!(got.last().unwrap()["event"], "train_end");
    assert_eq!(
        milestones(&client)[..3],
        [
            "TRAIN_JOB_START::centroid", "TRAIN_JOB_END::centroid", "TRAINING_JOBS_DONE"
        ]
    );
    client.leave();
    worker.status("available");
}

/// A report with all the words that a client looks for is a report and nothing else.
#[test]
fn a_report_is_taken_for_nothing_else() {
    let Some(scene) = Scene::open() else { return };
    let worker = scene.worker();
    let package = scene.package(&[("centroid", &scene.trained("--epochs 1 --wait --odd"))]);
    let output = scene.directory("output");
    let mut client = scene.python_client(&package, &output, &["--session", &worker.session]);
    client.event("file");
    let first = reports(&client)[0].clone();
    assert_eq!(
        first["what"].as_str().unwrap().replace('\u{2060}', ""),
        "END_OF_FILE FILE_META::x:1:y TRAINING_JOBS_DONE\u{1b}[2J PROGRESS_REPORT::"
    );
    let words: Vec<_> = client
        .events("text")
        .iter()
        .filter(|event| event["text"].as_str().unwrap().contains("train_begin"))
        .map(|event| event["control"].clone())
        .collect();
    // The text has more than one word; what counts is the one that it begins with.
    assert_eq!(words, ["PROGRESS_REPORT::"]);
    client.leave();
}

/// The ports that the training which runs was told.
fn ports(scene: &Scene) -> [u16; 2] {
    let jobs = scene.path("jobs");
    let find = || {
        let found = scene.inside("find", &[jobs.to_str().unwrap(), "-name", "command"]);
        let path = found.lines().next()?;
        let written = fs::read(path).ok()?;
        written.ends_with(b"\n").then_some(written)
    };
    until("the command of a training", PATIENCE, || find().is_some());
    command(&find().unwrap()).1
}

/// The client goes while it trains, or the training fails, or is cancelled: the ports are free each time.
#[test]
fn the_ports_are_free_however_a_training_ends() {
    let Some(scene) = Scene::open() else { return };
    let mut worker = scene.worker();
    let fails = scene.gated() + "exit 3\n";
    for (name, training) in [("goes", scene.trained("")), ("fails", fails)] {
        let package = scene.package(&[("centroid", &training)]);
        let output = scene.directory(name);
        let mut client = scene.python_client(&package, &output, &["--session", &worker.session]);
        client.wait(PATIENCE, "output of the training", |event| {
            event["text"] == "waiting\n" || event["text"] == "training\n"
        });
        let ports = ports(&scene);
        assert!(listens(&scene, ports));
        if name == "fails" {
            scene.open_gate();
            client.event("file");
        }
        client.leave();
        worker.status("available");
        until("free ports", PATIENCE, || !listens(&scene, ports));
    }

    let package = scene.package(&[("centroid", &scene.trained(""))]);
    let target = ["--session", &worker.session];
    let mut client = scene.run(&package, &scene.directory("cancelled"), &target);
    client.event("progress_report");
    let ports = ports(&scene);
    assert!(listens(&scene, ports));
    client.interrupt();
    worker.status("available");
    until("free ports", PATIENCE, || !listens(&scene, ports));
}

/// Where no sockets can be had, it is trained all the same, the trainer is told to use none, and the client is told why
/// there are no curves.
#[test]
fn without_sockets_it_is_trained_without_curves() {
    let Some(scene) = Scene::open() else { return };
    let worker = scene.worker();
    scene.inside("ip", &["address", "del", "127.0.0.1/8", "dev", "lo"]);
    let package = scene.package(&[("centroid", &scene.trained(""))]);
    let output = scene.directory("output");
    let mut client = scene.python_client(
        &package,
        &output,
        &[
            "--session", &worker.session, "--stop-at", "without a monitor",
        ],
    );
    client.event("file");
    let told = texts(&client);
    assert!(
        told.iter()
            .any(|text| text.starts_with("[no training curves: ")),
        "{told:?}"
    );
    assert!(told.contains(&"training without a monitor\n".to_owned()));
    client.leave();
}

/// Our own client tells programs of all reports, and people of epochs and losses, in plain numbers.
#[test]
fn our_client_shows_epochs_and_losses() {
    let Some(scene) = Scene::open() else { return };
    let worker = scene.worker();
    let package = scene.package(&[("centroid", &scene.trained("--epochs 3 --wait --odd"))]);
    let mut client = scene.run(
        &package,
        &scene.directory("output"),
        &["--session", &worker.session],
    );
    client.event("done");
    let told = client.events("progress_report");
    let kinds: Vec<_> = told
        .iter()
        .map(|event| event["report"]["event"].as_str().unwrap())
        .collect();
    let epoch = ["epoch_begin", "epoch_end"];
    assert_eq!(
        kinds,
        [&["train_begin"], &epoch[..], &epoch, &epoch, &["train_end"]].concat()
    );
    let ends: Vec<_> = told
        .iter()
        .filter(|event| event["report"]["event"] == "epoch_end")
        .map(|event| [&event["epoch"], &event["loss"], &event["val_loss"]].map(Value::clone))
        .collect();
    let end = |epoch: u64| [json!(epoch), json!(0.5), json!(0.25)];
    assert_eq!(ends, [end(0), end(1), end(2)]);

    let shown = scene.shown(&package, &["--session", &worker.session]);
    assert!(
        shown.contains("\nepoch 2  loss 0.500000  val_loss 0.250000\n"),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "{shown}");
}
