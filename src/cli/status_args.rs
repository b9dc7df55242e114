//! The command line's definition: `loaner status`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// `loaner status`.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  loaner status\n  loaner status --watch\n  loaner status --json\n\nEvery `loaner worker`, `run`, `tunnel` and `logs -f` of this user, on this machine,\nis asked, and says what each of its parts is at, in the words of the part's statechart:\n  session       its way to the hub\n  tunnel        what carries its connection, over as many paths as it takes\n  peer          one path to the other side\n  availability, job, submission: the worker, what it runs, and what a client has it run\nA connection that is lost tells what is tried, which attempt it is, what comes next and\nwhen, how long until it is given up, and what happens then.\n\nA process that hangs is named, and the command ends with 1; where all have answered, or\nnone runs, with 0. With --json, times are in seconds. With --watch, a terminal is redrawn\nevery second; a pipe gets a process again when another state is reached.\n\nProcesses are found by their sockets in $XDG_RUNTIME_DIR/loaner, or else in run/ of the\ndirectory of state, which only their owner can open.\n\nExit codes and configuration: loaner --help"
)]
pub struct StatusArgs {
    /// Where identities are kept, and processes found [default: $XDG_STATE_HOME/loaner, else ~/.local/state/loaner].
    #[arg(long, env = "LOANER_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Stay, and show what changes; Ctrl+C ends it.
    #[arg(long, env = "LOANER_WATCH", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub watch: bool,
}
