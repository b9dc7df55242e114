//! The command line's definition: `loaner tunnel`.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args as ClapArgs, CommandFactory as _};
use loaner::tunnel::forward::Forward;
use loaner::wire::SessionString;

use super::args::{Args, Target};

/// `loaner tunnel`.
#[derive(Debug, ClapArgs)]
#[command(
    override_usage = "loaner tunnel [OPTIONS] [WORKER] <TUNNEL>...",
    after_help = "Examples:\n  loaner tunnel sleap-session:eyJy... 8888\n  loaner tunnel gpu-box 8888 6006 --room 4fad4e39 --token T\n  loaner tunnel 2222:localhost:22 --session sleap-session:eyJy...\n  loaner tunnel gpu-box 0:db.example:5432 --room 4fad4e39 --token T --json\n\nTUNNEL is one of these; several at once share one connection to the worker:\n  8888                 port 8888 here leads to port 8888 of the worker\n  9000:8888            port 9000 here leads to port 8888 of the worker\n  9000:HOST:8888       the same, to a host that the worker reaches\n  0:HOST:8888          any free port here, which is shown\nWORKER is a session string, or a worker's id or host name in the room (`loaner workers`).\n\n  Jupyter      at the worker: jupyter lab --no-browser --port 8888\n               here: loaner tunnel gpu-box 8888, then open http://localhost:8888\n  TensorBoard  at the worker: tensorboard --logdir runs --port 6006\n               here: loaner tunnel gpu-box 6006, then open http://localhost:6006\n  SSH          here: loaner tunnel gpu-box 2222:22, then ssh -p 2222 localhost\n\nNothing is allowed unless the worker's owner allows it, in the file of its --policy:\n  [[tunnel]]\n  to = [\"localhost:8888\", \"localhost:6006-6010\", \"127.0.0.1:22\"]\n  rooms = [\"4fad4e39\"]                   # only there; everywhere, unless given\n  users = [\"ann\"]                        # only for them; for all, unless given\n\nIt listens on 127.0.0.1 and ::1 only, so that nobody else in the network gets in. When\nthe network changes, what goes through a tunnel waits, and goes on over\nanother connection.\nCtrl+C ends all tunnels; twice leaves at once.\n\nExit codes and configuration: loaner --help"
)]
pub struct TunnelArgs {
    /// Which worker (unless --session or --worker says so), and what leads where: PORT, LOCAL:PORT or LOCAL:HOST:PORT.
    #[arg(value_name = "WORKER or TUNNEL", required = true, num_args = 1..=64)]
    pub words: Vec<String>,
    /// Who is connected to.
    #[command(flatten)]
    pub target: Target,
}

/// A worker that is named before the tunnels says the same as --session or --worker.
pub fn settle(tunnel: &mut TunnelArgs, given: &ArgMatches) -> Result<(), clap::Error> {
    let wrong = |kind, message: String| Err(Args::command().error(kind, message));
    let first = tunnel.words.first();
    let Some(worker) = first.filter(|word| !Forward::is_meant(word)).cloned() else {
        return Ok(());
    };
    tunnel.words.remove(0);
    let on_line = |id| given.value_source(id) == Some(ValueSource::CommandLine);
    let target = &mut tunnel.target;
    if on_line("session") || on_line("worker") {
        let message = format!(
            "the worker is named twice: by {worker:?}, and by --session or --worker; leave one of them out"
        );
        return wrong(ErrorKind::ArgumentConflict, message);
    }
    if !worker.trim_start().starts_with("sleap-session:") {
        // A string from elsewhere still says which room.
        if let Some(session) = target.session.take() {
            target.of.room = Some(session.room_id);
            target.of.token = Some(session.token);
        }
        target.worker = Some(worker);
        return Ok(());
    }
    if on_line("room") {
        let message = "a session string names its room; leave --room and --token out".to_owned();
        return wrong(ErrorKind::ArgumentConflict, message);
    }
    match worker.parse::<SessionString>() {
        Ok(session) => target.session = Some(session),
        Err(error) => return wrong(ErrorKind::ValueValidation, error.to_string()),
    }
    (target.of.room, target.of.token, target.worker) = (None, None, None);
    Ok(())
}
