//! The command line's definition.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use loaner::actors::session::HubUrl;

use loaner::client::WorkerInput;
use loaner::status::places;
use loaner::worker::quantity::{Bytes, Span};

pub use super::hub_args::HubArgs;
pub use super::job_args::{EndArgs, FetchArgs, JobsArgs, LogsArgs, RoomOptions, Target};
use super::log_file::Place;
pub use super::status_args::StatusArgs;
pub use super::tunnel_args::TunnelArgs;

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
    Hub(Box<HubArgs>),
    /// Run a worker: it lends this machine to whoever holds its session string or room token.
    Worker(WorkerArgs),
    /// Send a package to a worker, watch it run, and get the results.
    Run(RunArgs),
    /// List the workers of a room.
    Workers(WorkersArgs),
    /// List the jobs that workers remember: how far they are, or how they ended.
    Jobs(JobsArgs),
    /// Show what a job printed, now or while it runs.
    Logs(LogsArgs),
    /// Ask a job to stop: it may save what it has, and its results come back.
    Stop(EndArgs),
    /// End a job, whatever it has.
    Cancel(EndArgs),
    /// Get results of a job that did not reach you, from where they broke off.
    Fetch(FetchArgs),
    /// Reach a program at the worker, such as Jupyter, TensorBoard or SSH, by a port of this machine.
    Tunnel(TunnelArgs),
    /// Show what workers, runs and tunnels of this machine are at: their connections, and what becomes of those that are lost.
    Status(StatusArgs),
    /// Show what came while nobody was there: how jobs ended, and what became of reservations.
    Inbox(InboxArgs),
    /// Show who this machine is at a hub, or make another machine a device of the same user.
    Identity(IdentityArgs),
    /// Look at this machine and its way to the hub: what works, what does not, and what to do about it.
    Doctor(DoctorArgs),
    /// Print a script that completes `loaner` on the command line of a shell.
    Completions(CompletionsArgs),
    /// Print the manual, or write its pages.
    Man(ManArgs),
    /// Draw the statecharts that Loaner runs on.
    Charts(ChartsArgs),
}

impl Command {
    /// Whether it runs until it is stopped.
    pub fn is_server(&self) -> bool {
        matches!(self, Command::Hub(_) | Command::Worker(_))
    }

    /// What a process that stays is called, and where others may ask what it is at.
    pub fn desk(&self) -> Option<(&'static str, Vec<PathBuf>)> {
        let (name, at) = match self {
            Command::Worker(worker) if !worker.drain => ("worker", &worker.at),
            Command::Run(run) => ("run", &run.target.at),
            Command::Tunnel(tunnel) => ("tunnel", &tunnel.target.at),
            Command::Logs(logs) if logs.follow => ("logs", &logs.target.at),
            _ => return None,
        };
        Some((name, places(at.state_dir.as_deref())))
    }

    /// The file that its log goes to, as lines of JSON or not, of those that run until they are stopped.
    pub fn log_place(&self, json: bool) -> Option<Place> {
        let options = match self {
            Command::Hub(hub) if !hub.check_config => &hub.log,
            Command::Worker(worker) if !worker.drain => &worker.log,
            _ => return None,
        };
        Some(Place {
            path: options.log_file.clone()?,
            max: options.log_max.0,
            keep: options.log_keep,
            json,
        })
    }
}

