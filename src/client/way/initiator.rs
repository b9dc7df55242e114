//! The client's end of a tube: it makes the connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::First;
use crate::actors::Feed;
use crate::actors::peer::{PeerActor, Sight};
use crate::actors::tunnel::{Carrier, CarrierError, Deed, Of};
use crate::charts::peer::Input as PeerInput;
use crate::charts::tunnel::{Input, Reason};
use crate::client::passage::{Errand, Passage};
use crate::client::visit::{VisitConfig, VisitError};
use crate::rtc::Channel;
use crate::status::Path;
use crate::tunnel::tube::{Tube, Word, first_word};

/// How long the worker may take to answer on a connection that is there.
const ANSWER: Duration = Duration::from_secs(10);

/// What outlives one connection.
pub(super) struct Kept {
    /// What the first connection is for, or itself until it is used.
    first: Option<First>,
    on: Option<On>,
    /// The tube's id and token, from the worker.
    known: Option<(String, String)>,
    pub error: Option<VisitError>,
    /// To be told when everything is closed.
    over: Option<oneshot::Sender<()>>,
    /// Of the present connection.
    sight: Sight,
}

impl Kept {
    pub fn new(first: First, over: oneshot::Sender<()>) -> Self {
        Kept {
            first: Some(first),
            on: None,
            known: None,
            error: None,
            over: Some(over),
            sight: Sight::default(),
        }
    }
}

/// The present connection.
enum On {
    /// One that was made for the tube.
    Passage(Passage),
    /// One that was there before.
    Link(Addr<PeerActor>),
}

impl On {
    fn link(&self) -> Option<&Addr<PeerActor>> {
        match self {
            On::Passage(passage) => passage.link(),
            On::Link(link) => Some(link),
        }
    }

    async fn end(self) {
        match self {
            On::Passage(passage) => passage.end().await,
            On::Link(link) => link.do_send(Feed(PeerInput::Close)),
        }
    }
}

/// Connects to the worker: over the hub, each time as a new visitor, for neither the hub nor an address that was there before
/// need be there now.
#[derive(Clone)]
pub(in crate::client) struct Initiator {
    config: VisitConfig,
    tube: Tube,
    kept: Rc<RefCell<Kept>>,
    reports: Recipient<Of>,
}

impl Initiator {
    pub(super) fn new(
        config: VisitConfig,
        tube: Tube,
        kept: Rc<RefCell<Kept>>,
        reports: Recipient<Of>,
    ) -> Self {
        Initiator {
            config,
            tube,
            kept,
            reports,
        }
    }

    async fn connect(self, generation: u64) -> Result<(), CarrierError> {
        let have = self.tube.detach().await;
        let known = {
            let mut kept = self.kept.borrow_mut();
            if let Some(old) = kept.on.take() {
                // The worker may not be there to hear it.
                actix::spawn(old.end());
            }
            kept.known.clone()
        };
        let channel = self.channel(known.as_ref()).await?;
        let word = match known {
            None => Word::Begin,
            Some((id, token)) => Word::Resume {
                id,
                token,
                generation,
                have,
            },
        };
        let begins = word == Word::Begin;
        let lost = |_| CarrierError("the connection was lost".to_owned());
        channel.send_text(&word.to_text()).await.map_err(lost)?;
        let answer = timeout(ANSWER, first_word(&channel)).await;
        let have = match answer.ok().flatten() {
            Some(Word::Begun { id, token }) if begins => {
                self.kept.borrow_mut().known = Some((id, token));
                0
            }
            Some(Word::Resumed { have }) if !begins => have,
            Some(Word::Refused) if begins => {
                let reason = "it has as many as it takes".to_owned();
                self.kept.borrow_mut().error = Some(VisitError::Refused(reason.clone()));
                return Err(CarrierError(reason));
            }
            Some(Word::Refused) => {
                self.report(generation, Input::SessionRefused);
                return Ok(());
            }
            _ => return Err(CarrierError("the worker does not answer".to_owned())),
        };
        if let Err(error) = self.tube.carry(channel, generation, have).await {
            tracing::warn!(%error, "the worker's end of the tube is another one");
            self.report(generation, Input::SessionRefused);
            return Ok(());
        }
        {
            let mut kept = self.kept.borrow_mut();
            kept.error = None;
            if let Some(link) = kept.on.as_ref().and_then(On::link) {
                kept.sight.turn_to(link);
            }
        }
        self.report(generation, Input::Up);
        Ok(())
    }

    /// The channel of the next connection: the first, or one to go on with the tube.
    async fn channel(&self, known: Option<&(String, String)>) -> Result<Channel, CarrierError> {
        let first = self.kept.borrow_mut().first.take();
        let errand = match (first, known) {
            (_, Some((tube, _))) => Errand::Resumption(tube.clone()),
            (Some(First::Open(channel, link)), None) => {
                self.kept.borrow_mut().on = Some(On::Link(link));
                return Ok(channel);
            }
            (Some(First::Errand(errand)), None) => {
                // It may take more than one attempt.
                self.kept.borrow_mut().first = Some(First::Errand(errand.clone()));
                errand
            }
            (None, None) => return Err(CarrierError("the connection was lost".to_owned())),
        };
        match Passage::begin(self.config.clone(), errand).await {
            Ok((passage, channel)) => {
                self.kept.borrow_mut().on = Some(On::Passage(passage));
                Ok(channel)
            }
            Err(error) => {
                let reason = error.to_string();
                self.kept.borrow_mut().error = Some(error);
                Err(CarrierError(reason))
            }
        }
    }

    fn report(&self, generation: u64, event: Input) {
        self.reports.do_send(Of { generation, event });
    }
}

impl Carrier for Initiator {
    fn open(&mut self, generation: u64) -> Deed {
        self.clone().connect(generation).boxed_local()
    }

    fn offer(&mut self, _: u64) -> Deed {
        let cannot = CarrierError("a new connection is made instead".to_owned());
        std::future::ready(Err(cannot)).boxed_local()
    }

    fn rebuild(&mut self, generation: u64) -> Deed {
        self.clone().connect(generation).boxed_local()
    }

    fn answer(&mut self, _: u64, _: bool) -> Deed {
        let cannot = CarrierError("a worker offers nothing".to_owned());
        std::future::ready(Err(cannot)).boxed_local()
    }

    fn take_answer(&mut self, _: u64) -> Deed {
        std::future::ready(Ok(())).boxed_local()
    }

    fn ask(&mut self, _: u64, _: bool) {}

    fn ping(&mut self, generation: u64) {
        self.tube.ping(generation);
    }

    fn quiet(&self) -> (Duration, bool) {
        self.tube.quiet()
    }

    fn hold(&mut self, held: bool) {
        self.tube.hold(held);
    }

    fn path(&self) -> Option<Path> {
        self.kept.borrow().sight.path()
    }

    fn peer(&self) -> Option<String> {
        Some(self.config.worker.clone())
    }

    fn close(&mut self, reason: Reason) {
        let (tube, kept) = (self.tube.clone(), self.kept.clone());
        actix::spawn(async move {
            tube.end(reason == Reason::Normal).await;
            let (on, over) = {
                let mut kept = kept.borrow_mut();
                (kept.on.take(), kept.over.take())
            };
            if let Some(on) = on {
                on.end().await;
            }
            if let Some(over) = over {
                // Who does not wait for it need not know.
                let _ = over.send(());
            }
        });
    }
}
