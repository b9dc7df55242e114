//! What a worker, and likewise a client, makes of the hub's STUN and TURN servers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rtc::{IceServer, usable_servers};
use crate::wire;

/// The shortest time until new credentials are asked for, whatever the clocks of hub and worker say.
const SOONEST: Duration = Duration::from_secs(10 * 60);
/// The longest.
const LATEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The servers that connections can use, of those that the hub names.
pub(crate) fn ice_servers(servers: &[wire::IceServer]) -> Vec<IceServer> {
    let servers = servers.iter().map(|server| IceServer {
        urls: server.urls.clone(),
        username: server.username.clone().unwrap_or_default(),
        credential: server.credential.clone().unwrap_or_default(),
    });
    usable_servers(servers.collect())
}

/// A candidate as the hub's `candidate` frame carries it; there is one media line, the channels'.
pub(crate) fn candidate_value(candidate: &str) -> Value {
    json!({ "candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0 })
}

/// When to ask for new credentials: when half of the time of the shortest-lived is over. `None` when none expires.
/// `now_epoch` is in seconds since 1970.
pub(super) fn refresh_in(servers: &[IceServer], now_epoch: u64) -> Option<Duration> {
    let expiries = servers.iter().filter_map(|server| {
        let (expiry, _) = server.username.split_once(':')?;
        expiry.parse::<u64>().ok()
    });
    let left = expiries.min()?.saturating_sub(now_epoch);
    Some(Duration::from_secs(left / 2).clamp(SOONEST, LATEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_at_half_their_time() {
        let server = |username: &str| IceServer {
            username: username.to_owned(),
            ..IceServer::default()
        };
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (usernames, expected) in [
            (vec![], None),
            (vec![""], None),
            (vec!["lab"], None),
            (vec!["lab:7"], None),
            (vec!["143200:W1"], Some(hours(6))),
            (vec!["", "143200:W1", "186400:W1"], Some(hours(6))),
            (vec!["99000:W1"], Some(SOONEST)),
            (vec!["100001:W1"], Some(SOONEST)),
            (vec!["18446744073709551615:W1"], Some(LATEST)),
        ] {
            let servers: Vec<_> = usernames.iter().map(|name| server(name)).collect();
            assert_eq!(refresh_in(&servers, 100_000), expected, "{usernames:?}");
        }
    }
}
