//! A hub on a free port, and peers that speak to it as any peer would.

use std::net::SocketAddr;
use std::time::Duration;

use awc::error::WsProtocolError;
use awc::http::StatusCode;
use awc::ws::{CloseReason, Frame, Message};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use loaner::hub::{Hub, HubConfig, RunningHub};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything here takes, shorter than a person's patience.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A hub on a free port, with the default configuration changed by `change`.
pub fn hub_with(change: impl FnOnce(&mut HubConfig)) -> RunningHub {
    let mut config = HubConfig {
        listen: vec![([127, 0, 0, 1], 0).into()],
        ..HubConfig::default()
    };
    config.limits.threads = 1;
    change(&mut config);
    Hub::start(config).unwrap()
}

pub fn hub() -> RunningHub {
    hub_with(|_| {})
}

/// An answer of the hub over HTTP.
pub struct Answer {
    pub status: StatusCode,
    pub headers: awc::http::header::HeaderMap,
    pub body: Value,
}

/// One request; `auth` is the whole header, `body` is sent as it is.
pub async fn http(
    addr: SocketAddr,
    method: &str,
    path: &str,
    auth: Option<&str>,
    body: Option<&str>,
) -> Answer {
    let method: awc::http::Method = method.parse().unwrap();
    let mut request = awc::Client::new()
        .request(method, format!("http://{addr}{path}"))
        .timeout(PATIENCE);
    if let Some(auth) = auth {
        request = request.insert_header(("Authorization", auth));
    }
    let mut response = match body {
        None => request.send().await.unwrap(),
        Some(body) => request
            .content_type("application/json")
            .send_body(body.to_owned())
            .await
            .unwrap(),
    };
    let bytes = response.body().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("no JSON: {bytes:?}")),
    }
}

pub async fn post(addr: SocketAddr, path: &str, auth: Option<&str>, body: Value) -> Value {
    let answer = http(addr, "POST", path, auth, Some(&body.to_string())).await;
    assert_eq!(answer.status, 200, "{path} {}", answer.body);
    answer.body
}

/// A plain GET and its whole answer.
pub async fn raw_get(addr: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = tcp.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("no end")
        .unwrap();
    answer
}

/// Someone who has signed in.
#[derive(Clone)]
pub struct User {
    pub name: String,
    pub token: String,
}

pub async fn sign_in(addr: SocketAddr) -> User {
    let body = http(addr, "POST", "/anonymous-signin", None, None)
        .await
        .body;
    User {
        name: text(&body["username"]),
        token: text(&body["id_token"]),
    }
}

/// A room of `user`.
#[derive(Clone)]
pub struct Room {
    pub id: String,
    pub token: String,
}

pub async fn create_room(addr: SocketAddr, user: &User) -> Room {
    let auth = format!("Bearer {}", user.token);
    let body = http(addr, "POST", "/create-room", Some(&auth), None)
        .await
        .body;
    Room {
        id: text(&body["room_id"]),
        token: text(&body["token"]),
    }
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no string: {value}"))
        .to_owned()
}

/// A `register` frame; `more` is laid over it.
pub fn register(id: &str, user: &User, room: &Room, more: Value) -> Value {
    let mut frame = json!({"type": "register", "peer_id": id, "room_id": room.id, "token": room.token,
        "id_token": user.token});
    for (key, value) in more.as_object().unwrap() {
        frame[key] = value.clone();
    }
    frame
}

/// The metadata of a worker, as the original's worker sends it.
pub fn worker_metadata(gpu_memory_mb: u32) -> Value {
    json!({"tags": ["sleap-rtc", "training-worker", "inference-worker"],
        "properties": {"gpu_memory_mb": gpu_memory_mb, "gpu_model": "GPU", "hostname": "gpu-01",
            "status": "available", "max_concurrent_jobs": 1, "supported_models": ["base"],
            "supported_job_types": ["training", "inference"], "io_paths": {}}})
}

/// A WebSocket connection.
pub struct Peer {
    sink: Box<dyn Sink<Message, Error = WsProtocolError> + Unpin>,
    stream: Box<dyn Stream<Item = Result<Frame, WsProtocolError>> + Unpin>,
}

impl Peer {
    pub async fn connect(addr: SocketAddr) -> Peer {
        Peer::connect_to(&format!("ws://{addr}")).await
    }

    pub async fn connect_to(url: &str) -> Peer {
        let (_, framed) = awc::Client::new()
            .ws(url)
            .max_frame_size(2 << 20)
            .connect()
            .await
            .unwrap();
        Peer::over(framed)
    }

    /// A peer whose handshake is done.
    pub fn over(
        framed: impl Stream<Item = Result<Frame, WsProtocolError>>
        + Sink<Message, Error = WsProtocolError>
        + 'static,
    ) -> Peer {
        let (sink, stream) = framed.split();
        Peer {
            sink: Box::new(sink),
            stream: Box::new(stream),
        }
    }

    /// Connects and registers.
    pub async fn join(addr: SocketAddr, id: &str, user: &User, room: &Room, more: Value) -> Peer {
        let mut peer = Peer::connect(addr).await;
        let reply = peer.ask(register(id, user, room, more)).await;
        assert_eq!(reply["type"], "registered_auth", "{reply}");
        peer
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_message(Message::Text(frame.to_string().into()))
            .await;
    }

