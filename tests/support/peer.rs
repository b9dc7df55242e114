//! A peer that speaks the signalling dialect by hand, and connects by the library's own WebRTC.

use std::time::Duration;

use awc::ws::{Frame, Message};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use loaner::rtc::{Channel, Connection, DataPlane, Incoming, RtcConfig, RtcEvent};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::{PATIENCE, pid_in};

/// A registered peer.
pub struct Peer {
    pub id: String,
    pub id_token: String,
    pub registered: Value,
    send: mpsc::UnboundedSender<Message>,
    heard: mpsc::UnboundedReceiver<Value>,
    /// What was heard while something else was waited for.
    kept: Vec<Value>,
    plane: DataPlane,
    url: String,
}

/// Signs in; identity token and user name come back.
pub async fn sign_in(url: &str) -> (String, String) {
    let mut answer = awc::Client::new()
        .post(format!("{url}/anonymous-signin"))
        .send()
        .await
        .unwrap();
    let body: Value = answer.json().await.unwrap();
    (
        body["id_token"].as_str().unwrap().to_owned(),
        body["username"].as_str().unwrap().to_owned(),
    )
}

impl Peer {
    /// Signs in, connects and registers.
    pub async fn join(url: &str, room: &str, token: &str, role: &str) -> Peer {
        let (id_token, id) = sign_in(url).await;
        Peer::join_as(url, room, token, role, (id, id_token)).await
    }

    /// Connects and registers under an id, as the user of an identity token.
    pub async fn join_as(
        url: &str,
        room: &str,
        token: &str,
        role: &str,
        (id, id_token): (String, String),
    ) -> Peer {
        let mut peer = Peer::connect(url, id.clone(), id_token.clone()).await;
        peer.say(json!({ "type": "register", "peer_id": id, "room_id": room, "token": token, "id_token": id_token,
            "role": role, "metadata": { "tags": ["sleap-rtc"], "properties": {} } }));
        peer.registered = peer.hear("registered_auth").await;
        peer
    }

    /// Connects and does not register.
    pub async fn connect(url: &str, id: String, id_token: String) -> Peer {
        let (_, socket) = awc::Client::new()
            .ws(url.replacen("http", "ws", 1))
            .max_frame_size(2 << 20)
            .connect()
            .await
            .unwrap();
        let (mut sink, mut stream) = socket.split();
        let (send, mut sending) = mpsc::unbounded_channel();
        let (hearing, heard) = mpsc::unbounded_channel();
        let pongs = send.clone();
        actix_rt::spawn(async move {
            while let Some(message) = sending.recv().await {
                if sink.send(message).await.is_err() {
                    break;
                }
            }
        });
        actix_rt::spawn(async move {
            while let Some(Ok(frame)) = stream.next().await {
                match frame {
                    Frame::Text(text) => {
                        let _ = hearing.send(serde_json::from_slice(&text).unwrap());
                    }
                    Frame::Ping(payload) => {
                        let _ = pongs.send(Message::Pong(payload));
                    }
                    _ => {}
                }
            }
        });
        let plane = DataPlane::start().unwrap();
        Peer {
            id,
            id_token,
            registered: Value::Null,
            send,
            heard,
            kept: Vec::new(),
            plane,
            url: url.to_owned(),
        }
    }

    /// Sends a frame.
    pub fn say(&self, frame: Value) {
        self.send
            .send(Message::Text(frame.to_string().into()))
            .unwrap();
    }

    /// The next frame of this type.
    pub async fn hear(&mut self, kind: &str) -> Value {
        self.hear_where(kind, PATIENCE, |_| true).await
    }

