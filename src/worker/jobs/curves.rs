//! The training curves: what a trainer reports goes to the client while it trains, and what the client commands goes to
//! the trainer (sleap-rtc wire protocol, 7). The trainer connects to two ZeroMQ sockets of this worker: SUB for its reports,
//! PUB for the commands. Each training has sockets of its own, on ports that were free; they are gone when it has ended.
//!
//! The framing is written here, because the `zeromq` crate has no limit on a frame's size: nine bytes from anybody on this
//! machine who connects to the port would make it allocate until the worker is ended.

mod reports;
pub mod zmtp;

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::reports::{Connection, Reports};
use self::zmtp::{Incoming, MAX_MESSAGE, Role, ZmtpError};
use super::plan::Step;
use crate::tunnel::tube::Line;
use crate::wire::{ChannelText, log_text};

/// Connections to each socket, at most. A trainer makes one.
const CONNECTIONS: usize = 8;
/// How long a connection may take to become one of ZeroMQ.
const GREETING: Duration = Duration::from_secs(10);
/// Time between two reports to the client, at least.
const PACE: Duration = Duration::from_millis(5);
/// How long the last reports may take once the trainer has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Commands that wait for the trainer to listen, at most.
const COMMANDS: usize = 16;
/// The longest command, in bytes.
const MAX_COMMAND: usize = 16 * 1024;
/// How long nobody is let in after an error such as too many open files.
const BREATH: Duration = Duration::from_millis(200);

/// The ports of 127.0.0.1 that a trainer is told to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Where it hears commands.
    pub controller: u16,
    /// Where it publishes its reports.
    pub publish: u16,
}

/// Why a command does not reach a trainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ControlError {
    /// There is none.
    #[error("no training is running")]
    NoTraining,
    /// It does not take those that it has.
    #[error("{COMMANDS} commands wait for the trainer already")]
    TooMany,
    /// The command is too long.
    #[error("a command is longer than {MAX_COMMAND} bytes")]
    TooLong,
}

/// Takes the commands of a job's holder to the trainer that runs, if one does.
#[derive(Debug, Clone, Default)]
pub struct Controls(Arc<Mutex<Option<mpsc::Sender<String>>>>);

impl Controls {
    /// Passes a command on, as it is. One that comes before the trainer listens waits for it.
    ///
    /// # Errors
    /// [`ControlError`]; nothing has changed then.
    pub fn send(&self, command: String) -> Result<(), ControlError> {
        if command.len() > MAX_COMMAND {
            return Err(ControlError::TooLong);
        }
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let trainer = current.as_ref().ok_or(ControlError::NoTraining)?;
        trainer.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ControlError::TooMany,
            mpsc::error::TrySendError::Closed(_) => ControlError::NoTraining,
        })
    }

    fn lead_to(&self, trainer: mpsc::Sender<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(trainer);
    }
}

/// The curves of one step, if it is a training.
pub struct Curves {
    step: Step,
    channel: Line,
    open: Option<Open>,
}

struct Open {
    reports: Arc<Reports>,
    forwarding: JoinHandle<()>,
    sockets: JoinSet<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

impl Curves {
    /// Makes the sockets where `step` is a training; its reports go to `channel`, and `controls` lead to it from now on.
    /// Where there are no sockets to be had, it trains without them, and the client is told.
    pub async fn open(step: &Step, channel: &Line, controls: &Controls) -> Self {
        let mut curves = Curves {
            step: step.clone(),
            channel: channel.clone(),
            open: None,
        };
        if !step.trainer {
            return curves;
        }
        match sockets(controls).await {
            Ok((sockets, reports, ports)) => {
                tracing::debug!(step = step.name, ?ports, "the trainer's sockets are open");
                curves.step = step.told(Some(ports));
                curves.open = Some(Open {
                    forwarding: tokio::spawn(forward(reports.clone(), channel.clone())),
                    reports,
                    sockets,
                });
            }
            Err(error) => {
                curves.step = step.told(None);
                tracing::warn!(step = step.name, %error, "no sockets for the trainer: no training curves");
                curves
                    .note(&format!(
                        "no training curves: the worker could not make sockets for the trainer ({error})"
                    ))
                    .await;
            }
        }
        curves
    }

    /// The step, which knows the ports.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// The step has ended, and the sockets with it. What was reported before is passed on, for two seconds at most, if
    /// somebody waits for it.
    pub async fn close(mut self, wanted: bool) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        open.reports.close();
        let ended = wanted && timeout(LAST_WORDS, &mut open.forwarding).await.is_ok();
        if !ended {
            // From here on nothing is passed on, so that what was left out can be counted.
            open.forwarding.abort();
            let _ = (&mut open.forwarding).await;
        }
        open.sockets.shutdown().await;
        let left_out = open.reports.left_out();
        if left_out > 0 {
            tracing::warn!(
                step = self.step.name,
                left_out,
                "reports of the trainer were left out"
            );
            if wanted {
                self.note(&format!(
                    "{left_out} progress reports of the trainer were left out: they came faster than they are passed on, \
                     or were too large"
                ))
                .await;
            }
        }
    }

