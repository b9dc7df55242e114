//! Peers that say too much, too early, too often, or nothing any more.

use std::collections::BTreeMap;
use std::time::Duration;

use loaner::rtc::{Channel, Incoming, MAX_CHANNELS};
use loaner::wire::ChannelText;
use loaner::wire::own::{OwnText, VERSIONS};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::after::{as_before, peak_memory};
use crate::support::peer::Call;
use crate::support::{self, Lab, PATIENCE, Peer};

/// Reads a channel as long as it is open, so that nobody waits for this side; its texts come out.
fn reading(channel: &Channel) -> mpsc::UnboundedReceiver<String> {
    let (heard, texts) = mpsc::unbounded_channel();
    let channel = channel.clone();
    tokio::spawn(async move {
        while let Some(message) = channel.recv().await {
            if let Incoming::Text(text) = message
                && heard.send(text).is_err()
            {
                break;
            }
        }
    });
    texts
}

/// The terminal messages among these texts, by job; those about a file that never became one are under `none`.
fn terminal(texts: &[String]) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for text in texts {
        let mut parts = text.splitn(3, "::");
        if let (Some("JOB_COMPLETE" | "JOB_FAILED" | "JOB_CANCELLED"), Some(job)) =
            (parts.next(), parts.next())
        {
            *ends.entry(job.to_owned()).or_default() += 1;
        }
    }
    ends
}

/// A worker may grow by so much, whatever a peer does: by the buffers of a connection, and not by what is sent.
const ROOM: u64 = 160 << 20;

/// A lab, a peer that reads what it is told, and how much memory the worker has had at most.
struct Scene {
    lab: Lab,
    client: Peer,
    call: Call,
    texts: mpsc::UnboundedReceiver<String>,
    memory: u64,
}

impl Scene {
    async fn new() -> Scene {
        let lab = Lab::new().await;
        let mut client = lab.peer("client").await;
        let call = client.call(&lab.worker_id).await;
        Scene {
            texts: reading(&call.channel),
            memory: peak_memory(lab.worker.pid),
            lab,
            client,
            call,
        }
    }

    /// Everything that was said so far: a word is sent that is always answered, and this is what comes up to the answer.
    async fn said(&mut self) -> Vec<String> {
        self.call.text("INPUT_FILE::marker").await;
        let mut all = Vec::new();
        loop {
            let text = timeout(4 * PATIENCE, self.texts.recv()).await;
            let text = text
                .expect("no answer in time")
                .expect("the channel closed");
            if text.starts_with("FILE_NOT_FOUND::marker") {
                return all;
            }
            all.push(text);
        }
    }

    /// The worker has not grown, its log not by much, and it is as it was before.
    async fn end(self, log: usize) {
        let grown = peak_memory(self.lab.worker.pid).saturating_sub(self.memory);
        assert!(grown < ROOM, "the worker grew by {grown} bytes");
        let lines = self.lab.worker.log().lines().count();
        assert!(lines < log, "{lines} lines in the log");
        self.call.hang_up().await;
        self.client.leave().await;
        as_before(&self.lab).await;
    }
}

/// Every file was turned away, or was a job that ended once: on the channel and, where it was a job, through the hub.
async fn each_ended_once(scene: &mut Scene, files: usize) {
    let mut said = scene.said().await;
    // A job that was begun last may end behind the answer to the marker.
    while said.len() < files {
        let text = timeout(4 * PATIENCE, scene.texts.recv()).await;
        said.push(text.expect("no end in time").expect("the channel closed"));
    }
    let mut ends = terminal(&said);
    assert_eq!(ends.values().sum::<usize>(), files, "{ends:?}");
    assert_eq!(said.len(), files, "nothing else is said");
    ends.remove("none");
    assert!(ends.values().all(|times| *times == 1), "{ends:?}");
    scene.lab.until_free().await;
    assert!(!scene.client.has_heard("job_complete").await);
    let mut failed: Vec<_> = scene
        .client
        .kept_messages("job_failed")
        .iter()
        .map(|message| message["job_id"].as_str().unwrap().to_owned())
        .collect();
    failed.sort();
    assert_eq!(failed, ends.into_keys().collect::<Vec<_>>());
}

/// Ten thousand files are announced, each before the last one has come.
#[actix_rt::test]
async fn ten_thousand_files_that_are_never_sent() {
    let mut scene = Scene::new().await;
    for number in 0..10_000 {
        let header = format!("FILE_META::{number}.zip:1000:False");
        scene.call.text(&header).await;
    }
    // The last one may still be waited for.
    scene.call.text("END_OF_FILE").await;
    each_ended_once(&mut scene, 10_000).await;
    scene.end(40_000).await;
}

/// Ten thousand files, each whole and none a package, one behind the other.
#[actix_rt::test]
async fn ten_thousand_files_that_are_no_packages() {
    let mut scene = Scene::new().await;
    for number in 0..10_000 {
        let header = format!("FILE_META::{number}.zip:4:False");
        scene.call.text(&header).await;
        scene.call.bytes(b"none").await;
        scene.call.text("END_OF_FILE").await;
    }
    each_ended_once(&mut scene, 10_000).await;
    scene.end(40_000).await;
}

/// A million messages of a byte: texts that mean nothing, bytes of no file, keep-alives, ends of nothing.
#[actix_rt::test]
async fn a_million_tiny_messages() {
    let mut scene = Scene::new().await;
    for _ in 0..100 {
        tiny(&scene.call, 10_000).await;
        assert_eq!(scene.said().await, Vec::<String>::new());
    }
    scene.end(2_000).await;
}

/// The same at once, so that they pile up wherever they can, from a client that then leaves without a word.
#[actix_rt::test]
async fn a_million_tiny_messages_and_nobody_there() {
    let scene = Scene::new().await;
    tiny(&scene.call, 1_000_000).await;
    scene.end(2_000).await;
}