    /// The next frame of this type for which something holds. Others are kept for later.
    pub async fn hear_where(
        &mut self,
        kind: &str,
        patience: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let wanted = |frame: &Value| frame["type"] == kind && holds(frame);
        if let Some(index) = self.kept.iter().position(wanted) {
            return self.kept.remove(index);
        }
        let deadline = Instant::now() + patience;
        loop {
            match timeout_at(deadline, self.heard.recv()).await {
                Ok(Some(frame)) if wanted(&frame) => return frame,
                Ok(Some(frame)) => self.kept.push(frame),
                Ok(None) => panic!(
                    "the hub closed the socket before a `{kind}` came; kept: {:?}",
                    self.kept
                ),
                Err(_) => panic!("no `{kind}` came in time; kept: {:?}", self.kept),
            }
        }
    }

    /// Whether a frame of this type has come by now: everything that the hub had sent before an echo of our own.
    pub async fn has_heard(&mut self, kind: &str) -> bool {
        let marker = uuid::Uuid::new_v4().to_string();
        self.message(&self.id.clone(), json!({ "marker": marker }));
        self.hear_where("peer_message", PATIENCE, |frame| {
            frame["payload"]["marker"] == marker
        })
        .await;
        self.kept.iter().any(|frame| frame["type"] == kind)
    }

    /// Sends a peer message.
    pub fn message(&self, to: &str, payload: Value) {
        self.say(json!({ "type": "peer_message", "from_peer_id": self.id, "to_peer_id": to, "payload": payload }));
    }

    /// The payload of the next peer message of this kind.
    pub async fn hear_message(&mut self, kind: &str) -> Value {
        let frame = self
            .hear_where("peer_message", PATIENCE, |frame| {
                frame["payload"]["app_message_type"] == kind
            })
            .await;
        frame["payload"].clone()
    }

    /// The payloads of peer messages of this kind that were heard and not taken yet.
    pub fn kept_messages(&self, kind: &str) -> Vec<Value> {
        self.kept
            .iter()
            .filter(|frame| frame["payload"]["app_message_type"] == kind)
            .map(|frame| frame["payload"].clone())
            .collect()
    }

    /// All peers of the room but this one.
    pub async fn discover(&mut self) -> Vec<Value> {
        self.say(json!({ "type": "discover_peers", "from_peer_id": self.id, "filters": {} }));
        let list = self.hear("peer_list").await;
        list["peers"].as_array().unwrap().clone()
    }

    /// One peer of the room.
    pub async fn find(&mut self, id: &str) -> Option<Value> {
        self.discover()
            .await
            .into_iter()
            .find(|peer| peer["peer_id"] == id)
    }

