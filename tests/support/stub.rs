//! A hub whose failures can be steered: it answers what the test wants, and keeps what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::PATIENCE;

#[derive(Default)]
struct Script {
    /// Answers by path that differ from the usual ones; `None` never answers.
    answers: HashMap<String, Option<(u16, String)>>,
    /// Sockets are accepted, and nothing said on them is confirmed.
    mute: bool,
}

/// What the stub was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
    pub body: Value,
}

/// A hub that does as it is told.
pub struct StubHub {
    pub url: String,
    script: Arc<Mutex<Script>>,
    asked: mpsc::UnboundedReceiver<Asked>,
    frames: mpsc::UnboundedReceiver<Value>,
    say: tokio::sync::broadcast::Sender<Option<Value>>,
    server: ServerHandle,
}

#[derive(Clone)]
struct Shared {
    script: Arc<Mutex<Script>>,
    asked: mpsc::UnboundedSender<Asked>,
    frames: mpsc::UnboundedSender<Value>,
    say: tokio::sync::broadcast::Sender<Option<Value>>,
}

async fn answer(
    request: HttpRequest,
    body: web::Payload,
    shared: web::Data<Shared>,
) -> HttpResponse {
    if request.headers().contains_key("upgrade") {
        return socket(request, body, shared).await;
    }
    let bytes = body.to_bytes().await.unwrap();
    let path = request.path().to_owned();
    let authorization = request
        .headers()
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let _ = shared.asked.send(Asked {
        path: path.clone(),
        authorization,
        body,
    });
    let scripted = shared.script.lock().unwrap().answers.get(&path).cloned();
    match scripted {
        Some(Some((status, text))) => {
            HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(text)
        }
        Some(None) => std::future::pending().await,
        None => HttpResponse::Ok().json(match path.as_str() {
            "/anonymous-signin" => json!({ "id_token": "an.id.token", "username": "w-1" }),
            "/create-room" => json!({ "room_id": "4fad4e39", "token": "d3cc46" }),
            _ => json!({ "status": "peer deleted successfully" }),
        }),
    }
}

async fn socket(
    request: HttpRequest,
    body: web::Payload,
    shared: web::Data<Shared>,
) -> HttpResponse {
    let (response, mut session, mut stream) = actix_ws::handle(&request, body).unwrap();
    actix_rt::spawn(async move {
        use futures_util::StreamExt as _;
        let mut said = shared.say.subscribe();
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(Ok(actix_ws::Message::Text(text))) => {
                        let frame: Value = serde_json::from_str(&text).unwrap();
                        let mute = shared.script.lock().unwrap().mute;
                        if frame["type"] == "register" && !mute {
                            let confirmed = json!({ "type": "registered_auth", "room_id": frame["room_id"],
                                "token": frame["token"], "peer_id": frame["peer_id"], "admin_peer_id": null,
                                "peer_list": [], "peer_metadata": {}, "ice_servers": [], "mesh_ice_servers": [] });
                            let _ = session.text(confirmed.to_string()).await;
                        }
                        let _ = shared.frames.send(frame);
                    }
                    Some(Ok(actix_ws::Message::Ping(payload))) => { let _ = session.pong(&payload).await; }
                    Some(Ok(actix_ws::Message::Close(_))) | Some(Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
                frame = said.recv() => match frame {
                    Ok(Some(frame)) => { let _ = session.text(frame.to_string()).await; }
                    _ => break,
                },
            }
        }
        let _ = shared.frames.send(json!({ "type": "socket closed" }));
        let _ = session.close(None).await;
    });
    response
}

impl StubHub {
    /// Starts one on a free port.
    pub fn start() -> StubHub {
        let (asking, asked) = mpsc::unbounded_channel();
        let (framing, frames) = mpsc::unbounded_channel();
        let (say, _) = tokio::sync::broadcast::channel(64);
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = Shared {
            script: script.clone(),
            asked: asking,
            frames: framing,
            say: say.clone(),
        };
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(shared.clone()))
                .default_service(web::to(answer))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        StubHub {
            url,
            script,
            asked,
            frames,
            say,
            server: handle,
        }
    }

    /// From now on, this path is answered so; `None` leaves it without an answer.
    pub fn answer(&self, path: &str, answer: Option<(u16, &str)>) {
        let answer = answer.map(|(status, text)| (status, text.to_owned()));
        self.script
            .lock()
            .unwrap()
            .answers
            .insert(path.to_owned(), answer);
    }

    /// From now on, registrations are not confirmed.
    pub fn mute(&self) {
        self.script.lock().unwrap().mute = true;
    }

    /// Sends a frame on the open socket.
    pub fn say(&self, frame: Value) {
        self.say.send(Some(frame)).unwrap();
    }

    /// Drops the open socket.
    pub fn drop_sockets(&self) {
        let _ = self.say.send(None);
    }

    /// The next request to this path.
    pub async fn asked(&mut self, path: &str) -> Asked {
        loop {
            let asked = timeout(PATIENCE, self.asked.recv())
                .await
                .expect(path)
                .unwrap();
            if asked.path == path {
                return asked;
            }
        }
    }

    /// The next frame of this type.
    pub async fn frame(&mut self, kind: &str) -> Value {
        self.frame_within(kind, PATIENCE).await
    }

    /// The next frame, of whatever type.
    pub async fn any_frame(&mut self) -> Value {
        let frame = timeout(PATIENCE, self.frames.recv()).await;
        frame.expect("any frame").unwrap()
    }

    /// The same, with another patience.
    pub async fn frame_within(&mut self, kind: &str, patience: Duration) -> Value {
        loop {
            let frame = timeout(patience, self.frames.recv())
                .await
                .expect(kind)
                .unwrap();
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}
