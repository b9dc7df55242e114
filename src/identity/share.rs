//! One line that makes another machine a further device of the same user.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Identity, new_device_id};
use crate::actors::session::HubUrl;
use crate::wire::{MAX_ID_BYTES, MAX_TOKEN_BYTES};

const PREFIX: &str = "loaner-identity:";
/// The longest line that is read, in bytes.
const MAX_LINE: usize = 2 * MAX_TOKEN_BYTES;

/// A user at a hub, to be handed to another device. `Display` writes the line, `FromStr` reads it. Secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The hub's address.
    #[serde(rename = "h")]
    pub hub: String,
    /// The user.
    #[serde(rename = "u")]
    pub user: String,
    /// Signs the user in. Secret.
    #[serde(rename = "r")]
    pub refresh_token: String,
}

/// Why a line is no identity. The line itself is secret and is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The prefix is missing.
    #[error(
        "this is no identity: it begins with `{PREFIX}`; copy the whole line that `loaner identity --share` printed"
    )]
    NoPrefix,
    /// What follows the prefix is damaged.
    #[error(
        "the identity is damaged or cut short; copy it again from `loaner identity --share`, whole and in one line"
    )]
    Damaged,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("hub", &self.hub)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Three strings always have a JSON form.
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let text = text.trim();
        let body = text.strip_prefix(PREFIX).ok_or(ShareError::NoPrefix)?;
        if body.len() > MAX_LINE {
            return Err(ShareError::Damaged);
        }
        let json = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| ShareError::Damaged)?;
        let share: Share = serde_json::from_slice(&json).map_err(|_| ShareError::Damaged)?;
        let fits = |text: &str, max| {
            !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control)
        };
        let sound = share.hub.parse::<HubUrl>().is_ok()
            && fits(&share.user, MAX_ID_BYTES)
            && fits(&share.refresh_token, MAX_TOKEN_BYTES);
        sound.then_some(share).ok_or(ShareError::Damaged)
    }
}

impl From<&Identity> for Share {
    fn from(identity: &Identity) -> Self {
        Share {
            hub: identity.hub.clone(),
            user: identity.user.clone(),
            refresh_token: identity.refresh_token.clone(),
        }
    }
}

impl Share {
    /// The same user, on a new device.
    pub fn adopt(self) -> Identity {
        Identity {
            hub: self.hub,
            user: self.user,
            refresh_token: self.refresh_token,
            device_id: new_device_id(),
            introduced: false,
        }
    }
}
