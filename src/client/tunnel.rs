//! Tunnels, from the client's side: it listens, and connects to the worker.
//!
//! The way to the worker is a tube: a connection that breaks is replaced, and streams wait for it and go on. Only what cannot
//! be brought back for ten minutes, or what the worker does not know any more, is given up: then streams are reset, listeners
//! stay, and the worker is connected anew.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::passage::Errand;
use super::visit::{VisitConfig, VisitError};
use super::way::Way;
use crate::actors::session::SessionError;
use crate::actors::tunnel::News;
use crate::charts::tunnel::{PATIENCE, Public};
use crate::rtc::DataPlane;
use crate::tunnel::forward::{
    Counts, Forward, Listener, MAX_STREAMS, Passed, Reason, Reset, Taken, Tunnel, refuse, too_many,
};
use crate::tunnel::network::NetworkWatcher;
use crate::tunnel::tube::Tube;

/// How long is waited before each new attempt to connect, in seconds; the last is repeated.
const AGAIN: [u64; 6] = [1, 2, 4, 8, 16, 30];
/// How long a connection that was accepted here waits for the worker.
const WAIT: Duration = Duration::from_secs(30);
/// News that wait to be heard.
const NEWS: usize = 1024;

/// One thing worth showing.
#[derive(Debug, Clone, PartialEq)]
pub enum TunnelNews {
    /// The worker is connected, and takes what comes.
    Ready,
    /// A connection goes through.
    Opened {
        /// Its number.
        number: u64,
        /// Where it goes.
        forward: Forward,
    },
    /// It is over, or it never went through.
    Closed {
        /// Its number.
        number: u64,
        /// Where it was to go.
        forward: Forward,
        /// What went through, and why it broke if it did.
        passed: Passed,
    },
    /// The worker is not connected any more, or could not be connected again.
    Lost {
        /// Why.
        why: String,
        /// In so many seconds it is tried again.
        again: u64,
    },
    /// The connection to the worker is lost, and being replaced. What goes through the tunnel waits, and goes on once it is
    /// [ready](Self::Ready) again.
    Interrupted,
    /// Nothing went through for so long that the worker is connected again only when something comes.
    Asleep,
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The worker could not be reached.
    #[error(transparent)]
    Visit(#[from] VisitError),
    /// A port is taken here.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// The worker allows one of them to nobody, or not to this client, or broke off.
    #[error(transparent)]
    Denied(#[from] Reset),
    /// A task of this process is gone: a defect.
    #[error("a part of the client died: this is a defect of Loaner, and the log has its panic")]
    Died,
}

/// Runs something where connections are handled.
async fn on<T: Send + 'static>(
    plane: &DataPlane,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, TunnelError> {
    plane.spawn(work).await.map_err(|_| TunnelError::Died)
}

/// Tunnels to one worker.
pub struct Tunnels {
    config: VisitConfig,
    listeners: Vec<Arc<Listener>>,
    accepting: JoinSet<()>,
    network: NetworkWatcher,
    /// The way to the worker, while there is one or one is being made.
    way: Option<Way>,
    open: Option<Open>,
    current: watch::Sender<Option<Tunnel<Tube>>>,
    /// How many connections wait for the worker.
    waiting: Arc<watch::Sender<usize>>,
    counts: Arc<Counts>,
    tell: mpsc::Sender<TunnelNews>,
}

/// What goes over the way.
struct Open {
    tunnel: Tunnel<Tube>,
    listening: JoinHandle<Reset>,
}

impl Tunnels {
    /// Begins to listen; what happens is told to the receiver. Whoever connects now is accepted once [`run`](Self::run)
    /// has reached the worker.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn listen(
        config: VisitConfig,
        forwards: Vec<Forward>,
    ) -> Result<(Self, mpsc::Receiver<TunnelNews>), TunnelError> {
        let (tell, news) = mpsc::channel(NEWS);
        let mut listeners = Vec::new();
        for forward in forwards {
            let listener = on(&config.plane, Listener::bind(forward)).await??;
            listeners.push(Arc::new(listener));
        }
        let tunnels = Tunnels {
            network: NetworkWatcher::new(config.plane.clone()),
            config,
            listeners,
            accepting: JoinSet::new(),
            way: None,
            open: None,
            current: watch::Sender::new(None),
            waiting: Arc::default(),
            counts: Arc::default(),
            tell,
        };
        Ok((tunnels, news))
    }

    /// What is listened on.
    pub fn listeners(&self) -> &[Arc<Listener>] {
        &self.listeners
    }

    /// What has gone through so far.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// How many connections go through now.
    pub fn live(&self) -> impl Fn() -> usize + 'static {
        let current = self.current.subscribe();
        move || current.borrow().as_ref().map_or(0, Tunnel::live)
    }

