//! A connection to a worker that carries a tunnel.

use super::visitor::Purpose;
use super::{There, VisitConfig, VisitError};
use crate::rtc::Channel;

/// A connection to a worker that carries a tunnel.
pub struct Passage {
    there: There,
    channel: Channel,
}

impl Passage {
    /// Connects, in the current actix system, for a new tube or for this one.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn begin(config: VisitConfig, tube: Option<String>) -> Result<Self, VisitError> {
        let (there, channel) = There::reach(config, Purpose::Tunnel { tube }).await?;
        Ok(Passage { there, channel })
    }

    /// What carries the tunnel's frames.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Closes it.
    pub async fn end(mut self) {
        self.there.leave().await;
    }
}