    pub async fn send_message(&mut self, message: Message) {
        tokio::time::timeout(PATIENCE, self.sink.send(message))
            .await
            .expect("the hub does not read")
            .unwrap();
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.stream.next())
                .await
                .expect("nothing came");
            match next {
                Some(Ok(Frame::Ping(payload))) => {
                    // The hub may have gone in the meantime.
                    let _ = self.sink.send(Message::Pong(payload)).await;
                }
                Some(Ok(frame)) => return Some(frame),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next frame, as JSON.
    pub async fn recv(&mut self) -> Value {
        match self.next().await {
            Some(Frame::Text(text)) => serde_json::from_slice(&text).unwrap(),
            other => panic!("no text frame: {other:?}"),
        }
    }

    pub async fn ask(&mut self, frame: Value) -> Value {
        self.send(frame).await;
        self.recv().await
    }

    /// Checks that nothing has come in: what is handled before a question is answered before it.
    pub async fn hears_nothing(&mut self) {
        let reply = self.ask(json!({"type": "are you there"})).await;
        assert_eq!(
            reply["message"], "Unknown message type: are you there",
            "something came in: {reply}"
        );
    }

    /// The code of the close frame that comes next.
    pub async fn closed_with(&mut self) -> u16 {
        match self.next().await {
            Some(Frame::Close(Some(CloseReason { code, .. }))) => code.into(),
            other => panic!("no close frame: {other:?}"),
        }
    }

    /// Closes, and waits until the hub has ended the connection, after which it has forgotten it.
    pub async fn close(mut self) {
        self.send_message(Message::Close(None)).await;
        while self.next().await.is_some() {}
    }

    /// The peers that this one finds.
    pub async fn discover(&mut self, me: &str, filters: Value) -> Vec<String> {
        let list = self
            .ask(json!({"type": "discover_peers", "from_peer_id": me, "filters": filters}))
            .await;
        assert_eq!(list["type"], "peer_list", "{list}");
        assert_eq!(list["to_peer_id"], me);
        let peers = list["peers"].as_array().unwrap();
        assert_eq!(list["count"], peers.len());
        peers.iter().map(|peer| text(&peer["peer_id"])).collect()
    }
}

/// A hub, a room of W's, and W (worker, admin) and C (client) in it.
pub struct Scene {
    pub hub: RunningHub,
    pub addr: SocketAddr,
    pub room: Room,
    pub w_user: User,
    pub c_user: User,
    pub w: Peer,
    pub c: Peer,
}

pub async fn scene() -> Scene {
    scene_with(|_| {}).await
}

pub async fn scene_with(change: impl FnOnce(&mut HubConfig)) -> Scene {
    let hub = hub_with(change);
    let addr = hub.addrs[0];
    let (w_user, c_user) = (sign_in(addr).await, sign_in(addr).await);
    let room = create_room(addr, &w_user).await;
    let worker = json!({"role": "worker", "is_admin": true, "metadata": worker_metadata(16384)});
    let w = Peer::join(addr, &w_user.name, &w_user, &room, worker).await;
    let c = Peer::join(
        addr,
        &c_user.name,
        &c_user,
        &room,
        json!({"role": "client"}),
    )
    .await;
    Scene {
        hub,
        addr,
        room,
        w_user,
        c_user,
        w,
        c,
    }
}

/// A WebSocket whose bytes are written and read by hand.
pub struct RawSocket {
    pub tcp: TcpStream,
}

impl RawSocket {
    /// Connects with a small receive buffer, so that a reader that stops is noticed early.
    pub async fn connect(addr: SocketAddr) -> RawSocket {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut tcp = socket.connect(addr).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(
                tokio::time::timeout(PATIENCE, tcp.read_u8())
                    .await
                    .unwrap()
                    .unwrap(),
            );
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        RawSocket { tcp }
    }

    /// Sends one frame: its first byte, the length that it announces, and the bytes that follow (under a mask of 0).
    pub async fn send(&mut self, first: u8, announced: u64, payload: &[u8]) {
        let mut bytes = vec![first, 0xff];
        bytes.extend(announced.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        self.tcp.write_all(&bytes).await.unwrap();
    }

    pub async fn send_text(&mut self, frame: Value) {
        let text = frame.to_string();
        self.send(0x81, text.len() as u64, text.as_bytes()).await;
    }

    /// The first byte and the payload of the next frame.
    pub async fn recv(&mut self) -> (u8, Vec<u8>) {
        let reading = async {
            let first = self.tcp.read_u8().await.unwrap();
            let length = match self.tcp.read_u8().await.unwrap() {
                126 => u64::from(self.tcp.read_u16().await.unwrap()),
                127 => self.tcp.read_u64().await.unwrap(),
                short => u64::from(short),
            };
            let mut payload = vec![0; length as usize];
            self.tcp.read_exact(&mut payload).await.unwrap();
            (first, payload)
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("nothing came")
    }

    /// The code of the close frame that comes next.
    pub async fn closed_with(&mut self) -> u16 {
        let (first, payload) = self.recv().await;
        assert_eq!(first, 0x88, "no close frame");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Vanishes without a close frame: the hub gets a reset.
    pub fn reset(self) {
        self.tcp.set_zero_linger().unwrap();
    }

    /// Reads to the end of the connection and says how much came.
    pub async fn drain(&mut self) -> usize {
        let mut total = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match tokio::time::timeout(PATIENCE, self.tcp.read(&mut buffer))
                .await
                .expect("the hub does not end it")
            {
                Ok(0) | Err(_) => return total,
                Ok(n) => total += n,
            }
        }
    }
}
