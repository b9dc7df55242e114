//! The command line.

use loaner::worker::jobs::keeper;

fn main() {
    let mut args = std::env::args_os().skip(1);
    if args
        .next()
        .is_some_and(|subcommand| subcommand == keeper::SUBCOMMAND)
    {
        std::process::exit(keeper::main(args));
    }
}
