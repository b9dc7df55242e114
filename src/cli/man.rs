//! `loaner man`.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::args::{Args, ManArgs};
use super::exit::{Exit, Failure};

/// Prints the page of `loaner`, or writes the pages of all commands; made from the command line's own definition.
pub fn run(args: &ManArgs) -> Result<(), Failure> {
    let done = match &args.dir {
        Some(dir) => write(dir),
        None => print(),
    };
    done.map_err(|error| Failure::new(Exit::File, error))
}

fn print() -> anyhow::Result<()> {
    let mut page = Vec::new();
    // The help that clap makes is no command of its own, and has no page.
    let command = Args::command().disable_help_subcommand(true);
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(std::io::stdout().write_all(&page)?)
}

fn write(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    clap_mangen::generate_to(Args::command(), dir)
        .with_context(|| format!("the pages cannot be written to {}", dir.display()))
}
