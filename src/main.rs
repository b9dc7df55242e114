//! The command line, and nothing else: what it starts is in the library.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
