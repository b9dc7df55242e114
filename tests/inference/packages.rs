//! What a package for inference is, to client and worker.

use super::*;

/// `loaner run` of a directory, and of a flat zip: it says what the package is for, shows the log, and saves the result
/// under the name that it was announced with. Nothing that is there is replaced.
#[actix_rt::test]
async fn our_client_runs_inferences() {
    let lab = Lab::with(&[]).await;
    let dir = directory(&lab, "fly", SCRIPT, GOOD);
    let zip = lab.dir.path().join("flat.zip");
    File::create(&zip)
        .unwrap()
        .write_all(&package(SCRIPT, GOOD))
        .unwrap();
    for (path, saved) in [(&dir, "d.predictions.slp"), (&zip, "d.predictions-2.slp")] {
        let mut client = lab.run(path, &[]);
        assert_eq!(client.exit().await, 0, "{}", client.stdout());
        let events = client.events();
        let of = |name: &str| -> Vec<&Value> {
            events
                .iter()
                .filter(|event| event["event"] == name)
                .collect()
        };
        assert_eq!(
            of("started"),
            [&json!({ "event": "started", "name": "inference" })]
        );
        assert_eq!(
            of("ended"),
            [&json!({ "event": "ended", "name": "inference", "code": 0 })]
        );
        let done = of("done")[0];
        let result = lab.out().join(saved);
        assert_eq!(done["results"], result.to_str().unwrap());
        assert_eq!((&done["bytes"], &done["entries"]), (&json!(9), &json!([])));
        assert_eq!(std::fs::read(result).unwrap(), b"predicted");
        assert!(
            output(&client).ends_with("frame 7\n\r10%20%\n"),
            "{:?}",
            output(&client)
        );
        lab.until_status("available", PATIENCE).await;
    }
    // To people it is a file, not an archive of nothing.
    let mut client = lab.run_for_people(&dir);
    assert_eq!(client.exit().await, 0, "{}", client.log());
    let text = client.stdout();
    assert!(text.ends_with("d.predictions-3.slp (9 B)"), "{text}");
}

/// Names with blanks, quotes and letters of any script come through as they are; a name that a header cannot carry is
/// refused with its line, and so is everything else that this worker does not run.
#[actix_rt::test]
async fn results_have_odd_names_and_scripts_are_answered_with_their_line() {
    let lab = Lab::with(&[]).await;
    let name = "größe ☃ 'x' (1).predictions.slp";
    let track = "sleap-nn track --data_path d.slp --model_paths models/centroid";
    let odd = directory(&lab, "odd", &format!("{track} -o \"out/{name}\"\n"), GOOD);
    let mut client = lab.run(&odd, &[]);
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
    assert_eq!(std::fs::read(lab.out().join(name)).unwrap(), b"predicted");

    for (option, expected) in [
        (
            "-o run:b.slp",
            "track-script.sh, line 2: the path \"run:b.slp\" of `-o` is refused: it contains a colon",
        ),
        (
            "-o ../x.slp",
            "track-script.sh, line 2: the path \"../x.slp\" of `-o` is refused",
        ),
        (
            "-i /etc/passwd",
            "track-script.sh, line 2: the path \"/etc/passwd\" of `-i` is refused: it is absolute",
        ),
        (
            "--device cuda",
            "track-script.sh, line 2: the option `--device` is not known here",
        ),
        ("; touch x", "track-script.sh, line 2: `;` is for a shell"),
    ] {
        lab.until_status("available", PATIENCE).await;
        let bad = directory(&lab, "bad", &format!("\n{track} {option}\n"), GOOD);
        let mut client = lab.run(&bad, &[]);
        assert_eq!(client.exit().await, 6, "{}", client.stdout());
        assert!(error(&client).contains(expected), "{}", error(&client));
    }
}

