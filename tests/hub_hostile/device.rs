//! Devices at `/ws` over sockets whose bytes are written and read by hand, tokens of any shape for them, and what an
//! operator sees of a hub.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use loaner::hub::auth::{Algorithm, AuthConfig, KeySource, Secret};
use loaner::hub::{HubConfig, RunningHub};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{PATIENCE, http, hub_with, raw_get};

pub const ISSUER: &str = "https://issuer.test";
pub const AUDIENCE: &str = "the-hub";
/// What the issuer and the hub share.
pub const SECRET: &[u8] = b"a secret that is known to the issuer and to the hub alone";
/// The administrator's token.
pub const ADMIN: &str = "the administrator's";

/// A hub that accepts the tokens of [`token`] and has an administrator.
pub fn device_hub(change: impl FnOnce(&mut HubConfig)) -> RunningHub {
    hub_with(|config| {
        config.auth = AuthConfig {
            algorithms: vec![Algorithm::HS256],
            keys: vec![KeySource::Secret {
                secret: Secret::new(SECRET),
                kid: None,
            }],
            issuers: vec![ISSUER.to_owned()],
            audiences: vec![AUDIENCE.to_owned()],
            ..AuthConfig::default()
        };
        config.admin_token = Some(Secret::new(ADMIN));
        change(config);
    })
}

/// Seconds since 1970.
pub fn epoch() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// The claims of a good token; `more` is laid over them, and what is null there is taken out.
pub fn claims(user: &str, device: &str, more: Value) -> Value {
    let mut claims = json!({"sub": user, "device_id": device, "iss": ISSUER, "aud": AUDIENCE,
        "iat": epoch(), "exp": epoch() + 600});
    for (key, value) in more.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(key),
            value => claims
                .as_object_mut()
                .unwrap()
                .insert(key.clone(), value.clone()),
        };
    }
    claims
}

/// A JWT with this header and these claims, signed with HMAC under `secret`, whatever the header says.
pub fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = ring::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A good token.
pub fn token(user: &str, device: &str) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT"});
    signed(&header, &claims(user, device, json!({})), SECRET)
}

