//! Two jobs with one id at the same moment.

use serde_json::{Value, json};

use crate::after::as_before;
use crate::support::{Lab, Peer};

/// What was told of a job through the hub, by kind.
const KINDS: [&str; 4] = ["job_complete", "job_failed", "job_cancelled", "job_status"];

async fn told(peer: &mut Peer) -> Vec<&'static str> {
    // Everything that the hub had passed on by now is in.
    peer.has_heard("peer_message").await;
    let heard = |kind: &&str| !peer.kept_messages(kind).is_empty();
    KINDS.into_iter().filter(heard).collect()
}

/// Two clients ask for a job of the same id, both assign it, and the one who was turned away goes on as if it were its own:
/// it offers a connection, and cancels. The other's job is its own, runs to its end, and is told to nobody else.
#[actix_rt::test]
async fn two_clients_with_one_job_id() {
    let lab = Lab::new().await;
    let (mut one, mut two) = (lab.peer("client").await, lab.peer("client").await);
    let request =
        json!({ "app_message_type": "job_request", "job_id": "same", "job_type": "training" });
    let assignment = json!({ "app_message_type": "job_assignment", "job_id": "same", "initiate_connection": true });
    one.message(&lab.worker_id, request.clone());
    two.message(&lab.worker_id, request.clone());
    one.message(&lab.worker_id, assignment.clone());
    two.message(&lab.worker_id, assignment.clone());
    let answers = [
        one.hear_message("job_response").await,
        two.hear_message("job_response").await,
    ];
    let accepted = answers.each_ref().map(|answer| answer["accepted"] == true);
    assert!(accepted[0] != accepted[1], "{answers:?}");
    let (mut holder, mut other) = if accepted[0] { (one, two) } else { (two, one) };
    let refused = answers.iter().find(|answer| answer["accepted"] == false);
    assert_eq!(refused.unwrap()["reason"], "busy");

    let call = holder.call(&lab.worker_id).await;
    let gate = lab.gated_package();
    call.upload("slow.zip", &crate::support::zip(&gate)).await;
    call.until("begun").await;
    // The same again, in the middle of it.
    other.message(&lab.worker_id, request);
    other.message(&lab.worker_id, assignment);
    let cancel = json!({ "app_message_type": "job_cancel", "job_id": "same" });
    other.message(&lab.worker_id, cancel);
    let (_connection, _channel, _events) = other.offer(&lab.worker_id).await;
    let busy = |frame: &Value| frame["reason"] == "worker_busy";
    other
        .hear_where("error", crate::support::PATIENCE, busy)
        .await;
    lab.open_gate();
    let (texts, results) = call.results().await;
    assert!(
        !results.is_empty() && !texts.iter().any(|text| text.starts_with("JOB_")),
        "{texts:?}"
    );
    let end = call.until("JOB_").await.pop().unwrap();
    assert!(end.starts_with("JOB_COMPLETE::same::"), "{end}");
    holder.hear_message("job_complete").await;
    assert_eq!(told(&mut holder).await, ["job_status"]);
    assert_eq!(told(&mut other).await, [""; 0]);
    call.hang_up().await;
    holder.leave().await;
    other.leave().await;
    as_before(&lab).await;
}

/// The id of a job that is over may come again, from anybody: it is another job, and finds nothing of the first.
#[actix_rt::test]
async fn one_job_id_after_the_other() {
    let lab = Lab::new().await;
    let request =
        json!({ "app_message_type": "job_request", "job_id": "again", "job_type": "training" });
    let assignment = json!({ "app_message_type": "job_assignment", "job_id": "again", "initiate_connection": true });
    for turn in ["first", "second"] {
        let mut client = lab.peer("client").await;
        client.message(&lab.worker_id, request.clone());
        let response = client.hear_message("job_response").await;
        assert_eq!(response["accepted"], true, "{response}");
        client.message(&lab.worker_id, assignment.clone());
        let call = client.call(&lab.worker_id).await;
        let script = format!(
            "find .. -type f | sort | tr '\\n' ' '; echo; mkdir models; echo {turn} > models/{turn}"
        );
        call.upload("job.zip", &lab.archive("job", &script)).await;
        let (texts, _) = call.results().await;
        let found = texts.iter().find(|text| text.contains("go.sh")).unwrap();
        assert!(!found.contains("first"), "{found}");
        let end = call.until("JOB_").await.pop().unwrap();
        assert!(end.starts_with("JOB_COMPLETE::again::"), "{end}");
        client.hear_message("job_complete").await;
        call.hang_up().await;
        client.leave().await;
        lab.until_free().await;
    }
    as_before(&lab).await;
}
