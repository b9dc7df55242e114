//! Signing in: with the identity that is kept, or, where there is none or the hub does not know it any more, anew.

use super::http;
use super::{HubAccess, SessionError};
use crate::identity::Identity;
use crate::wire::{SignIn, SignInAgain};

/// Signs in under the identity that `hub` keeps; a new one is kept there. Hubs of old give none that could be kept, and
/// each sign-in is a new user.
///
/// # Errors
/// When the hub cannot be reached, or refuses. That an identity cannot be kept is only logged.
pub async fn sign_in(http: &awc::Client, hub: &HubAccess) -> Result<SignIn, SessionError> {
    let known = load(hub);
    if let Some(known) = &known
        && let Some(answer) = again(http, hub, known).await?
    {
        return Ok(answer);
    }
    // Of several processes that have no identity, one gets it, and the others find it.
    let lock = hub.keeper.lock().await;
    if let Err(error) = &lock {
        tracing::debug!(%error, "the identity is not locked");
    }
    let found = load(hub);
    if let Some(found) = found.filter(|found| known.as_ref() != Some(found))
        && let Some(answer) = again(http, hub, &found).await?
    {
        return Ok(answer);
    }
    if let Some(known) = &known {
        tracing::warn!(
            target: "loaner::identity",
            user = known.user,
            "the hub does not know this machine's user any more; there is a new one now, and what waited for the old one is gone"
        );
    }
    anew(http, hub, known).await
}

fn load(hub: &HubAccess) -> Option<Identity> {
    hub.keeper.load().unwrap_or_else(|error| {
        tracing::warn!(target: "loaner::identity", %error, "the identity cannot be read");
        None
    })
}

/// Signs in as somebody; nothing comes back where the hub does not know them.
pub(crate) async fn sign_in_as(
    http: &awc::Client,
    hub: &HubAccess,
    known: &Identity,
) -> Result<Option<SignIn>, SessionError> {
    let body = SignInAgain {
        refresh_token: Some(known.refresh_token.clone()),
        device_id: Some(known.device_id.clone()),
    };
    http::sign_in(http, &hub.url, &body).await
}

async fn again(
    http: &awc::Client,
    hub: &HubAccess,
    known: &Identity,
) -> Result<Option<SignIn>, SessionError> {
    let answer = sign_in_as(http, hub, known).await?;
    // A hub that has forgotten how to do this gives somebody else's name.
    let answer = answer.filter(|answer| answer.username == known.user);
    if let Some(token) = answer
        .as_ref()
        .and_then(|answer| answer.refresh_token.as_ref())
        && *token != known.refresh_token
    {
        keep(
            hub,
            Identity {
                refresh_token: token.clone(),
                ..known.clone()
            },
        );
    }
    Ok(answer)
}

async fn anew(
    http: &awc::Client,
    hub: &HubAccess,
    known: Option<Identity>,
) -> Result<SignIn, SessionError> {
    let device_id = match known {
        Some(known) => known.device_id,
        None => hub.keeper.device_id().to_owned(),
    };
    // Who names a device is given what signs it in again; hubs of old do not read this.
    let body = SignInAgain {
        refresh_token: None,
        device_id: Some(device_id.clone()),
    };
    let answer = http::sign_in(http, &hub.url, &body).await?;
    let answer = answer.ok_or_else(|| SessionError::SignIn {
        hub: hub.url.to_string(),
        detail: "it gives no identity".to_owned(),
    })?;
    if let Some(refresh_token) = &answer.refresh_token {
        keep(
            hub,
            Identity {
                hub: hub.url.to_string(),
                user: answer.username.clone(),
                refresh_token: refresh_token.clone(),
                device_id,
                introduced: false,
            },
        );
    }
    Ok(answer)
}

fn keep(hub: &HubAccess, identity: Identity) {
    if let Err(error) = hub.keeper.save(identity) {
        tracing::warn!(
            target: "loaner::identity",
            %error,
            "the identity cannot be kept: everything works, but `loaner inbox` will not find what is sent to this user"
        );
    }
}