/// How a socket came to be, or did not.
pub struct Refused {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Refused {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The code in the body.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// A WebSocket of either dialect, all of whose bytes are seen.
pub struct Wire {
    pub tcp: BufReader<TcpStream>,
    /// Whether it answers the hub's pings.
    pub polite: bool,
}

/// Whatever takes longer than anything here should.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("nothing came")
}

/// The bytes of a frame under a mask of 0: its first byte, and its payload.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0xff);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// The bytes of a handshake.
pub fn handshake(addr: SocketAddr, target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A connection with a small receive buffer, so that a reader that stops is noticed early.
pub async fn dial(addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let tcp = soon(socket.connect(addr)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

impl Wire {
    /// Shakes hands; `headers` are whole lines.
    pub async fn open(addr: SocketAddr, target: &str, headers: &str) -> Result<Wire, Refused> {
        let mut tcp = BufReader::new(dial(addr).await);
        let request = handshake(addr, target, headers);
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(tcp.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut refused = Refused {
            status,
            head,
            body: Value::Null,
        };
        if status == 101 {
            return Ok(Wire { tcp, polite: true });
        }
        let length = refused.header("content-length").unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        soon(tcp.read_exact(&mut body)).await.unwrap();
        refused.body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Err(refused)
    }

    /// A socket of the signalling dialect.
    pub async fn signalling(addr: SocketAddr) -> Wire {
        Wire::open(addr, "/", "").await.ok().expect("let in")
    }

    /// Tries to connect as a device, with a token in the header.
    pub async fn try_device(addr: SocketAddr, token: &str) -> Result<Wire, Refused> {
        Wire::open(addr, "/ws", &format!("Authorization: Bearer {token}\r\n")).await
    }

    /// Connects as a device with a good token, and is greeted.
    pub async fn device(addr: SocketAddr, user: &str, device: &str) -> Wire {
        let mut wire = Wire::try_device(addr, &token(user, device))
            .await
            .unwrap_or_else(|refused| panic!("{} {}", refused.head, refused.body));
        let greeting = wire.recv().await;
        assert_eq!(greeting["type"], "connected", "{greeting}");
        assert_eq!(greeting["payload"]["user_id"], user);
        wire
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        soon(self.tcp.write_all(bytes)).await.unwrap();
    }

    pub async fn send_text(&mut self, text: &str) {
        self.write(&frame(0x81, text.as_bytes())).await;
    }

    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a message to a device of a user, or to all.
    pub async fn post(&mut self, to: (&str, Option<&str>), id: &str, content: Value) {
        let payload = json!({"recipient_user_id": to.0, "recipient_device_id": to.1,
            "client_message_id": id, "content": content});
        self.send(json!({"type": "message", "payload": payload}))
            .await;
    }

    /// The first byte and the payload of the next frame, as it came.
    pub async fn try_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let first = self.tcp.read_u8().await?;
        let length = match self.tcp.read_u8().await? {
            126 => u64::from(self.tcp.read_u16().await?),
            127 => self.tcp.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; length as usize];
        self.tcp.read_exact(&mut payload).await?;
        Ok((first, payload))
    }

    /// The next frame that is no ping or pong; pings are answered by the polite.
    pub async fn try_next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            match self.try_frame().await? {
                (0x89, payload) => {
                    if self.polite {
                        self.tcp.write_all(&frame(0x8a, &payload)).await?;
                    }
                }
                (0x8a, _) => {}
                other => return Ok(other),
            }
        }
    }

    pub async fn next(&mut self) -> (u8, Vec<u8>) {
        soon(self.try_next()).await.unwrap()
    }

    /// The next message, as JSON.
    pub async fn recv(&mut self) -> Value {
        let (first, payload) = self.next().await;
        assert_eq!(first, 0x81, "no text: {payload:?}");
        serde_json::from_slice(&payload).unwrap()
    }

    /// The payload of the next message of this type; others before it are dropped.
    pub async fn recv_of(&mut self, kind: &str) -> Value {
        loop {
            let mut message = self.recv().await;
            if message["type"] == kind {
                return message["payload"].take();
            }
        }
    }

    pub async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        self.recv().await
    }

    /// Checks that the connection lives, that nothing has come in, and says how long the answer took.
    pub async fn echo(&mut self) -> Duration {
        let start = Instant::now();
        let mark = format!("{start:?}");
        let reply = self
            .ask(json!({"type": "ping", "payload": {"t": mark}}))
            .await;
        assert_eq!(
            reply,
            json!({"type": "pong", "payload": {"t": mark}}),
            "something came in"
        );
        start.elapsed()
    }

    /// The code of the close frame that comes next.
    pub async fn closed_with(&mut self) -> u16 {
        let (first, payload) = self.next().await;
        let text = String::from_utf8_lossy(&payload);
        assert_eq!(first, 0x88, "no close frame: {text}");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Closes, and waits until the hub has ended the connection.
    pub async fn close(mut self) {
        self.write(&frame(0x88, b"")).await;
        while soon(self.try_next()).await.is_ok() {}
    }

    /// Breaks the connection off, without a goodbye of any kind.
    pub fn reset(self) {
        // Without it a close would be polite.
        let _ = self.tcp.get_ref().set_zero_linger();
    }
}

/// What the hub's administrator is told.
pub async fn admin(addr: SocketAddr, path: &str) -> Value {
    let auth = format!("Bearer {ADMIN}");
    let answer = http(addr, "GET", path, Some(&auth), None).await;
    assert_eq!(answer.status, 200, "{path}");
    answer.body
}

/// A figure of the metrics page; 0 when it is not there.
pub async fn metric(addr: SocketAddr, name: &str) -> u64 {
    let page = raw_get(addr, "/metrics?format=prometheus").await;
    page.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .unwrap_or(0)
}

/// How often peers ran into a limit; the page and the administrator's answer must agree.
pub async fn refusals(addr: SocketAddr, limit: &str) -> u64 {
    let told = admin(addr, "/limits").await["refused"][limit]
        .as_u64()
        .expect("there is such a limit");
    let counted = metric(
        addr,
        &format!("loaner_hub_refused_total{{limit=\"{limit}\"}}"),
    )
    .await;
    assert!(
        counted >= told,
        "{limit}: {counted} on the page, {told} told"
    );
    counted
}

/// Asks until the answer is yes; each question is a round trip.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "{what}");
    }
}

/// Waits until no socket is left.
pub async fn empty(addr: SocketAddr) {
    eventually("a connection stays in the table", async || {
        admin(addr, "/connections").await["total"] == 0
    })
    .await;
}
