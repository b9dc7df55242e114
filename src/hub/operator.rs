//! The requests of whoever runs the hub: is it ready, what does it do, who is there.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use url::form_urlencoded;

use super::core::Core;
use super::http::{Answer, detail};
use super::table::Now;
use super::tokens::{bearer, same_secret};
use super::{metrics as classic, prometheus, state};

/// How long to wait before `/ready` is asked again.
const UNREADY_TIME: u64 = 5;

/// `/ready`: whether new peers should be sent here, and if not, why.
pub(super) fn ready(hub: &Core) -> Answer {
    let reason = if hub.is_draining() {
        "the hub stops"
    } else if !hub.verifier.has_keys() {
        "the issuer's keys (JWKS) could not be fetched yet"
    } else if hub.engine.figures().store_failing {
        "the store cannot be written; is the disk full?"
    } else {
        return Ok(HttpResponse::Ok().json(json!({"status": "ready"})));
    };
    Err(HttpResponse::ServiceUnavailable()
        .insert_header((header::RETRY_AFTER, UNREADY_TIME))
        .json(json!({"status": "not ready", "reason": reason})))
}

/// `/metrics`: JSON as in the original, or the text format for who asks for it, as Prometheus does.
pub(super) fn metrics(request: &HttpRequest, hub: &Core) -> HttpResponse {
    let figures = hub.table().snapshot();
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    let asked = parameter(request, "format").is_some_and(|format| format == "prometheus");
    if asked || accept.contains("openmetrics-text") || accept.contains("text/plain") {
        let page = hub.metrics.encode(&figures, &hub.engine.figures());
        return HttpResponse::Ok()
            .content_type(prometheus::CONTENT_TYPE)
            .body(page);
    }
    HttpResponse::Ok().json(classic::metrics(&figures, Now::read().epoch))
}

/// `/connections?user_id=U&after=N`.
pub(super) fn connections(request: &HttpRequest, hub: &Core) -> Answer {
    administrator(request, hub)?;
    let user = parameter(request, "user_id");
    let after = match parameter(request, "after") {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| detail(StatusCode::BAD_REQUEST, "after must be a number"))?,
    };
    let table = hub.table();
    let found = state::connections(&table, user.as_deref(), after, Now::read());
    Ok(HttpResponse::Ok().json(found))
}

/// `/rooms`.
pub(super) fn rooms(request: &HttpRequest, hub: &Core) -> Answer {
    administrator(request, hub)?;
    Ok(HttpResponse::Ok().json(state::rooms(&hub.table(), Now::read())))
}

/// `/limits`.
pub(super) fn limits(request: &HttpRequest, hub: &Core) -> Answer {
    administrator(request, hub)?;
    Ok(HttpResponse::Ok().json(state::limits(&hub.config.limits, &hub.metrics)))
}

fn parameter(request: &HttpRequest, name: &str) -> Option<String> {
    let query = request.query_string().as_bytes();
    let mut pairs = form_urlencoded::parse(query);
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Lets in the administrator. Without an administrator's token there is nothing here.
fn administrator(request: &HttpRequest, hub: &Core) -> Result<(), HttpResponse> {
    let Some(secret) = &hub.config.admin_token else {
        return Err(detail(StatusCode::NOT_FOUND, "Not Found"));
    };
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .map(bearer)
        .unwrap_or_default();
    if same_secret(given.as_bytes(), secret.bytes()) {
        return Ok(());
    }
    Err(HttpResponse::Unauthorized()
        .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
        .json(json!({"detail": "This needs the administrator's token"})))
}

#[cfg(test)]
#[path = "operator_tests.rs"]
mod tests;