    /// Connects, in the current actix system, and again whenever that breaks, for as long as it is awaited. Dropped, it can
    /// be [ended](Self::end).
    ///
    /// # Errors
    /// Why the worker cannot be had at first, or never again.
    pub async fn run(&mut self) -> Result<(), TunnelError> {
        self.connect().await?;
        let open = self.open.as_ref().ok_or(TunnelError::Died)?;
        for listener in &self.listeners {
            let (tunnel, forward) = (open.tunnel.clone(), listener.forward.clone());
            on(
                &self.config.plane,
                async move { tunnel.ask(&forward).await },
            )
            .await??;
        }
        self.accept();
        self.news(TunnelNews::Ready);
        loop {
            let mut why = self.broken().await?;
            if why.reason == Reason::Idle {
                self.news(TunnelNews::Asleep);
                let mut waiting = self.waiting.subscribe();
                // The sender lives as long as this.
                let _ = waiting.wait_for(|waiting| *waiting > 0).await;
                match self.connect().await {
                    Ok(()) => {
                        self.news(TunnelNews::Ready);
                        continue;
                    }
                    Err(error) if is_final(&error) => return Err(error.into()),
                    Err(error) => why = Reset::new(Reason::Lost, error.to_string()),
                }
            }
            self.again(why.to_string()).await?;
        }
    }

    async fn connect(&mut self) -> Result<(), VisitError> {
        let way = Way::new(self.config.clone(), Errand::Tunnel, PATIENCE, &self.network);
        // Whoever interrupts this ends it.
        let way = self.way.insert(way);
        if let Err(error) = way.connected().await {
            way.end().await;
            self.way = None;
            return Err(error);
        }
        let tunnel = Tunnel::new(way.tube().clone(), self.counts.clone());
        let heard = tunnel.clone();
        let listening = self.config.plane.spawn(async move { heard.listen().await });
        self.current.send_replace(Some(tunnel.clone()));
        self.open = Some(Open { tunnel, listening });
        Ok(())
    }

    /// Waits until the way to the worker breaks; why.
    async fn broken(&mut self) -> Result<Reset, TunnelError> {
        let (Some(way), Some(open)) = (&mut self.way, &mut self.open) else {
            return Err(TunnelError::Died);
        };
        let mut interrupted = false;
        let mut over = false;
        let mut why = loop {
            let news = tokio::select! {
                why = &mut open.listening => break why.map_err(|_| TunnelError::Died)?,
                news = way.news(), if !over => news,
            };
            match news {
                Some(News::State(Public::Reconnecting)) => {
                    interrupted = true;
                    tell(&self.tell, TunnelNews::Interrupted);
                }
                Some(News::State(Public::Connected)) if interrupted => {
                    interrupted = false;
                    tell(&self.tell, TunnelNews::Ready);
                }
                Some(_) => {}
                None => over = true,
            }
        };
        if let Some(error) = way.why().filter(|_| why.reason == Reason::Lost) {
            why = Reset::new(Reason::Lost, error.to_string());
        }
        self.current.send_replace(None);
        way.end().await;
        (self.way, self.open) = (None, None);
        Ok(why)
    }

    /// Connects again, as often as it takes.
    async fn again(&mut self, mut why: String) -> Result<(), TunnelError> {
        let mut waits = AGAIN.iter().copied();
        let mut again = AGAIN[0];
        loop {
            again = waits.next().unwrap_or(again);
            self.news(TunnelNews::Lost { why, again });
            tokio::time::sleep(Duration::from_secs(again)).await;
            match self.connect().await {
                Ok(()) => {
                    self.news(TunnelNews::Ready);
                    return Ok(());
                }
                Err(error) if is_final(&error) => return Err(error.into()),
                Err(error) => why = error.to_string(),
            }
        }
    }

