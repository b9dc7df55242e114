//! `loaner workers`.

use loaner::client::list_workers;
use loaner::wire::PeerInfo;
use loaner::worker::capabilities::memory_shortfall;
use serde_json::{Value, json};

use super::args::WorkersArgs;
use super::exit::{Exit, Failure};
use super::inbox::printable;
use super::run::failure;
use super::{Signals, print, workers_watch};

/// Lists the workers of a room, once or until it is stopped.
pub async fn run(args: WorkersArgs, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let room = args.of.credentials()?.ok_or_else(|| {
        Failure::say(
            Exit::Usage,
            "which room? Give --room ID and --token T (a worker prints both when it starts)",
        )
    })?;
    let hub = super::client_access(args.at)?;
    let least = args.min_gpu_memory;
    if args.watch {
        return workers_watch::run(hub, room, least, json, &mut signals).await;
    }
    let workers = tokio::select! {
        workers = list_workers(hub, room) => workers.map_err(failure)?,
        () = signals.next() => return Err(Failure::say(Exit::Interrupted, "stopped by the user")),
    };
    if workers.is_empty() && !json {
        let none = "No worker is in the room. Start one with `loaner worker --room ID --token T`.";
        print(false, &Value::Null, || none.to_owned());
        return Ok(());
    }
    let (fitting, left_out): (Vec<_>, Vec<_>) = workers
        .iter()
        .map(|worker| (worker, shortfall(worker, least)))
        .partition(|(_, shortfall)| shortfall.is_none());
    if !json && !fitting.is_empty() {
        print(false, &Value::Null, head);
    }
    for (worker, _) in fitting {
        let event = json!({ "event": "worker", "worker": worker.peer_id, "properties": worker.metadata.properties });
        print(json, &event, || line(worker));
    }
    for (worker, reason) in left_out {
        let (id, reason) = (&worker.peer_id, reason.unwrap_or_default());
        match json {
            true => print(
                true,
                &json!({ "event": "left_out", "worker": id, "reason": reason }),
                String::new,
            ),
            // Beside the list, which has only those that fit.
            false => eprintln!("left out: {} {reason}", printable(id)),
        }
    }
    Ok(())
}

/// What a worker lacks of this much GPU memory (MiB); `None` when it has enough.
pub fn shortfall(worker: &PeerInfo, least: u64) -> Option<String> {
    memory_shortfall(least, worker.number("gpu_memory_mb"))
}

/// The line above those of workers.
pub fn head() -> String {
    columns(["WORKER", "STATUS", "FREE/TOTAL (MB)", "BUSY", "TEMP", "GPU"])
}

fn columns([id, status, memory, busy, temperature, gpu]: [&str; 6]) -> String {
    format!("{id:<38} {status:<10} {memory:>15} {busy:>5} {temperature:>5}  {gpu}")
}

/// One worker on one line. What it says of itself cannot move a terminal.
pub fn line(worker: &PeerInfo) -> String {
    let text = |name| printable(worker.text(name).unwrap_or("unknown"));
    let first = worker.metadata.properties.get("gpus");
    let first = first.and_then(|gpus| gpus.get(0)).unwrap_or(&Value::Null);
    let shown =
        |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let total = shown(worker.number("gpu_memory_mb"));
    let memory = match first["memory_free_mb"].as_u64() {
        Some(free) => format!("{free}/{total}"),
        None => total,
    };
    let busy = first["utilization"].as_f64();
    let busy = busy.map_or_else(|| "-".to_owned(), |busy| format!("{:.0}%", busy * 100.0));
    let temperature = first["temperature_c"].as_u64();
    let temperature = temperature.map_or_else(|| "-".to_owned(), |degrees| format!("{degrees}C"));
    let gpus = worker
        .metadata
        .properties
        .get("gpus")
        .and_then(Value::as_array);
    let more = match gpus.map_or(0, Vec::len) {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let gpu = format!("{}{more} on {}", text("gpu_model"), text("hostname"));
    columns([
        &printable(&worker.peer_id),
        &printable(worker.status().unwrap_or("unknown")),
        &memory,
        &busy,
        &temperature,
        &gpu,
    ])
}
