//! The hub's figures in the text format of Prometheus (OpenMetrics 1.0).

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::engine::EngineFigures;
use super::table::Snapshot;
use crate::wire::close::CloseCode;

/// The content type of [`Metrics::encode`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A bound that a peer ran into. Each has its metric, `loaner_hub_refused_total{limit="..."}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::AsRefStr, strum::EnumIter)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Limit {
    /// Handshakes from one address (429).
    HandshakesPerAddress,
    /// Sockets in all (503).
    Sockets,
    /// Sockets in all, for users that are not known (503).
    SocketsSoft,
    /// Connections of one user (4428 for the oldest).
    ConnectionsPerUser,
    /// Messages a second of one socket (`RATE_LIMITED`).
    MessageRate,
    /// Bytes a second of one socket (read more slowly).
    ByteRate,
    /// Bytes of one message (1009).
    MessageSize,
    /// Bytes that wait for one socket (4413, or 1011).
    SendQueue,
    /// Time without a registration (1000).
    Unregistered,
    /// Messages that make no sense (1008).
    Rubbish,
    /// Bytes of a peer's metadata.
    MetadataSize,
    /// Peers of one room.
    PeersPerRoom,
    /// Rooms of one user (429).
    RoomsPerUser,
    /// Rooms in all (503).
    Rooms,
    /// Sign-ins and new rooms from one address (429).
    SigninsPerAddress,
    /// Wrong tokens for one room from one address.
    TokenGuesses,
    /// What a mailbox, a sender, or the store may hold.
    Mailbox,
}

impl Limit {
    /// The limit that a socket is closed for with this code, if it is one.
    pub(super) fn of_close(code: CloseCode) -> Option<Limit> {
        match code {
            CloseCode::MessageTooLarge => Some(Limit::MessageSize),
            CloseCode::SlowReader | CloseCode::SlowReaderClassic => Some(Limit::SendQueue),
            CloseCode::ConnectionLimit => Some(Limit::ConnectionsPerUser),
            CloseCode::NotRegistered => Some(Limit::Unregistered),
            CloseCode::Rubbish => Some(Limit::Rubbish),
            _ => None,
        }
    }
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Handshake {
    /// A socket of the device dialect.
    Device,
    /// A socket of the signalling dialect.
    Signalling,
    /// 401.
    Unauthorized,
    /// 403: a page of an origin that is not on the list.
    Origin,
    /// 429, 503 or 400.
    Refused,
}

macro_rules! label {
    ($label:ident, $field:ident: $kind:ty) => {
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $label {
            $field: Word<$kind>,
        }
    };
}

/// A label's value that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Word<T>(T);

impl<T: AsRef<str> + fmt::Debug> EncodeLabelValue for Word<T> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.0.as_ref(), encoder)
    }
}

label!(ByLimit, limit: Limit);
label!(ByOutcome, outcome: Handshake);
label!(ByCode, reason: CloseCode);
label!(ByRole, role: String);
label!(ByEnd, r#for: &'static str);

/// What is counted as it happens. Everything else is looked up when somebody asks.
#[derive(Default)]
pub(super) struct Metrics {
    refused: Family<ByLimit, Counter>,
    handshakes: Family<ByOutcome, Counter>,
    closed: Family<ByCode, Counter>,
    panics: Counter,
    received: Counter,
}

impl Metrics {
    /// A peer ran into a limit.
    pub(super) fn refused(&self, limit: Limit) {
        self.refused
            .get_or_create(&ByLimit { limit: Word(limit) })
            .inc();
    }

    /// A handshake was answered.
    pub(super) fn handshake(&self, outcome: Handshake) {
        let outcome = Word(outcome);
        self.handshakes.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// A socket was closed by the hub.
    pub(super) fn closed(&self, code: CloseCode) {
        self.closed
            .get_or_create(&ByCode { reason: Word(code) })
            .inc();
    }

    /// The handling of a connection panicked.
    pub(super) fn panicked(&self) {
        self.panics.inc();
    }

    /// A message came in.
    pub(super) fn received(&self) {
        self.received.inc();
    }

    /// How often peers ran into a limit.
    pub(super) fn refusals(&self, limit: Limit) -> u64 {
        self.refused
            .get_or_create(&ByLimit { limit: Word(limit) })
            .get()
    }

    /// The whole page.
    pub(super) fn encode(&self, table: &Snapshot, engine: &EngineFigures) -> String {
        let mut registry = Registry::with_prefix("loaner_hub");
        registry.register(
            "refused",
            "Peers that ran into a limit",
            self.refused.clone(),
        );
        registry.register(
            "handshakes",
            "WebSocket handshakes answered",
            self.handshakes.clone(),
        );
        registry.register("closed", "Sockets closed by the hub", self.closed.clone());
        registry.register(
            "panics",
            "Connections that a defect ended",
            self.panics.clone(),
        );
        registry.register(
            "messages_received",
            "Messages of peers",
            self.received.clone(),
        );
        let peers = Family::<ByRole, Gauge>::default();
        for (role, count) in &table.peers_by_role {
            let role = Word(role.clone());
            peers.get_or_create(&ByRole { role }).set(gauge(*count));
        }
        registry.register("peers", "Peers in rooms", peers);
        let sockets = Family::<ByEnd, Gauge>::default();
        for (name, count) in [("device", table.devices), ("signalling", table.signalling)] {
            sockets
                .get_or_create(&ByEnd { r#for: Word(name) })
                .set(gauge(count));
        }
        registry.register("sockets", "Open sockets", sockets);
        let mut number = |name: &str, help: &str, value: u64| {
            registry.register(name, help, ConstGauge::new(value));
        };
        number("rooms", "Rooms", table.rooms as u64);
        number(
            "rooms_active", "Rooms with peers in them", table.active_rooms as u64,
        );
        number(
            "resumable", "Connections that can be resumed", table.resumable as u64,
        );
        number(
            "mail_in_flight", "Messages sent and not acknowledged", engine.in_flight,
        );
        number("mail_waiting", "Messages in the store", engine.waiting);
        number("devices", "Devices known", engine.devices);
        registry.register_with_unit(
            "mail_waiting",
            "Bytes of messages in the store",
            Unit::Bytes,
            ConstGauge::new(engine.waiting_bytes),
        );
        let mut count = |name: &str, help: &str, value: u64| {
            registry.register(name, help, ConstCounter::new(value));
        };
        count(
            "registrations", "Peers that registered", table.total_connections,
        );
        count(
            "relayed", "Messages relayed between peers", table.total_messages,
        );
        count("rooms_created", "Rooms created", table.rooms_created);
        count("mail_posted", "Messages taken for devices", engine.posted);
        count(
            "mail_acknowledged", "Messages acknowledged by devices", engine.acknowledged,
        );
        count(
            "mail_stored", "Messages written to the store", engine.stored,
        );
        count("mail_refused", "Messages refused", engine.refused);
        count(
            "mail_duplicates", "Messages that came again", engine.duplicates,
        );
        count(
            "mail_expired", "Messages that outlived their retention", engine.expired,
        );
        let mut page = String::new();
        match encode(&mut page, &registry) {
            Ok(()) => page,
            // Writing to a string does not fail; an empty page says at least that something is wrong.
            Err(error) => {
                tracing::error!(%error, "the metrics could not be written");
                String::new()
            }
        }
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
