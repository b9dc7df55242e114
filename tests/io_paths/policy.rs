//! What the worker's policy and the package's manifest say holds for files of the worker's own side, too.

use super::*;

/// Puts a package with this manifest and this script into the input directory.
fn put_with(scene: &Scene, name: &str, manifest: &str, script: &str) {
    let dir = package(scene.dir.path(), name, script);
    fs::write(dir.join("loaner.toml"), manifest).unwrap();
    fs::write(scene.input().join(format!("{name}.zip")), zip(&dir)).unwrap();
}

/// A named file runs what the policy allows, for as long as it allows, and nothing else; what is refused leaves nothing.
#[actix_rt::test]
async fn a_policy_holds_for_named_files() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("policy.toml");
    let rules = "[[allow]]\ncommand = [\"sh\", \"go.sh\"]\n[[allow]]\ncommand = [\"sh\", \"slow.sh\"]\ntime_limit = \"1s\"\n";
    fs::write(&file, rules).unwrap();
    let scene = Scene::run_by(&["--policy", file.to_str().unwrap()]).await;
    scene.put("good.zip", TRAIN);
    let other = "[job]\ncommand = [\"sh\", \"go.sh\", \"more\"]\n";
    put_with(&scene, "other", other, TRAIN);
    let slow = package(scene.dir.path(), "slow", "");
    fs::write(slow.join("slow.sh"), "exec sleep 600").unwrap();
    fs::write(
        slow.join("loaner.toml"),
        "[job]\ncommand = [\"sh\", \"slow.sh\"]\n",
    )
    .unwrap();
    fs::write(scene.input().join("slow.zip"), zip(&slow)).unwrap();
    let train = package(scene.dir.path(), "train", "");
    fs::remove_file(train.join("loaner.toml")).unwrap();
    let script = "sleap-nn train --config-name a.yaml\n";
    fs::write(train.join("train-script.sh"), script).unwrap();
    fs::write(scene.input().join("train.zip"), zip(&train)).unwrap();

    let call = scene.call().await;
    for (name, why) in [
        (
            "other.zip",
            "[[allow]] command = [\"sh\", \"go.sh\", \"more\"]",
        ),
        ("train.zip", "[[allow]] recipe = \"sleap\""),
        ("slow.zip", "TIME_LIMIT: the job was stopped after 1s"),
    ] {
        ask(&call, "job_1", name).await;
        let failed = call.until("JOB_FAILED::job_1::").await.pop().unwrap();
        assert!(failed.contains(why), "{failed}");
        assert_eq!(scene.left(), Vec::<String>::new(), "{name}");
        scene.lab.until_status("available", PATIENCE).await;
    }
    ask(&call, "job_1", "good.zip").await;
    call.until("TRAINING_COMPLETE").await;
    assert!(scene.output().join("jobs/job_1/models/best").is_file());
}

/// Outputs by pattern stay, and with `return_changed` what the command made or changed: as they would be sent back.
#[actix_rt::test]
async fn outputs_of_named_files_stay() {
    let scene = Scene::new().await;
    let call = scene.call().await;
    let script =
        "mkdir -p m/n; echo w > m/n/w.pt; echo l > m/log; echo x > out.csv; ln -s out.csv link.csv";
    for (name, outputs, kept) in [
        (
            "pattern",
            "outputs = [\"m/**/*.pt\", \"*.csv\"]",
            &["m", "m/n", "m/n/w.pt", "out.csv"][..],
        ),
        (
            "changed",
            "return_changed = true",
            &["m", "m/log", "m/n", "m/n/w.pt", "out.csv"][..],
        ),
    ] {
        let manifest = format!("[job]\ncommand = [\"sh\", \"go.sh\"]\n{outputs}\n");
        put_with(&scene, name, &manifest, script);
        ask(&call, name, &format!("{name}.zip")).await;
        call.until("TRAINING_COMPLETE").await;
        assert_eq!(tree(&scene.output().join("jobs").join(name), ""), kept);
        scene.lab.until_status("available", PATIENCE).await;
    }
}
