//! Bodies of the hub's HTTP requests and answers (protocol page, section 2).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::json::{self, Fields};
use crate::wire::{Hidden, MAX_TOKEN_BYTES, WireError};

/// The body of `POST /anonymous-signin`, which hubs of old do not read.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct SignInAgain {
    /// What an earlier sign-in gave: the user is to be the same. Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Which device of the user this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
}

impl fmt::Debug for SignInAgain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInAgain")
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

/// The answer to `POST /anonymous-signin`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// The identity token, a JWT. Secret.
    pub id_token: String,
    /// The name given to the caller; it is the caller's peer id from then on.
    pub username: String,
    /// Signs the same user in again; hubs of old give none. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

impl SignIn {
    /// Reads the answer; token and name must be there. Unknown fields are ignored.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let map = json::object(text)?;
        Ok(Self {
            id_token: id_token(Fields(&map))?,
            username: Fields(&map).id("username")?,
            refresh_token: match Fields(&map).get("refresh_token") {
                None => None,
                Some(_) => Some(Fields(&map).text("refresh_token", MAX_TOKEN_BYTES)?),
            },
        })
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("id_token", &Hidden)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The answer to `POST /create-room`: what one needs to enter the room.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomCredentials {
    /// The room.
    pub room_id: String,
    /// The room's token. Secret.
    pub token: String,
}

impl RoomCredentials {
    /// Reads the answer; both fields must be there. Unknown fields are ignored.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let map = json::object(text)?;
        Ok(Self {
            room_id: Fields(&map).id("room_id")?,
            token: Fields(&map).id("token")?,
        })
    }
}

impl fmt::Debug for RoomCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomCredentials")
            .field("room_id", &self.room_id)
            .field("token", &Hidden)
            .finish()
    }
}

/// The body of `POST /delete-peer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletePeer {
    /// The peer to forget.
    pub peer_id: String,
}

impl DeletePeer {
    /// Reads the request. Unknown fields are ignored.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let map = json::object(text)?;
        Ok(Self {
            peer_id: Fields(&map).id("peer_id")?,
        })
    }
}

/// An identity token: not empty, and no longer than tokens are.
pub(super) fn id_token(fields: Fields<'_>) -> Result<String, WireError> {
    const FIELD: &str = "id_token";
    let token = fields.text(FIELD, MAX_TOKEN_BYTES)?;
    if token.is_empty() {
        return Err(WireError::bad(FIELD, "it is empty"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn bodies_are_read_and_written_as_the_page_has_them() {
        let text = r#"{"id_token":"a.b.c","username":"f78b"}"#;
        let sign_in = SignIn::parse(text).unwrap();
        assert_eq!(
            (sign_in.id_token.as_str(), sign_in.username.as_str()),
            ("a.b.c", "f78b")
        );
        assert_eq!(json::text(&sign_in), text);
        assert_eq!(sign_in.refresh_token, None);
        let text = r#"{"id_token":"a.b.c","username":"f78b","refresh_token":"d.e.f"}"#;
        let sign_in = SignIn::parse(text).unwrap();
        assert_eq!(sign_in.refresh_token.as_deref(), Some("d.e.f"));
        assert_eq!(json::text(&sign_in), text);

        let text = r#"{"room_id":"4fad4e39","token":"d3cc46"}"#;
        let room = RoomCredentials::parse(text).unwrap();
        assert_eq!(
            (room.room_id.as_str(), room.token.as_str()),
            ("4fad4e39", "d3cc46")
        );
        assert_eq!(json::text(&room), text);

        let text = r#"{"peer_id":"f78b"}"#;
        let delete = DeletePeer::parse(text).unwrap();
        assert_eq!(delete.peer_id, "f78b");
        assert_eq!(json::text(&delete), text);
    }

    #[test]
    fn an_incomplete_answer_is_told_by_its_missing_field() {
        let sign_in = |body: serde_json::Value| SignIn::parse(&body.to_string()).unwrap_err();
        assert_eq!(
            sign_in(json!({"username": "u"})),
            WireError::MissingField("id_token")
        );
        assert_eq!(
            sign_in(json!({"id_token": "t"})),
            WireError::MissingField("username")
        );
        let is_bad =
            |error, name| matches!(error, WireError::BadField { field, .. } if field == name);
        assert!(is_bad(
            sign_in(json!({"id_token": "", "username": "u"})),
            "id_token"
        ));
        assert!(is_bad(
            sign_in(json!({"id_token": "t".repeat(20_000), "username": "u"})),
            "id_token"
        ));
        assert!(is_bad(
            sign_in(json!({"id_token": "t", "username": "u\n"})),
            "username"
        ));
        assert!(RoomCredentials::parse("<html>502</html>").is_err());
        assert!(DeletePeer::parse("{}").is_err());
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let sign_in = r#"{"id_token":"s3cret","username":"u","refresh_token":"s3cret"}"#;
        let sign_in = SignIn::parse(sign_in).unwrap();
        let room = RoomCredentials::parse(r#"{"room_id":"r","token":"s3cret"}"#).unwrap();
        assert!(!format!("{sign_in:?} {room:?}").contains("s3cret"));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_readers_panic(body in any::<String>()) {
            let _ = (SignIn::parse(&body), RoomCredentials::parse(&body), DeletePeer::parse(&body));
        }
    }
}
