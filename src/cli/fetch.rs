//! `loaner fetch`.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loaner::client::{VisitError, VisitNews};
use loaner::wire::own::JobSummary;
use loaner::worker::jobs::disk::human;
use serde_json::json;

use super::args::FetchArgs;
use super::asked::{Asked, Found, Which, failure, tell_of_way};
use super::exit::{Exit, Failure};
use super::{Signals, print};

/// Gets results that wait at a worker.
pub async fn run(args: FetchArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    std::fs::create_dir_all(&args.output).map_err(|error| {
        Failure::say(
            Exit::File,
            format!("{} cannot be made: {error}", args.output.display()),
        )
    })?;
    let stopped = || {
        let message = "stopped by the user; the same command goes on where it was";
        Err(Failure::say(Exit::Interrupted, message))
    };
    let (job, output) = (args.job.as_deref(), Some(args.output.as_path()));
    let found = async {
        let asked = Asked::new(args.target).await?;
        let waits = |job: &JobSummary| job.results.is_some();
        let none = "no results of yours wait there";
        asked.find(job, output, Which::Latest, waits, none).await
    };
    let mut found = tokio::select! {
        found = found => found?,
        () = signals.next() => return stopped(),
    };
    let fetched = tokio::select! {
        fetched = receive(&mut found, json) => Some(fetched),
        () = signals.next() => None,
    };
    found.visit.end().await;
    let Some(fetched) = fetched else {
        return stopped();
    };
    let path = fetched.map_err(failure)?;
    let size = path.metadata().map_or(0, |metadata| metadata.len());
    let event = json!({ "event": "done", "job": found.job.id, "results": path, "bytes": size });
    print(json, &event, || {
        format!(
            "Done. The results are in {} ({})",
            path.display(),
            human(size)
        )
    });
    Ok(())
}

async fn receive(found: &mut Found, json: bool) -> Result<PathBuf, VisitError> {
    found.visit.fetch(found.job.id.clone()).await?;
    let target = match json {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr_with_hz(10),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    let mut began = false;
    loop {
        // The worker owes the file at once; then it comes at its own pace.
        let news = match began {
            true => found.visit.hear().await?,
            false => found.visit.answer().await?,
        };
        match news {
            VisitNews::Receiving { name, size, have } => {
                began = true;
                bar.set_length(size);
                let template = "{msg:<12} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                let style = ProgressStyle::with_template(template);
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_message(format!("Receiving {name}"));
                let event =
                    json!({ "event": "downloading", "name": name, "bytes": size, "have": have });
                if json {
                    print(true, &event, String::new);
                } else if have > 0 {
                    eprintln!(
                        "{} are here from an earlier attempt; only the rest is sent",
                        human(have)
                    );
                }
            }
            VisitNews::Received { bytes } => bar.set_position(bytes),
            VisitNews::Fetched(result) => {
                bar.finish_and_clear();
                return result.map_err(VisitError::NotReceived);
            }
            news => tell_of_way(&news, json),
        }
    }
}
