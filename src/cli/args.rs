//! The command line's definition.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use loaner::actors::session::HubUrl;
use loaner::wire::SessionString;

/// Lends a GPU across the internet: a worker registers with a hub, a client finds it there, and the two connect
/// peer to peer.
#[derive(Debug, Parser)]
#[command(
    name = "loaner",
    version,
    after_help = super::exit::HELP,
    after_long_help = super::exit::HELP,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Args {
    /// Print one JSON object per line instead of text.
    #[arg(long, global = true, env = "LOANER_JSON", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub json: bool,
    /// Say more in the log (to standard error); twice for everything. LOANER_LOG takes a filter instead.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Read settings from this file.
    #[arg(long, global = true, env = "LOANER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a hub: it introduces workers and clients, and never sees what they send each other.
    Hub(HubArgs),
    /// Run a worker: it lends this machine to whoever holds its session string or room token.
    Worker(WorkerArgs),
    /// Send a package to a worker, watch it run, and get the results.
    Run(RunArgs),
    /// List the workers of a room.
    Workers(WorkersArgs),
    /// Draw the statecharts that Loaner runs on.
    Charts(ChartsArgs),
}

impl Command {
    /// Whether it runs until it is stopped.
    pub fn is_server(&self) -> bool {
        matches!(self, Command::Hub(_) | Command::Worker(_))
    }
}

/// `loaner hub`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner hub\n  loaner hub --listen 0.0.0.0:8080 --listen 0.0.0.0:8001\n\nThe first is for this machine only. In the second, 8001 is for peers of sleap-rtc,\nwhich expect HTTP there. The hub has no TLS: on the open internet, put a TLS proxy\nin front of it.\n\nExit codes and configuration: loaner --help"
)]
pub struct HubArgs {
    /// Where to listen for WebSocket and HTTP; may be given several times. Port 0 picks a free one.
    #[arg(
        long,
        env = "LOANER_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        value_delimiter = ',',
        value_parser = address
    )]
    pub listen: Vec<SocketAddr>,
    /// Send a JSON ping too, which the sleap-rtc workers of 2026 wait for.
    #[arg(long, env = "LOANER_JSON_PING", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub json_ping: bool,
    /// A STUN or TURN server to tell peers of (stun:HOST:PORT); may be given several times.
    #[arg(
        long,
        env = "LOANER_ICE_SERVER",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub ice_server: Vec<String>,
}

/// `loaner worker`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner worker --hub http://127.0.0.1:8080\n  loaner worker --hub https://hub.example --allow-commands\n\nIt prints a session string, and a room's id and token. Give either to those who may\nuse the machine, and to nobody else:\n  loaner run PACKAGE --session STRING\n  loaner run PACKAGE --room ID --token T\n\nCtrl+C ends the worker: a running job is stopped, its client told, its files removed.\n\nExit codes and configuration: loaner --help"
)]
pub struct WorkerArgs {
    /// The hub.
    #[arg(
        long,
        env = "LOANER_HUB",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub hub: HubUrl,
    /// Join this room instead of making one.
    #[arg(long, env = "LOANER_ROOM", value_name = "ID")]
    pub room: Option<String>,
    /// The token of that room.
    #[arg(long, env = "LOANER_TOKEN", value_name = "T", hide_env_values = true)]
    pub token: Option<String>,
    /// Run the commands that packages bring along in a loaner.toml, as this user. Without it, only `sleap-nn train` is run.
    #[arg(long, env = "LOANER_ALLOW_COMMANDS", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub allow_commands: bool,
    /// Where jobs get their directories; each is fresh, and removed after its job.
    #[arg(long, env = "LOANER_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// The largest package that is received, in MB.
    #[arg(long, env = "LOANER_MAX_PACKAGE_MB", value_name = "MB", default_value_t = 65_536, value_parser = clap::value_parser!(u64).range(1..=16_777_216))]
    pub max_package_mb: u64,
    /// Offer this much GPU memory (in MB) instead of asking the driver.
    #[arg(long, env = "LOANER_GPU_MEMORY_MB", value_name = "MB")]
    pub gpu_memory_mb: Option<u64>,
}

