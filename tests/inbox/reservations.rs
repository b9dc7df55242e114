//! What becomes of a reservation that no job follows, as its user finds it in the inbox.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::{Lab, Peer};
use super::{changes, inbox, loaner, until_told};

/// Longer than a lease, or the wait for a package: 60 s.
const LEASE: Duration = Duration::from_secs(120);

/// A client of the user who is known in this state directory, in the lab's room.
async fn client(lab: &Lab, state: &Path) -> Peer {
    let mut share = loaner(&["identity", "--share"], &lab.url, state);
    assert_eq!(share.exit().await, 0);
    let mut hubs = std::fs::read_dir(state.join("identity")).unwrap();
    let kept = hubs.next().unwrap().unwrap().path().join("client.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(kept).unwrap()).unwrap();
    let mut answer = awc::Client::new()
        .post(format!("{}/anonymous-signin", lab.url))
        .send_json(&json!({ "refresh_token": kept["refresh_token"] }))
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    let id_token = answer["id_token"].as_str().unwrap().to_owned();
    let mut peer = Peer::connect(&lab.url, "a-client".to_owned(), id_token.clone()).await;
    peer.say(
        json!({ "type": "register", "peer_id": "a-client", "room_id": lab.room, "token": lab.token,
        "id_token": id_token, "role": "client" }),
    );
    peer.hear("registered_auth").await;
    peer
}

async fn request(peer: &mut Peer, lab: &Lab) {
    peer.message(
        &lab.worker_id,
        json!({ "app_message_type": "job_request", "job_id": "j-1", "job_type": "training" }),
    );
    peer.hear_message("job_response").await;
}

async fn until_free(lab: &mut Lab) {
    let free = |event: &Value| event["status"] == "available";
    lab.worker.event_where("status", LEASE, free).await;
}

/// A worker that stops while it is reserved says so.
#[actix_rt::test]
async fn a_reservation_that_is_withdrawn_is_told() {
    let mut lab = Lab::new().await;
    let state = lab.dir.path().join("state");
    let mut peer = client(&lab, &state).await;
    request(&mut peer, &lab).await;
    lab.worker.signal(Signal::SIGTERM);
    assert_eq!(lab.worker.exit().await, 0);
    let told = inbox(&lab.url, &state, &[]).await;
    assert_eq!(told, changes("j-1", &["reserved", "withdrawn"]));
}

/// A client that stays and does nothing loses its reservation when the lease is over.
#[actix_rt::test]
async fn a_lease_that_runs_out_is_told() {
    let mut lab = Lab::new().await;
    let state = lab.dir.path().join("state");
    let mut peer = client(&lab, &state).await;
    request(&mut peer, &lab).await;
    until_free(&mut lab).await;
    until_told(&lab.url, &state, "lease_expired").await;
    let told = inbox(&lab.url, &state, &[]).await;
    assert_eq!(told, changes("j-1", &["reserved", "lease_expired"]));
}

/// A client that leaves the hub before it connects will not come any more: the worker does not keep itself for it until
/// the lease is over, and says why the reservation ended.
#[actix_rt::test]
async fn a_client_that_leaves_before_it_connects_frees_the_worker() {
    let mut lab = Lab::new().await;
    let state = lab.dir.path().join("state");
    let mut peer = client(&lab, &state).await;
    request(&mut peer, &lab).await;
    peer.leave().await;
    until_free(&mut lab).await;
    until_told(&lab.url, &state, "released").await;
    let told = inbox(&lab.url, &state, &[]).await;
    assert_eq!(told, changes("j-1", &["reserved", "released"]));
}

/// The same, once the job is assigned: it has failed for want of its client, not of its package.
#[actix_rt::test]
async fn a_client_that_leaves_after_the_assignment_ends_its_job() {
    let mut lab = Lab::new().await;
    let state = lab.dir.path().join("state");
    let mut peer = client(&lab, &state).await;
    let job = peer.reserve(&lab.worker_id).await;
    let busy = |event: &Value| event["status"] == "busy";
    lab.worker.event_where("status", LEASE, busy).await;
    peer.leave().await;
    until_free(&mut lab).await;
    until_told(&lab.url, &state, "failed").await;
    let mut shown = loaner(&["inbox"], &lab.url, &state);
    assert_eq!(shown.exit().await, 0);
    assert_eq!(
        super::notices(&shown),
        changes(&job, &["reserved", "failed"])
    );
    assert!(shown.stdout().contains("connection"), "{}", shown.stdout());
}

/// A connection that was made, and closed before any package came, is the end of a reservation too.
#[actix_rt::test]
async fn a_client_that_hangs_up_before_its_job_is_told_so() {
    let mut lab = Lab::new().await;
    let state = lab.dir.path().join("state");
    let mut peer = client(&lab, &state).await;
    request(&mut peer, &lab).await;
    let call = peer.call(&lab.worker_id.clone()).await;
    call.hang_up().await;
    until_free(&mut lab).await;
    until_told(&lab.url, &state, "released").await;
    let told = inbox(&lab.url, &state, &[]).await;
    assert_eq!(told, changes("j-1", &["reserved", "released"]));
}
