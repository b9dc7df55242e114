//! What a worker costs that waits for jobs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::lab::Lab;
use crate::report::{Figure, Reach};
use crate::say;

/// Until what its start left is settled.
const SETTLING: Duration = Duration::from_secs(3);
/// How long it is watched: its GPUs are looked at every 30 seconds.
const WATCHED: Duration = Duration::from_secs(60);

/// The figures.
pub async fn measure(short: bool, dir: &Path) -> Result<Vec<Figure>> {
    let watched = if short { WATCHED / 12 } else { WATCHED };
    say(&format!("a worker that waits, for {} s", watched.as_secs()));
    let lab = Lab::start(dir).await?;
    tokio::time::sleep(SETTLING).await;
    let (began, before) = (Instant::now(), lab.worker_cpu_seconds());
    tokio::time::sleep(watched).await;
    let share = (lab.worker_cpu_seconds() - before) / began.elapsed().as_secs_f64();
    let memory = lab.worker_resident();
    lab.end().await;
    Ok(vec![
        Figure::median(
            "a worker that waits, share of a core",
            "%",
            Reach::AtMost(0.2),
            vec![share * 100.0],
        ),
        Figure::most("  its memory", "MiB", Reach::AtMost(25.0), vec![memory]),
    ])
}