async fn tiny(call: &Call, messages: usize) {
    for number in 0..messages {
        match number % 8 {
            0 => call.text("END_OF_FILE").await,
            1 => call.bytes(b"KEEP_ALIVE").await,
            2 | 3 => call.bytes(b"x").await,
            4 => call.bytes(b"").await,
            _ => call.text("x").await,
        }
    }
}

/// Texts as long as a message can be: log text that nobody asked for, paths, names and Loaner's own words that go on and on.
#[actix_rt::test]
async fn texts_of_the_greatest_length() {
    let mut scene = Scene::new().await;
    let long = |begin: &str| {
        let rest = "x".repeat(loaner::rtc::MAX_MESSAGE_BYTES - begin.len());
        format!("{begin}{rest}")
    };
    let (free, refused) = (
        ["", "é::", "ZMQ_CTRL::", "PROGRESS_REPORT::", "TRACK_LOG:"],
        [
            "FILE_META::", "OUTPUT_DIR::", "JOB_ID::", "INPUT_FILE::", "LOANER_PEER::",
            "PACKAGE_TYPE::",
        ],
    );
    for _ in 0..20 {
        for begin in free.iter().chain(&refused) {
            scene.call.text(&long(begin)).await;
        }
    }
    let said = scene.said().await;
    assert_eq!(said.len(), 20 * refused.len(), "{:?}", said.first());
    assert!(
        said.iter()
            .all(|text| text.starts_with("JOB_FAILED::none::") && text.len() < 1000)
    );
    assert!(!scene.lab.worker.log().contains(&"x".repeat(500)));
    scene.end(2_000).await;
}

/// A client that uses Loaner's own words and never greets is told of once in the log, and may still send a package.
#[actix_rt::test]
async fn a_thousand_own_words_without_a_greeting() {
    let mut scene = Scene::new().await;
    for _ in 0..1000 {
        let text = ChannelText::Own(OwnText::Verified).to_text();
        scene.call.text(&text).await;
    }
    assert_eq!(scene.said().await, Vec::<String>::new());
    let told = scene
        .lab
        .worker
        .log_count("a client spoke before it greeted");
    assert_eq!(told, 1);
    scene.end(1_000).await;
}

/// A client that greets, and then answers a thousand times what nobody asked, and greets again and again.
#[actix_rt::test]
async fn a_thousand_answers_that_nobody_asked_for() {
    let mut scene = Scene::new().await;
    let hello = ChannelText::Own(OwnText::Hello(VERSIONS)).to_text();
    for _ in 0..1000 {
        scene.call.text(&hello).await;
        for own in [
            OwnText::Verified,
            OwnText::Begin { from: 7 },
            OwnText::Unknown,
        ] {
            scene.call.text(&ChannelText::Own(own).to_text()).await;
        }
    }
    let said = scene.said().await;
    assert_eq!(said.len(), 1000, "each greeting is answered");
    let told = scene
        .lab
        .worker
        .log_count("a client answered what nobody asked");
    assert_eq!(told, 1);
    scene.end(6_000).await;
}

/// A thousand channels: a few are served, of the rest the log tells once, and the worker is free again when their client has
/// had its time.
#[actix_rt::test]
async fn a_thousand_channels() {
    let scene = Scene::new().await;
    let connection = &scene.call.connection;
    let creating =
        (0..1000).map(async |number: usize| connection.create_channel(&number.to_string()).await);
    let created = futures_util::future::join_all(creating).await;
    let channels: Vec<_> = created.into_iter().filter_map(Result::ok).collect();
    assert_eq!(channels.len(), 1000);
    for channel in &channels {
        // One that is refused may be closed by now.
        let _ = channel.send_text("FILE_META::../x:1:False").await;
    }
    let worker = &scene.lab.worker;
    worker.logged("the peer creates too many channels").await;
    // Its stack closes them one by one, and is there for nobody else of that client meanwhile.
    scene.lab.until_status("available", 5 * PATIENCE).await;
    assert_eq!(worker.log_count("the peer creates too many channels"), 1);
    assert!(worker.log_count("channel created by remote party") <= MAX_CHANNELS);
    scene.end(5_000).await;
}

/// A client that stops reading while its job says more and more: the job is held up, the worker does not grow, the job's
/// limit holds all the same, and how it ended is told through the hub, once.
#[actix_rt::test]
async fn a_client_that_stops_reading_does_not_keep_its_job_from_ending() {
    let lab = Lab::new().await;
    let script = "exec yes $(head -c 10000 /dev/zero | tr '\\0' x)";
    let package = lab.package("loud", script);
    let manifest = "[job]\ncommand = [\"sh\", \"go.sh\"]\n[job.resources]\ntime_limit = \"3s\"\n";
    std::fs::write(package.join("loaner.toml"), manifest).unwrap();
    let memory = peak_memory(lab.worker.pid);
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.upload("loud.zip", &support::zip(&package)).await;
    call.until("TRAIN_JOB_START").await;
    let failed = |frame: &Value| frame["payload"]["app_message_type"] == "job_failed";
    let failed = client
        .hear_where("peer_message", Duration::from_secs(300), failed)
        .await;
    assert_eq!(failed["payload"]["error"]["code"], "TIME_LIMIT", "{failed}");
    let grown = peak_memory(lab.worker.pid).saturating_sub(memory);
    assert!(grown < ROOM, "the worker grew by {grown} bytes");
    lab.until_free().await;
    assert!(!client.has_heard("job_complete").await);
    assert!(client.kept_messages("job_failed").is_empty());
    drop(call);
    client.leave().await;
    as_before(&lab).await;
}
