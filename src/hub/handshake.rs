//! The WebSocket handshake: who may come in, and in which dialect.
//!
//! `/ws` and `/ws/` are the device dialect and need a token; every other path is the signalling dialect, whose peers
//! register once they are in.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_codec::Framed;
use actix_http::body::{BodySize, MessageBody};
use actix_http::h1::{Codec, Message};
use actix_http::header::{
    AUTHORIZATION, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE,
};
use actix_http::{ConnectionType, HttpMessage as _, Request, Response, ws};
use actix_web::HttpResponse;
use futures_util::SinkExt as _;
use serde_json::json;
use url::form_urlencoded;

use super::access;
use super::auth::{TokenError, token_of};
use super::connection::{Guest, Speech};
use super::connections::Full;
use super::core::Core;
use super::device::{DeviceSpeech, Settled};
use super::engine::DeviceKey;
use super::http::come_back_later;
use super::limits::Bucket;
use super::line::Io;
use super::prometheus::Handshake;
use crate::wire::close::CloseCode;
use crate::wire::device::Format;

/// The paths of the device dialect.
pub(super) const DEVICE_PATHS: [&str; 2] = ["/ws", "/ws/"];
/// Characters of a session id that is asked for, at most.
const SESSION_CHARS: usize = 128;

/// Answers an upgrade request: with a refusal, or with a connection.
pub(super) async fn open<T: Io + 'static>(
    request: Request,
    framed: Framed<T, Codec>,
    core: Arc<Core>,
) -> Result<(), actix_http::Error> {
    if let Err(error) = answer(&request, framed, &core).await {
        tracing::debug!(%error, "a peer left during its handshake");
    }
    Ok(())
}

async fn answer<T: Io + 'static>(
    request: &Request,
    mut framed: Framed<T, Codec>,
    core: &Arc<Core>,
) -> io::Result<()> {
    let start = Instant::now();
    let entered = match admit(request, core).await {
        Ok((response, guest)) => {
            let outcome = guest.outcome();
            match guest.enter() {
                // In the table already: a peer that sees the handshake answered can be reached.
                Ok(admitted) => Ok((outcome, response, admitted)),
                Err(full) => Err((Handshake::Refused, refused(full))),
            }
        }
        Err(refusal) => Err(refusal),
    };
    let (outcome, status) = match &entered {
        Ok((outcome, response, _)) => (*outcome, response.status()),
        Err((outcome, refusal)) => (*outcome, refusal.status()),
    };
    core.metrics.handshake(outcome);
    access::request(core, request.head(), request.peer_addr(), status, start);
    match entered {
        Ok((_, response, admitted)) => {
            let head = (response.drop_body(), BodySize::None);
            framed.send(Message::Item(head)).await?;
            let parts = framed.into_parts();
            admitted.serve(Box::new(parts.io), parts.read_buf);
            Ok(())
        }
        Err((_, refusal)) => refuse(&mut framed, refusal).await,
    }
}

type Refusal = (Handshake, HttpResponse);