/// Where the hub is, whom it has to be, and who one is there.
#[derive(Debug, ClapArgs)]
pub struct HubOptions {
    /// The hub.
    #[arg(
        long,
        env = "LOANER_HUB",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub hub: HubUrl,
    /// Believe the hub's certificate if one of these authorities signed it, too: a file of PEM certificates.
    #[arg(long, env = "LOANER_HUB_CA", value_name = "FILE")]
    pub hub_ca: Option<PathBuf>,
    /// Where identities are kept [default: $XDG_STATE_HOME/loaner, else ~/.local/state/loaner].
    #[arg(long, env = "LOANER_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Where the log of a server goes.
#[derive(Debug, Clone, ClapArgs)]
pub struct LogOptions {
    /// Write the log into this file instead of to standard error.
    #[arg(long, env = "LOANER_LOG_FILE", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Begin a new file when that one would be larger, such as "10 MB"; the old one becomes FILE.1, and so on.
    #[arg(long, env = "LOANER_LOG_MAX", value_name = "SIZE", default_value = "10 MB", value_parser = log_size)]
    pub log_max: Bytes,
    /// How many old files are kept.
    #[arg(long, env = "LOANER_LOG_KEEP", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub log_keep: u32,
}

fn log_size(text: &str) -> Result<Bytes, String> {
    match Bytes::try_from(text.to_owned())? {
        Bytes(bytes) if bytes < 1000 => Err("a file has at least 1 kB".to_owned()),
        size => Ok(size),
    }
}

/// `loaner inbox`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner inbox\n  loaner inbox --hub https://hub.example --follow\n  loaner inbox --keep --json\n\nWorkers send here what becomes of the jobs of `loaner run`, whether or not anybody is\nconnected then. What was shown is not shown again, unless with --keep. Each device of a\nuser has an inbox of its own; `loaner identity --help` says how to add one.\n\nExit codes and configuration: loaner --help"
)]
pub struct InboxArgs {
    /// Which hub, and who one is there.
    #[command(flatten)]
    pub at: HubOptions,
    /// Stay, and show what comes; Ctrl+C ends it.
    #[arg(long, env = "LOANER_FOLLOW", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub follow: bool,
    /// Leave everything in the inbox: it is shown again the next time.
    #[arg(long, env = "LOANER_KEEP", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub keep: bool,
}

/// `loaner identity`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner identity --hub https://hub.example\n  loaner identity --hub https://hub.example --share\n  loaner identity --adopt loaner-identity:eyJo...\n\nThe first `loaner run` at a hub makes a user there, and this machine a device of it.\n--share prints a line that makes another machine a further device: run --adopt there.\nWhoever has the line can read the inbox and speak as this user. It is a secret.\n\nExit codes and configuration: loaner --help"
)]
pub struct IdentityArgs {
    /// Which hub, and who one is there.
    #[command(flatten)]
    pub at: HubOptions,
    /// Print a line for another machine. It is a secret.
    #[arg(long, conflicts_with = "adopt")]
    pub share: bool,
    /// Become a device of the user whose line this is; `-` reads it from standard input.
    #[arg(long, value_name = "LINE")]
    pub adopt: Option<String>,
}

