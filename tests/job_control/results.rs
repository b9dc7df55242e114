//! Results that did not reach their client.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::Ours;
use super::support::peer::Call;
use super::support::{contents, until};
use loaner::wire::own::{CHECK_EVERY, OwnText, VERSIONS};

/// Results whose transfer broke off wait at the worker; `loaner fetch` gets them, and only what was not there yet is sent.
#[actix_rt::test]
async fn results_that_broke_off_are_fetched_from_there() {
    let ours = Ours::new().await;
    let script = "mkdir models; head -c 150000000 /dev/urandom > models/x; sha256sum models/x";
    let mut client = ours.run(&ours.package(script, ""));
    client.event("downloading").await;
    let partial = ours.lab.out().join(".loaner-partial");
    let some = 3 * CHECK_EVERY;
    until("a good part is there", Duration::from_secs(120), || {
        let files = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        files
            .filter_map(|file| file.metadata().ok())
            .any(|meta| meta.len() > some)
    })
    .await;
    client.signal(Signal::SIGINT);
    client.signal(Signal::SIGINT);
    assert_eq!(client.exit().await, 130, "{}", client.stdout());
    let outputs = client
        .events()
        .into_iter()
        .filter(|event| event["event"] == "output");
    let digest = outputs
        .map(|event| event["text"].as_str().unwrap()[..64].to_owned())
        .next()
        .unwrap();
    ours.lab
        .until_status("available", Duration::from_secs(120))
        .await;
    let job = &ours.jobs().await[0];
    assert_eq!(job["results"]["name"], "trained_p.zip", "{job}");

    let out = ours.lab.out();
    let mut fetch = ours.ask("fetch", &["-o", out.to_str().unwrap()]);
    let downloading = fetch.event("downloading").await;
    assert!(
        downloading["have"].as_u64().unwrap() >= some - CHECK_EVERY,
        "{downloading}"
    );
    let done = fetch.event("done").await;
    assert_eq!(fetch.exit().await, 0, "{}", fetch.stdout());
    let [(name, bytes)] = &contents(std::path::Path::new(done["results"].as_str().unwrap()))[..]
    else {
        panic!("one file comes back")
    };
    let sha256 = ring::digest::digest(&ring::digest::SHA256, bytes);
    let sha256: String = sha256
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!((name.as_str(), sha256), ("x", digest));
    assert!(
        !partial.exists(),
        "what was kept of the first attempt is gone"
    );
}

/// A visit is for questions: a package is refused on it, and whoever may run jobs is not disturbed.
#[actix_rt::test]
async fn a_visit_takes_no_package() {
    let ours = Ours::new().await;
    let mut visitor = ours.lab.peer("client").await;
    visitor.message(
        &ours.lab.worker_id,
        json!({ "app_message_type": "loaner_visit" }),
    );
    let answer = visitor.hear_message("loaner_visit_response").await;
    assert_eq!(answer["accepted"], true);
    let call: Call = visitor.call(&ours.lab.worker_id).await;
    call.text("FILE_META::p.zip:10:False").await;
    let told = call.until("JOB_FAILED").await.pop().unwrap();
    assert!(told.contains("needs one of its own"), "{told}");
    assert_eq!(
        ours.lab.shown().await.unwrap()["metadata"]["properties"]["status"],
        "available"
    );
    call.text(&OwnText::Hello(VERSIONS).to_text()).await;
    call.until("LOANER_PEER::{\"type\":\"welcome\",\"version\":2}")
        .await;
    call.text(&OwnText::ListJobs.to_text()).await;
    call.until("LOANER_PEER::{\"type\":\"job_list\",\"jobs\":[]}")
        .await;
}

/// Visits are bounded, and those that were granted and do not come keep nobody from the worker itself.
#[actix_rt::test]
async fn visits_are_bounded() {
    let ours = Ours::new().await;
    let mut visitors = Vec::new();
    for number in 0..13 {
        let mut visitor = ours.lab.peer("client").await;
        for _ in 0..2 {
            visitor.message(
                &ours.lab.worker_id,
                json!({ "app_message_type": "loaner_visit" }),
            );
            let answer = visitor.hear_message("loaner_visit_response").await;
            assert_eq!(answer["accepted"], number < 12, "{answer}");
        }
        visitors.push(visitor);
    }
    let mut client = ours.run(&ours.package("mkdir models; echo m > models/m", ""));
    assert_eq!(client.exit().await, 0, "{}", client.stdout());
}
