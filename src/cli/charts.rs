//! `loaner charts`.
use super::args::ChartsArgs;
use super::exit::Failure;

/// Writes, prints or checks the pages of the charts.
pub fn run(_args: &ChartsArgs) -> Result<(), Failure> {
    Ok(())
}
