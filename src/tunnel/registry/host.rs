//! What runs for each manager beside its chart: one task, on the runtime's thread.
//!
//! It takes what the program and the other side say, keeps the figures, and hands on what is to be told, in order.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::callbacks::Tell;
use super::runtime::Place;
use super::shared::Shared;
use super::telling::Telling;
use super::{ConnectionState, Refusal, Report, Role};
use crate::actors::Feed;
use crate::actors::tunnel::{
    AskStatus, Carrier, News, Of, RestartByHand, Told, TunnelActor, tunnel,
};
use crate::charts::tunnel::{Input, Reason};
use crate::tunnel::manage;
use crate::tunnel::network::NetworkSubscription;
use crate::tunnel::signal::{Signal, SignalKind};
use crate::tunnel::signalled::{Said, Signalled};
use crate::tunnel::tube::Sign;

/// What a program wants of a manager.
pub(super) enum Wish {
    Start,
    Feed(Input),
    Restart(oneshot::Sender<Result<(), Refusal>>),
    Report(oneshot::Sender<Report>),
    Close,
}

/// A message of the other side's.
pub(super) struct Heard {
    pub kind: SignalKind,
    pub generation: u64,
    pub data: String,
}

/// What comes to a manager.
pub(super) struct Inbox {
    pub wishes: mpsc::UnboundedReceiver<Wish>,
    pub heard: mpsc::Receiver<Heard>,
    pub signs: mpsc::Receiver<Sign>,
    pub network: Option<NetworkSubscription>,
}

/// What carries a manager's tube, as far as its task has to do with it.
pub(super) trait Carries: Carrier + Clone {
    fn hear(&self, heard: Heard) -> Option<Of>;
    fn notice(&self, sign: Sign) -> Of;
}

impl Carries for Signalled {
    fn hear(&self, heard: Heard) -> Option<Of> {
        Signalled::hear(self, heard.kind, heard.generation, heard.data)
    }

    fn notice(&self, sign: Sign) -> Of {
        Signalled::notice(self, sign)
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

/// The task of one manager.
struct Host<C: Carries> {
    shared: Arc<Shared>,
    telling: Telling,
    carrier: C,
    manager: Addr<TunnelActor<C>>,
    started: bool,
    /// How many signals there were.
    signals: u64,
    /// When it is to be looked whether a keepalive is due.
    due: Instant,
}

/// Where a manager lives.
pub(super) struct Home {
    pub telling: Telling,
    /// Whether everything is to be closed.
    pub ending: watch::Receiver<bool>,
    pub place: Option<Place>,
}

/// Runs a manager until everything is released. Its carrier is made with whom it reports to, and whom it tells.
pub(super) async fn host<C: Carries>(
    shared: Arc<Shared>,
    mut inbox: Inbox,
    mut home: Home,
    carrier: impl FnOnce(Recipient<Of>, mpsc::UnboundedSender<Said>) -> C,
) {
    let (tell, mut news) = mpsc::unbounded_channel();
    let (say, mut said) = mpsc::unbounded_channel();
    let ear = Ear(tell).start().recipient();
    let options = &shared.options;
    let mut made = None;
    let tube = &options.tube_id;
    let manager = tunnel(options.settings(), tube, vec![ear], None, |reports| {
        made.insert(carrier(reports, say)).clone()
    });
    let Some(carrier) = made else {
        return;
    };
    if let Some(network) = inbox.network {
        let to = manager.clone().recipient();
        shared
            .plane
            .spawn(manage::watch(network, shared.tube.clone(), to));
    }
    let mut host = Host {
        due: Instant::now() + options.keepalive,
        shared,
        telling: home.telling,
        carrier,
        manager,
        started: false,
        signals: 0,
    };
    let (mut wanted, mut is_gone) = (true, false);
    while !(is_gone && host.is_terminated()) {
        let due = host.due;
        tokio::select! {
            news = news.recv(), if !host.is_terminated() => host.learn(news).await,
            Some(said) = said.recv() => match said {
                Said::Gone => is_gone = true,
                said => host.pass_on(said).await,
            },
            wish = inbox.wishes.recv(), if wanted => {
                // Nobody has it any more.
                wanted = wish.is_some();
                host.grant(wish.unwrap_or(Wish::Close)).await;
            }
            _ = home.ending.wait_for(|ending| *ending), if wanted => {
                wanted = false;
                host.grant(Wish::Close).await;
            }
            Some(heard) = inbox.heard.recv() => host.hear(heard).await,
            Some(sign) = inbox.signs.recv() => {
                let of = host.carrier.notice(sign);
                host.tell_manager(of).await;
            }
            () = sleep_until(due) => host.keep_alive().await,
        }
    }
    host.telling.over(host.shared, home.place).await;
}

impl<C: Carries> Host<C> {
    fn is_terminated(&self) -> bool {
        *self.shared.state.borrow() == ConnectionState::Terminated
    }

    /// Waits until it is handled: what floods this task does not flood the manager. One that is over needs to know nothing.
    async fn tell_manager(&self, of: Of) {
        let _ = self.manager.send(of).await;
    }

    async fn feed(&self, event: Input) {
        let _ = self.manager.send(Feed(event)).await;
    }

    async fn begin(&mut self) {
        self.started = true;
        self.feed(Input::Start).await;
    }

    async fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Start if self.started || self.shared.options.role == Role::Responder => {}
            Wish::Start => self.begin().await,
            Wish::Feed(event) => self.feed(event).await,
            Wish::Restart(reply) => {
                if let Ok(result) = self.manager.send(RestartByHand).await {
                    // Who does not wait any more need not know.
                    let _ = reply.send(result);
                }
            }
            Wish::Report(reply) => {
                if let Ok(report) = self.manager.send(AskStatus).await {
                    let _ = reply.send(report);
                }
            }
            Wish::Close => self.feed(Input::Close).await,
        }
    }

