//! One `[[tunnel]]` of a policy.

use serde::Deserialize;

use super::Asker;
use crate::tunnel::forward::Pattern;

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    to: Option<Vec<toml::Spanned<String>>>,
    rooms: Option<Vec<String>>,
    users: Option<Vec<String>>,
}

/// A rule that allows tunnels.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    to: Vec<Pattern>,
    rooms: Option<Vec<String>>,
    users: Option<Vec<String>>,
}

impl Rule {
    /// Reads a rule that begins at `start` of its file.
    ///
    /// # Errors
    /// Where and what the first mistake is.
    pub(super) fn new(raw: RawRule, start: usize) -> Result<Self, (usize, String)> {
        let to = raw.to.unwrap_or_default().into_iter().map(|place| {
            let at = place.span().start;
            Pattern::try_from(place.into_inner()).map_err(|message| (at, message))
        });
        let to: Vec<_> = to.collect::<Result<_, _>>()?;
        if to.is_empty() {
            let message =
                "a tunnel needs places, as in to = [\"localhost:8888\", \"127.0.0.1:6006-6010\"]";
            return Err((start, message.to_owned()));
        }
        Ok(Rule {
            to,
            rooms: raw.rooms,
            users: raw.users,
        })
    }

    /// Whether it is meant for a room and a user.
    pub(super) fn is_for(&self, asker: &Asker) -> bool {
        asker.is_among(self.rooms.as_deref(), self.users.as_deref())
    }

    pub(super) fn places(&self) -> &[Pattern] {
        &self.to
    }
}
