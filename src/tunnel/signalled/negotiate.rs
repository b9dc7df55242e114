//! How a connection of a tube comes up.

use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Came, Signalled};
use crate::actors::tunnel::CarrierError;
use crate::charts::tunnel::Input;
use crate::rtc::{Channel, Connection, RtcError};
use crate::tunnel::signal::SignalKind;
use crate::tunnel::tube::{Word, first_word};

/// The channel of a tube.
pub(super) const LABEL: &str = "loaner-tube";
/// How long the other side may take to say which tube it is for, or to answer that, on a channel that is open.
const WORD: Duration = Duration::from_secs(10);

/// What a deed comes to.
pub(super) type Done = Result<(), CarrierError>;

impl Signalled {
    /// Makes a connection, and has the tube go on over it.
    pub(super) async fn initiate(self, generation: u64) -> Done {
        let parts = &self.inner.parts;
        let have = parts.tube.detach().await;
        self.lets_go();
        let (connection, events) = Connection::open(&parts.plane, &parts.rtc)
            .await
            .map_err(failed)?;
        self.has(generation, &connection, events);
        let channel = connection.create_channel(LABEL).await.map_err(failed)?;
        let offer = connection.offer().await.map_err(failed)?;
        self.signal(SignalKind::Offer, generation, offer);
        let answer = came(&self.inner.answer, generation).await?;
        connection.accept_answer(&answer).await.map_err(failed)?;
        channel.opened().await.map_err(failed)?;
        self.introduce(channel, generation, have).await
    }

    /// Says on a new channel which tube it is for.
    async fn introduce(self, channel: Channel, generation: u64, have: u64) -> Done {
        let parts = &self.inner.parts;
        let token = self.inner.present.borrow().token.clone();
        let begins = token.is_none();
        let word = match token {
            None => Word::Begin,
            Some(token) => Word::Resume {
                id: parts.id.clone(),
                token,
                generation,
                have,
            },
        };
        channel.send_text(&word.to_text()).await.map_err(failed)?;
        let answer = timeout(WORD, first_word(&channel)).await;
        let have = match answer.ok().flatten() {
            Some(Word::Begun { id, token }) if begins && id == parts.id => {
                self.inner.present.borrow_mut().token = Some(token);
                0
            }
            Some(Word::Resumed { have }) if !begins => have,
            Some(Word::Refused) if !begins => {
                self.report(generation, Input::SessionRefused);
                return Ok(());
            }
            _ => {
                return Err(CarrierError(
                    "the other side does not take the tube".to_owned(),
                ));
            }
        };
        if let Err(error) = parts.tube.carry(channel, generation, have).await {
            tracing::warn!(tube = parts.id, %error, "the other side's end of the tube is another one");
            self.report(generation, Input::SessionRefused);
            return Ok(());
        }
        self.report(generation, Input::Up);
        Ok(())
    }

    /// Takes the connection that is offered, and has the tube go on over it.
    pub(super) async fn respond(self, generation: u64) -> Done {
        let parts = &self.inner.parts;
        let offer = came(&self.inner.offer, generation).await?;
        parts.tube.detach().await;
        self.lets_go();
        let (connection, events) = Connection::open_for(&parts.plane, &parts.rtc, &offer)
            .await
            .map_err(failed)?;
        let mut channel = self.has(generation, &connection, events);
        let answer = connection.answer(&offer).await.map_err(failed)?;
        self.signal(SignalKind::Answer, generation, answer);
        let channel = {
            let found = channel.wait_for(Option::is_some).await;
            let found = found.map_err(|_| failed(RtcError::Closed))?;
            found.clone().ok_or_else(|| failed(RtcError::Closed))?
        };
        channel.opened().await.map_err(failed)?;
        self.receive(channel, generation).await
    }

    /// Hears on a new channel which tube it is for.
    async fn receive(self, channel: Channel, generation: u64) -> Done {
        let parts = &self.inner.parts;
        let first = timeout(WORD, first_word(&channel)).await;
        let here = parts.tube.detach().await;
        let (answer, have) = match first.ok().flatten() {
            // It is begun once. Who did not hear so may begin again.
            Some(Word::Begin) if here == 0 => {
                let id = parts.id.clone();
                let token = self.token();
                (Word::Begun { id, token }, 0)
            }
            Some(Word::Resume {
                id,
                token,
                generation: of,
                have,
            }) if id == parts.id && of == generation && self.is_token(&token) => {
                (Word::Resumed { have: here }, have)
            }
            _ => {
                // Who is not heard out learns by the end of the connection.
                let _ = channel.send_text(&Word::Refused.to_text()).await;
                return Err(CarrierError("it is not for this tube".to_owned()));
            }
        };
        channel.send_text(&answer.to_text()).await.map_err(failed)?;
        let carried = parts.tube.carry(channel, generation, have).await;
        carried.map_err(|error| CarrierError(error.to_string()))?;
        self.report(generation, Input::Up);
        Ok(())
    }

    /// The resume token that is given out.
    fn token(&self) -> String {
        let fresh = || {
            let random = rand::random::<[u8; 32]>();
            random.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let mut present = self.inner.present.borrow_mut();
        present.token.get_or_insert_with(fresh).clone()
    }

    fn is_token(&self, claimed: &str) -> bool {
        let present = self.inner.present.borrow();
        let is = |token: &String| token.as_bytes().ct_eq(claimed.as_bytes()).into();
        present.token.as_ref().is_some_and(is)
    }
}

/// The description of this generation, when it has come.
pub(super) async fn came(
    of: &watch::Sender<Option<Came>>,
    generation: u64,
) -> Result<String, CarrierError> {
    let mut coming = of.subscribe();
    let is_it = |came: &Option<Came>| came.as_ref().is_some_and(|c| c.generation == generation);
    let came = coming.wait_for(is_it).await;
    let came = came.map_err(|_| failed(RtcError::Closed))?;
    let sdp = came.as_ref().map(|came| came.sdp.clone());
    sdp.ok_or_else(|| failed(RtcError::Closed))
}

pub(super) fn failed(error: RtcError) -> CarrierError {
    CarrierError(error.to_string())
}
