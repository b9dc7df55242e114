//! What people, peers, disks and networks do wrong: each is told to the side that can act on it, leaves the worker
//! available or the process ended with its code, and nothing half-written under its final name.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "bad_input/after.rs"]
mod after;
#[path = "bad_input/clock.rs"]
mod clock;
#[path = "bad_input/disks.rs"]
mod disks;
#[path = "bad_input/ends.rs"]
mod ends;
#[path = "bad_input/files.rs"]
mod files;
#[path = "bad_input/heavy.rs"]
mod heavy;
#[path = "bad_input/packages.rs"]
mod packages;
#[path = "bad_input/peers.rs"]
mod peers;
#[path = "bad_input/places.rs"]
mod places;
mod support;
#[path = "bad_input/trainers.rs"]
mod trainers;
#[path = "bad_input/twins.rs"]
mod twins;
