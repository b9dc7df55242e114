//! `loaner workers --watch`: a table on a terminal that is redrawn when something changed; in a pipe, one line for each
//! change.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loaner::actors::session::HubAccess;
use loaner::client::{RoomNews, RoomWatch};
use loaner::wire::{PeerInfo, RoomCredentials};
use serde_json::json;

use super::exit::Failure;
use super::run::failure;
use super::workers::{head, line, shortfall};
use super::{Signals, print};

/// Stays in a room until it is stopped, and shows the workers that have so much GPU memory (MiB).
pub async fn run(
    hub: HubAccess,
    room: RoomCredentials,
    least: u64,
    json: bool,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let mut watch = RoomWatch::start(hub, room);
    let mut view = View::new(json);
    let mut known = Known::default();
    loop {
        let news = tokio::select! {
            news = watch.next() => news,
            () = signals.next() => {
                watch.stop();
                view.leave();
                // The hub is told; who does not want to wait for that asks twice.
                tokio::select! {
                    () = ended(&mut watch) => {}
                    () = signals.next() => {}
                }
                return Ok(());
            }
        };
        match news {
            RoomNews::Workers(mut workers) => {
                workers.retain(|worker| shortfall(worker, least).is_none());
                let changes = known.take(workers);
                view.show(&changes, &known);
            }
            RoomNews::HubLost => view.hub_lost(&known),
            RoomNews::Ended => return Ok(()),
            RoomNews::Failed(error) => {
                view.leave();
                return Err(failure(error));
            }
        }
    }
}

async fn ended(watch: &mut RoomWatch) {
    while !matches!(watch.next().await, RoomNews::Ended | RoomNews::Failed(_)) {}
}

/// One thing that changed.
enum Change {
    Joined(PeerInfo),
    Changed(PeerInfo),
    Left(String),
}

/// The workers that were there last, by their ids.
#[derive(Default)]
struct Known(BTreeMap<String, PeerInfo>);

impl Known {
    /// Takes what is there now, and says what is different.
    fn take(&mut self, workers: Vec<PeerInfo>) -> Vec<Change> {
        let now: BTreeMap<_, _> = workers
            .into_iter()
            .map(|worker| (worker.peer_id.clone(), worker))
            .collect();
        let gone = self.0.keys().filter(|id| !now.contains_key(*id));
        let mut changes: Vec<_> = gone.cloned().map(Change::Left).collect();
        for (id, worker) in &now {
            match self.0.get(id) {
                None => changes.push(Change::Joined(worker.clone())),
                Some(known) if known.metadata.properties != worker.metadata.properties => {
                    changes.push(Change::Changed(worker.clone()));
                }
                Some(_) => {}
            }
        }
        self.0 = now;
        changes
    }
}

/// Where it is shown.
struct View {
    json: bool,
    table: Option<ProgressBar>,
    /// The hub was lost, and has not answered since.
    lost: bool,
}

impl View {
    fn new(json: bool) -> Self {
        let table = (!json && std::io::stdout().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(4));
            let style = ProgressStyle::with_template("{msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        View {
            json,
            table,
            lost: false,
        }
    }

    fn show(&mut self, changes: &[Change], known: &Known) {
        let back = std::mem::take(&mut self.lost);
        if let Some(table) = &self.table {
            if back || !changes.is_empty() || table.message().is_empty() {
                table.set_message(drawn(known, None));
            }
            return;
        }
        if back {
            print(self.json, &json!({ "event": "hub_back" }), || {
                "The hub is back.".to_owned()
            });
        }
        for change in changes {
            let (event, text) = match change {
                Change::Joined(worker) => {
                    (of("joined", worker), format!("joined   {}", line(worker)))
                }
                Change::Changed(worker) => {
                    (of("changed", worker), format!("changed  {}", line(worker)))
                }
                Change::Left(id) => (
                    json!({ "event": "left", "worker": id }),
                    format!("left     {}", super::inbox::printable(id)),
                ),
            };
            print(self.json, &event, || text);
        }
    }

    fn hub_lost(&mut self, known: &Known) {
        let told = std::mem::replace(&mut self.lost, true);
        const LOST: &str = "The hub is out of reach; trying again.";
        match &self.table {
            Some(table) => table.set_message(drawn(known, Some(LOST))),
            None if told => {}
            None => print(self.json, &json!({ "event": "hub_lost" }), || {
                LOST.to_owned()
            }),
        }
    }

    /// Leaves the table as it is.
    fn leave(&self) {
        if let Some(table) = &self.table {
            table.abandon();
        }
    }
}

fn of(event: &str, worker: &PeerInfo) -> serde_json::Value {
    json!({ "event": event, "worker": worker.peer_id, "properties": worker.metadata.properties })
}

fn drawn(known: &Known, note: Option<&str>) -> String {
    let mut lines = vec![head()];
    lines.extend(known.0.values().map(line));
    if known.0.is_empty() {
        lines.push("No worker is in the room.".to_owned());
    }
    lines.extend(note.map(str::to_owned));
    lines.join("\n")
}