    /// Asks until a peer shows this status.
    pub async fn until_status(&mut self, id: &str, status: &str, patience: Duration) -> Value {
        let deadline = Instant::now() + patience;
        loop {
            let found = self.find(id).await;
            if let Some(found) = &found
                && found["metadata"]["properties"]["status"] == status
            {
                return found.clone();
            }
            assert!(
                Instant::now() < deadline,
                "the status did not become {status}: {found:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Requests a job and assigns it; its id comes back.
    pub async fn reserve(&mut self, worker: &str) -> String {
        let job = format!("job-{}", uuid::Uuid::new_v4());
        self.message(
            worker,
            json!({ "app_message_type": "job_request", "job_id": job, "job_type": "training" }),
        );
        let response = self.hear_message("job_response").await;
        assert_eq!(response["accepted"], true, "{response}");
        self.message(worker, json!({ "app_message_type": "job_assignment", "job_id": job, "initiate_connection": true }));
        job
    }

    /// Offers a connection; it comes back before any answer.
    pub async fn offer(&self, worker: &str) -> (Connection, Channel, mpsc::Receiver<RtcEvent>) {
        let (connection, events) = Connection::open(&self.plane, &RtcConfig::default())
            .await
            .unwrap();
        let channel = connection.create_channel("my-data-channel").await.unwrap();
        let sdp = connection.offer().await.unwrap();
        self.say(json!({ "type": "offer", "sender": self.id, "target": worker, "sdp": sdp }));
        (connection, channel, events)
    }

    /// Connects to a worker, until the channel is open.
    pub async fn call(&mut self, worker: &str) -> Call {
        let (connection, channel, events) = self.offer(worker).await;
        let answer = self.hear("answer").await;
        assert_eq!(answer["sender"], worker);
        assert_eq!(answer["target"], self.id.as_str());
        connection
            .accept_answer(answer["sdp"].as_str().unwrap())
            .await
            .unwrap();
        timeout(PATIENCE, channel.opened()).await.unwrap().unwrap();
        Call {
            connection,
            channel,
            _events: events,
        }
    }

    /// Closes the socket and asks the hub to forget this peer, as the Python peers do.
    pub async fn leave(self) {
        let _ = self.send.send(Message::Close(None));
        let url = format!("{}/delete-peer", self.url);
        let _ = awc::Client::new()
            .post(url)
            .bearer_auth(&self.id_token)
            .send_json(&json!({ "peer_id": self.id }))
            .await;
    }
}

/// An open connection to a worker.
pub struct Call {
    pub connection: Connection,
    pub channel: Channel,
    _events: mpsc::Receiver<RtcEvent>,
}

impl Call {
    /// Sends a text.
    pub async fn text(&self, text: &str) {
        self.channel.send_text(text).await.unwrap();
    }

    /// Sends bytes.
    pub async fn bytes(&self, bytes: &[u8]) {
        self.channel
            .send_binary(Bytes::copy_from_slice(bytes))
            .await
            .unwrap();
    }

    /// Announces and sends a package, as the original's client does: all at once, without waiting.
    pub async fn upload(&self, name: &str, archive: &[u8]) {
        self.text("PACKAGE_TYPE::train").await;
        self.text("OUTPUT_DIR::models").await;
        self.file(name, archive, "False").await;
    }

    /// The same for inference.
    pub async fn upload_inference(&self, name: &str, archive: &[u8]) {
        self.text("PACKAGE_TYPE::track").await;
        self.text("OUTPUT_DIR::.").await;
        self.file(name, archive, "false").await;
    }

    /// Announces and sends a file, of which nothing was said.
    pub async fn file(&self, name: &str, archive: &[u8], hint: &str) {
        self.text(&format!("FILE_META::{name}:{}:{hint}", archive.len()))
            .await;
        for chunk in archive.chunks(65536) {
            self.bytes(chunk).await;
        }
        self.text("END_OF_FILE").await;
    }

    /// Sends a package that begins with its process id as `pid N`, and waits for that.
    pub async fn begin(&self, name: &str, archive: &[u8]) -> i32 {
        self.upload(name, archive).await;
        pid_in(self.until("pid ").await.last().unwrap())
    }

    /// The next message.
    pub async fn next(&self) -> Option<Incoming> {
        timeout(PATIENCE, self.channel.recv())
            .await
            .expect("nothing came on the channel in time")
    }

    /// The texts up to and including the one that begins like this; keep-alives are skipped, file bytes counted.
    pub async fn until(&self, begins: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            match self.next().await {
                Some(Incoming::Text(text)) => {
                    texts.push(text);
                    if texts.last().unwrap().starts_with(begins) {
                        return texts;
                    }
                }
                Some(Incoming::Binary(_)) => {}
                None => panic!("the channel closed before `{begins}` came: {texts:?}"),
            }
        }
    }

    /// Texts and file bytes up to the end of the results.
    pub async fn results(&self) -> (Vec<String>, Vec<u8>) {
        let (mut texts, mut bytes) = (Vec::new(), Vec::new());
        loop {
            match self.next().await {
                Some(Incoming::Text(text)) if text == "END_OF_FILE" => return (texts, bytes),
                Some(Incoming::Text(text)) => texts.push(text),
                Some(Incoming::Binary(chunk)) if chunk.as_ref() == b"KEEP_ALIVE" => {}
                Some(Incoming::Binary(chunk)) => bytes.extend_from_slice(&chunk),
                None => panic!("the channel closed before the results were complete: {texts:?}"),
            }
        }
    }

    /// Closes the connection.
    pub async fn hang_up(self) {
        self.connection.close().await;
    }
}
