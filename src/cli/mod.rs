//! `loaner`: parse, configure the log, run one command, and end with its exit code.

mod args;
mod asked;
mod charts;
mod completions;
mod config;
mod doctor;
mod drain;
mod end;
mod exit;
mod fetch;
mod hub;
mod hub_args;
mod hub_ice;
mod identity;
mod inbox;
mod job_args;
mod jobs;
mod log_file;
mod logs;
mod man;
mod run;
mod service;
mod status;
mod status_args;
mod tunnel;
mod tunnel_args;
mod ui;
mod worker;
mod workers;
mod workers_watch;

use std::convert::Infallible;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use self::args::{Args, Command, HubOptions};
use self::exit::{Exit, Failure};
use self::log_file::LogFile;
use loaner::actors::session::{HubAccess, Trust};
use loaner::identity::{IdentityError, Keeper, default_state_dir};
use loaner::status::{Desk, announced};
use loaner::wire::RoomCredentials;
use loaner::worker::jobs::keeper;

/// Runs the command that the process was given.
pub fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    if argv
        .get(1)
        .is_some_and(|command| command == keeper::SUBCOMMAND)
    {
        std::process::exit(keeper::main(argv.into_iter().skip(2)));
    }
    let args = match config::parse(&argv) {
        Ok(args) => args,
        Err(config::Problem::Usage(error)) if error.use_stderr() && wants_json(&argv) => {
            let text = error.to_string();
            let message = text.strip_prefix("error: ").unwrap_or(&text).trim();
            return report(&Failure::say(Exit::Usage, message), true);
        }
        Err(config::Problem::Usage(error)) => error.exit(),
        Err(config::Problem::File(error)) => {
            return report(&Failure::usage(error), wants_json(&argv));
        }
    };
    let json = args.json;
    let log_file = match log(&args) {
        Ok(log_file) => log_file,
        Err(failure) => return report(&failure, json),
    };
    let ended = dispatch(args);
    if let Some(log_file) = log_file {
        log_file.flush();
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, json),
    }
}

/// Whether failures are to be JSON, where the command line itself is wrong and cannot be asked.
fn wants_json(argv: &[OsString]) -> bool {
    argv.iter().any(|word| word == "--json")
        || std::env::var("LOANER_JSON").is_ok_and(|text| {
            let text = text.to_ascii_lowercase();
            !matches!(text.as_str(), "" | "0" | "f" | "n" | "no" | "off" | "false")
        })
}

/// A room and its token, which are of no use without each other.
fn room(room: Option<String>, token: Option<String>) -> Result<Option<RoomCredentials>, Failure> {
    match (room, token) {
        (Some(room_id), Some(token)) => Ok(Some(RoomCredentials { room_id, token })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Failure::say(
            Exit::Usage,
            "--room needs its token: give --token T too (a worker prints both when it starts)",
        )),
        (None, Some(_)) => Err(Failure::say(
            Exit::Usage,
            "--token needs its room: give --room ID too (a worker prints both when it starts)",
        )),
    }
}

/// What it takes to speak to a hub as a user. Who has no place to keep an identity goes by one that ends with the process.
fn client_access(at: HubOptions) -> Result<HubAccess, Failure> {
    let trust = trust(&at)?;
    let hub = at.hub.to_string();
    let state = at.state_dir.clone().or_else(default_state_dir);
    let keeper = match state {
        Some(state) => Keeper::client(&state, &hub),
        None => {
            let error = IdentityError::NoPlace;
            tracing::warn!(target: "loaner::identity", %error, "the identity cannot be kept");
            Keeper::in_memory(&hub)
        }
    };
    Ok(HubAccess::new(at.hub, trust, keeper))
}

/// Whose certificates are believed.
fn trust(at: &HubOptions) -> Result<Trust, Failure> {
    match &at.hub_ca {
        Some(file) => Trust::with_ca(file).map_err(|error| Failure::new(Exit::File, error)),
        None => Ok(Trust::default()),
    }
}