/// `loaner worker`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner worker --hub http://127.0.0.1:8080\n  loaner worker --hub https://hub.example --allow-commands\n  loaner worker --hub https://hub.example --policy policy.toml --max-job-time 8h\n  loaner worker --drain\n\nIt prints a session string, and a room's id and token. Give either to those who may\nuse the machine, and to nobody else:\n  loaner run PACKAGE --session STRING\n  loaner run PACKAGE --room ID --token T\n\nCtrl+C ends the worker: a running job is stopped, its client told, its files removed.\n--drain, or SIGUSR1 to the worker, ends it after the job that it has: no other is taken,\nand the results are delivered. Ctrl+C at --drain stops only the waiting.\n\nA policy is a file of TOML; what no rule allows is refused, with the rule that would:\n  env = [\"HF_HOME\"]                      # variables of the worker that jobs get\n  [[allow]]\n  recipe = \"sleap\"                       # what is run without a policy, too\n  [[allow]]\n  command = [\"python\", \"train.py\", \"**\"] # * is any one word, a last ** all others\n  rooms = [\"4fad4e39\"]                   # only there; everywhere, unless given\n  users = [\"ann\"]                        # only for them; for all, unless given\n  set_env = [\"EPOCHS\", \"LR_*\"]           # what the job may set; nothing, unless given\n  time_limit = \"2h\"                      # and gpu_memory = \"8 GB\", disk = \"10 GB\"\nA rule says which program runs, not what a script does that comes with the package.\nFor `loaner tunnel`, which is allowed nothing else:\n  [[tunnel]]\n  to = [\"localhost:8888\", \"127.0.0.1:6006-6010\"] # and rooms, users as above\n\nExit codes and configuration: loaner --help"
)]
pub struct WorkerArgs {
    /// Which hub, and who one is there.
    #[command(flatten)]
    pub at: HubOptions,
    /// Join this room instead of making one.
    #[arg(long, env = "LOANER_ROOM", value_name = "ID")]
    pub room: Option<String>,
    /// The token of that room.
    #[arg(long, env = "LOANER_TOKEN", value_name = "T", hide_env_values = true)]
    pub token: Option<String>,
    /// Run the commands that packages bring along in a loaner.toml, as this user. Without it, only `sleap-nn` is run.
    #[arg(long, env = "LOANER_ALLOW_COMMANDS", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub allow_commands: bool,
    /// Run what this file allows, and nothing else: recipes and command patterns, by room and user, with limits. It is read at
    /// start only.
    #[arg(long, env = "LOANER_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The longest that the commands of a job may run, such as 90m or "2h 30m".
    #[arg(long, env = "LOANER_MAX_JOB_TIME", value_name = "TIME")]
    pub max_job_time: Option<Span>,
    /// Where jobs get their directories; each is fresh, and removed after its job.
    #[arg(long, env = "LOANER_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// The largest package that is received, in MB.
    #[arg(long, env = "LOANER_MAX_PACKAGE_MB", value_name = "MB", default_value_t = 65_536, value_parser = clap::value_parser!(u64).range(1..=16_777_216))]
    pub max_package_mb: u64,
    /// Let jobs read packages from this directory: a client gives a file's name instead of sending it. Needs --output-path.
    #[arg(long, env = "LOANER_INPUT_PATH", value_name = "DIR")]
    pub input_path: Option<PathBuf>,
    /// Where the results of such jobs stay: in jobs/ID below this directory. Needs --input-path.
    #[arg(long, env = "LOANER_OUTPUT_PATH", value_name = "DIR")]
    pub output_path: Option<PathBuf>,
    /// What people call the storage that these two directories are on.
    #[arg(long, env = "LOANER_FILESYSTEM", value_name = "NAME")]
    pub filesystem: Option<String>,
    /// Offer this much GPU memory (in MB) instead of asking the driver.
    #[arg(long, env = "LOANER_GPU_MEMORY_MB", value_name = "MB")]
    pub gpu_memory_mb: Option<u64>,
    /// How many jobs that are over a worker remembers, with their logs; the oldest goes first, and after 30 days.
    #[arg(
        long,
        env = "LOANER_KEEP_JOBS",
        value_name = "N",
        default_value_t = 200
    )]
    pub keep_jobs: usize,
    /// How much their logs, and results that did not reach their client, may take together, in MB.
    #[arg(
        long,
        env = "LOANER_KEEP_MB",
        value_name = "MB",
        default_value_t = 8_000
    )]
    pub keep_mb: u64,
    /// The longest log of one job, in MB.
    #[arg(
        long,
        env = "LOANER_MAX_LOG_MB",
        value_name = "MB",
        default_value_t = 4_000
    )]
    pub max_log_mb: u64,
    /// How many seconds a job may be held up in all by a client that does not keep up with its output. After that, the client gets part
    /// of it, and `loaner logs` all.
    #[arg(
        long,
        env = "LOANER_OUTPUT_WAIT",
        value_name = "SECONDS",
        default_value_t = 30
    )]
    pub output_wait: u64,
    /// Start nothing: tell the worker that runs with this --work-dir to take no new job, and wait until it has ended.
    #[arg(long)]
    pub drain: bool,
    /// How often the GPUs are looked at, in seconds. The hub is told of changes worth telling, twice a minute at most.
    #[arg(long, env = "LOANER_GPU_REFRESH", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub gpu_refresh: u64,
    /// Where the log goes.
    #[command(flatten)]
    pub log: LogOptions,
}

