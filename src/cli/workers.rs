//! `loaner workers`.

use loaner::client::list_workers;
use loaner::wire::PeerInfo;
use serde_json::json;

use super::args::WorkersArgs;
use super::exit::{Exit, Failure};
use super::run::failure;
use super::{Signals, print};

/// Lists the workers of a room.
pub async fn run(args: WorkersArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let room = super::room(args.room, args.token)?.ok_or_else(|| {
        Failure::say(
            Exit::Usage,
            "which room? Give --room ID and --token T (a worker prints both when it starts)",
        )
    })?;
    let hub = super::client_access(args.at)?;
    let workers = tokio::select! {
        workers = list_workers(hub, room, args.min_gpu_memory) => workers.map_err(failure)?,
        () = signals.next() => return Err(Failure::say(Exit::Interrupted, "stopped by the user")),
    };
    if workers.is_empty() && !json {
        println!("No worker is in the room. Start one with `loaner worker --room ID --token T`.");
        return Ok(());
    }
    if !json {
        println!(
            "{:<38} {:<10} {:>12}  GPU",
            "WORKER", "STATUS", "MEMORY (MB)"
        );
    }
    for worker in &workers {
        print(
            json,
            &json!({ "event": "worker", "worker": worker.peer_id, "properties": worker.metadata.properties }),
            || line(worker),
        );
    }
    Ok(())
}

/// One worker on one line.
pub fn line(worker: &PeerInfo) -> String {
    let text = |name| worker.text(name).unwrap_or("unknown");
    let memory = worker
        .number("gpu_memory_mb")
        .map_or_else(|| "?".to_owned(), |memory| memory.to_string());
    let (id, status, gpu, host) = (
        &worker.peer_id,
        text("status"),
        text("gpu_model"),
        text("hostname"),
    );
    format!("{id:<38} {status:<10} {memory:>12}  {gpu} on {host}")
}
