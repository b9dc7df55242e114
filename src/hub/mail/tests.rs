//! The engine over a store that does what the test says.
#![allow(clippy::unwrap_used)]

mod fake_store;
mod model;
mod rules;
mod rules_store;
mod sessions;
mod speed;
mod world;
