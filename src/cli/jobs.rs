//! `loaner jobs`.

use std::time::{Duration, UNIX_EPOCH};

use loaner::wire::own::JobSummary;
use loaner::worker::jobs::disk::human;
use serde_json::json;

use super::args::JobsArgs;
use super::asked::Asked;
use super::exit::{Exit, Failure};
use super::inbox::printable;
use super::{Signals, print};

/// Lists the jobs that workers remember of this user.
pub async fn run(args: JobsArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let listed = async { Asked::new(args.target).await?.jobs().await };
    let listed = tokio::select! {
        listed = listed => listed?,
        () = signals.next() => return Err(Failure::say(Exit::Interrupted, "stopped by the user")),
    };
    if !json {
        let none = listed.iter().all(|(_, jobs)| jobs.is_empty());
        print(false, &json!(null), || match none {
            true => "No worker remembers a job of yours.".to_owned(),
            false => columns(["JOB", "STATE", "BEGAN", "TOOK", "LOG", "PACKAGE"]),
        });
    }
    for (worker, jobs) in listed {
        for job in jobs {
            let mut event = json!(job);
            event["event"] = json!("job");
            event["worker"] = json!(worker);
            print(json, &event, || line(&job));
        }
    }
    Ok(())
}

fn columns([id, state, began, took, log, package]: [&str; 6]) -> String {
    format!("{id:<36}  {state:<17} {began:<20} {took:>9} {log:>9}  {package}")
}

fn line(job: &JobSummary) -> String {
    let began = UNIX_EPOCH.checked_add(Duration::from_millis(job.began));
    let began = began.map_or_else(String::new, |began| {
        humantime::format_rfc3339_seconds(began)
            .to_string()
            .replace('T', " ")
    });
    let took = humantime::format_duration(Duration::from_secs(job.seconds)).to_string();
    let line = columns([
        &printable(&job.id),
        &state(job),
        &began,
        &took.replace(' ', ""),
        &human(job.log),
        &printable(&job.name),
    ]);
    let results = job.results.as_ref().map(|kept| {
        format!(
            "results wait ({}); get them with `loaner fetch`",
            human(kept.size)
        )
    });
    let notes = [
        results,
        Some(printable(&job.message)).filter(|text| !text.is_empty()),
    ];
    notes
        .into_iter()
        .flatten()
        .fold(line, |line, note| format!("{line}\n  {note}"))
}

/// The state of a job, and what belongs to it.
pub fn state(job: &JobSummary) -> String {
    let state = printable(&job.state);
    match (job.seconds_left, job.percent) {
        (Some(left), _) => format!("{state} ({left} s)"),
        (None, Some(percent)) if job.state == "running" => format!("{state} {percent} %"),
        _ => state,
    }
}
