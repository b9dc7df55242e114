//! The HTTP requests of signalling-server.md, section 1a, and the choice between them and a WebSocket.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};

use super::Service;
use super::directory::{Admit, CreateRoom, Delete, Doomed, Figures};
use super::metrics;
use super::socket;
use super::table::{Now, RoomRefused, deleted};
use super::tokens::bearer;

/// The paths kept for the token dialect of websocket-connection.md.
const TOKEN_DIALECT: [&str; 2] = ["/ws", "/ws/"];

/// A response, or the refusal that takes its place.
type Answer = Result<HttpResponse, HttpResponse>;

/// Every request: a WebSocket on any path, else one of the few that there are.
pub(super) async fn entry(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Service>,
) -> HttpResponse {
    let path = request.path().to_owned();
    let upgrade = asks_for_websocket(&request);
    if TOKEN_DIALECT.contains(&path.as_str()) {
        return detail(
            StatusCode::NOT_FOUND,
            "This hub does not serve the token dialect; connect to / and register",
        );
    }
    if upgrade {
        return socket::open(&request, payload.into_inner(), &hub).await;
    }
    let post = request.method() == Method::POST;
    let get = request.method() == Method::GET;
    let payload = payload.into_inner();
    let answer = match path.as_str() {
        "/anonymous-signin" if post => sign_in(&request, &hub).await,
        "/create-room" if post => create_room(&request, &hub).await,
        "/delete-peer" if post => delete_peer(&request, payload, &hub).await,
        "/delete-peers-and-room" if post => delete_peers_and_room(&request, payload, &hub).await,
        "/health" if get => Ok(HttpResponse::Ok().json(metrics::health(Now::read().epoch))),
        "/metrics" if get => figures(&hub).await,
        "/anonymous-signin" | "/create-room" | "/delete-peer" | "/delete-peers-and-room" => {
            Err(not_allowed("POST"))
        }
        "/health" | "/metrics" => Err(not_allowed("GET")),
        "/" if get => Err(HttpResponse::UpgradeRequired()
            .insert_header((header::UPGRADE, "websocket"))
            .json(json!({"detail": "This is a signalling server: connect with a WebSocket"}))),
        _ => Err(detail(StatusCode::NOT_FOUND, "Not Found")),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

fn asks_for_websocket(request: &HttpRequest) -> bool {
    let upgrade = request
        .headers()
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok());
    request.method() == Method::GET
        && upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

async fn sign_in(request: &HttpRequest, hub: &Service) -> Answer {
    admit(request, hub).await?;
    let username = uuid::Uuid::new_v4().to_string();
    match hub.tokens.issue(&username) {
        Ok(id_token) => {
            Ok(HttpResponse::Ok().json(json!({"id_token": id_token, "username": username})))
        }
        Err(error) => Err(detail(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("Anonymous sign-in failed: {error}"),
        )),
    }
}

async fn create_room(request: &HttpRequest, hub: &Service) -> Answer {
    let Some(authorization) = request.headers().get(header::AUTHORIZATION) else {
        return Err(invalid(json!([{
            "type": "missing", "loc": ["header", "authorization"], "msg": "Field required", "input": null,
        }])));
    };
    let token = bearer(authorization.to_str().unwrap_or_default());
    let user = hub.tokens.verify(token).map_err(|error| {
        detail(
            StatusCode::UNAUTHORIZED,
            &format!("Token verification failed: {error}"),
        )
    })?;
    admit(request, hub).await?;
    match hub.directory.send(CreateRoom(user)).await {
        Ok(Ok((room_id, token))) => {
            Ok(HttpResponse::Ok().json(json!({"room_id": room_id, "token": token})))
        }
        Ok(Err(RoomRefused::TooManyOfUser)) => {
            let time = hub.config.room_lifetime.as_secs().max(1);
            Err(HttpResponse::TooManyRequests()
                .insert_header((header::RETRY_AFTER, time))
                .json(json!({"detail": "This user has as many rooms as one may have"})))
        }
        Ok(Err(RoomRefused::HubFull)) => Err(come_back_later(Duration::from_secs(60))),
        Err(_) => Err(come_back_later(Duration::from_secs(5))),
    }
}

/// Counts a request that costs the hub something against the address that it comes from.
async fn admit(request: &HttpRequest, hub: &Service) -> Result<(), HttpResponse> {
    let Some(from) = request.peer_addr() else {
        return Ok(());
    };
    match hub.directory.send(Admit(from.ip())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(wait)) => Err(HttpResponse::TooManyRequests()
            .insert_header((header::RETRY_AFTER, wait.as_secs() + 1))
            .json(json!({"detail": "Too many requests from this address"}))),
        Err(_) => Err(come_back_later(Duration::from_secs(5))),
    }
}

async fn delete_peer(request: &HttpRequest, payload: Payload, hub: &Service) -> Answer {
    let body = body(payload, hub).await?;
    match named(&body, "peer_id") {
        Some(id) => delete(Doomed::Peer(id), request, &body, hub).await,
        None => Ok(status(deleted::ALREADY_GONE)),
    }
}

async fn delete_peers_and_room(request: &HttpRequest, payload: Payload, hub: &Service) -> Answer {
    let body = body(payload, hub).await?;
    match (named(&body, "room_id"), named(&body, "peer_id")) {
        (Some(room), _) => delete(Doomed::Room(room), request, &body, hub).await,
        (None, Some(peer)) => delete(Doomed::RoomOf(peer), request, &body, hub).await,
        (None, None) => Ok(status(deleted::NO_PEER)),
    }
}

/// Deletes as the user of the id token, which is in the header or in the body's `id_token`. The original's peers send
/// none, having closed their socket before: then there is nothing left that needs one.
async fn delete(
    what: Doomed,
    request: &HttpRequest,
    body: &Map<String, Value>,
    hub: &Service,
) -> Answer {
    let header = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = header
        .map(bearer)
        .or_else(|| body.get("id_token").and_then(Value::as_str));
    let caller = token.and_then(|token| hub.tokens.verify(token).ok());
    match hub.directory.send(Delete { what, caller }).await {
        Ok(outcome) => Ok(status(outcome)),
        Err(_) => Err(come_back_later(Duration::from_secs(5))),
    }
}

async fn figures(hub: &Service) -> Answer {
    match hub.directory.send(Figures).await {
        Ok(figures) => Ok(HttpResponse::Ok().json(metrics::metrics(&figures, Now::read().epoch))),
        Err(_) => Err(come_back_later(Duration::from_secs(5))),
    }
}

fn named(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key)
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

/// A JSON object as the request's body, of bounded size and time. The refusals have the original's shape.
async fn body(payload: Payload, hub: &Service) -> Result<Map<String, Value>, HttpResponse> {
    let limits = &hub.config.limits;
    let reading = actix_web::body::to_bytes_limited(
        actix_web::body::BodyStream::new(payload),
        limits.body_bytes,
    );
    let bytes = match tokio::time::timeout(limits.request_time, reading).await {
        Ok(Ok(Ok(bytes))) => bytes,
        Ok(Ok(Err(_))) => {
            return Err(detail(
                StatusCode::BAD_REQUEST,
                "The request body could not be read",
            ));
        }
        Ok(Err(_)) => {
            return Err(detail(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Request body too large",
            ));
        }
        Err(_) => {
            return Err(detail(
                StatusCode::REQUEST_TIMEOUT,
                "The request body took too long",
            ));
        }
    };
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

fn detail(code: StatusCode, what: &str) -> HttpResponse {
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
