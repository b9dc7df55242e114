//! An inference counts as the recipe `sleap`: a policy allows it, limits it, and hears how far it is.

use super::*;

async fn lab(rules: &str) -> Lab {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("policy.toml");
    std::fs::write(&file, rules).unwrap();
    Lab::with(&["--policy", file.to_str().unwrap()]).await
}

/// A policy without the recipe refuses an inference, with the rule that would allow it.
#[actix_rt::test]
async fn a_policy_without_the_recipe_refuses_an_inference() {
    let lab = lab("[[allow]]\ncommand = [\"sleap-nn\", \"**\"]\n").await;
    let (mut client, call, _) = negotiated(&lab).await;
    call.upload_inference("track_package.zip", &package(SCRIPT, GOOD))
        .await;
    let texts = call.until("JOB_FAILED").await;
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].contains("[[allow]] recipe = \"sleap\""),
        "{texts:?}"
    );
    let failed = all(&mut client, &lab.worker_id, "job_failed").await;
    assert_eq!(failed[0]["error"]["code"], "COMMANDS_NOT_ALLOWED");
}

/// At a limit of the recipe an inference ends, in its own words, and the next command is not run. Its progress lines are
/// a status, and no output.
#[actix_rt::test]
async fn an_inference_ends_at_its_limit() {
    let lab = lab("[[allow]]\nrecipe = \"sleap\"\ndisk = \"1 MB\"\n").await;
    let script = "sleap-nn track --data_path d.slp --model_paths models/centroid -o half.slp\n\
        sleap-nn track --data_path half.slp --model_paths models/centroid\n";
    let endless =
        "echo ::loaner progress 1/4 frame 7\nhead -c 4000000 /dev/zero > \"$o\"\nexec sleep 600\n";
    let (mut client, call, job) = negotiated(&lab).await;
    call.upload_inference("track_package.zip", &package(script, endless))
        .await;
    let texts = call.until("JOB_FAILED").await;
    let last = texts.last().unwrap();
    let limit = last.strip_prefix(&format!("JOB_FAILED::{job}::")).unwrap();
    assert!(limit.starts_with("DISK_LIMIT: "), "{limit}");
    assert_eq!(
        texts[..2],
        ["INFERENCE_START", "INFERENCE_JOB_START::inference"]
    );
    assert_eq!(texts[4], "INFERENCE_JOB_ERROR::inference::-2");
    // The limit may be reached before all of the output has been read.
    let called =
        "TRACK_LOG:called: track --data_path d.slp --model_paths models/centroid -o half.slp";
    for line in [called, &format!("TRACK_LOG:{limit}")] {
        assert!(texts[2..4].iter().any(|text| text == line), "{texts:?}");
    }
    assert_eq!(texts.len(), 6, "{texts:?}");
    let failed = all(&mut client, &lab.worker_id, "job_failed").await;
    assert_eq!(failed[0]["error"]["code"], "DISK_LIMIT");
    let told = client.kept_messages("job_status");
    let told = told
        .iter()
        .find(|told| told["status"] == "running")
        .unwrap();
    assert_eq!(
        (told["progress"].as_f64(), told["message"].as_str()),
        (Some(0.25), Some("frame 7"))
    );
}
