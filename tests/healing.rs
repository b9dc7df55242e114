//! What becomes of tunnels and jobs when the network changes under it, or a process is gone: hub and worker on one machine, the
//! client on another, each a network namespace. Where the system allows no namespace, the tests say so and are skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "network/inside.rs"]
#[allow(dead_code)]
mod inside;
#[allow(dead_code)]
#[path = "support/namespace.rs"]
mod namespace;
#[allow(dead_code)]
#[path = "support/program.rs"]
mod program;

#[path = "healing/away.rs"]
mod away;
#[path = "healing/changes.rs"]
mod changes;
#[path = "healing/echo.rs"]
mod echo;
#[path = "healing/job.rs"]
mod job;
#[path = "healing/machines.rs"]
mod machines;
#[path = "healing/matrix.rs"]
mod matrix;
#[path = "healing/nat.rs"]
mod nat;
#[path = "healing/network.rs"]
mod network;
#[path = "healing/processes.rs"]
mod processes;
#[path = "healing/status.rs"]
mod status;

use std::time::Duration;

/// How long a tunnel may take to come back.
const LONG: Duration = Duration::from_secs(90);
