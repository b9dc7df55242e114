//! A worker, played by hand, that sends what nobody asked for.

use loaner::rtc::{Connection, DataPlane, Incoming, RtcConfig, RtcEvent};
use loaner::tunnel::tube::{Tube, Word, first_word};
use loaner::wire::own::{FileOffer, JobSummary, OwnText};
use serde_json::json;
use tokio::time::timeout;

use super::support::{Lab, PATIENCE, Peer, Process};

/// Answers the next visit, until its tube has begun.
async fn answer_visit(worker: &mut Peer, plane: &DataPlane) -> (Connection, Tube) {
    let visit = worker
        .hear_where("peer_message", PATIENCE, |frame| {
            frame["payload"]["app_message_type"] == "loaner_visit"
        })
        .await;
    let visitor = visit["from_peer_id"].as_str().unwrap();
    let granted = json!({ "app_message_type": "loaner_visit_response", "accepted": true });
    worker.message(visitor, granted);
    let offer = worker.hear("offer").await;
    let (connection, mut events) = Connection::open(plane, &RtcConfig::default())
        .await
        .unwrap();
    let sdp = connection
        .answer(offer["sdp"].as_str().unwrap())
        .await
        .unwrap();
    worker.say(json!({ "type": "answer", "sender": worker.id, "target": visitor, "sdp": sdp }));
    let opened = async {
        loop {
            if let RtcEvent::Channel(channel) = events.recv().await.unwrap() {
                channel.opened().await.unwrap();
                return channel;
            }
        }
    };
    let channel = timeout(PATIENCE, opened).await.unwrap();
    assert_eq!(first_word(&channel).await, Some(Word::Begin));
    let (id, token) = ("tube".to_owned(), "token".to_owned());
    let begun = Word::Begun { id, token };
    channel.send_text(&begun.to_text()).await.unwrap();
    let (tube, _) = Tube::new(plane);
    tube.carry(channel, 1, 0).await.unwrap();
    // The client takes it for connected once both have heard of each other.
    tube.ping(1);
    (connection, tube)
}

async fn say(channel: &Tube, text: OwnText) {
    channel.send_text(&text.to_text()).await.unwrap();
}

/// The next word of the client that begins like this, in JSON.
async fn until(channel: &Tube, kind: &str) {
    let heard = async {
        loop {
            if let Some(Incoming::Text(text)) = channel.recv().await
                && text.contains(&format!("\"{kind}\""))
            {
                return;
            }
        }
    };
    let heard = timeout(PATIENCE, heard).await;
    heard.unwrap_or_else(|_| panic!("the client did not say {kind}"));
}

/// A worker that is asked for a log and sends files, in its own words and in the inherited ones, is told that nobody asked for
/// them; nothing of them gets to the disk, and the log is shown.
#[actix_rt::test]
async fn a_file_that_nobody_asked_for_goes_nowhere() {
    let lab = Lab::new().await;
    let mut worker = lab.peer("worker").await;
    let properties = json!({ "loaner_peer": [1, 2], "loaner_tunnels": 1 });
    worker.say(json!({ "type": "update_metadata", "peer_id": worker.id, "metadata": { "properties": properties } }));
    worker.hear("metadata_updated").await;

    let here = tempfile::tempdir().unwrap();
    let (id, state) = (worker.id.clone(), lab.dir.path().join("user"));
    let mut args = vec!["logs", "--json", "--hub", &lab.url, "--worker", &id];
    args.extend(["--state-dir", state.to_str().unwrap()]);
    let mut logs = Process::start_in(here.path(), &lab_args(&lab, &args), &[]);
    let plane = DataPlane::start().unwrap();
    let (_connection, channel) = answer_visit(&mut worker, &plane).await;
    until(&channel, "hello").await;
    say(&channel, OwnText::Welcome { version: 2 }).await;
    until(&channel, "list_jobs").await;
    let job = JobSummary {
        id: "j1".to_owned(),
        name: "p.zip".to_owned(),
        state: "completed".to_owned(),
        began: 0,
        seconds: 1,
        seconds_left: None,
        percent: None,
        message: String::new(),
        log: 5,
        results: None,
    };
    say(&channel, OwnText::JobList { jobs: vec![job] }).await;
    until(&channel, "read_log").await;

    let offer = FileOffer {
        name: "gift".to_owned(),
        size: 4,
        key: None,
        hint: String::new(),
    };
    say(&channel, OwnText::Offer(offer)).await;
    until(&channel, "rejected").await;
    channel.send_binary("gift".into()).await.unwrap();
    for text in ["FILE_META::gift:4:False", "END_OF_FILE"] {
        channel.send_text(text).await.unwrap();
        channel.send_binary("gift".into()).await.unwrap();
    }
    let text = "kept\n".to_owned();
    say(&channel, OwnText::LogPart { at: 0, text }).await;
    say(&channel, OwnText::LogEnd { at: 5 }).await;
    assert_eq!(logs.exit().await, 0, "{}", logs.stdout());
    assert_eq!(logs.events()[0]["text"], "kept\n");
    let written: Vec<_> = std::fs::read_dir(here.path()).unwrap().collect();
    assert!(written.is_empty(), "{written:?}");
}

/// The arguments that name the room, behind these.
fn lab_args<'a>(lab: &'a Lab, args: &[&'a str]) -> Vec<&'a str> {
    let mut all = args.to_vec();
    all.extend(lab.in_room(&[]));
    all
}