    fn news(&self, news: TunnelNews) {
        tell(&self.tell, news);
    }

    /// Accepts what comes, from now on.
    fn accept(&mut self) {
        let free = Arc::new(Semaphore::new(MAX_STREAMS));
        let numbers = Arc::default();
        for listener in &self.listeners {
            let acceptor = Acceptor {
                listener: listener.clone(),
                current: self.current.subscribe(),
                waiting: self.waiting.clone(),
                free: free.clone(),
                numbers: Arc::clone(&numbers),
                tell: self.tell.clone(),
            };
            self.accepting
                .spawn_on(acceptor.run(), self.config.plane.handle());
        }
    }

    /// Closes listeners and streams, and tells the worker.
    pub async fn end(mut self) {
        if let Some(open) = &self.open {
            let tunnel = open.tunnel.clone();
            // What cannot be told is noticed.
            let _ = on(&self.config.plane, async move { tunnel.end().await }).await;
        }
        // Streams were reset before: a program must not take what it got for all there is.
        self.accepting.shutdown().await;
        self.listeners.clear();
        if let Some(way) = &mut self.way {
            way.end().await;
        }
    }
}

fn tell(to: &mpsc::Sender<TunnelNews>, news: TunnelNews) {
    // Who does not listen does not want to know.
    let _ = to.try_send(news);
}

/// Whether it is no use to try again.
fn is_final(error: &VisitError) -> bool {
    match error {
        VisitError::Hub(SessionError::Unreachable { .. } | SessionError::Timeout(_)) => false,
        VisitError::Hub(_) | VisitError::Foreign(_) | VisitError::NoTunnels(_) => true,
        _ => false,
    }
}

/// Accepts the connections of one tunnel.
struct Acceptor {
    listener: Arc<Listener>,
    current: watch::Receiver<Option<Tunnel<Tube>>>,
    waiting: Arc<watch::Sender<usize>>,
    free: Arc<Semaphore>,
    numbers: Arc<std::sync::atomic::AtomicU64>,
    tell: mpsc::Sender<TunnelNews>,
}

impl Acceptor {
    async fn run(self) {
        let mut carrying = JoinSet::new();
        let acceptor = Arc::new(self);
        loop {
            let tcp = acceptor.listener.accept().await;
            while carrying.try_join_next().is_some() {}
            let number = 1 + acceptor
                .numbers
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match acceptor.free.clone().try_acquire_owned() {
                Ok(place) => {
                    let acceptor = acceptor.clone();
                    carrying.spawn(async move {
                        let _place = place;
                        let passed = acceptor.carry(number, tcp).await;
                        acceptor.closed(number, passed);
                    });
                }
                Err(_) => acceptor.closed(number, refuse(tcp, too_many())),
            }
        }
    }

    async fn carry(&self, number: u64, tcp: TcpStream) -> Passed {
        let mut current = self.current.clone();
        let tunnel = async {
            let _waits = Waits::one_more(&self.waiting);
            let tunnel = current.wait_for(Option::is_some).await;
            tunnel.ok().and_then(|tunnel| tunnel.clone())
        };
        let tunnel = timeout(WAIT, tunnel).await.ok().flatten();
        let Some(tunnel) = tunnel else {
            let words = "the worker is not connected just now";
            return refuse(tcp, Reset::new(Reason::Lost, words));
        };
        let forward = &self.listener.forward;
        let opened = || {
            let forward = forward.clone();
            let _ = self.tell.try_send(TunnelNews::Opened { number, forward });
        };
        tunnel.carry(tcp, forward, opened).await
    }

    fn closed(&self, number: u64, passed: Passed) {
        // A listener that does not keep up misses some; the counts have all.
        let _ = self.tell.try_send(TunnelNews::Closed {
            number,
            forward: self.listener.forward.clone(),
            passed,
        });
    }
}

/// Somebody waits for the worker, for as long as it lives.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn one_more(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}
