//! `loaner tunnel`.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loaner::client::{
    TunnelError, TunnelNews, Tunnels, VisitConfig, VisitError, list_workers, takes_tubes,
};
use loaner::rtc::{DataPlane, RtcConfig};
use loaner::status::said;
use loaner::tunnel::forward::{Forward, Reason};
use loaner::wire::{PeerInfo, RoomCredentials};
use loaner::worker::jobs::disk::human;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::args::{Target, TunnelArgs};
use super::asked::failure as visit_failure;
use super::exit::{Exit, Failure};
use super::run::failure as client_failure;
use super::ui::printable;
use super::{Signals, print};

/// How often a terminal shows what went through.
const SHOWN: Duration = Duration::from_secs(1);
/// How long the same trouble is not told again.
const TOLD: Duration = Duration::from_secs(10);
/// The fewest characters of an id that say which worker.
const MIN_PREFIX: usize = 4;

/// Listens here, and carries what connects to a worker, until it is stopped.
pub async fn run(args: TunnelArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let forwards = args.words.iter().map(|word| word.parse::<Forward>());
    let forwards: Vec<_> = forwards
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    if forwards.is_empty() {
        return Err(Failure::say(
            Exit::Usage,
            "which port? Give it behind the worker, as in: loaner tunnel WORKER 8888",
        ));
    }
    let begun = async {
        let config = worker(args.target).await?;
        let id = config.worker.clone();
        let (tunnels, news) = Tunnels::listen(config, forwards).await.map_err(failure)?;
        Ok((tunnels, news, id))
    };
    let (mut tunnels, mut news, id) = tokio::select! {
        begun = begun => begun?,
        () = signals.next() => return Ok(()),
    };
    let mut show = Show::new(&tunnels, id, json);
    let ended = {
        let running = tunnels.run();
        tokio::pin!(running);
        let mut tick = tokio::time::interval(SHOWN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                ended = &mut running => break ended.map_err(failure),
                Some(news) = news.recv() => show.news(news),
                _ = tick.tick(), if show.fancy() => show.tick(),
                () = signals.next() => break Ok(()),
            }
        }
    };
    show.bar.finish_and_clear();
    let left = tokio::select! {
        () = tunnels.end() => Ok(()),
        () = signals.next() => Err(Failure::say(Exit::Interrupted, "left at once; the worker was not told")),
    };
    show.rest(&mut news);
    ended?;
    left?;
    show.stopped();
    Ok(())
}

/// Finds the worker that is meant.
async fn worker(target: Target) -> Result<VisitConfig, Failure> {
    let plane = DataPlane::start().map_err(|error| Failure::new(Exit::Other, error))?;
    let hub = super::client_access(target.at)?;
    let (room, worker) = match target.session {
        Some(session) => {
            let room = RoomCredentials {
                room_id: session.room_id,
                token: session.token,
            };
            (room, session.peer_id)
        }
        None => {
            let room = super::room(target.of.room, target.of.token)?.ok_or_else(|| {
                Failure::say(
                    Exit::Usage,
                    "which worker? Give its session string (a worker prints it when it starts), or its id or host name \
                     with --room ID and --token T",
                )
            })?;
            let found = list_workers(hub.clone(), room.clone())
                .await
                .map_err(client_failure)?;
            let worker = choose(&found, target.worker.as_deref())?;
            (room, worker)
        }
    };
    Ok(VisitConfig {
        hub,
        room,
        worker,
        rtc: RtcConfig::default(),
        plane,
    })
}

fn host_name(worker: &PeerInfo) -> &str {
    let name = worker.metadata.properties.get("hostname");
    name.and_then(|name| name.as_str()).unwrap_or_default()
}

/// The worker of this id or host name, or whose id begins so; without a name, the only one that takes tunnels.
fn choose(workers: &[PeerInfo], name: Option<&str>) -> Result<String, Failure> {
    let able = |worker: &&PeerInfo| takes_tubes(&worker.metadata);
    let of = |holds: &dyn Fn(&PeerInfo) -> bool| -> Vec<&PeerInfo> {
        workers.iter().filter(|worker| holds(worker)).collect()
    };
    let mut found = match name {
        Some(name) => of(&|worker| worker.peer_id == name),
        None => workers.iter().filter(able).collect(),
    };
    if let Some(name) = name {
        if found.is_empty() {
            found = of(&|worker| host_name(worker) == name);
        }
        if found.is_empty() && name.len() >= MIN_PREFIX {
            found = of(&|worker| worker.peer_id.starts_with(name));
        }
    }
    if let [worker] = found[..] {
        return Ok(worker.peer_id.clone());
    }
    let list = match found.is_empty() {
        true => workers.iter().collect(),
        false => found.clone(),
    };
    let list: Vec<String> = list
        .iter()
        .map(|worker| format!("{} ({})", worker.peer_id, host_name(worker)))
        .collect();
    let list = match list.is_empty() {
        true => "no worker".to_owned(),
        false => printable(&list.join(", ")),
    };
    let message = match (name, found.is_empty()) {
        (Some(name), true) => {
            format!(
                "no worker of this id or host name is in the room now: {name:?}; there is {list}"
            )
        }
        (None, true) => format!("no worker that takes tunnels is in the room now; there is {list}"),
        (_, false) => format!("several workers are meant: name one by its id; there are {list}"),
    };
    Err(Failure::say(Exit::NoWorker, message))
}

