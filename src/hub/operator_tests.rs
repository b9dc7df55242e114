//! What `/ready` says when the store cannot be written.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::HubConfig;
use super::super::auth::{AuthConfig, Verifier};
use super::super::engine::{DeviceKey, Engine as _, Posting};
use super::super::mail::{Mail, MailLimits};
use super::super::server;
use super::super::store::{Place, SqliteStore, Store};
use super::*;
use crate::wire::device::Content;

/// Waits until everything that the store was told before is done, and its answers have been heard.
async fn done(store: &SqliteStore) {
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    store.sync(Box::new(|_| drop(tell)));
    let waited = tokio::time::timeout(Duration::from_secs(30), told).await;
    assert!(waited.is_ok(), "the store does not answer");
}

async fn asked(addr: SocketAddr) -> (u16, Value) {
    let url = format!("http://{addr}/ready");
    let mut answer = awc::Client::new().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A message that has to be stored.
async fn post(mail: &Mail, store: &SqliteStore, number: usize) {
    let posting = Posting {
        user: "bob".into(),
        device: None,
        client_message_id: None,
        echo_self: false,
        content: Content::Json(format!("\"{number}{}\"", "x".repeat(8000)).into()),
    };
    mail.post(&DeviceKey::new("ann", "laptop"), posting, None)
        .unwrap();
    done(store).await;
}

/// A hub whose store is full is not ready, and says so; it is again once there is room, also when nobody sends anything.
#[actix_rt::test]
async fn a_hub_that_cannot_store_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::File(dir.path().join("hub.db"));
    let (store, recovered) = SqliteStore::open(&place).unwrap();
    let store = Arc::new(store);
    let kept = Arc::clone(&store) as Arc<dyn Store>;
    let mail = Mail::new(kept, recovered, "hub", MailLimits::default());
    done(&store).await;
    let mut config = HubConfig::default();
    config.limits.threads = 1;
    let verifier = Verifier::new(AuthConfig::default(), &[7; 32]).unwrap();
    let core = Arc::new(Core::new(
        Arc::new(config),
        verifier,
        Arc::clone(&mail) as _,
    ));
    let listener = server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = listener.local_addr().unwrap();
    actix_rt::spawn(server::serve(&core, vec![listener], None).unwrap());

    post(&mail, &store, 0).await;
    assert_eq!(asked(addr).await.0, 200);
    store.limit_bytes(1 << 20);
    let mut number = 1;
    while !mail.figures().store_failing {
        assert!(number < 400, "it holds more than it may");
        post(&mail, &store, number).await;
        number += 1;
    }
    let (status, body) = asked(addr).await;
    assert_eq!(status, 503);
    let reason = body["reason"].as_str().unwrap();
    assert!(reason.contains("store cannot be written"), "{body}");

    store.limit_bytes(1 << 30);
    mail.tick();
    done(&store).await;
    assert_eq!(asked(addr).await.0, 200);
    post(&mail, &store, number).await;
    assert_eq!(asked(addr).await.0, 200);
}
