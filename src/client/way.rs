//! The way to a worker: a tube, and who sees to it that something carries it.

mod initiator;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::initiator::{Initiator, Kept};
use super::passage::Errand;
use super::visit::{VisitConfig, VisitError};
use crate::actors::peer::PeerActor;
use crate::actors::tunnel::{News, Told, TunnelActor, tunnel};
use crate::actors::{Died, Feed};
use crate::charts::tunnel::{Input, Public, Role, Settings};
use crate::rtc::Channel;
use crate::tunnel::manage::{report, watch};
use crate::tunnel::network::NetworkWatcher;
use crate::tunnel::tube::Tube;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// What the first connection is.
pub(super) enum First {
    /// One that is to be made, for this.
    Errand(Errand),
    /// One that is there, and its channel.
    Open(Channel, Addr<PeerActor>),
}

/// What a managed tube is begun with.
pub(super) struct Begin {
    /// What it is called here.
    pub name: String,
    /// Where it goes.
    pub config: VisitConfig,
    /// Its first connection.
    pub first: First,
    /// How long a lost connection is tried to be brought back.
    pub patience: Duration,
    /// Who is told what happens to it.
    pub listener: Recipient<Told>,
    /// Who hears of a defect.
    pub supervisor: Option<Recipient<Died>>,
}

/// A tube to a worker with its manager. Dropped, it is closed without waiting for it.
pub(super) struct Managed {
    pub tube: Tube,
    manager: Addr<TunnelActor<Initiator>>,
    kept: Rc<RefCell<Kept>>,
    /// Everything is closed; nothing where somebody waited for it.
    gone: Option<oneshot::Receiver<()>>,
}

impl Drop for Managed {
    fn drop(&mut self) {
        self.close();
    }
}

impl Managed {
    /// Begins, in the current actix system.
    pub fn begin(begin: Begin, network: &NetworkWatcher) -> Self {
        let Begin {
            name,
            config,
            first,
            patience,
            listener,
            supervisor,
        } = begin;
        let (plane, network) = (config.plane.clone(), network.subscribe());
        let (tube, signs) = Tube::new(&plane);
        let (over, gone) = oneshot::channel();
        let kept = Rc::new(RefCell::new(Kept::new(first, over)));
        let settings = Settings {
            role: Role::Initiator,
            patience,
        };
        let manager = tunnel(settings, &name, vec![listener], supervisor, |reports| {
            plane.spawn(report(signs, reports.clone()));
            Initiator::new(config, tube.clone(), kept.clone(), reports)
        });
        plane.spawn(watch(network, tube.clone(), manager.clone().recipient()));
        manager.do_send(Feed(Input::Start));
        Managed {
            tube,
            manager,
            kept,
            gone: Some(gone),
        }
    }

    /// Says goodbye.
    pub fn close(&self) {
        self.manager.do_send(Feed(Input::Close));
    }

    /// It was given up: nothing is sent or waited for any more.
    pub fn give_up(&self) {
        self.tube.close();
        self.close();
    }

    /// Why the last attempt to connect came to nothing.
    pub fn why(&self) -> Option<VisitError> {
        self.kept.borrow_mut().error.take()
    }

    /// Says goodbye, and waits until everything is closed.
    pub async fn end(&mut self) {
        self.close();
        if let Some(gone) = self.gone.take() {
            // A goodbye that nobody hears is none that anybody waits for.
            let _ = timeout(GOODBYE, gone).await;
        }
    }
}

/// A way to a worker for whoever waits for its news.
pub(super) struct Way {
    managed: Managed,
    news: mpsc::UnboundedReceiver<News>,
}

impl Way {
    /// Begins to connect, in the current actix system.
    pub fn new(
        config: VisitConfig,
        errand: Errand,
        patience: Duration,
        network: &NetworkWatcher,
    ) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        let ear = Ear(tell).start();
        let begin = Begin {
            name: config.worker.clone(),
            config,
            first: First::Errand(errand),
            patience,
            listener: ear.clone().recipient(),
            supervisor: Some(ear.recipient()),
        };
        Way {
            managed: Managed::begin(begin, network),
            news,
        }
    }

    /// What goes over it.
    pub fn tube(&self) -> &Tube {
        &self.managed.tube
    }

    /// Waits until it is connected for the first time.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connected(&mut self) -> Result<(), VisitError> {
        loop {
            match self.news().await {
                Some(News::State(Public::Connected)) => return Ok(()),
                None | Some(News::GivenUp(_) | News::Closed(_)) => {
                    let error = self.managed.why();
                    return Err(error.unwrap_or(VisitError::NotConnected("no answer in time")));
                }
                Some(_) => {}
            }
        }
    }

    /// What becomes of it next; nothing once there is nothing more.
    pub async fn news(&mut self) -> Option<News> {
        let news = self.news.recv().await;
        match news {
            Some(News::GivenUp(reason)) => {
                tracing::info!(%reason, "the way to the worker is given up");
                self.managed.give_up();
            }
            // Its manager is gone.
            None => self.managed.tube.close(),
            Some(_) => {}
        }
        news
    }

    /// Why the last attempt to connect came to nothing.
    pub fn why(&self) -> Option<VisitError> {
        self.managed.why()
    }

    /// Says goodbye, and waits until everything is closed.
    pub async fn end(&mut self) {
        self.managed.end().await;
    }
}

/// Passes on what happens to a tube, until its manager is gone.
struct Ear(mpsc::UnboundedSender<News>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<Told> for Ear {
    type Result = ();

    fn handle(&mut self, told: Told, ctx: &mut Self::Context) {
        let over = matches!(told.news, News::Closed(_));
        if self.0.send(told.news).is_err() || over {
            ctx.stop();
        }
    }
}

impl Handler<Died> for Ear {
    type Result = ();

    fn handle(&mut self, died: Died, ctx: &mut Self::Context) {
        tracing::error!(chart = died.chart, state = died.state, "a manager died");
        ctx.stop();
    }
}
