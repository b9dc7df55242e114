//! `loaner run`.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use loaner::charts::submission::Why;
use loaner::client::{
    Choice, ClientConfig, ClientError, Command, Package, PackageError, Report, RunningClient, Work,
};
use loaner::identity::{default_state_dir, own_secret};
use loaner::rtc::{DataPlane, RtcConfig, check_socket_buffers};
use loaner::wire::RoomCredentials;
use loaner::worker::jobs::archive::list;
use serde_json::json;

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::ui::Terminal;
use super::{Signals, print};

/// Sends a package and brings its results back.
pub async fn run(args: RunArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (room, choice) = target(&args)?;
    let plane = DataPlane::start().map_err(|error| Failure::new(Exit::Other, error))?;
    if let Some(warning) = check_socket_buffers() {
        tracing::warn!("{warning}");
    }
    let (work, asked) = match (&args.worker_input, &args.package) {
        (Some(input), _) => (Work::Named(input.clone()), 0),
        (None, Some(path)) => {
            std::fs::create_dir_all(&args.output).map_err(|error| {
                Failure::say(
                    Exit::File,
                    format!("{} cannot be made: {error}", args.output.display()),
                )
            })?;
            let package = open(&args, path, &plane, &mut signals).await?;
            let asked = package
                .gpu_memory
                .map_or(0, |bytes| bytes.div_ceil(1 << 20));
            (Work::Package(package), asked)
        }
        (None, None) => return Err(Failure::say(Exit::Usage, NOTHING)),
    };
    let ui = Arc::new(Terminal::new(json));
    let secret = secret(&args);
    let config = ClientConfig {
        hub: super::client_access(args.target.at)?,
        room,
        choice,
        work,
        output_dir: args.output,
        min_gpu_memory_mb: args.min_gpu_memory.max(asked),
        rtc: RtcConfig::default(),
        plane,
        secret,
        ui: ui.clone(),
    };
    let mut client = RunningClient::start(config);
    let result = loop {
        tokio::select! {
            result = client.ended() => break result,
            () = signals.next() => client.interrupt(),
        }
    };
    ui.finish();
    match result {
        Ok(report) => {
            show(&report, json);
            Ok(())
        }
        Err(error) => {
            if let ClientError::Failed {
                results: Some(path),
                ..
            } = &error
                && !json
            {
                eprintln!("What the job left behind is in {}", path.display());
            }
            Err(failure(error))
        }
    }
}

/// Neither was given.
const NOTHING: &str =
    "what is to be run? Give PACKAGE, or --worker-input NAME for one that is at the worker";

/// What lets an interrupted upload be continued. Without a place for it, uploads begin anew.
fn secret(args: &RunArgs) -> Option<[u8; 32]> {
    let state = args
        .target
        .at
        .state_dir
        .clone()
        .or_else(default_state_dir)?;
    own_secret(&state)
        .inspect_err(|error| tracing::warn!(%error, "an interrupted upload cannot be continued"))
        .ok()
}

/// Packing a large directory takes a while, and Ctrl+C ends it.
async fn open(
    args: &RunArgs,
    path: &Path,
    plane: &DataPlane,
    signals: &mut Signals,
) -> Result<Package, Failure> {
    let command = command(args)?;
    let cancelled = Arc::new(AtomicBool::new(false));
    let (path, flag) = (path.to_owned(), cancelled.clone());
    let mut opening = plane.spawn_blocking(move || match command {
        Some(command) => Package::with_command(&path, &command, &flag),
        None => Package::open(&path, &flag),
    });
    let opened = tokio::select! {
        opened = &mut opening => opened,
        () = signals.next() => {
            cancelled.store(true, Ordering::Relaxed);
            let _ = opening.await;
            return Err(Failure::say(Exit::Interrupted, "stopped by the user"));
        }
    };
    opened
        .map_err(|error| Failure::new(Exit::Defect, error))?
        .map_err(|error| match error {
            PackageError::NothingToRun { .. } => Failure::say(
                Exit::File,
                format!(
                    "{error}; give a command after `--`, or see `loaner run --help`, which says what a package is"
                ),
            ),
            error => Failure::new(Exit::File, error),
        })
}