/// `loaner run`.
#[derive(Debug, ClapArgs)]
#[command(
    override_usage = "loaner run [OPTIONS] <PACKAGE> --session <STRING> [-- COMMAND...]\n       loaner run [OPTIONS] <PACKAGE> --room <ID> --token <T> [--worker <ID> | --auto-select] [-- COMMAND...]\n       loaner run [OPTIONS] --worker-input <NAME> {--session <STRING> | --room <ID> --token <T>}",
    after_help = "Examples:\n  loaner run examples/train --session sleap-session:eyJy...\n  loaner run labels.zip --room 4fad4e39 --token T --auto-select --min-gpu-memory 8000\n  loaner run . --session sleap-session:eyJy... -- python train.py --epochs 10\n  loaner run . --session sleap-session:eyJy... --outputs 'models/**' -- sh -c 'make all'\n  loaner run --worker-input flies/labels.zip --session sleap-session:eyJy...\n\nPACKAGE is a directory or a .zip file with a train-script.sh or track-script.sh\n(sleap-nn), or a loaner.toml (any command, where the worker allows it). Results arrive\nas a .zip in the output directory, those of a track-script.sh as the file that it\nnames; nothing there is ever replaced. Ctrl+C cancels the job at the worker and\nwaits until it is gone; twice leaves at once.\n\nWith -- COMMAND, PACKAGE is any directory: it is packed, less what its .gitignore and\n.loanerignore files name, and the command runs in it at the worker. Every file that it\nmakes or changes comes back, unless --outputs or a loaner.toml in the directory says\nwhat does; that file may also set env, inputs, resources, stop and progress.\n\nWith --worker-input, nothing is sent: the package is a file in the directory that the\nworker was given as --input-path. The results stay there too, in jobs/ID of its\n--output-path, and the last line says where.\n\nA command tells its progress by printing lines like: ::loaner progress 3/10 loss=0.25\n\nExit codes and configuration: loaner --help"
)]
pub struct RunArgs {
    /// The package: a directory, or a .zip file.
    #[arg(value_name = "PACKAGE", required_unless_present = "worker_input")]
    pub package: Option<PathBuf>,
    /// Run this package of the worker's own instead: a file in its input directory, by its path there. Its results stay at the worker.
    #[arg(
        long,
        env = "LOANER_WORKER_INPUT",
        value_name = "NAME",
        conflicts_with_all = ["package", "command", "outputs"]
    )]
    pub worker_input: Option<WorkerInput>,
    /// Run this in the directory, instead of what a loaner.toml in it says.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Bring back these files, directories or patterns of the command's directory, such as 'models/**'; several times for several.
    #[arg(long, env = "LOANER_OUTPUTS", value_name = "PATTERN")]
    pub outputs: Vec<String>,
    /// Where to.
    #[command(flatten)]
    pub target: Target,
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
    after_help = "Examples:\n  loaner workers --room 4fad4e39 --token T\n  loaner workers --room 4fad4e39 --token T --min-gpu-memory 8000 --json\n  loaner workers --room 4fad4e39 --token T --watch\n\nExit codes and configuration: loaner --help"
)]
pub struct WorkersArgs {
    /// Which hub, and who one is there.
    #[command(flatten)]
    pub at: HubOptions,
    /// Which room.
    #[command(flatten)]
    pub of: RoomOptions,
    /// Only workers with this much GPU memory, in MB.
    #[arg(
        long,
        env = "LOANER_MIN_GPU_MEMORY",
        value_name = "MB",
        default_value_t = 0
    )]
    pub min_gpu_memory: u64,
    /// Stay, and show what changes; Ctrl+C ends it.
    #[arg(long, env = "LOANER_WATCH", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub watch: bool,
}

/// `loaner doctor`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner doctor\n  loaner doctor --hub https://hub.example --worker\n  loaner doctor --json\n\nEach line is ok, warn or fail, and says what to do. It ends with 0 when nothing failed,\nand works without a hub as far as that is possible. Nothing is changed, here or there.\n\nExit codes and configuration: loaner --help"
)]
pub struct DoctorArgs {
    /// Which hub, and where state is kept.
    #[command(flatten)]
    pub at: HubOptions,
    /// This machine is to be a worker: warn of what a client does not need, such as a GPU.
    #[arg(long)]
    pub worker: bool,
    /// Where jobs get their directories.
    #[arg(long, env = "LOANER_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
}

/// `loaner completions`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner completions bash > ~/.local/share/bash-completion/completions/loaner\n  loaner completions zsh > ~/.zfunc/_loaner\n  loaner completions fish > ~/.config/fish/completions/loaner.fish\n\nExit codes and configuration: loaner --help"
)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: clap_complete::Shell,
}

/// `loaner man`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner man | man -l -\n  loaner man --dir ~/.local/share/man/man1\n\nExit codes and configuration: loaner --help"
)]
pub struct ManArgs {
    /// Write one page for each command into this directory, instead of printing that of `loaner`.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
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
