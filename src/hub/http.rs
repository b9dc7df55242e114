//! The HTTP requests of signalling-server.md, section 1a, and those of an operator.

use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::auth::TokenError;
use super::core::Core;
use super::deletion::deleted;
use super::handshake::DEVICE_PATHS;
use super::table::{Now, RoomRefused};
use super::tokens::bearer;
use super::{access, metrics, operator};

/// A response, or the refusal that takes its place.
pub(super) type Answer = Result<HttpResponse, HttpResponse>;

/// Every request that does not ask for a WebSocket.
pub(super) async fn entry(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Core>,
) -> HttpResponse {
    let start = Instant::now();
    let response = answer(&request, payload.into_inner(), &hub)
        .await
        .unwrap_or_else(|refusal| refusal);
    access::request(
        &hub,
        request.head(),
        request.peer_addr(),
        response.status(),
        start,
    );
    response
}

async fn answer(request: &HttpRequest, payload: Payload, hub: &Core) -> Answer {
    let path = request.path();
    let post = request.method() == Method::POST;
    let get = request.method() == Method::GET;
    match path {
        "/anonymous-signin" if post => sign_in(request, payload, hub).await,
        "/create-room" if post => create_room(request, hub).await,
        "/delete-peer" if post => delete_peer(request, payload, hub).await,
        "/delete-peers-and-room" if post => delete_peers_and_room(request, payload, hub).await,
        "/health" if get => Ok(HttpResponse::Ok().json(metrics::health(Now::read().epoch))),
        "/ready" if get => operator::ready(hub),
        "/metrics" if get => Ok(operator::metrics(request, hub)),
        "/connections" if get => operator::connections(request, hub),
        "/rooms" if get => operator::rooms(request, hub),
        "/limits" if get => operator::limits(request, hub),
        "/anonymous-signin" | "/create-room" | "/delete-peer" | "/delete-peers-and-room" => {
            Err(not_allowed("POST"))
        }
        "/health" | "/ready" | "/metrics" | "/connections" | "/rooms" | "/limits" => {
            Err(not_allowed("GET"))
        }
        _ if get && (path == "/" || DEVICE_PATHS.contains(&path)) => {
            Err(HttpResponse::UpgradeRequired()
                .insert_header((header::UPGRADE, "websocket"))
                .json(json!({"detail": "This is a signalling server: connect with a WebSocket"})))
        }
        _ => Err(detail(StatusCode::NOT_FOUND, "Not Found")),
    }
}

/// What a sign-in may ask for, in its body. The original's peers send none.
#[derive(Default, serde::Deserialize)]
struct SignInAgain {
    /// The refresh token of an earlier sign-in: the user is the same then.
    refresh_token: Option<String>,
    /// What the device calls itself; the token is good for the device dialect with it.
    device_id: Option<String>,
}

/// Characters of a device's name for itself, at most.
const DEVICE_CHARS: usize = 128;

async fn sign_in(request: &HttpRequest, payload: Payload, hub: &Core) -> Answer {
    admit(request, hub)?;
    // Whatever else is in a body counts as none, as in the original.
    let bytes = bytes(payload, hub).await.unwrap_or_default();
    let again: SignInAgain = serde_json::from_slice(&bytes).unwrap_or_default();
    let refused = |error: &dyn std::fmt::Display| {
        let text = format!("Anonymous sign-in failed: {error}");
        detail(StatusCode::INTERNAL_SERVER_ERROR, &text)
    };
    let username = match &again.refresh_token {
        None => uuid::Uuid::new_v4().to_string(),
        Some(token) => hub.verifier.verify_refresh(token).map_err(|error| {
            let text = format!("Sign-in failed: {error}; sign in without a refresh token");
            detail(StatusCode::UNAUTHORIZED, &text)
        })?,
    };
    let device = again.device_id.as_deref();
    if device.is_some_and(|id| {
        id.is_empty() || id.chars().count() > DEVICE_CHARS || id.chars().any(char::is_control)
    }) {
        return Err(detail(StatusCode::BAD_REQUEST, "Invalid device_id"));
    }
    let id_token = hub
        .verifier
        .issue(&username, &username, device)
        .map_err(|error| refused(&error))?;
    let mut answer = json!({"id_token": id_token, "username": username});
    // Only for those who know what it is: the others get the original's answer.
    if device.is_some() || again.refresh_token.is_some() {
        let refresh_token = hub
            .verifier
            .issue_refresh(&username)
            .map_err(|error| refused(&error))?;
        answer["refresh_token"] = refresh_token.into();
    }
    Ok(HttpResponse::Ok().json(answer))
}

async fn create_room(request: &HttpRequest, hub: &Core) -> Answer {
    let Some(authorization) = request.headers().get(header::AUTHORIZATION) else {
        return Err(invalid(json!([{
            "type": "missing", "loc": ["header", "authorization"], "msg": "Field required", "input": null,
        }])));
    };
    let token = bearer(authorization.to_str().unwrap_or_default());
    let user = user(hub, token).await.map_err(|error| {
        detail(
            StatusCode::UNAUTHORIZED,
            &format!("Token verification failed: {error}"),
        )
    })?;
    admit(request, hub)?;
    let created = hub.table().create_room(&user, Now::read());
    match created {
        Ok((room_id, token)) => {
            Ok(HttpResponse::Ok().json(json!({"room_id": room_id, "token": token})))
        }
        Err(RoomRefused::TooManyOfUser) => {
            let time = hub.config.room_lifetime.as_secs().max(1);
            Err(HttpResponse::TooManyRequests()
                .insert_header((header::RETRY_AFTER, time))
                .json(json!({"detail": "This user has as many rooms as one may have"})))
        }
        Err(RoomRefused::HubFull) => Err(come_back_later(Duration::from_secs(60))),
    }
}

