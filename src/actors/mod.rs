//! **Act**: one thin actix actor per chart.
//!
//! [`ChartActor`] is the one generic actor: it feeds events to its chart, records every transition as one structured
//! `tracing` event, arms and cancels timers, and hands the other effects, in order, to a [`Perform`]. The concrete
//! actors are those performers. Bytes never pass through here: streams between channel and disk run on the data plane
//! and report milestones.

pub mod availability;
pub mod chart_actor;
pub mod ice_watchdog;
pub mod job;
pub mod keep_alive;
pub mod peer;
pub mod session;
pub mod submission;
pub mod transfer;
pub mod tunnel;

pub use chart_actor::{ChartActor, Died, Feed, Left, Observe, Observed, Perform, start, start_on};
