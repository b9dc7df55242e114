//! Jobs as real processes, below the real keeper, and transfers onto a disk that is really full.
#![allow(clippy::unwrap_used)]

#[path = "jobs/full_disk.rs"]
mod full_disk;
#[path = "jobs/keeper.rs"]
mod keeper;
#[path = "jobs/lab.rs"]
mod lab;
#[path = "jobs/running.rs"]
mod running;
#[path = "jobs/stopping.rs"]
mod stopping;