/// Everything that can be said before there is a connection.
async fn admit<'a>(
    request: &Request,
    core: &'a Arc<Core>,
) -> Result<(Response<()>, Guest<'a>), Refusal> {
    let other = |response| (Handshake::Refused, response);
    let mut handshake = ws::handshake(request.head())
        .map_err(|error| other(HttpResponse::from(Response::from(error))))?;
    if core.is_draining() {
        return Err(other(come_back_later(Duration::from_secs(5))));
    }
    let from = request.peer_addr().map(|addr| addr.ip());
    if let Some(from) = from
        && let Err(wait) = core.admit_handshake(from)
    {
        return Err(other(
            HttpResponse::TooManyRequests()
                .insert_header((RETRY_AFTER, wait.as_secs() + 1))
                .json(json!({"detail": "Too many connections from this address"})),
        ));
    }
    let origin = text(request, &ORIGIN);
    let origins = &core.config.origins;
    if let Some(origin) = origin.filter(|_| !origins.is_empty())
        && !origins
            .iter()
            .any(|known| known.eq_ignore_ascii_case(origin))
    {
        let refusal = HttpResponse::Forbidden()
            .json(json!({"detail": "Pages of this origin may not connect to this hub"}));
        return Err((Handshake::Origin, refusal));
    }
    let rate = f64::from(core.config.limits.socket_bytes_per_second);
    let pace = Bucket::new(rate, 2.0 * rate, Instant::now());
    let mut guest = Guest::new(Speech::Signalling, pace, from, core);
    if DEVICE_PATHS.contains(&request.path()) {
        let protocols = text(request, &SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
        let format = protocols
            .split(',')
            .map(str::trim)
            .find_map(Format::of_protocol);
        if let Some(format) = format {
            handshake.insert_header((SEC_WEBSOCKET_PROTOCOL, format.protocol()));
        }
        let query = Query::of(request.uri().query().unwrap_or_default());
        let authorization = text(request, &AUTHORIZATION);
        let offered = protocols.split(',').map(str::trim);
        let token = token_of(request.uri().query(), authorization, offered);
        match settle(core, token, format, query).await {
            Ok(settled) => {
                let sink = guest.device_sink(&settled);
                let engine = Arc::clone(&core.engine);
                let speech = DeviceSpeech::new(settled, sink, engine, &core.config.limits);
                guest.speak(Speech::Device(Box::new(speech)));
            }
            Err((error, true)) => guest.speak(Speech::TurnedAway(match error {
                TokenError::Expired => CloseCode::TokenExpired,
                _ => CloseCode::TokenInvalid,
            })),
            Err((error, false)) => return Err((Handshake::Unauthorized, unauthorized(&error))),
        }
    }
    let response = handshake
        .message_body(())
        .map_err(|_| other(come_back_later(Duration::from_secs(5))))?;
    Ok((response, guest))
}

/// What a device may say in its address beside the token.
#[derive(Default)]
struct Query {
    resume: Option<String>,
    last: Option<u64>,
    json_ping: bool,
    close_codes: bool,
}

impl Query {
    fn of(query: &str) -> Self {
        let mut all = Query::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let yes = matches!(&*value, "1" | "true");
            match &*key {
                "resume" if value.chars().count() <= SESSION_CHARS => {
                    all.resume = Some(value.into_owned());
                }
                "last" => all.last = value.parse().ok(),
                "json_ping" => all.json_ping = yes,
                "close_codes" => all.close_codes = yes,
                _ => {}
            }
        }
        all
    }
}

/// Finds out who a device is. The error says whether to accept it and close it with a code: a page in a browser cannot
/// read a refused handshake, so it may ask for that.
async fn settle(
    core: &Core,
    token: Option<String>,
    format: Option<Format>,
    query: Query,
) -> Result<Settled, (TokenError, bool)> {
    let told = |error| (error, query.close_codes);
    let token = token.ok_or_else(|| told(TokenError::Missing))?;
    let identity = core.verifier.verify_fetching(&token).await.map_err(told)?;
    let device = identity.require_device().map_err(told)?;
    Ok(Settled {
        key: DeviceKey::new(&identity.user, device),
        format,
        token: identity.expires_in,
        resume: query.resume,
        last: query.last,
        json_ping: query.json_ping,
    })
}

fn unauthorized(error: &TokenError) -> HttpResponse {
    let mut response = match error {
        // Not the device's fault: its keys could not be fetched.
        TokenError::KeysUnavailable => {
            let mut response = HttpResponse::ServiceUnavailable();
            response.insert_header((RETRY_AFTER, 5));
            response
        }
        _ => {
            let mut response = HttpResponse::Unauthorized();
            response.insert_header((WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""));
            response
        }
    };
    response.json(json!({"error": {"code": error.code(), "message": error.to_string()}}))
}

fn text<'a>(request: &'a Request, name: &actix_http::header::HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn refused(full: Full) -> HttpResponse {
    come_back_later(Duration::from_secs(match full {
        Full::Hard => 5,
        Full::Soft => 30,
    }))
}

async fn refuse<T: Io>(framed: &mut Framed<T, Codec>, refusal: HttpResponse) -> io::Result<()> {
    let (mut head, body) = Response::from(refusal).into_parts();
    head.head_mut().set_connection_type(ConnectionType::Close);
    let body = body.try_into_bytes().unwrap_or_default();
    let size = BodySize::Sized(body.len() as u64);
    // In one piece: some clients do not wait for the body of a refused handshake.
    framed.feed(Message::Item((head.drop_body(), size))).await?;
    framed.feed(Message::Chunk(Some(body))).await?;
    framed.feed(Message::Chunk(None)).await?;
    framed.flush().await?;
    framed.close().await
}