fn failure(error: TunnelError) -> Failure {
    match error {
        TunnelError::Visit(error) => visit_failure(error),
        TunnelError::Taken(taken) => Failure::new(Exit::Other, taken),
        TunnelError::Denied(reset) => {
            let exit = match reset.reason {
                Reason::Denied | Reason::ShutDown => Exit::NoWorker,
                _ => Exit::Connection,
            };
            Failure::new(exit, VisitError::Denied(printable(&reset.to_string())))
        }
        TunnelError::Died => Failure::new(Exit::Defect, error),
    }
}

/// Shows what happens: lines on standard output, and on a terminal a line on standard error that counts.
struct Show {
    json: bool,
    bar: ProgressBar,
    worker: String,
    /// What is listened on, and where it leads.
    places: Vec<(std::net::SocketAddr, Forward)>,
    counts: std::sync::Arc<loaner::tunnel::forward::Counts>,
    live: Box<dyn Fn() -> usize>,
    ready: bool,
    told: Option<(String, Instant)>,
}

impl Show {
    fn new(tunnels: &Tunnels, worker: String, json: bool) -> Self {
        let target = match json {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr_with_hz(2),
        };
        let bar = ProgressBar::with_draw_target(None, target).with_style(
            ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message("Connecting to the worker");
        let listeners = tunnels.listeners().iter();
        Show {
            json,
            bar,
            worker,
            places: listeners
                .map(|listener| (listener.address(), listener.forward.clone()))
                .collect(),
            counts: tunnels.counts(),
            live: Box::new(tunnels.live()),
            ready: false,
            told: None,
        }
    }

    fn fancy(&self) -> bool {
        self.ready && !self.bar.is_hidden()
    }

    fn tick(&self) {
        let opened = self.counts.opened();
        self.bar.set_message(match opened {
            0 => "No connection yet. Ctrl+C ends the tunnels".to_owned(),
            _ => format!(
                "{} open, {opened} so far; {} sent, {} received",
                (self.live)(),
                human(self.counts.sent()),
                human(self.counts.received())
            ),
        });
    }

    /// An event for programs, and maybe a line for people on standard output.
    fn print(&self, event: &serde_json::Value, text: impl FnOnce() -> String) {
        let json = self.json;
        self.bar.suspend(|| print(json, event, text));
    }

    /// An event for programs, or else a line for people on standard error.
    fn say(&self, event: &serde_json::Value, text: &str) {
        if !text.is_empty() {
            said(text);
        }
        match self.json {
            true => print(true, event, String::new),
            false => self.bar.suspend(|| eprintln!("{text}")),
        }
    }

    fn news(&mut self, news: TunnelNews) {
        match news {
            TunnelNews::Ready if self.ready => {
                self.say(&json!({ "event": "connected" }), "Connected again");
            }
            TunnelNews::Ready => self.ready(),
            TunnelNews::Opened { number, forward } => {
                if self.json {
                    let event =
                        json!({ "event": "opened", "connection": number, "to": forward.place() });
                    self.say(&event, "");
                }
            }
            TunnelNews::Closed {
                number,
                forward,
                passed,
            } => self.closed(number, &forward, &passed),
            TunnelNews::Lost { why, again } => {
                let event = json!({ "event": "lost", "message": why, "again_in": again });
                let why = printable(&why);
                self.say(&event, &format!("{why}; trying again in {again} s"));
            }
            TunnelNews::Interrupted => self.say(
                &json!({ "event": "interrupted" }),
                "The connection to the worker is lost and being replaced; what goes through the tunnels waits for it",
            ),
            TunnelNews::Asleep => self.say(
                &json!({ "event": "asleep" }),
                "Nothing went through for long: the worker is connected again when something does",
            ),
        }
    }

    fn ready(&mut self) {
        self.ready = true;
        for (address, forward) in &self.places {
            let event = json!({
                "event": "listening",
                "address": address,
                "port": address.port(),
                "host": forward.host,
                "remote_port": forward.port,
                "worker": self.worker,
            });
            self.print(&event, || {
                format!(
                    "{address} leads to {} at worker {}",
                    forward.place(),
                    printable(&self.worker)
                )
            });
        }
        self.tick();
    }

    fn closed(&mut self, number: u64, forward: &Forward, passed: &loaner::tunnel::forward::Passed) {
        let reset = passed.reset.as_ref();
        let words = reset.map(ToString::to_string);
        if self.json {
            let event = json!({
                "event": "closed",
                "connection": number,
                "to": forward.place(),
                "sent": passed.sent,
                "received": passed.received,
                "reason": reset.map_or("finished", |reset| reset.reason.as_str()),
                "message": words,
            });
            return self.say(&event, "");
        }
        // That a program hangs up is no trouble, and that the worker is gone is told once for all.
        let trouble = reset.filter(|reset| {
            !matches!(
                reset.reason,
                Reason::Reset | Reason::Lost | Reason::ShutDown | Reason::Idle
            )
        });
        if let (Some(_), Some(words)) = (trouble, words) {
            let words = printable(&words).replace('\n', " ");
            let again = self
                .told
                .as_ref()
                .is_some_and(|(told, when)| *told == words && when.elapsed() < TOLD);
            if !again {
                self.bar.suspend(|| eprintln!("{words}"));
                self.told = Some((words, Instant::now()));
            }
        }
    }

    /// What was still to be told.
    fn rest(&mut self, news: &mut mpsc::Receiver<TunnelNews>) {
        while let Ok(news) = news.try_recv() {
            self.news(news);
        }
    }

    fn stopped(&self) {
        let (opened, sent, received) = (
            self.counts.opened(),
            self.counts.sent(),
            self.counts.received(),
        );
        let event = json!({ "event": "stopped", "connections": opened, "sent": sent, "received": received });
        let text = format!(
            "The tunnels are closed: {opened} connections, {} sent, {} received",
            human(sent),
            human(received)
        );
        self.say(&event, &text);
    }
}