/// `loaner run`.
#[derive(Debug, ClapArgs)]
#[command(
    override_usage = "loaner run [OPTIONS] <PACKAGE> --session <STRING>\n       loaner run [OPTIONS] <PACKAGE> --room <ID> --token <T> [--worker <ID> | --auto-select]",
    after_help = "Examples:\n  loaner run examples/train --session sleap-session:eyJy...\n  loaner run labels.zip --room 4fad4e39 --token T --auto-select --min-gpu-memory 8000\n\nPACKAGE is a directory or a .zip file with a train-script.sh (sleap-nn) or a loaner.toml\n(any command, where the worker allows it). Results arrive as a .zip in the output\ndirectory; nothing there is ever replaced. Ctrl+C cancels the job at the worker and\nwaits until it is gone; twice leaves at once.\n\nExit codes and configuration: loaner --help"
)]
pub struct RunArgs {
    /// The package: a directory, or a .zip file.
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,
    /// The hub.
    #[arg(
        long,
        env = "LOANER_HUB",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub hub: HubUrl,
    /// The session string that the worker printed: room, token and worker in one.
    #[arg(
        long,
        env = "LOANER_SESSION",
        value_name = "STRING",
        hide_env_values = true
    )]
    pub session: Option<SessionString>,
    /// The room to find a worker in.
    #[arg(long, env = "LOANER_ROOM", value_name = "ID")]
    pub room: Option<String>,
    /// The token of that room.
    #[arg(long, env = "LOANER_TOKEN", value_name = "T", hide_env_values = true)]
    pub token: Option<String>,
    /// Use this worker of the room.
    #[arg(long, env = "LOANER_WORKER", value_name = "ID")]
    pub worker: Option<String>,
    /// Use the free worker with the most GPU memory, and do not ask.
    #[arg(long, env = "LOANER_AUTO_SELECT", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub auto_select: bool,
    /// Only workers with this much GPU memory, in MB.
    #[arg(
        long,
        env = "LOANER_MIN_GPU_MEMORY",
        value_name = "MB",
        default_value_t = 0
    )]
    pub min_gpu_memory: u64,
    /// Where the results go.
    #[arg(
        short,
        long,
        env = "LOANER_OUTPUT",
        value_name = "DIR",
        default_value = "."
    )]
    pub output: PathBuf,
}

/// `loaner workers`.
#[derive(Debug, ClapArgs)]
#[command(
    override_usage = "loaner workers [OPTIONS] --room <ID> --token <T>",
    after_help = "Examples:\n  loaner workers --room 4fad4e39 --token T\n  loaner workers --room 4fad4e39 --token T --min-gpu-memory 8000 --json\n\nExit codes and configuration: loaner --help"
)]
pub struct WorkersArgs {
    /// The hub.
    #[arg(
        long,
        env = "LOANER_HUB",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub hub: HubUrl,
    /// The room.
    #[arg(long, env = "LOANER_ROOM", value_name = "ID")]
    pub room: Option<String>,
    /// Its token.
    #[arg(long, env = "LOANER_TOKEN", value_name = "T", hide_env_values = true)]
    pub token: Option<String>,
    /// Only workers with this much GPU memory, in MB.
    #[arg(
        long,
        env = "LOANER_MIN_GPU_MEMORY",
        value_name = "MB",
        default_value_t = 0
    )]
    pub min_gpu_memory: u64,
}

/// `loaner charts`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner charts\n  loaner charts --check\n  loaner charts availability --format mermaid\n\nExit codes and configuration: loaner --help"
)]
pub struct ChartsArgs {
    /// Only this chart; without it, all.
    #[arg(value_name = "CHART")]
    pub chart: Option<String>,
    /// Print in this format instead of writing the pages.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write nothing; fail when the pages are not what the code says.
    #[arg(long, conflicts_with = "format")]
    pub check: bool,
    /// Where the pages are.
    #[arg(long, value_name = "DIR", default_value = "statecharts")]
    pub dir: PathBuf,
}

/// A way to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Mermaid `stateDiagram-v2`.
    Mermaid,
    /// SCXML (W3C).
    Scxml,
    /// A picture.
    Svg,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an IP address and a port were expected, such as 127.0.0.1:8080 (this machine only) or 0.0.0.0:8080 (everybody)"
            .to_owned()
    })
}
