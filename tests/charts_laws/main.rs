//! The laws of the charts: what the specifications promise of every history, whatever events come in whatever order.
//!
//! A history is random (see [`history`]): events of the chart's own alphabet, and time, in which only armed timers fire.
//! Each law is a test of its own, and names the document that it comes from. Counter-examples are kept beside the law's
//! file, as `*.proptest-regressions`.

#![allow(clippy::unwrap_used)]

mod availability;
mod availability_model;
mod every_chart;
mod history;
mod hub_connection;
mod hub_connection_model;
mod ice_watchdog;
mod job;
mod job_model;
mod keep_alive;
mod peer;
mod session;
mod submission;
mod transfer;
mod tunnel;
mod tunnel_attempts;
mod tunnel_model;
mod tunnel_pair;
mod tunnel_silence;
