//! The store on disk: it does what a plain model does, whatever the orders and wherever it is closed and opened again;
//! what it said is stored survives SIGKILL; and each thing that can be wrong with a file is told, with the file untouched.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "hub_store/crash.rs"]
mod crash;
#[path = "hub_store/faults.rs"]
mod faults;
#[path = "hub_store/laws.rs"]
mod laws;
#[path = "hub_store/model.rs"]
mod model;
#[path = "hub_store/queue.rs"]
mod queue;
#[path = "hub_store/versions.rs"]
mod versions;

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use loaner::hub::engine::{DeviceKey, Letter};
use loaner::hub::store::{Done, OpenError, Place, Recovered, SqliteStore, Store, StoreFailed};
use loaner::wire::device::Content;

/// Longer than any order takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn open(path: &Path) -> Result<(SqliteStore, Recovered), OpenError> {
    SqliteStore::open(&Place::File(path.to_owned()))
}

/// A `done`, and where its answer comes.
fn answer<T: Send + 'static>() -> (Done<T>, Receiver<Result<T, StoreFailed>>) {
    let (told, hear) = channel();
    (
        Box::new(move |outcome| {
            // A test that does not listen any more has said so by failing.
            let _ = told.send(outcome);
        }),
        hear,
    )
}

fn wait<T: Send + 'static>(order: impl FnOnce(Done<T>)) -> Result<T, StoreFailed> {
    let (done, hear) = answer();
    order(done);
    hear.recv_timeout(PATIENCE).unwrap()
}

/// A letter from `alice/laptop` with `bytes` of content.
fn letter(id: u64, bytes: usize) -> Letter {
    Letter {
        id,
        from: DeviceKey::new("alice", "laptop"),
        client_message_id: None,
        content: Content::Binary(vec![id as u8; bytes].into()),
        sent_at_ms: id,
    }
}

fn ids(store: &SqliteStore, device: &DeviceKey) -> Vec<u64> {
    let page = wait(|done| store.page(device, 0, usize::MAX, usize::MAX, done)).unwrap();
    page.iter().map(|letter| letter.id).collect()
}
