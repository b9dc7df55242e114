//! The HTTP side of a session: sign-in, room, goodbye (the classic endpoints of the signalling server).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::StatusCode;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use url::Url;

use super::SessionError;
use crate::wire::{DeletePeer, RoomCredentials, SignIn, SignInAgain};

/// No answer of these endpoints is larger than this.
const MAX_BODY: usize = 64 * 1024;
/// How long the goodbye may take: nobody likes to wait at the door.
const GOODBYE: Duration = Duration::from_secs(3);

/// The address of a hub: `http`, `https`, `ws` or `wss`; HTTP and WebSocket are on one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubUrl(Url);

/// The address of the hub is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not the address of a hub ({why}); give it as http://HOST:PORT or https://HOST"
)]
pub struct HubUrlError {
    given: String,
    why: String,
}

impl FromStr for HubUrl {
    type Err = HubUrlError;

    fn from_str(text: &str) -> Result<Self, HubUrlError> {
        let wrong = |why: String| HubUrlError {
            given: text.to_owned(),
            why,
        };
        let mut url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        let scheme = match url.scheme() {
            "http" | "ws" => "http",
            "https" | "wss" => "https",
            other => return Err(wrong(format!("the scheme is `{other}`"))),
        };
        url.set_scheme(scheme)
            .map_err(|()| wrong("the scheme cannot be used".to_owned()))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("there is no host".to_owned()));
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(HubUrl(url))
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl HubUrl {
    pub(crate) fn endpoint(&self, path: &str) -> String {
        format!("{self}/{path}")
    }

    /// Where the WebSocket is.
    pub fn socket(&self) -> String {
        let text = self.0.as_str();
        match text.strip_prefix("https") {
            Some(rest) => format!("wss{rest}"),
            None => format!("ws{}", text.trim_start_matches("http")),
        }
    }

    /// Where devices connect.
    pub fn device_socket(&self) -> String {
        format!("{}/ws/", self.socket().trim_end_matches('/'))
    }
}

/// How long a request to a hub may take.
pub const REQUEST: Duration = Duration::from_secs(8);

/// Asks for an identity (worker-state.md, Anonymous Sign-in), or signs in with one. Nothing comes back where the hub does
/// not take the refresh token.
pub async fn sign_in(
    http: &awc::Client,
    hub: &HubUrl,
    body: &SignInAgain,
) -> Result<Option<SignIn>, SessionError> {
    // Hubs of old do not read the body.
    let request = http.post(hub.endpoint("anonymous-signin")).send_json(body);
    let refused = |hub: String, detail| SessionError::SignIn { hub, detail };
    let (status, text) = body_of(hub, request, &refused).await?;
    if status == StatusCode::UNAUTHORIZED && body.refresh_token.is_some() {
        return Ok(None);
    }
    read(hub, status, &text, refused).map(Some)
}

/// Asks for a room (worker-state.md, Room Creation).
pub async fn create_room(
    http: awc::Client,
    hub: HubUrl,
    id_token: String,
) -> Result<RoomCredentials, SessionError> {
    let request = http
        .post(hub.endpoint("create-room"))
        .bearer_auth(id_token)
        .insert_header(("Content-Length", "0"))
        .send();
    answer(&hub, request, |hub, detail| SessionError::Room {
        hub,
        detail,
    })
    .await
}

/// Asks the hub to forget a peer, and its room when it is empty (worker-state.md, Room Deletion).
pub async fn delete_peer(
    http: awc::Client,
    hub: HubUrl,
    id_token: String,
    peer_id: String,
) -> Result<(), String> {
    let mut answer = http
        .post(hub.endpoint("delete-peer"))
        .timeout(GOODBYE)
        .bearer_auth(id_token)
        .send_json(&DeletePeer { peer_id })
        .await
        .map_err(|error| error.to_string())?;
    if answer.status() == StatusCode::OK {
        return Ok(());
    }
    let body = answer.body().limit(MAX_BODY).await.unwrap_or_default();
    Err(format!(
        "{}: {}",
        answer.status(),
        String::from_utf8_lossy(&body)
    ))
}

async fn answer<T: DeserializeOwned>(
    hub: &HubUrl,
    request: awc::SendClientRequest,
    refused: impl Fn(String, String) -> SessionError,
) -> Result<T, SessionError> {
    let (status, text) = body_of(hub, request, &refused).await?;
    read(hub, status, &text, refused)
}

async fn body_of(
    hub: &HubUrl,
    request: awc::SendClientRequest,
    refused: &impl Fn(String, String) -> SessionError,
) -> Result<(StatusCode, Bytes), SessionError> {
    let mut response = request.await.map_err(|error| {
        let (hub, detail) = (hub.to_string(), error.to_string());
        match wrong_certificate(&error) {
            true => SessionError::Untrusted { hub, detail },
            false => SessionError::Unreachable { hub, detail },
        }
    })?;
    let body = response
        .body()
        .limit(MAX_BODY)
        .await
        .map_err(|error| refused(hub.to_string(), error.to_string()))?;
    Ok((response.status(), body))
}

fn wrong_certificate(error: &SendRequestError) -> bool {
    let SendRequestError::Connect(ConnectError::Io(error)) = error else {
        return false;
    };
    let why = error.get_ref().and_then(|why| why.downcast_ref());
    matches!(why, Some(rustls::Error::InvalidCertificate(_)))
}

fn read<T: DeserializeOwned>(
    hub: &HubUrl,
    status: StatusCode,
    body: &[u8],
    refused: impl Fn(String, String) -> SessionError,
) -> Result<T, SessionError> {
    if status != StatusCode::OK {
        let text = String::from_utf8_lossy(body);
        return Err(refused(hub.to_string(), format!("{status} {text}")));
    }
    serde_json::from_slice(body).map_err(|error| {
        refused(
            hub.to_string(),
            format!("its answer makes no sense: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_both_its_endpoints_and_its_socket() {
        let hub: HubUrl = "http://127.0.0.1:8080".parse().expect("an address");
        assert_eq!(
            hub.endpoint("create-room"),
            "http://127.0.0.1:8080/create-room"
        );
        assert_eq!(hub.socket(), "ws://127.0.0.1:8080/");
        let hub: HubUrl = "wss://hub.example/lab/".parse().expect("an address");
        assert_eq!(hub.endpoint("health"), "https://hub.example/lab/health");
        assert_eq!(hub.socket(), "wss://hub.example/lab/");
        assert_eq!(hub.device_socket(), "wss://hub.example/lab/ws/");
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for wrong in [
            "", "127.0.0.1:8080", "ftp://x", "http://", "file:///etc/passwd",
        ] {
            let error = wrong.parse::<HubUrl>().expect_err(wrong).to_string();
            assert!(error.contains("http://HOST:PORT"), "{error}");
        }
    }
}
