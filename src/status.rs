//! What a process of Loaner's is at, told to others of its user.
//!
//! The parts of a process are [announced](announce) by name, with a way to be asked. Whoever wants to know asks them all,
//! and each says what its chart says of itself: nobody else describes it. A process [listens](Desk) on a socket of its own in
//! a private directory, and [`ask`] finds all that do.

mod asking;
mod desk;
mod place;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::WeakRecipient;
use actix::prelude::*;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::timeout;

pub use asking::{Answer, ask};
pub use desk::Desk;
pub use place::{PlaceError, places};

/// How long a part may take to say what it is at.
const PART: Duration = Duration::from_secs(1);
/// The most parts that are asked.
const MAX_PARTS: usize = 512;
/// Below so many parts it is not looked for those that are gone.
const FEW: usize = 64;

/// What a part of a process says of itself. Times are in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The chart that drives it.
    pub chart: String,
    /// Which one it is, of those with the same chart.
    pub instance: String,
    /// The state that it is in; empty where it did not answer.
    pub state: String,
    /// What it does, in words.
    pub doing: String,
    /// Which attempt is being made, or comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long until the next step, at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_in: Option<f64>,
    /// What it does then, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How long until it gives up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gives_up_in: Option<f64>,
    /// What happens then, in words; without a time: what becomes of it in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// How its connection goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Path>,
    /// How long the other side takes to answer, measured last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<f64>,
    /// What else there is to know, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// How a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Path {
    /// From one side to the other.
    Direct,
    /// By a TURN server.
    Relayed,
}

/// What a process says of itself. Times are in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Its number.
    pub pid: i32,
    /// Which command it is.
    pub command: String,
    /// Of which version of Loaner.
    pub version: String,
    /// How long it has run.
    pub running: f64,
    /// What it said last to whoever started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// Its parts, the oldest first.
    pub parts: Vec<Facts>,
    /// Parts that were not asked, since there are too many.
    pub more: usize,
}

/// Something that was said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    /// The words.
    pub text: String,
    /// How long ago.
    pub ago: f64,
}

/// Asks a part what it is at. Who has nothing to tell says nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Facts>")]
pub struct Ask;

/// A part that can be asked.
struct Part {
    chart: &'static str,
    instance: String,
    way: WeakRecipient<Ask>,
}

impl Part {
    /// The way to it, while it is there.
    fn way(&self) -> Option<Recipient<Ask>> {
        self.way.upgrade().filter(Recipient::connected)
    }
}

/// Actors live on one thread, and so do those that ask them.
#[derive(Default)]
struct Board {
    parts: Vec<Part>,
    /// How many parts there may be until it is looked for those that are gone.
    room: usize,
    said: Option<(String, Instant)>,
    /// Somebody was announced.
    first: Rc<Notify>,
}

thread_local! {
    static BOARD: RefCell<Board> = RefCell::default();
}

/// Announces a part of this process. It is forgotten when it is gone, and is not kept by this.
pub fn announce<A>(chart: &'static str, instance: &str, part: &Addr<A>)
where
    A: Actor<Context = Context<A>> + Handler<Ask>,
{
    let part = Part {
        chart,
        instance: instance.to_owned(),
        way: part.downgrade().recipient(),
    };
    BOARD.with_borrow_mut(|board| {
        if board.parts.len() >= board.room {
            board.parts.retain(|part| part.way().is_some());
            // Twice as many: so this costs little, however many come and go.
            board.room = FEW.max(board.parts.len() * 2);
        }
        board.parts.push(part);
        board.first.notify_one();
    });
}

/// Waits until there is something to tell, for whoever is the only one to wait.
pub async fn announced() {
    let first = BOARD.with_borrow(|board| board.first.clone());
    first.notified().await;
}

/// Keeps what this process has just said to whoever started it.
pub fn said(text: &str) {
    let said = (text.to_owned(), Instant::now());
    BOARD.with_borrow_mut(|board| board.said = Some(said));
}

fn last_said() -> Option<Said> {
    BOARD.with_borrow(|board| {
        let (text, when) = board.said.as_ref()?;
        Some(Said {
            text: text.clone(),
            ago: when.elapsed().as_secs_f64(),
        })
    })
}

/// What all parts of this thread say, and how many were too many to be asked. It takes a second at most: who does not answer
/// has no state.
async fn parts() -> (Vec<Facts>, usize) {
    let there: Vec<_> = BOARD.with_borrow(|board| {
        let known = board.parts.iter();
        known
            .filter_map(|part| Some((part.chart, part.instance.clone(), part.way()?)))
            .collect()
    });
    let more = there.len().saturating_sub(MAX_PARTS);
    let asked = there.into_iter().take(MAX_PARTS);
    let answers =
        asked.map(
            async |(chart, instance, way)| match timeout(PART, way.send(Ask)).await {
                Ok(answer) => answer.ok().flatten(),
                Err(_) => Some(Facts {
                    chart: chart.to_owned(),
                    instance,
                    doing: "it does not answer".to_owned(),
                    ..Facts::default()
                }),
            },
        );
    (
        join_all(answers).await.into_iter().flatten().collect(),
        more,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
