//! **Decide**: the statecharts.
//!
//! A chart is a pure value. It takes an event, changes its own state and returns effects: plain data that an actor
//! performs. Time enters as a timer event and randomness as a field of an event, so the same chart runs in its actor,
//! in the property tests, in the [explorer](explore) and in the [drawing](draw).
//!
//! Every (state, event) pair is decided by name: a transition, an effect, or an ignored event with its reason. A match
//! in a chart has no wildcard arm; what several states share is decided once, in a superstate.

pub mod availability;
pub mod draw;
pub mod explore;
pub mod hub_connection;
pub mod ice_watchdog;
pub mod ids;
pub mod job;
pub mod keep_alive;
pub mod machine;
pub mod outlook;
pub mod peer;
pub mod session;
pub mod submission;
pub mod transfer;
pub mod tunnel;

pub use ids::{JobId, PeerId};
pub use machine::{Bound, Chart, Effect, Out, StateSpec};

/// Something that is done to every chart: exploring it, drawing it, timing it.
pub trait ChartVisitor {
    /// Called once per chart.
    fn visit<C: Chart>(&mut self);
}

/// Shows every chart to the visitor, in the order of the index.
pub fn visit_all(visitor: &mut impl ChartVisitor) {
    visitor.visit::<session::Session>();
    visitor.visit::<availability::Availability>();
    visitor.visit::<peer::Peer>();
    visitor.visit::<ice_watchdog::IceWatchdog>();
    visitor.visit::<keep_alive::KeepAlive>();
    visitor.visit::<job::Job>();
    visitor.visit::<transfer::Transfer>();
    visitor.visit::<submission::Submission>();
    visitor.visit::<hub_connection::HubConnection>();
    visitor.visit::<tunnel::Tunnel>();
}