/// A client of the original says where on its own disk the result goes. That is nothing to a worker, and comes back with
/// the result only where it cannot be taken for more than a field of the header.
#[actix_rt::test]
async fn the_clients_own_directory_is_nothing_to_the_worker() {
    let lab = Lab::with(&[]).await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    for (said, hint) in [
        ("/home/me/results", "/home/me/results"),
        ("../results", "../results"),
        ("C:\\results", "."),
        ("a/END_OF_FILE", "."),
    ] {
        call.text("PACKAGE_TYPE::track").await;
        call.text(&format!("OUTPUT_DIR::{said}")).await;
        call.file("a.zip", &package(SCRIPT, GOOD), "false").await;
        let (texts, bytes) = call.results().await;
        assert_eq!(bytes, b"predicted");
        let header = format!("FILE_META::d.predictions.slp:9:{hint}");
        assert_eq!(texts.last(), Some(&header));
        call.until("JOB_COMPLETE").await;
        client
            .until_status(&lab.worker_id, "available", PATIENCE)
            .await;
    }
}

/// A package of which nothing was said is what its script says; a type stays until another one is said, and one that
/// nobody knows is refused.
#[actix_rt::test]
async fn the_type_of_a_package_is_sticky_and_may_be_left_out() {
    let lab = Lab::with(&[]).await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let tracking = package(SCRIPT, GOOD);
    let training = flat(&[("train-script.sh", "sleap-nn train --config-name a.yaml\n")]);

    call.file("a.zip", &tracking, "false").await;
    let texts = call.until("JOB_COMPLETE").await;
    assert!(
        texts.contains(&"FILE_META::d.predictions.slp:9:.".to_owned()),
        "{texts:?}"
    );
    client
        .until_status(&lab.worker_id, "available", PATIENCE)
        .await;

    call.file("b.zip", &training, "False").await;
    let texts = call.until("JOB_COMPLETE").await;
    assert!(texts.contains(&"TRAIN_JOB_END::a".to_owned()), "{texts:?}");
    client
        .until_status(&lab.worker_id, "available", PATIENCE)
        .await;

    call.text("PACKAGE_TYPE::track").await;
    for name in ["c.zip", "d.zip"] {
        call.file(name, &training, "false").await;
        let texts = call.until("JOB_FAILED").await;
        assert_eq!(texts[0], "INFERENCE_ERROR::No track script found");
        client
            .until_status(&lab.worker_id, "available", PATIENCE)
            .await;
    }

    call.text("PACKAGE_TYPE::fly").await;
    call.file("e.zip", &tracking, "false").await;
    assert_eq!(
        call.until("JOB_FAILED").await,
        ["JOB_FAILED::none::this worker does not run packages of type `fly`"]
    );
}

/// A worker says that it takes jobs of both types, and takes one for inference.
#[actix_rt::test]
async fn a_request_for_inference_is_accepted() {
    let lab = Lab::with(&[]).await;
    let shown = lab.shown().await.unwrap();
    assert_eq!(
        shown["metadata"]["properties"]["supported_job_types"],
        json!(["training", "inference"])
    );
    let mut client = lab.peer("client").await;
    client.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_request", "job_id": "j1", "job_type": "inference",
            "dataset_info": { "frame_count": 500 } }),
    );
    let response = client.hear_message("job_response").await;
    assert_eq!(response["accepted"], true, "{response}");
    assert_eq!(response["estimated_duration_minutes"], 5);
}

/// A directory is a package for inference only by that script; its archive has one top directory of its name.
#[test]
fn a_package_knows_what_it_is_for() {
    use loaner::client::Package;
    use loaner::wire::PackageKind;
    let dir = tempfile::tempdir().unwrap();
    let open =
        |path: &Path| Package::open(path, &std::sync::atomic::AtomicBool::new(false)).unwrap();
    let fly = dir.path().join("fly");
    std::fs::create_dir(&fly).unwrap();
    std::fs::write(fly.join("track-script.sh"), SCRIPT).unwrap();
    let package = open(&fly);
    assert_eq!(package.kind, PackageKind::Track);
    assert_eq!(
        support::entries(&package.path)
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        ["fly/", "fly/track-script.sh"]
    );
    std::fs::write(fly.join("train-script.sh"), "").unwrap();
    assert_eq!(open(&fly).kind, PackageKind::Train);
}
