//! How a connection of a tube is restarted: ICE alone, with the tube staying where it is.

use super::Signalled;
use super::negotiate::{Done, came, failed};
use crate::actors::tunnel::CarrierError;
use crate::rtc::Connection;
use crate::tunnel::signal::SignalKind;

impl Signalled {
    /// Offers a restart.
    pub(super) async fn offer_restart(self, generation: u64) -> Done {
        let connection = self.begins_restart(generation)?;
        let offer = connection.restart_offer().await.map_err(failed)?;
        self.signal(SignalKind::IceRestartOffer, generation, offer);
        Ok(())
    }

    /// Takes the restart that is offered.
    pub(super) async fn answer_restart(self, generation: u64) -> Done {
        let connection = self.begins_restart(generation)?;
        let offer = came(&self.inner.offer, generation).await?;
        let answer = connection.answer(&offer).await.map_err(failed)?;
        self.signal(SignalKind::Answer, generation, answer);
        Ok(())
    }

    /// Takes the answer to the restart that was offered.
    pub(super) async fn take_restart(self, generation: u64) -> Done {
        let connection = self.present(generation)?;
        let answer = came(&self.inner.answer, generation).await?;
        connection.accept_answer(&answer).await.map_err(failed)
    }

    /// The present connection is of this generation from now on.
    fn begins_restart(&self, generation: u64) -> Result<Connection, CarrierError> {
        self.say(super::Said::Restart);
        self.becomes(generation);
        let connection = self.present(generation)?;
        self.early(generation, &connection);
        Ok(connection)
    }
}