    /// What the other side says. The first offer has a responder begin.
    async fn hear(&mut self, heard: Heard) {
        let first = heard.generation == 1;
        let begins = !self.started
            && heard.kind == SignalKind::Offer
            && self.shared.options.role == Role::Responder;
        let of = self.carrier.hear(heard);
        if begins {
            self.begin().await;
            if first {
                // It is waited for.
                return;
            }
        }
        if let Some(of) = of {
            self.tell_manager(of).await;
        }
    }

    async fn learn(&mut self, news: Option<News>) {
        match news {
            Some(News::State(state)) => self.is_in(state).await,
            Some(News::Change(change)) => {
                self.tell(Tell::Network(change)).await;
                self.signal(SignalKind::NetworkChangeDetected, None, change.to_string())
                    .await;
            }
            Some(News::Attempt { next_in, .. }) if next_in.is_zero() => {
                self.shared.figures().attempted(Instant::now());
            }
            Some(News::Attempt { .. } | News::GivenUp(_) | News::Closed(_)) => {}
            None => {
                // It has died; nothing of it may stay.
                self.carrier.close(Reason::ConnectionLost);
                self.is_in(ConnectionState::Terminated).await;
            }
        }
    }

    async fn is_in(&mut self, state: ConnectionState) {
        let before = self.shared.state.send_replace(state);
        if state == ConnectionState::Connected && before != ConnectionState::Degraded {
            self.shared.figures().connected(Instant::now());
        }
        self.tell(Tell::State(state)).await;
        self.signal(SignalKind::ConnectionStateChanged, None, state.to_string())
            .await;
    }

    async fn pass_on(&mut self, said: Said) {
        match said {
            Said::Signal {
                kind,
                generation,
                data,
            } => self.signal(kind, Some(generation), data).await,
            Said::Restart => self.shared.figures().restarted(),
            Said::RoundTrip(time) => self.shared.figures().round_trip = Some(time),
            Said::Gone => {}
        }
    }

    async fn keep_alive(&mut self) {
        let interval = self.shared.options.keepalive;
        let now = Instant::now();
        self.due = self.shared.activity.last() + interval;
        if self.due > now {
            return;
        }
        self.due = now + interval;
        let state = *self.shared.state.borrow();
        if matches!(
            state,
            ConnectionState::Connected | ConnectionState::Degraded
        ) {
            self.shared.activity.touch();
            self.signal(SignalKind::Keepalive, None, String::new())
                .await;
        }
    }

    async fn signal(&mut self, kind: SignalKind, generation: Option<u64>, data: String) {
        self.signals += 1;
        let options = &self.shared.options;
        let signal = Signal {
            tube_id: options.tube_id.clone(),
            kind,
            data,
            conversation_id: options.conversation_id.clone(),
            signal_id: self.signals.to_string(),
            generation,
        };
        self.tell(Tell::Signal(signal)).await;
    }

    async fn tell(&self, what: Tell) {
        self.telling.tell(&self.shared, what).await;
    }
}
