//! `loaner worker --drain`: has the worker that runs here take no new job, and waits until it has ended.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loaner::worker::running::{Running, RunningError, Told};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::inbox::printable;
use super::{Signals, print};

/// How often is looked at what the worker is at.
const LOOK: Duration = Duration::from_millis(250);

/// Drains the one worker that has its jobs below `base`.
pub async fn run(base: &Path, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let worker = the_one(Running::below(base).map_err(failure)?, base)?;
    worker.drain().map_err(failure)?;
    let pid = worker.pid;
    print(json, &json!({ "event": "draining", "pid": pid }), || {
        format!(
            "The worker (process {pid}) takes no new job, and ends when it is done with what it has."
        )
    });
    let mut view = View::new(json);
    while !worker.ended() {
        view.show(worker.told());
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = signals.next() => {
                view.finish();
                return Err(Failure::say(
                    Exit::Interrupted,
                    format!("stopped waiting; the drain goes on, and the worker (process {pid}) ends when it is done"),
                ));
            }
        }
    }
    view.finish();
    if !worker.tidied() {
        return Err(Failure::say(
            Exit::Other,
            format!(
                "the worker (process {pid}) was killed, or died, before it was done; its log may say why"
            ),
        ));
    }
    print(json, &json!({ "event": "drained", "pid": pid }), || {
        "The worker has ended.".to_owned()
    });
    Ok(())
}

fn failure(error: RunningError) -> Failure {
    let exit = match error {
        RunningError::Directory { .. } => Exit::File,
        RunningError::Elsewhere { .. } | RunningError::Signal { .. } => Exit::Other,
    };
    Failure::new(exit, error)
}

fn the_one(mut running: Vec<Running>, base: &Path) -> Result<Running, Failure> {
    let base = base.display();
    match (running.pop(), running.as_slice()) {
        (None, _) => Err(Failure::say(
            Exit::NoWorker,
            format!(
                "no worker runs with its jobs in {base}; give the --work-dir that it was started with"
            ),
        )),
        (Some(one), []) => Ok(one),
        (Some(last), others) => {
            let all: Vec<_> = others.iter().chain([&last]).map(described).collect();
            Err(Failure::say(
                Exit::Usage,
                format!(
                    "{} workers run with their jobs in {base}: {}; tell the one that you mean with: kill -USR1 PROCESS",
                    all.len(),
                    all.join(", ")
                ),
            ))
        }
    }
}

fn described(worker: &Running) -> String {
    match worker.told() {
        Some(told) => format!(
            "process {} at {} ({})",
            worker.pid,
            printable(&told.hub),
            printable(&told.status)
        ),
        None => format!("process {}", worker.pid),
    }
}

/// Shows what is waited for: a line on a terminal, else one for each change.
struct View {
    json: bool,
    line: Option<ProgressBar>,
    shown: Option<Told>,
}

impl View {
    fn new(json: bool) -> Self {
        let line = (!json && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        View {
            json,
            line,
            shown: None,
        }
    }

    fn show(&mut self, told: Option<Told>) {
        // What it said before it heard of the drain is not what is waited for.
        let Some(told) = told.filter(|told| told.draining) else {
            return;
        };
        if self.shown.as_ref() == Some(&told) {
            return;
        }
        let event = json!({ "event": "waiting", "status": told.status, "job": told.job,
            "progress": told.progress, "message": told.message });
        let text = waiting(&told);
        match &self.line {
            Some(line) => line.set_message(text),
            None if self.json => print(true, &event, String::new),
            None => eprintln!("{text}"),
        }
        self.shown = Some(told);
    }

    fn finish(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

fn waiting(told: &Told) -> String {
    let mut text = match (&told.job, told.status.as_str()) {
        (Some(job), "reserved") => format!(
            "Waiting for job {}, for which it is reserved",
            printable(job)
        ),
        (Some(job), _) => format!("Waiting for job {}", printable(job)),
        (None, "busy") => "Waiting for its last connections to close".to_owned(),
        (None, _) => "Waiting for a client that it is reserved for".to_owned(),
    };
    if let Some(progress) = told.progress {
        text.push_str(&format!(": {:.0} %", progress * 100.0));
    }
    if let Some(message) = &told.message {
        text.push_str(&format!("  {}", printable(message)));
    }
    text
}
