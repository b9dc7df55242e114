//! The access log: one line for each request, and one for each socket that ends. Tokens are never in it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use actix_http::{RequestHead, StatusCode};

use super::auth::without_secrets;
use super::connections::Meter;
use super::core::Core;
use super::engine::ConnId;
use crate::wire::close::CloseCode;

/// Characters of a client's name for itself, at most.
const AGENT_CHARS: usize = 80;

/// A request was answered.
pub(super) fn request(
    core: &Core,
    head: &RequestHead,
    from: Option<SocketAddr>,
    status: StatusCode,
    start: Instant,
) {
    if !core.config.access_log {
        return;
    }
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let agent = head
        .headers
        .get(actix_http::header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    let agent: String = agent.chars().take(AGENT_CHARS).collect();
    tracing::info!(
        target: "loaner::access",
        method = %head.method,
        path = without_secrets(target),
        status = status.as_u16(),
        address = from.map(tracing::field::display),
        agent = ?agent,
        micros = start.elapsed().as_micros() as u64,
        "request"
    );
}

/// A socket has ended.
pub(super) fn end(
    core: &Core,
    conn: ConnId,
    why: Option<CloseCode>,
    meter: &Meter,
    opened: Instant,
) {
    if !core.config.access_log {
        return;
    }
    tracing::info!(
        target: "loaner::access",
        conn,
        cause = %why.as_ref().map_or("lost", AsRef::as_ref),
        code = why.map(CloseCode::code),
        messages = meter.messages.load(Ordering::Relaxed),
        bytes = meter.bytes.load(Ordering::Relaxed),
        seconds = opened.elapsed().as_secs(),
        "socket ended"
    );
}
