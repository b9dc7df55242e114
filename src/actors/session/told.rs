//! What a person is told of a session.

use super::SessionPerformer;
use crate::charts::Chart as _;
use crate::charts::session::Session;
use crate::status::Facts;

impl SessionPerformer {
    /// Which hub, as whom and where, and what becomes of it without the hub. Tokens are nobody's business.
    pub(super) fn add_to(&self, chart: &Session, mut facts: Facts) -> Facts {
        let room = self.room.as_ref().map(|room| room.room_id.clone());
        let details = [
            ("hub", Some(self.hub.url.to_string())),
            ("room", room),
            ("peer", self.peer_id.clone()),
        ];
        for (name, detail) in details {
            let detail = detail.map(|detail| (name.to_owned(), detail));
            facts.details.extend(detail);
        }
        let is_up = chart.state() == "registered";
        facts.attempt = (!is_up && self.downs > 0).then_some(self.downs);
        facts.then = chart.in_the_end().map(str::to_owned);
        facts
    }
}