/// What is to be run instead of what the package says.
fn command(args: &RunArgs) -> Result<Option<Command>, Failure> {
    match (args.command.as_slice(), args.outputs.as_slice()) {
        ([], []) => Ok(None),
        ([], _) => Err(Failure::say(
            Exit::Usage,
            "--outputs goes with a command: loaner run DIR --outputs PATTERN -- COMMAND. What a package brings back, its \
             loaner.toml says",
        )),
        (argv, outputs) => Ok(Some(Command {
            argv: argv.to_vec(),
            outputs: outputs.to_vec(),
        })),
    }
}

fn target(args: &RunArgs) -> Result<(RoomCredentials, Choice), Failure> {
    if let Some(session) = &args.target.session {
        let room = RoomCredentials {
            room_id: session.room_id.clone(),
            token: session.token.clone(),
        };
        return Ok((room, Choice::Worker(session.peer_id.clone())));
    }
    let room = args.target.of.clone().credentials()?.ok_or_else(|| {
        Failure::say(
            Exit::Usage,
            "where to? Give --session STRING (a worker prints it when it starts), or --room ID and --token T",
        )
    })?;
    let choice = match &args.target.worker {
        Some(worker) => Choice::Worker(worker.clone()),
        None if args.auto_select => Choice::Auto,
        None => Choice::Ask,
    };
    Ok((room, choice))
}

fn show(report: &Report, json: bool) {
    if let Some(place) = &report.at_worker {
        let event = json!({
            "event": "done", "job": report.job, "worker": report.worker, "results": null, "at_worker": place,
        });
        return print(json, &event, || {
            format!("Done. The results are at the worker, in {place}")
        });
    }
    let Some(results) = &report.results else {
        let event =
            json!({ "event": "done", "job": report.job, "worker": report.worker, "results": null });
        return print(json, &event, || {
            "Done. The job returned no files.".to_owned()
        });
    };
    // It has just been verified by size; a list that cannot be read is no reason to call the job failed. The result of an
    // inference is no archive.
    let entries = list(results).unwrap_or_default();
    let size = results.metadata().map_or(0, |metadata| metadata.len());
    let event = json!({
        "event": "done",
        "job": report.job,
        "worker": report.worker,
        "results": results,
        "bytes": size,
        "entries": entries.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes })).collect::<Vec<_>>(),
    });
    print(json, &event, || {
        let mut text = format!(
            "Done. The results are in {} ({}){}",
            results.display(),
            indicatif::HumanBytes(size),
            if entries.is_empty() { "" } else { ":" }
        );
        const SHOWN: usize = 20;
        for (name, bytes) in entries.iter().take(SHOWN) {
            text.push_str(&format!("\n  {name}  {}", indicatif::HumanBytes(*bytes)));
        }
        if entries.len() > SHOWN {
            text.push_str(&format!("\n  and {} more", entries.len() - SHOWN));
        }
        text
    });
}

/// The exit code of a client's failure.
pub fn failure(error: ClientError) -> Failure {
    let exit = match &error {
        ClientError::Hub(_) => Exit::Hub,
        ClientError::Died(_) => Exit::Defect,
        ClientError::Failed { why, .. } => match why {
            Why::NoWorker | Why::Rejected => Exit::NoWorker,
            Why::NoAnswer
            | Why::NotConnected
            | Why::NotSent
            | Why::NotValidated
            | Why::LinkLost => Exit::Connection,
            Why::JobFailed => Exit::Job,
            Why::NotReceived | Why::NoFile => Exit::File,
            Why::Interrupted => Exit::Interrupted,
        },
    };
    Failure::new(exit, error)
}

/// Whether a person can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}
