//! `loaner logs`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use loaner::client::{Lines, Visit, VisitError, VisitNews};
use loaner::status::said;
use loaner::wire::own::OwnText;
use serde_json::json;

use super::args::LogsArgs;
use super::asked::{Asked, Which, failure, tell_of_way};
use super::exit::{Exit, Failure};
use super::ui::printable;
use super::{Signals, print};

/// How often a connection that broke is made again before it is given up, and how long is waited before.
const AGAIN: [u64; 6] = [1, 2, 4, 8, 16, 30];

/// Shows a job's log, from an offset on.
pub async fn run(args: LogsArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let stopped = || match args.follow {
        true => Ok(()),
        false => Err(Failure::say(Exit::Interrupted, "stopped by the user")),
    };
    let found = async {
        let asked = Asked::new(args.target).await?;
        let none = "the worker remembers no job of yours";
        asked
            .find(args.job.as_deref(), None, Which::Latest, |_| true, none)
            .await
    };
    let found = tokio::select! {
        found = found => found?,
        () = signals.next() => return stopped(),
    };
    let mut log = Log {
        job: found.job.id,
        follow: args.follow,
        at: args.from,
        lines: Lines::default(),
        json,
    };
    let mut visit = Some(found.visit);
    let mut tries = AGAIN.iter();
    loop {
        let before = log.at;
        let shown = match visit.take() {
            Some(mut visit) => {
                let shown = tokio::select! {
                    shown = log.read(&mut visit) => Some(shown),
                    () = signals.next() => None,
                };
                // The worker has room for few, and is told.
                visit.end().await;
                match shown {
                    Some(shown) => shown,
                    None => return stopped(),
                }
            }
            None => tokio::select! {
                begun = Visit::begin(found.config.clone(), None) => match begun {
                    Ok(begun) => {
                        visit = Some(begun);
                        continue;
                    }
                    Err(error) => Err(error),
                },
                () = signals.next() => return stopped(),
            },
        };
        match shown {
            Ok(()) => return Ok(()),
            Err(VisitError::Denied(message)) => return Err(failure(VisitError::Denied(message))),
            Err(error) if !log.follow => return Err(failure(error)),
            Err(error) => {
                if log.at > before {
                    tries = AGAIN.iter();
                }
                let Some(wait) = tries.next() else {
                    return Err(failure(error));
                };
                let error = printable(&error.to_string());
                let at = log.at;
                let news = format!("{error}; trying again in {wait} s, from offset {at}");
                eprintln!("{news}");
                said(&news);
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(*wait)) => {}
                    () = signals.next() => return stopped(),
                }
            }
        }
    }
}

/// The log of a job, as far as it was shown.
struct Log {
    job: String,
    follow: bool,
    /// The offset of what comes next.
    at: u64,
    lines: Lines,
    json: bool,
}

impl Log {
    async fn read(&mut self, visit: &mut Visit) -> Result<(), VisitError> {
        visit
            .say(OwnText::ReadLog {
                job: self.job.clone(),
                from: self.at,
                follow: self.follow,
            })
            .await?;
        loop {
            match visit.hear().await? {
                VisitNews::Said(OwnText::LogPart { at, text }) => {
                    let read_on = self.part(at, &text);
                    if !read_on {
                        return Ok(());
                    }
                }
                VisitNews::Said(OwnText::LogEnd { at }) => {
                    if self.json {
                        print(
                            true,
                            &json!({ "event": "log_end", "offset": at }),
                            String::new,
                        );
                    }
                    return Ok(());
                }
                news => tell_of_way(&news, self.json),
            }
        }
    }

    /// Shows a part; whether anybody reads it.
    fn part(&mut self, at: u64, text: &str) -> bool {
        self.at = at + text.len() as u64;
        if self.json {
            let event = json!({ "event": "log", "offset": at, "text": text });
            return writeln!(std::io::stdout(), "{event}").is_ok();
        }
        let terminal = std::io::stdout().is_terminal();
        let mut out = std::io::stdout().lock();
        let mut shown = Ok(());
        self.lines.take(text, |line| {
            let now = match line.strip_prefix('\r') {
                Some(line) if terminal => write!(out, "\r{}", printable(line)),
                Some(line) => writeln!(out, "{}", printable(line)),
                None => write!(out, "{}", printable(line)),
            };
            shown = std::mem::replace(&mut shown, Ok(())).and(now);
        });
        shown.and_then(|()| out.flush()).is_ok()
    }
}
