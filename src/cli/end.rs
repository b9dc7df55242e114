//! `loaner stop` and `loaner cancel`.

use indicatif::{ProgressBar, ProgressDrawTarget};
use loaner::client::{VisitError, VisitNews};
use loaner::wire::own::{JobSummary, OwnText};
use serde_json::json;

use super::args::EndArgs;
use super::asked::{Asked, Found, Which, failure};
use super::exit::{Exit, Failure};
use super::inbox::printable;
use super::{Signals, print};

/// How a job is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It may save what it has.
    Stop,
    /// At once.
    Cancel,
}

/// Tells a job to end, and waits until it has.
pub async fn run(args: EndArgs, how: How, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let stopped = || {
        let message = "not waited for; `loaner jobs` shows what became of the job";
        Err(Failure::say(Exit::Interrupted, message))
    };
    let found = async {
        let asked = Asked::new(args.target).await?;
        let runs = |job: &JobSummary| !job.is_over();
        let none = "no job of yours runs there now";
        asked
            .find(args.job.as_deref(), None, Which::Only, runs, none)
            .await
    };
    let mut found = tokio::select! {
        found = found => found?,
        () = signals.next() => return stopped(),
    };
    let ended = tokio::select! {
        ended = order(&mut found, how, args.no_wait, json) => Some(ended),
        () = signals.next() => None,
    };
    found.visit.end().await;
    ended.map_or_else(stopped, |ended| ended.map_err(failure))
}

async fn order(found: &mut Found, how: How, no_wait: bool, json: bool) -> Result<(), VisitError> {
    let job = found.job.id.clone();
    let (text, told) = match how {
        How::Stop => (OwnText::StopJob { job }, "stopping"),
        How::Cancel => (OwnText::CancelJob { job }, "terminating"),
    };
    found.visit.say(text).await?;
    let mut show = Show::new(json);
    loop {
        let VisitNews::Said(OwnText::Job(job)) = found.visit.hear().await? else {
            continue;
        };
        // One that packs its results already is not asked any more.
        let heard = !["receiving", "preparing", "running"].contains(&job.state.as_str());
        show.job(&job);
        if job.is_over() || (no_wait && (job.state == told || heard)) {
            return Ok(());
        }
    }
}

/// Shows how a job ends.
struct Show {
    json: bool,
    bar: ProgressBar,
    last: String,
}

impl Show {
    fn new(json: bool) -> Self {
        let target = match json {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr_with_hz(10),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        Show {
            json,
            bar,
            last: String::new(),
        }
    }

    fn job(&mut self, job: &JobSummary) {
        if self.last == job.state {
            return;
        }
        self.last.clone_from(&job.state);
        let mut event = json!(job);
        event["event"] = json!("job");
        let id = printable(&job.id);
        let text = match (job.state.as_str(), job.seconds_left) {
            ("stopping", Some(left)) => {
                format!("Job {id} was asked to stop; it has {left} s to save what it has")
            }
            ("terminating", Some(left)) => {
                format!("Job {id} is being ended; it is killed in {left} s at the latest")
            }
            (state, _) if !job.is_over() => format!("Job {id} is {}", printable(state)),
            (state, _) if job.message.is_empty() => format!("Job {id} {state}"),
            (state, _) => format!("Job {id} {state}: {}", printable(&job.message)),
        };
        let json = self.json;
        self.bar.suspend(|| print(json, &event, || text));
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
