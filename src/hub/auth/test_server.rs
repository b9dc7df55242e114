//! A server on loopback that publishes a key set, or anything else.

#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

use super::test_issuer::*;
use super::*;

/// What the server answers.
#[derive(Clone)]
pub(super) enum Answer {
    Set(Vec<Value>),
    Text(u16, String),
    Redirect(String),
    /// No end of bytes, in chunks.
    Endless,
    /// The head and a first byte, then nothing more.
    Stuck,
}

struct Site {
    answer: Mutex<Answer>,
    hits: AtomicUsize,
}

pub(super) struct Server {
    site: web::Data<Site>,
    pub(super) addr: SocketAddr,
    pub(super) handle: ServerHandle,
}

impl Server {
    pub(super) fn start(answer: Answer) -> Self {
        let site = web::Data::new(Site {
            answer: Mutex::new(answer),
            hits: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = site.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .default_service(web::to(answer_of))
        })
        .workers(1)
        .shutdown_timeout(0)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Server { site, addr, handle }
    }

    pub(super) fn says(&self, answer: Answer) {
        *self.site.answer.lock().unwrap() = answer;
    }

    pub(super) fn hits(&self) -> usize {
        self.site.hits.load(Ordering::SeqCst)
    }

    pub(super) fn jwks(&self) -> Jwks {
        Jwks {
            timeout: Duration::from_secs(30),
            ..Jwks::new(&format!("http://{}/keys", self.addr)).unwrap()
        }
    }

    pub(super) fn verifier(&self, jwks: Jwks) -> Verifier {
        verifier(AuthConfig {
            jwks: Some(jwks),
            ..config(vec![])
        })
    }
}

async fn answer_of(site: web::Data<Site>) -> HttpResponse {
    site.hits.fetch_add(1, Ordering::SeqCst);
    let answer = site.answer.lock().unwrap().clone();
    let piece = |bytes: &'static [u8]| Ok::<_, actix_web::Error>(web::Bytes::from_static(bytes));
    match answer {
        Answer::Set(keys) => HttpResponse::Ok().json(json!({"keys": keys})),
        Answer::Text(status, body) => {
            HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap()).body(body)
        }
        Answer::Redirect(to) => HttpResponse::Found()
            .insert_header(("Location", to))
            .finish(),
        Answer::Endless => {
            HttpResponse::Ok().streaming(futures_util::stream::repeat_with(move || {
                piece(&[b' '; 4096])
            }))
        }
        Answer::Stuck => HttpResponse::Ok().streaming(futures_util::StreamExt::chain(
            futures_util::stream::iter([piece(b"{")]),
            futures_util::stream::pending(),
        )),
    }
}
