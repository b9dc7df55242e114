//! What an actor writes to the log: one structured event per transition.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use loaner::actors::keep_alive::{Beat, KeepAlivePerformer};
use loaner::actors::start;
use loaner::charts::keep_alive::{Input, KeepAlive};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::clock::{feed, on_paused_clock, pass};

/// One event of the log: its level and its fields.
#[derive(Debug, Clone)]
struct Record {
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Record>>>);

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "loaner::chart" {
            return;
        }
        let mut record = Record {
            level: *event.metadata().level(),
            fields: BTreeMap::new(),
        };
        event.record(&mut record);
        self.0.lock().unwrap().push(record);
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

struct Quiet;

impl Beat for Quiet {
    fn beat(&mut self) {}
}

fn is(record: &Record, level: Level, fields: &[(&'static str, &str)]) {
    assert_eq!(record.level, level);
    let fields: BTreeMap<_, _> = fields
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    assert_eq!(record.fields, fields);
}

/// One event per transition, with chart, instance, states, event and effects; what is ignored is told with its reason, and
/// more quietly.
#[test]
fn every_transition_is_one_event_of_the_log() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    on_paused_clock(async {
        let actor = start(
            KeepAlive::new(),
            KeepAlivePerformer(Quiet),
            "link-1 data",
            None,
        );
        feed(&actor, Input::ChannelOpen).await;
        feed(&actor, Input::ChannelOpen).await;
        pass(20.0).await;
        feed(&actor, Input::ChannelClosed).await;
    });
    let records = log.0.lock().unwrap().clone();
    assert_eq!(records.len(), 4, "{records:#?}");
    let (chart, instance) = (("chart", "keep_alive"), ("instance", "link-1 data"));
    let transition = |from, event, to, effects| {
        [
            chart,
            instance,
            ("from", from),
            ("event", event),
            ("to", to),
            ("effects", effects),
            ("message", "transition"),
        ]
    };
    is(
        &records[0],
        Level::INFO,
        &transition("silent", "ChannelOpen", "beating", "[Arm(Beat, 15s)]"),
    );
    is(
        &records[1],
        Level::DEBUG,
        &[
            chart,
            instance,
            ("from", "beating"),
            ("event", "ChannelOpen"),
            (
                "reason",
                "it is open already: two beats would be one too many",
            ),
            ("message", "ignored"),
        ],
    );
    is(
        &records[2],
        Level::INFO,
        &transition(
            "beating", "Beat fired", "beating", "[Act(SendKeepAlive), Arm(Beat, 15s)]",
        ),
    );
    is(
        &records[3],
        Level::INFO,
        &transition("beating", "ChannelClosed", "ended", "[Cancel(Beat)]"),
    );
}
