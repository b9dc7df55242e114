//! Foreign peers: a client and a worker of plain Python (aiortc, websockets, requests) that behave as sleap-rtc's of
//! December 2025 do, against this hub, this worker and this client (sleap-rtc wire protocol, 1 to 6).
//!
//! Each test has a network namespace of its own with everything in it (`tests/interop/in-namespace`), so that nothing
//! leaves the machine and the hub can have the ports that the original has. Where the system allows no namespace, the
//! tests say so and are skipped. The Python is made by `tools/python-env`, which `make test` runs first.
#![allow(clippy::unwrap_used)]

#[path = "interop/alone.rs"]
mod alone;
#[path = "interop/curves.rs"]
mod curves;
#[path = "interop/foreign_client.rs"]
mod foreign_client;
#[path = "interop/foreign_worker.rs"]
mod foreign_worker;
#[path = "interop/inference.rs"]
mod inference;
#[path = "interop/named.rs"]
mod named;
#[allow(dead_code)]
#[path = "support/namespace.rs"]
mod namespace;
#[path = "support/program.rs"]
mod program;
#[path = "interop/scene.rs"]
mod scene;
