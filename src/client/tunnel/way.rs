//! The way to a worker: a tube, and who sees to it that something carries it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::actors::Feed;
use crate::actors::tunnel::{Carrier, CarrierError, Deed, News, Of, Told, TunnelActor, tunnel};
use crate::charts::tunnel::{Input, PATIENCE, Public, Reason, Role, Settings};
use crate::client::visit::{Passage, VisitConfig, VisitError};
use crate::tunnel::manage::{report, watch};
use crate::tunnel::network::NetworkWatcher;
use crate::tunnel::tube::{Tube, Word, first_word};

/// How long the worker may take to answer on a connection that is there.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// The way to a worker.
pub(super) struct Way {
    pub tube: Tube,
    manager: Addr<TunnelActor<Initiator>>,
    news: mpsc::UnboundedReceiver<News>,
    /// Everything is closed.
    gone: oneshot::Receiver<()>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.manager.do_send(Feed(Input::Close));
    }
}

impl Way {
    /// Connects, in the current actix system.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn begin(config: VisitConfig, network: &NetworkWatcher) -> Result<Self, VisitError> {
        let (tube, signs) = Tube::new(&config.plane);
        let (over, gone) = oneshot::channel();
        let kept = Rc::new(RefCell::new(Kept {
            over: Some(over),
            ..Kept::default()
        }));
        let (tell, news) = mpsc::unbounded_channel();
        let listener = Ear(tell).start().recipient();
        let settings = Settings {
            role: Role::Initiator,
            patience: PATIENCE,
        };
        let (plane, network) = (config.plane.clone(), network.subscribe());
        let name = config.worker.clone();
        let manager = tunnel(settings, &name, vec![listener], |reports| {
            plane.spawn(report(signs, reports.clone()));
            Initiator {
                config,
                tube: tube.clone(),
                kept: kept.clone(),
                reports,
            }
        });
        plane.spawn(watch(network, tube.clone(), manager.clone().recipient()));
        manager.do_send(Feed(Input::Start));
        let mut way = Way {
            tube,
            manager,
            news,
            gone,
        };
        loop {
            match way.news().await {
                News::State(Public::Connected) => return Ok(way),
                News::GivenUp(_) | News::Closed(_) => {
                    way.end().await;
                    let error = kept.borrow_mut().error.take();
                    return Err(error.unwrap_or(VisitError::NotConnected("no answer in time")));
                }
                _ => {}
            }
        }
    }

    /// What becomes of it next. Nothing follows its end.
    pub async fn news(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// Says goodbye.
    pub async fn end(&mut self) {
        self.manager.do_send(Feed(Input::Close));
        // A goodbye that nobody hears is none that anybody waits for.
        let _ = timeout(GOODBYE, &mut self.gone).await;
    }
}

/// Passes on what happens to a tube.
struct Ear(mpsc::UnboundedSender<News>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<Told> for Ear {
    type Result = ();

    fn handle(&mut self, told: Told, ctx: &mut Self::Context) {
        if self.0.send(told.news).is_err() {
            ctx.stop();
        }
    }
}

/// What outlives one connection.
#[derive(Default)]
struct Kept {
    passage: Option<Passage>,
    /// The tube's id and token, from the worker.
    known: Option<(String, String)>,
    error: Option<VisitError>,
    /// To be told when everything is closed.
    over: Option<oneshot::Sender<()>>,
}

/// Connects to the worker: over the hub, each time as a new visitor, for neither the hub nor an address that was there before
/// need be there now.
#[derive(Clone)]
pub(super) struct Initiator {
    config: VisitConfig,
    tube: Tube,
    kept: Rc<RefCell<Kept>>,
    reports: Recipient<Of>,
}

impl Initiator {
    async fn connect(self, generation: u64) -> Result<(), CarrierError> {
        let have = self.tube.detach().await;
        let known = {
            let mut kept = self.kept.borrow_mut();
            if let Some(old) = kept.passage.take() {
                // The worker may not be there to hear it.
                actix::spawn(old.end());
            }
            kept.known.clone()
        };
        let tube = known.as_ref().map(|(id, _)| id.clone());
        let passage = match Passage::begin(self.config.clone(), tube).await {
            Ok(passage) => passage,
            Err(error) => {
                let reason = error.to_string();
                self.kept.borrow_mut().error = Some(error);
                return Err(CarrierError(reason));
            }
        };
        let channel = passage.channel();
        self.kept.borrow_mut().passage = Some(passage);
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
                let reason = "it has as many tunnels as it takes".to_owned();
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
        self.report(generation, Input::Up);
        Ok(())
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

    fn peer(&self) -> Option<String> {
        Some(self.config.worker.clone())
    }

    fn close(&mut self, reason: Reason) {
        let (tube, kept) = (self.tube.clone(), self.kept.clone());
        actix::spawn(async move {
            if reason == Reason::Normal {
                tube.farewell().await;
            }
            tube.close();
            tube.detach().await;
            let (passage, over) = {
                let mut kept = kept.borrow_mut();
                (kept.passage.take(), kept.over.take())
            };
            if let Some(passage) = passage {
                passage.end().await;
            }
            if let Some(over) = over {
                // Who does not wait for it need not know.
                let _ = over.send(());
            }
        });
    }
}