    /// A line among the job's output.
    async fn note(&self, text: &str) {
        let line = format!("[{}]\n", log_text(text));
        // A client that is gone is reported on its own; one that does not read does not hold the job up.
        let _ = timeout(LAST_WORDS, self.channel.send_text(&line)).await;
    }
}

/// Passes the reports on, not faster than a client can be expected to draw them.
async fn forward(reports: Arc<Reports>, channel: Line) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(report) = reports.next().await {
        pace.tick().await;
        let text = ChannelText::ProgressReport(report).to_text();
        if let Err(error) = channel.send_text(&text).await {
            tracing::debug!(%error, "a report of the trainer was not sent");
            reports.leave_out();
        }
    }
}

async fn sockets(controls: &Controls) -> io::Result<(JoinSet<()>, Arc<Reports>, Ports)> {
    let commands = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let publish = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let ports = Ports {
        controller: commands.local_addr()?.port(),
        publish: publish.local_addr()?.port(),
    };
    let reports = Arc::new(Reports::default());
    let (sender, waiting) = mpsc::channel(COMMANDS);
    let mut sockets = JoinSet::new();
    sockets.spawn(take_reports(publish, reports.clone()));
    sockets.spawn(give_commands(commands, waiting));
    controls.lead_to(sender);
    Ok((sockets, reports, ports))
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "a connection of the trainer was not taken");
                sleep(BREATH).await;
            }
        }
    }
}

/// The SUB socket.
async fn take_reports(listener: TcpListener, reports: Arc<Reports>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = accept(&listener).await;
        while connections.try_join_next().is_some() {}
        if reports.connections() < CONNECTIONS {
            let connection = Connection::new(&reports);
            connections.spawn(async move {
                if let Err(error) = read_reports(stream, &connection).await {
                    tracing::debug!(%error, "a connection for reports has ended");
                }
            });
        }
    }
}

async fn read_reports(mut stream: TcpStream, connection: &Connection) -> Result<(), ZmtpError> {
    greeted(&mut stream, Role::Subscriber).await?;
    zmtp::subscribe(&mut stream).await?;
    let mut stream = BufReader::with_capacity(MAX_MESSAGE, stream);
    loop {
        match zmtp::receive(&mut stream).await? {
            Incoming::Message(body) => match String::from_utf8(body) {
                Ok(report) => connection.0.push(report),
                Err(_) => connection.0.leave_out(),
            },
            Incoming::LeftOut => connection.0.leave_out(),
            Incoming::Command(_) => {}
        }
    }
}

async fn greeted(stream: &mut TcpStream, role: Role) -> Result<(), ZmtpError> {
    match timeout(GREETING, zmtp::greet(stream, role)).await {
        Ok(greeted) => greeted,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

/// The PUB socket.
async fn give_commands(listener: TcpListener, mut waiting: mpsc::Receiver<String>) {
    let (commands, _) = broadcast::channel::<Arc<str>>(COMMANDS);
    let listening = Arc::new(Notify::new());
    let mut connections = JoinSet::new();
    let (given, heard) = (commands.clone(), listening.clone());
    let giving = async move {
        while let Some(command) = waiting.recv().await {
            while given.receiver_count() == 0 {
                heard.notified().await;
            }
            tracing::debug!("a command of the client goes to the trainer");
            // Whoever has left meanwhile does not get it.
            let _ = given.send(command.into());
        }
    };
    let taking = async {
        loop {
            let stream = accept(&listener).await;
            while connections.try_join_next().is_some() {}
            if connections.len() < CONNECTIONS {
                let (commands, listening) = (commands.clone(), listening.clone());
                connections.spawn(async move {
                    if let Err(error) = write_commands(stream, commands, &listening).await {
                        tracing::debug!(%error, "a connection for commands has ended");
                    }
                });
            }
        }
    };
    tokio::join!(giving, taking);
}

async fn write_commands(
    mut stream: TcpStream,
    commands: broadcast::Sender<Arc<str>>,
    listening: &Notify,
) -> Result<(), ZmtpError> {
    greeted(&mut stream, Role::Publisher).await?;
    let (mut read, mut write) = stream.split();
    while !zmtp::subscribes(&zmtp::receive(&mut read).await?) {}
    let mut commands = commands.subscribe();
    listening.notify_one();
    let writing = async {
        loop {
            match commands.recv().await {
                Ok(command) => zmtp::publish(&mut write, command.as_bytes()).await?,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(
                        missed,
                        "the trainer does not take the commands of its client"
                    );
                }
                Err(broadcast::error::RecvError::Closed) => return write.shutdown().await,
            }
        }
    };
    // What it subscribes to besides is no concern: its own socket picks what it wants.
    let reading = async { while zmtp::receive(&mut read).await.is_ok() {} };
    tokio::select! {
        ended = writing => Ok(ended?),
        () = reading => Ok(()),
    }
}
