//! A hub on a free port that trusts an issuer of the test's own, and devices that speak to it by another WebSocket library.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{EncodingKey, Header, encode};
use loaner::hub::auth::{Algorithm, AuthConfig, KeySource, Secret};
use loaner::hub::{Hub, HubConfig, RunningHub};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longer than anything here takes, shorter than a person's patience.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What the issuer signs with.
pub const SECRET: &[u8] = b"a secret of thirty-two bytes or more";
/// What the administrator shows.
pub const ADMIN: &str = "the administrator's token";

/// A hub's settings: a free port, one thread, an issuer, an administrator.
pub fn settings() -> HubConfig {
    let mut config = HubConfig {
        listen: vec![([127, 0, 0, 1], 0).into()],
        auth: AuthConfig {
            algorithms: vec![Algorithm::HS256],
            keys: vec![KeySource::Secret {
                secret: Secret::new(SECRET),
                kid: None,
            }],
            issuers: vec!["lab".to_owned()],
            audiences: vec!["loaner".to_owned()],
            ..AuthConfig::default()
        },
        admin_token: Some(Secret::new(ADMIN)),
        ..HubConfig::default()
    };
    config.limits.threads = 1;
    config
}

/// A hub with these settings, changed.
pub fn hub_with(change: impl FnOnce(&mut HubConfig)) -> RunningHub {
    let mut config = settings();
    change(&mut config);
    Hub::start(config).unwrap()
}

pub fn hub() -> RunningHub {
    hub_with(|_| {})
}

/// The claims of a token that is good for `seconds` from now on.
pub fn claims(user: &str, device: &str, seconds: i64) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    json!({"sub": user, "device_id": device, "iss": "lab", "aud": "loaner", "iat": now, "exp": now + seconds})
}

/// A token with these claims, by the issuer.
pub fn signed(claims: &Value) -> String {
    encode(
        &Header::default(),
        claims,
        &EncodingKey::from_secret(SECRET),
    )
    .unwrap()
}

/// A token of a device, good for an hour.
pub fn token(user: &str, device: &str) -> String {
    signed(&claims(user, device, 3600))
}

/// A device's connection.
pub struct Device {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What it was greeted with.
    pub connected: Value,
}

impl Device {
    /// Connects, and is greeted.
    pub async fn connect(addr: SocketAddr, user: &str, device: &str) -> Device {
        Device::open(addr, &format!("token={}", token(user, device))).await
    }

    /// Connects with this query, and is greeted.
    pub async fn open(addr: SocketAddr, query: &str) -> Device {
        let mut device = Device::ungreeted(addr, query).await;
        let (kind, payload) = device.recv().await;
        assert_eq!(kind, "connected", "{payload}");
        device.connected = payload;
        device
    }

    /// Connects with this query.
    pub async fn ungreeted(addr: SocketAddr, query: &str) -> Device {
        let (socket, _) = connect_async(format!("ws://{addr}/ws/?{query}"))
            .await
            .unwrap();
        Device {
            socket,
            connected: Value::Null,
        }
    }

    pub async fn send(&mut self, kind: &str, payload: Value) {
        let frame = json!({"type": kind, "payload": payload}).to_string();
        self.send_message(Message::text(frame)).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        tokio::time::timeout(PATIENCE, self.socket.send(message))
            .await
            .expect("the hub does not read")
            .unwrap();
    }

    /// The next message, whatever it is.
    pub async fn next(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("nothing came");
            match next.expect("the connection ended").unwrap() {
                // Pings are answered by the library.
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next frame: its type and payload.
    pub async fn recv(&mut self) -> (String, Value) {
        match self.next().await {
            Message::Text(text) => {
                let mut frame: Value = serde_json::from_str(&text).unwrap();
                let kind = frame["type"].as_str().unwrap().to_owned();
                (kind, frame["payload"].take())
            }
            other => panic!("no text frame: {other:?}"),
        }
    }

    /// The next frame, which must be of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let (got, payload) = self.recv().await;
        assert_eq!(got, kind, "{payload}");
        payload
    }

    /// Sends a message.
    pub async fn post(&mut self, user: &str, device: Option<&str>, id: &str, content: Value) {
        let mut payload =
            json!({"recipient_user_id": user, "client_message_id": id, "content": content});
        if let Some(device) = device {
            payload["recipient_device_id"] = device.into();
        }
        self.send("message", payload).await;
    }

    /// Sends a message and waits for its receipt.
    pub async fn deliver(
        &mut self,
        user: &str,
        device: Option<&str>,
        id: &str,
        content: Value,
    ) -> Value {
        self.post(user, device, id, content).await;
        let receipt = self.expect("accepted").await;
        assert_eq!(receipt["client_message_id"], id);
        receipt
    }

    /// The next message of another device, acknowledged.
    pub async fn take(&mut self) -> Value {
        let message = self.expect("message").await;
        self.send("ack", json!({"up_to": message["message_id"]}))
            .await;
        message
    }

    /// Checks that nothing has come in: what was queued before a pong comes before it.
    pub async fn hears_nothing(&mut self) {
        self.send("ping", json!({"t": "anything?"})).await;
        assert_eq!(self.expect("pong").await["t"], "anything?");
    }

    /// The code and the reason of the close frame that comes next.
    pub async fn closed_with(&mut self) -> (u16, String) {
        match self.next().await {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.as_str().to_owned()),
            other => panic!("no close frame: {other:?}"),
        }
    }

    /// The code of the close frame that comes sooner or later.
    pub async fn socket_closes(&mut self) -> u16 {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    /// Says goodbye, and waits until the hub has answered.
    pub async fn close(mut self) {
        // The hub may have begun.
        let _ = self.socket.close(None).await;
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// The connection below, to write to by hand.
    pub fn tcp(&mut self) -> &mut TcpStream {
        match self.socket.get_mut() {
            MaybeTlsStream::Plain(tcp) => tcp,
            _ => panic!("there is no TLS here"),
        }
    }

    /// Goes without a word.
    pub fn vanish(self) {
        if let MaybeTlsStream::Plain(tcp) = self.socket.get_ref() {
            socket2::SockRef::from(tcp)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    }
}

/// What a refused handshake says: its status, its headers and its body.
pub async fn refused(
    addr: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> (u16, String, Value) {
    let mut request = format!("ws://{addr}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match connect_async(request).await {
        Err(Error::Http(response)) => {
            let head = format!("{:?}", response.headers());
            let body = response.body().clone().unwrap_or_default();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            (response.status().as_u16(), head, body)
        }
        other => panic!("not refused: {:?}", other.map(|_| "connected")),
    }
}

/// A question of the administrator.
pub async fn ask(addr: SocketAddr, path: &str) -> Value {
    let mut response = awc::Client::new()
        .get(format!("http://{addr}{path}"))
        .bearer_auth(ADMIN)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.json().limit(1 << 20).await.unwrap()
}

/// Waits until this is so.
pub async fn until<F: Future<Output = bool>>(mut so: impl FnMut() -> F) {
    let start = std::time::Instant::now();
    while !so().await {
        assert!(start.elapsed() < PATIENCE, "it never became so");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How often peers ran into a limit.
pub async fn refusals(addr: SocketAddr, limit: &str) -> u64 {
    ask(addr, "/limits").await["refused"][limit]
        .as_u64()
        .unwrap()
}
