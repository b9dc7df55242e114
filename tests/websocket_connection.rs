//! websocket-connection.md, scenario by scenario, over real sockets: the device dialect at `/ws`.
#![allow(clippy::unwrap_used)]

#[path = "websocket_connection/errors.rs"]
mod errors;
#[path = "websocket_connection/establishment.rs"]
mod establishment;
#[path = "websocket_connection/format.rs"]
mod format;
#[path = "websocket_connection/lifetime.rs"]
mod lifetime;
#[path = "websocket_connection/management.rs"]
mod management;
#[path = "websocket_connection/operation.rs"]
mod operation;
#[path = "websocket_connection/replacing.rs"]
mod replacing;
#[path = "websocket_connection/restart.rs"]
mod restart;
#[path = "websocket_connection/routing.rs"]
mod routing;
#[path = "websocket_connection/support.rs"]
mod support;
