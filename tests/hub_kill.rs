//! The hub as a process, killed a hundred times (SIGKILL) while it takes messages: nothing that it acknowledged to a sender is
//! lost, and nothing that was sent again is doubled.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const KILLS: usize = 100;
/// Messages that wait for their receipt, at most.
const AHEAD: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// A hub that is killed when dropped.
struct Hub {
    process: Child,
    url: String,
}

impl Hub {
    fn start(store: &Path) -> Hub {
        let mut process = Command::new(env!("CARGO_BIN_EXE_loaner"))
            .args([
                "--json", "hub", "--listen", "127.0.0.1:0", "--no-access-log", "--limit",
                "socket_messages_per_second=1000000",
            ])
            .arg("--store")
            .arg(store)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let url = told["url"].as_str().unwrap().to_owned();
        Hub { process, url }
    }

    fn kill(mut self) {
        // Dead already is as good.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whose the devices are, over all lives of the hub.
struct User {
    name: String,
    refresh: String,
}

async fn sign_in(hub: &Hub, device: &str, known: Option<&User>) -> (User, String) {
    let mut body = json!({"device_id": device});
    if let Some(known) = known {
        body["refresh_token"] = known.refresh.as_str().into();
    }
    let mut response = awc::Client::new()
        .post(format!("{}/anonymous-signin", hub.url))
        .send_json(&body)
        .await
        .unwrap();
    let answer: Value = response.json().await.unwrap();
    let text = |field: &str| answer[field].as_str().unwrap().to_owned();
    let user = User {
        name: text("username"),
        refresh: text("refresh_token"),
    };
    (user, text("id_token"))
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(hub: &Hub, token: &str) -> Socket {
    let url = format!("{}/ws?token={token}", hub.url.replace("http", "ws"));
    let (mut socket, _) = connect_async(url).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap()["type"], "connected");
    socket
}

/// The next frame; none when the hub is gone.
async fn next(socket: &mut Socket) -> Option<Value> {
    loop {
        let next = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .expect("nothing came");
        match next? {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            _ => return None,
        }
    }
}

async fn say(socket: &mut Socket, kind: &str, payload: Value) -> bool {
    let frame = json!({"type": kind, "payload": payload}).to_string();
    socket.send(Message::text(frame)).await.is_ok()
}

/// What the sender knows of its messages.
#[derive(Default)]
struct Sent {
    next: usize,
    /// Sent, and not acknowledged by the hub.
    open: BTreeMap<usize, ()>,
    /// Acknowledged by the hub, with the id that it gave.
    receipted: HashMap<usize, u64>,
}

impl Sent {
    /// Sends until the hub is gone: first again what has no receipt, each under its old id, then what is new.
    async fn until_the_end(&mut self, socket: &mut Socket, to: &str) {
        let message = |n: usize| {
            json!({"recipient_user_id": to, "recipient_device_id": "away", "client_message_id": n.to_string(),
                "content": n})
        };
        for n in self.open.keys().copied().collect::<Vec<_>>() {
            if !say(socket, "message", message(n)).await {
                return;
            }
        }
        loop {
            while self.open.len() < AHEAD {
                self.open.insert(self.next, ());
                self.next += 1;
                if !say(socket, "message", message(self.next - 1)).await {
                    return;
                }
            }
            let Some(frame) = next(socket).await else {
                return;
            };
            assert_eq!(frame["type"], "accepted", "{frame}");
            let receipt = &frame["payload"];
            assert_eq!(receipt["status"], "stored");
            let n: usize = receipt["client_message_id"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            let id = receipt["message_id"].as_u64().unwrap();
            self.open.remove(&n);
            if let Some(before) = self.receipted.insert(n, id) {
                assert_eq!(before, id, "message {n} got another id");
            }
        }
    }
}

/// Takes what waits, acknowledges it, and stops when a while nothing comes.
async fn take_all(socket: &mut Socket, expected: usize) -> Vec<(u64, usize)> {
    let mut got = Vec::new();
    while got.len() < expected {
        let frame = next(socket).await.expect("the hub is gone");
        if frame["type"] == "message" {
            let payload = &frame["payload"];
            let id = payload["message_id"].as_u64().unwrap();
            got.push((id, payload["content"].as_u64().unwrap() as usize));
            say(socket, "ack", json!({"up_to": id})).await;
        }
    }
    // What was queued before the pong would come before it.
    say(socket, "ping", json!({"t": "end"})).await;
    let end = next(socket).await.unwrap();
    assert_eq!(end["type"], "pong", "more than was ever sent: {end}");
    got
}

/// kill -9 of the hub at any instant loses nothing that was acknowledged to a sender.
#[actix_web::test]
async fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    let seed: u64 = std::env::var("KILL_SEED")
        .ok()
        .map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("hub.sqlite");
    let hub = Hub::start(&store);
    let (sender, _) = sign_in(&hub, "sender", None).await;
    let (recipient, _) = sign_in(&hub, "away", None).await;
    hub.kill();
    let mut sent = Sent::default();
    let start = Instant::now();
    for _ in 0..KILLS {
        let hub = Hub::start(&store);
        let (_, token) = sign_in(&hub, "sender", Some(&sender)).await;
        let mut socket = connect(&hub, &token).await;
        let life = Duration::from_micros(random.random_range(0..30_000));
        let death = async {
            tokio::time::sleep(life).await;
            hub.kill();
        };
        tokio::join!(sent.until_the_end(&mut socket, &recipient.name), death);
        // The mailbox holds 10 000: it is emptied well before.
        if sent.next > 6000 {
            break;
        }
    }
    println!(
        "{} messages sent, {} acknowledged, in {:?}",
        sent.next,
        sent.receipted.len(),
        start.elapsed()
    );
    assert!(
        sent.receipted.len() > KILLS,
        "the kills came too early to show anything"
    );

    let hub = Hub::start(&store);
    // What has no receipt is sent once more: then everything is there, once.
    let (_, token) = sign_in(&hub, "sender", Some(&sender)).await;
    let mut socket = connect(&hub, &token).await;
    for n in sent.open.keys().copied().collect::<Vec<_>>() {
        let message = json!({"recipient_user_id": recipient.name, "recipient_device_id": "away",
            "client_message_id": n.to_string(), "content": n});
        say(&mut socket, "message", message).await;
        let frame = next(&mut socket).await.unwrap();
        assert_eq!(frame["type"], "accepted", "{frame}");
        sent.receipted
            .insert(n, frame["payload"]["message_id"].as_u64().unwrap());
    }
    let (_, token) = sign_in(&hub, "away", Some(&recipient)).await;
    let mut away = connect(&hub, &token).await;
    let got = take_all(&mut away, sent.next).await;
    assert!(got.is_sorted_by_key(|(id, _)| *id), "out of order");
    let by_message: HashMap<usize, u64> = got.iter().map(|(id, n)| (*n, *id)).collect();
    assert_eq!(by_message.len(), got.len(), "a message came twice");
    assert_eq!(by_message, sent.receipted);
    hub.kill();
}
