//! What a job uses while it runs: time, and room on the disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::disk::{disk_usage, human};
use super::work::Failure;

/// How often a job's directory is measured.
const EVERY: Duration = Duration::from_secs(1);

/// Watches over the limits of one run.
#[derive(Debug)]
pub struct Watch {
    deadline: Option<(Instant, Duration)>,
    disk: Option<(Vec<PathBuf>, u64)>,
}

impl Watch {
    /// From now on: `time_limit` for the whole run, and at most `disk` bytes in all of `dirs`.
    pub fn new(time_limit: Option<Duration>, dirs: &[&Path], disk: Option<u64>) -> Self {
        Watch {
            deadline: time_limit.map(|limit| (Instant::now() + limit, limit)),
            disk: disk.map(|limit| (dirs.iter().map(|dir| dir.to_path_buf()).collect(), limit)),
        }
    }

    /// Waits until a limit is reached; says which. Safe to cancel.
    pub async fn reached(&self) -> Failure {
        tokio::select! {
            failure = self.time_is_up() => failure,
            failure = self.disk_is_full() => failure,
        }
    }

    async fn time_is_up(&self) -> Failure {
        let Some((deadline, limit)) = self.deadline else {
            return std::future::pending().await;
        };
        sleep_until(deadline).await;
        let limit = humantime::format_duration(limit);
        Failure::new(
            "TIME_LIMIT",
            format!(
                "TIME_LIMIT: the job was stopped after {limit}, which is all the time it may take here"
            ),
        )
    }

    async fn disk_is_full(&self) -> Failure {
        let Some((dirs, limit)) = &self.disk else {
            return std::future::pending().await;
        };
        loop {
            let measured = dirs.clone();
            let measure = move || measured.iter().map(|dir| disk_usage(dir)).sum::<u64>();
            let used = tokio::task::spawn_blocking(measure).await;
            // A measurement that panicked says nothing; the next one may.
            if used.is_ok_and(|used| used > *limit) {
                return Failure::new(
                    "DISK_LIMIT",
                    format!(
                        "DISK_LIMIT: the job was stopped when its directory held more than {}, which is all it may here",
                        human(*limit)
                    ),
                );
            }
            sleep(EVERY).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    /// Without limits nothing is ever reached; with one, it is told which and how much.
    #[tokio::test(start_paused = true)]
    async fn limits_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let none = Watch::new(None, &[dir.path()], None);
        let long = Duration::from_secs(1_000_000);
        assert!(tokio::time::timeout(long, none.reached()).await.is_err());
        let time = Watch::new(Some(Duration::from_secs(90)), &[dir.path()], None);
        let failure = time.reached().await;
        assert_eq!(failure.code, "TIME_LIMIT");
        assert!(
            failure.message.contains("after 1m 30s"),
            "{}",
            failure.message
        );
        fs::write(dir.path().join("file"), vec![1; 8192]).unwrap();
        let disk = Watch::new(None, &[dir.path()], Some(4096));
        assert_eq!(disk.reached().await.code, "DISK_LIMIT");
    }
}
