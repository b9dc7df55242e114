//! `loaner inbox --follow`, and a hub that does not stay.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::{Peer, Process};
use super::{inbox, loaner};

/// Far longer than the pauses between the attempts to come back.
const LONG: Duration = Duration::from_secs(90);

async fn start(listen: &str, store: &str) -> (Process, String) {
    let args = ["hub", "--json", "--listen", listen, "--store", store];
    let mut hub = Process::start(&args, &[]);
    let url = hub.event("listening").await["url"]
        .as_str()
        .unwrap()
        .to_owned();
    (hub, url)
}

/// Somebody writes to a user, until the hub has it.
async fn write(url: &str, user: &str, content: &str) {
    let mut answer = awc::Client::new()
        .post(format!("{url}/anonymous-signin"))
        .send_json(&json!({ "device_id": "typewriter" }))
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    let token = answer["id_token"].as_str().unwrap();
    let socket = format!("{url}/ws?token={token}");
    let mut peer = Peer::connect(&socket, "typewriter".to_owned(), token.to_owned()).await;
    peer.say(
        json!({ "type": "message", "payload": { "recipient_user_id": user,
        "client_message_id": content, "content": content } }),
    );
    peer.hear("accepted").await;
}

fn contents(process: &Process) -> Vec<Value> {
    let events = process.events().into_iter();
    let messages = events.filter(|event| event["event"] == "message");
    messages.map(|mut event| event["content"].take()).collect()
}

/// Whoever follows sees what comes after the hub was stopped, or was killed, and came back; and nothing twice.
#[actix_rt::test]
async fn a_follower_comes_back_to_a_hub_that_does() {
    let dir = tempfile::tempdir().unwrap();
    let (store, state) = (dir.path().join("hub.sqlite"), dir.path().join("state"));
    let store = store.to_str().unwrap();
    let (mut hub, url) = start("127.0.0.1:0", store).await;
    let listen = url.strip_prefix("http://").unwrap();
    let mut share = loaner(&["identity", "--share"], &url, &state);
    assert_eq!(share.exit().await, 0, "{}", share.log());
    let mut known = loaner(&["identity"], &url, &state);
    assert_eq!(known.exit().await, 0, "{}", known.log());
    let user = known.events()[0]["user"].as_str().unwrap().to_owned();
    let mut follower = loaner(&["inbox", "--follow"], &url, &state);
    follower.event("connected").await;
    write(&url, &user, "before").await;
    follower.event("message").await;
    for (signal, content) in [(Signal::SIGTERM, "stopped"), (Signal::SIGKILL, "killed")] {
        hub.signal(signal);
        hub.exit().await;
        follower.event("hub_lost").await;
        hub = start(listen, store).await.0;
        follower.event_where("connected", LONG, |_| true).await;
        write(&url, &user, content).await;
        let came = |event: &Value| event["content"] == content;
        follower.event_where("message", LONG, came).await;
    }
    // What was shown is acknowledged by then.
    follower.event_where("caught_up", LONG, |_| true).await;
    follower.signal(Signal::SIGINT);
    assert_eq!(follower.exit().await, 0, "{}", follower.log());
    assert_eq!(contents(&follower), ["before", "stopped", "killed"]);
    assert_eq!(inbox(&url, &state, &[]).await, []);
}