fn dispatch(args: Args) -> Result<(), Failure> {
    let json = args.json;
    let desk = args.command.desk();
    let command = match args.command {
        Command::Hub(options) => hub::run(*options, json).boxed_local(),
        Command::Worker(options) => worker::run(options, json).boxed_local(),
        Command::Run(options) => run::run(options, json).boxed_local(),
        Command::Workers(options) => workers::run(options, json).boxed_local(),
        Command::Jobs(options) => jobs::run(options, json).boxed_local(),
        Command::Logs(options) => logs::run(options, json).boxed_local(),
        Command::Stop(options) => end::run(options, end::How::Stop, json).boxed_local(),
        Command::Cancel(options) => end::run(options, end::How::Cancel, json).boxed_local(),
        Command::Fetch(options) => fetch::run(options, json).boxed_local(),
        Command::Tunnel(options) => tunnel::run(options, json).boxed_local(),
        Command::Status(options) => status::run(options, json).boxed_local(),
        Command::Inbox(options) => inbox::run(options, json).boxed_local(),
        Command::Identity(options) => identity::run(options, json).boxed_local(),
        Command::Doctor(options) => doctor::run(options, json).boxed_local(),
        Command::Completions(options) => return completions::run(&options),
        Command::Man(options) => return man::run(&options),
        Command::Charts(options) => return charts::run(&options),
    };
    serve(command, desk)
}

/// Actors live on one thread; connections, files and processes have a runtime of their own.
fn serve(
    command: impl Future<Output = Result<(), Failure>>,
    desk: Option<(&'static str, Vec<PathBuf>)>,
) -> Result<(), Failure> {
    actix::System::new().block_on(async {
        tokio::select! {
            ended = command => ended,
            never = told(desk) => match never {},
        }
    })
}

/// Says what this process is at to whoever asks, once there is something to tell.
async fn told(desk: Option<(&'static str, Vec<PathBuf>)>) -> Infallible {
    let mut _open = None;
    if let Some((name, places)) = desk {
        announced().await;
        let opened = Desk::open(name, &places);
        // It is of use, and nothing depends on it.
        _open = opened
            .inspect_err(|error| tracing::debug!(%error, "`loaner status` cannot ask this process"))
            .ok();
    }
    std::future::pending().await
}

fn log(args: &Args) -> Result<Option<Arc<LogFile>>, Failure> {
    let default = match args.verbose {
        // The stack warns of every stray packet, and any stranger can send those. It calls it an error that an address
        // of the peer cannot be reached from each of ours, which is how paths are found.
        0 if args.command.is_server() => "warn,rtc=error,webrtc=off,loaner=info,loaner::chart=warn",
        // A hub out of reach is what the command itself reports.
        0 => "error,rtc=error,webrtc=off,loaner::actors::session=off,loaner::identity=warn",
        1 => "warn,rtc=error,webrtc=error,loaner=info",
        _ => "info,loaner=debug",
    };
    let filter = std::env::var("LOANER_LOG")
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok());
    let log_file = match args.command.log_place(args.json) {
        None => None,
        Some(place) => Some(Arc::new(open_log(place)?)),
    };
    let writer = match &log_file {
        Some(log_file) => BoxMakeWriter::new(log_file.clone()),
        None => BoxMakeWriter::new(std::io::stderr),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(default)))
        .with_writer(writer);
    if args.json {
        subscriber.json().init();
    } else {
        let ansi = log_file.is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr());
        subscriber.with_ansi(ansi).init();
    }
    Ok(log_file)
}

fn open_log(place: log_file::Place) -> Result<LogFile, Failure> {
    let path = place.path.clone();
    LogFile::open(place).map_err(|error| {
        let message = format!("the log {} cannot be written: {error}", path.display());
        Failure::say(Exit::File, message)
    })
}

fn report(failure: &Failure, json: bool) -> ExitCode {
    if json {
        println!(
            "{}",
            serde_json::json!({ "event": "error", "code": failure.exit.code(), "message": failure.message() })
        );
    } else {
        // A message may quote what a stranger says.
        eprintln!("loaner: {}", ui::printable(&failure.message()));
    }
    ExitCode::from(failure.exit.code())
}

/// Resolves at each SIGINT, SIGTERM or SIGHUP.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| Failure::new(Exit::Other, error));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Prints one event: a line of JSON, or of text.
fn print(json: bool, event: &serde_json::Value, text: impl FnOnce() -> String) {
    use std::io::Write as _;
    let line = if json { event.to_string() } else { text() };
    // A reader that is gone is no reason to stop what is being done for it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        for sub in super::Args::command().get_subcommands() {
            let help = sub
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let example = format!("\n  loaner {}", sub.get_name());
            assert!(
                help.starts_with("Examples:\n") && help.contains(&example),
                "{help}"
            );
            assert!(
                help.ends_with("Exit codes and configuration: loaner --help"),
                "{help}"
            );
            assert!(help.lines().all(|line| line.len() <= 90), "{help}");
        }
    }

    #[test]
    fn every_flag_explains_itself() {
        let command = super::Args::command();
        for sub in command.get_subcommands() {
            for argument in sub.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    sub.get_name(),
                    argument.get_id()
                );
            }
        }
    }
}
