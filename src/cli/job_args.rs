//! The command line's definition: which worker is meant, and the commands about jobs.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use loaner::wire::{RoomCredentials, SessionString};

use super::args::HubOptions;
use super::exit::Failure;

/// Which worker, and where it is.
#[derive(Debug, ClapArgs)]
pub struct Target {
    /// Which hub, and who one is there.
    #[command(flatten)]
    pub at: HubOptions,
    /// The session string that the worker printed: room, token and worker in one.
    #[arg(
        long,
        env = "LOANER_SESSION",
        value_name = "STRING",
        hide_env_values = true
    )]
    pub session: Option<SessionString>,
    /// Among whom it is.
    #[command(flatten)]
    pub of: RoomOptions,
    /// This worker of the room.
    #[arg(long, env = "LOANER_WORKER", value_name = "ID")]
    pub worker: Option<String>,
}

/// A room, and what lets one in.
#[derive(Debug, Clone, ClapArgs)]
pub struct RoomOptions {
    /// The room of the worker, or of all that may be meant.
    #[arg(long, env = "LOANER_ROOM", value_name = "ID")]
    pub room: Option<String>,
    /// The token of that room.
    #[arg(long, env = "LOANER_TOKEN", value_name = "T", hide_env_values = true)]
    pub token: Option<String>,
}

impl RoomOptions {
    /// The room, if one is said.
    ///
    /// # Errors
    /// When one of the two is said without the other.
    pub fn credentials(self) -> Result<Option<RoomCredentials>, Failure> {
        super::room(self.room, self.token)
    }
}

/// `loaner jobs`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner jobs --session sleap-session:eyJy...\n  loaner jobs --room 4fad4e39 --token T --json\n\nA worker remembers the jobs of the last 30 days, 200 of them unless told otherwise, and\nshows each user only their own: those that were given by the same identity at the hub\n(`loaner identity` shows it).\n\nExit codes and configuration: loaner --help"
)]
pub struct JobsArgs {
    /// Who is asked.
    #[command(flatten)]
    pub target: Target,
}

/// `loaner logs`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner logs --session sleap-session:eyJy...\n  loaner logs b30df80b -f --session sleap-session:eyJy...\n  loaner logs b30df80b --from 81920 --room 4fad4e39 --token T --json\n\nThe log is the worker's, and has all that the job printed, also what `loaner run` left\nout since it came too fast. With --json each part tells its offset. When the connection\nbreaks, -f goes on where it was.\n\nExit codes and configuration: loaner --help"
)]
pub struct LogsArgs {
    /// The job's id, or how it begins [default: the latest].
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// Stay, and show what is added, until the job is over; Ctrl+C ends it.
    #[arg(short, long, env = "LOANER_FOLLOW", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub follow: bool,
    /// Leave out what lies before this offset, in bytes.
    #[arg(long, env = "LOANER_FROM", value_name = "OFFSET", default_value_t = 0)]
    pub from: u64,
    /// Who is asked.
    #[command(flatten)]
    pub target: Target,
}

/// `loaner stop` and `loaner cancel`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner stop --session sleap-session:eyJy...\n  loaner cancel b30df80b --session sleap-session:eyJy...\n\n`stop` sends the job's command the signal by which it wants to be told (SIGINT, unless\nthe package says otherwise), gives it the time that the package says (60 s), and returns\nits results to whoever runs it. `cancel` sends SIGTERM, SIGKILL after 10 s, and returns\nnothing. Both wait until the job is over; a stop can be followed by a cancel.\n\nExit codes and configuration: loaner --help"
)]
pub struct EndArgs {
    /// The job's id, or how it begins [default: the one that runs].
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// Do not wait until the job is over.
    #[arg(long, env = "LOANER_NO_WAIT", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub no_wait: bool,
    /// Who is asked.
    #[command(flatten)]
    pub target: Target,
}

/// `loaner fetch`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner fetch --session sleap-session:eyJy...\n  loaner fetch b30df80b --output results --session sleap-session:eyJy...\n\nResults that did not reach their client wait at the worker, as long as it remembers the\njob. What is in the output directory of an attempt that broke off is not sent again.\n\nExit codes and configuration: loaner --help"
)]
pub struct FetchArgs {
    /// The job's id, or how it begins [default: the latest whose results wait].
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// Where the results go.
    #[arg(
        short,
        long,
        env = "LOANER_OUTPUT",
        value_name = "DIR",
        default_value = "."
    )]
    pub output: PathBuf,
    /// Who is asked.
    #[command(flatten)]
    pub target: Target,
}