/// Counts a request that costs the hub something against the address that it comes from.
fn admit(request: &HttpRequest, hub: &Core) -> Result<(), HttpResponse> {
    let Some(from) = request.peer_addr() else {
        return Ok(());
    };
    hub.admit_signin(from.ip()).map_err(|wait| {
        HttpResponse::TooManyRequests()
            .insert_header((header::RETRY_AFTER, wait.as_secs() + 1))
            .json(json!({"detail": "Too many requests from this address"}))
    })
}

async fn delete_peer(request: &HttpRequest, payload: Payload, hub: &Core) -> Answer {
    let body = body(payload, hub).await?;
    match named(&body, "peer_id") {
        Some(id) => delete(Doomed::Peer(id), request, &body, hub).await,
        None => Ok(status(deleted::ALREADY_GONE)),
    }
}

async fn delete_peers_and_room(request: &HttpRequest, payload: Payload, hub: &Core) -> Answer {
    let body = body(payload, hub).await?;
    match (named(&body, "room_id"), named(&body, "peer_id")) {
        (Some(room), _) => delete(Doomed::Room(room), request, &body, hub).await,
        (None, Some(peer)) => delete(Doomed::RoomOf(peer), request, &body, hub).await,
        (None, None) => Ok(status(deleted::NO_PEER)),
    }
}

/// The user of an id token.
async fn user(hub: &Core, token: &str) -> Result<String, TokenError> {
    let identity = hub.verifier.verify_fetching(token).await?;
    Ok(identity.user)
}

/// What is to be deleted.
enum Doomed {
    Peer(String),
    Room(String),
    RoomOf(String),
}

/// Deletes as the user of the id token, which is in the header or in the body's `id_token`. The original's peers send
/// none, having closed their socket before: then there is nothing left that needs one.
async fn delete(
    what: Doomed,
    request: &HttpRequest,
    body: &Map<String, Value>,
    hub: &Core,
) -> Answer {
    let header = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = header
        .map(bearer)
        .or_else(|| body.get("id_token").and_then(Value::as_str));
    let caller = match token {
        Some(token) => user(hub, token).await.ok(),
        None => None,
    };
    let (caller, now) = (caller.as_deref(), Now::read());
    let mut table = hub.table();
    Ok(status(match what {
        Doomed::Peer(id) => table.delete_peer(&id, caller, now),
        Doomed::Room(id) => table.delete_room(&id, caller, now),
        Doomed::RoomOf(id) => table.delete_room_of(&id, caller, now),
    }))
}

fn named(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key)
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

/// The request's body, of bounded size and time.
async fn bytes(payload: Payload, hub: &Core) -> Result<web::Bytes, HttpResponse> {
    let limits = &hub.config.limits;
    let reading = actix_web::body::to_bytes_limited(
        actix_web::body::BodyStream::new(payload),
        limits.body_bytes,
    );
    match tokio::time::timeout(limits.request_time, reading).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_))) => Err(detail(
            StatusCode::BAD_REQUEST,
            "The request body could not be read",
        )),
        Ok(Err(_)) => Err(detail(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Request body too large",
        )),
        Err(_) => Err(detail(
            StatusCode::REQUEST_TIMEOUT,
            "The request body took too long",
        )),
    }
}

/// A JSON object as the request's body. The refusals have the original's shape.
async fn body(payload: Payload, hub: &Core) -> Result<Map<String, Value>, HttpResponse> {
    let bytes = bytes(payload, hub).await?;
    if bytes.is_empty() {
        return Err(invalid(
            json!([{"type": "missing", "loc": ["body"], "msg": "Field required", "input": null}]),
        ));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(invalid(json!([{
            "type": "dict_type", "loc": ["body"], "msg": "Input should be a valid dictionary", "input": other,
        }]))),
        Err(error) => {
            let lines = bytes
                .split(|byte| *byte == b'\n')
                .take(error.line().saturating_sub(1));
            let at =
                lines.map(|line| line.len() + 1).sum::<usize>() + error.column().saturating_sub(1);
            Err(invalid(json!([{
                "type": "json_invalid", "loc": ["body", at], "msg": "JSON decode error", "input": {},
                "ctx": {"error": error.to_string()},
            }])))
        }
    }
}

fn status(outcome: &str) -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": outcome}))
}

pub(super) fn detail(code: StatusCode, what: &str) -> HttpResponse {
    HttpResponse::build(code).json(json!({"detail": what}))
}

fn invalid(what: Value) -> HttpResponse {
    HttpResponse::UnprocessableEntity().json(json!({"detail": what}))
}

fn not_allowed(allow: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, allow))
        .json(json!({"detail": "Method Not Allowed"}))
}

/// The hub is full, or stops.
pub(super) fn come_back_later(wait: Duration) -> HttpResponse {
    HttpResponse::ServiceUnavailable()
        .insert_header((header::RETRY_AFTER, wait.as_secs().max(1)))
        .json(json!({"detail": "The hub is at its limit; come back later"}))
}
