//! `loaner completions`.

use std::io::Write as _;

use clap::CommandFactory as _;

use super::args::{Args, CompletionsArgs};
use super::exit::{Exit, Failure};

/// Prints the script of a shell, made from the command line's own definition.
pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "loaner", &mut script);
    std::io::stdout()
        .write_all(&script)
        .map_err(|error| Failure::new(Exit::Other, error))
}
